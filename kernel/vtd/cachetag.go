package vtd

import (
	"math/bits"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/locking"
)

const fileCache = "drivers/iommu/intel/cache.c"

var (
	fnFlushRange = cpu.NewFunc("cache_tag_flush_range", fileCache, 560)
	fnPSI        = cpu.NewFunc("calculate_psi_aligned_address", fileCache, 160)
	fnFlushIOTLB = cpu.NewFunc("cache_tag_flush_iotlb", fileCache, 512)
	fnBatchFlush = cpu.NewFunc("qi_batch_flush_descs", fileCache, 100)
	fnFlushAllOp = cpu.NewFunc("intel_flush_iotlb_all", "drivers/iommu/intel/iommu.c", 24)
	fnFlushAll   = cpu.NewFunc("cache_tag_flush_all", fileCache, 300)
)

// batchSize is QI_MAX_BATCHED_DESC_COUNT.
const batchSize = 16

// batch is struct qi_batch: descriptors of 32 bytes in software and how many there are, 520 bytes.
type batch struct {
	va    uint64
	descs [batchSize]desc
	n     int
}

const batchIndex = batchSize * 32

// span is what one IOTLB invalidation covers: 2^mask pages around addr, or the whole domain when mask is allPages.
type span struct {
	addr uint64
	mask int
}

// allPages is a mask that no unit supports; the invalidation becomes domain-selective.
const allPages = 52

// alignedSpan is what calculate_psi_aligned_address computes: the smallest power of two of pages, naturally
// aligned, that covers [start, end]. 6.12 rounds the number of pages up and widens the result when start is not aligned
// to it; 7.3 takes the highest bit in which start and end differ. A range of 2 pages that crosses a boundary can become
// much larger.
func alignedSpan(v kernel.Version, start, end uint64) span {
	mask := 0
	if v == kernel.V7_3 {
		if mask = bits.Len64(start^end) - 12; mask < 0 {
			mask = 0
		}
		if mask >= allPages {
			return span{0, allPages}
		}
	} else {
		pages := end>>12 - start>>12 + 1
		mask = bits.Len64(pages - 1)
		low := uint64(1)<<mask - 1
		if pfn := start >> 12; pfn&low != 0 {
			shared := ^(pfn ^ (pfn + pages - 1)) &^ low
			mask = allPages
			if shared != 0 {
				mask = bits.TrailingZeros64(shared)
			}
		}
	}
	return span{start &^ (4096<<mask - 1), mask}
}

// flushRange is cache_tag_flush_range: it invalidates [start, end] in every cache of the domain and returns when the
// hardware is done. hint says that only leaf entries changed. cache_lock is held until then.
func (d *Domain) flushRange(t *cpu.Thread, start, end uint64, hint bool) {
	if d.env.Version == kernel.V7_3 {
		d.flushRange73(t, start, end, hint)
		return
	}
	d.flushRange12(t, start, end, hint)
}

func (d *Domain) flushRange12(t *cpu.Thread, start, end uint64, hint bool) {
	v := d.env.Version
	t.Call(fnFlushRange)
	t.Nop(2)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(3)
	t.Frame(56)
	t.ALU(3, 0)
	t.StackStore(8, 0)
	t.ALU(2, 0)
	t.StackStore(0, 0)
	t.ALU(1, 0)
	t.StackStore(48, t.Load(d.guard(t), 0))
	t.ALU(1, 0)
	t.StackStore(32, 0)
	t.StackStore(40, 0)
	s := d.psi12(t, start, end)
	t.ALU(3, 0)
	t.StackStore(24, 0)
	locking.SpinLockIrqsave(t, v, &d.lock)
	d.flushTags12(t, s, hint, true)
	g := t.StackLoad(48)
	t.Branch(false, t.LoadOp(d.guard(t), 0, g))
	t.Frame(-56)
	t.Pop(6)
	t.Ret()
}

