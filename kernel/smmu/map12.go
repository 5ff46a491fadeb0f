package smmu

import (
	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
)

var (
	fnLpaeMapPages = cpu.NewFunc("arm_lpae_map_pages", filePgt, 560)
	fnLpaeMap      = cpu.NewFunc("__arm_lpae_map", filePgt, 1000)
	fnLpaeIova     = cpu.NewFunc("arm_lpae_iova_to_phys", filePgt, 320)
)

// mapping is what the levels of one arm_lpae_map_pages pass down. Its counter of mapped bytes lies in the core's frame.
type mapping struct {
	size, count uint64 // pages of one size
	pte         uint64 // bits besides address and type
	mapped      uint64
	counter     uint64 // address of the counter
}

// mapPages12 is arm_lpae_map_pages of 6.12: checks, the protection bits, the walk, and one wmb for what was written. EEXIST comes out as
// EADDRINUSE, EINVAL and ENOMEM as themselves.
func (d *Domain) mapPages12(t *cpu.Thread, op cpu.Val, iova, phys, size, count uint64, prot iommucore.Prot) (uint64, error) {
	p := &d.pgt
	enterInd(t, fnLpaeMapPages, op, true)
	t.ALU(2, 0)
	ias := load4(t, p.ias, 0)
	t.ALU(1, 0)
	pgd := t.Load(p.pgd, 0)
	t.ALU(1, ias)
	start := load4(t, p.start, 0)
	t.Branch(false, 0)
	t.ALU(1, 0)
	ok := t.ALU(1, t.Load(p.sizes, 0))
	t.Branch(true, ok)
	q := t.Load(p.quirks, 0)
	t.ALU(2, q)
	t.Branch(false, t.Last())
	t.ALU(1, load4(t, p.oas, 0))
	pte, valid := d.prot(prot)
	bad := iova+size*count > 1<<d.g.Input || phys+size*count > 1<<d.g.Output
	t.Branch(bad, t.Last())
	t.ALU(1, 0)
	t.Branch(!valid, t.Last())
	if bad || !valid {
		t.ALU(1, 0)
		t.Ret()
		if bad {
			return 0, iommucore.ERANGE
		}
		return 0, iommucore.EINVAL
	}
	t.Nop(1)
	t.Reserve(16)
	t.ALU(2, 0)
	t.StorePair(t.SP(), 0, 0)
	t.ALU(1, 0)
	f := load4(t, p.fmt, 0)
	t.ALU(1, f)
	t.Branch(false, t.Last())
	t.ALU(2, 0)
	d.protBits(t, prot)
	t.ALU(3, f)
	t.Reserve(16) // two arguments on the stack
	v := t.ALU(2, start)
	store4(t, t.SP(), 0, start)
	t.ALU(2, v)
	t.StackStore(8, 0)
	t.ALU(4, pgd)
	m := mapping{size: size, count: count, pte: pte, counter: t.SP() + 64}
	err := d.map12(t, &m, d.pgd, t.Last(), iova, phys, d.g.StartLevel())
	t.Reserve(-16)
	t.Op(cpu.Fence, 0) // wmb
	t.LoadPair(t.SP(), 0)
	t.ALU(1, 0)
	t.Reserve(-16)
	t.Nop(1)
	t.Ret()
	return m.mapped, err
}

// protBits emits arm_lpae_prot_to_pte, which is inlined; the recorded protections take 13 instructions (readable, cached), 18 (written,
// cached) and 17 (device memory).
func (d *Domain) protBits(t *cpu.Thread, prot iommucore.Prot) {
	t.Branch(prot&iommucore.Write == 0, 0)
	v := t.ALU(4, 0)
	t.Branch(prot&iommucore.MMIO != 0, v)
	v = t.ALU(3, v)
	t.Branch(false, v)
	t.Branch(prot&iommucore.Cache == 0, v)
	t.ALU(1, v)
	t.Branch(true, t.Last())
	if prot&iommucore.Write != 0 {
		t.ALU(3, 0)
		if prot&iommucore.MMIO == 0 {
			t.ALU(1, 0)
		}
		t.Jump()
	}
}

