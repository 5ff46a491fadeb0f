package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
)

// mayBounce is dev_use_swiotlb: whether a buffer of size bytes could have been bounced for dev.
func (k *Cookie) mayBounce(t *cpu.Thread, dev *kernel.Device, size uint64, dir kernel.Direction) bool {
	t.Branch(true, t.LoadOp(dev.At.Bus, 0, 0)) // dev_is_pci
	t.Branch(!dev.Untrusted, t.Mem(cpu.LoadOp, dev.At.Untrusted, 1, 0, 0))
	return dev.Untrusted || coherency.KmallocNeedsBounce(t, k.env, dev, size, dir)
}

// inPool is the inlined test of swiotlb_find_pool: does a bounce pool contain phys?
func (k *Cookie) inPool(t *cpu.Thread, dev *kernel.Device, phys uint64) bool {
	p := t.Load(dev.At.IoTlbMem, 0)
	t.Branch(!k.tlb.Present(), t.Test(p))
	if !k.tlb.Present() {
		return false
	}
	if k.tlb.Dynamic() {
		found := k.tlb.FindDynamic(t, dev, phys) != nil
		t.Branch(!found, t.ALU(1, 0))
		return found
	}
	boot := k.tlb.Boot()
	t.Branch(phys < boot.Start, t.LoadOp(k.env.Sym.IoTlb, p, 0))
	if phys < boot.Start {
		return false
	}
	t.Branch(phys >= boot.End, t.LoadOp(k.env.Sym.IoTlb+8, p, 0))
	return phys < boot.End
}
