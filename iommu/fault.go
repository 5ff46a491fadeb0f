package iommu

import (
	"fmt"

	"dmapath/sim"
)

// Fault is a request that a unit refused; it is also recorded where the dialect has its driver look, unless the device entry forbids
// that.
type Fault struct {
	Reason   fmt.Stringer // of a type of the dialect's own, which has the specification's code
	Code     uint8        // the same as recorded
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
	return fmt.Sprintf("iommu: DMA %s of %02x:%02x.%d at %#x: %v (fault reason %#02x)", op, f.RID>>8, f.RID>>3&31, f.RID&7, f.IOVA, f.Reason, f.Code)
}
