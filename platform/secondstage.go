package platform

import (
	"fmt"

	"dmapath/iommu/smmu"
	"dmapath/iommu/smmutable"
	"dmapath/iommu/table"
	"dmapath/kernel"
)

// hostVMID is the VMID of the guest that the kernel is.
const hostVMID = 1

// secondStage puts a host's second stage under the kernel's first when iommu.second_stage says so: a table in simulated memory that maps everything
// there is at its own address, in pages of one size. A device's miss then walks both.
func (m *Machine) secondStage(u *smmu.Unit) error {
	level := map[Word]int{"2MiB": 2, "1GiB": 1}[m.Spec.IOMMU.SecondStage]
	if level == 0 {
		return nil
	}
	width := uint8(min(int(m.Spec.Memory.PhysBits), 48))
	b := smmutable.NewBuilder(m.Mem, smmutable.Geometry{Stage: smmutable.Stage2, Granule: smmutable.Granule4K, Input: width, Output: width}, m.frames)
	size := uint64(1) << b.G.Shift(level)
	for _, r := range m.memory {
		for at := r.Start &^ (size - 1); at < r.End(); at += size {
			if err := b.Map(at, at, level, table.AllRights, false); err != nil {
				return fmt.Errorf("iommu.second_stage: %w", err)
			}
		}
	}
	s := smmutable.STE{VMID: hostVMID, TTB: b.Root, Record: true}
	s.SetGeometry(b.G)
	return u.SetHost(s)
}

// frames returns the physical address of zeroed memory of that many bytes, a power of two of pages aligned to its size.
func (m *Machine) frames(bytes uint64) uint64 {
	order := 0
	for 4096<<order < bytes {
		order++
	}
	return kernel.Phys(m.Env.Pages(order))
}
