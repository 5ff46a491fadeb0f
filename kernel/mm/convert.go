package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// The conversions between frame number, physical address, struct page and direct-map address. Each returns its result
// and emits what the compiler inlines; a nil t emits nothing. With VMEMMAP they are arithmetic and one read-mostly
// global; without it they look the section up, and page_to_pfn even reads the struct page.

// PfnToPage is pfn_to_page: 3 instructions with VMEMMAP.
func (m *MM) PfnToPage(t *cpu.Thread, pfn uint64, a cpu.Val) (uint64, cpu.Val) {
	page := cpu.VmemmapBase + pfn*64
	if t == nil {
		return page, 0
	}
	if m.vmemmapArm() {
		return page, m.pfnToPageArm(t, a)
	}
	switch m.tab.Model {
	case SparseVmemmap:
		return page, t.LoadOp(m.Env.Sym.VmemmapBase, 0, t.Chain(2, a))
	case Flat:
		return page, t.LoadOp(m.tab.flat, 0, t.Chain(2, a))
	}
	word := m.emitSection(t, pfn, a)
	base := t.ALU(1, word) // clear the flag bits
	return page, t.ALU2(base, t.Chain(2, a))
}

// emitSection emits __pfn_to_section and the load of the section's word. The caller knows that the frame is valid.
func (m *MM) emitSection(t *cpu.Thread, pfn uint64, a cpu.Val) cpu.Val {
	nr := pfn >> pfnSectionShift
	va := m.tab.roots // where a kernel that skipped pfn_valid would read garbage; here some address that is mapped
	slot := va
	if nr < m.tab.sections {
		slot += nr / perRoot * 8
		if s := m.sectionVA(nr, false); s != 0 {
			va = s
		}
	}
	idx := t.Chain(2, a)
	if m.tab.Model == Sparse {
		return t.Load(va, t.ALU(1, idx))
	}
	table := t.Load(m.Env.Sym.MemSection, 0)
	t.Branch(false, t.ALU(1, table))
	root := t.Load(slot, t.ALU2(table, t.ALU(1, a)))
	t.Branch(false, t.ALU(1, root))
	off := t.Chain(2, idx)
	return t.Load(va, t.ALU2(off, root))
}

// PageToPfn is page_to_pfn: 3 instructions with VMEMMAP. Classic SPARSEMEM reads page->flags for the section number.
func (m *MM) PageToPfn(t *cpu.Thread, page uint64, a cpu.Val) (uint64, cpu.Val) {
	pfn := (page - cpu.VmemmapBase) / 64
	if t == nil {
		return pfn, 0
	}
	if m.vmemmapArm() {
		return pfn, m.pageToPfnArm(t, a)
	}
	switch m.tab.Model {
	case SparseVmemmap:
		return pfn, t.ALU(1, t.LoadOp(m.Env.Sym.VmemmapBase, 0, t.ALU(1, a)))
	case Flat:
		return pfn, t.ALU(1, t.LoadOp(m.tab.flat, 0, t.ALU(1, a)))
	}
	flags := a
	if m.Valid(pfn) {
		flags = t.Load(page, a)
	} else {
		m.Env.Deref(t, pfn<<12) // page->flags of a pointer that somebody made up: whatever the kernel reads there, if it survives
	}
	word := m.emitSection(t, pfn, flags)
	return pfn, t.ALU(1, t.ALU2(t.ALU(1, word), a))
}

// PageToPhys is page_to_phys: 4 instructions with VMEMMAP.
func (m *MM) PageToPhys(t *cpu.Thread, page uint64, a cpu.Val) (uint64, cpu.Val) {
	pfn, v := m.PageToPfn(t, page, a)
	if t == nil {
		return pfn << 12, 0
	}
	return pfn << 12, t.ALU(1, v)
}

// PhysToPage is phys_to_page: 4 instructions with VMEMMAP.
func (m *MM) PhysToPage(t *cpu.Thread, phys uint64, a cpu.Val) (uint64, cpu.Val) {
	if t == nil || m.tab.Model != SparseVmemmap {
		if t != nil {
			a = t.ALU(1, a)
		}
		return m.PfnToPage(t, phys>>12, a)
	}
	if m.vmemmapArm() {
		return cpu.VmemmapBase + phys>>12*64, m.physToPageArm(t, a)
	}
	return cpu.VmemmapBase + phys>>12*64, t.LoadOp(m.Env.Sym.VmemmapBase, 0, t.Chain(3, a))
}

// VirtToPage is virt_to_page of a direct-map address: the test for the kernel image, then as phys_to_page. 9 instructions
// on 6.12 and 10 on 7.3 with VMEMMAP.
func (m *MM) VirtToPage(t *cpu.Thread, va uint64, a cpu.Val) (uint64, cpu.Val) {
	phys := kernel.Phys(va)
	if t == nil {
		return cpu.VmemmapBase + phys>>12*64, 0
	}
	if m.vmemmapArm() {
		return cpu.VmemmapBase + phys>>12*64, virtToPageArm(t, a)
	}
	_, pa := m.VirtToPhys(t, va, a)
	if m.tab.Model == SparseVmemmap {
		return cpu.VmemmapBase + phys>>12*64, t.LoadOp(m.Env.Sym.VmemmapBase, 0, t.Chain(2, pa))
	}
	return m.PfnToPage(t, phys>>12, t.ALU(1, pa))
}

// VirtToPhys is virt_to_phys of a direct-map address, which begins VirtToPage: the test for the kernel image and one of two
// offsets. 6 instructions on 6.12 and 7 on 7.3.
func (m *MM) VirtToPhys(t *cpu.Thread, va uint64, a cpu.Val) (uint64, cpu.Val) {
	phys := kernel.Phys(va)
	if t == nil {
		return phys, 0
	}
	if m.Env.Arch.ISA() == cpu.A64 {
		return phys, m.virtToPhysArm(t, a)
	}
	g := m.Env.Sym
	base := t.ALU(1, 0)
	if m.Env.Version == kernel.V7_3 {
		t.Load(g.PhysBase, 0)
	}
	x := t.ALU2(base, a)
	t.Branch(false, x)
	off := t.LoadOp(g.PageOffsetBase, 0, t.ALU(1, 0))
	return phys, t.ALU2(off, x)
}

// PageAddress is page_address: 5 instructions with VMEMMAP.
func (m *MM) PageAddress(t *cpu.Thread, page uint64, a cpu.Val) (uint64, cpu.Val) {
	if t != nil && m.vmemmapArm() {
		return kernel.Virt((page - cpu.VmemmapBase) / 64 << 12), pageToVirtArm(t, a)
	}
	phys, v := m.PageToPhys(t, page, a)
	if t == nil {
		return kernel.Virt(phys), 0
	}
	return kernel.Virt(phys), t.LoadOp(m.Env.Sym.PageOffsetBase, 0, v)
}
