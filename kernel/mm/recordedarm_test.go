package mm

import (
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
)

func armMM(t testing.TB, v kernel.Version, cfg Config) *MM {
	t.Helper()
	e := kernel.NewEnv(kernel.Config{Version: v, Arch: kernel.ARM64, CPUs: 1, Coherent: true}, cache.NewMemory(), 8<<40)
	m, err := NewConfigured(e, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// wrappedArm runs body in a function as the recordings have it: the entry, and the return.
func wrappedArm(f *cpu.Func, body func(t *cpu.Thread)) []cpu.Op {
	return recorded.RunOn(kernel.ARM64, func(t *cpu.Thread) {
		t.Enter(f)
		t.ALU(1, 0)
		t.Nop(1)
		body(t)
		t.Ret()
	})
}

// pfn_valid as recorded on arm64, where RAM begins at 1 GiB: valid RAM, a frame below it and a device's in the same root, frames
// without a root, and one beyond 52 bits.
func TestPfnValidMatchesRecordingsOnArm64(t *testing.T) {
	cfg := Config{Map: MemoryMap{{1 << 30, 6 << 30, RAM}}, FiveLevel: true}
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, c := range []struct {
			key string
			pfn uint64
			ok  bool
		}{
			{"pfn_valid_ram", 5 << 30 >> 12, true},
			{"pfn_valid_lowhole", 0x20000000 >> 12, false},
			{"pfn_valid_mmio", 0x9000000 >> 12, false},
			{"pfn_valid_hole", 200 << 30 >> 12, false},
			{"pfn_valid_highmmio", 1 << 40 >> 12, false},
			{"pfn_valid_toobig", 1<<52>>12 + 1, false},
		} {
			t.Run(v.String()+"/"+c.key, func(t *testing.T) {
				m := armMM(t, v, cfg)
				ops := wrappedArm(gtPfnValid, func(th *cpu.Thread) {
					if got := m.PfnValid(th, c.pfn, 0); got != c.ok {
						t.Errorf("pfn_valid(%#x) = %v, want %v", c.pfn, got, c.ok)
					}
				})
				recorded.Check(t, ops, v.String()+"-arm64/direct/"+c.key+"/0", recorded.Exact)
			})
		}
	}
}

func TestConversionsMatchRecordingsOnArm64(t *testing.T) {
	const phys = 5<<30 + 0x3000
	page := cpu.VmemmapBase + uint64(phys)>>12*64
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		m := armMM(t, v, Config{Map: PCMap(6 << 30)})
		for _, c := range []struct {
			name string
			want uint64
			call func(t *cpu.Thread) (uint64, cpu.Val)
		}{
			{"page_to_pfn", phys >> 12, func(t *cpu.Thread) (uint64, cpu.Val) { return m.PageToPfn(t, page, 0) }},
			{"page_to_phys", phys, func(t *cpu.Thread) (uint64, cpu.Val) { return m.PageToPhys(t, page, 0) }},
			{"phys_to_page", page, func(t *cpu.Thread) (uint64, cpu.Val) { return m.PhysToPage(t, phys, 0) }},
			{"virt_to_page", page, func(t *cpu.Thread) (uint64, cpu.Val) { return m.VirtToPage(t, kernel.Virt(phys), 0) }},
		} {
			t.Run(v.String()+"/"+c.name, func(t *testing.T) {
				ops := wrappedArm(conversionFuncs[c.name], func(th *cpu.Thread) {
					if got, _ := c.call(th); got != c.want {
						t.Errorf("%s = %#x, want %#x", c.name, got, c.want)
					}
				})
				recorded.Check(t, ops, v.String()+"-arm64/direct/"+c.name+"/0", recorded.Exact)
			})
		}
	}
}

