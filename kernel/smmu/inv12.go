package smmu

import (
	"math/bits"

	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
)

var (
	fnIotlbSync = cpu.NewFunc("arm_smmu_iotlb_sync", fileSMMU, 256)
	fnInvRange  = cpu.NewFunc("__arm_smmu_tlb_inv_range", fileSMMU, 460)
	fnBatchAdd  = cpu.NewFunc("arm_smmu_cmdq_batch_add", fileSMMU, 240)
	fnBuild     = cpu.NewFunc("arm_smmu_cmdq_build_cmd", fileSMMU, 560)
	fnATCInv    = cpu.NewFunc("arm_smmu_atc_inv_domain", fileSMMU, 420)
	fnFlushAll  = cpu.NewFunc("arm_smmu_flush_iotlb_all", fileSMMU, 40)
	fnInvCtx    = cpu.NewFunc("arm_smmu_tlb_inv_context", fileSMMU, 180)
	fnIssueOne  = cpu.NewFunc("__arm_smmu_cmdq_issue_cmd", fileSMMU, 120)
)

// ranges cuts an invalidation of a range into commands. With range commands each covers num * 2^scale granules, where num is at most 31
// and scale the number of zeros below the pages that are left; without them each covers one page.
type ranges struct {
	iova, end uint64
	step      uint64 // bytes per command without ranges
	pages     uint64 // left, with ranges
	cmd       smmutable.TLBI
}

// granule is log2 of the smallest page of a stage-1 table here.
const granule = smmutable.Granule4K

// newRanges prepares the invalidation of size bytes at iova that were mapped in pages of pgsize; leaf: only leaf entries changed.
func (u *Unit) newRanges(asid uint16, iova, size, pgsize uint64, leaf bool) ranges {
	r := ranges{iova: iova, end: iova + size, step: pgsize, cmd: smmutable.TLBI{ASID: asid, Leaf: leaf}}
	if u.caps.rangeInv {
		r.pages = size >> granule
		r.cmd.Granule = granule
		if leaf { // the level that the pages are at
			r.cmd.TTL = uint8(4 - (bits.Len64(pgsize)-1-3)/int(granule-3))
		} else if r.pages&31 == 1 { // both num and scale zero are avoided
			r.pages++
		}
	}
	return r
}

// next returns the command for what comes next.
func (r *ranges) next() smmutable.Command {
	r.cmd.Addr = r.iova
	if r.cmd.Granule == 0 {
		r.iova += r.step
		return r.cmd.Command(smmutable.TlbiNHVA)
	}
	scale := bits.TrailingZeros64(r.pages)
	num := r.pages >> scale & 31
	r.cmd.Scale, r.cmd.Num = uint8(scale), uint8(num-1)
	r.iova += num << scale << granule
	r.pages -= num << scale
	return r.cmd.Command(smmutable.TlbiNHVA)
}

// SyncTLB is arm_smmu_iotlb_sync: the hardware forgets what was gathered, and the call returns when it has.
func (d *Domain) SyncTLB(t *cpu.Thread, target cpu.Val, g *iommucore.Gather) {
	if d.env.Version == kernel.V7_3 {
		d.syncTLB73(t, target, g)
		return
	}
	u := d.u
	enterInd(t, fnIotlbSync, target, false)
	t.ALU(1, 0)
	open(t, 112, 1)
	u.canary(t, 104)
	t.ALU(2, 0)
	t.Branch(g.PgSize != 0, t.Load(g.VA+iommucore.GatherPgSize, 0))
	if g.PgSize != 0 {
		t.StorePair(t.SP()+16, 0, 0)
		t.ALU(2, 0)
		t.StackStore(32, 0)
		t.StorePair(t.SP()+40, 0, 0)
		w := t.LoadPair(g.VA+iommucore.GatherStart, 0)
		t.Mem(cpu.Store, t.SP()+54, 1, 0, 0)
		st := load4(t, d.va+dom12Stage, 0)
		t.StorePair(t.SP()+56, 0, 0)
		asid := t.Mem(cpu.Load, d.va+dom12ASID, 2, 0, 0)
		t.ALU(2, w)
		t.Branch(false, st)
		smmu := t.Load(d.va+dom12Smmu, 0)
		t.Mem(cpu.Store, t.SP()+50, 2, 0, asid)
		t.ALU(2, 0)
		f := load4(t, u.va+devFeatures, smmu)
		t.ALU(2, f)
		t.Mem(cpu.Store, t.SP()+40, 1, 0, t.Last())
		t.ALU(4, 0)
		cmd := t.SP() + 40
		u.invRange12(t, d, cmd, g.Start, g.End+1-g.Start, g.PgSize, true)
		t.ALU(3, 0)
		u.atcInv12(t, d, g.Start, g.End+1-g.Start)
		t.LoadPair(t.SP()+16, 0)
		t.StackLoad(32)
		t.Jump()
	}
	u.checkCanary(t, 104)
	t.LoadPair(t.SP(), 0)
	t.ALU(1, 0)
	t.Reserve(-112)
	t.Nop(1)
	t.Ret()
}

