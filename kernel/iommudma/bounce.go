package iommudma

import (
	"errors"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
)

var (
	fnBounce        = cpu.NewFunc("iommu_dma_map_swiotlb", file, 0x180)
	fnZero          = cpu.NewFunc("__memset", "arch/x86/lib/memset_64.S", 32)
	fnLinkBounced   = cpu.NewFunc("iommu_dma_iova_link_swiotlb", file, 0x200)
	fnBounceLink    = cpu.NewFunc("iommu_dma_iova_bounce_and_link", file, 0x120)
	fnUnlinkSlow    = cpu.NewFunc("iommu_dma_iova_unlink_range_slow", file, 0x180)
	ErrNotPermitted = errors.New("memory that must not bounce shares a granule with other data, and the device is not trusted (EPERM)")
)

// mayBounce is dev_use_swiotlb: whether a buffer of size bytes bounces for dev when it does not fill its granules.
func (k *Cookie) mayBounce(t *cpu.Thread, dev *kernel.Device, size uint64, dir kernel.Direction) bool {
	t.Branch(true, t.LoadOp(dev.At.Bus, 0, 0)) // dev_is_pci
	t.Branch(!dev.Untrusted, t.Mem(cpu.LoadOp, dev.At.Untrusted, 1, 0, 0))
	return dev.Untrusted || coherency.KmallocNeedsBounce(t, k.env, dev, size, dir)
}

// prepare emits what comes before the mapping of a buffer that may bounce: the buffer of an untrusted device goes to the bounce pool unless it
// fills its granules, and so does one that shares its cache lines; the caches are cleaned for a device that does not snoop. It returns
// the physical address that is to be mapped.
func (k *Cookie) prepare(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	if k.mayBounce(t, dev, size, dir) {
		in := (phys | size) & (1<<k.IOVA.Shift() - 1)
		t.Branch(in == 0, t.ALU(3, 0))
		if in != 0 {
			var err error
			if phys, err = k.bounce(t, dev, phys, size, dir, attrs); err != nil {
				return phys, err
			}
		}
	}
	k.clean(t, dev, phys, size, dir, attrs)
	return phys, nil
}

// clean emits the maintenance of a buffer that a device which does not snoop is about to get. x86 knows at compile time that
// there are none. 7.3 waits for it at once, but not for a linked buffer.
func (k *Cookie) clean(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	if k.cleanLines(t, dev, phys, size, dir, attrs) {
		coherency.Flush(t, k.env)
	}
}

func (k *Cookie) cleanLines(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) bool {
	if !k.maintains(t, dev, attrs) {
		return false
	}
	coherency.SyncForDevice(t, k.env, phys, size, dir)
	return true
}

// maintains emits the tests before cache maintenance.
func (k *Cookie) maintains(t *cpu.Thread, dev *kernel.Device, attrs kernel.Attrs) bool {
	if k.env.Arch != kernel.X86_64 {
		t.Branch(!dev.NonCoherent, t.ALU(1, t.Load(dev.At.Flags, 0)))
	}
	if !coherency.Needed(k.env, dev) {
		return false
	}
	skip := attrs&(kernel.AttrSkipCPUSync|kernel.AttrMMIO) != 0
	t.Branch(skip, t.ALU(1, 0))
	return !skip
}

// invalidateFor emits the maintenance of a buffer at phys that comes back from such a device.
func (k *Cookie) invalidateFor(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	if k.maintains(t, dev, attrs) {
		coherency.SyncForCPU(t, k.env, phys, size, dir)
		coherency.Flush(t, k.env)
	}
}

// bounce is iommu_dma_map_swiotlb: a bounce buffer of whole granules, with zeros around the data where the device is not to see what was there
// before. Read, not recorded.
func (k *Cookie) bounce(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Call(fnBounce)
	t.Nop(1)
	t.Push(6)
	t.Frame(24)
	t.Branch(false, t.ALU(1, t.Load(dev.At.IoTlbMem, 0))) // is_swiotlb_active
	t.Nop(1)                                              // trace_swiotlb_bounced
	mask := uint64(1)<<k.IOVA.Shift() - 1
	t.ALU(4, t.Load(k.at.granule, 0))
	at, err := k.tlb.TblMap(t, dev, phys, size, mask, dir, &attrs)
	t.Branch(err != nil, t.ALU(1, 0))
	if err == nil {
		t.Branch(!dev.Untrusted, t.Mem(cpu.LoadOp, dev.At.Untrusted, 1, 0, 0))
		if dev.Untrusted {
			end := at + size
			k.zero(t, at&^mask, at)
			k.zero(t, end, (end+mask)&^mask)
		}
	}
	t.Frame(-24)
	t.Pop(6)
	t.Ret()
	return at, err
}

// zero emits the memset of [from, to).
func (k *Cookie) zero(t *cpu.Thread, from, to uint64) {
	t.ALU(3, 0)
	t.Call(fnZero)
	t.Nop(1)
	t.ALU(3, 0)
	t.StringSet(kernel.Virt(from), int(to-from), t.Last())
	t.Ret()
	if u := k.env.Truth; u != nil && to > from {
		u.CPUWrite(from, to-from)
	}
}

