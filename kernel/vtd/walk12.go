package vtd

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// pfnToPte is pfn_to_dma_pte of 6.12: it walks from the top table to the entry of iova at level target. With target 0 it stops
// at the first entry that is absent or maps a superpage and allocates nothing; otherwise it allocates missing tables
// and returns ok == false when there is no page for one. levelOff is where the caller keeps target_level,
// relative to its stack pointer.
func (d *Domain) pfnToPte(t *cpu.Thread, iova uint64, target int, levelOff int) (pte uint64, level int, at cpu.Val, ok bool) {
	t.Call(fnPfnToPte)
	t.Nop(1)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(3)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.Frame(16)
	agaw := t.Mem(cpu.Load, d.at.agaw, 4, 0, 0)
	t.StackStore(0, 0)
	t.ALU(7, agaw)
	t.Branch(false, t.Last())
	t.ALU(3, agaw)
	t.Branch(false, t.Last()) // !domain_pfn_supported
	tbl := t.Load(d.at.pgd, 0)
	want := t.StackLoad(8 + 16 + 48 + levelOff)
	t.ALU(1, 0)
	t.Jump()
	v := d.pgd
	level = d.levels
	fresh := false // the entry was given a table just now
	top := t.Here()
	for {
		t.ALU(4, want)
		idx := t.ALU(3, tbl)
		pte = entry(v, iova, level)
		if target == 0 {
			t.Branch(true, want)
			p := t.Load(pte, idx)
			val := d.read(pte)
			t.ALU(1, p)
			t.Branch(val&ptePS != 0, t.Last())
			if val&ptePS != 0 {
				t.StackStore(8+16+48+levelOff, 0)
				t.Jump()
				break
			}
			t.ALU(1, p)
			t.Branch(!present(val), t.Last())
			if !present(val) {
				t.StackStore(8+16+48+levelOff, 0)
				t.Jump()
				break
			}
			t.ALU(1, want)
			t.Branch(false, want)
		} else {
			t.Branch(false, want)
			t.ALU(1, want)
			t.Branch(level == target, want)
			if level == target {
				break
			}
			p := t.Mem(cpu.LoadOp, pte, 1, idx, 0)
			absent := !present(d.read(pte))
			t.Branch(!absent, p)
			if absent && !d.addTable12(t, pte, idx) {
				pte = 0
				break
			}
			fresh = absent
		}
		if !fresh {
			t.ALU(1, agaw)
			t.Branch(level == 1, t.Last())
		}
		if level == 1 { // only with target 0
			t.ALU(1, 0)
			t.Branch(true, want)
			t.ALU(1, 0)
			t.StackStore(8+16+48+levelOff, t.Last())
			t.Jump()
			break
		}
		p := t.Load(pte, idx)
		t.ALU(2, p)
		tbl = t.LoadOp(d.env.Sym.PageOffsetBase, 0, t.Last())
		v = virt(d.read(pte))
		level--
		t.Back(top)
	}
	at = t.ALU(1, tbl)
	t.Frame(-16)
	t.Pop(6)
	t.Ret()
	return pte, level, at, pte != 0
}

// addTable12 is the part of pfn_to_dma_pte that gives pte a table of its own.
func (d *Domain) addTable12(t *cpu.Thread, pte uint64, idx cpu.Val) bool {
	t.Mem(cpu.Load, d.at.nid, 4, 0, 0)
	t.StackLoad(0)
	page, ok := d.u.pages.Alloc(t)
	t.ALU(1, 0)
	t.Branch(!ok, t.Last())
	if !ok {
		return false
	}
	d.Tables++
	c := t.Mem(cpu.Load, d.at.flags, 1, 0, 0)
	t.ALU(1, c)
	t.Branch(false, c)
	if !d.env.Coherent {
		t.ALU(2, 0)
		d.u.pages.Clflush(t, page, 4096)
	}
	t.ALU(3, 0)
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	off := t.LoadOp(d.env.Sym.PageOffsetBase, 0, t.Last())
	val := t.ALU(8, off)
	t.Mem(cpu.Atomic, pte, 8, idx, val)
	lost := d.read(pte) != 0 // another CPU was faster while this one allocated
	t.Branch(lost, t.Last())
	if lost {
		d.Tables--
		t.ALU(3, 0)
		d.u.pages.Free(t, page)
		t.StackLoad(0)
		t.ALU(1, 0)
		t.Branch(true, t.Last())
		return true
	}
	d.write(pte, kernel.Phys(page)|pteRead|pteWrite)
	t.Branch(!d.env.Coherent, t.Mem(cpu.LoadOp, d.at.flags, 1, 0, 0))
	if !d.env.Coherent {
		t.ALU(2, 0)
		d.u.pages.Clflush(t, pte, 8)
	}
	t.StackLoad(0)
	t.ALU(1, 0)
	t.Branch(true, t.Last())
	return true
}

