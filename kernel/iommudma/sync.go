package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/scatterlist"
)

var (
	fnSyncCPU      = cpu.NewFunc("iommu_dma_sync_single_for_cpu", file, 0xc0)
	fnSyncDevice   = cpu.NewFunc("iommu_dma_sync_single_for_device", file, 0xc0)
	fnSyncSGCPU    = cpu.NewFunc("iommu_dma_sync_sg_for_cpu", file, 0xc0)
	fnSyncSGDevice = cpu.NewFunc("iommu_dma_sync_sg_for_device", file, 0xc0)
)

// SyncSingle is iommu_dma_sync_single_for_cpu and, with toDevice, iommu_dma_sync_single_for_device. A trusted coherent device is done
// after three tests. An untrusted one may have been given a bounce buffer: the page tables are walked for the physical address,
// and the address compared with the pool. It returns no error: what is not mapped translates to 0, which is in no pool. Estimated from
// the structure of the source: no recording has it.
func (l *Layer) SyncSingle(t *cpu.Thread, dev *kernel.Device, addr, size uint64, dir kernel.Direction, toDevice bool) error {
	k := l.Of(dev)
	if toDevice {
		t.Call(fnSyncDevice)
	} else {
		t.Call(fnSyncCPU)
	}
	t.Nop(2)
	t.Push(4)
	t.Branch(true, t.LoadOp(dev.At.Bus, 0, t.ALU(4, 0)))
	t.Branch(!dev.Untrusted, t.Mem(cpu.LoadOp, dev.At.Untrusted, 1, 0, 0))
	if dev.Untrusted {
		getDomain(t, dev)
		t.ALU(2, 0)
		k.bounceTest(t, dev, k.dom.IovaToPhys(t, addr))
	}
	t.Pop(4)
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
	t.Branch(!dev.Untrusted, t.ALU(1, t.Mem(cpu.Load, sg.At(0)+scatterlist.DMAFlags, 4, 0, 0)))
	if dev.Untrusted { // mapped entry by entry (mapSGEach)
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