// unbounce emits swiotlb_tbl_unmap_single: nothing more than the range test for a buffer that did not bounce.
func (k *Cookie) unbounce(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	if k.inPool(t, dev, phys) {
		t.ALU(5, 0)
		k.tlb.Unmap(t, dev, phys, size, dir, attrs)
	}
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

// linkBounced is iommu_dma_iova_link_swiotlb after it was entered: the first and the last granule of a buffer bounce if it does not fill
// them, what lies between is linked as it is. Read, not recorded.
func (l *Layer) linkBounced(t *cpu.Thread, dev *kernel.Device, st *State, phys, offset, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	k := l.Of(dev)
	t.Nop(1)
	t.Push(6)
	t.Frame(40)
	g := uint64(1) << k.IOVA.Shift()
	head, tail := phys&(g-1), (phys+size)&(g-1)
	addr, mapped := st.Addr+offset, uint64(0)
	var err error
	t.Branch(head == 0, t.ALU(6, 0))
	if head != 0 {
		n := min(size, g-head)
		if err = k.bounceLink(t, dev, st, addr, phys, n, head, dir, attrs); err == nil {
			mapped, size = n, size-n
		}
		t.Branch(err != nil, t.ALU(2, 0))
	}
	if err == nil && size > 0 {
		size -= tail
		t.ALU(3, 0)
		if err = k.linkDirect(t, dev, addr+mapped, phys+mapped, size, dir, attrs); err == nil {
			mapped += size
			t.Branch(tail == 0, t.ALU(2, 0))
			if tail != 0 {
				err = k.bounceLink(t, dev, st, addr+mapped, phys+mapped, tail, 0, dir, attrs)
			}
		}
		t.Branch(err != nil, t.ALU(1, 0))
	}
	if err != nil && mapped > 0 {
		if t.ISA == cpu.A64 {
			l.unlinkArm(t, dev, st, offset, mapped, dir, attrs)
		} else {
			l.unlink(t, dev, st, offset, mapped, dir, attrs)
		}
	}
	t.Frame(-40)
	t.Pop(6)
	t.Ret()
	return err
}

// bounceLink is iommu_dma_iova_bounce_and_link: n bytes at phys, pad bytes into their granule, are copied and the copy's granule linked. The copy lies at
// the same place of its granule only if the device asks for that (min_align_mask); if not, the link fails with EINVAL.
func (k *Cookie) bounceLink(t *cpu.Thread, dev *kernel.Device, st *State, addr, phys, n, pad uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	t.Call(fnBounceLink)
	t.Nop(1)
	t.Push(6)
	t.ALU(6, 0)
	at, err := k.bounce(t, dev, phys, n, dir, attrs)
	t.Branch(err != nil, t.ALU(1, 0))
	if err == nil {
		g := uint64(1) << k.IOVA.Shift()
		if err = k.linkDirect(t, dev, addr-pad, at-pad, (n+pad+g-1)&^(g-1), dir, attrs); err != nil {
			k.unbounce(t, dev, at, n, dir, attrs)
		} else {
			st.Bounced = true
			t.RMW(st.VA+8, 0, 0)
		}
	}
	t.Pop(6)
	t.Ret()
	return err
}

// linkDirect is __dma_iova_link.
func (k *Cookie) linkDirect(t *cpu.Thread, dev *kernel.Device, addr, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	k.emitDir(t, dir)
	k.cleanLines(t, dev, phys, size, dir, attrs)
	t.ALU(1, 0)
	getDomain(t, dev)
	t.ALU(6, 0)
	if size == 0 {
		return nil
	}
	return k.dom.MapNosync(t, addr, phys, size, prot(dir, !coherency.Needed(k.env, dev), attrs))
}

// unlinkSlow is iommu_dma_iova_unlink_range_slow: granule by granule the page table is walked, the caches are maintained and bounced data is copied
// back. The device still has its mapping when that happens.
func (k *Cookie) unlinkSlow(t *cpu.Thread, dev *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	t.Call(fnUnlinkSlow)
	t.Nop(1)
	t.Push(6)
	t.ALU(6, 0)
	g := uint64(1) << k.IOVA.Shift()
	top := t.Here()
	for end := addr + size; addr < end; {
		phys := k.dom.IovaToPhys(t, addr)
		t.Branch(phys == 0, t.ALU(1, 0))
		if phys == 0 {
			k.Stats.NotMapped++
			break
		}
		n := min(end-addr, g-addr&(g-1))
		t.ALU(4, 0)
		if k.maintains(t, dev, attrs) {
			coherency.SyncForCPU(t, k.env, phys, n, dir)
		}
		k.unbounce(t, dev, phys, n, dir, attrs)
		addr += n
		t.Loop(top, addr < end, t.ALU(2, 0))
	}
	if k.syncForDevice(dev, attrs) {
		coherency.Flush(t, k.env)
	}
	t.Pop(6)
	t.Ret()
}

// failed counts a map that never came to its mapping.
func (k *Cookie) failed() {
	k.Stats.Maps++
	k.Stats.Failures++
}
