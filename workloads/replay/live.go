package replay

import "dmapath/kernel"

// MaxLive is how many mappings may be live at a time; beyond it the oldest is unmapped. A kernel whose driver does not unmap
// (7.3 NVMe on dma-direct) would otherwise fill the memory of the host.
const MaxLive = 1 << 18

// MaxPieces is how many physical pieces all live mappings may have together; beyond it the oldest are unmapped, too.
const MaxPieces = 1 << 20

// mapping is a live mapping.
type mapping struct {
	id     uint64
	dev    int
	how    How
	iommu  bool   // iommu: events stand behind it
	ending bool   // its dma_unmap_sg has been seen, its iommu:unmap not yet
	lo, hi uint64 // as item
	cpu    int
	size   uint64
	dir    kernel.Direction
	attrs  kernel.Attrs
	hash   uint64
	runs   []Piece
	block  bool

	twin         *mapping // older mapping of the same address: dma-direct may map a page twice
	sgTwin       *mapping // next younger list of the same physical addresses
	older, newer *mapping // by age
}

type key struct {
	dev int
	at  uint64 // DMA address, or hash of a scatterlist
}

// table is the live mappings by device and address.
type table struct {
	byAddr   map[key]*mapping
	bySG     map[key]*mapping
	old, new *mapping
	n        int
	pieces   int // of all
}

func newTable() table { return table{byAddr: map[key]*mapping{}, bySG: map[key]*mapping{}} }

func (t *table) add(m *mapping) {
	k := key{m.dev, m.lo}
	m.twin = t.byAddr[k]
	t.byAddr[k] = m
	if m.how == List {
		p := t.bySG[key{m.dev, m.hash}]
		if p == nil {
			t.bySG[key{m.dev, m.hash}] = m
		} else {
			for p.sgTwin != nil {
				p = p.sgTwin
			}
			p.sgTwin = m
		}
	}
	m.older = t.new
	if t.new != nil {
		t.new.newer = m
	} else {
		t.old = m
	}
	t.new = m
	t.n++
	t.pieces += len(m.runs)
}

// find returns the youngest mapping of dev at address at.
func (t *table) find(dev int, at uint64) *mapping { return t.byAddr[key{dev, at}] }

// findSG returns the oldest list of dev that is not ending.
func (t *table) findSG(dev int, hash uint64) *mapping {
	m := t.bySG[key{dev, hash}]
	for m != nil && m.ending {
		m = m.sgTwin
	}
	return m
}

func (t *table) remove(m *mapping) {
	chain(t.byAddr, key{m.dev, m.lo}, m, func(x *mapping) **mapping { return &x.twin })
	if m.how == List {
		chain(t.bySG, key{m.dev, m.hash}, m, func(x *mapping) **mapping { return &x.sgTwin })
	}
	if m.older != nil {
		m.older.newer = m.newer
	} else {
		t.old = m.newer
	}
	if m.newer != nil {
		m.newer.older = m.older
	} else {
		t.new = m.older
	}
	t.n--
	t.pieces -= len(m.runs)
}

// chain takes m out of the list under k.
func chain(in map[key]*mapping, k key, m *mapping, next func(*mapping) **mapping) {
	if in[k] == m {
		if n := *next(m); n != nil {
			in[k] = n
		} else {
			delete(in, k)
		}
		return
	}
	for p := in[k]; p != nil; p = *next(p) {
		if *next(p) == m {
			*next(p) = *next(m)
			return
		}
	}
}