// openBatch makes the batch of t's CPU lie at va and zeroes it there.
func (u *Unit) openBatch(t *cpu.Thread, va uint64) *batch {
	b := &u.scratchOf(t).batch
	b.va, b.num = va, 0
	u.memset(t, va, batchBytes)
	return b
}

// invRange12 is __arm_smmu_tlb_inv_range of 6.12; the command's description lies at cmd.
func (u *Unit) invRange12(t *cpu.Thread, d *Domain, cmd, iova, size, pgsize uint64, leaf bool) {
	enter(t, fnInvRange, false)
	const frame = 96 + batchBytes
	open(t, frame, 4)
	t.StackStore(64, 0)
	u.canary(t, 72)
	t.ALU(10, 0)
	smmu := t.Load(d.va+dom12Smmu, 0)
	t.ALU(1, 0)
	b := u.openBatch(t, t.SP()+88)
	t.Branch(size == 0, 0)
	f := load4(t, u.va+devFeatures, smmu)
	t.Branch(u.caps.rangeInv, f)
	r := u.newRanges(d.asid, iova, size, pgsize, leaf)
	if u.caps.rangeInv {
		sz := t.Load(d.Core.At.PgsizeBitmap, 0)
		lf := t.Mem(cpu.Load, cmd+14, 1, 0, 0)
		v := t.Op(cpu.BitScan, t.Op(cpu.BitScan, sz))
		t.ALU(4, v)
		t.Mem(cpu.Store, cmd+16, 1, 0, v)
		t.Branch(!leaf, lf)
		if leaf {
			v = t.Op(cpu.BitScan, 0)
			t.ALU(8, v)
			t.ALU(1, t.Op(cpu.Div, v))
			t.Mem(cpu.Store, cmd+15, 1, 0, t.Last())
			t.Jump()
		}
	}
	impl := t.Load(u.va+devImplOps, 0)
	store4(t, b.va+batchNum, 0, 0)
	t.Branch(true, impl)
	t.ALU(1, 0)
	t.Jump()
	t.ALU(1, 0)
	t.Store(b.va+batchCmdq, 0, 0)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.Nop(1)
	top := t.Here()
	for {
		split(t)
		f := load4(t, u.va+devFeatures, 0)
		t.Branch(!u.caps.rangeInv, f)
		c := r.next()
		if u.caps.rangeInv {
			v := t.Op(cpu.BitScan, t.Op(cpu.BitScan, 0))
			t.Mem(cpu.Store, cmd+9, 1, 0, v)
			t.ALU(4, v)
			t.Mem(cpu.Store, cmd+8, 1, 0, t.Last())
			t.ALU(3, v)
		}
		t.Store(cmd+24, 0, 0)
		t.ALU(4, 0)
		u.batchAdd12(t, b, c, cmd)
		t.ALU(1, 0)
		more := r.iova < r.end
		t.Branch(more, t.Last())
		if !more {
			break
		}
		t.Back(top)
	}
	t.Load(b.va+batchCmdq, 0)
	load4(t, b.va+batchNum, 0)
	t.ALU(3, 0)
	u.issue12(t, b.cmds[:b.num], b.va, true)
	u.checkCanary(t, 72)
	t.ALU(1, 0)
	for i := range uint64(3) {
		t.LoadPair(t.SP()+16*(i+1), 0)
	}
	t.StackLoad(64)
	shut(t, frame, 1)
}

