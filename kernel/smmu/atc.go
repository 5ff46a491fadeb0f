package smmu

import (
	"fmt"
	"math/bits"

	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/locking"
)

// Unrecorded: the recordings have no device with a TLB of its own. Instruction counts are estimates from reading arm-smmu-v3.c, the order of
// commands is not: the TLB commands and their CMD_SYNC first, then the commands for the devices with a CMD_SYNC of their own, so that a device
// cannot fetch again what the unit still had.

var fnATCToCmd = cpu.NewFunc("arm_smmu_atc_inv_to_cmd", fileSMMU, 160)

// atsMaster is a device of a domain with a TLB of its own: struct arm_smmu_master_domain and what of arm_smmu_master and its stream the
// invalidation reads.
type atsMaster struct {
	va, master, stream uint64
	inv                uint64 // 7.3: the device's entry in struct arm_smmu_invs, at the offset that the first has
	sid                uint32
}

// Offsets in struct arm_smmu_domain of 6.12, struct arm_smmu_master_domain and struct arm_smmu_master.
const (
	dom12ATS     = 48 // nr_ats_masters
	dom12Lock    = 232
	dom12Devices = 240
	mdMaster     = 16
	mdSSID       = 24
	masterATS    = 84 // the byte of ats_enabled
	masterCount  = 56 // num_streams
	masterStream = 48
)

// atcRange returns what arm_smmu_atc_inv_to_cmd makes of a range: the smallest power of two of pages that covers it, everything for size 0.
func atcRange(iova, size uint64) (addr uint64, log2 uint8) {
	if size == 0 {
		return 0, smmutable.ATCAll
	}
	first, last := iova>>granule, (iova+size-1)>>granule
	log2 = uint8(bits.Len64(first ^ last))
	return first &^ (1<<log2 - 1) << granule, log2
}

// atcToCmd is arm_smmu_atc_inv_to_cmd.
func (u *Unit) atcToCmd(t *cpu.Thread, size uint64, cmd uint64) {
	enter(t, fnATCToCmd, true)
	t.ALU(4, 0)
	t.StorePair(cmd, 0, 0)
	t.Branch(size == 0, 0)
	if size != 0 {
		v := t.ALU(5, 0)
		v = t.Op(cpu.BitScan, v)
		t.ALU(5, v)
	}
	t.StorePair(cmd+16, 0, t.Last())
	t.ALU(1, 0)
	t.Ret()
}

// atcMasters12 is the part of arm_smmu_atc_inv_domain of 6.12 that a unit with ATS reaches: every device of the domain that has a TLB is sent a
// command, under the lock of the domain's devices, and the call waits for them.
func (u *Unit) atcMasters12(t *cpu.Thread, d *Domain, b *batch, cmd, iova, size uint64) {
	t.Op(cpu.Fence, 0) // smp_mb, against ATS being enabled
	n := load4(t, d.va+dom12ATS, 0)
	t.Branch(len(d.ats) == 0, n)
	if len(d.ats) == 0 {
		return
	}
	u.atcToCmd(t, size, cmd)
	t.Store(b.va+batchCmdq, 0, 0)
	store4(t, b.va+batchNum, 0, 0)
	locking.SpinLockIrqsave(t, d.env.Version, &d.devices)
	node := t.Load(d.va+dom12Devices, 0)
	addr, log2 := atcRange(iova, size)
	top := t.Here()
	for i, m := range d.ats {
		split(t)
		p := t.Load(m.va+mdMaster, node)
		t.Branch(false, t.Mem(cpu.Load, m.master+masterATS, 1, p, 0))
		t.ALU(1, load4(t, m.va+mdSSID, node))
		t.Branch(true, load4(t, m.master+masterCount, p))
		sid := load4(t, m.stream, t.Load(m.master+masterStream, p))
		store4(t, cmd+8, 0, sid)
		t.ALU(2, 0)
		u.batchAdd12(t, b, smmutable.ATCCommand(m.sid, 0, false, addr, log2), cmd)
		node = t.Load(m.va, node)
		t.ALU(2, node)
		t.Loop(top, i+1 < len(d.ats), t.Last())
	}
	locking.SpinUnlockIrqrestore(t, d.env.Version, &d.devices)
	t.ALU(3, 0)
	u.issue12(t, b.cmds[:b.num], b.va, true)
}

// atcEntries73 is the part of __arm_smmu_domain_inv_range of 7.3 behind the TLB commands and their CMD_SYNC: the entries of devices.
func (u *Unit) atcEntries73(t *cpu.Thread, d *Domain, b *batch, cmd, iova, size uint64) {
	b.num = 0
	store4(t, b.va+batchNum, 0, 0)
	addr, log2 := atcRange(iova, size)
	top := t.Here()
	for i, m := range d.ats {
		split(t)
		t.Branch(false, load4(t, m.inv+invUsers, 0))
		typ := t.Mem(cpu.Load, m.inv+invType, 1, 0, 0)
		t.ALU(4, typ)
		t.Branch(true, t.Last())
		op := t.Mem(cpu.Load, m.inv+invOpcode, 1, 0, 0)
		id := load4(t, m.inv+invID, 0)
		t.ALU(4, op)
		t.Store(cmd, 0, t.ALU(2, id))
		u.atcToCmd(t, size, cmd)
		u.batchAddP(t, b, smmutable.ATCCommand(m.sid, 0, false, addr, log2), cmd)
		t.ALU(4, 0)
		t.Loop(top, i+1 < len(d.ats), t.Last())
	}
	t.ALU(5, 0)
	u.issue73(t, b.cmds[:b.num], b.va, true)
}

// readLock and readUnlock are the reader's side of the rwlock of struct arm_smmu_invs, which only the detaching of a device takes for writing.
func (u *Unit) readLock(t *cpu.Thread, d *Domain) {
	t.Op(cpu.Sysreg, 0)
	t.Op(cpu.IrqFlag, 0)
	v := t.Mem(cpu.Atomic, d.invs+invsRWLock+4, 4, 0, 0)
	t.ALU(1, v)
	t.Branch(false, v)
}

func (u *Unit) readUnlock(t *cpu.Thread, d *Domain) {
	t.Mem(cpu.Atomic, d.invs+invsRWLock+4, 4, 0, 0)
	t.Op(cpu.IrqFlag, 0)
}

// enableATS makes the device with requester id rid translate for itself within domain d (arm_smmu_enable_ats, at boot).
func (u *Unit) enableATS(rid uint16, d *Domain) error {
	if !u.caps.ats {
		return fmt.Errorf("ATS of device %04x: the unit answers no translation requests (IDR0.ATS)", rid)
	}
	if err := u.attach(rid, d, smmutable.EATSTranslate); err != nil {
		return err
	}
	env := u.Env
	d.ats = append(d.ats, atsMaster{va: env.Slab(64, 64), master: env.Slab(128, 64), stream: env.Slab(64, 64), inv: env.Slab(96, 64), sid: uint32(rid)})
	if env.Version == kernel.V6_12 && d.devices.VA == 0 {
		d.devices.VA, d.devices.Name = d.va+dom12Lock, "devices_lock"
	}
	return nil
}

// AttachATS is iommucore.DeviceTLBs'.
func (a Adapter) AttachATS(rid uint16, d *iommucore.Domain) error {
	own, err := iommucore.Own[*Domain](rid, d, "the SMMU driver")
	if err != nil {
		return err
	}
	return a.enableATS(rid, own)
}

var _ iommucore.DeviceTLBs = Adapter{}
