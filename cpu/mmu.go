package cpu

import (
	"fmt"

	"dmapath/tlb"
)

// mmu is the core's address translation: first-level TLBs by page size, a shared second level, caches of directory
// entries, and page walkers that read synthetic page tables through the data caches. Kernel translations
// are global, so there is one domain and nothing is invalidated by context switches.
type mmu struct {
	dtlb, itlb, stlb [64]*tlb.Cache // by page shift; nil: no TLB holds that size
	dshift, ishift   [64]uint8      // page shift -> size at which the first level holds it, 0: cannot
	sshift           [64]uint8
	lists            [3][]*tlb.Cache // dtlb, itlb, stlb without repetition
	dir              [3]*tlb.Cache   // entries of tables that map 2 MiB, 1 GiB, 512 GiB regions
	walkers          []int64         // cycle from which each walker is free

	nested uint8         // page size of the hypervisor's mapping, 0: none
	tables *tlb.Cache    // its translations of pages that hold tables
	ndir   [3]*tlb.Cache // entries of its tables, as dir

	text      *tlb.Cache // first-level instruction TLB of kernel text
	textShift uint8      // page size it holds text in
	textSize  uint8      // page size of the tables that map text
	textPhys  uint64

	// micro remembers recent 4 KiB translations that are in a first-level data TLB. Any insertion there starts a new
	// generation, which forgets all of them; so TLB recency is exact between pages used since different misses
	// and unordered among pages used since the same one.
	micro [128]microEntry
	gen   uint64
}

type microEntry struct {
	page  uint64 // va>>12
	gen   uint64
	delta uint64 // pa - va
}

// dirShift is log2 of the bytes mapped by an entry of the i-th directory cache.
var dirShift = [3]uint8{21, 30, 39}

func (m *mmu) init(cfg *Config, sp *Space) error {
	build := func(list []tlb.Config, by *[64]*tlb.Cache, to *[64]uint8, n int) error {
		for _, tc := range list {
			t, err := tlb.New(tc)
			if err != nil {
				return err
			}
			m.lists[n] = append(m.lists[n], t)
			for _, s := range tc.PageShifts {
				by[s] = t
			}
		}
		for s, last := 0, uint8(0); s < 64; s++ {
			if by[s] != nil {
				last = uint8(s)
			}
			to[s] = last
		}
		return nil
	}
	if err := build(cfg.DTLB, &m.dtlb, &m.dshift, 0); err != nil {
		return err
	}
	if err := build(cfg.ITLB, &m.itlb, &m.ishift, 1); err != nil {
		return err
	}
	if err := build(cfg.STLB, &m.stlb, &m.sshift, 2); err != nil {
		return err
	}
	for i, wc := range cfg.WalkCaches {
		if wc.Entries != 0 {
			wc.PageShifts = []uint8{dirShift[i]}
			t, err := tlb.New(wc)
			if err != nil {
				return err
			}
			m.dir[i] = t
		}
	}
	if err := m.initNested(cfg); err != nil {
		return err
	}
	m.walkers = make([]int64, cfg.Walkers)
	m.gen = 1
	if sp == nil {
		return fmt.Errorf("cpu: core without an address space")
	}
	for _, r := range sp.Regions {
		if r.PageShift != 12 && r.PageShift != 21 && r.PageShift != 30 {
			return fmt.Errorf("cpu: region %s: PageShift is %d: allowed are 12, 21 and 30", r.Name, r.PageShift)
		}
		if m.dshift[m.held(r.PageShift)] == 0 && !r.Uncached {
			return fmt.Errorf("cpu: region %s: no data TLB holds pages of 2^%d bytes or less", r.Name, r.PageShift)
		}
	}
	m.textSize, m.textPhys = cfg.TextShift, cfg.TextPhys
	if r := sp.Find(TextBase); r != nil {
		m.textSize, m.textPhys = r.PageShift, r.PBase+TextBase-r.VBase
	}
	m.textShift = m.ishift[m.held(m.textSize)]
	if m.textShift == 0 {
		return fmt.Errorf("cpu: no instruction TLB holds pages of 2^%d bytes or less", m.textSize)
	}
	m.text = m.itlb[m.textShift]
	return nil
}

func (m *mmu) forget() {
	for _, l := range m.lists {
		for _, t := range l {
			t.InvalidateAll()
		}
	}
	for _, t := range m.walkCaches() {
		t.InvalidateAll()
	}
	m.gen++
}

// displace replaces a fraction of every TLB by foreign entries.
func (m *mmu) displace(fraction float64) {
	for _, l := range m.lists {
		for _, t := range l {
			t.Displace(int(fraction*float64(t.Config().Entries) + 0.5))
		}
	}
	for _, t := range m.walkCaches() {
		t.Displace(int(fraction*float64(t.Config().Entries) + 0.5))
	}
	m.gen++
}

