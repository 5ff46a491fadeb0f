package amdvi

import (
	"dmapath/cpu"
	"dmapath/iommu/amdtable"
)

// QueueForTest is iommu_queue_command of a command that lies on the stack.
func (u *Unit) QueueForTest(t *cpu.Thread, c amdtable.Command) { u.queueCommand(t, c, true, t.SP()-64) }
