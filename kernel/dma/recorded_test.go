package dma

import (
	"fmt"
	"strings"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/direct"
	"dmapath/kernel/mm"
	"dmapath/kernel/recorded"
	"dmapath/kernel/swiotlb"
)

// guestRAM is the machine of the recordings: 6 GiB, of which 2 GiB below 4 GiB.
const lowTop = 2 << 30

func newCtx(t testing.TB, v kernel.Version) *Ctx { return newCtxOn(t, kernel.X86_64, v) }

func newCtxOn(t testing.TB, arch kernel.Arch, v kernel.Version) *Ctx {
	t.Helper()
	e := kernel.NewEnv(kernel.Config{Version: v, Arch: arch, CPUs: 2, MemEncrypt: true, Coherent: true}, cache.NewMemory(), 4<<30)
	pools, err := swiotlb.New(swiotlb.Default(e, lowTop))
	if err != nil {
		t.Fatal(err)
	}
	c := &Ctx{Env: e, MM: mm.New(e), Dev: e.NewDevice("0000:00:01.0", 8, ^uint64(0)), Direct: direct.New(e, pools)}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// handOver stands for iommu-dma where only the dispatch is tested.
type handOver struct{ Translated }

func (handOver) Map(t *cpu.Thread, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	return 0xfffff000, nil
}
func (handOver) Unmap(t *cpu.Thread, d *kernel.Device, iova, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
}

func buffer(phys, size uint64) Buffer {
	return Buffer{Phys: phys, Page: cpu.VmemmapBase + phys>>12*64, Size: size}
}

// Every path of dma-direct executes what the recorded kernels executed: instructions, loads, stores, branches, calls of
// every function, and the same number of lines.
func TestDirectPathsMatchRecordings(t *testing.T) {
	const phys = 0x123456000
	for _, c := range []struct {
		key  string
		v    kernel.Version
		call func(t *cpu.Thread, c *Ctx)
	}{
		{"6.12/direct/map_page/4096", kernel.V6_12, func(t *cpu.Thread, c *Ctx) { c.mapPage12(t, buffer(phys, 4096), kernel.FromDevice, 0) }},
		{"6.12/direct/map_page/2097152", kernel.V6_12, func(t *cpu.Thread, c *Ctx) { c.mapPage12(t, buffer(phys, 2<<20), kernel.FromDevice, 0) }},
		{"6.12/direct/unmap_page/4096", kernel.V6_12, func(t *cpu.Thread, c *Ctx) { c.unmapPage12(t, phys, 4096, kernel.FromDevice, 0) }},
		{"6.12/direct/map_resource/4096", kernel.V6_12, func(t *cpu.Thread, c *Ctx) { c.MapResource(t, 0xfe000000, 4096, kernel.Bidirectional, 0) }},
		{"6.12/direct/unmap_resource/4096", kernel.V6_12, func(t *cpu.Thread, c *Ctx) { c.UnmapResource(t, 0xfe000000, 4096, kernel.Bidirectional, 0) }},
		{"7.3/direct/map_page/4096", kernel.V7_3, func(t *cpu.Thread, c *Ctx) { c.mapPage73(t, buffer(phys, 4096), kernel.FromDevice, 0) }},
		{"7.3/direct/unmap_page/4096", kernel.V7_3, func(t *cpu.Thread, c *Ctx) { c.unmapPage73(t, phys, 4096, kernel.FromDevice, 0) }},
		{"7.3/direct/map_phys/4096", kernel.V7_3, func(t *cpu.Thread, c *Ctx) { c.mapPhys73(t, phys, 4096, kernel.FromDevice, 0) }},
		{"7.3/direct/map_phys/2097152", kernel.V7_3, func(t *cpu.Thread, c *Ctx) { c.mapPhys73(t, phys, 2<<20, kernel.FromDevice, 0) }},
		{"7.3/direct/unmap_phys/4096", kernel.V7_3, func(t *cpu.Thread, c *Ctx) { c.unmapPhys73(t, phys, 4096, kernel.FromDevice, 0) }},
		{"7.3/direct/map_phys_mmio/4096", kernel.V7_3, func(t *cpu.Thread, c *Ctx) {
			c.mapPhys73(t, 0xfe000000, 4096, kernel.Bidirectional, kernel.AttrMMIO)
		}},
		{"7.3/direct/unmap_phys_mmio/4096", kernel.V7_3, func(t *cpu.Thread, c *Ctx) {
			c.unmapPhys73(t, 0xfe000000, 4096, kernel.Bidirectional, kernel.AttrMMIO)
		}},
		{"7.3/direct/map_resource/4096", kernel.V7_3, func(t *cpu.Thread, c *Ctx) { c.MapResource(t, 0xfe000000, 4096, kernel.Bidirectional, 0) }},
		{"7.3/direct/unmap_resource/4096", kernel.V7_3, func(t *cpu.Thread, c *Ctx) { c.UnmapResource(t, 0xfe000000, 4096, kernel.Bidirectional, 0) }},
	} {
		t.Run(c.key, func(t *testing.T) {
			ctx := newCtx(t, c.v)
			ops := recorded.Run(func(th *cpu.Thread) { c.call(th, ctx) })
			recorded.Check(t, ops[1:], c.key, recorded.Exact) // the recording begins after the call instruction
		})
	}
}

// What the top level spends on handing a call over to iommu-dma.
func TestDispatchToIOMMUMatchesRecordings(t *testing.T) {
	for _, c := range []struct {
		key, symbol string
		v           kernel.Version
		call        func(t *cpu.Thread, c *Ctx)
	}{
		{"6.12/iommu-strict/map_page/4096", "dma_map_page_attrs", kernel.V6_12, func(t *cpu.Thread, c *Ctx) { c.mapPage12(t, buffer(1<<32, 4096), kernel.FromDevice, 0) }},
		{"6.12/iommu-strict/unmap_page/4096", "dma_unmap_page_attrs", kernel.V6_12, func(t *cpu.Thread, c *Ctx) { c.unmapPage12(t, 0xfffff000, 4096, kernel.FromDevice, 0) }},
		{"6.12/iommu-strict/map_resource/4096", "dma_map_resource", kernel.V6_12, func(t *cpu.Thread, c *Ctx) { c.MapResource(t, 1<<32, 4096, kernel.FromDevice, 0) }},
		{"6.12/iommu-strict/unmap_resource/4096", "dma_unmap_resource", kernel.V6_12, func(t *cpu.Thread, c *Ctx) { c.UnmapResource(t, 0xfffff000, 4096, kernel.FromDevice, 0) }},
		{"7.3/iommu-strict/map_page/4096", "dma_map_page_attrs", kernel.V7_3, func(t *cpu.Thread, c *Ctx) { c.mapPage73(t, buffer(1<<32, 4096), kernel.FromDevice, 0) }},
		{"7.3/iommu-strict/map_phys/4096", "dma_map_phys", kernel.V7_3, func(t *cpu.Thread, c *Ctx) { c.mapPhys73(t, 1<<32, 4096, kernel.FromDevice, 0) }},
		{"7.3/iommu-strict/unmap_phys/4096", "dma_unmap_phys", kernel.V7_3, func(t *cpu.Thread, c *Ctx) { c.unmapPhys73(t, 0xfffff000, 4096, kernel.FromDevice, 0) }},
		{"7.3/iommu-strict/unmap_phys_mmio/4096", "dma_unmap_phys", kernel.V7_3, func(t *cpu.Thread, c *Ctx) {
			c.unmapPhys73(t, 0xfffff000, 4096, kernel.FromDevice, kernel.AttrMMIO)
		}},
		{"7.3/iommu-strict/unmap_page/4096", "dma_unmap_page_attrs", kernel.V7_3, func(t *cpu.Thread, c *Ctx) { c.unmapPage73(t, 0xfffff000, 4096, kernel.FromDevice, 0) }},
	} {
		t.Run(c.key, func(t *testing.T) {
			ctx := newCtx(t, c.v)
			ctx.Dev.IOMMU, ctx.IOMMU = true, handOver{}
			ops := recorded.Run(func(th *cpu.Thread) { c.call(th, ctx) })
			// the hand-over is a call that the stand-in does not make
			want, err := recorded.Load(c.key)
			if err != nil {
				t.Fatal(err)
			}
			got, w := recorded.Measure(ops[1:]).Function(c.symbol), want.Function(c.symbol)
			calls := 1
			if c.symbol == "dma_map_page_attrs" && c.v == kernel.V7_3 || c.symbol == "dma_unmap_page_attrs" && c.v == kernel.V7_3 {
				calls = 0 // it jumps
			}
			if got.Instructions+calls != w.Instructions || got.Loads != w.Loads || got.Stores+calls != w.Stores || got.Branches != w.Branches {
				t.Errorf("%s: %+v and %d call, recorded %+v", c.symbol, got.Counts, calls, w.Counts)
			}
		})
	}
}

// A variant is the recorded call of its name, to the instruction: those with an inlined beginning or without a recording are left out.
func TestVariantsMatchRecordings(t *testing.T) {
	found := 0
	for _, v := range Variants() {
		api, _, _ := strings.Cut(v.Name(), "@")
		key := v.Version().String() + "/direct/%s" + api + "/4096"
		if _, err := recorded.Load(fmt.Sprintf(key, "")); err != nil || api == "map_single" {
			continue
		}
		found++
		phys, dir := uint64(0x123456000), kernel.FromDevice
		if MemoryOf(v) == DeviceMemory {
			phys, dir = 0xfe000000, kernel.Bidirectional
		}
		ctx := newCtx(t, v.Version())
		ops := recorded.Run(func(th *cpu.Thread) {
			if _, err := v.Map(th, ctx, buffer(phys, 4096), dir, 0); err != nil {
				t.Errorf("%s: %v", v.Name(), err)
			}
		})
		recorded.Check(t, ops[1:], fmt.Sprintf(key, ""), recorded.Exact)
		ops = recorded.Run(func(th *cpu.Thread) { v.Unmap(th, ctx, phys, 4096, dir, 0) })
		recorded.Check(t, ops[1:], fmt.Sprintf(key, "un"), recorded.Exact)
	}
	if found < 6 { // map_page and map_resource of both, map_phys and map_phys_mmio
		t.Errorf("%d variants have a recording, want at least 6", found)
	}
}
