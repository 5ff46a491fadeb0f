package dma

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/direct"
	"dmapath/kernel/mm"
	"dmapath/kernel/recorded"
	"dmapath/kernel/swiotlb"
)

func TestVariantsInOrder(t *testing.T) {
	var names []string
	for _, v := range Variants() {
		names = append(names, v.Name())
		got, err := Lookup(v.Name())
		if err != nil || got != v {
			t.Errorf("Lookup(%q) = %v, %v", v.Name(), got, err)
		}
		if !strings.HasSuffix(v.Name(), "@"+v.Version().String()) {
			t.Errorf("%s is a variant of kernel %v", v.Name(), v.Version())
		}
	}
	want := []string{"map_page@6.12", "map_page@7.3", "map_phys@7.3", "map_phys_rederive@7.3", "map_single@6.12", "map_single@7.3",
		"map_single_virt@7.3", "map_resource@6.12", "map_resource@7.3", "map_phys_mmio@7.3", "map_sg@6.12", "map_sg@7.3", "iova_link@7.3",
		"premapped@6.12", "premapped@7.3"}
	if !slices.Equal(names, want) {
		t.Errorf("variants %v, want %v", names, want)
	}
	if _, err := Lookup("map_page"); err == nil || !strings.Contains(err.Error(), "map_phys_rederive@7.3") {
		t.Errorf("an unknown variant is answered with %v, want the list", err)
	}
}

// Every variant maps RAM to its physical address with dma-direct, and refuses what the device cannot reach.
func TestDirectResults(t *testing.T) {
	for _, v := range Variants() {
		for _, c := range []struct {
			name       string
			phys, size uint64
			mask       uint64
			bus        uint64
			ranges     []kernel.BusRange
			want       uint64
			err        error
		}{
			{"64-bit device", 5 << 30, 4096, ^uint64(0), 0, nil, 5 << 30, nil},
			{"offset within a page", 5<<30 + 0x123, 100, ^uint64(0), 0, nil, 5<<30 + 0x123, nil},
			{"last byte at the mask", 1<<30 - 4096, 4096, 1<<30 - 1, 0, nil, 1<<30 - 4096, nil},
			{"one byte beyond the mask", 1<<30 - 4096, 4097, 1<<30 - 1, 0, nil, 0, swiotlb.ErrNotCapable}, // nor does it reach the pool
			{"beyond the bus limit", 5 << 30, 4096, ^uint64(0), 1<<32 - 1, nil, lowTop - swiotlb.DefaultBytes, nil},
			{"translated", 5 << 30, 4096, ^uint64(0), 0, []kernel.BusRange{{CPU: 0, DMA: 1 << 40, Size: 4 << 30}, {CPU: 4 << 30, DMA: 0, Size: 4 << 30}}, 1 << 30, nil},
			{"in no range", 9 << 30, 4096, ^uint64(0), 0, []kernel.BusRange{{CPU: 4 << 30, DMA: 0, Size: 4 << 30}}, 0, direct.ErrNoRange},
		} {
			if MemoryOf(v) == DeviceMemory { // never bounced, and not translated on 6.12
				if errors.Is(c.err, swiotlb.ErrNotCapable) || c.bus != 0 {
					c.err = direct.ErrNotCapable
				}
				if v.Name() == "map_resource@6.12" && c.ranges != nil {
					c.want, c.err = c.phys, nil
				}
			}
			t.Run(v.Name()+"/"+c.name, func(t *testing.T) {
				ctx := newCtx(t, v.Version())
				ctx.Dev.Mask, ctx.Dev.BusLimit, ctx.Dev.Ranges = c.mask, c.bus, c.ranges
				recorded.Run(func(th *cpu.Thread) {
					addr, err := v.Map(th, ctx, buffer(c.phys, c.size), kernel.ToDevice, 0)
					if c.err != nil {
						if addr != kernel.MappingError || !errors.Is(err, c.err) {
							t.Errorf("mapped to %#x, %v; want the error %v", addr, err, c.err)
						}
					} else if addr != c.want || err != nil {
						t.Errorf("mapped to %#x, %v; want %#x", addr, err, c.want)
					} else if err := v.Unmap(th, ctx, addr, c.size, kernel.ToDevice, 0); err != nil {
						t.Errorf("unmap: %v", err)
					}
					if th.Depth() != 0 {
						t.Errorf("%d functions did not return", th.Depth())
					}
				})
			})
		}
	}
}

