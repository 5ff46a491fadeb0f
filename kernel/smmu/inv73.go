package smmu

import (
	"math/bits"

	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
)

var (
	fnDomInvRange   = cpu.NewFunc("arm_smmu_domain_inv_range", fileSMMU, 216)
	fnDomInvRange73 = cpu.NewFunc("__arm_smmu_domain_inv_range", fileSMMU, 980)
	fnInvToBatch    = cpu.NewFunc("arm_smmu_inv_to_cmdq_batch", fileSMMU, 460)
	fnBatchAddP     = cpu.NewFunc("arm_smmu_cmdq_batch_add_cmd_p", fileSMMU, 260)
)

// Offsets in struct arm_smmu_invs and its entries: what has to be told when the domain's tables change, one entry per unit and kind. Here
// a domain has one entry for its ASID, and one for each device with a TLB of its own.
const (
	invsNum    = 8
	invsRWLock = 32
	invsFirst  = 56 // struct arm_smmu_inv: unit, then type, opcodes, id, page sizes, users
	invType    = invsFirst + 8
	invOpcode  = invsFirst + 9
	invID      = invsFirst + 12
	invPgSizes = invsFirst + 16
	invUsers   = invsFirst + 24
)

// syncTLB73 is arm_smmu_iotlb_sync of 7.3.
func (d *Domain) syncTLB73(t *cpu.Thread, target cpu.Val, g *iommucore.Gather) {
	enterInd(t, fnIotlbSync, target, true)
	t.Branch(g.PgSize != 0, t.Load(g.VA+iommucore.GatherPgSize, 0))
	if g.PgSize == 0 {
		t.Ret()
		return
	}
	t.Nop(1)
	open(t, 16, 1)
	t.ALU(3, 0)
	w := t.LoadPair(g.VA+iommucore.GatherStart, 0)
	t.ALU(2, w)
	d.invRange73(t, g.Start, g.End+1-g.Start, g.PgSize, true)
	shut(t, 16, 1)
}

// invRange73 is arm_smmu_domain_inv_range: under RCU, every entry of the domain's array is told. A size of 0 is everything.
func (d *Domain) invRange73(t *cpu.Thread, iova, size, pgsize uint64, leaf bool) {
	enter(t, fnDomInvRange, false)
	open(t, 64, 2)
	t.ALU(1, 0)
	t.StorePair(t.SP()+48, 0, 0)
	t.ALU(1, 0)
	t.Op(cpu.Fence, 0) // smp_mb, against the attaching of another device
	task := t.Op(cpu.Sysreg, 0)
	nest := kernel.TaskPreempt(t.CPU) // rcu_read_lock without CONFIG_PREEMPT_RCU
	store4(t, nest, task, t.ALU(1, load4(t, nest, task)))
	invs := t.Load(d.va+dom73Invs, 0)
	ats := t.Mem(cpu.Load, d.invs+invsRWLock, 1, invs, 0)
	t.Branch(len(d.ats) == 0, ats)
	t.ALU(2, invs)
	if len(d.ats) > 0 {
		d.u.readLock(t, d)
	}
	d.invEntries(t, iova, size, pgsize, leaf)
	if len(d.ats) > 0 {
		d.u.readUnlock(t, d)
	}
	t.Jump()
	task = t.Op(cpu.Sysreg, 0)
	v := t.ALU(1, t.Load(nest, task))
	store4(t, nest, task, v)
	t.Branch(false, v)
	t.Branch(true, t.Load(nest, task))
	t.LoadPair(t.SP()+16, 0)
	t.LoadPair(t.SP()+48, 0)
	shut(t, 64, 1)
}

// tooBig is arm_smmu_inv_size_too_big: without range commands 7.3 makes the hardware forget everything rather than send as many commands as a
// table has entries.
func (u *Unit) tooBig(size, pgsize uint64) bool {
	if pgsize == 0 {
		return true
	}
	if u.caps.rangeInv {
		return false
	}
	return size >= 1<<(bits.Len64(pgsize)-1-3)*pgsize
}

// invEntries is __arm_smmu_domain_inv_range: the entry of the ASID, and those of devices with TLBs.
func (d *Domain) invEntries(t *cpu.Thread, iova, size, pgsize uint64, leaf bool) {
	u := d.u
	enter(t, fnDomInvRange73, false)
	const below = 64 // the command and what is kept on the stack
	const frame = 112 + below + batchBytes
	open(t, frame, 4)
	u.canary(t, 64)
	cmd := t.SP() + 72
	t.ALU(9, 0)
	store4(t, t.SP()+100, 0, 0)
	t.ALU(3, 0)
	b := u.openBatch(t, t.SP()+104+below)
	n := t.Load(d.invs+invsNum, 0)
	t.ALU(2, n)
	t.Branch(true, t.Last())
	users := load4(t, d.invs+invUsers, 0)
	t.Branch(false, users)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	for i := range uint64(4) {
		t.StackStore(104+8*int(i), 0)
		if i < 3 {
			t.ALU(1, 0)
		}
	}
	t.StackStore(136, 0)
	t.ALU(1, 0)
	smmu := t.Load(d.invs+invsFirst, 0)
	t.Store(cmd+8, 0, 0)
	t.Store(cmd, 0, t.Mem(cpu.Load, d.invs+invOpcode, 1, 0, 0))
	t.Branch(true, t.Load(u.va+devImplOps, smmu))
	t.ALU(1, 0)
	t.Jump()
	typ := t.Mem(cpu.Load, d.invs+invType, 1, 0, 0)
	t.ALU(3, typ)
	t.Branch(false, t.Last())
	t.Branch(false, t.Last())
	t.Branch(true, t.Last())
	id := t.Mem(cpu.Load, d.invs+invID, 2, 0, 0)
	t.ALU(1, id)
	op := t.Mem(cpu.Load, d.invs+invOpcode, 1, 0, 0)
	t.ALU(1, op)
	t.Mem(cpu.Load, t.SP()+100, 1, 0, 0)
	t.ALU(4, id)
	t.Jump()
	t.ALU(1, 0)
	t.StorePair(cmd, 0, 0)
	t.Store(b.va+batchCmdq, 0, 0)
	store4(t, b.va+batchNum, 0, 0)
	u.invToBatch(t, d, b, cmd, iova, size, pgsize, leaf)
	t.Load(b.va+batchCmdq, 0)
	load4(t, b.va+batchNum, 0)
	t.Jump()
	t.ALU(2, 0)
	t.Branch(false, t.Last())
	t.Branch(b.num == 0, 0)
	t.ALU(5, 0)
	t.Store(b.va+batchCmdq, 0, 0)
	store4(t, b.va+batchNum, 0, 0)
	u.issue73(t, b.cmds[:b.num], b.va, true)
	if len(d.ats) > 0 {
		u.atcEntries73(t, d, b, cmd, iova, size)
	}
	for i := range 4 {
		t.StackLoad(104 + 8*i)
	}
	t.Jump()
	u.checkCanary(t, 64)
	t.ALU(1, 0)
	for i := range uint64(3) {
		t.LoadPair(t.SP()+16*(i+1), 0)
	}
	shut(t, frame, 1)
}

