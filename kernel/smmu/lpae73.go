package smmu

import (
	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/iommu/table"
	"dmapath/kernel/iommucore"
)

var (
	fnWalk      = cpu.NewFunc("__arm_lpae_iopte_walk", filePgt, 640)
	fnVisitIova = cpu.NewFunc("visit_iova_to_phys", filePgt, 40)
)

// mapPages73 is arm_lpae_map_pages of 7.3. It differs from 6.12 in the order of the checks and in saving more registers.
func (d *Domain) mapPages73(t *cpu.Thread, op cpu.Val, iova, phys, size, count uint64, prot iommucore.Prot) (uint64, error) {
	p := &d.pgt
	enterInd(t, fnLpaeMapPages, op, false)
	t.ALU(1, 0)
	t.Reserve(112)
	for i := range uint64(6) {
		t.StorePair(t.SP()+16+16*i, 0, 0)
	}
	t.ALU(9, 0)
	load4(t, p.ias, 0)
	pgd := t.Load(p.pgd, 0)
	start := load4(t, p.start, 0)
	t.ALU(1, 0)
	pte, valid := d.prot(prot)
	bad := iova+size*count > 1<<d.g.Input || phys+size*count > 1<<d.g.Output
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	t.Branch(count == 0, 0)
	t.Branch(false, t.ALU(1, t.Load(p.sizes, 0)))
	t.Branch(false, t.ALU(2, t.Load(p.quirks, 0)))
	oas := load4(t, p.oas, 0)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.ALU(1, oas)
	t.Branch(bad, t.Last())
	t.ALU(1, 0)
	t.Branch(!valid, t.Last())
	m := mapping{size: size, count: count, pte: pte, counter: t.SP() + 176}
	var err error
	switch {
	case bad:
		err = iommucore.ERANGE
	case !valid:
		err = iommucore.EINVAL
	default:
		f := load4(t, p.fmt, 0)
		t.Load(p.quirks, 0)
		t.ALU(1, f)
		t.Branch(false, t.Last())
		t.ALU(2, 0)
		t.Branch(false, t.Last())
		d.protBits73(t, prot)
		t.ALU(1, 0)
		store4(t, t.SP(), 0, start)
		t.ALU(1, 0)
		t.StackStore(8, 0)
		t.ALU(4, pgd)
		err = d.map73(t, &m, d.pgd, t.Last(), iova, phys, d.g.StartLevel())
		t.Op(cpu.Fence, 0)
	}
	for i := range uint64(6) {
		t.LoadPair(t.SP()+16+16*i, 0)
	}
	t.ALU(1, 0)
	t.Reserve(-112)
	t.Nop(1)
	t.Ret()
	return m.mapped, err
}

// protBits73 is arm_lpae_prot_to_pte inlined: 12 instructions (readable, cached), 17 (written, cached), 16 (device memory).
func (d *Domain) protBits73(t *cpu.Thread, prot iommucore.Prot) {
	v := t.ALU(6, 0)
	t.Branch(prot&iommucore.Write == 0, v)
	t.Branch(prot&iommucore.MMIO != 0, v)
	t.Branch(true, v)
	if prot&iommucore.Write != 0 {
		t.ALU(2, v)
		t.Jump()
		t.ALU(1, v)
		if prot&iommucore.MMIO == 0 {
			t.Branch(true, v)
		}
	}
	t.ALU(2, v)
	t.Jump()
}

