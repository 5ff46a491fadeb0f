package replay

import (
	"dmapath/kernel"
	"dmapath/sim"
	"dmapath/workloads/ftrace"
)

// Window is how many events are held back until what belongs together is known. Between an iommu:map and the event that
// names its owner lie interrupts and the other CPUs' events; between a link and its unmap lies the time of an I/O.
const Window = 4096

// lookBack is how many undecided events of one CPU are looked through for the one that a dma: event belongs to: the maps of
// requests that are being linked, and what an interrupt left open.
const lookBack = 256

// item is an event that is held back, with what later events told about it.
type item struct {
	kind  ftrace.Kind
	cpu   int
	pid   int
	at    sim.Time
	lo    uint64 // first IOVA, or the DMA address where no iommu: event shows it
	hi    uint64
	phys  uint64
	owned bool // a dma: event has been found; what follows is from it
	gone  bool // part of an item before it
	iommu bool // an iommu: event stands behind it
	how   How
	dev   int
	addr  uint64
	size  uint64
	dir   kernel.Direction
	attrs kernel.Attrs
	runs  []Piece
	recs  []kernel.IOMMUEvent // iommu: events of the call, this one first
	hash  uint64              // scatterlists: of the physical addresses
}

// window is the items held back, oldest first.
type window struct {
	ring       [Window]item
	head, tail uint64
	loose      [][]uint64 // by CPU: iommu:map and iommu:unmap items without owner, oldest first
}

func (w *window) at(seq uint64) *item { return &w.ring[seq%Window] }
func (w *window) full() bool          { return w.tail-w.head == Window }

// push appends an empty item; the window must not be full.
func (w *window) push(ev *ftrace.Event) *item {
	it := w.at(w.tail)
	*it = item{kind: ev.Kind, cpu: ev.CPU, pid: ev.PID, at: ev.Time, lo: ev.Addr, hi: ev.Addr + ev.Size, phys: ev.Phys,
		size: ev.Size, dir: ev.Dir, attrs: ev.Attrs, dev: -1}
	w.tail++
	return it
}

// pushLoose appends an iommu: event, whose owner comes later or never.
func (w *window) pushLoose(ev *ftrace.Event) {
	it := w.push(ev)
	it.hi, it.iommu = ev.End, true
	it.recs = []kernel.IOMMUEvent{{Unmap: ev.Kind == ftrace.IommuUnmap, IOVA: ev.Addr, Phys: ev.Phys, Size: ev.Size, Done: ev.Unmapped}}
	for len(w.loose) <= ev.CPU {
		w.loose = append(w.loose, nil)
	}
	w.loose[ev.CPU] = append(w.loose[ev.CPU], w.tail-1)
}

// find returns the undecided event of kind k on ev's CPU that ev tells the owner of, nil when there is none: the newest whose range contains
// ev's address and that has its pages and its physical address, else the newest that contains the address (a buffer
// that bounces has another physical address, one that is unmapped none). Two devices may use the same IOVA at the same time. It
// is taken out of the list.
func (w *window) find(k ftrace.Kind, ev *ftrace.Event) *item {
	c := ev.CPU
	if c >= len(w.loose) {
		return nil
	}
	l := w.loose[c]
	lo, hi := ev.Addr&^4095, (ev.Addr+ev.Size+4095)&^4095
	found := -1
	for i, n := len(l)-1, 0; i >= 0 && n < lookBack && l[i] >= w.head; i, n = i-1, n+1 {
		it := w.at(l[i])
		if it.kind != k || it.owned || it.gone || it.lo > ev.Addr || ev.Addr >= it.hi {
			continue
		}
		if it.lo == lo && it.hi == hi && (ev.Phys == 0 || it.phys == ev.Phys&^4095) {
			found = i
			break
		}
		if found < 0 {
			found = i
		}
	}
	if found < 0 {
		return nil
	}
	it := w.at(l[found])
	w.loose[c] = append(l[:found], l[found+1:]...)
	return it
}

// lostIOMMU makes of a dma: event, whose iommu: event is not in the trace, an item as if it were: for the pages that it is about.
func (it *item) lostIOMMU() {
	it.lo, it.hi, it.iommu = it.lo&^4095, (it.hi+4095)&^4095, true
}

// unmapOf returns the owned iommu:unmap that ends the mapping of the oldest item: the next one of its range, by a device that has no
// such mapping in held, and makes none before. nil: none, or its owner is unknown.
func (w *window) unmapOf(held func(dev int) bool) *item {
	it := w.at(w.head)
	for seq := w.head + 1; seq < w.tail; seq++ {
		u := w.at(seq)
		if u.gone || u.lo != it.lo {
			continue
		}
		switch {
		case u.kind == ftrace.IommuUnmap && u.owned && u.hi == it.hi && !held(u.dev):
			for s := w.head + 1; s < seq; s++ {
				if m := w.at(s); m.kind == ftrace.IommuMap && m.owned && m.dev == u.dev && m.lo == it.lo {
					return nil
				}
			}
			return u
		case u.kind == ftrace.IommuUnmap && !u.owned && u.hi >= it.hi:
			return nil // that of a link
		}
	}
	return nil
}

// ahead returns the oldest undecided iommu:unmap of CPU c that begins at addr, nil when the window has none. It stays in the list.
func (w *window) ahead(c int, addr uint64) *item {
	if c >= len(w.loose) {
		return nil
	}
	for _, seq := range w.loose[c] {
		if u := w.at(seq); seq > w.head && u.kind == ftrace.IommuUnmap && !u.owned && u.lo == addr {
			return u
		}
	}
	return nil
}

// list returns the undecided maps of CPU c that tile IOVAs from lo to hi at least, oldest first, and takes them out. It goes on
// beyond hi while the ranges are contiguous when more is set: the kernel prints 128 elements of a longer list.
func (w *window) list(c int, lo, hi uint64, more bool) (parts []*item) {
	if c >= len(w.loose) {
		return nil
	}
	l := w.loose[c]
	first := len(l)
	for i, n := len(l)-1, 0; i >= 0 && n < 4*lookBack && l[i] >= w.head; i, n = i-1, n+1 {
		if it := w.at(l[i]); it.kind == ftrace.IommuMap && !it.owned && !it.gone && it.lo == lo {
			first = i
			break
		}
	}
	rest := l[:first]
	for _, seq := range l[first:] {
		it := w.at(seq)
		if it.kind == ftrace.IommuMap && it.lo == lo && (it.lo < hi || more) {
			parts = append(parts, it)
			lo = it.hi
			continue
		}
		rest = append(rest, seq)
	}
	w.loose[c] = rest
	return parts
}

// pop removes the oldest item.
func (w *window) pop() {
	it := w.at(w.head)
	if it.iommu {
		l := w.loose[it.cpu]
		for len(l) > 0 && l[0] <= w.head {
			l = l[1:]
		}
		if len(l) == 0 {
			l = nil // let go of the array that the list has moved through
		}
		w.loose[it.cpu] = l
	}
	w.head++
}
