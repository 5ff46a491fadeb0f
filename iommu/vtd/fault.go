package vtd

import (
	"dmapath/iommu"
	"dmapath/iommu/table"
)

// faultLog is the ring of fault recording registers and the fault part of FSTS (section 11.4.7 and 11.4.9).
type faultLog struct {
	rec    [][2]uint64
	next   int    // record that the next fault takes
	status uint32 // PFO, IQE; PPF and FRI are computed
}

// put records f, or notes the overflow when its record is still in use.
func (l *faultLog) put(f *iommu.Fault) (recorded bool) {
	if l.status&FaultOverflow != 0 || l.rec[l.next][1]&frcdF != 0 {
		l.status |= FaultOverflow
		return false
	}
	hi := frcdF | uint64(f.Code)<<frcdReason | uint64(f.RID)
	if !f.Write {
		hi |= frcdRead
	}
	if f.HasPASID {
		hi |= frcdHasPASID | uint64(f.PASID)<<frcdPASID
	}
	l.rec[l.next] = [2]uint64{f.IOVA &^ 0xfff, hi}
	l.next = (l.next + 1) % len(l.rec)
	return true
}

// fsts returns the fault status register.
func (l *faultLog) fsts() uint32 {
	s := l.status
	for i := range l.rec { // FRI is the oldest record in use, counted from the next to be written
		j := (l.next + i) % len(l.rec)
		if l.rec[j][1]&frcdF != 0 {
			return s | FaultPending | uint32(j)<<faultIndexBit
		}
	}
	return s
}

// DecodeFault returns the fault in the two words of a recording register, ok is false for a free one.
func DecodeFault(lo, hi uint64) (f iommu.Fault, ok bool) {
	code := uint8(hi >> frcdReason)
	f = iommu.Fault{Reason: table.Reason(code), Code: code, RID: uint16(hi), IOVA: lo, Write: hi&frcdRead == 0}
	if hi&frcdHasPASID != 0 {
		f.HasPASID, f.PASID = true, uint32(hi>>frcdPASID)&0xfffff
	}
	return f, hi&frcdF != 0
}

// refuse counts, records and returns a fault.
func (v *Unit) refuse(f iommu.Fault, record bool) *iommu.Fault {
	v.Stats.Faults++
	if record && v.faults.put(&f) {
		v.Stats.FaultsRecorded++
	}
	return &f
}
