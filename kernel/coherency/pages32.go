package coherency

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

var (
	maintPage = cpu.NewFunc("dma_cache_maint_page", "arch/arm/mm/dma-mapping.c", 320)
	clean32   = cpu.NewFunc("v7_dma_clean_range", "arch/arm/mm/cache-v7.S", 48)
	inval32   = cpu.NewFunc("v7_dma_inv_range", "arch/arm/mm/cache-v7.S", 80)
)

// pages32 emits dma_cache_maint_page of 32-bit Arm: page by page, each through the linear map or, in highmem, through a mapping
// made for it, and a dsb after every page.
func pages32(t *cpu.Thread, env *kernel.Env, phys, size uint64, invalidate bool) {
	t.Call(maintPage)
	t.Push(8)
	t.ALU(4, 0)
	top := t.Here()
	for done := uint64(0); done < size; {
		pa := phys + done
		n := min(size-done, 4096-pa&4095)
		high := env.Highmem(t, pa, 0)
		t.Branch(!high, t.ALU(2, 0))
		at := t.ALU(2, 0)
		if high {
			at = env.Kmap(t, pa)
		}
		env.Maintains(t, pa, n)
		if high || env.Touch(t, pa, n) {
			range32(t, env, pa, n, invalidate, at)
		}
		if high {
			env.Kunmap(t, pa)
		}
		done += n
		t.Loop(top, done < size, t.ALU(3, 0))
	}
	t.Pop(8)
	t.Ret()
}

// range32 emits the maintenance of a part of one page.
func range32(t *cpu.Thread, env *kernel.Env, pa, n uint64, invalidate bool, at cpu.Val) {
	f := clean32
	if invalidate {
		f = inval32
	}
	t.Call(f)
	ctr := t.Op(cpu.Sysreg, 0)
	t.Chain(4, ctr)
	if invalidate {
		invalLines(t, env, pa, n, at)
	} else {
		cleanLines(t, env, pa, n, at)
	}
	t.Op(cpu.Fence, 0) // dsb st
	t.Ret()
}
