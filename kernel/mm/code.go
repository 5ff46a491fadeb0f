package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// code is what the compiler made of mm/slub.c and of pfn_valid for one architecture and version.
type code struct {
	alloc    func(c *Cache, t *cpu.Thread) uint64
	free     func(c *Cache, t *cpu.Thread, obj uint64)
	freeFunc *cpu.Func
	valid    func(m *MM, t *cpu.Thread, pfn uint64, a cpu.Val, f found)
}

var codes = [...][2]code{
	cpu.X86: {
		kernel.V6_12: {(*Cache).alloc12, (*Cache).free12, kmemCacheFree, (*MM).emitValid12},
		kernel.V7_3:  {(*Cache).alloc73, (*Cache).free73, kmemCacheFree73, (*MM).emitValid73},
	},
	cpu.A64: {
		kernel.V6_12: {(*Cache).alloc12arm, (*Cache).free12arm, kmemFreeArm12, (*MM).emitValid12arm},
		kernel.V7_3:  {(*Cache).alloc73arm, (*Cache).free73arm, kmemFreeArm73, (*MM).emitValid73arm},
	},
}

func (m *MM) code() *code { return &codes[m.Env.Arch.ISA()][m.Env.Version] }

// vmemmapArm reports whether conversions are those of arm64 with VMEMMAP; without it both architectures look the section up alike.
func (m *MM) vmemmapArm() bool { return m.tab.Model == SparseVmemmap && m.Env.Arch.ISA() == cpu.A64 }
