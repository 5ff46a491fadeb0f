package vtd

import (
	"dmapath/cpu"
	"dmapath/kernel/genericpt"
	"dmapath/kernel/iommucore"
)

// fns73 are the functions of the vtdss format.
var fns73 = genericpt.NewFuncs("vtdss")

// secondStage is the vtdss format of generic_pt: drivers/iommu/generic_pt/fmt/vtdss.h.
type secondStage struct{}

func (secondStage) TopLeaf() int   { return 2 }
func (secondStage) Synced() uint64 { return pteSynced }

func (secondStage) Kind(val uint64, level int) genericpt.Kind {
	switch {
	case !present(val):
		return genericpt.Empty
	case level == 0 || level <= 2 && val&ptePS != 0:
		return genericpt.Page
	}
	return genericpt.Down
}

func (secondStage) PageShift(_ uint64, level int) uint { return shift(level + 1) }
func (secondStage) Addr(val uint64) uint64             { return val & pteAddr }
func (secondStage) Table(pa uint64, _ int) uint64      { return pa | pteRead | pteWrite }

func (secondStage) Leaf(oa uint64, level int, _ uint, bits uint64) uint64 {
	if level > 0 {
		bits |= ptePS
	}
	return oa | bits
}

func (secondStage) SetProt(t *cpu.Thread, f cpu.Val, prot iommucore.Prot) (bits uint64, err iommucore.Errno) {
	if prot&iommucore.Read != 0 {
		bits |= pteRead
	}
	if prot&iommucore.Write != 0 {
		bits |= pteWrite
	}
	t.ALU(5, f)
	t.Branch(bits&pteWrite != 0, t.Last())
	if bits&pteWrite != 0 {
		t.ALU(5, f)
		t.Jump()
		return bits, 0
	}
	t.ALU(2, f)
	t.Branch(true, t.Last())
	t.ALU(1, f)
	t.Branch(!present(bits), t.Last())
	if !present(bits) {
		return 0, iommucore.EOPNOTSUPP
	}
	return bits, 0
}

func (secondStage) TestLeaf(t *cpu.Thread, p cpu.Val, val uint64, level int) {
	if level <= 2 {
		t.ALU(1, p)
		t.Branch(val&ptePS != 0, p)
	}
}

// TableAddr and EncodedSize add nothing: an address only has to be masked, and a level has one page size.
func (secondStage) TableAddr(_ *cpu.Thread, _ uint64, p cpu.Val) cpu.Val { return p }
func (secondStage) EncodedSize(*cpu.Thread, cpu.Val)                     {}

func (secondStage) EncodeLeaf(t *cpu.Thread, e cpu.Val, level int, _ uint) cpu.Val {
	if level > 0 {
		t.ALU(1, e)
	}
	return e
}
