package smmu

import (
	"errors"
	"testing"

	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/recorded"
	"dmapath/sim"
)

// walk is what the hardware sees.
func (r *rig) walk(iova uint64) (pa uint64, ok bool) {
	t, why := smmutable.Walk(r.env.Mem, r.dom.Geometry(), r.dom.Root(), iova, false)
	return t.PA, why == smmutable.NoEvent
}

// After any sequence of maps and unmaps through the core the hardware's walk and the driver's look-up find exactly what a plain map of live
// pages says, and nothing that is unmapped is left out of the invalidation.
func TestTableEqualsPlainMap(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, features{})
		rng := sim.NewRand(3, "table")
		live := map[uint64]uint64{} // page to page
		type run struct{ iova, phys, size uint64 }
		var runs []run
		stale := map[uint64]bool{} // unmapped and not yet forgotten by the hardware
		r.hw.onInv = func(c smmutable.Command) {
			inv := c.TLBI()
			for i := range inv.Pages() {
				delete(stale, inv.Addr+i*page)
			}
		}
		recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) {
			th.Reserve(8)
			for range 400 {
				if len(runs) > 0 && (rng.IntN(2) == 0 || len(runs) > 20) {
					k := rng.IntN(len(runs))
					x := runs[k]
					runs = append(runs[:k], runs[k+1:]...)
					var g iommucore.Gather
					th.Reserve(64)
					g.Init(th.SP() + 8)
					for at := x.iova; at < x.iova+x.size; at += page {
						stale[at] = true
					}
					if n := r.dom.Core.Unmap(th, x.iova, x.size, &g); n != x.size {
						t.Fatalf("%v: %#x bytes unmapped of %+v", v, n, x)
					}
					r.dom.Core.SyncTLB(th, &g)
					th.Reserve(-64)
					for at := x.iova; at < x.iova+x.size; at += page {
						delete(live, at)
					}
					if len(stale) > 0 {
						t.Fatalf("%v: %d pages of %+v were not invalidated", v, len(stale), x)
					}
					continue
				}
				unit := []uint64{page, page, block}[rng.IntN(3)]
				x := run{uint64(1+rng.IntN(40)) * block, uint64(1+rng.IntN(200)) * block, uint64(1+rng.IntN(5)) * page}
				if unit == block {
					x.size = uint64(1+rng.IntN(3))*block + uint64(rng.IntN(3))*page
				} else {
					off := uint64(rng.IntN(512)) * page
					x.iova, x.phys = x.iova+off, x.phys+uint64(rng.IntN(512))*page
				}
				taken := false
				for at := x.iova; at < x.iova+x.size; at += page {
					_, there := live[at]
					taken = taken || there
				}
				if taken {
					continue
				}
				if err := r.dom.Core.Map(th, x.iova, x.phys, x.size, rw); err != nil {
					t.Fatalf("%v: map of %+v: %v", v, x, err)
				}
				runs = append(runs, x)
				for off := uint64(0); off < x.size; off += page {
					live[x.iova+off] = x.phys + off
				}
			}
			for at := uint64(0); at < 48*block; at += page {
				want, there := live[at]
				if pa, ok := r.walk(at + 0x123); ok != there || ok && pa != want+0x123 {
					t.Fatalf("%v: walk of %#x finds %#x %v, want %#x %v", v, at, pa, ok, want, there)
				}
				if at%(7*page) == 0 {
					if pa := r.dom.Core.IovaToPhys(th, at+0x123); there && pa != want+0x123 || !there && pa != 0 {
						t.Fatalf("%v: look-up of %#x finds %#x, want %#x", v, at, pa, want)
					}
				}
			}
			th.Reserve(-8)
		})
	}
}

// Aligned ranges are mapped with the largest pages: 1 GiB and 2 MiB take one entry each.
func TestLargePagesTakeOneEntry(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, features{})
		recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) {
			if err := r.dom.Core.Map(th, 1<<30, 3<<30, 1<<30+2*block+page, rw); err != nil {
				t.Error(err)
			}
		})
		for _, c := range []struct {
			at    uint64
			shift uint8
		}{{1 << 30, 30}, {2 << 30, 21}, {2<<30 + block, 21}, {2<<30 + 2*block, 12}} {
			got, why := smmutable.Walk(r.env.Mem, r.dom.Geometry(), r.dom.Root(), c.at, true)
			if why != smmutable.NoEvent || got.Shift != c.shift || got.PA != c.at+2<<30 {
				t.Errorf("%v: %#x: %+v %v, want a page of 2^%d", v, c.at, got, why, c.shift)
			}
		}
		if r.dom.Tables != 4 { // one of each level: the run ends in the table of the second GiB
			t.Errorf("%v: %d tables, want 4", v, r.dom.Tables)
		}
	}
}