// Forced bouncing refuses RAM on both kernels, and MMIO on 7.3 only (6.12 never looks at swiotlb for MMIO).
func TestForcedBounceRefusesMMIOOnlyOn73(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		ctx := newCtx(t, v)
		ctx.Direct.Tlb.Force = true
		recorded.Run(func(th *cpu.Thread) {
			addr, err := ctx.MapResource(th, 0xfe000000, 4096, kernel.Bidirectional, 0)
			if v == kernel.V6_12 && (err != nil || addr != 0xfe000000) {
				t.Errorf("6.12: %#x, %v; want success", addr, err)
			}
			if v == kernel.V7_3 && !errors.Is(err, direct.ErrForced) {
				t.Errorf("7.3: %#x, %v; want ErrForced", addr, err)
			}
		})
	}
}

// 7.3 translates MMIO through dma_range_map, 6.12 uses the address as it is.
func TestMMIOTranslation(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		ctx := newCtx(t, v)
		ctx.Dev.Ranges = []kernel.BusRange{{CPU: 0xf0000000, DMA: 0, Size: 0x10000000}}
		want := uint64(0xfe000000)
		if v == kernel.V7_3 {
			want = 0x0e000000
		}
		recorded.Run(func(th *cpu.Thread) {
			if addr, err := ctx.MapResource(th, 0xfe000000, 4096, kernel.Bidirectional, 0); addr != want || err != nil {
				t.Errorf("%v: %#x, %v; want %#x", v, addr, err, want)
			}
		})
	}
}

// A buffer without a struct page can be mapped by its physical address only: page calls have nothing to be given, the rederiving
// design finds out with pfn_valid, and calls that take a virtual address refuse what the linear map does not contain.
func TestMemoryWithoutPage(t *testing.T) {
	byAddress := []string{"map_phys@7.3", "map_resource@6.12", "map_resource@7.3", "map_phys_mmio@7.3", "iova_link@7.3"}
	for _, v := range Variants() {
		ctx := newCtx(t, v.Version())
		b := Buffer{Phys: 0xfe000000, Size: 4096}
		want := ErrNoPage
		if v.Name() == "map_single_virt@7.3" {
			want = ErrVmalloc
		}
		recorded.Run(func(th *cpu.Thread) {
			_, err := v.Map(th, ctx, b, kernel.ToDevice, 0)
			if ok := slices.Contains(byAddress, v.Name()); ok != (err == nil) || !ok && !errors.Is(err, want) {
				t.Errorf("%s: %v", v.Name(), err)
			}
			if th.Depth() != 0 {
				t.Errorf("%s: %d functions did not return", v.Name(), th.Depth())
			}
		})
	}
}

// What the rederiving design adds to map_phys@7.3 is page_to_phys, pfn_valid and phys_to_page, and nothing else.
func TestRederiveCost(t *testing.T) {
	const phys = 5 << 30
	measure := func(f func(t *cpu.Thread, c *Ctx)) *recorded.Call {
		ctx := newCtx(t, kernel.V7_3)
		return recorded.Measure(recorded.Run(func(th *cpu.Thread) { f(th, ctx) }))
	}
	plain, _ := Lookup("map_phys@7.3")
	again, _ := Lookup("map_phys_rederive@7.3")
	a := measure(func(t *cpu.Thread, c *Ctx) { plain.Map(t, c, buffer(phys, 4096), kernel.FromDevice, 0) })
	b := measure(func(t *cpu.Thread, c *Ctx) { again.Map(t, c, buffer(phys, 4096), kernel.FromDevice, 0) })
	parts := measure(func(t *cpu.Thread, c *Ctx) {
		_, v := c.MM.PageToPhys(t, buffer(phys, 4096).Page, 0)
		c.MM.PfnValid(t, phys>>12, v)
		c.MM.PhysToPage(t, phys, v)
	})
	if got, want := b.Instructions-a.Instructions, parts.Instructions+4; got != want { // offset twice, shift, branch
		t.Errorf("rederiving adds %d instructions, its parts have %d", got, want)
	}
	if got, want := b.Loads-a.Loads, parts.Loads; got != want {
		t.Errorf("rederiving adds %d loads, its parts have %d", got, want)
	}
	if got := b.LinesNoStack - a.LinesNoStack; got != 4 { // vmemmap_base, mem_section, root, section; the preempt count's line is the canary's
		t.Errorf("rederiving touches %d more lines, want 4", got)
	}
}

