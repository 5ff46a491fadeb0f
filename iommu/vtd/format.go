package vtd

import (
	"dmapath/iommu"
	"dmapath/iommu/table"
)

// format is a page-table format of VT-d as the shared walk takes it.
type format struct{ table.Rules }

// geometry is that of both formats.
var geometry = iommu.NewGeometry(table.PageShift)

// Kinds of entry have the same numbers here and there.
var _ = [1]struct{}{}[table.Absent-table.Kind(iommu.Absent)|table.Reserved-table.Kind(iommu.Reserved)|table.Table-table.Kind(iommu.Table)|table.Leaf-table.Kind(iommu.Leaf)]

func (f *format) Decode(pte uint64, level int) iommu.Entry {
	k, addr, rights := f.Rules.Decode(pte, level)
	return iommu.Entry{Kind: iommu.Kind(k), Shift: table.Shift(level), Next: uint8(level - 1), Rights: iommu.Rights(rights), Addr: addr}
}

// Marks returns the accessed bit, and with dirty the dirty bit, which both formats have above it.
func (f *format) Marks(dirty bool) uint64 {
	bits := table.FSAccessed
	if f.Format == table.SecondStage {
		bits = table.SSAccessed
	}
	if dirty {
		bits |= bits << 1
	}
	return bits
}

// reason returns the specification's reason for the end of a walk.
func (f *format) reason(w *iommu.Refusal, write bool) table.Reason {
	switch w.Cause {
	case iommu.NotPresent: // also an intermediate address beyond the second stage
		return f.EntryFault(table.Absent, write)
	case iommu.Malformed:
		return f.EntryFault(table.Reserved, write)
	case iommu.Denied:
		return f.RightsFault(table.Rights(w.Rights), write)
	case iommu.ClosedAddress:
		if f.Scalable {
			return table.SMInterruptAddr
		}
		return table.InterruptAddr
	}
	return table.NoFault
}

// interruptMiB is the MiB of addresses 0xfeexxxxx, where interrupts go and no page may lie.
const interruptMiB = 0xfee
