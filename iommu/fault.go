package iommu

import (
	"fmt"

	"dmapath/iommu/table"
	"dmapath/sim"
)

// Fault is a request that the unit refused; it is also recorded in the fault registers unless the context or PASID entry forbids
// that.
type Fault struct {
	Reason   table.Reason
	RID      uint16
	PASID    uint32 // meaningful when HasPASID
	HasPASID bool
	IOVA     uint64
	Write    bool
	At       sim.Time // when the unit knew
}

func (f *Fault) Error() string {
	op := "read"
	if f.Write {
		op = "write"
	}
	return fmt.Sprintf("iommu: DMA %s of %02x:%02x.%d at %#x: %v (fault reason %#02x)", op, f.RID>>8, f.RID>>3&31, f.RID&7, f.IOVA, f.Reason, uint8(f.Reason))
}

// faultLog is the ring of fault recording registers and the fault part of FSTS (section 11.4.7 and 11.4.9).
type faultLog struct {
	rec    [][2]uint64
	next   int    // record that the next fault takes
	status uint32 // PFO, IQE; PPF and FRI are computed
}

// put records f, or notes the overflow when its record is still in use.
func (l *faultLog) put(f *Fault) (recorded bool) {
	if l.status&FaultOverflow != 0 || l.rec[l.next][1]&frcdF != 0 {
		l.status |= FaultOverflow
		return false
	}
	hi := frcdF | uint64(f.Reason)<<frcdReason | uint64(f.RID)
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
func DecodeFault(lo, hi uint64) (f Fault, ok bool) {
	f = Fault{Reason: table.Reason(hi >> frcdReason), RID: uint16(hi), IOVA: lo, Write: hi&frcdRead == 0}
	if hi&frcdHasPASID != 0 {
		f.HasPASID, f.PASID = true, uint32(hi>>frcdPASID)&0xfffff
	}
	return f, hi&frcdF != 0
}

// refuse counts, records and returns a fault.
func (v *VTd) refuse(f Fault, record bool) *Fault {
	v.Stats.Faults++
	if record && v.faults.put(&f) {
		v.Stats.FaultsRecorded++
	}
	return &f
}