// batchAdd12 is arm_smmu_cmdq_batch_add of 6.12: a full batch goes into the queue without a CMD_SYNC.
func (u *Unit) batchAdd12(t *cpu.Thread, b *batch, c smmutable.Command, cmd uint64) {
	enter(t, fnBatchAdd, false)
	open(t, 48, 2)
	t.ALU(3, 0)
	t.StackStore(32, 0)
	t.ALU(1, 0)
	q := t.Load(b.va+batchCmdq, 0)
	sup := t.Load(u.q.supports, q)
	t.Branch(true, sup)
	n := load4(t, b.va+batchNum, 0)
	t.ALU(1, n)
	t.Branch(true, t.Last())
	t.ALU(1, n)
	t.Branch(b.num == batchEntries, t.Last())
	if b.num == batchEntries {
		t.ALU(4, 0)
		u.issue12(t, b.cmds[:], b.va, false)
		b.num = 0
		t.ALU(2, 0)
		store4(t, b.va+batchNum, 0, 0)
	}
	t.ALU(3, n)
	u.buildTLBI(t, cmd, b.at(b.num))
	t.Branch(false, 0)
	n = load4(t, b.va+batchNum, 0)
	store4(t, b.va+batchNum, 0, t.ALU(1, n))
	b.cmds[b.num] = c
	b.num++
	t.LoadPair(t.SP()+16, 0)
	t.StackLoad(32)
	shut(t, 48, 1)
}

// build emits the common part of arm_smmu_cmdq_build_cmd of 6.12, up to the jump by the opcode.
func (u *Unit) build(t *cpu.Thread, cmd, out uint64) {
	enter(t, fnBuild, true)
	t.StorePair(out, 0, 0)
	t.Store(out, 0, t.Mem(cpu.Load, cmd, 1, 0, 0))
	op := t.Mem(cpu.Load, cmd, 1, 0, 0)
	t.ALU(2, op)
	t.Branch(false, t.Last())
	t.ALU(2, op)
	to := t.Mem(cpu.Load, u.ops+10, 2, op, 0)
	to = t.ALU(2, to)
	t.JumpInd(20, to)
}

// buildTLBI builds a TLBI_NH_VA from its description at cmd: 46 instructions.
func (u *Unit) buildTLBI(t *cpu.Thread, cmd, out uint64) {
	u.build(t, cmd, out)
	word := func(at uint64, size, alu int, to uint64) {
		v := t.Mem(cpu.Load, cmd+at, size, 0, 0)
		t.Store(out+to, 0, t.ALU(alu, v))
	}
	word(12, 2, 1, 0) // vmid
	word(8, 1, 2, 0)  // num
	word(9, 1, 2, 0)  // scale
	word(10, 2, 1, 0) // asid
	word(14, 1, 0, 8) // leaf
	word(15, 1, 2, 8) // ttl
	word(16, 1, 2, 8) // tg
	word(24, 8, 2, 8) // addr
	t.ALU(1, 0)
	t.Jump()
	t.Ret()
}

// buildSync builds a CMD_SYNC: 23 instructions, 27 when it has a message.
func (u *Unit) buildSync(t *cpu.Thread, cmd, out uint64) {
	u.build(t, cmd, out)
	v := t.Load(cmd+8, 0)
	t.ALU(1, v)
	t.Branch(!u.caps.msiPoll, v)
	t.ALU(1, v)
	if u.caps.msiPoll {
		t.ALU(2, v)
		t.Store(out+8, 0, t.ALU(1, v))
	}
	t.Store(out, 0, v)
	t.ALU(1, 0)
	t.Jump()
	t.Ret()
}

// atcInv12 is arm_smmu_atc_inv_domain of 6.12, which prepares a batch on its stack before it looks whether the unit has ATS.
func (u *Unit) atcInv12(t *cpu.Thread, d *Domain, iova, size uint64) {
	enter(t, fnATCInv, false)
	const frame = 128 + batchBytes
	open(t, frame, 3)
	u.canary(t, 56)
	t.ALU(7, 0)
	cmd := t.SP() + 64
	t.StorePair(cmd, 0, 0)
	t.ALU(4, 0)
	t.Mem(cpu.Store, cmd, 1, 0, 0)
	t.StorePair(cmd+16, 0, 0)
	b := u.openBatch(t, t.SP()+104)
	smmu := t.Load(d.va+dom12Smmu, 0)
	t.Branch(!u.caps.ats, load4(t, u.va+devFeatures, smmu))
	if u.caps.ats {
		u.atcMasters12(t, d, b, cmd, iova, size)
	}
	t.ALU(1, 0)
	u.checkCanary(t, 56)
	t.ALU(1, 0)
	t.LoadPair(t.SP()+16, 0)
	t.LoadPair(t.SP()+32, 0)
	shut(t, frame, 1)
}

