package dma

import (
	"errors"
	"slices"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/direct"
	"dmapath/kernel/recorded"
)

func pieces(c *Ctx, n int, step uint64) Buffer {
	l := c.NewList(n)
	for i := range n {
		c.AddPiece(&l.List, 5<<30+uint64(i)*step, 4096)
	}
	return l.Buffer()
}

// With dma-direct every call maps a buffer of several pieces to the physical addresses of the pieces, and can do so again.
func TestEveryVariantMapsEveryPiece(t *testing.T) {
	for _, v := range Variants() {
		ctx := newCtx(t, v.Version())
		b := pieces(ctx, 7, 1<<20)
		if b.Size != 7*4096 || b.Phys != 5<<30 || b.Page == 0 {
			t.Fatalf("buffer %+v", b)
		}
		recorded.Run(func(th *cpu.Thread) {
			for range 2 {
				addr, err := MapBuffer(v, th, ctx, b, kernel.ToDevice, 0)
				if err != nil || addr != b.Phys {
					t.Fatalf("%s: %#x, %v", v.Name(), addr, err)
				}
				var got []uint64
				for _, e := range b.List.Segments() {
					got = append(got, e.Addr)
				}
				got = append(got, b.List.Addrs...)
				for i := range 7 {
					if want := b.List.Entries[i].Phys; i >= len(got) || got[i] != want {
						t.Errorf("%s: addresses %#x, want %#x at %d", v.Name(), got, want, i)
					}
				}
				if err := UnmapBuffer(v, th, ctx, b, addr, kernel.ToDevice, 0); err != nil {
					t.Errorf("%s: unmap: %v", v.Name(), err)
				}
				if b.List.Nents != 0 || len(b.List.Addrs) != 0 {
					t.Errorf("%s: the list still says %d segments, %d addresses", v.Name(), b.List.Nents, len(b.List.Addrs))
				}
			}
			if th.Depth() != 0 {
				t.Errorf("%s: %d functions did not return", v.Name(), th.Depth())
			}
		})
	}
}

// The piece that fails is named, and nothing of the list stays mapped.
func TestListFailsAsAWhole(t *testing.T) {
	for _, v := range Variants() {
		ctx := newCtx(t, v.Version())
		ctx.Direct.Tlb = nil
		ctx.Dev.Mask = 5<<30 + 3<<20 - 1
		b := pieces(ctx, 5, 1<<20)
		recorded.Run(func(th *cpu.Thread) {
			var de *direct.Error
			addr, err := MapBuffer(v, th, ctx, b, kernel.ToDevice, 0)
			if addr != kernel.MappingError || !errors.As(err, &de) || de.Phys != 5<<30+3<<20 {
				t.Errorf("%s: %#x, %v; want piece 3 to fail", v.Name(), addr, err)
			}
			if b.List.Nents != 0 || len(b.List.Addrs) != 0 || th.Depth() != 0 {
				t.Errorf("%s: %d segments, %d addresses, depth %d", v.Name(), b.List.Nents, len(b.List.Addrs), th.Depth())
			}
		})
	}
}

func TestEmptyListIsRefused(t *testing.T) {
	for _, v := range Variants() {
		if x, ok := v.(Lister); ok {
			ctx := newCtx(t, v.Version())
			recorded.Run(func(th *cpu.Thread) {
				if err := x.MapList(th, ctx, ctx.NewList(1), kernel.ToDevice, 0); !errors.Is(err, ErrEmptyList) {
					t.Errorf("%s: %v", v.Name(), err)
				}
			})
		}
	}
}

// One allocation serves all calls with the same list.
func TestListsAllocateNothing(t *testing.T) {
	for _, v := range Variants() {
		ctx := newCtx(t, v.Version())
		b := pieces(ctx, 32, 1<<20)
		recorded.Run(func(th *cpu.Thread) {
			th.Tap = nil
			pair := func() {
				addr, _ := MapBuffer(v, th, ctx, b, kernel.ToDevice, 0)
				UnmapBuffer(v, th, ctx, b, addr, kernel.ToDevice, 0)
				th.Sync()
			}
			pair()
			if n := testing.AllocsPerRun(100, pair); n != 0 {
				t.Errorf("%s: %v host allocations per pair", v.Name(), n)
			}
		})
	}
}

