package cpu

import "dmapath/tlb"

// Two-stage translation, as a virtual machine has it (AMD APM vol. 2 15.25, nested paging; Intel SDM vol. 3C 29.3, EPT; Arm stage 2): what
// the machine takes for physical addresses, the hypervisor's tables translate once more. A walk needs that for the address of each
// table it reads and for the address of the data; TLBs hold the product, by pages of the smaller of the two sizes.

// nestedTables is where the hypervisor's tables lie, relative to Config.TablePhys: entries of a level, as in tableBase, for 2^52 bytes.
var nestedTables = [4]uint64{1 << 44, 1<<44 + 1<<43, 1<<44 + 1<<43 + 1<<34, 1<<44 + 1<<43 + 1<<35}

// initNested prepares the second stage.
func (m *mmu) initNested(cfg *Config) error {
	m.nested = cfg.NestedShift
	if m.nested == 0 {
		return nil
	}
	for i, wc := range cfg.WalkCaches {
		if wc.Entries != 0 {
			wc.PageShifts = []uint8{dirShift[i]}
			t, err := tlb.New(wc)
			if err != nil {
				return err
			}
			m.ndir[i] = t
		}
	}
	if cfg.NestedTLB == 0 {
		return nil
	}
	var err error
	m.tables, err = tlb.New(tlb.Config{Entries: cfg.NestedTLB, PageShifts: []uint8{m.nested}})
	return err
}

// held is the page size at which a TLB holds a translation of pages of size shift.
func (m *mmu) held(shift uint8) uint8 {
	if m.nested != 0 {
		return min(shift, m.nested)
	}
	return shift
}

// walkCaches lists the caches of the walker.
func (m *mmu) walkCaches() (list []*tlb.Cache) {
	for _, t := range [...]*tlb.Cache{m.dir[0], m.dir[1], m.dir[2], m.ndir[0], m.ndir[1], m.ndir[2], m.tables} {
		if t != nil {
			list = append(list, t)
		}
	}
	return list
}

// nestedTable returns when the hypervisor's translation of the table at pa is known: at t when the cache of such translations has it.
func (c *Core) nestedTable(pa uint64, t int64) int64 {
	m := &c.mmu
	if m.tables == nil {
		return c.nestedWalk(pa, t)
	}
	if _, ok := m.tables.Lookup(0, pa>>m.nested, m.nested); ok {
		return t
	}
	t = c.nestedWalk(pa, t)
	m.tables.Insert(0, pa>>m.nested, m.nested, 0)
	return t
}

// nestedWalk reads the entries of the hypervisor's tables that translate pa, as pageWalk does those of the machine's own. The translation of
// data is kept by the TLBs alone: the cache of table translations would be of no use if the data of every walk went through it
// (Bhargava et al., Accelerating two-dimensional page walks for virtualized systems, ASPLOS 2008).
func (c *Core) nestedWalk(pa uint64, t int64) int64 {
	m := &c.mmu
	leaf := int(m.nested-12) / 9
	level := 3
	for i := leaf; i < 3; i++ {
		if d := m.ndir[i]; d != nil {
			if _, ok := d.Lookup(0, pa>>dirShift[i], dirShift[i]); ok {
				level = i
				break
			}
		}
	}
	for ; level >= leaf; level-- {
		t = c.read(c.cfg.TablePhys+nestedTables[level]+pa>>(12+9*level)<<3, t)
		if level > leaf {
			if d := m.ndir[level-1]; d != nil {
				d.Insert(0, pa>>dirShift[level-1], dirShift[level-1], 0)
			}
		}
	}
	return t
}
