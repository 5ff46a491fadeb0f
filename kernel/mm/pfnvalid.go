package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// Valid is pfn_valid without emission: whether frame pfn has a struct page. It says nothing about RAM: the legacy hole
// of a boot section and ZONE_DEVICE memory are valid.
func (m *MM) Valid(pfn uint64) bool { return m.PfnValid(nil, pfn, 0) }

// PfnValid is pfn_valid: whether frame pfn has a struct page. On t it emits what the configured implementation executes,
// inlined into the present function (Generic) or as a call; the frame number is produced by a. A nil t emits nothing.
//
// With SPARSEMEM_EXTREME boot memory costs three dependent loads (table, root, section), hot-plugged memory and
// ZONE_DEVICE two more (usage and the subsection bitmap, whose addresses do not depend on the section's word); 7.3 executes
// more instructions than 6.12 because its compiler checks bounds and shifts (UBSAN). A missing root ends after two loads, a
// missing section after three.
func (m *MM) PfnValid(t *cpu.Thread, pfn uint64, a cpu.Val) bool {
	if m.tab.Lookup == MemblockLinear {
		return m.validLinear(t, pfn, a)
	}
	if m.tab.Lookup == MemblockBinary {
		return m.validBinary(t, pfn, a)
	}
	if m.tab.Model == Flat {
		return m.validFlat(t, pfn, a)
	}
	return m.validSparse(t, pfn, a)
}

// found is the outcome of the section lookup.
type found struct {
	tooBig, noRoot, noSection bool
	early                     bool
	word                      uint64
	section, usage            uint64 // addresses
	inBitmap                  bool
}

func (m *MM) find(pfn uint64) found {
	nr := pfn >> pfnSectionShift
	if pfn<<12>>12 != pfn || nr >= m.tab.sections {
		return found{tooBig: true}
	}
	va := m.sectionVA(nr, false)
	if va == 0 {
		return found{noRoot: true}
	}
	f := found{section: va, word: m.read(va)}
	f.noSection = f.word&sectionHasMap == 0
	f.early = f.word&sectionEarly != 0
	if !f.noSection {
		f.usage = m.read(va + 8)
		f.inBitmap = m.read(f.usage+usageBitmap)>>(pfn>>pfnSubsection&63)&1 != 0
	}
	return f
}

// valid is the result that follows from a lookup.
func (f found) valid(vmemmap bool) bool {
	return !f.tooBig && !f.noRoot && !f.noSection && (f.early || !vmemmap || f.inBitmap)
}

// validSparse is the generic pfn_valid (include/linux/mmzone.h of 6.12 and 7.3).
func (m *MM) validSparse(t *cpu.Thread, pfn uint64, a cpu.Val) bool {
	f := m.find(pfn)
	vmemmap := m.tab.Model == SparseVmemmap
	if t != nil {
		m.code().valid(m, t, pfn, a, f)
	}
	return f.valid(vmemmap)
}

// emitValid12 follows the recordings gt_pfn_valid of 6.12 without the wrapper's nop and return.
func (m *MM) emitValid12(t *cpu.Thread, pfn uint64, a cpu.Val, f found) {
	v := kernel.V6_12
	big := pfn<<12>>12 != pfn
	t.Branch(big, t.Chain(2, a))
	if big {
		t.ALU(1, 0)
		return
	}
	nr := t.Chain(2, a)
	t.Jump() // pgtable_l5_enabled(), a patched jump
	t.Branch(!f.tooBig, t.ALU2(t.ALU(1, 0), nr))
	if f.tooBig {
		t.ALU(1, 0)
		return
	}
	root := cpu.Val(0)
	if m.tab.Model != Sparse {
		idx := t.Chain(2, a)
		t.Jump()
		t.Branch(true, t.ALU(1, idx))
		table := t.Load(m.Env.Sym.MemSection, 0)
		t.ALU(1, 0)
		t.Branch(false, t.ALU(1, table))
		root = t.Load(m.tab.roots+pfn>>rootShift*8, table)
		t.Branch(f.noRoot, t.ALU(1, root))
	}
	if f.noRoot {
		t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0)
		t.Jump()
		m.emitInvalid12(t)
		return
	}
	off := t.Chain(2, nr)
	section := t.ALU2(off, root)
	t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0)
	t.Branch(false, t.ALU(1, section))
	word := t.Load(f.section, section)
	t.Branch(f.noSection, t.ALU(1, word))
	if f.noSection {
		m.emitInvalid12(t)
		return
	}
	m.emitSubsection(t, pfn, a, word, section, f)
	t.Branch(true, t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0))
	t.Nop(1)
}

