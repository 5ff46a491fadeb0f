package iommucore

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// code is drivers/iommu/iommu.c of one architecture and version. On x86 7.3 reaches drivers on generic page tables; on arm64 the
// drivers have map_pages and unmap_pages in both versions.
type code struct {
	mapping    func(d *Domain, t *cpu.Thread, iova, phys, size uint64, prot Prot) error // iommu_map
	nosync     func(d *Domain, t *cpu.Thread, iova, phys, size uint64, prot Prot) error // iommu_map_nosync; 6.12: __iommu_map; it was entered
	syncMap    func(d *Domain, t *cpu.Thread, iova, size uint64) error                  // iommu_sync_map, which was entered
	unmapFast  func(d *Domain, t *cpu.Thread, iova, size uint64, g *Gather) uint64      // iommu_unmap_fast, which was entered
	unmapping  func(d *Domain, t *cpu.Thread, iova, size uint64, g *Gather) uint64      // __iommu_unmap, which was entered
	iovaToPhys func(d *Domain, t *cpu.Thread, iova uint64) uint64                       // iommu_iova_to_phys, which was entered
}

// codeOf returns the code of a kernel.
func codeOf(e *kernel.Env) *code {
	arm, v7 := e.Arch.ISA() == cpu.A64, e.Version == kernel.V7_3
	switch {
	case arm && v7:
		return &code{(*Domain).map73arm, (*Domain).nosync73arm, (*Domain).syncMapArm, (*Domain).unmapFastArm, (*Domain).unmap73arm, (*Domain).iovaToPhysArm}
	case arm:
		return &code{(*Domain).map12arm, (*Domain).map12armLoop, (*Domain).syncMapArm, (*Domain).unmapFastArm, (*Domain).unmap12arm, (*Domain).iovaToPhysArm}
	case v7:
		return &code{(*Domain).map73, (*Domain).mapNosync, (*Domain).syncMap, (*Domain).unmapFast, (*Domain).unmap73, (*Domain).iovaToPhys}
	}
	return &code{(*Domain).map12, (*Domain).map12Loop, (*Domain).syncMap, (*Domain).unmapFast, (*Domain).unmap12, (*Domain).iovaToPhys}
}

// UseMapPages says that the domain's driver has map_pages and unmap_pages also on x86 with 7.3, where others have generic page tables
// (is_iommupt is clear), and iotlb_sync_map also on arm64, where others have none. No recording contains either: on x86 the loop is 6.12's.
func (d *Domain) UseMapPages() {
	d.syncs = true
	if d.Env.Arch.ISA() == cpu.A64 || d.Env.Version != kernel.V7_3 {
		return
	}
	d.code = &code{(*Domain).map73, (*Domain).map12Loop, (*Domain).syncMap, (*Domain).unmapFast, (*Domain).unmap12, (*Domain).iovaToPhys}
	ops := d.At.OpFlushAll - 32
	d.At.OpMap, d.At.OpUnmap = ops+16, ops+24
}
