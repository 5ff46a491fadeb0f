package dma

import (
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
)

// armCall is a call of the API on arm64.
type armCall struct {
	key  string
	v    kernel.Version
	call func(t *cpu.Thread, c *Ctx)
	// inline: the API is compiled into the driver, and the recording has instructions of the driver in it.
	inline bool
}

func armVariant(name string, b Buffer, dir kernel.Direction) func(t *cpu.Thread, c *Ctx) {
	return func(t *cpu.Thread, c *Ctx) {
		v, err := Lookup(name)
		if err != nil {
			panic(err)
		}
		v.Map(t, c, b, dir, 0)
	}
}

func armUnmap(name string, addr, size uint64, attrs kernel.Attrs) func(t *cpu.Thread, c *Ctx) {
	return func(t *cpu.Thread, c *Ctx) {
		v, err := Lookup(name)
		if err != nil {
			panic(err)
		}
		v.Unmap(t, c, addr, size, kernel.FromDevice, attrs)
	}
}

// Every path of dma-direct on arm64 executes what the recorded kernels executed: instructions, loads and stores of every function,
// conditional branches of the call (of the functions where steps were recorded), and the same number of lines.
func TestDirectPathsMatchRecordingsOnArm64(t *testing.T) {
	const phys, mmio = 0x123456000, 0x10000000
	for _, c := range []armCall{
		{key: "6.12-arm64/direct/map_page/4096", v: kernel.V6_12, call: armVariant("map_page@6.12", buffer(phys, 4096), kernel.FromDevice)},
		{key: "6.12-arm64/direct/map_page/2097152", v: kernel.V6_12, call: armVariant("map_page@6.12", buffer(phys, 2<<20), kernel.FromDevice)},
		{key: "6.12-arm64/direct/unmap_page/4096", v: kernel.V6_12, call: armUnmap("map_page@6.12", phys, 4096, 0)},
		{key: "6.12-arm64/direct/map_resource/4096", v: kernel.V6_12, call: func(t *cpu.Thread, c *Ctx) { c.MapResource(t, mmio, 4096, kernel.Bidirectional, 0) }},
		{key: "6.12-arm64/direct/unmap_resource/4096", v: kernel.V6_12, call: func(t *cpu.Thread, c *Ctx) { c.UnmapResource(t, mmio, 4096, kernel.Bidirectional, 0) }},
		{key: "7.3-arm64/direct/map_page/4096", v: kernel.V7_3, call: armVariant("map_page@7.3", buffer(phys, 4096), kernel.FromDevice)},
		{key: "7.3-arm64/direct/unmap_page/4096", v: kernel.V7_3, call: armUnmap("map_page@7.3", phys, 4096, 0)},
		{key: "7.3-arm64/direct/map_phys/4096", v: kernel.V7_3, call: armVariant("map_phys@7.3", buffer(phys, 4096), kernel.FromDevice)},
		{key: "7.3-arm64/direct/map_phys/2097152", v: kernel.V7_3, call: armVariant("map_phys@7.3", buffer(phys, 2<<20), kernel.FromDevice)},
		{key: "7.3-arm64/direct/unmap_phys/4096", v: kernel.V7_3, call: armUnmap("map_phys@7.3", phys, 4096, 0)},
		{key: "7.3-arm64/direct/map_phys_mmio/4096", v: kernel.V7_3, call: func(t *cpu.Thread, c *Ctx) {
			c.mapPhys73arm(t, mmio, 4096, kernel.Bidirectional, kernel.AttrMMIO)
		}},
		{key: "7.3-arm64/direct/unmap_phys_mmio/4096", v: kernel.V7_3, call: armUnmap("map_phys@7.3", mmio, 4096, kernel.AttrMMIO)},
		{key: "7.3-arm64/direct/map_resource/4096", v: kernel.V7_3, call: func(t *cpu.Thread, c *Ctx) { c.MapResource(t, mmio, 4096, kernel.Bidirectional, 0) }},
		{key: "7.3-arm64/direct/unmap_resource/4096", v: kernel.V7_3, call: func(t *cpu.Thread, c *Ctx) { c.UnmapResource(t, mmio, 4096, kernel.Bidirectional, 0) }},
		{key: "6.12-arm64/direct/map_single/4096", v: kernel.V6_12, call: armVariant("map_single@6.12", buffer(phys, 4096), kernel.ToDevice), inline: true},
		{key: "7.3-arm64/direct/map_single/4096", v: kernel.V7_3, call: armVariant("map_single@7.3", buffer(phys, 4096), kernel.ToDevice), inline: true},
	} {
		t.Run(c.key, func(t *testing.T) {
			ctx := newCtxOn(t, kernel.ARM64, c.v)
			ops := recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) {
				c.call(th, ctx)
				if th.Depth() != 0 {
					t.Errorf("%d functions did not return", th.Depth())
				}
			})
			if !c.inline {
				recorded.Check(t, ops[1:], c.key, recorded.Exact) // the recording begins after the call instruction
				return
			}
			want, err := recorded.Load(c.key)
			if err != nil {
				t.Fatal(err)
			}
			got := recorded.Measure(ops)
			if d := want.Instructions - got.Instructions; d < 0 || d > 8 || got.Loads != want.Loads || got.Stores != want.Stores || got.LinesNoStack != want.LinesNoStack {
				t.Errorf("%d instructions, recorded with the driver's %d\n%s", got.Instructions, want.Instructions, recorded.Table(got, want))
			}
		})
	}
}

