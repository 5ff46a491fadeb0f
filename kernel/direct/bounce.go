package direct

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
	"dmapath/kernel/swiotlb"
)

// bounce emits the call of swiotlb_map.
func (x *Direct) bounce(t *cpu.Thread, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.ALU(5, 0)
	addr, err := x.Tlb.Map(t, d, phys, size, dir, attrs)
	if err != nil {
		return x.fail(d, phys, size, err)
	}
	return addr, nil
}

// bounceIncapable emits what happens to a buffer that the device cannot reach, or that is too small to be maintained alone: it bounces
// if there is a pool (is_swiotlb_active).
func (x *Direct) bounceIncapable(t *cpu.Thread, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	tlb := t.Load(d.At.IoTlbMem, 0)
	t.Branch(!x.Tlb.Present(), t.ALU(1, tlb))
	if !x.Tlb.Present() {
		return x.fail(d, phys, size, ErrNotCapable)
	}
	t.Branch(false, t.LoadOp(x.Env.Sym.IoTlb+64, tlb, 0)) // nslabs
	return x.bounce(t, d, phys, size, dir, attrs)
}

// cleanForDevice emits the cache maintenance at the end of a map: none for a device that snoops, which x86 knows when it is compiled.
func (x *Direct) cleanForDevice(t *cpu.Thread, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs, flush bool) {
	if !x.testCoherent(t, d) {
		return
	}
	skip := attrs&(kernel.AttrSkipCPUSync|kernel.AttrMMIO) != 0
	t.Branch(skip, t.ALU(1, 0))
	if skip {
		return
	}
	t.ALU(3, 0)
	coherency.SyncForDevice(t, x.Env, phys, size, dir)
	if flush {
		coherency.Flush(t, x.Env)
	}
}

// invalidateForCPU emits the cache maintenance of dma_direct_sync_single_for_cpu.
func (x *Direct) invalidateForCPU(t *cpu.Thread, d *kernel.Device, phys, size uint64, dir kernel.Direction) {
	if !x.testCoherent(t, d) {
		return
	}
	t.ALU(3, 0)
	coherency.SyncForCPU(t, x.Env, phys, size, dir)
	coherency.Flush(t, x.Env)
}

// testCoherent emits dev_is_dma_coherent where it is a question, and returns whether caches have to be maintained.
func (x *Direct) testCoherent(t *cpu.Thread, d *kernel.Device) bool {
	if x.Env.Arch != kernel.X86_64 {
		t.Branch(!d.NonCoherent, t.ALU(1, t.Load(d.At.Flags, 0)))
	}
	return coherency.Needed(x.Env, d)
}

// findPool emits the range test of swiotlb_find_pool on the default pool, inlined: the start has been loaded and compared (below), the end
// follows. With dynamic pools it is a call instead.
func (x *Direct) findPool(t *cpu.Thread, d *kernel.Device, phys uint64, below, tlb, p cpu.Val) bool {
	if x.Tlb.Dynamic() {
		found := x.Tlb.FindDynamic(t, d, phys) != nil
		t.Branch(!found, t.ALU(1, 0))
		return found
	}
	boot := x.Tlb.Boot()
	t.Branch(phys < boot.Start, below)
	if phys < boot.Start {
		return false
	}
	t.Branch(phys >= boot.End, t.LoadOp(x.Env.Sym.IoTlb+8, tlb, p))
	return phys < boot.End
}

// MaxMapping is dma_direct_max_mapping_size: what one mapping of d may have, in bytes. It is limited by the bounce pool when everything
// bounces or when d does not reach all of RAM, which ends at top.
func (x *Direct) MaxMapping(d *kernel.Device, top uint64) uint64 {
	if x.Tlb.Present() && (x.Tlb.Force || x.Env.EncryptedGuest || d.Limit() < top-1) {
		return swiotlb.MaxMapping(d)
	}
	return ^uint64(0)
}