// invToBatch is arm_smmu_inv_to_cmdq_batch: the commands of one entry.
func (u *Unit) invToBatch(t *cpu.Thread, d *Domain, b *batch, cmd, iova, size, pgsize uint64, leaf bool) {
	enter(t, fnInvToBatch, false)
	t.ALU(1, 0)
	t.Reserve(112)
	for i := range uint64(4) {
		t.StorePair(t.SP()+16*i, 0, 0)
	}
	u.canary(t, 104)
	t.ALU(7, 0)
	smmu := t.Load(d.invs+invsFirst, 0)
	all := u.tooBig(size, pgsize)
	t.ALU(1, 0)
	t.Branch(pgsize == 0, t.Last())
	if all {
		t.ALU(6, 0)
		u.batchAddP(t, b, smmutable.ASIDCommand(smmutable.TlbiNHASID, 0, d.asid), cmd)
		u.leaveInvToBatch(t)
		return
	}
	t.StorePair(t.SP()+64, 0, 0)
	t.ALU(2, 0)
	t.StorePair(t.SP()+80, 0, 0)
	t.ALU(1, 0)
	f := load4(t, u.va+devFeatures, smmu)
	t.Branch(u.caps.rangeInv, f)
	r := u.newRanges(d.asid, iova, size, pgsize, leaf)
	t.Load(cmd, 0)
	t.ALU(1, 0)
	pg := t.Load(d.invs+invPgSizes, 0)
	t.ALU(1, pg)
	t.Branch(false, t.Last())
	t.ALU(3, pg)
	t.Branch(!leaf, 0)
	if leaf {
		v := t.Op(cpu.BitScan, 0)
		t.ALU(8, v)
		t.ALU(2, t.Op(cpu.Div, v))
		t.Jump()
	}
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.ALU(5, 0)
	t.Nop(1)
	top := t.Here()
	for {
		split(t)
		f := load4(t, u.va+devFeatures, smmu)
		t.Branch(!u.caps.rangeInv, f)
		c := r.next()
		v := t.Op(cpu.BitScan, t.Op(cpu.BitScan, 0))
		t.ALU(8, v)
		t.Store(cmd, 0, t.Last())
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		t.ALU(6, v)
		t.Store(cmd+8, 0, t.Last())
		t.ALU(3, 0)
		u.batchAddP(t, b, c, cmd)
		t.ALU(1, 0)
		more := r.iova < r.end
		t.Branch(more, t.Last())
		if !more {
			break
		}
		t.Back(top)
	}
	t.LoadPair(t.SP()+64, 0)
	t.LoadPair(t.SP()+80, 0)
	u.leaveInvToBatch(t)
}

func (u *Unit) leaveInvToBatch(t *cpu.Thread) {
	u.checkCanary(t, 104)
	for i := range uint64(4) {
		t.LoadPair(t.SP()+16*i, 0)
	}
	t.ALU(1, 0)
	t.Reserve(-112)
	t.Nop(1)
	t.Ret()
}

// batchAddP is arm_smmu_cmdq_batch_add_cmd_p.
func (u *Unit) batchAddP(t *cpu.Thread, b *batch, c smmutable.Command, cmd uint64) {
	enter(t, fnBatchAddP, false)
	open(t, 48, 2)
	t.ALU(3, 0)
	t.StackStore(32, 0)
	t.ALU(1, 0)
	q := t.Load(b.va+batchCmdq, 0)
	t.Branch(true, t.Load(u.q.supports, q))
	n := load4(t, b.va+batchNum, 0)
	t.ALU(1, n)
	t.Branch(b.num == batchEntries, t.Last())
	if b.num == batchEntries {
		t.ALU(4, 0)
		u.issue73(t, b.cmds[:], b.va, false)
		b.num = 0
		t.ALU(2, 0)
		store4(t, b.va+batchNum, 0, 0)
	}
	t.ALU(1, n)
	t.Branch(false, t.Last())
	store4(t, b.va+batchNum, 0, t.ALU(2, n))
	t.ALU(1, n)
	t.Branch(false, t.Last())
	dst := t.ALU(1, n)
	t.StorePair(b.at(b.num), dst, t.LoadPair(cmd, 0))
	b.cmds[b.num] = c
	b.num++
	t.StackLoad(32)
	t.LoadPair(t.SP()+16, 0)
	shut(t, 48, 1)
}
