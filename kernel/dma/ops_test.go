package dma

import (
	"errors"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/mapops"
	"dmapath/kernel/recorded"
)

func withGart(t testing.TB, v kernel.Version) (*Ctx, *mapops.Gart) {
	c := newCtx(t, v)
	g, err := mapops.NewGart(c.Env, c.MM, 0xc0000000, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	g.Force = true
	c.Ops = mapops.New(c.Env, g)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c, g
}

// The dispatch to a provider as it was compiled: 54 instructions for a page on 6.12 and 52 for an address on 7.3, of which the indirect
// call is one. The build that was recorded takes one more for the same dispatch of 7.3 to iommu-dma (48, not 47).
func TestDispatchToProvider(t *testing.T) {
	for _, c := range []struct {
		v    kernel.Version
		name string
		want int
	}{{kernel.V6_12, "dma_map_page_attrs", 54}, {kernel.V7_3, "dma_map_phys", 53}} {
		ctx, _ := withGart(t, c.v)
		ops := recorded.Run(func(th *cpu.Thread) {
			if c.v == kernel.V7_3 {
				ctx.mapPhys73(th, 5<<30, 4096, kernel.ToDevice, 0)
			} else {
				ctx.mapPage12(th, buffer(5<<30, 4096), kernel.ToDevice, 0)
			}
		})
		if f := recorded.Measure(ops[1:]).Function(c.name); f == nil || f.Instructions != c.want {
			t.Errorf("%v: %+v, want %d instructions", c.v, f, c.want)
		}
		indirect := 0
		for _, o := range ops {
			if o.Class == cpu.CallInd {
				indirect++
			}
		}
		if indirect != 1 {
			t.Errorf("%v: %d indirect calls, want 1", c.v, indirect)
		}
	}
}

// Every variant for RAM goes through the provider, with one piece and with several, and gives back what it took.
func TestEveryVariantThroughAProvider(t *testing.T) {
	for _, v := range Variants() {
		for _, n := range []int{1, 5} {
			c, g := withGart(t, v.Version())
			b := buffer(5<<30, 8192)
			if n > 1 {
				b = pieces(c, n, 1<<20)
			}
			recorded.Run(func(th *cpu.Thread) {
				addr, err := MapBuffer(v, th, c, b, kernel.ToDevice, 0)
				if MemoryOf(v) == DeviceMemory {
					if !errors.Is(err, mapops.ErrMMIO) || g.Live() != 0 {
						t.Errorf("%s: %v, %d pages in use; want ErrMMIO", v.Name(), err, g.Live())
					}
					return
				}
				if p, ok := g.Translate(addr); err != nil || !ok || p != b.Phys {
					t.Errorf("%s: %#x behind %#x, %v", v.Name(), p, addr, err)
				}
				if err := UnmapBuffer(v, th, c, b, addr, kernel.ToDevice, 0); err != nil {
					t.Errorf("%s: unmap: %v", v.Name(), err)
				}
				if err := c.DrainPool(th, kernel.ToDevice); err != nil || g.Live() != 0 || th.Depth() != 0 {
					t.Errorf("%s: %v, %d pages stay in use, depth %d", v.Name(), err, g.Live(), th.Depth())
				}
			})
		}
	}
}

// A null pointer in the table: 7.3 looks and returns an error, 6.12 calls it.
func TestMissingFunctions(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		c, _ := withGart(t, v)
		c.Ops.Missing[mapops.MapPage], c.Ops.Missing[mapops.UnmapPage] = true, true
		var seen []kernel.HazardKind
		c.Env.OnHazard = func(h kernel.Hazard) { seen = append(seen, h.Kind) }
		var call Variant = mapPage12{}
		want, n := mapops.ErrNullCall, 2
		if v == kernel.V7_3 {
			call, want, n = mapPhysVariant{}, mapops.ErrNoMapPhys, 0
		}
		recorded.Run(func(th *cpu.Thread) {
			if a, err := call.Map(th, c, buffer(5<<30, 4096), kernel.ToDevice, 0); a != kernel.MappingError || !errors.Is(err, want) {
				t.Errorf("%v: %#x, %v; want %v", v, a, err, want)
			}
			call.Unmap(th, c, 0xc0000000, 4096, kernel.ToDevice, 0)
			if th.Depth() != 0 {
				t.Errorf("%v: %d functions did not return", v, th.Depth())
			}
		})
		if len(seen) != n || n > 0 && seen[0] != kernel.CallsNothing {
			t.Errorf("%v: hazards %v, want %d calls of null", v, seen, n)
		}
	}
}

// With dma_map_ops a sync stays the inlined test, dma_need_unmap is true and the merge boundary unknown.
func TestProviderAnswers(t *testing.T) {
	c, _ := withGart(t, kernel.V7_3)
	recorded.Run(func(th *cpu.Thread) {
		if !c.NeedUnmap(th) || c.MergeBoundary(th) != 0 || c.NeedSync() {
			t.Errorf("need unmap %v, boundary %#x, need sync %v", c.NeedUnmap(th), c.MergeBoundary(th), c.NeedSync())
		}
	})
	both := &Ctx{Env: c.Env, MM: c.MM, Dev: c.Dev, Ops: c.Ops, IOMMU: handOver{}}
	c.Dev.IOMMU = true
	if both.Validate() == nil {
		t.Error("a device with iommu-dma and a provider is accepted")
	}
}
