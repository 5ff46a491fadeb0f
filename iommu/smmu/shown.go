package smmu

import "dmapath/iommu/smmutable"

var commandNames = [256]string{smmutable.CfgiSTE: "CMD_CFGI_STE", smmutable.CfgiSTERange: "CMD_CFGI_STE_RANGE", smmutable.CfgiCD: "CMD_CFGI_CD",
	smmutable.CfgiCDAll: "CMD_CFGI_CD_ALL", smmutable.TlbiNHAll: "CMD_TLBI_NH_ALL", smmutable.TlbiNHASID: "CMD_TLBI_NH_ASID", smmutable.TlbiNHVA: "CMD_TLBI_NH_VA",
	smmutable.TlbiNHVAA: "CMD_TLBI_NH_VAA", smmutable.TlbiEL2All: "CMD_TLBI_EL2_ALL", smmutable.TlbiEL2ASID: "CMD_TLBI_EL2_ASID", smmutable.TlbiEL2VA: "CMD_TLBI_EL2_VA",
	smmutable.TlbiEL2VAA: "CMD_TLBI_EL2_VAA", smmutable.TlbiS12VMAll: "CMD_TLBI_S12_VMALL", smmutable.TlbiS2IPA: "CMD_TLBI_S2_IPA", smmutable.TlbiNSNHAll: "CMD_TLBI_NSNH_ALL",
	smmutable.AtcInv: "CMD_ATC_INV", smmutable.PriResp: "CMD_PRI_RESP", smmutable.Sync: "CMD_SYNC"}

// CommandName names a command on a timeline (Arm IHI 0070, section 4).
func (u *Unit) CommandName(w [2]uint64) string {
	if n := commandNames[smmutable.Command(w).Op()]; n != "" {
		return n
	}
	return "command"
}