// Part of a block is unmapped: 6.12 puts a table with the other 511 pages in its place, 7.3 unmaps nothing.
func TestPartOfABlock(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, features{})
		const at = 4 * block
		var n uint64
		recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) {
			th.Reserve(8)
			r.mapRange(th, at, 1<<32, block, 1, rw)
			n = r.unmap(th, at+5*page, page, 2)
			th.Reserve(-8)
		})
		gone := 0
		for i := range uint64(512) {
			pa, ok := r.walk(at + i*page)
			if !ok {
				gone++
			} else if pa != 1<<32+i*page {
				t.Errorf("%v: page %d is at %#x", v, i, pa)
			}
		}
		if v == kernel.V6_12 && (n != 2*page || gone != 2 || r.dom.Splits != 1) || v == kernel.V7_3 && (n != 0 || gone != 0) {
			t.Errorf("%v: %d bytes unmapped, %d pages gone, %d splits", v, n, gone, r.dom.Splits)
		}
	}
}

// A block replaces a table that has become empty; the table is freed after the hardware has forgotten the walk.
func TestBlockReplacesATable(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, features{})
		const at = 4 * block
		recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) {
			th.Reserve(8)
			r.mapRange(th, at, 1<<32, page, 3, rw)
			r.unmap(th, at, page, 3)
			before, syncs := r.dom.Tables, r.hw.syncs
			r.hw.onInv = func(c smmutable.Command) {
				if r.pages.used != before-1 || c.TLBI().Leaf {
					t.Errorf("%v: the table went before the hardware was told (%d pages in use), or only leaves are forgotten", v, r.pages.used)
				}
			}
			if _, err := r.mapRange(th, at, 1<<33, block, 1, rw); err != nil {
				t.Error(err)
			}
			if r.dom.Tables != before-1 || r.hw.syncs != syncs+1 {
				t.Errorf("%v: %d tables, want %d; %d invalidations", v, r.dom.Tables, before-1, r.hw.syncs-syncs)
			}
			th.Reserve(-8)
		})
		if pa, ok := r.walk(at + 0x1234); !ok || pa != 1<<33+0x1234 {
			t.Errorf("%v: %#x %v", v, pa, ok)
		}
	}
}

// Two CPUs find the same table missing: one's compare-and-exchange wins, the other frees its page and uses the winner's.
func TestRaceForATable(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, features{})
		r.pages.slow = sim.Microsecond
		r.crowd(t, 5, 2, func(th *cpu.Thread) {
			if _, err := r.mapRange(th, uint64(th.CPU)*page, phys, page, 1, rw); err != nil {
				t.Error(err)
			}
		})
		if r.dom.Tables != 4 || r.pages.used != 3 {
			t.Errorf("%v: %d tables, %d pages in use, want 4 and 3 (the top one is not from the allocator)", v, r.dom.Tables, r.pages.used)
		}
		for i := range uint64(2) {
			if pa, ok := r.walk(i * page); !ok || pa != phys {
				t.Errorf("%v: page %d: %#x %v", v, i, pa, ok)
			}
		}
	}
}

func TestMapErrors(t *testing.T) {
	for _, v := range versions {
		for _, c := range []struct {
			name        string
			iova, phys  uint64
			size, count uint64
			prot        iommucore.Prot
			left        int
			want        error
		}{
			{"beyond the input width", 1<<48 - page, phys, page, 2, rw, -1, iommucore.ERANGE},
			{"beyond the output width", 1 << 30, 1<<44 - page, page, 2, rw, -1, iommucore.ERANGE},
			{"no protection", 1 << 30, phys, page, 1, iommucore.Cache, -1, iommucore.EINVAL},
			{"no page for a table", 1 << 30, phys, page, 1, rw, 1, iommucore.ENOMEM},
			{"a page is there", 5 * page, phys, page, 1, rw, -1, iommucore.EADDRINUSE},
			{"a page is in the way of the last", 3 * page, phys, page, 3, rw, -1, iommucore.EADDRINUSE},
			{"a block is above", 8 * block, phys, page, 1, rw, -1, iommucore.EADDRINUSE},
		} {
			r := newRig(t, v, features{})
			recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) {
				r.mapRange(th, 5*page, 7<<30, page, 1, rw)
				r.mapRange(th, 8*block, 1<<32, block, 1, rw)
				r.pages.left = c.left
				n, err := r.mapRange(th, c.iova, c.phys, c.size, c.count, c.prot)
				if !errors.Is(err, c.want) || n != 0 {
					t.Errorf("%v, %s: %v, %d bytes, want %v", v, c.name, err, n, c.want)
				}
			})
			if pa, ok := r.walk(5 * page); !ok || pa != 7<<30 {
				t.Errorf("%v, %s: the old mapping is gone", v, c.name)
			}
			if _, ok := r.walk(3 * page); ok {
				t.Errorf("%v, %s: part of the new mapping stays", v, c.name)
			}
		}
	}
}