// flushTags12 is the loop over the cache tags, from taking cache_lock to releasing it. ranged says that trace arguments
// and the range are kept on the stack, as cache_tag_flush_range does and cache_tag_flush_all does not.
func (d *Domain) flushTags12(t *cpu.Thread, s span, hint, ranged bool) {
	list := t.Load(d.at.tags, 0)
	t.StackStore(16, 0)
	t.ALU(1, list)
	t.Branch(len(d.tags) == 0, list)
	t.ALU(4, list)
	t.Jump()
	node := list
	var prev *Unit
	top := t.Here()
	for i, tag := range d.tags {
		u := t.Load(tag.va+tagUnit, node)
		t.ALU(1, u)
		t.Branch(prev == nil || prev == tag.u, t.Last())
		if prev != nil && prev != tag.u {
			prev.flushBatch(t, d)
		}
		prev = tag.u
		t.ALU(1, u)
		typ := t.Mem(cpu.Load, tag.va+tagType, 4, node, 0)
		t.ALU(1, typ)
		t.Branch(tag.device == nil, typ) // CACHE_TAG_DEVTLB
		if tag.device != nil {
			t.StackLoad(40)
			t.ALU(3, node)
			d.flushDevTLB(t, tag, s, node)
		} else {
			t.Branch(true, typ)
			t.ALU(1, typ)
			t.Branch(true, typ)
			t.StackLoad(0)
			t.StackLoad(40)
			t.ALU(2, node)
			t.StackLoad(32)
			t.ALU(1, 0)
			d.flushIOTLB12(t, tag, s, hint, node)
		}
		t.Jump()
		if ranged {
			t.StackLoad(40)
			t.StackLoad(32)
		}
		t.Nop(1) // tracepoint
		node = t.Load(tag.va+tagNode, node)
		t.ALU(1, node)
		last := i == len(d.tags)-1
		t.Branch(last, t.Last())
		if !last {
			t.Back(top)
		}
	}
	t.ALU(1, 0)
	t.Load(d.at.batch, 0)
	t.ALU(1, 0)
	if prev != nil {
		prev.flushBatch(t, d)
	}
	t.StackLoad(16)
	t.StackLoad(24)
	locking.SpinUnlockIrqrestore(t, d.env.Version, &d.lock)
}

// psi12 is calculate_psi_aligned_address of 6.12, a function of its own there.
func (d *Domain) psi12(t *cpu.Thread, start, end uint64) span {
	s := alignedSpan(kernel.V6_12, start, end)
	pages := end>>12 - start>>12 + 1
	t.Call(fnPSI)
	t.Nop(1)
	t.ALU(7, 0)
	t.Push(1)
	t.ALU(6, 0)
	t.Op(cpu.BitScan, t.Last())
	t.ALU(5, t.Last())
	t.Op(cpu.BitScan, t.Last())
	t.ALU(1, t.Last())
	mask := bits.Len64(pages - 1)
	unaligned := start>>12&(1<<mask-1) != 0
	t.Branch(unaligned, t.Last())
	if unaligned {
		t.ALU(6, 0)
		t.Branch(s.mask == allPages, t.Last())
		t.Op(cpu.BitScan, t.Last())
	}
	t.ALU(2, 0)
	t.StackStore(48, 0)
	t.ALU(1, 0)
	t.Pop(1)
	t.StackStore(48, 0)
	t.ALU(3, 0)
	t.Ret()
	return s
}

// iotlbDesc encodes the invalidation of s for a tag: by pages when the unit can, else the whole domain.
func (k *cacheTag) iotlbDesc(s span, hint bool) desc {
	c := &k.u.caps
	lo := descIOTLB | c.drain | uint64(k.did)<<16
	if !c.psi || s.mask > c.maxAMask {
		return desc{lo | granDomain, 0}
	}
	hi := s.addr | uint64(s.mask)
	if hint {
		hi |= 1 << 6
	}
	return desc{lo | granPage, hi}
}