// emitSubsection tests the early flag and, for memory that came later, the subsection bitmap: two more dependent loads.
// Without VMEMMAP a section is valid as a whole and nothing is tested.
func (m *MM) emitSubsection(t *cpu.Thread, pfn uint64, a, word, section cpu.Val, f found) {
	if m.tab.Model != SparseVmemmap {
		t.ALU(1, 0)
		return
	}
	early := t.ALU(1, word)
	t.ALU(1, 0)
	t.Branch(f.early, early)
	if f.early {
		return
	}
	usage := t.Load(f.section+8, section)
	t.Branch(false, t.ALU(1, usage))
	bit := t.Chain(3, a)
	bits := t.Load(f.usage+usageBitmap, usage)
	t.ALU(1, t.ALU2(bits, bit))
}

func (m *MM) emitInvalid12(t *cpu.Thread) {
	t.Branch(false, t.Mem(cpu.RMW, kernel.PreemptCount(kernel.V6_12, t.CPU), 4, 0, 0))
	t.Nop(1)
	t.Jump()
	t.ALU(1, 0)
}

// emitValid73 follows the recordings of 7.3.
func (m *MM) emitValid73(t *cpu.Thread, pfn uint64, a cpu.Val, f found) {
	v := kernel.V7_3
	big := pfn<<12>>12 != pfn
	mask := t.ALU(2, a)
	t.Branch(big, t.ALU2(mask, a))
	no := func() {
		t.ALU(1, 0)
		t.Jump()
		t.ALU(1, 0)
	}
	if big {
		no()
		return
	}
	t.Jump()
	bits := t.ALU(1, 0)
	nr := t.ALU(3, a)
	limit := t.ALU2(nr, bits)
	t.Branch(f.tooBig, t.ALU(1, limit))
	if f.tooBig {
		no()
		return
	}
	root := cpu.Val(0)
	if m.tab.Model != Sparse {
		idx := t.Chain(2, a)
		t.Jump()
		t.ALU(4, 0)
		shift := t.ALU2(t.Last(), idx)
		t.ALU(1, 0)
		t.Branch(false, t.ALU2(shift, idx)) // UBSAN: the index is within the table
		table := t.Load(m.Env.Sym.MemSection, 0)
		t.Branch(false, t.ALU(1, table))
		root = t.Load(m.tab.roots+pfn>>rootShift*8, table)
		t.Branch(f.noRoot, t.ALU(1, root))
	}
	leave := func() { t.Branch(true, t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0)) }
	if f.noRoot {
		t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0)
		t.Branch(true, t.ALU(1, root))
		leave()
		no()
		return
	}
	off := t.Chain(2, nr)
	section := t.ALU2(off, root)
	t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0)
	t.Branch(false, t.ALU(1, section))
	word := t.Load(f.section, section)
	t.Branch(!f.noSection, t.ALU(1, word))
	if f.noSection {
		leave()
		no()
		return
	}
	m.emitSubsection(t, pfn, a, word, section, f)
	leave()
	t.ALU(1, 0)
}

// validFlat compares with max_mapnr.
func (m *MM) validFlat(t *cpu.Thread, pfn uint64, a cpu.Val) bool {
	if t != nil {
		t.ALU(1, a)
		t.ALU(1, t.LoadOp(m.tab.flat+8, 0, t.Last()))
		t.ALU(1, t.Last())
	}
	return pfn < m.tab.maxPfn
}

var (
	pfnValidArch    = cpu.NewFunc("pfn_valid", "arch/arm64/mm/init.c", 200)
	memblockMapped  = cpu.NewFunc("memblock_is_map_memory", "mm/memblock.c", 120)
	memblockOverlap = cpu.NewFunc("memblock_overlaps_region", "mm/memblock.c", 96)
)