// The fast paths of the slab allocator, with what they call.
func TestSlabFastPathsMatchRecordingsOnArm64(t *testing.T) {
	for _, c := range []struct {
		v     kernel.Version
		key   string
		free  bool
		names []string
	}{
		{kernel.V6_12, "6.12-arm64/iommu-strict/map_page/2097152", false, []string{"kmem_cache_alloc_noprof", "__update_cpu_freelist_fast", "__kern_my_cpu_offset", "__memset"}},
		{kernel.V6_12, "6.12-arm64/iommu-strict/unmap_page/2097152", true, []string{"kmem_cache_free", "set_freepointer", "__update_cpu_freelist_fast", "__kern_my_cpu_offset"}},
		{kernel.V7_3, "7.3-arm64/iommu-strict/map_phys/2097152", false, []string{"kmem_cache_alloc_noprof", "__kern_my_cpu_offset", "__memset", "__pi_memset_generic"}},
		{kernel.V7_3, "7.3-arm64/iommu-strict/unmap_phys/2097152", true, []string{"kmem_cache_free", "__kern_my_cpu_offset"}},
	} {
		t.Run(c.key, func(t *testing.T) {
			m := armMM(t, c.v, Config{Map: PCMap(6 << 30)})
			k := m.NewCache("iommu_iova", 64, 64)
			var obj uint64
			ops := recorded.RunWarmOn(kernel.ARM64, func(th *cpu.Thread) {
				k.Free(th, k.Alloc(th))
				if c.free {
					obj = k.Alloc(th)
				}
			}, func(th *cpu.Thread) {
				if c.free {
					k.Free(th, obj)
				} else {
					k.Alloc(th)
				}
			})
			want, err := recorded.Load(c.key)
			if err != nil {
				t.Fatal(err)
			}
			got := recorded.Measure(ops)
			for _, name := range c.names {
				g, w := got.Function(name), want.Function(name)
				if g == nil || w == nil || g.Calls != w.Calls || g.Instructions != w.Instructions || g.Loads != w.Loads || g.Stores != w.Stores {
					t.Errorf("%s: %+v, recorded %+v", name, g, w)
				}
			}
		})
	}
}

// memset as recorded, by size and by where the memory begins: instructions, stores and blocks of dc zva.
func TestMemsetMatchesRecordingsOnArm64(t *testing.T) {
	const line = 0xffff888000001000
	for _, c := range []struct {
		dst                  uint64
		n                    int
		instr, stores, block int
	}{
		{line + 56, 8, 14, 1, 0},
		{line, 64, 28, 4, 0},
		{line, 128, 41, 0, 2},
		{line + 8, 1040, 121, 7, 15},
		{line + 56, 1040, 108, 2, 16},
		{line + 24, 1040, 121, 8, 15},
	} {
		ops := recorded.RunOn(kernel.ARM64, func(t *cpu.Thread) { MemsetArm(t, kernel.V6_12, c.dst, c.n) })[1:]
		got := recorded.Measure(ops)
		blocks := 0
		for i := range ops {
			if ops[i].Flag&cpu.Zva != 0 {
				blocks++
			}
		}
		if got.Instructions != c.instr || got.Stores != c.stores || blocks != c.block {
			t.Errorf("%d bytes at %#x: %d instructions, %d stores, %d blocks; recorded %d, %d, %d", c.n, c.dst, got.Instructions, got.Stores, blocks, c.instr, c.stores, c.block)
		}
	}
}

// Every byte is written, and none outside.
func TestMemsetCoversEveryByteOnArm64(t *testing.T) {
	const base = 0xffff888000010000
	for n := 1; n < 400; n += 7 {
		for off := uint64(0); off < 64; off += 8 {
			written := map[uint64]bool{}
			ops := recorded.RunOn(kernel.ARM64, func(t *cpu.Thread) { MemsetArm(t, kernel.V7_3, base+off, n) })
			for i := range ops {
				if o := &ops[i]; o.Class == cpu.Store {
					for b := range uint64(o.Size) {
						written[o.Addr+b] = true
					}
				}
			}
			for b := uint64(0); b < uint64(n); b++ {
				if !written[base+off+b] {
					t.Fatalf("%d bytes at offset %d: byte %d is not written", n, off, b)
				}
			}
			if len(written) != n {
				t.Fatalf("%d bytes at offset %d: %d bytes written", n, off, len(written))
			}
		}
	}
}
