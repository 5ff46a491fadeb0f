package amd

import "dmapath/iommu/amdtable"

// CommandName names a command on a timeline (publication 48882, section 2.4).
func (u *Unit) CommandName(w [2]uint64) string {
	c, _ := amdtable.DecodeCommand(w)
	switch c.Op {
	case amdtable.CompletionWait:
		return "COMPLETION_WAIT"
	case amdtable.InvalidateDevtabEntry:
		return "INVALIDATE_DEVTAB_ENTRY"
	case amdtable.InvalidateIOMMUPages:
		return "INVALIDATE_IOMMU_PAGES"
	case amdtable.InvalidateIOTLBPages:
		return "INVALIDATE_IOTLB_PAGES"
	case amdtable.InvalidateIOMMUAll:
		return "INVALIDATE_IOMMU_ALL"
	}
	return "command"
}
