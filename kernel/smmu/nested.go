package smmu

import (
	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/kernel"
)

// AttachNested makes the device with requester id rid use what a guest's stream table entry says: its context descriptors and stage 1,
// below which the unit has the host's stage 2 (arm_smmu_attach_dev_nested, at boot).
func (u *Unit) AttachNested(rid uint16, guest smmutable.STE) error { return u.writeSTE(rid, guest) }

// Forward puts a guest's invalidations, which lie at from, into the queue and waits for them: what arm_vsmmu_cache_invalidate does with a
// batch, of at most 64, that it has translated.
func (u *Unit) Forward(t *cpu.Thread, cmds []smmutable.Command, from uint64) {
	if u.Env.Version == kernel.V7_3 {
		u.issue73(t, cmds, from, true)
		return
	}
	u.issue12(t, cmds, from, true)
}
