package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
	"dmapath/kernel/scatterlist"
)

var (
	fnSyncCPU      = cpu.NewFunc("iommu_dma_sync_single_for_cpu", file, 0xc0)
	fnSyncDevice   = cpu.NewFunc("iommu_dma_sync_single_for_device", file, 0xc0)
	fnSyncSGCPU    = cpu.NewFunc("iommu_dma_sync_sg_for_cpu", file, 0xc0)
	fnSyncSGDevice = cpu.NewFunc("iommu_dma_sync_sg_for_device", file, 0xc0)
)

// SyncSingle is iommu_dma_sync_single_for_cpu and _for_device: nothing for a device that snoops and whose buffers are never bounced, else
// a walk of the page table for the buffer's physical address, cache maintenance, and the copy if it lies in a bounce pool. Its
// instructions are read, not recorded.
func (l *Layer) SyncSingle(t *cpu.Thread, dev *kernel.Device, addr, size uint64, dir kernel.Direction, toDevice bool) error {
	k := l.Of(dev)
	f := fnSyncCPU
	if toDevice {
		f = fnSyncDevice
	}
	t.Call(f)
	t.Nop(2)
	t.Push(5)
	t.ALU(4, 0)
	maintain := coherency.Needed(k.env, dev)
	if k.env.Arch != kernel.X86_64 {
		t.Branch(maintain, t.ALU(1, t.Load(dev.At.Flags, 0)))
	}
	if maintain || k.mayBounce(t, dev, size, dir) {
		getDomain(t, dev)
		t.ALU(2, 0)
		phys := k.dom.IovaToPhys(t, addr)
		t.ALU(1, 0)
		if maintain && !toDevice {
			coherency.SyncForCPU(t, k.env, phys, size, dir)
			coherency.Flush(t, k.env)
		}
		if k.inPool(t, dev, phys) {
			t.ALU(4, 0)
			if toDevice {
				k.tlb.SyncForDevice(t, dev, phys, size, dir)
			} else {
				k.tlb.SyncForCPU(t, dev, phys, size, dir)
			}
		}
		if maintain && toDevice {
			coherency.SyncForDevice(t, k.env, phys, size, dir)
			coherency.Flush(t, k.env)
		}
	}
	t.Pop(5)
	t.Ret()
	return nil
}

// SyncSG is iommu_dma_sync_sg_for_cpu and _for_device: the flag in the first entry says whether the list was bounced, in which case every
// segment is synchronised on its own; a coherent device needs nothing else.
func (l *Layer) SyncSG(t *cpu.Thread, dev *kernel.Device, sg *scatterlist.List, dir kernel.Direction, toDevice bool) error {
	if toDevice {
		t.Call(fnSyncSGDevice)
	} else {
		t.Call(fnSyncSGCPU)
	}
	t.Nop(2)
	t.Push(4)
	t.ALU(3, 0)
	t.Branch(!sg.Bounced, t.ALU(1, t.Mem(cpu.Load, sg.At(0)+scatterlist.DMAFlags, 4, 0, 0)))
	if !sg.Bounced {
		l.Of(dev).syncEntries(t, dev, sg, dir, 0, toDevice)
	} else { // mapped entry by entry (mapSGEach)
		top, s := t.Here(), t.ALU(1, 0)
		for i := range sg.Nents {
			t.Load(sg.At(i)+scatterlist.DMAAddr, s)
			t.Mem(cpu.Load, sg.At(i)+scatterlist.Length, 4, s, 0)
			l.SyncSingle(t, dev, sg.Entries[i].Addr, sg.Entries[i].Len, dir, toDevice)
			s = sg.Next(t, i, s)
			t.Loop(top, i+1 < sg.Nents, t.ALU(2, 0))
		}
	}
	t.Pop(4)
	t.Ret()
	return nil
}