// flushIOTLB12 is cache_tag_flush_iotlb of 6.12: it adds one descriptor to the batch.
func (d *Domain) flushIOTLB12(t *cpu.Thread, tag *cacheTag, s span, hint bool, node cpu.Val) {
	c := &tag.u.caps
	t.Call(fnFlushIOTLB)
	t.Nop(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	u := t.Load(tag.va+tagUnit, node)
	t.ALU(1, 0)
	t.Mem(cpu.Load, tag.va+tagDID, 2, node, 0)
	t.Branch(false, t.Mem(cpu.LoadOp, d.at.flags, 1, 0, 0)) // use_first_level
	cp := t.Load(tag.u.at(iommuCap), u)
	t.ALU(5, cp)
	t.Branch(!c.psi, t.Last())
	wide := false
	if c.psi {
		wide = s.mask > c.maxAMask
		t.ALU(4, cp)
		t.Branch(wide, t.Last())
	}
	if c.psi && !wide {
		t.ALU(1, 0)
		t.Branch(true, t.Last())
		t.ALU(5, 0)
		t.Branch(false, t.Mem(cpu.LoadOp, tag.u.at(iommuEcap), 1, u, 0))
		t.Jump()
	} else {
		t.ALU(5, 0)
		t.Branch(false, t.Mem(cpu.LoadOp, tag.u.at(iommuEcap), 1, u, 0))
	}
	t.ALU(3, cp)
	b := t.Load(d.at.batch, 0)
	t.ALU(5, cp)
	n := t.Mem(cpu.Load, d.batch.va+batchIndex, 4, b, 0)
	t.ALU(12, n)
	at := d.batch.va + uint64(d.batch.n)*32
	t.Store(at, n, cp)
	t.ALU(1, 0)
	t.Store(at+16, n, 0)
	t.Store(at+8, n, 0)
	t.Store(at+24, n, 0)
	t.Mem(cpu.Store, d.batch.va+batchIndex, 4, b, n)
	t.ALU(1, n)
	d.batch.descs[d.batch.n] = tag.iotlbDesc(s, hint)
	d.batch.n++
	full := d.batch.n == batchSize
	t.Branch(full, n)
	if full {
		tag.u.flushBatch(t, d)
	}
	t.Pop(2)
	t.Ret()
}

// flushBatch is qi_batch_flush_descs: submit the batch and clear all 520 bytes of it.
func (u *Unit) flushBatch(t *cpu.Thread, d *Domain) {
	b := &d.batch
	t.Call(fnBatchFlush)
	t.Nop(1)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	n := t.Mem(cpu.Load, b.va+batchIndex, 4, 0, 0)
	if b.n == 0 {
		t.ALU(1, n)
		t.Branch(true, n)
		t.Ret()
		return
	}
	t.Push(1)
	t.ALU(2, n)
	t.Branch(true, n)
	t.ALU(1, 0)
	u.submit(t, b.descs[:b.n], b.va)
	t.ALU(1, 0)
	t.Store(b.va, 0, 0)
	t.ALU(1, 0)
	t.Store(b.va+batchIndex, 0, 0)
	t.ALU(4, 0)
	t.StringSet(b.va+8, 512, t.Last())
	b.n = 0
	t.Pop(1)
	t.Ret()
}

func (d *Domain) flushRange73(t *cpu.Thread, start, end uint64, hint bool) {
	t.Call(fnFlushRange)
	s := alignedSpan(kernel.V7_3, start, end)
	t.Nop(2)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(2)
	t.Frame(48)
	t.StackStore(16, 0)
	t.ALU(1, 0)
	t.StackStore(24, 0)
	t.ALU(2, 0)
	t.StackStore(0, 0)
	t.Op(cpu.BitScan, t.Last())
	t.ALU(2, t.Last())
	t.Branch(s.mask == 0, t.Last())
	if s.mask != 0 {
		t.ALU(1, 0)
		t.Branch(s.mask == allPages, t.Last())
		t.ALU(4, 0)
	}
	t.ALU(4, 0)
	t.StackStore(40, 0)
	locking.SpinLockIrqsave(t, d.env.Version, &d.lock)
	list := t.Load(d.at.tags, 0)
	t.StackStore(32, 0)
	t.ALU(1, list)
	t.Branch(len(d.tags) != 0, list)
	node := list
	var prev *Unit
	top := t.Here()
	for i, tag := range d.tags {
		u := t.Load(tag.va+tagUnit, node)
		t.ALU(1, u)
		t.Branch(prev == nil || prev == tag.u, t.Last())
		if prev != nil && prev != tag.u {
			prev.flushBatch(t, d)
		}
		prev = tag.u
		t.ALU(1, u)
		typ := t.Mem(cpu.Load, tag.va+tagType, 4, node, 0)
		t.ALU(1, typ)
		t.Branch(tag.device == nil, typ) // CACHE_TAG_DEVTLB
		if tag.device != nil {
			t.ALU(4, node)
			d.flushDevTLB(t, tag, s, node)
		} else {
			t.Branch(true, typ)
			t.ALU(1, typ)
			t.Branch(true, typ)
			t.StackLoad(0)
			t.ALU(4, node)
			d.flushIOTLB73(t, tag, s, hint, node)
		}
		t.Jump()
		t.Nop(1)
		node = t.Load(tag.va+tagNode, node)
		t.ALU(1, node)
		last := i == len(d.tags)-1
		t.Branch(last, t.Last())
		if !last {
			t.Back(top)
		}
	}
	t.Load(d.at.batch, 0)
	t.ALU(1, 0)
	if prev != nil {
		prev.flushBatch(t, d)
	}
	t.StackLoad(32)
	t.StackLoad(40)
	t.Frame(-48)
	t.Pop(6)
	locking.TailSpinUnlockIrqrestore(t, d.env.Version, &d.lock)
}

// flushIOTLB73 is cache_tag_flush_iotlb of 7.3: it adds one descriptor to the batch.
func (d *Domain) flushIOTLB73(t *cpu.Thread, tag *cacheTag, s span, hint bool, node cpu.Val) {
	c := &tag.u.caps
	at := &d.Core.At
	t.Call(fnFlushIOTLB)
	t.Nop(1)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(3)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	typ := t.Mem(cpu.Load, at.Type, 4, 0, 0)
	u := t.Load(tag.va+tagUnit, node)
	t.ALU(1, typ)
	t.Branch(false, typ)
	t.ALU(1, typ)
	t.Branch(false, typ)
	t.Branch(false, t.LoadOp(at.Ops, 0, 0)) // intel_fs_paging_domain_ops
	cp := t.Load(tag.u.at(iommuCap), u)
	t.ALU(4, cp)
	t.Branch(!c.psi, t.Last())
	if c.psi {
		t.ALU(5, cp)
		t.Branch(s.mask > c.maxAMask, t.Last())
	}
	t.ALU(4, 0)
	did := t.Mem(cpu.Load, tag.va+tagDID, 2, node, 0)
	t.Branch(false, t.Mem(cpu.LoadOp, tag.u.at(iommuEcap), 1, u, 0))
	b := t.Load(d.at.batch, 0)
	n := t.Mem(cpu.Load, d.batch.va+batchIndex, 4, b, 0)
	t.ALU(2, n)
	t.Branch(false, n)
	t.ALU(13, n)
	slot := d.batch.va + uint64(d.batch.n)*32
	t.Store(slot+16, n, 0)
	t.ALU(1, did)
	t.Store(slot+24, n, 0)
	t.Store(slot, n, did)
	t.ALU(6, 0)
	t.Store(slot+8, n, t.Last())
	t.Mem(cpu.Store, d.batch.va+batchIndex, 4, b, n)
	t.ALU(1, n)
	d.batch.descs[d.batch.n] = tag.iotlbDesc(s, hint)
	d.batch.n++
	full := d.batch.n == batchSize
	t.Branch(!full, n)
	if full {
		tag.u.flushBatch(t, d)
	}
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
}

// FlushAll is intel_flush_iotlb_all: it invalidates everything of the domain, which the flush queue asks for. 7.3 does
// it as a range of all addresses; 6.12 has a loop of its own.
func (d *Domain) FlushAll(t *cpu.Thread, target cpu.Val) {
	t.CallInd(fnFlushAllOp, target)
	t.Nop(2)
	if d.env.Version == kernel.V7_3 {
		t.ALU(4, 0)
		d.flushRange73(t, 0, ^uint64(0), false)
		t.Ret()
		return
	}
	t.ALU(1, 0)
	t.TailCall(fnFlushAll)
	t.Nop(2)
	t.Push(6)
	t.Frame(56)
	t.ALU(4, 0)
	t.StackStore(24, 0)
	locking.SpinLockIrqsave(t, d.env.Version, &d.lock)
	d.flushTags12(t, span{0, allPages}, false, false)
	t.Frame(-56)
	t.Pop(6)
	t.Ret()
}

var _ iommucore.Driver = (*Domain)(nil)