// What the top level spends on handing a call over to iommu-dma on arm64.
func TestDispatchToIOMMUMatchesRecordingsOnArm64(t *testing.T) {
	const phys, iova = 1 << 32, 0xfffff000
	for _, c := range []struct {
		armCall
		symbol string
	}{
		{armCall{key: "6.12-arm64/iommu-strict/map_page/4096", v: kernel.V6_12, call: armVariant("map_page@6.12", buffer(phys, 4096), kernel.FromDevice)}, "dma_map_page_attrs"},
		{armCall{key: "6.12-arm64/iommu-strict/unmap_page/4096", v: kernel.V6_12, call: armUnmap("map_page@6.12", iova, 4096, 0)}, "dma_unmap_page_attrs"},
		{armCall{key: "6.12-arm64/iommu-strict/map_resource/4096", v: kernel.V6_12, call: func(t *cpu.Thread, c *Ctx) { c.MapResource(t, phys, 4096, kernel.FromDevice, 0) }}, "dma_map_resource"},
		{armCall{key: "6.12-arm64/iommu-strict/unmap_resource/4096", v: kernel.V6_12, call: func(t *cpu.Thread, c *Ctx) { c.UnmapResource(t, iova, 4096, kernel.FromDevice, 0) }}, "dma_unmap_resource"},
		{armCall{key: "7.3-arm64/iommu-strict/map_phys/4096", v: kernel.V7_3, call: armVariant("map_phys@7.3", buffer(phys, 4096), kernel.FromDevice)}, "dma_map_phys"},
		{armCall{key: "7.3-arm64/iommu-strict/unmap_phys/4096", v: kernel.V7_3, call: armUnmap("map_phys@7.3", iova, 4096, 0)}, "dma_unmap_phys"},
		{armCall{key: "7.3-arm64/iommu-strict/unmap_phys_mmio/4096", v: kernel.V7_3, call: armUnmap("map_phys@7.3", iova, 4096, kernel.AttrMMIO)}, "dma_unmap_phys"},
		{armCall{key: "7.3-arm64/iommu-strict/map_page/4096", v: kernel.V7_3, call: armVariant("map_page@7.3", buffer(phys, 4096), kernel.FromDevice)}, "dma_map_page_attrs"},
	} {
		t.Run(c.key, func(t *testing.T) {
			ctx := newCtxOn(t, kernel.ARM64, c.v)
			ctx.Dev.IOMMU, ctx.IOMMU = true, handOver{}
			ops := recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) { c.call(th, ctx) })
			want, err := recorded.Load(c.key)
			if err != nil {
				t.Fatal(err)
			}
			got, w := recorded.Measure(ops[1:]).Function(c.symbol), want.Function(c.symbol)
			calls := 1 // the hand-over is a call that the stand-in does not make
			if c.symbol == "dma_map_page_attrs" && c.v == kernel.V7_3 {
				calls = 0
			}
			if got.Instructions+calls != w.Instructions || got.Loads != w.Loads || got.Stores != w.Stores {
				t.Errorf("%s: %+v and %d call, recorded %+v", c.symbol, got.Counts, calls, w.Counts)
			}
		})
	}
}

// A device that does not snoop is kept coherent by the CPU, once per map and once per unmap, unless the caller says that it does so
// itself; 6.12 waits for the lines in each call, 7.3 with one barrier.
func TestNonCoherentDeviceOnArm64(t *testing.T) {
	const phys, lines = 0x123456000, 4096 / 64
	for _, name := range []string{"map_page@6.12", "map_phys@7.3"} {
		v, err := Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, attrs := range []kernel.Attrs{0, kernel.AttrSkipCPUSync} {
			ctx := newCtxOn(t, kernel.ARM64, v.Version())
			ctx.Dev.NonCoherent = true
			want := lines
			if attrs != 0 {
				want = 0
			}
			for what, call := range map[string]func(t *cpu.Thread){
				"map":   func(t *cpu.Thread) { v.Map(t, ctx, buffer(phys, 4096), kernel.FromDevice, attrs) },
				"unmap": func(t *cpu.Thread) { v.Unmap(t, ctx, phys, 4096, kernel.FromDevice, attrs) },
			} {
				got := recorded.Measure(recorded.RunOn(kernel.ARM64, call))
				if got.Flushes != want || (got.Fences == 1) != (want > 0) {
					t.Errorf("%s %s attributes %#x: %d lines maintained with %d barriers, want %d lines", name, what, attrs, got.Flushes, got.Fences, want)
				}
			}
		}
	}
}
