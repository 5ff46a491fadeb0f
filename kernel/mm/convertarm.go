package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// The conversions of arm64 with VMEMMAP: the array of struct pages and the linear map begin at constants, and what is loaded is
// memstart_addr (Symbols.PhysBase), the physical address that the linear map begins with.

// pageToPfnArm is page_to_pfn, 8 instructions.
func (m *MM) pageToPfnArm(t *cpu.Thread, a cpu.Val) cpu.Val {
	start := t.Load(m.Env.Sym.PhysBase, t.ALU(3, 0))
	return t.ALU2(t.ALU(3, start), a)
}

// physToPageArm is phys_to_page, 7 instructions. pfn_to_page, which is not recorded, has one less.
func (m *MM) physToPageArm(t *cpu.Thread, a cpu.Val) cpu.Val {
	t.ALU(1, a)
	return m.pfnToPageArm(t, a)
}

func (m *MM) pfnToPageArm(t *cpu.Thread, a cpu.Val) cpu.Val {
	start := t.Load(m.Env.Sym.PhysBase, t.ALU(2, a))
	return t.ALU(3, start)
}

// virtToPageArm is virt_to_page: 6 instructions and no load, since both arrays begin with the same page.
func virtToPageArm(t *cpu.Thread, a cpu.Val) cpu.Val { return t.Chain(6, a) }

// virtToPhysArm is virt_to_phys, not recorded: the test for the kernel image, and memstart_addr added.
func (m *MM) virtToPhysArm(t *cpu.Thread, a cpu.Val) cpu.Val {
	t.Branch(false, t.ALU(2, a))
	start := t.Load(m.Env.Sym.PhysBase, t.ALU(1, a))
	return t.ALU(2, start)
}

// pageToVirtArm is page_address: as virt_to_page, not recorded.
func pageToVirtArm(t *cpu.Thread, a cpu.Val) cpu.Val { return t.Chain(5, a) }

// emitValid12arm follows the recordings gt_pfn_valid of 6.12 on arm64 without the wrapper's entry and return. Memory that came
// later (the subsection bitmap) is read.
func (m *MM) emitValid12arm(t *cpu.Thread, pfn uint64, a cpu.Val, f found) {
	no := func() { t.ALU(1, 0) }
	big := pfn<<12>>12 != pfn
	t.Branch(big, t.ALU(3, a))
	if big {
		no()
		return
	}
	bits := t.Op(cpu.Sysreg, 0) // TCR_EL1: 48 or 52 bits
	nr := t.ALU(6, bits)
	t.Branch(f.tooBig, nr)
	if f.tooBig {
		no()
		return
	}
	root := cpu.Val(0)
	if m.tab.Model != Sparse {
		t.Branch(false, t.ALU(1, nr))
		idx := t.ALU(2, nr)
		t.Branch(false, idx)
		table := t.Load(m.Env.Sym.MemSection, t.ALU(1, 0))
		t.Branch(false, table)
		root = t.Load(m.tab.roots+pfn>>rootShift*8, table)
		t.Branch(f.noRoot, root)
		if f.noRoot {
			no()
			return
		}
	}
	section := t.ALU2(t.ALU(1, nr), root)
	t.Branch(false, section)
	word := t.Load(f.section, section)
	t.Branch(f.noSection, word)
	if f.noSection {
		no()
		return
	}
	t.ALU(1, word)
	if m.tab.Model == SparseVmemmap {
		t.Branch(f.early, word)
		m.emitBitmapArm(t, pfn, a, section, f)
	}
}

// emitBitmapArm tests the subsection bitmap of memory that came after boot.
func (m *MM) emitBitmapArm(t *cpu.Thread, pfn uint64, a, section cpu.Val, f found) {
	if f.early {
		return
	}
	usage := t.Load(f.section+8, section)
	t.Branch(false, usage)
	bit := t.Chain(2, a)
	bits := t.Load(f.usage+usageBitmap, usage)
	t.ALU(1, t.ALU2(bits, bit))
}

var rcuUnlockSched = cpu.NewFunc("rcu_read_unlock_sched", "include/linux/rcupdate.h", 64)

// emitValid73arm follows the recordings of 7.3 on arm64, where the compiler kept the end of the RCU section as a function and the
// lookup therefore needs a frame.
func (m *MM) emitValid73arm(t *cpu.Thread, pfn uint64, a cpu.Val, f found) {
	t.Nop(1)
	t.Push(2)
	t.Reserve(16)
	x := t.ALU(2, a)
	t.StackStore(0, 0)
	m.lookup73arm(t, pfn, t.ALU(1, x), f)
	t.StackLoad(0)
	t.Reserve(-16)
	t.Pop(2)
	t.Nop(1)
}

func (m *MM) lookup73arm(t *cpu.Thread, pfn uint64, a cpu.Val, f found) {
	no := func() {
		t.ALU(1, 0)
		t.Jump()
		t.ALU(1, 0)
	}
	big := pfn<<12>>12 != pfn
	t.Branch(big, a)
	if big {
		no()
		return
	}
	bits := t.Op(cpu.Sysreg, 0)
	nr := t.ALU(6, bits)
	t.Branch(f.tooBig, nr)
	if f.tooBig {
		no()
		return
	}
	root := cpu.Val(0)
	if m.tab.Model != Sparse {
		idx := t.ALU(8, nr)
		t.Branch(false, idx) // UBSAN: the index is within the table
		table := t.Load(m.Env.Sym.MemSection, t.ALU(1, 0))
		t.Branch(false, table)
		root = t.Load(m.tab.roots+pfn>>rootShift*8, table)
		t.Branch(f.noRoot, root)
	}
	if f.noRoot {
		kernel.PreemptDisableArm(t)
		t.Branch(true, root)
		rcuReadUnlockArm(t)
		no()
		return
	}
	section := t.ALU2(t.ALU(1, nr), root)
	t.Jump()
	kernel.PreemptDisableArm(t)
	t.Branch(false, section)
	word := t.Load(f.section, section)
	t.Branch(!f.noSection, word)
	if f.noSection {
		rcuReadUnlockArm(t)
		no()
		return
	}
	if m.tab.Model == SparseVmemmap {
		t.Branch(f.early, word)
		m.emitBitmapArm(t, pfn, a, section, f)
	}
	t.ALU(1, 0)
	rcuReadUnlockArm(t)
	t.ALU(1, 0)
}

// rcuReadUnlockArm emits rcu_read_unlock_sched with preempt_enable: 8 instructions.
func rcuReadUnlockArm(t *cpu.Thread) {
	va := kernel.TaskPreempt(t.CPU)
	t.Call(rcuUnlockSched)
	task := t.Op(cpu.Sysreg, 0)
	n := t.Load(va, task)
	n = t.ALU(1, n)
	t.Mem(cpu.Store, va, 4, task, n)
	t.Branch(false, n)
	t.Branch(true, t.Load(va, task))
	t.Ret()
}
