package cache

import "math/bits"

// directory knows which cores' L2 hold a line and which of them alone may write it. It is exact: an
// open-addressing table with linear probing whose entries are the lines that some L2 holds. It grows when more of them are
// in use than ever before, never beyond twice the lines of all L2.
type directory struct {
	entries []entry
	more    []uint64 // sharer bits of cores 64 and up, words-1 per entry
	words   int
	mask    uint64
	n       int
	// pages counts the lines held of the pages that share a hash. Devices mostly touch pages of which no core holds a line, and
	// 128 KiB of counters stay in the host's caches where the entries do not.
	pages [pageFilter]uint32
}

// pageFilter is the number of counters, a power of two.
const pageFilter = 1 << 15

// pageOf returns the counter of the page of line number key-1.
func pageOf(key uint64) uint64 { return (key - 1) >> 6 * 0x9e3779b97f4a7c15 >> 40 & (pageFilter - 1) }

// entry is one line of the directory: 16 bytes, since looking it up is mostly a miss of the host's own caches.
type entry struct {
	key     uint64 // line number + 1 in the low 47 bits, 0: empty; owner + 1 above
	sharers uint64 // cores 0 to 63
}

const (
	ownerShift = 48
	lineMask   = 1<<ownerShift - 1
	noOwner    = -1
)

// owner returns the core that has the line in E or M, or noOwner if sharers have it in S.
func (e *entry) owner() int { return int(e.key>>ownerShift) - 1 }

func (e *entry) setOwner(core int) { e.key = e.key&lineMask | uint64(core+1)<<ownerShift }

func newDirectory(cores, lines int) directory {
	d := directory{words: (cores + 63) / 64}
	size := 1024
	for size < 2*lines {
		size *= 2
	}
	d.alloc(size)
	return d
}

func (d *directory) alloc(size int) {
	d.entries = make([]entry, size)
	d.more = make([]uint64, size*(d.words-1))
	d.mask = uint64(size - 1)
}

func (d *directory) home(line uint64) uint64 { return line * 0x9e3779b97f4a7c15 >> 24 & d.mask }

// find returns the index of the line of pa, or -1.
func (d *directory) find(pa uint64) int {
	key := pa>>6 + 1
	if d.pages[pageOf(key)] == 0 {
		return -1
	}
	for i := d.home(key); ; i = (i + 1) & d.mask {
		switch d.entries[i].key & lineMask {
		case key:
			return int(i)
		case 0:
			return -1
		}
	}
}

// add records that core holds the line of pa, alone and writable if own.
func (d *directory) add(pa uint64, core int, own bool) {
	i := d.find(pa)
	if i < 0 {
		if 2*(d.n+1) > len(d.entries) {
			d.grow()
		}
		i = d.put(entry{key: pa>>6 + 1})
		d.n++
		d.pages[pageOf(pa>>6+1)]++
	}
	e := &d.entries[i]
	if own {
		e.setOwner(core)
	}
	if core < 64 {
		e.sharers |= 1 << core
	} else {
		d.more[i*(d.words-1)+core/64-1] |= 1 << (core & 63)
	}
}

func (d *directory) put(e entry) int {
	i := d.home(e.key & lineMask)
	for d.entries[i].key != 0 {
		i = (i + 1) & d.mask
	}
	d.entries[i] = e
	return int(i)
}

func (d *directory) grow() {
	old, oldMore, w := d.entries, d.more, d.words-1
	d.alloc(2 * len(old))
	for i := range old {
		if old[i].key != 0 {
			j := d.put(old[i])
			copy(d.more[j*w:(j+1)*w], oldMore[i*w:(i+1)*w])
		}
	}
}

// remove records that core no longer holds the line of pa.
func (d *directory) remove(pa uint64, core int) {
	i := d.find(pa)
	if i < 0 {
		panic("cache: a core evicts a line that the directory does not know")
	}
	e := &d.entries[i]
	if e.owner() == core {
		e.setOwner(noOwner)
	}
	if core < 64 {
		e.sharers &^= 1 << core
	} else {
		d.more[i*(d.words-1)+core/64-1] &^= 1 << (core & 63)
	}
	if d.empty(i) {
		d.delete(uint64(i))
	}
}

func (d *directory) empty(i int) bool {
	if d.entries[i].sharers != 0 {
		return false
	}
	for _, w := range d.more[i*(d.words-1) : (i+1)*(d.words-1)] {
		if w != 0 {
			return false
		}
	}
	return true
}

// delete empties entry i and moves later entries of its run up, so that no tombstones remain.
func (d *directory) delete(i uint64) {
	d.n--
	d.pages[pageOf(d.entries[i].key&lineMask)]--
	w := uint64(d.words - 1)
	for j := i; ; {
		j = (j + 1) & d.mask
		e := &d.entries[j]
		if e.key == 0 {
			break
		}
		if (j-d.home(e.key&lineMask))&d.mask >= (j-i)&d.mask {
			d.entries[i] = *e
			copy(d.more[i*w:(i+1)*w], d.more[j*w:(j+1)*w])
			i = j
		}
	}
	d.entries[i] = entry{}
	clear(d.more[i*w : (i+1)*w])
}

// next returns the first sharer of entry i at or after core, or -1.
func (d *directory) next(i, core int) int {
	for w := core / 64; w < d.words; w++ {
		m := d.entries[i].sharers
		if w > 0 {
			m = d.more[i*(d.words-1)+w-1]
		}
		if w == core/64 {
			m &= ^uint64(0) << (core & 63)
		}
		if m != 0 {
			return w*64 + bits.TrailingZeros64(m)
		}
	}
	return -1
}

// others reports whether a core other than core holds the line of entry i.
func (d *directory) others(i, core int) bool {
	c := d.next(i, 0)
	if c == core {
		c = d.next(i, core+1)
	}
	return c >= 0
}