// foreign enters 4 KiB pages of other code and data into the TLBs that hold such pages.
func (m *mmu) foreign(code, data int) {
	if t := m.itlb[12]; t != nil {
		t.Displace(code)
	}
	if t := m.dtlb[12]; t != nil {
		t.Displace(data)
	}
	if t := m.stlb[12]; t != nil {
		t.Displace(code + data)
	}
	for _, t := range [...]*tlb.Cache{m.dir[0], m.ndir[0], m.tables} {
		if t != nil {
			t.Displace((code + data) / 8)
		}
	}
	m.gen++
}

func (m *mmu) stats() (data, code, second tlb.Stats) {
	out := [3]*tlb.Stats{&data, &code, &second}
	for i, l := range m.lists {
		for _, t := range l {
			s, o := t.Stats, out[i]
			o.Lookups += s.Lookups
			o.Hits += s.Hits
			o.Inserts += s.Inserts
			o.Evictions += s.Evictions
		}
	}
	return data, code, second
}

// translate sets c.pa for a data access at va whose address is known at t and returns when the translation is known
// beyond what the L1 latency hides: t itself on a first-level hit.
func (c *Core) translate(va uint64, t int64, fa *FnCount) int64 {
	page := va >> 12
	e := &c.mmu.micro[(page^page>>9)&127]
	if e.page == page && e.gen == c.mmu.gen {
		c.pa = va + e.delta
		return t
	}
	return c.translateSlow(va, t, fa)
}

func (c *Core) translateSlow(va uint64, t int64, fa *FnCount) int64 {
	r := c.sp.Find(va)
	if r == nil || va-r.VBase >= r.Size || r.Uncached {
		panic(fmt.Sprintf("cpu: %s accesses %#x, which no cached region maps", FuncByID(c.fn).Name, va))
	}
	m := &c.mmu
	delta := r.phys(va) - va
	s := m.dshift[m.held(r.PageShift)]
	first := m.dtlb[s]
	if _, ok := first.Lookup(0, va>>s, s); !ok {
		fa.DTLBMisses++
		t = c.second(va, va+delta, r.PageShift, t, fa)
		first.Insert(0, va>>s, s, 0)
		m.gen++
	}
	page := va >> 12
	m.micro[(page^page>>9)&127] = microEntry{page, m.gen, delta}
	c.pa = va + delta
	return t
}

// second looks va up in the second level and walks the page tables, which map it to pa by a page of size shift, if it is not there.
func (c *Core) second(va, pa uint64, shift uint8, t int64, fa *FnCount) int64 {
	m := &c.mmu
	s := m.sshift[m.held(shift)]
	t2 := m.stlb[s]
	t += int64(c.cfg.STLBLatency)
	if t2 != nil {
		if _, ok := t2.Lookup(0, va>>s, s); ok {
			return t
		}
	}
	fa.Walks++
	t = c.pageWalk(va, pa, shift, t)
	if t2 != nil {
		t2.Insert(0, va>>s, s, 0)
	}
	return t
}

// pageWalk reads the table entries that map va to data, from the lowest directory level that a walk cache knows downwards, and
// returns when the last one is there. Below a hypervisor the tables lie at addresses that it translates, and so do the data.
func (c *Core) pageWalk(va, data uint64, shift uint8, t int64) int64 {
	m := &c.mmu
	w := 0
	for i := range m.walkers {
		if m.walkers[i] < m.walkers[w] {
			w = i
		}
	}
	t = max(t, m.walkers[w]) + int64(c.cfg.WalkStart)
	// Levels by what an entry maps: 0 4 KiB, 1 2 MiB, 2 1 GiB, 3 512 GiB.
	leaf := int(shift-12) / 9
	level := 3
	for i := leaf; i < 3; i++ { // dir[i] knows the table that an entry of level i lies in
		if d := m.dir[i]; d != nil {
			if _, ok := d.Lookup(0, va>>dirShift[i], dirShift[i]); ok {
				level = i
				break
			}
		}
	}
	for ; level >= leaf; level-- {
		pa := c.cfg.TablePhys + tableBase[level] + (va&(1<<48-1))>>(12+9*level)<<3
		if m.nested != 0 {
			t = c.nestedTable(pa, t)
		}
		t = c.read(pa, t)
		if level > leaf {
			if d := m.dir[level-1]; d != nil {
				d.Insert(0, va>>dirShift[level-1], dirShift[level-1], 0)
			}
		}
	}
	if m.nested != 0 {
		t = c.nestedWalk(data, t)
	}
	m.walkers[w] = t
	return t
}

// tableBase is where the entries of a level lie in the window TablePhys: as in a linear ("self-map") view of the tables,
// so that entries of neighbouring pages share lines.
var tableBase = [4]uint64{0, 1 << 39, 1<<39 + 1<<30, 1<<39 + 1<<31}

// read returns when a word at pa that is read at t is there.
func (c *Core) read(pa uint64, t int64) int64 {
	ready, ok := c.h.LoadHit(c.id, pa)
	lat := t + c.class[Load].lat
	if !ok {
		done, _ := c.h.Load(c.id, pa, 0, c.edge(t))
		return max(lat, c.cyc(done))
	}
	if ready != 0 {
		return max(lat, c.cyc(ready))
	}
	return lat
}