// iova_link without translation maps piece by piece; the addresses are only written down, and the pieces only unmapped, when the
// device needs it: after a bounce.
func TestLinkFallsBackToPieces(t *testing.T) {
	v, _ := Lookup("iova_link@7.3")
	phys, _ := Lookup("map_phys@7.3")
	for _, bounced := range []bool{false, true} {
		ctx := newCtx(t, kernel.V7_3)
		ctx.Dev.NeedSync = bounced
		b := pieces(ctx, 8, 1<<20)
		calls := func(body func(th *cpu.Thread)) map[string]int {
			n := map[string]int{}
			for _, f := range recorded.Measure(recorded.Run(body)).Functions {
				n[f.Name] = f.Calls
			}
			return n
		}
		var addr uint64
		m := calls(func(th *cpu.Thread) { addr, _ = MapBuffer(v, th, ctx, b, kernel.ToDevice, 0) })
		if m["dma_map_phys"] != 8 || b.List.Unmap != bounced {
			t.Errorf("bounced %v: %d maps, unmap %v", bounced, m["dma_map_phys"], b.List.Unmap)
		}
		u := calls(func(th *cpu.Thread) { UnmapBuffer(v, th, ctx, b, addr, kernel.ToDevice, 0) })
		if want := map[bool]int{false: 0, true: 8}[bounced]; u["dma_unmap_phys"] != want || u["dma_need_unmap"] != 1 {
			t.Errorf("bounced %v: %v, want %d unmaps", bounced, u, want)
		}
	}
	// piece by piece it is map_phys in a loop
	ctx := newCtx(t, kernel.V7_3)
	b := pieces(ctx, 8, 1<<20)
	one := recorded.Measure(recorded.Run(func(th *cpu.Thread) { phys.Map(th, ctx, b.List.piece(0), kernel.ToDevice, 0) })).Instructions
	all := recorded.Measure(recorded.Run(func(th *cpu.Thread) { MapBuffer(v, th, ctx, b, kernel.ToDevice, 0) })).Instructions
	if extra := all - 8*one; extra < 8*4 || extra > 8*8+20 {
		t.Errorf("8 pieces take %d instructions, 8 map_phys %d", all, 8*one)
	}
}

// The virtual address as an input saves the struct page between: virt_to_page's last steps, dma_map_page_attrs and page_to_phys.
func TestVirtSavesThePage(t *testing.T) {
	measure := func(name string) *recorded.Call {
		ctx := newCtx(t, kernel.V7_3)
		v, err := Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		return recorded.Measure(recorded.Run(func(th *cpu.Thread) { v.Map(th, ctx, buffer(5<<30, 4096), kernel.ToDevice, 0) }))
	}
	page, virt, phys := measure("map_single@7.3"), measure("map_single_virt@7.3"), measure("map_phys@7.3")
	// dma_map_page_attrs has 13 instructions, of which page_to_phys is one load and 5 moves and shifts; virt_to_page ends in 2 shifts
	// and the load of vmemmap_base, and two moves and a jump follow in the compiled code
	if got := page.Instructions - virt.Instructions; got < 13+3 || got > 13+3+6 {
		t.Errorf("map_single %d instructions, with the address %d", page.Instructions, virt.Instructions)
	}
	if got := page.Loads - virt.Loads; got != 2 {
		t.Errorf("%d loads saved, want vmemmap_base twice", got)
	}
	if d := virt.Instructions - phys.Instructions; d < 20 || d > 35 { // entry and exit 8 to 11, vmalloc test 8, virt_to_phys 7, moves
		t.Errorf("map_single_virt has %d instructions more than map_phys", d)
	}
}

// map_page_wrapper is another word for map_page@7.3, not another row.
func TestWrapperIsAnAlias(t *testing.T) {
	a, err := Lookup("map_page_wrapper@7.3")
	b, _ := Lookup("map_page@7.3")
	if err != nil || a != b {
		t.Errorf("%v, %v; want %v", a, err, b)
	}
	names, meanings := Aliases()
	if !slices.Equal(names, []string{"map_page_wrapper@7.3"}) || !slices.Equal(meanings, []string{"map_page@7.3"}) {
		t.Errorf("aliases %v mean %v", names, meanings)
	}
}

// A page of the pool is mapped once; a use of it is a load of its address and the two inlined tests; draining unmaps it.
func TestPremappedPages(t *testing.T) {
	for _, c := range []struct {
		name          string
		fill, use, of int // instructions: the first map at least, a use for the device, one for the CPU
	}{{"premapped@6.12", 74, 3, 2}, {"premapped@7.3", 144, 4, 3}} {
		v, err := Lookup(c.name)
		if err != nil {
			t.Fatal(err)
		}
		ctx := newCtx(t, v.Version())
		b := buffer(5<<30, 4096)
		n := func(body func(th *cpu.Thread)) int { return len(recorded.Run(body)) }
		if got := n(func(th *cpu.Thread) { v.Map(th, ctx, b, kernel.FromDevice, 0) }); got < c.fill {
			t.Errorf("%s: first map takes %d instructions", c.name, got)
		}
		for range 3 {
			if got := n(func(th *cpu.Thread) {
				if a, err := v.Map(th, ctx, b, kernel.FromDevice, 0); a != b.Phys || err != nil {
					t.Errorf("%s: %#x, %v", c.name, a, err)
				}
			}); got != c.use {
				t.Errorf("%s: %d instructions per use, want %d", c.name, got, c.use)
			}
			if got := n(func(th *cpu.Thread) { v.Unmap(th, ctx, b.Phys, 4096, kernel.FromDevice, 0) }); got != c.of {
				t.Errorf("%s: %d instructions when the device is done, want %d", c.name, got, c.of)
			}
		}
		ctx.Dev.NeedSync = true
		if got := recorded.Measure(recorded.Run(func(th *cpu.Thread) { v.Map(th, ctx, b, kernel.FromDevice, 0) })).Function("__dma_sync_single_for_device"); got == nil || got.Instructions < 41 || got.Instructions > 42 {
			t.Errorf("%s: after a bounce: %+v, want the call of 41 or 42 instructions", c.name, got)
		}
		recorded.Run(func(th *cpu.Thread) {
			if err := ctx.DrainPool(th, kernel.FromDevice); err != nil || len(ctx.pool) != 0 {
				t.Errorf("%s: %v, %d pages left", c.name, err, len(ctx.pool))
			}
		})
	}
}