// map73 is __arm_lpae_map of 7.3.
func (d *Domain) map73(t *cpu.Thread, m *mapping, tbl uint64, tv cpu.Val, iova, phys uint64, lvl int) error {
	split(t)
	p := &d.pgt
	enter(t, fnLpaeMap, false)
	t.ALU(3, 0)
	t.Reserve(112)
	for i := range uint64(6) {
		t.StorePair(t.SP()+16*i, 0, 0)
	}
	t.ALU(9, tv)
	bits := load4(t, p.bits, 0)
	t.ALU(1, 0)
	i := t.ALU(3, t.Mem(cpu.Mul, 0, 0, bits, 0))
	t.Branch(false, i)
	t.ALU(4, bits)
	t.Branch(false, t.Last())
	t.ALU(1, load4(t, p.start, 0))
	start := lvl == d.g.StartLevel()
	t.Branch(!start, t.Last())
	if start {
		load4(t, p.pgdBits, 0)
	}
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	i = t.ALU(7, i)
	at := t.ALU2(i, tv)
	here := m.size == d.block(lvl)
	t.Branch(here, i)
	ent := d.entry(tbl, iova, lvl)
	var err error
	if here {
		err = d.fill73(t, m, ent, at, iova, phys, lvl)
	} else {
		err = d.descend73(t, m, ent, at, iova, phys, lvl)
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

func (d *Domain) descend73(t *cpu.Thread, m *mapping, ent uint64, at cpu.Val, iova, phys uint64, lvl int) error {
	p := &d.pgt
	t.ALU(1, 0)
	t.Branch(lvl >= smmutable.LastLevel, t.Last())
	if lvl >= smmutable.LastLevel {
		return iommucore.EINVAL
	}
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
	t.ALU(2, v)
	t.Branch(leaf(pte, lvl), t.Last())
	if leaf(pte, lvl) {
		d.AlreadySet++
		return iommucore.EADDRINUSE
	}
	bits := load4(t, p.bits, 0)
	v = t.ALU(2, v)
	t.Branch(false, bits)
	v = t.ALU(8, v)
	v = t.Chain(2, t.ALU2(v, t.Load(d.env.Sym.PhysBase, 0)))
	store4(t, t.SP()+96, 0, load4(t, t.SP()+112, 0))
	t.ALU(1, 0)
	t.StackStore(104, t.StackLoad(120))
	t.ALU(5, v)
	return d.map73(t, m, d.virt(pte, lvl), v, iova, phys, lvl+1)
}

func (d *Domain) fill73(t *cpu.Thread, m *mapping, ent uint64, at cpu.Val, iova, phys uint64, lvl int) error {
	p := &d.pgt
	n := min(m.count, d.entriesAt(iova, lvl))
	bits := load4(t, p.bits, 0)
	t.ALU(1, bits)
	t.Branch(false, t.Last())
	t.ALU(10, 0)
	store4(t, t.SP()+100, 0, 0)
	t.ALU(3, 0)
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	t.Jump()
	top := t.Here()
	for i := range n {
		split(t)
		e := ent + 8*i
		v := t.Load(e, at)
		pte := d.read(e)
		t.ALU(1, 0)
		f := load4(t, p.fmt, 0)
		t.ALU(2, v)
		t.Branch(leaf(pte, lvl), f)
		t.ALU(1, v)
		t.Branch(true, t.Last())
		switch {
		case leaf(pte, lvl):
			d.AlreadySet++
			t.ALU(2, 0)
			return iommucore.EADDRINUSE
		case pte != 0:
			if d.unmap73(t, &unmapping{size: m.size, count: 1}, ent&^4095, at, iova+i*m.size, lvl) != m.size {
				return iommucore.EINVAL
			}
		}
		t.ALU(2, 0)
		t.Loop(top, i+1 < n, t.Last())
	}
	bits = load4(t, p.bits, 0)
	t.ALU(2, t.Mem(cpu.Mul, 0, 0, bits, 0))
	t.Branch(false, t.Last())
	f := load4(t, p.fmt, 0)
	t.ALU(6, f)
	load4(t, t.SP()+100, 0)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	if lvl < smmutable.LastLevel {
		t.ALU(2, 0)
	}
	d.writeEntries(t, m, ent, at, phys, lvl, n, 5, 2)
	d.syncEntries(t, ent, n)
	d.count(t, m, n)
	t.Jump()
	return nil
}

// unmapPages73 is arm_lpae_unmap_pages of 7.3.
func (d *Domain) unmapPages73(t *cpu.Thread, op cpu.Val, iova, size, count uint64, g *iommucore.Gather) uint64 {
	p := &d.pgt
	enterInd(t, fnLpaeUnmapPages, op, false)
	open(t, 80, 4)
	t.ALU(6, 0)
	t.StackStore(64, 0)
	t.ALU(1, 0)
	load4(t, p.ias, 0)
	pgd := t.Load(p.pgd, 0)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.Branch(count == 0, 0)
	t.ALU(3, t.Load(p.sizes, 0))
	t.Branch(true, t.Last())
	t.ALU(3, t.Load(p.quirks, 0))
	t.Branch(false, t.Last())
	load4(t, p.start, 0)
	t.ALU(5, 0)
	n := d.unmap73(t, &unmapping{size, count, g}, d.pgd, pgd, iova, d.g.StartLevel())
	t.StackLoad(64)
	t.LoadPair(t.SP()+16, 0)
	t.LoadPair(t.SP()+32, 0)
	t.LoadPair(t.SP()+48, 0)
	shut(t, 80, 1)
	return n
}

// unmap73 is __arm_lpae_unmap of 7.3.
func (d *Domain) unmap73(t *cpu.Thread, u *unmapping, tbl uint64, tv cpu.Val, iova uint64, lvl int) uint64 {
	split(t)
	p := &d.pgt
	enter(t, fnLpaeUnmap, false)
	t.Reserve(128)
	t.StorePair(t.SP(), 0, 0)
	t.ALU(1, 0)
	t.StorePair(t.SP()+16, 0, 0)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	for i := range uint64(3) {
		t.StorePair(t.SP()+32+16*i, 0, 0)
		t.ALU(2, tv)
	}
	i := t.ALU(2, t.Mem(cpu.Mul, 0, 0, load4(t, p.bits, 0), 0))
	t.Branch(false, i)
	t.ALU(1, load4(t, p.start, 0))
	start := lvl == d.g.StartLevel()
	t.Branch(!start, t.Last())
	if start {
		load4(t, p.pgdBits, 0)
	}
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	i = t.ALU(6, i)
	at := t.ALU2(i, tv)
	ent := d.entry(tbl, iova, lvl)
	v := t.Load(ent, at)
	pte := d.read(ent)
	t.Branch(pte == 0, v)
	done := uint64(0)
	if pte != 0 { // else a warning
		t.ALU(2, t.Mem(cpu.Mul, 0, 0, load4(t, p.bits, 0), 0))
		t.Branch(false, t.Last())
		t.ALU(3, 0)
		here := u.size == d.block(lvl)
		t.Branch(here, t.Last())
		if here {
			return d.clear73(t, u, ent, at, iova, lvl)
		}
		f := load4(t, p.fmt, 0)
		t.ALU(3, f)
		t.Branch(leaf(pte, lvl), t.Last())
		if !leaf(pte, lvl) { // part of a block: a warning, and nothing is unmapped
			t.ALU(2, 0)
			t.Branch(true, t.Last())
			bits := load4(t, p.bits, 0)
			v = t.ALU(2, v)
			t.Branch(false, bits)
			v = t.ALU(5, v)
			t.ALU(6, 0)
			v = t.ALU2(v, t.Load(d.env.Sym.PhysBase, 0))
			t.ALU(2, 0)
			v = t.ALU(1, v)
			done = d.unmap73(t, u, d.virt(pte, lvl), v, iova, lvl+1)
		}
	}
	t.ALU(1, 0)
	t.LoadPair(t.SP()+32, 0)
	t.ALU(1, 0)
	t.LoadPair(t.SP()+48, 0)
	t.LoadPair(t.SP()+64, 0)
	shutTwo(t, 128)
	return done
}

// clear73 is the last level of an unmap.
func (d *Domain) clear73(t *cpu.Thread, u *unmapping, ent uint64, at cpu.Val, iova uint64, lvl int) uint64 {
	p := &d.pgt
	n := min(u.count, d.entriesAt(iova, lvl))
	t.ALU(1, load4(t, p.bits, 0))
	t.Branch(false, t.Last())
	t.ALU(9, at)
	t.Branch(false, t.Last())
	t.ALU(5, 0)
	t.StorePair(t.SP()+80, 0, 0)
	t.ALU(2, 0)
	store4(t, t.SP()+120, 0, 0)
	t.ALU(1, 0)
	t.StackStore(112, 0)
	t.Jump()
	n = d.scan(t, u, ent, at, iova, lvl, n)
	t.ALU(2, load4(t, t.SP()+104, 0))
	t.Mem(cpu.Mul, 0, 0, 0, 0)
	t.Jump()
	t.ALU(3, 0)
	d.clearEntries(t, ent, n)
	t.Branch(u.gather == nil, 0)
	if g := u.gather; g != nil {
		t.Branch(g.Queued, t.Mem(cpu.Load, g.VA+iommucore.GatherQueued, 1, 0, 0))
		if !g.Queued {
			t.ALU(1, 0)
			top := t.Here()
			for i := range n {
				split(t)
				tlb := t.Load(p.tlb, 0)
				t.ALU(3, 0)
				t.Branch(false, tlb)
				op := t.Load(d.u.flush+40, tlb)
				t.Branch(false, op)
				t.Load(p.cookie, 0)
				d.addPage(t, op, g, iova+i*u.size, u.size)
				t.ALU(3, 0)
				t.Loop(top, i+1 < n, t.Last())
			}
		}
	}
	for i := range uint64(4) {
		t.LoadPair(t.SP()+32+16*i, 0)
	}
	t.Jump()
	t.ALU(1, 0)
	shutTwo(t, 128)
	return n * u.size
}

// iovaToPhys73 is arm_lpae_iova_to_phys of 7.3: a walk with a visitor that remembers the last entry.
func (d *Domain) iovaToPhys73(t *cpu.Thread, op cpu.Val, iova uint64) uint64 {
	p := &d.pgt
	enterInd(t, fnLpaeIova, op, false)
	t.ALU(1, 0)
	t.Reserve(144)
	task := t.Op(cpu.Sysreg, 0)
	t.ALU(9, 0)
	for i := range uint64(3) {
		t.StorePair(t.SP()+96+16*i, 0, 0)
	}
	t.StackStore(88, t.Load(d.guard(t), task))
	load4(t, p.start, 0)
	pgd := t.Load(p.pgd, 0)
	for i := range uint64(5) {
		t.StorePair(t.SP()+8+16*i, 0, 0)
	}
	t.ALU(3, pgd)
	w := walk{iova: iova, state: t.SP() + 8}
	d.walk73(t, &w, d.pgd, pgd, d.g.StartLevel())
	t.Branch(!w.found, t.Last())
	phys := uint64(0)
	if w.found {
		l := t.ALU(1, load4(t, w.state+8, 0))
		bits := load4(t, p.bits, 0)
		t.ALU(1, l)
		t.ALU(2, t.Mem(cpu.Mul, 0, 0, bits, l))
		t.Branch(false, t.Last())
		v := t.Load(w.state, 0)
		t.ALU(5, v)
		t.Branch(false, t.Last())
		t.ALU(8, v)
		phys = d.g.Addr(w.pte, w.lvl, table.Leaf) | iova&(d.block(w.lvl)-1)
	}
	d.u.checkCanary(t, 88)
	t.ALU(1, 0)
	for i := range uint64(3) {
		t.LoadPair(t.SP()+96+16*i, 0)
	}
	t.ALU(1, 0)
	t.Reserve(-144)
	t.Nop(1)
	t.Ret()
	return phys
}

// walk is struct io_pgtable_walk_data with what visit_iova_to_phys keeps in it: the last entry at state, its level behind it.
type walk struct {
	iova  uint64
	state uint64
	pte   uint64
	lvl   int
	found bool
}

// walk73 is __arm_lpae_iopte_walk for a range of one byte.
func (d *Domain) walk73(t *cpu.Thread, w *walk, tbl uint64, tv cpu.Val, lvl int) {
	split(t)
	p := &d.pgt
	enter(t, fnWalk, true)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.Nop(1)
	open(t, 112, 6)
	t.ALU(5, tv)
	load4(t, p.start, 0)
	t.ALU(1, 0)
	start := lvl == d.g.StartLevel()
	t.Branch(start, t.Last())
	var bits cpu.Val
	if start {
		t.ALU(1, load4(t, p.pgdBits, 0))
		t.Branch(false, t.Last())
		t.ALU(1, 0)
		bits = load4(t, p.bits, 0)
		t.ALU(2, bits)
		t.Jump()
		t.ALU(2, 0)
	} else {
		bits = load4(t, p.bits, 0)
		t.ALU(2, bits)
		t.Branch(false, t.Last())
		t.ALU(5, 0)
	}
	addr := t.Load(w.state+48, 0)
	m := t.ALU(2, t.Mem(cpu.Mul, 0, 0, bits, 0))
	t.Branch(false, m)
	t.ALU(1, load4(t, p.start, 0))
	t.Branch(!start, t.Last())
	if start {
		load4(t, p.pgdBits, 0)
	}
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	i := t.ALU2(addr, m)
	t.ALU(5, i)
	t.Branch(false, t.Last())
	i = t.ALU2(t.ALU(2, i), tv)
	t.ALU(7, 0)
	store4(t, t.SP()+108, 0, 0)
	t.Jump()
	t.ALU(1, t.LoadPair(w.state+48, 0))
	t.Branch(false, t.Last())
	bits = load4(t, p.bits, 0)
	ent := d.entry(tbl, w.iova, lvl)
	v := t.Load(ent, i)
	pte := d.read(ent)
	t.ALU(2, t.Mem(cpu.Mul, 0, 0, bits, 0))
	t.Branch(false, t.Last())
	visit := t.Load(w.state+32, 0)
	t.ALU(5, 0)
	d.visit(t, w, visit, ent, i, pte, lvl)
	t.Branch(true, t.Last())
	f := load4(t, p.fmt, 0)
	t.ALU(3, v)
	t.Branch(leaf(pte, lvl), f)
	if leaf(pte, lvl) {
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		a := t.Load(w.state+48, 0)
		a = t.ALU(2, a)
		t.Store(w.state+48, 0, a)
		t.ALU(1, a)
		w.found = true
		d.nextEntry(t, w, lvl)
	} else {
		t.ALU(1, 0)
		t.Branch(pte == 0, t.Last())
		if pte != 0 {
			t.ALU(1, 0)
			t.Branch(false, t.Last())
			t.ALU(1, 0)
			t.Branch(false, t.Last())
			bits = load4(t, p.bits, 0)
			v = t.ALU(2, v)
			t.Branch(false, bits)
			v = t.ALU(8, v)
			load4(t, t.SP()+108, 0)
			t.ALU(1, 0)
			v = t.ALU2(v, t.Load(d.env.Sym.PhysBase, 0))
			t.ALU(2, v)
			d.walk73(t, w, d.virt(pte, lvl), v, lvl+1)
			t.Branch(false, 0)
			t.ALU(2, 0)
			d.nextEntry(t, w, lvl)
		}
	}
	t.LoadPair(t.SP()+16, 0)
	t.ALU(1, 0)
	for i := range uint64(4) {
		t.LoadPair(t.SP()+32+16*i, 0)
	}
	shut(t, 112, 1)
}

// nextEntry emits the end of the loop over a table: behind its last entry, or because the range is done.
func (d *Domain) nextEntry(t *cpu.Thread, w *walk, lvl int) {
	last := d.entriesAt(w.iova, lvl) == 1
	t.Branch(last, t.Last())
	if !last {
		t.ALU(1, t.LoadPair(w.state+48, 0))
		t.Branch(true, t.Last())
	}
}

// visit is visit_iova_to_phys: 9 instructions.
func (d *Domain) visit(t *cpu.Thread, w *walk, target cpu.Val, ent uint64, at cpu.Val, pte uint64, lvl int) {
	enterInd(t, fnVisitIova, target, true)
	t.ALU(2, 0)
	v := t.Load(ent, at)
	data := t.Load(w.state+24, 0)
	t.Store(w.state, data, v)
	store4(t, w.state+8, data, 0)
	t.Ret()
	w.pte, w.lvl = pte, lvl
}