// FlushAll is arm_smmu_flush_iotlb_all: everything of the domain goes, with one TLBI_NH_ASID and a CMD_SYNC. No recording contains it.
func (d *Domain) FlushAll(t *cpu.Thread, target cpu.Val) {
	u := d.u
	enterInd(t, fnFlushAll, target, true)
	if d.env.Version == kernel.V7_3 {
		open(t, 16, 1)
		t.ALU(5, 0)
		d.invRange73(t, 0, 0, 0, false)
		shut(t, 16, 1)
		return
	}
	t.Branch(false, t.Load(d.va+dom12Smmu, 0))
	t.TailCall(fnInvCtx)
	land(t, false)
	open(t, 80, 2)
	u.canary(t, 72)
	t.StorePair(t.SP()+32, 0, 0)
	t.StorePair(t.SP()+48, 0, 0)
	smmu := t.Load(d.va+dom12Smmu, 0)
	st := load4(t, d.va+dom12Stage, 0)
	t.ALU(2, 0)
	t.Branch(false, st)
	asid := t.Mem(cpu.Load, d.va+dom12ASID, 2, 0, 0)
	f := load4(t, u.va+devFeatures, smmu)
	t.Mem(cpu.Store, t.SP()+32, 1, 0, t.ALU(3, f))
	t.Mem(cpu.Store, t.SP()+42, 2, 0, asid)
	t.ALU(4, 0)
	u.issueOne12(t, smmutable.ASIDCommand(smmutable.TlbiNHASID, 0, d.asid), t.SP()+32)
	t.ALU(3, 0)
	u.atcInv12(t, d, 0, 0)
	u.checkCanary(t, 72)
	t.LoadPair(t.SP()+16, 0)
	shut(t, 80, 1)
}

// issueOne12 is __arm_smmu_cmdq_issue_cmd of 6.12 with a CMD_SYNC.
func (u *Unit) issueOne12(t *cpu.Thread, c smmutable.Command, cmd uint64) {
	enter(t, fnIssueOne, false)
	open(t, 64, 2)
	u.canary(t, 56)
	t.ALU(6, 0)
	out := t.SP() + 32
	u.build(t, cmd, out)
	v := t.Mem(cpu.Load, cmd+10, 2, 0, 0)
	t.Store(out, 0, t.ALU(1, v))
	t.ALU(1, 0)
	t.Jump()
	t.Ret()
	t.Branch(false, t.Last())
	impl := t.Load(u.va+devImplOps, 0)
	t.Branch(true, impl)
	t.ALU(5, 0)
	b := &u.scratchOf(t).batch
	b.va, b.cmds[0], b.num = out, c, 1
	u.issue12(t, b.cmds[:1], out, true)
	u.checkCanary(t, 56)
	t.LoadPair(t.SP()+16, 0)
	shut(t, 64, 1)
}

var fnFlushWalk = cpu.NewFunc("arm_smmu_tlb_inv_walk", fileSMMU, 60)

// flushWalk is arm_smmu_tlb_inv_walk: a table is about to be freed, so the hardware forgets what it knows of the range, with the entries that
// lead to it. No recording contains it.
func (u *Unit) flushWalk(t *cpu.Thread, d *Domain, iova, size uint64) {
	enter(t, fnFlushWalk, false)
	open(t, 64, 1)
	t.ALU(6, 0)
	if u.Env.Version == kernel.V7_3 {
		d.invRange73(t, iova, size, 1<<granule, false)
	} else {
		cmd := t.SP() + 16
		t.StorePair(cmd, 0, 0)
		t.StorePair(cmd+16, 0, 0)
		u.invRange12(t, d, cmd, iova, size, 1<<granule, false)
		t.ALU(3, 0)
		u.atcInv12(t, d, iova, size)
	}
	shut(t, 64, 1)
}