// map_single against its recordings: the whole window, which includes the call and argument set-up of the caller.
func TestMapSingleNearRecordings(t *testing.T) {
	for _, v := range []string{"6.12", "7.3"} {
		va, _ := Lookup("map_single@" + v)
		ctx := newCtx(t, va.Version())
		ops := recorded.Run(func(th *cpu.Thread) { va.Map(th, ctx, buffer(5<<30, 4096), kernel.ToDevice, 0) })
		want, err := recorded.Load(v + "/direct/map_single/4096")
		if err != nil {
			t.Fatal(err)
		}
		got := recorded.Measure(ops)
		if d := want.Instructions - got.Instructions; d < 0 || d > 8 {
			t.Errorf("%s: %d instructions, recorded with the caller %d\n%s", v, got.Instructions, want.Instructions, recorded.Table(got, want))
		}
	}
}

func TestSyncSkipsOnCoherentDevice(t *testing.T) {
	for _, c := range []struct {
		v           kernel.Version
		skip, after int // instructions: skipped; of the function called once a buffer has bounced, for one that has not
	}{{kernel.V6_12, 2, 41}, {kernel.V7_3, 3, 42}} {
		ctx := newCtx(t, c.v)
		sync := func(th *cpu.Thread) { ctx.SyncSingleForCPU(th, 5<<30, 4096, kernel.FromDevice) }
		if ops := recorded.Run(sync); len(ops) != c.skip {
			t.Errorf("%v: skipped sync takes %d instructions, want %d", c.v, len(ops), c.skip)
		}
		ctx.Dev.NeedSync = true
		if n := recorded.Measure(recorded.Run(sync)).Function("__dma_sync_single_for_cpu"); n == nil || n.Instructions != c.after {
			t.Errorf("%v: sync after a bounce: %+v, want %d instructions", c.v, n, c.after)
		}
	}
}

// Cost does not depend on the memory model where no conversion is made, and does where one is.
func TestVariantsAcrossMemoryModels(t *testing.T) {
	for _, v := range Variants() {
		for model := mm.Model(0); model < mm.NumModels; model++ {
			ctx := newCtx(t, v.Version())
			m, err := mm.NewConfigured(ctx.Env, mm.Config{Model: model, Map: mm.PCMap(16 << 30)})
			if err != nil {
				t.Fatal(err)
			}
			ctx.MM = m
			ops := recorded.Run(func(th *cpu.Thread) {
				if addr, err := v.Map(th, ctx, buffer(5<<30, 4096), kernel.ToDevice, 0); err != nil || addr != 5<<30 {
					t.Errorf("%s, %v: %#x, %v", v.Name(), model, addr, err)
				}
			})
			if len(ops) == 0 {
				t.Errorf("%s, %v: nothing emitted", v.Name(), model)
			}
		}
	}
}

func TestContextReportsEverythingMissing(t *testing.T) {
	err := (&Ctx{Dev: &kernel.Device{Name: "dev", IOMMU: true}}).Validate()
	for _, want := range []string{"no kernel", "no memory management", "no DMA mask", "no iommu-dma"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not mention %q", err, want)
		}
	}
}

func TestMapAllocatesNothing(t *testing.T) {
	for _, v := range Variants() {
		ctx := newCtx(t, v.Version())
		recorded.Run(func(th *cpu.Thread) {
			th.Tap = nil
			b := buffer(5<<30, 4096)
			if n := testing.AllocsPerRun(500, func() {
				addr, _ := v.Map(th, ctx, b, kernel.ToDevice, 0)
				v.Unmap(th, ctx, addr, 4096, kernel.ToDevice, 0)
				th.Sync()
			}); n != 0 {
				t.Errorf("%s: %v host allocations per pair", v.Name(), n)
			}
		})
	}
}