// validBinary is pfn_valid of arm64 before 5.16, an exported function: the section lookup without RCU, for later memory
// the subsection bitmap, and for boot memory a binary search over memblock.memory: each step's address depends on the
// compare before. Holes of boot sections are therefore not valid.
func (m *MM) validBinary(t *cpu.Thread, pfn uint64, a cpu.Val) bool {
	var f found
	flat := m.tab.Model == Flat
	if flat {
		f.early = true
		f.tooBig = pfn >= m.tab.maxPfn
	} else {
		f = m.find(pfn)
	}
	bad := f.tooBig || f.noRoot || f.noSection
	if t != nil {
		t.Call(pfnValidArch)
		t.Push(2)
		t.Branch(f.tooBig, t.Chain(3, a))
		if !f.tooBig && !flat {
			root := cpu.Val(0)
			if m.tab.Model != Sparse {
				table := t.Load(m.Env.Sym.MemSection, 0)
				t.Branch(false, t.ALU(1, table))
				root = t.Load(m.tab.roots+pfn>>rootShift*8, table)
				t.Branch(f.noRoot, t.ALU(1, root))
			}
			if !f.noRoot {
				section := t.ALU2(t.Chain(2, a), root)
				word := t.Load(f.section, section)
				t.Branch(f.noSection, t.ALU(1, word))
				if !f.noSection {
					t.Branch(f.early, t.ALU(1, word))
					if !f.early && m.tab.Model == SparseVmemmap {
						usage := t.Load(f.section+8, section)
						bits := t.Load(f.usage+usageBitmap, usage)
						t.ALU2(bits, t.Chain(3, a))
					}
				}
			}
		}
	}
	var ok bool
	switch {
	case bad:
	case !f.early:
		ok = m.tab.Model != SparseVmemmap || f.inBitmap
	default:
		ok = m.searchMemblock(t, pfn<<12, a)
	}
	if t != nil {
		t.ALU(1, 0)
		t.Pop(2)
		t.Ret()
	}
	return ok
}

// searchMemblock is memblock_is_map_memory with memblock_search.
func (m *MM) searchMemblock(t *cpu.Thread, addr uint64, a cpu.Val) bool {
	if t != nil {
		t.Call(memblockMapped)
		t.Push(1)
		t.ALU(1, a)
		t.Load(m.tab.blockHdr, 0)
		t.Load(m.tab.blockHdr+24, 0)
		t.ALU(2, t.Last())
	}
	left, right := 0, len(m.tab.regions)
	ok := false
	var top uint32
	var d cpu.Val // what the next step's address depends on
	if t != nil {
		top, d = t.Here(), t.Last()
	}
	for {
		mid := (left + right) / 2
		r := m.tab.regions[mid]
		below := addr < r.Start
		above := !below && addr >= r.End()
		if t != nil {
			e := m.tab.block + uint64(mid)*24
			idx := t.Chain(3, d) // (left + right) / 2, times 24
			base := t.Load(e, idx)
			cmp := t.ALU2(base, a)
			t.Branch(below, cmp)
			d = cmp
			if !below {
				size := t.Load(e+8, idx)
				cmp = t.ALU2(t.ALU2(base, size), a)
				t.Branch(above, cmp)
				d = cmp
			}
		}
		switch {
		case below:
			right = mid
		case above:
			left = mid + 1
		default:
			ok = true
		}
		if t != nil && !ok {
			t.Branch(left < right, t.ALU(2, d))
			if left < right {
				t.Back(top)
			}
		}
		if ok || left >= right {
			break
		}
	}
	if t != nil {
		if ok {
			t.ALU(1, t.Mem(cpu.Load, m.tab.block+16, 8, d, 0)) // flags: not MEMBLOCK_NOMAP
		}
		t.ALU(1, 0)
		t.Pop(1)
		t.Ret()
	}
	return ok
}

// pageblock is the arm32 window: the memory of a whole pageblock counts as mapped when any of it is (4 MiB).
const pageblock = 4 << 20

// validLinear is pfn_valid of arm32: memblock_overlaps_region, a scan from the first region until one overlaps. The loads
// do not depend on each other, and the branch is predictable until the hit.
func (m *MM) validLinear(t *cpu.Thread, pfn uint64, a cpu.Val) bool {
	addr := pfn << 12 &^ uint64(pageblock-1)
	if t != nil {
		t.Call(pfnValidArch)
		t.Push(2)
		t.Branch(false, t.Chain(3, a))
		t.Call(memblockOverlap)
		t.Push(2)
		t.Load(m.tab.blockHdr, 0)
		t.Load(m.tab.blockHdr+24, 0)
		t.ALU(2, a)
	}
	ok := false
	var top uint32
	if t != nil {
		top = t.Here()
	}
	for i, r := range m.tab.regions {
		ok = addr < r.End() && r.Start < addr+pageblock
		if t != nil {
			e := m.tab.block + uint64(i)*24
			base := t.Load(e, 0)
			t.Branch(addr+pageblock <= r.Start, t.ALU2(base, a))
			size := t.Load(e+8, 0)
			t.Branch(ok, t.ALU2(t.ALU2(base, size), a))
			if !ok && i+1 < len(m.tab.regions) {
				t.Loop(top, true, t.ALU(2, 0))
			}
		}
		if ok {
			break
		}
	}
	if t != nil {
		t.ALU(1, 0)
		t.Pop(2)
		t.Ret()
		t.ALU(1, 0)
		t.Pop(2)
		t.Ret()
	}
	return ok
}