// switchToSuper is switch_to_super_page: it frees the tables under n entries of the level from iova on, which are about to
// become superpages.
func (d *Domain) switchToSuper(t *cpu.Thread, iova, n uint64, level int, at cpu.Val) {
	t.ALU(6, at)
	t.Branch(false, t.Last())
	t.ALU(6, at)
	t.StackLoad(0)
	t.StackStore(88, 0)
	t.ALU(6, 0)
	t.Branch(true, t.Last())
	t.StackLoad(0)
	t.ALU(1, 0)
	t.StackStore(24, 0)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.StackLoad(0)
	t.StackLoad(24)
	t.StackStore(72, 0)
	t.StackStore(80, 0)
	t.ALU(2, 0)
	t.StackStore(56, 0)
	t.ALU(1, 0)
	t.StackStore(48, 0)
	t.ALU(1, 0)
	t.StackStore(64, 0)
	t.Jump()
	var pte uint64
	size := uint64(1) << shift(level)
	top := t.Here()
	for i := uint64(0); i < n; i++ {
		if pte == 0 {
			t.StackLoad(8)
			t.ALU(4, 0)
			pte, _, at, _ = d.pfnToPte(t, iova, level, 88)
			t.ALU(1, at)
		}
		p := t.Mem(cpu.LoadOp, pte, 1, at, 0)
		val := d.read(pte)
		table := present(val) && val&ptePS == 0
		t.Branch(present(val), p)
		if table {
			d.freeTables12(t, pte, level)
			d.flushRange(t, iova, iova+size-1, false)
		}
		pte += 8
		iova += size
		t.ALU(2, at)
		t.Branch(pte&4095 == 0, t.Last())
		if pte&4095 == 0 {
			pte = 0
		}
		t.ALU(2, at)
		more := t.LoadOp(t.SP()+24, 0, 0)
		t.Loop(top, i+1 < n, more)
	}
	t.StackLoad(56)
	t.StackLoad(64)
	t.StackLoad(72)
	t.StackLoad(80)
	t.Jump()
}

// freeTables12 is dma_pte_free_pagetable below one entry: it clears the entry and frees the table it pointed to, and
// the tables below that, without waiting for an invalidation.
func (d *Domain) freeTables12(t *cpu.Thread, pte uint64, level int) {
	t.Call(fnFreePT)
	t.Nop(1)
	t.Push(6)
	t.ALU(14, 0)
	p := t.Load(pte, 0)
	t.ALU(4, p)
	t.Branch(false, t.Last())
	tbl := virt(d.read(pte))
	if level > 2 {
		for i := uint64(0); i < 512; i++ {
			split(t)
			e := t.Load(tbl+8*i, p)
			t.ALU(2, e)
			sub := d.read(tbl + 8*i)
			t.Branch(present(sub) && sub&ptePS == 0, e)
			if present(sub) && sub&ptePS == 0 {
				d.freeTables12(t, tbl+8*i, level-1)
			}
			t.ALU(2, 0)
			t.Branch(i < 511, t.Last())
		}
	}
	t.Store(pte, 0, 0)
	d.write(pte, 0)
	t.Branch(!d.env.Coherent, t.Mem(cpu.LoadOp, d.at.flags, 1, 0, 0))
	if !d.env.Coherent {
		d.u.pages.Clflush(t, pte, 8)
	}
	t.ALU(4, 0)
	d.u.pages.Free(t, tbl)
	d.Tables--
	t.Pop(6)
	t.Ret()
}
