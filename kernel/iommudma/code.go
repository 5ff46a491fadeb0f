package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
	"dmapath/kernel/iommucore"
)

// code is drivers/iommu/dma-iommu.c of one architecture and version.
type code struct {
	// mapping is iommu_dma_map_page and iommu_dma_map_resource, or iommu_dma_map_phys; unmapping what undoes them.
	mapping   func(k *Cookie, t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error)
	unmapping func(k *Cookie, t *cpu.Thread, dev *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs)
	// allocIova is iommu_dma_alloc_iova; unmapIn __iommu_dma_unmap after it was entered.
	allocIova func(k *Cookie, t *cpu.Thread, dev *kernel.Device, size uint64) (addr uint64, ok bool)
	unmapIn   func(k *Cookie, t *cpu.Thread, dev *kernel.Device, addr, size uint64)
}

// codeOf returns the code of a kernel.
func codeOf(e *kernel.Env) *code {
	arm, v7 := e.Arch.ISA() == cpu.A64, e.Version == kernel.V7_3
	switch {
	case arm && v7:
		return &code{(*Cookie).mapPhys73arm, (*Cookie).unmapPhys73arm, (*Cookie).allocIova73arm, (*Cookie).unmapIn73arm}
	case arm:
		return &code{(*Cookie).mapPage12arm, (*Cookie).unmapPage12arm, (*Cookie).allocIova12arm, (*Cookie).unmapIn12arm}
	case v7:
		return &code{(*Cookie).mapPhys73, (*Cookie).unmapPhys73, (*Cookie).allocIova73, (*Cookie).unmapIn73}
	}
	return &code{(*Cookie).mapPage12, (*Cookie).unmapPage12, (*Cookie).allocIova12, (*Cookie).unmapIn12}
}

// twoStep is the two-step interface of 7.3 in the code of one architecture. A device without translation, which has no cookie, can
// be asked too.
type twoStep struct {
	tryAlloc func(l *Layer, t *cpu.Thread, dev *kernel.Device, st *State, phys, size uint64) bool
	link     func(l *Layer, t *cpu.Thread, dev *kernel.Device, st *State, phys, offset, size uint64, dir kernel.Direction, attrs kernel.Attrs) error
	sync     func(l *Layer, t *cpu.Thread, dev *kernel.Device, st *State, offset, size uint64) error
	unlink   func(l *Layer, t *cpu.Thread, dev *kernel.Device, st *State, offset, size uint64, dir kernel.Direction, attrs kernel.Attrs)
	free     func(l *Layer, t *cpu.Thread, dev *kernel.Device, st *State) // it was entered
	destroy  func(l *Layer, t *cpu.Thread, dev *kernel.Device, st *State, mapped uint64, dir kernel.Direction, attrs kernel.Attrs)
}

var twoSteps = [...]twoStep{
	cpu.X86: {(*Layer).tryAlloc, (*Layer).link, (*Layer).sync, (*Layer).unlink, (*Layer).free, (*Layer).destroy},
	cpu.A64: {(*Layer).tryAllocArm, (*Layer).linkArm, (*Layer).syncArm, (*Layer).unlinkArm, (*Layer).freeArm, (*Layer).destroyArm},
}

// TryAlloc is dma_iova_try_alloc (7.3): reserves a range for size bytes that begin at the page offset of phys. false
// when the device's DMA operations are not iommu-dma, or no addresses are left.
func (l *Layer) TryAlloc(t *cpu.Thread, dev *kernel.Device, st *State, phys, size uint64) bool {
	return twoSteps[t.ISA].tryAlloc(l, t, dev, st, phys, size)
}

// Link is dma_iova_link (7.3): maps size bytes at phys to the state's range from offset on. The mapping is usable after Sync.
// A piece that is not the first has to begin on a granule (EIO), and AttrRequireCoherent fails for a device that does not snoop (EOPNOTSUPP).
func (l *Layer) Link(t *cpu.Thread, dev *kernel.Device, st *State, phys, offset, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	if attrs&kernel.AttrRequireCoherent != 0 && coherency.Needed(l.Of(dev).env, dev) {
		t.Call(fnLink)
		t.Nop(2)
		t.Branch(false, t.ALU(2, t.Load(dev.At.Flags, 0)))
		t.Ret()
		return iommucore.EOPNOTSUPP
	}
	if k := l.Of(dev); offset > 0 && phys&(1<<k.IOVA.Shift()-1) != 0 { // WARN_ON_ONCE
		t.Call(fnLink)
		t.Nop(2)
		d := getDomain(t, dev)
		t.Branch(true, t.ALU(2, t.Load(k.at.granule, t.Load(k.dom.At.Cookie, d))))
		t.Ret()
		return iommucore.EIO
	}
	return twoSteps[t.ISA].link(l, t, dev, st, phys, offset, size, dir, attrs)
}

// Sync is dma_iova_sync (7.3): makes what was linked in size bytes from offset on visible to the hardware.
func (l *Layer) Sync(t *cpu.Thread, dev *kernel.Device, st *State, offset, size uint64) error {
	err := twoSteps[t.ISA].sync(l, t, dev, st, offset, size)
	if err == nil {
		l.Of(dev).env.Buffer(kernel.BufferEvent{Device: dev, Addr: st.Addr + offset, Size: size, Dir: kernel.NoDirection})
	}
	return err
}

// Unlink is dma_iova_unlink (7.3): unmaps size bytes from offset on and invalidates at once, in lazy mode too.
func (l *Layer) Unlink(t *cpu.Thread, dev *kernel.Device, st *State, offset, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	twoSteps[t.ISA].unlink(l, t, dev, st, offset, size, dir, attrs)
	l.Of(dev).env.Buffer(kernel.BufferEvent{Device: dev, Unmap: true, Addr: st.Addr + offset, Size: size, Dir: dir})
}

// Free is dma_iova_free (7.3): gives the range back without unmapping. It never uses the flush queue.
func (l *Layer) Free(t *cpu.Thread, dev *kernel.Device, st *State) {
	t.Call(fnFree)
	twoSteps[t.ISA].free(l, t, dev, st)
}

// Destroy is dma_iova_destroy (7.3): unlinks the first mapped bytes of the range and frees it.
func (l *Layer) Destroy(t *cpu.Thread, dev *kernel.Device, st *State, mapped uint64, dir kernel.Direction, attrs kernel.Attrs) {
	addr := st.Addr
	twoSteps[t.ISA].destroy(l, t, dev, st, mapped, dir, attrs)
	if mapped > 0 {
		l.Of(dev).env.Buffer(kernel.BufferEvent{Device: dev, Unmap: true, Addr: addr, Size: mapped, Dir: dir})
	}
}
