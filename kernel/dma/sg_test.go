package dma

import (
	"errors"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/direct"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/recorded"
)

func list(c *Ctx, n int) *SG {
	sg := &SG{VA: c.Env.Slab(4096+64, 64) + 64}
	for i := range n {
		sg.Segs = append(sg.Segs, iommucore.Segment{Phys: 5<<30 + uint64(i)<<20, Size: 4096})
	}
	return sg
}

// dma-direct maps every entry to its own address and merges nothing; the cost of one more entry is the inlined mapping of a page
// (6.12: 33 of the recorded 74 instructions) or a call of dma_direct_map_phys (7.3: 115 recorded), and what walks the list.
func TestDirectScatterlistEntryByEntry(t *testing.T) {
	for _, c := range []struct {
		v           kernel.Version
		least, most int // instructions for each further entry
	}{{kernel.V6_12, 33 + 11, 33 + 11 + 20}, {kernel.V7_3, 115 + 11, 115 + 11 + 30}} {
		cost := func(n int) (mapped, unmapped *recorded.Call) {
			ctx := newCtx(t, c.v)
			sg := list(ctx, n)
			mapped = recorded.Measure(recorded.Run(func(th *cpu.Thread) {
				if err := ctx.MapSGTable(th, sg, kernel.ToDevice, 0); err != nil {
					t.Fatal(err)
				}
			}))
			if len(sg.DMA) != n {
				t.Fatalf("%v: %d entries became %d pieces", c.v, n, len(sg.DMA))
			}
			for i, p := range sg.DMA {
				if p != sg.Segs[i] {
					t.Errorf("%v: entry %d at %#x mapped to %#x", c.v, i, sg.Segs[i], p)
				}
			}
			unmapped = recorded.Measure(recorded.Run(func(th *cpu.Thread) {
				if err := ctx.UnmapSGTable(th, sg, kernel.ToDevice, 0); err != nil {
					t.Fatal(err)
				}
				if th.Depth() != 0 {
					t.Errorf("%d functions did not return", th.Depth())
				}
			}))
			return mapped, unmapped
		}
		m4, u4 := cost(4)
		m8, u8 := cost(8)
		if d := m8.Instructions - m4.Instructions; d < 4*c.least || d > 4*c.most {
			t.Errorf("%v: 4 more entries cost %d instructions, want %d to %d each", c.v, d, c.least, c.most)
		}
		if d := u8.Instructions - u4.Instructions; d < 4*(31+11) || d > 4*(38+11+14) {
			t.Errorf("%v: unmapping 4 more entries costs %d instructions", c.v, d)
		}
	}
}

// With CONFIG_PCI_P2PDMA every entry costs a look into its struct page.
func TestP2PDMALooksIntoEveryPage(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		count := func(on bool) int {
			ctx := newCtx(t, v)
			ctx.Env.P2PDMA = on
			return recorded.Measure(recorded.Run(func(th *cpu.Thread) { ctx.MapSGTable(th, list(ctx, 8), kernel.ToDevice, 0) })).LinesNoStack
		}
		if off, on := count(false), count(true); on != off+8 {
			t.Errorf("%v: %d lines without P2PDMA, %d with it; want 8 more", v, off, on)
		}
	}
}

// An entry out of reach undoes the ones before it, and the error names it.
func TestDirectScatterlistFailsAsAWhole(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		ctx := newCtx(t, v)
		ctx.Dev.Mask = 5<<30 + 2<<20
		ctx.Direct.Tlb = nil // nowhere to bounce to
		sg := list(ctx, 4)
		recorded.Run(func(th *cpu.Thread) {
			var de *direct.Error
			if err := ctx.MapSGTable(th, sg, kernel.ToDevice, 0); !errors.As(err, &de) || de.Phys != sg.Segs[2].Phys || len(sg.DMA) != 0 {
				t.Errorf("%v: %v, %d pieces; want entry 2 to fail", v, err, len(sg.DMA))
			}
			if th.Depth() != 0 {
				t.Errorf("%v: %d functions did not return", v, th.Depth())
			}
		})
	}
}

// dma_need_unmap is false only where nothing has to be undone.
func TestNeedUnmap(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(d *kernel.Device, e *kernel.Env)
		want bool
	}{
		{"coherent dma-direct", func(*kernel.Device, *kernel.Env) {}, false},
		{"after a bounce", func(d *kernel.Device, _ *kernel.Env) { d.NeedSync = true }, true},
		{"not coherent, which x86 does not know", func(d *kernel.Device, _ *kernel.Env) { d.NonCoherent = true }, false},
		{"behind an IOMMU", func(d *kernel.Device, _ *kernel.Env) { d.IOMMU = true }, true},
		{"DMA_API_DEBUG", func(_ *kernel.Device, e *kernel.Env) { e.Debug.DMAAPI = true }, true},
	} {
		ctx := newCtx(t, kernel.V7_3)
		c.set(ctx.Dev, ctx.Env)
		recorded.Run(func(th *cpu.Thread) {
			if got := ctx.NeedUnmap(th); got != c.want {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		})
	}
}