// The entries say what was asked for: read-only, device memory, not cached.
func TestProtectionBits(t *testing.T) {
	for _, c := range []struct {
		prot iommucore.Prot
		want uint64
	}{{rw, 0xf47}, {wr, 0xf47}, {rd, 0xfc7}, {iommucore.Read | iommucore.Write, 0xe43}, {iommucore.Read | iommucore.Write | iommucore.MMIO, 0xe4b}} {
		r := newRig(t, kernel.V7_3, features{})
		recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) { r.mapRange(th, page, 1<<32, page, 1, c.prot) })
		tbl := r.dom.pgd
		for lvl := range 3 {
			tbl = r.dom.virt(r.dom.read(r.dom.entry(tbl, page, lvl)), lvl)
		}
		if got := r.dom.read(tbl + 8); got != 1<<32|c.want {
			t.Errorf("prot %#x: entry %#x, want bits %#x", c.prot, got, c.want)
		}
	}
}

// Units that the driver cannot use are refused by name of what is missing; a stream beyond the unit's width cannot be attached.
func TestUnitErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		reg  uint64
		val  uint64
	}{{"stage 1", smmutable.RegIDR0, uint64(smmutable.IDR0TTFAArch64 | smmutable.IDR0Coherent)}, {"granule", smmutable.RegIDR5, 0},
		{"coherence", smmutable.RegIDR0, uint64(smmutable.IDR0S1P | smmutable.IDR0TTFAArch64)}, {"queue", smmutable.RegIDR1, 6<<smmutable.IDR1CmdqLog2 | 16}} {
		r := newRig(t, kernel.V7_3, features{})
		r.hw.idr[c.reg] = c.val
		if _, err := NewUnit(r.env, r.hw, regVA, r.pages); err == nil {
			t.Errorf("a unit without %s is accepted", c.name)
		}
	}
	r := newRig(t, kernel.V7_3, features{})
	r.hw.idr[smmutable.RegIDR1] = 16<<smmutable.IDR1CmdqLog2 | 8
	u, err := NewUnit(r.env, r.hw, regVA, r.pages)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Attach(0x100, r.dom); err == nil {
		t.Error("stream 0x100 of a unit with 8 bits of streams is attached")
	}
	if _, err := u.NewDomain(3); err == nil {
		t.Error("a domain of 3 levels is made")
	}
}

// A warm map, unmap and flush allocate nothing on the host.
func TestNoHostAllocations(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, features{msi: v == kernel.V7_3})
		r.hw.seen = make([]smmutable.Command, 0, 1<<16)
		recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) {
			th.Reserve(8)
			var g iommucore.Gather
			once := func() {
				r.mapRange(th, iova, phys, page, 1, rw)
				th.Reserve(64)
				g.Init(th.SP() + 8)
				r.dom.IovaToPhys(th, 0, iova)
				r.dom.UnmapPages(th, 0, iova, page, 1, &g)
				r.dom.SyncTLB(th, 0, &g)
				r.dom.FlushAll(th, 0)
				th.Reserve(-64)
				th.Sync()
			}
			once()
			if n := testing.AllocsPerRun(100, once); n > 0 {
				t.Errorf("%v: %.1f allocations per round", v, n)
			}
			th.Reserve(-8)
		})
	}
}

// Clearing n pages in one table costs 7.3 28 instructions per page: __arm_lpae_unmap is recorded for 1, 8 and 32 pages.
func TestUnmapGrowsAsRecorded(t *testing.T) {
	for n, want := range map[uint64]int{1: 373, 8: 569, 32: 1241} {
		r := newRig(t, kernel.V7_3, features{})
		at := uint64(iova) + page - n*page
		ops := recorded.RunWarmOn(kernel.ARM64, func(th *cpu.Thread) { r.mapRange(th, at, phys, page, n, rw) },
			func(th *cpu.Thread) { th.Reserve(8); r.unmap(th, at, page, n); th.Reserve(-8) })
		if got := recorded.Measure(ops).Function("__arm_lpae_unmap").Instructions; got != want {
			t.Errorf("%d pages: %d instructions, recorded %d", n, got, want)
		}
	}
}

// The numbers in the package documentation.
func TestDocumentedTotals(t *testing.T) {
	for _, tt := range []struct {
		v          kernel.Version
		mapN, unmN int
	}{{kernel.V6_12, 432, 1705}, {kernel.V7_3, 493, 2560}} {
		r := newRig(t, tt.v, features{})
		m := len(recorded.RunWarmOn(kernel.ARM64, func(th *cpu.Thread) { r.mapRange(th, iova, phys, page, 1, wr); r.unmap(th, iova, page, 1) },
			func(th *cpu.Thread) { r.mapRange(th, iova, phys, page, 1, wr) }))
		shift := map[kernel.Version]int{kernel.V6_12: 24, kernel.V7_3: 8}[tt.v]
		u := len(recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) {
			th.Reserve(shift)
			r.dom.IovaToPhys(th, 0, iova)
			r.unmap(th, iova, page, 1)
			th.Reserve(-shift)
		}))
		if m != tt.mapN || u != tt.unmN {
			t.Errorf("%v: map %d, unmap %d; doc.go says %d, %d", tt.v, m, u, tt.mapN, tt.unmN)
		}
	}
}
