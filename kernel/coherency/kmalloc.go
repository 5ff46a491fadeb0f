package coherency

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

var sizeRoundup = cpu.NewFunc("kmalloc_size_roundup", "mm/slab_common.c", 160)

// minAlign is ARCH_DMA_MINALIGN of arm64: buffers of twice this size never share a line with another object.
const minAlign = 128

// KmallocNeedsBounce emits dma_kmalloc_needs_bounce (CONFIG_DMA_BOUNCE_UNALIGNED_KMALLOC, on on arm64 since 6.5): whether a buffer of
// size bytes that a non-coherent device writes may lie in a slab object that shares its last line with the next. The
// question is about the size alone: the buffer need not come from kmalloc. It is no at compile time elsewhere.
func KmallocNeedsBounce(t *cpu.Thread, env *kernel.Env, d *kernel.Device, size uint64, dir kernel.Direction) bool {
	if env.Arch != kernel.ARM64 {
		return false
	}
	t.Branch(!d.NonCoherent, t.ALU(1, t.Load(d.At.Flags, 0)))
	if !d.NonCoherent {
		return false
	}
	t.Branch(dir == kernel.ToDevice, t.ALU(1, 0))
	if dir == kernel.ToDevice {
		return false
	}
	t.Branch(size >= 2*minAlign, t.ALU(1, 0))
	if size >= 2*minAlign {
		return false
	}
	t.Call(sizeRoundup)
	t.Nop(2)
	t.Branch(false, t.ALU(1, 0))
	i := t.ALU(3, 0)
	cache := t.Load(env.Sym.KfencePool-32, i) // kmalloc_caches[0][size_index]
	t.Mem(cpu.Load, env.Sym.KfencePool-24, 4, cache, 0)
	t.Ret()
	shared := roundup(size)%Line != 0
	t.Branch(!shared, t.ALU(2, t.Last()-1))
	return shared
}

// roundup is the object size of the kmalloc cache for size bytes, up to 256, with ARCH_KMALLOC_MINALIGN 8.
func roundup(size uint64) uint64 {
	for _, c := range []uint64{8, 16, 32, 64, 96, 128, 192} {
		if size <= c {
			return c
		}
	}
	return 256
}
