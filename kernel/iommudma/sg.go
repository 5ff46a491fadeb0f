package iommudma

import (
	"errors"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/scatterlist"
)

var (
	fnMapSG      = cpu.NewFunc("iommu_dma_map_sg", file, 0x5e0)
	fnFinalise   = cpu.NewFunc("__finalise_sg", file, 0x1c0)
	fnInvalidate = cpu.NewFunc("__invalidate_sg", file, 0xa0)
	fnUnmapSG    = cpu.NewFunc("iommu_dma_unmap_sg", file, 0x1a0)
)

// ErrNoEntries: a scatterlist without entries, which the kernel must not be given.
var ErrNoEntries = errors.New("scatterlist without entries")

// MapSG maps a scatterlist (iommu_dma_map_sg, both versions): one allocation of addresses for all of it, one invalidation of the
// map side, three passes over the entries. Every entry occupies whole granules; entries that meet without a gap become one DMA
// segment, as long as the device's segment boundary and segment size allow. The entries of an untrusted device are mapped one by one. No
// recording contains a scatterlist: the passes are estimated from the structure of the source; what they call is exact.
func (l *Layer) MapSG(t *cpu.Thread, dev *kernel.Device, sg *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error {
	k := l.Of(dev)
	if len(sg.Entries) == 0 {
		return ErrNoEntries
	}
	t.Call(fnMapSG)
	t.Nop(2)
	t.Push(6)
	t.Frame(56)
	d := getDomain(t, dev)
	c := t.Load(k.dom.At.Cookie, d)
	g := t.Load(k.at.granule, c)
	k.emitMask(t, dev)
	sg.Bounced = k.mayBounceSG(t, dev, sg, dir)
	var err error
	if sg.Bounced {
		err = k.mapSGEach(t, dev, sg, dir, attrs)
	} else {
		k.syncEntries(t, dev, sg, dir, attrs, true)
		err = k.mapSG(t, dev, sg, dir, attrs, c, g)
	}
	t.Frame(-56)
	t.Pop(6)
	t.Ret()
	if _, err = k.mapped(0, err); err == nil {
		k.segments(dev, sg, dir, false)
	}
	return err
}

// segments reports the DMA segments of a list.
func (k *Cookie) segments(dev *kernel.Device, sg *scatterlist.List, dir kernel.Direction, unmap bool) {
	for i := range sg.Nents {
		if e := &sg.Entries[i]; k.env.OnBuffer != nil && !e.Bus {
			k.env.OnBuffer(kernel.BufferEvent{Device: dev, Unmap: unmap, Addr: e.Addr, Size: e.Len, Dir: dir})
		}
	}
}

// mayBounceSG is dev_use_sg_swiotlb: one entry that has to bounce makes all of them map one by one.
func (k *Cookie) mayBounceSG(t *cpu.Thread, dev *kernel.Device, sg *scatterlist.List, dir kernel.Direction) bool {
	t.Branch(true, t.LoadOp(dev.At.Bus, 0, 0))
	t.Branch(!dev.Untrusted, t.Mem(cpu.LoadOp, dev.At.Untrusted, 1, 0, 0))
	if dev.Untrusted {
		return true
	}
	if !coherency.Needed(k.env, dev) {
		return false
	}
	top, s := t.Here(), t.ALU(2, 0)
	for i := range sg.Entries {
		t.Mem(cpu.Load, sg.At(i)+scatterlist.Length, 4, s, 0)
		if coherency.KmallocNeedsBounce(t, k.env, dev, sg.Entries[i].Size, dir) {
			return true
		}
		s = sg.Next(t, i, s)
		t.Loop(top, i+1 < len(sg.Entries), t.ALU(1, 0))
	}
	return false
}

// syncEntries emits iommu_dma_sync_sg_for_device, or _for_cpu, of entries that did not bounce: the caches of every one, 7.3 with one barrier
// for all.
func (k *Cookie) syncEntries(t *cpu.Thread, dev *kernel.Device, sg *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs, toDevice bool) {
	if !k.maintains(t, dev, attrs) {
		return
	}
	top, s := t.Here(), t.ALU(2, 0)
	for i := range sg.Entries {
		e := &sg.Entries[i]
		sg.LoadPhys(t, k.env, i, s)
		if toDevice {
			coherency.SyncForDevice(t, k.env, e.Phys, e.Size, dir)
		} else {
			coherency.SyncForCPU(t, k.env, e.Phys, e.Size, dir)
		}
		s = sg.Next(t, i, s)
		t.Loop(top, i+1 < len(sg.Entries), t.ALU(1, 0))
	}
	coherency.Flush(t, k.env)
}

// mapSGEach is iommu_dma_map_sg_swiotlb, inlined: a map of its own for every entry.
func (k *Cookie) mapSGEach(t *cpu.Thread, dev *kernel.Device, sg *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error {
	top, s := t.Here(), t.ALU(2, 0)
	for i := range sg.Entries {
		e := &sg.Entries[i]
		sg.LoadPhys(t, k.env, i, s)
		t.Mem(cpu.Load, sg.At(i)+scatterlist.Length, 4, s, 0)
		a, err := k.Map(t, dev, e.Phys, e.Size, dir, attrs)
		k.Stats.Maps-- // the list is one map
		t.Branch(err != nil, t.ALU(1, 0))
		if err != nil {
			k.Stats.Failures--
			sg.Nents = i
			k.unmapSGEach(t, dev, sg, dir, attrs|kernel.AttrSkipCPUSync)
			return err
		}
		sg.StoreDMA(t, i, a, e.Size, s, 0, 0)
		s = sg.Next(t, i, s)
		t.Loop(top, i+1 < len(sg.Entries), t.ALU(2, 0))
	}
	sg.Nents = len(sg.Entries)
	return nil
}

// unmapSGEach is iommu_dma_unmap_sg_swiotlb.
func (k *Cookie) unmapSGEach(t *cpu.Thread, dev *kernel.Device, sg *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) {
	top, s := t.Here(), t.ALU(2, 0)
	for i := range sg.Nents {
		e := &sg.Entries[i]
		t.Load(sg.At(i)+scatterlist.DMAAddr, s)
		t.Mem(cpu.Load, sg.At(i)+scatterlist.DMALength, 4, s, 0)
		t.ALU(3, 0)
		k.Unmap(t, dev, e.Addr, e.Len, dir, attrs)
		k.Stats.Unmaps--
		s = sg.Next(t, i, s)
		t.Loop(top, i+1 < sg.Nents, t.ALU(2, 0))
	}
	sg.Nents = 0
}

// mapSG is the rest of iommu_dma_map_sg. Pass 1 moves offset and length of every entry to the DMA fields and rounds them to granules.
func (k *Cookie) mapSG(t *cpu.Thread, dev *kernel.Device, sg *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs, c, g cpu.Val) error {
	parms := t.Load(dev.At.DmaParms, 0)
	mask := t.Load(dev.At.SegBoundary, parms)
	t.ALU(6, g)
	k.emitDir(t, dir)
	var w scatterlist.Walk
	k.segs = k.segs[:0]
	total, prev := uint64(0), -1
	var err error
	top, s := t.Here(), t.ALU(1, 0)
	for i := range sg.Entries {
		e := &sg.Entries[i]
		e.Bus = false
		way := w.Classify(t, k.env, dev, sg, i, s)
		if way == scatterlist.Unsupported {
			err = scatterlist.ErrUnsupported
			break
		}
		if way == scatterlist.BusAddress {
			e.Bus, e.Addr, e.Len = true, e.Phys+dev.P2P.BusOffset, e.Size
			pa := sg.LoadPhys(t, k.env, i, s)
			sg.StoreDMA(t, i, e.Addr, e.Len, s, pa, 0)
			t.Mem(cpu.Store, sg.At(i)+scatterlist.DMAFlags, 4, s, 0)
			k.segs = append(k.segs, iommucore.Segment{})
		} else {
			at := sg.At(i)
			off := t.Mem(cpu.Load, at+scatterlist.Offset, 4, s, 0)
			ln := t.Mem(cpu.Load, at+scatterlist.Length, 4, s, 0)
			o := t.ALU2(off, g)
			t.Store(at+scatterlist.DMAAddr, s, o)
			t.Mem(cpu.Store, at+scatterlist.DMALength, 4, s, ln)
			t.Mem(cpu.Store, at+scatterlist.Offset, 4, s, t.ALU(1, o))
			t.Mem(cpu.Store, at+scatterlist.Length, 4, s, t.ALU(3, ln))
			t.Branch(false, t.ALU(3, mask)) // pad_len
			in, n := k.aligned(e.Phys, e.Size)
			// A list never crosses the device's boundary inside an entry: what the entry before it occupies grows up to the boundary.
			if pad := (dev.SegBoundary - total + 1) & dev.SegBoundary; prev >= 0 && pad != 0 && pad < n-1 {
				t.Mem(cpu.RMW, sg.At(prev)+scatterlist.Length, 4, 0, mask)
				t.ALU(1, mask)
				k.segs[prev].Size += pad
				total += pad
			}
			k.segs = append(k.segs, iommucore.Segment{Phys: e.Phys - in, Size: n})
			total += n
			prev = i
		}
		s = sg.Next(t, i, s)
		t.Loop(top, i+1 < len(sg.Entries), t.ALU(2, 0))
	}
	if err == nil {
		t.Branch(total == 0, t.ALU(1, 0))
		if total == 0 { // nothing but bus addresses
			k.finalise(t, dev, sg, 0)
			return nil
		}
		var addr uint64
		var ok bool
		addr, ok = k.code.allocIova(k, t, dev, total)
		t.Branch(!ok, t.ALU(1, 0))
		err = ErrNoIOVA
		if ok {
			t.ALU(5, 0)
			err = k.dom.MapSG(t, addr, sg, k.segs, prot(dir, !coherency.Needed(k.env, dev), attrs))
			t.Branch(err != nil, t.ALU(1, 0))
			if err == nil {
				k.finalise(t, dev, sg, addr)
				return nil
			}
			k.freeIova(t, addr, total)
		}
	}
	k.invalidate(t, sg)
	return err
}

// finalise is __finalise_sg: restore the entries, and write the DMA segments from the first entry on. A segment ends where an entry
// leaves a gap, at the segment boundary and at the largest segment.
func (k *Cookie) finalise(t *cpu.Thread, dev *kernel.Device, sg *scatterlist.List, addr uint64) {
	t.Call(fnFinalise)
	t.Nop(1)
	t.Push(6)
	p := t.Load(dev.At.DmaParms, 0)
	limit := t.Mem(cpu.Load, dev.At.MaxSeg, 4, p, 0)
	mask := t.Load(dev.At.SegBoundary, p)
	t.ALU(6, p)
	cur, length, count := 0, uint64(0), 0
	top, s := t.Here(), t.ALU(1, 0)
	for i := range sg.Entries {
		e := &sg.Entries[i]
		at := sg.At(i)
		if k.env.P2PDMA {
			t.Branch(e.Bus, t.ALU(1, t.Mem(cpu.Load, at+scatterlist.DMAFlags, 4, s, 0)))
		}
		a, ln := t.Load(at+scatterlist.DMAAddr, s), t.Mem(cpu.Load, at+scatterlist.DMALength, 4, s, 0)
		if e.Bus {
			bus := e.Addr
			e.Bus = false
			if i > 0 {
				cur++
				sg.Next(t, cur-1, 0)
			}
			sg.StoreDMA(t, cur, bus, e.Size, 0, a, ln)
			sg.Entries[cur].Bus = true
			t.Mem(cpu.Store, sg.At(cur)+scatterlist.DMAFlags, 4, 0, 0)
			length = 0
			count++
		} else {
			t.Mem(cpu.LoadOp, at+scatterlist.Length, 4, s, ln)
			t.Mem(cpu.RMW, at+scatterlist.Offset, 4, s, a)
			t.Mem(cpu.Store, at+scatterlist.Length, 4, s, ln)
			t.Store(at+scatterlist.DMAAddr, s, 0)
			t.Mem(cpu.Store, at+scatterlist.DMALength, 4, s, 0)
			off, _ := k.aligned(e.Phys, e.Size)
			n := k.segs[i].Size
			join := length != 0 && off == 0 && addr&dev.SegBoundary != 0 && dev.MaxSeg-length >= e.Size && length <= dev.MaxSeg
			t.Branch(!join, t.ALU2(mask, t.ALU2(limit, a)))
			if join {
				length += e.Size
			} else {
				if i > 0 {
					cur++
					sg.Next(t, cur-1, 0)
				}
				length = e.Size
				sg.Entries[cur].Addr, sg.Entries[cur].Bus = addr+off, false
				t.Store(sg.At(cur)+scatterlist.DMAAddr, 0, t.ALU(1, a))
				count++
			}
			sg.Entries[cur].Len = length
			t.Mem(cpu.Store, sg.At(cur)+scatterlist.DMALength, 4, 0, t.ALU(1, ln))
			addr += n
			gap := off+e.Size < n
			t.Branch(gap, t.ALU(3, ln))
			if gap {
				length = 0
			}
		}
		s = sg.Next(t, i, s)
		t.Loop(top, i+1 < len(sg.Entries), t.ALU(2, 0))
	}
	sg.Nents = count
	t.Pop(6)
	t.Ret()
}

// invalidate is __invalidate_sg: restore the entries after a failure.
func (k *Cookie) invalidate(t *cpu.Thread, sg *scatterlist.List) {
	t.Call(fnInvalidate)
	t.Nop(1)
	t.Push(3)
	top, s := t.Here(), t.ALU(2, 0)
	for i := range sg.Entries {
		at := sg.At(i)
		a := t.Load(at+scatterlist.DMAAddr, s)
		t.Mem(cpu.RMW, at+scatterlist.Offset, 4, s, a)
		t.Mem(cpu.Store, at+scatterlist.Length, 4, s, t.Mem(cpu.Load, at+scatterlist.DMALength, 4, s, 0))
		sg.StoreDMA(t, i, 0, 0, s, 0, 0)
		sg.Entries[i].Bus = false
		s = sg.Next(t, i, s)
		t.Loop(top, i+1 < len(sg.Entries), t.ALU(2, 0))
	}
	sg.Nents = 0
	t.Pop(3)
	t.Ret()
}

// UnmapSG undoes a MapSG (iommu_dma_unmap_sg): the first and the last DMA segment tell the range, which is unmapped at once.
func (l *Layer) UnmapSG(t *cpu.Thread, dev *kernel.Device, sg *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) {
	k := l.Of(dev)
	k.Stats.Unmaps++
	if k.env.OnBuffer != nil {
		n := sg.Nents // the list forgets it
		defer func() {
			m := sg.Nents
			sg.Nents = n
			k.segments(dev, sg, dir, true)
			sg.Nents = m
		}()
	}
	t.Call(fnUnmapSG)
	t.Nop(2)
	t.Push(5)
	t.ALU(3, 0)
	t.Branch(!sg.Bounced, t.Mem(cpu.Load, sg.At(0)+scatterlist.DMAFlags, 4, 0, 0))
	if sg.Bounced {
		k.unmapSGEach(t, dev, sg, dir, attrs)
		t.Pop(5)
		t.Ret()
		return
	}
	k.syncEntries(t, dev, sg, dir, attrs, false)
	var start, end uint64
	found := false
	top, s := t.Here(), t.ALU(2, 0)
	for i := range sg.Entries {
		var e scatterlist.Entry
		if i < sg.Nents {
			e = sg.Entries[i]
		}
		if k.env.P2PDMA {
			t.Branch(e.Bus, t.ALU(1, t.Mem(cpu.Load, sg.At(i)+scatterlist.DMAFlags, 4, s, 0)))
			if e.Bus {
				sg.Entries[i].Bus = false
				t.Mem(cpu.Store, sg.At(i)+scatterlist.DMAFlags, 4, s, 0)
				s = sg.Next(t, i, s)
				t.Loop(top, i+1 < len(sg.Entries), t.ALU(2, 0))
				continue
			}
		}
		ln := t.Mem(cpu.Load, sg.At(i)+scatterlist.DMALength, 4, s, 0)
		t.Branch(e.Len == 0, t.ALU(1, ln))
		if e.Len == 0 { // what follows the last DMA segment
			break
		}
		a := t.Load(sg.At(i)+scatterlist.DMAAddr, s)
		if !found {
			found, start = true, e.Addr
		}
		end = e.Addr + e.Len
		t.ALU2(a, ln)
		s = sg.Next(t, i, s)
		t.Loop(top, i+1 < len(sg.Entries), t.ALU(2, 0))
	}
	sg.Nents = 0
	t.Branch(!found, t.ALU(2, 0))
	t.ALU(2, 0)
	t.Pop(5)
	if !found {
		t.Ret()
		return
	}
	t.TailCall(fnUnmapIn)
	k.code.unmapIn(k, t, dev, start, end-start)
}

var fnMergeBoundary = cpu.NewFunc("iommu_dma_get_merge_boundary", file, 0x30)

// MergeBoundary is iommu_dma_get_merge_boundary: the smallest page of the domain less one. dma_get_merge_boundary jumps here.
func (l *Layer) MergeBoundary(t *cpu.Thread, dev *kernel.Device) uint64 {
	k := l.Of(dev)
	t.TailCall(fnMergeBoundary)
	t.Nop(2)
	getDomain(t, dev)
	sizes := t.Load(k.dom.At.PgsizeBitmap, 0)
	t.ALU(2, t.Op(cpu.BitScan, sizes))
	t.Ret()
	return k.dom.PgsizeBitmap&-k.dom.PgsizeBitmap - 1
}