// map12 is __arm_lpae_map of 6.12 for the level lvl, whose table lies at tbl; tv is what produced that address.
func (d *Domain) map12(t *cpu.Thread, m *mapping, tbl uint64, tv cpu.Val, iova, phys uint64, lvl int) error {
	split(t)
	p := &d.pgt
	enter(t, fnLpaeMap, false)
	t.ALU(2, 0)
	t.Reserve(112)
	for i := range uint64(6) {
		t.StorePair(t.SP()+16*i, 0, 0)
	}
	t.ALU(10, tv)
	w := t.LoadPair(p.start, 0)
	t.ALU(1, 0)
	i := t.ALU(5, t.Mem(cpu.Mul, 0, 0, w, 0))
	start := lvl == d.g.StartLevel()
	t.Branch(!start, i)
	if start {
		i = t.ALU2(i, load4(t, p.pgdBits, 0))
	} else {
		t.ALU(1, i)
	}
	i = t.ALU(5, i)
	at := t.ALU2(i, tv)
	here := m.size == d.block(lvl)
	t.Branch(here, i)
	ent := d.entry(tbl, iova, lvl)
	var err error
	if here {
		err = d.fill12(t, m, ent, at, iova, phys, lvl)
	} else {
		err = d.descend12(t, m, ent, at, iova, phys, lvl)
	}
	for i := range uint64(6) {
		t.LoadPair(t.SP()+16*i, 0)
	}
	t.ALU(1, 0)
	t.Reserve(-112)
	t.Nop(1)
	t.Ret()
	return err
}

// descend12 goes to the next level, through a new table where there is none.
func (d *Domain) descend12(t *cpu.Thread, m *mapping, ent uint64, at cpu.Val, iova, phys uint64, lvl int) error {
	p := &d.pgt
	if lvl >= smmutable.LastLevel {
		t.ALU(2, 0)
		return iommucore.EINVAL
	}
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	v := t.Load(ent, at)
	pte := d.read(ent)
	t.Branch(pte == 0, v)
	if pte == 0 {
		var err error
		if pte, err = d.newTable(t, ent, at); err != nil {
			return err
		}
	} else {
		d.tested(t, v)
	}
	v = t.ALU(2, v)
	t.Branch(leaf(pte, lvl), v)
	if leaf(pte, lvl) {
		t.ALU(2, 0)
		d.AlreadySet++
		return iommucore.EADDRINUSE
	}
	t.ALU(1, v)
	bits := load4(t, p.bits, 0)
	v = t.ALU(4, v)
	v = t.ALU2(v, t.Load(d.env.Sym.PhysBase, 0))
	v = t.Chain(2, v)
	t.ALU(3, bits)
	store4(t, t.SP()+96, 0, load4(t, t.SP()+112, 0))
	t.ALU(2, 0)
	t.StackStore(104, t.StackLoad(120))
	t.ALU(6, v)
	return d.map12(t, m, d.virt(pte, lvl), v, iova, phys, lvl+1)
}

// newTable is __arm_lpae_alloc_pages and arm_lpae_install_table: the new table's zeroes become visible before the compare-and-exchange that
// hangs it in, and a CPU that loses frees its own. It returns the entry.
func (d *Domain) newTable(t *cpu.Thread, ent uint64, at cpu.Val) (uint64, error) {
	t.ALU(6, 0)
	va, ok := d.u.pages.Alloc(t)
	t.ALU(2, 0)
	t.Branch(!ok, t.Last())
	if !ok {
		t.ALU(1, 0)
		return 0, iommucore.ENOMEM
	}
	t.ALU(6, t.Load(d.env.Sym.PhysBase, 0))
	if !d.env.Coherent { // dma_map_single of the table: its zeroes
		d.u.cleanForDevice(t, kernel.Phys(va), 4096)
	}
	t.Op(cpu.Fence, 0) // dma_wmb
	t.Atomic(ent, at, t.Last())
	t.Sync()
	old := d.read(ent)
	t.ALU(1, t.Last())
	t.Branch(old != 0, t.Last())
	if old != 0 {
		d.u.pages.Free(t, va)
		return old, nil
	}
	pte := smmutable.TablePTE(kernel.Phys(va))
	d.write(ent, pte)
	d.Tables++
	t.ALU(2, 0)
	t.Branch(d.env.Coherent, t.Last()) // a coherent walk needs no flush
	if !d.env.Coherent {
		d.clean(t, ent, 1)
		t.Store(ent, at, 0) // ARM_LPAE_PTE_SW_SYNC, for software alone: the line stays dirty
	}
	return pte, nil
}

