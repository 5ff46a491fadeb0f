package coherency

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

var (
	forDevice = cpu.NewFunc("arch_sync_dma_for_device", "arch/arm64/mm/dma-mapping.c", 64)
	forCPU    = cpu.NewFunc("arch_sync_dma_for_cpu", "arch/arm64/mm/dma-mapping.c", 72)
	cleanPoC  = cpu.NewFunc("dcache_clean_poc", "arch/arm64/mm/cache.S", 64)
	invalPoC  = cpu.NewFunc("dcache_inval_poc", "arch/arm64/mm/cache.S", 96)
)

// Line is the smallest data cache line that CTR_EL0 reports, bytes.
const Line = 64

// Needed is !dev_is_dma_coherent(): whether the kernel maintains the caches for d. On x86 that is false at compile time.
func Needed(env *kernel.Env, d *kernel.Device) bool {
	return d.NonCoherent && env.Arch != kernel.X86_64
}

// SyncForDevice emits arch_sync_dma_for_device for size bytes at physical address phys. Nothing depends on the direction on
// arm64; on 32-bit Arm a buffer that the device will write is invalidated instead (v7_dma_map_area).
func SyncForDevice(t *cpu.Thread, env *kernel.Env, phys, size uint64, dir kernel.Direction) {
	switch env.Arch {
	case kernel.ARM64:
		t.Call(forDevice)
		cleanRange(t, env, phys, size, linear(t, env))
	case kernel.ARM32:
		pages32(t, env, phys, size, dir == kernel.FromDevice)
	}
}

// SyncForCPU emits arch_sync_dma_for_cpu for size bytes at physical address phys: nothing when the device only read them.
func SyncForCPU(t *cpu.Thread, env *kernel.Env, phys, size uint64, dir kernel.Direction) {
	switch env.Arch {
	case kernel.ARM64:
		t.Call(forCPU)
		t.Nop(2)
		t.Branch(dir == kernel.ToDevice, t.ALU(1, 0))
		if dir == kernel.ToDevice {
			t.Ret()
			return
		}
		invalRange(t, env, phys, size, address(t, env))
	case kernel.ARM32:
		if dir != kernel.ToDevice {
			pages32(t, env, phys, size, true)
		}
	}
}

// Flush emits arch_sync_dma_flush of 7.3, a dsb that ends when every line maintained before has reached the point of coherency. On
// 6.12, where each call has its own, and on machines without cache maintenance it is nothing.
func Flush(t *cpu.Thread, env *kernel.Env) {
	if env.Version == kernel.V7_3 && env.Arch == kernel.ARM64 {
		t.Op(cpu.Fence, 0)
	}
}

// linear emits the entry of a function of one call and phys_to_virt.
func linear(t *cpu.Thread, env *kernel.Env) cpu.Val {
	t.Nop(2)
	return address(t, env)
}

// address emits phys_to_virt and the sum with the size, and the jump to the loop's function.
func address(t *cpu.Thread, env *kernel.Env) cpu.Val {
	base := t.Load(env.Sym.PhysBase, t.ALU(1, 0)) // memstart_addr
	va := t.Chain(2, base)
	t.ALU(1, va)
	return va
}

// lineSize emits dcache_line_size: CTR_EL0 and what it says.
func lineSize(t *cpu.Thread) cpu.Val {
	t.Nop(1)
	ctr := t.Op(cpu.Sysreg, 0)
	t.Nop(1)
	return t.Chain(3, ctr)
}

// cleanRange emits dcache_clean_poc, which the present function ends with.
func cleanRange(t *cpu.Thread, env *kernel.Env, phys, size uint64, va cpu.Val) {
	t.TailCall(cleanPoC)
	step := lineSize(t)
	at := t.ALU2(va, t.ALU(1, step))
	env.Maintains(t, phys, size)
	if env.Touch(t, phys, size) {
		cleanLines(t, env, phys, size, at)
	}
	barrier(t, env)
	t.Ret()
}

// cleanLines emits the loop of dc cvac.
func cleanLines(t *cpu.Thread, env *kernel.Env, phys, size uint64, at cpu.Val) {
	top := t.Here()
	for pa := phys &^ (Line - 1); pa < phys+size; pa += Line {
		t.FlushLine(kernel.Virt(pa), cpu.KeepLine, at)
		at = t.ALU(1, at)
		t.Loop(top, pa+Line < phys+size, t.ALU(1, at))
	}
	if env.Truth != nil {
		env.Truth.Clean(phys, size)
	}
}

// invalRange emits dcache_inval_poc.
func invalRange(t *cpu.Thread, env *kernel.Env, phys, size uint64, va cpu.Val) {
	t.TailCall(invalPoC)
	step := lineSize(t)
	t.ALU(1, step)
	env.Maintains(t, phys, size)
	if env.Touch(t, phys, size) {
		invalLines(t, env, phys, size, va)
	}
	barrier(t, env)
	t.Ret()
}

// invalLines emits the edges and the loop: dc civac for a line that belongs to somebody else as well, dc ivac for the others.
// What the code does when first and last line are the same is part of it: a buffer that begins with its line loses
// what the line holds behind it only after that was cleaned.
func invalLines(t *cpu.Thread, env *kernel.Env, phys, size uint64, va cpu.Val) {
	end := phys + size
	last := end &^ (Line - 1)
	at := t.ALU(1, va)
	t.ALU(1, at)
	t.Branch(last == end, at)
	if last != end {
		maintain(t, env, last, 0, at)
	}
	first := phys &^ (Line - 1)
	at = t.ALU(1, va)
	t.ALU(1, at)
	t.Branch(first == phys, at)
	how := cpu.Discard
	if first != phys {
		how = 0
	}
	top := t.Here()
	for pa := first; ; {
		maintain(t, env, pa, how, at)
		if how == 0 {
			t.Jump()
		}
		at, how, pa = t.ALU(1, at), cpu.Discard, pa+Line
		t.Loop(top, pa < last, t.ALU(1, at))
		if pa >= last {
			return
		}
	}
}

// maintain emits the maintenance of one line and does it to the data.
func maintain(t *cpu.Thread, env *kernel.Env, pa uint64, how cpu.Flag, at cpu.Val) {
	t.FlushLine(kernel.Virt(pa), how, at)
	switch {
	case env.Truth == nil:
	case how == cpu.Discard:
		env.Truth.Invalidate(pa, Line)
	default:
		env.Truth.CleanInvalidate(pa, Line)
	}
}

// barrier emits the dsb that ends each call on 6.12.
func barrier(t *cpu.Thread, env *kernel.Env) {
	if env.Version == kernel.V6_12 {
		t.Op(cpu.Fence, 0)
	}
}
