package vtd

var descriptorNames = [...]string{DescContext: "context_cache_inv", DescIOTLB: "iotlb_inv", DescDeviceTLB: "dev_tlb_inv", DescInterrupt: "iec_inv",
	DescWait: "inv_wait", DescPASIDTLB: "pasid_iotlb_inv", DescPASID: "pasid_cache_inv", DescPASIDDev: "pasid_dev_tlb_inv", DescPageResp: "page_grp_resp"}

// CommandName names a descriptor of the invalidation queue on a timeline (section 6.5.2).
func (v *Unit) CommandName(desc [2]uint64) string {
	if k := desc[0] & queueTypeMask; k < uint64(len(descriptorNames)) {
		return descriptorNames[k]
	}
	return "descriptor"
}
