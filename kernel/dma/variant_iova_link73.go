package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// iovaLink73 is the two-step interface of 7.3 as block drivers use it: one range of I/O addresses for the whole buffer
// (dma_iova_try_alloc), a dma_iova_link for every piece, one dma_iova_sync; dma_iova_destroy takes all of it down and invalidates
// at once, in lazy domains too. Where there is no translation, or a piece would leave a gap in the range, each piece is mapped by
// dma_map_phys, and unmapped only if dma_need_unmap says that it has to be.
type iovaLink73 struct{}

var _ = register(70, iovaLink73{})

func (iovaLink73) Name() string            { return "iova_link@7.3" }
func (iovaLink73) Version() kernel.Version { return kernel.V7_3 }

func (v iovaLink73) MapList(t *cpu.Thread, c *Ctx, l *List, dir kernel.Direction, attrs kernel.Attrs) error {
	l.Nents, l.Addrs, l.State.Size = 0, l.Addrs[:0], 0
	if len(l.Entries) == 0 {
		return ErrEmptyList
	}
	total := l.Size()
	t.Branch(false, t.ALU(3, 0)) // the request's gap mask against the merge boundary
	if c.IOMMU != nil && !c.gaps(l) {
		ok := c.IOMMU.TryAlloc(t, c.Dev, &l.State, l.Entries[0].Phys, total)
		t.Branch(!ok, t.ALU(1, 0))
		if ok {
			if err := c.link(t, l, total, dir, attrs); err != nil {
				_, err = c.fail(l.Buffer(), err)
				return err
			}
			return nil
		}
	}
	top := t.Here()
	for i := range l.Entries {
		e := &l.Entries[i]
		addr, err := c.code().mapPhys(c, t, e.Phys, e.Size, dir, attrs)
		t.Branch(err != nil, t.ALU(1, 0)) // dma_mapping_error
		if err != nil {
			l.Unmap = true
			v.unmapEach(t, c, l, dir, attrs)
			return err
		}
		if i == 0 {
			l.Unmap = c.NeedUnmap(t)
		}
		t.Branch(!l.Unmap, t.ALU(1, 0))
		if l.Unmap {
			at := l.Vecs + VecBytes*uint64(i)
			t.Store(at, 0, 0)
			t.Mem(cpu.Store, at+8, 4, 0, 0)
		}
		l.Addrs = append(l.Addrs, addr)
		t.Loop(top, i+1 < len(l.Entries), t.ALU(2, 0))
	}
	return nil
}

// link fills the range that was allocated.
func (c *Ctx) link(t *cpu.Thread, l *List, total uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	at := uint64(0)
	top := t.Here()
	var err error
	for i := range l.Entries {
		e := &l.Entries[i]
		t.ALU(4, 0)
		if err = c.IOMMU.Link(t, c.Dev, &l.State, e.Phys, at, e.Size, dir, attrs); err != nil {
			break
		}
		t.Branch(false, t.ALU(1, 0))
		at += e.Size
		t.Loop(top, i+1 < len(l.Entries), t.ALU(2, 0))
	}
	if err == nil {
		t.ALU(3, 0)
		err = c.IOMMU.Sync(t, c.Dev, &l.State, 0, total)
		t.Branch(err != nil, t.ALU(1, 0))
	}
	if err != nil {
		c.IOMMU.Destroy(t, c.Dev, &l.State, at, dir, attrs)
		l.State.Size = 0
	}
	return err
}

// gaps reports whether some piece but the first begins, or some piece but the last ends, inside of an IOMMU page of 4 KiB.
func (c *Ctx) gaps(l *List) bool {
	for i := range l.Entries {
		e := &l.Entries[i]
		if i > 0 && e.Phys&4095 != 0 || i+1 < len(l.Entries) && (e.Phys+e.Size)&4095 != 0 {
			return true
		}
	}
	return false
}

func (v iovaLink73) UnmapList(t *cpu.Thread, c *Ctx, l *List, dir kernel.Direction, attrs kernel.Attrs) error {
	use := l.State.Size != 0 // dma_use_iova
	t.Branch(use, t.LoadOp(l.State.VA+8, 0, 0))
	if use {
		t.ALU(4, 0)
		c.IOMMU.Destroy(t, c.Dev, &l.State, l.State.Size, dir, attrs)
		l.State.Size = 0
		return nil
	}
	need := c.NeedUnmap(t)
	t.Branch(!need, t.ALU(1, 0))
	if !need && !l.Unmap {
		l.Addrs = l.Addrs[:0]
		return nil
	}
	return v.unmapEach(t, c, l, dir, attrs)
}

func (iovaLink73) unmapEach(t *cpu.Thread, c *Ctx, l *List, dir kernel.Direction, attrs kernel.Attrs) error {
	return l.unmapEach(mapPhysVariant{}, t, c, dir, attrs)
}

func (v iovaLink73) Map(t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	l := c.single(t, b.Phys, b.Page, b.Size)
	if err := v.MapList(t, c, l, dir, attrs); err != nil {
		return kernel.MappingError, err
	}
	return l.First(), nil
}

func (v iovaLink73) Unmap(t *cpu.Thread, c *Ctx, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	l := c.single(t, 0, 0, size)
	if c.Dev.IOMMU {
		// A driver keeps the state. Addresses keep the place in their granule, so that it can be told from them whether a part bounced.
		l.State.Addr, l.State.Size, l.State.Bounced = addr, size, c.Dev.Untrusted && (addr|size)&4095 != 0
	} else {
		l.State.Size, l.Addrs, l.Unmap = 0, append(l.Addrs, addr), false
	}
	return v.UnmapList(t, c, l, dir, attrs)
}
