package smmu

import (
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/recorded"
)

// Every function of the driver executes the instructions, loads, stores, branches, atomics and fences of its recording, on both
// versions. The stack pointer is moved so that what is zeroed on the stack lies in its lines as it did in the recorded call.
func TestFunctionsEqualTheirRecordings(t *testing.T) {
	pt12 := []string{"arm_smmu_unmap_pages", "arm_lpae_unmap_pages", "__arm_lpae_unmap", "arm_smmu_iova_to_phys", "arm_lpae_iova_to_phys"}
	strict12 := []string{"arm_smmu_tlb_inv_page_nosync", "arm_smmu_iotlb_sync", "__arm_smmu_tlb_inv_range", "arm_smmu_cmdq_batch_add",
		"arm_smmu_cmdq_build_cmd", "arm_smmu_cmdq_issue_cmdlist", "arm_smmu_cmdq_write_entries", "__arm_smmu_cmdq_poll_set_valid_map",
		"arm_smmu_cmdq_shared_unlock", "queue_poll", "ktime_get", "arch_counter_read", "arch_counter_get_cntvct", "arm_smmu_atc_inv_domain", "__memset"}
	pt73 := append(pt12[:len(pt12):len(pt12)], "__arm_lpae_iopte_walk", "visit_iova_to_phys")
	strict73 := []string{"arm_smmu_tlb_inv_page_nosync", "arm_smmu_iotlb_sync", "arm_smmu_domain_inv_range", "__arm_smmu_domain_inv_range",
		"arm_smmu_inv_to_cmdq_batch", "arm_smmu_cmdq_batch_add_cmd_p", "arm_smmu_cmdq_issue_cmdlist", "__arm_smmu_cmdq_issue_cmdlist",
		"arm_smmu_cmdq_write_entries", "__arm_smmu_cmdq_poll_set_valid_map", "queue_inc_prod_n", "arm_smmu_cmdq_shared_unlock", "queue_poll",
		"ktime_get", "arch_counter_read", "arch_counter_get_cntvct", "__memset", "__pi_memset_generic"}
	maps := []string{"arm_smmu_map_pages", "arm_lpae_map_pages", "__arm_lpae_map"}
	for _, tt := range []struct {
		v     kernel.Version
		key   string
		size  uint64
		prot  iommucore.Prot
		unmap bool
		lazy  bool
		shift int // of the stack pointer
		fns   []string
	}{
		{kernel.V6_12, "6.12-arm64/iommu-strict/map_page/4096", page, wr, false, false, 8, maps},
		{kernel.V6_12, "6.12-arm64/iommu-strict/map_single/4096", page, rd, false, false, 8, maps},
		{kernel.V6_12, "6.12-arm64/iommu-strict/map_resource/4096", page, rw | iommucore.MMIO, false, false, 8, maps},
		{kernel.V6_12, "6.12-arm64/iommu-strict/map_page/2097152", block, wr, false, false, 8, maps},
		{kernel.V7_3, "7.3-arm64/iommu-strict/map_phys/4096", page, wr, false, false, 8, maps},
		{kernel.V7_3, "7.3-arm64/iommu-strict/map_single/4096", page, rd, false, false, 8, maps},
		{kernel.V7_3, "7.3-arm64/iommu-strict/map_resource/4096", page, rw | iommucore.MMIO, false, false, 8, maps},
		{kernel.V7_3, "7.3-arm64/iommu-strict/map_phys/2097152", block, wr, false, false, 8, maps},
		{kernel.V6_12, "6.12-arm64/iommu-strict/unmap_page/4096", page, wr, true, false, 24, append(pt12[:len(pt12):len(pt12)], strict12...)},
		{kernel.V6_12, "6.12-arm64/iommu-strict/unmap_page/2097152", block, wr, true, false, 24, append(pt12[:len(pt12):len(pt12)], strict12...)},
		{kernel.V6_12, "6.12-arm64/iommu-lazy/unmap_page/4096", page, wr, true, true, 8, pt12},
		{kernel.V7_3, "7.3-arm64/iommu-strict/unmap_phys/4096", page, wr, true, false, 8, append(pt73[:len(pt73):len(pt73)], strict73...)},
		{kernel.V7_3, "7.3-arm64/iommu-strict/unmap_phys/2097152", block, wr, true, false, 8, append(pt73[:len(pt73):len(pt73)], strict73...)},
		{kernel.V7_3, "7.3-arm64/iommu-lazy/unmap_phys/4096", page, wr, true, true, 8, pt12},
	} {
		t.Run(tt.key, func(t *testing.T) {
			r := newRig(t, tt.v, features{})
			at, to := uint64(iova)&^(tt.size-1), uint64(phys)&^(tt.size-1)
			if tt.size == block || tt.lazy { // not the last entry of its table
				at -= tt.size
			}
			warm := func(th *cpu.Thread) {
				r.mapRange(th, at, to, tt.size, 1, tt.prot)
				if !tt.unmap {
					r.unmap(th, at, tt.size, 1)
				}
			}
			ops := recorded.RunWarmOn(kernel.ARM64, warm, func(th *cpu.Thread) {
				th.Reserve(tt.shift)
				defer th.Reserve(-tt.shift)
				if !tt.unmap {
					r.mapRange(th, at, to, tt.size, 1, tt.prot)
					return
				}
				if got := r.dom.IovaToPhys(th, 0, at); got != to {
					t.Errorf("iova %#x is mapped to %#x, want %#x", at, got, to)
				}
				if tt.lazy {
					var g iommucore.Gather
					g.Init(th.SP() - 64)
					g.Queued = true
					r.dom.UnmapPages(th, 0, at, tt.size, 1, &g)
					return
				}
				r.unmap(th, at, tt.size, 1)
			})
			for _, fn := range tt.fns {
				recorded.CheckFunction(t, ops, tt.key, fn, recorded.Exact)
			}
		})
	}
}
