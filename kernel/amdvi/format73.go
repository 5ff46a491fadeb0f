package amdvi

import (
	"dmapath/cpu"
	"dmapath/iommu/amdtable"
	"dmapath/kernel/genericpt"
	"dmapath/kernel/iommucore"
)

// fns73 are the functions of the amdv1 format.
var fns73 = genericpt.NewFuncs("amdv1")

// v1 is the amdv1 format of generic_pt: drivers/iommu/generic_pt/fmt/amdv1.h. Its tables may be encrypted
// (PT_FEAT_AMDV1_ENCRYPT_TABLES), so every address of a table passes a test and a mask.
type v1 struct {
	sme uint64 // sme_me_mask
}

func (v1) TopLeaf() int   { return amdtable.MaxLevels - 2 } // not the sixth level
func (v1) Synced() uint64 { return 0 }

func (v1) Kind(val uint64, level int) genericpt.Kind {
	next := val >> 9 & 7
	switch {
	case val&amdtable.Present == 0:
		return genericpt.Empty
	case level == 0 || next == amdtable.DefaultSize || next == amdtable.EncodedSize:
		return genericpt.Page
	}
	return genericpt.Down
}

func (v1) PageShift(val uint64, level int) uint {
	if val>>9&7 == amdtable.EncodedSize {
		return uint(amdtable.EncodedShift(val))
	}
	return uint(amdtable.Shift(level + 1))
}

func (v1) Addr(val uint64) uint64 { return val & pteAddr }

// Table: level counts from 0, so it is the specification's number of the level below.
func (v1) Table(pa uint64, level int) uint64 { return amdtable.TablePTE(pa, level) }

func (v1) Leaf(oa uint64, _ int, lg2 uint, bits uint64) uint64 {
	return amdtable.LeafPTE(oa, uint8(lg2), 0) | bits
}

func (v1) SetProt(t *cpu.Thread, f cpu.Val, prot iommucore.Prot) (bits uint64, err iommucore.Errno) {
	if prot&iommucore.Read != 0 {
		bits |= amdtable.IR
	}
	if prot&iommucore.Write != 0 {
		bits |= amdtable.IW
	}
	t.ALU(2, f) // force coherence
	t.Branch(true, t.Last())
	t.ALU(6, 0)
	t.ALU(1, f) // encrypted tables
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	t.Branch(prot&iommucore.MMIO != 0, t.Last())
	if prot&(iommucore.Read|iommucore.Write) == 0 {
		return 0, iommucore.EINVAL
	}
	return bits, 0
}

func (v1) TestLeaf(t *cpu.Thread, p cpu.Val, val uint64, level int) {
	next := val >> 9 & 7
	n := t.ALU(2, p)
	t.Branch(next == amdtable.DefaultSize, n)
	t.ALU(1, n)
	t.Branch(next == amdtable.EncodedSize, t.Last())
}

func (f v1) TableAddr(t *cpu.Thread, features uint64, p cpu.Val) cpu.Val {
	t.Branch(false, t.Mem(cpu.LoadOp, features, 1, 0, 0))
	m := t.Load(f.sme, 0)
	return t.ALU2(p, t.ALU(1, m)) // __sme_clr
}

func (v1) EncodeLeaf(t *cpu.Thread, e cpu.Val, level int, lg2 uint) cpu.Val {
	e = t.ALU(3, e) // the address field, PR
	if lg2 > uint(amdtable.Shift(level+1)) {
		e = t.ALU(6, e) // next level 7, and ones below the size
	}
	return e
}

func (v1) EncodedSize(t *cpu.Thread, p cpu.Val) {
	n := t.ALU(2, p)
	t.Branch(false, n)
	n = t.ALU(3, n)
	t.ALU(3, t.Op(cpu.BitScan, n))
}

// TopLock and ChangeTop are amd_iommu_get_top_lock and amd_iommu_change_top.
func (d *Domain) TopLock(t *cpu.Thread) *cpu.LockWord {
	t.CallInd(fnTopLock, 0)
	t.Nop(2)
	t.ALU(1, 0)
	t.Ret()
	return &d.lock
}

// ChangeTop makes the domain's devices use the table at pa, whose level counts from 0.
func (d *Domain) ChangeTop(t *cpu.Thread, pa uint64, level int) {
	t.CallInd(fnChangeTop, 0)
	t.Nop(2)
	t.Push(5)
	t.ALU(3, 0)
	d.Grown++
	d.updateDevices(t, pa, level+1)
	t.Pop(5)
	t.Ret()
}

var (
	fnTopLock   = cpu.NewFunc("amd_iommu_get_top_lock", fileDriver, 16)
	fnChangeTop = cpu.NewFunc("amd_iommu_change_top", fileDriver, 260)
)