// fill12 is the last level: arm_lpae_init_pte, which looks at every entry before it writes the first.
func (d *Domain) fill12(t *cpu.Thread, m *mapping, ent uint64, at cpu.Val, iova, phys uint64, lvl int) error {
	p := &d.pgt
	n := min(m.count, d.entriesAt(iova, lvl))
	t.ALU(1, 0)
	f := load4(t, p.fmt, 0)
	t.ALU(10, f)
	t.Branch(true, t.Last())
	top := t.Here()
	for i := range n {
		split(t)
		e := ent + 8*i
		v := t.Load(e, at)
		pte := d.read(e)
		t.ALU(8, v)
		t.Branch(leaf(pte, lvl), v)
		t.ALU(1, v)
		t.Branch(true, t.Last())
		if lvl < smmutable.LastLevel {
			t.ALU(1, v)
			t.Branch(pte&smmutable.PTETypeMask == smmutable.PTETypePage, t.Last())
		}
		switch {
		case leaf(pte, lvl):
			d.AlreadySet++
			t.ALU(2, 0)
			return iommucore.EADDRINUSE
		case pte != 0: // a table: free it before a block replaces it
			if d.unmap12(t, &unmapping{size: m.size, count: 1}, ent&^4095, at, iova+i*m.size, lvl) != m.size {
				return iommucore.EINVAL
			}
		}
		t.ALU(2, 0)
		t.Loop(top, i+1 < n, t.Last())
	}
	if lvl < smmutable.LastLevel {
		t.ALU(1, 0)
		t.Branch(true, t.Last())
	}
	bits := load4(t, p.bits, 0)
	t.ALU(6, bits)
	t.Mem(cpu.Mul, 0, 0, bits, 0)
	t.ALU(2, 0)
	d.writeEntries(t, m, ent, at, phys, lvl, n, 4, 2)
	d.syncEntries(t, ent, n)
	d.count(t, m, n)
	t.Jump()
	return nil
}

// writeEntries is the loop of __arm_lpae_init_pte: pre and post are the instructions around each store.
func (d *Domain) writeEntries(t *cpu.Thread, m *mapping, ent uint64, at cpu.Val, phys uint64, lvl int, n uint64, pre, post int) {
	typ := smmutable.PTETypeBlock
	if lvl == smmutable.LastLevel {
		typ = smmutable.PTETypePage
	}
	top := t.Here()
	for i := range n {
		split(t)
		v := t.ALU(pre, 0)
		t.Store(ent+8*i, at, v)
		d.write(ent+8*i, m.pte|typ|phys+i*m.size)
		t.ALU(post, 0)
		t.Loop(top, i+1 < n, t.Last())
	}
}

// count adds n entries to the caller's counter of mapped bytes.
func (d *Domain) count(t *cpu.Thread, m *mapping, n uint64) {
	c := t.StackLoad(120)
	b := t.Load(m.counter, c)
	t.ALU(1, 0)
	b = t.Mem(cpu.Mul, 0, 0, b, 0)
	t.Store(m.counter, t.StackLoad(120), b)
	m.mapped += n * m.size
}

// iovaToPhys12 is arm_lpae_iova_to_phys of 6.12, a loop over the levels.
func (d *Domain) iovaToPhys12(t *cpu.Thread, op cpu.Val, iova uint64) uint64 {
	p := &d.pgt
	enterInd(t, fnLpaeIova, op, true)
	tv := t.Load(p.pgd, 0)
	t.ALU(2, 0)
	start := load4(t, p.start, 0)
	mem := t.Load(d.env.Sym.PhysBase, 0)
	t.Branch(false, tv)
	t.ALU(5, start)
	t.Nop(1)
	tbl := d.pgd
	top := t.Here()
	for lvl := d.g.StartLevel(); ; lvl++ {
		bits := load4(t, p.bits, 0)
		t.ALU(3, bits)
		i := t.ALU(3, t.Mem(cpu.Mul, 0, 0, bits, 0))
		first := lvl == d.g.StartLevel()
		t.Branch(!first, i)
		if first {
			load4(t, p.pgdBits, 0)
		}
		i = t.ALU(3, i)
		ent := d.entry(tbl, iova, lvl)
		v := t.Load(ent, t.ALU2(i, tv))
		pte := d.read(ent)
		t.ALU(2, v)
		t.Branch(pte == 0, v)
		if pte == 0 {
			t.ALU(1, 0)
			t.Ret()
			return 0
		}
		f := load4(t, p.fmt, 0)
		t.ALU(2, v)
		t.ALU(3, f)
		t.Branch(leaf(pte, lvl), t.Last())
		if leaf(pte, lvl) {
			t.ALU(1, 0)
			t.Branch(false, t.Last())
			t.ALU(12, v)
			t.Ret()
			return d.g.Addr(pte, lvl, table.Leaf) | iova&(d.block(lvl)-1)
		}
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		tv = t.Chain(2, v)
		tv = t.Chain(2, t.ALU2(tv, mem))
		t.Loop(top, true, 0)
		tbl = d.virt(pte, lvl)
	}
}
