package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// mapSGVariant is dma_map_sgtable and dma_unmap_sgtable: a scatterlist in one call. A buffer of one piece is a list with one entry.
type mapSGVariant struct{ v kernel.Version }

var (
	_ = register(60, mapSGVariant{kernel.V6_12})
	_ = register(61, mapSGVariant{kernel.V7_3})
)

func (m mapSGVariant) Name() string            { return "map_sg@" + m.v.String() }
func (m mapSGVariant) Version() kernel.Version { return m.v }

func (m mapSGVariant) MapList(t *cpu.Thread, c *Ctx, l *List, dir kernel.Direction, attrs kernel.Attrs) error {
	for i := range l.Entries {
		if l.Entries[i].Page == 0 {
			_, err := c.fail(l.piece(i), ErrNoPage)
			return err
		}
	}
	l.State.Size, l.Addrs = 0, l.Addrs[:0]
	if err := c.mapSGTable(t, &l.List, dir, attrs); err != nil {
		_, err = c.fail(l.Buffer(), err)
		return err
	}
	return nil
}

func (m mapSGVariant) UnmapList(t *cpu.Thread, c *Ctx, l *List, dir kernel.Direction, attrs kernel.Attrs) error {
	return c.unmapSGTable(t, &l.List, dir, attrs)
}

func (m mapSGVariant) Map(t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	l := c.single(t, b.Phys, b.Page, b.Size)
	fillEntry(t, l, b)
	if err := m.MapList(t, c, l, dir, attrs); err != nil {
		return kernel.MappingError, err
	}
	return l.First(), nil
}

func (m mapSGVariant) Unmap(t *cpu.Thread, c *Ctx, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	l := c.single(t, 0, 0, size)
	l.Nents, l.Entries[0].Addr, l.Entries[0].Len = 1, addr, size
	return c.unmapSGTable(t, &l.List, dir, attrs)
}

// fillEntry emits sg_init_table and sg_set_page of a list with one entry, inlined into the driver.
func fillEntry(t *cpu.Thread, l *List, b Buffer) {
	t.StringSet(l.VA, 32, 0)
	t.Store(l.VA, 0, t.ALU(2, 0)) // page and end mark
	t.Mem(cpu.Store, l.VA+8, 4, 0, 0)
	t.Mem(cpu.Store, l.VA+12, 4, 0, 0)
}

// single returns the CPU's list for a buffer of one piece.
func (c *Ctx) single(t *cpu.Thread, phys, page, size uint64) *List {
	for len(c.singles) <= t.CPU {
		c.singles = append(c.singles, c.NewList(1))
	}
	l := c.singles[t.CPU]
	l.Reset()
	l.Add(phys, page, size)
	l.Addrs = l.Addrs[:0]
	return l
}
