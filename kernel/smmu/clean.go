package smmu

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
)

var (
	fnSyncPTE = cpu.NewFunc("__arm_lpae_sync_pte", filePgt, 48)
	fnSyncDev = cpu.NewFunc("__dma_sync_single_for_device", "kernel/dma/mapping.c", 240)
)

// Where walks do not snoop (coherent_walk is off) what the CPU wrote into a table lies in its caches until the line is cleaned. io-pgtable-arm
// does it by dma_sync_single_for_device on the unit's struct device, which ends in dc cvac for each line and a dsb. No recording contains it:
// the functions in between are estimated at their size.

// syncEntries is the test of coherent_walk behind a write of n entries at ent, and __arm_lpae_sync_pte where it is off.
func (d *Domain) syncEntries(t *cpu.Thread, ent, n uint64) {
	t.Branch(!d.env.Coherent, t.Mem(cpu.Load, d.pgt.coherent, 1, 0, 0))
	if !d.env.Coherent {
		d.clean(t, ent, n)
	}
}

// clean is __arm_lpae_sync_pte of n entries at ent, which lie in one table.
func (d *Domain) clean(t *cpu.Thread, ent, n uint64) {
	split(t)
	t.Call(fnSyncPTE)
	t.Nop(1)
	t.ALU(4, t.Load(d.pgt.cookie, 0)) // cfg->iommu_dev, the address
	t.Load(d.env.Sym.PhysBase, 0)
	d.u.cleanForDevice(t, kernel.Phys(ent), n*8)
	t.Ret()
}

// cleanForDevice is dma_sync_single_for_device for the unit: it has no IOMMU before it and does not snoop.
func (u *Unit) cleanForDevice(t *cpu.Thread, phys, size uint64) {
	t.Call(fnSyncDev)
	t.Nop(1)
	t.StorePair(t.SP()-32, 0, 0)
	t.Branch(true, t.ALU(1, t.Load(u.va, 0)))    // no operations of its own: dma-direct
	t.Branch(false, t.ALU(2, t.Load(u.va+8, 0))) // no bounce pool
	t.Branch(false, t.ALU(1, t.Mem(cpu.Load, u.va+16, 1, 0, 0)))
	coherency.SyncForDevice(t, u.Env, phys, size, kernel.ToDevice)
	coherency.Flush(t, u.Env)
	t.LoadPair(t.SP()-32, 0)
	t.Ret()
}

// tested is the test of an entry that points to a table on the way down: one whose line has been cleaned says so in a bit for software
// (ARM_LPAE_PTE_SW_SYNC), and every one has when no other CPU is about to.
func (d *Domain) tested(t *cpu.Thread, v cpu.Val) {
	t.Branch(!d.env.Coherent, t.Mem(cpu.Load, d.pgt.coherent, 1, 0, 0))
	if !d.env.Coherent {
		t.Branch(false, t.ALU(1, v))
	}
}

// each reports whether every entry is cleaned on its own as it is cleared, as io-pgtable-arm did before 6.12.
func (d *Domain) each() bool { return d.env.CleanEach && !d.env.Coherent }

// clearEntries is __arm_lpae_clear_pte of n entries at ent: one memset and, where walks do not snoop, one cleaning of their lines. Entries
// that were cleaned one by one are zero already.
func (d *Domain) clearEntries(t *cpu.Thread, ent, n uint64) {
	if d.each() {
		return
	}
	d.u.memset(t, ent, 8*n)
	for i := range n {
		d.write(ent+8*i, 0)
	}
	d.syncEntries(t, ent, n)
}
