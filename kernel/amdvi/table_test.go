package amdvi_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"dmapath/cpu"
	"dmapath/iommu/amdtable"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/recorded"
)

// mapping is one live mapping of the plain model: the slow, obvious twin of a page table.
type mapping struct{ iova, phys, size uint64 }

func overlaps(live []mapping, iova, size uint64) bool {
	for _, x := range live {
		if iova < x.iova+x.size && x.iova < iova+size {
			return true
		}
	}
	return false
}

func look(live []mapping, iova uint64) (uint64, bool) {
	for _, x := range live {
		if iova-x.iova < x.size {
			return x.phys + iova - x.iova, true
		}
	}
	return 0, false
}

// check compares the table with the model at the ends, in the middle of and beside every mapping.
func (r *rig) check(t *testing.T, th *cpu.Thread, live []mapping, probes ...uint64) {
	t.Helper()
	for _, x := range live {
		probes = append(probes, x.iova, x.iova+x.size-1, x.iova+x.size/2, x.iova-1, x.iova+x.size)
	}
	for _, a := range probes {
		got, _, ok := r.translate(a)
		want, mapped := look(live, a)
		if ok != mapped || ok && got != want {
			t.Fatalf("iova %#x: the hardware gets %#x (%v), want %#x (%v)", a, got, ok, want, mapped)
		}
		if soft := r.dom.Core.IovaToPhys(th, a); soft != want {
			t.Fatalf("iova_to_phys(%#x) = %#x, want %#x", a, soft, want)
		}
	}
}

// Random maps and unmaps of all sizes and alignments: the table always equals the plain map of live mappings, software and
// hardware walks agree, and every table page comes from the allocator.
func TestTableEqualsPlainMap(t *testing.T) {
	for _, v := range versions {
		for seed := uint64(0); seed < 3; seed++ {
			t.Run(fmt.Sprintf("%v/%d", v, seed), func(t *testing.T) {
				r := newRig(t, v, 4+int(seed%3))
				rng := rand.New(rand.NewPCG(seed, 7))
				recorded.Run(func(th *cpu.Thread) {
					var live []mapping
					for i := 0; i < 200; i++ {
						if len(live) > 0 && rng.IntN(5) < 2 || len(live) > 40 {
							k := rng.IntN(len(live))
							x := live[k]
							live = append(live[:k], live[k+1:]...)
							if n := unmap(th, r.dom, x.iova, x.size); n != x.size {
								t.Fatalf("unmap of %#x bytes at %#x: %#x", x.size, x.iova, n)
							}
							r.check(t, th, live, x.iova, x.iova+x.size/2, x.iova+x.size-1)
							continue
						}
						x := random(rng)
						if overlaps(live, x.iova, x.size) {
							continue
						}
						if err := r.dom.Core.Map(th, x.iova, x.phys, x.size, rw); err != nil {
							t.Fatalf("map of %+v: %v", x, err)
						}
						live = append(live, x)
						if i%10 == 0 {
							r.check(t, th, live)
						}
					}
					for _, x := range live {
						unmap(th, r.dom, x.iova, x.size)
					}
					r.check(t, th, nil, 0, 1<<30, 0xfffff000, 5<<20)
				})
				if r.pages.used+1 != r.dom.Tables {
					t.Errorf("%d pages allocated and not freed, %d tables below the first top", r.pages.used, r.dom.Tables-1)
				}
			})
		}
	}
}

// random returns a mapping of a page to a few GiB, aligned alike, differently or not at all; some lie where the table has to grow.
func random(rng *rand.Rand) mapping {
	var x mapping
	switch rng.IntN(5) {
	case 0:
		x.size = 4096
	case 1:
		x.size = uint64(1+rng.IntN(64)) << 12
	case 2:
		x.size = 4096 << rng.IntN(14)
	case 3:
		x.size = uint64(1+rng.IntN(3)) << 21
	default:
		x.size = uint64(1+rng.IntN(1500)) << 12
	}
	x.iova = uint64(rng.IntN(1<<12)) << 21 // within 8 GiB
	x.phys = uint64(1+rng.IntN(1<<10)) << 30
	switch rng.IntN(3) {
	case 0: // both aligned
	case 1: // alike
		off := uint64(rng.IntN(512)) << 12
		x.iova += off
		x.phys += off
	default:
		x.iova += uint64(rng.IntN(512)) << 12
		x.phys += uint64(rng.IntN(512)) << 12
	}
	if rng.IntN(12) == 0 {
		x.iova += uint64(1+rng.IntN(100)) << 39 // beyond three levels
	}
	if rng.IntN(40) == 0 { // 4 GiB in one page
		x.iova, x.phys, x.size = x.iova&^(1<<32-1), x.phys&^(1<<32-1), 1<<32
	}
	return x
}

// The largest power of two that alignment and length allow is one page, except 512 GiB.
func TestPageSizes(t *testing.T) {
	for _, v := range versions {
		for shift := uint8(12); shift <= 41; shift++ {
			r := newRig(t, v, 6)
			recorded.Run(func(th *cpu.Thread) {
				at, pa := uint64(1)<<42, uint64(1)<<43
				if err := r.dom.Core.Map(th, at, pa, 1<<shift, rw); err != nil {
					t.Fatalf("%v, 2^%d: %v", v, shift, err)
				}
				want := shift
				if shift == 39 {
					want = 38
				}
				for _, off := range []uint64{0, 1<<shift - 1, 1 << (shift - 1)} {
					if got, s, ok := r.translate(at + off); !ok || got != pa+off || s != want {
						t.Fatalf("%v, 2^%d at +%#x: %#x by a page of 2^%d (%v)", v, shift, off, got, s, ok)
					}
				}
				if n := unmap(th, r.dom, at, 1<<shift); n != 1<<shift {
					t.Fatalf("%v, 2^%d: unmapped %#x", v, shift, n)
				}
				r.check(t, th, nil, at, at+1<<(shift-1))
			})
		}
	}
}

// 128 KiB by alignment: aligned it is one page; contiguous but aligned to 4 KiB alike it becomes pages of growing and shrinking
// size; aligned differently it is 32 pages.
func TestAlignmentDecidesThePages(t *testing.T) {
	for _, v := range versions {
		for _, c := range []struct {
			iova, phys uint64
			shifts     []uint8 // of the pages, in order
		}{
			{0x10000000, 0x200000000, []uint8{17}},
			{0x10001000, 0x200001000, []uint8{12, 13, 14, 15, 16, 12}},
			{0x10000000, 0x200001000, []uint8{12, 12, 12, 12}}, // and so on
		} {
			r := newRig(t, v, 4)
			recorded.Run(func(th *cpu.Thread) {
				if err := r.dom.Core.Map(th, c.iova, c.phys, 128<<10, rw); err != nil {
					t.Fatal(err)
				}
			})
			at := c.iova
			for i, want := range c.shifts {
				pa, s, ok := r.translate(at)
				if !ok || s != want || pa != c.phys+at-c.iova {
					t.Errorf("%v, %#x to %#x, page %d: 2^%d (%v), want 2^%d", v, c.iova, c.phys, i, s, ok, want)
				}
				at += 1 << s
			}
		}
	}
}

// Locked operations: 6.12 empties every entry with one before it writes it; 7.3 needs none once the tables are there.
func TestLockedOperationsPerEntry(t *testing.T) {
	for _, c := range []struct {
		v       kernel.Version
		atomics int
		stores  int // to the table
	}{{kernel.V6_12, 32, 32}, {kernel.V7_3, 0, 32}} {
		r := newRig(t, c.v, 4)
		const at, pa = 0x10000000, 0x200000000
		ops := recorded.RunWarm(func(th *cpu.Thread) {
			r.dom.Core.Map(th, at, pa, 128<<10, rw)
			unmap(th, r.dom, at, 128<<10)
			r.dom.Core.Map(th, at+1<<20, pa, 4096, rw) // keeps the table on 7.3
		}, func(th *cpu.Thread) { r.dom.Core.Map(th, at, pa, 128<<10, rw) })
		atomics, stores := 0, 0
		leaf := leafTable(r, at)
		for _, o := range ops {
			if o.Class == cpu.Atomic {
				atomics++
			}
			if o.Class == cpu.Store && kernel.Phys(o.Addr)&^4095 == leaf {
				stores++
			}
		}
		if atomics != c.atomics || stores != c.stores {
			t.Errorf("%v: %d locked operations and %d stores of entries, want %d and %d", c.v, atomics, stores, c.atomics, c.stores)
		}
	}
}

// leafTable returns the physical address of the level-1 table of iova.
func leafTable(r *rig, iova uint64) uint64 {
	tbl := r.dom.Root()
	for l := r.dom.Levels(); l > 1; l-- {
		tbl = amdtable.Decode(r.env.Mem.Read64(amdtable.EntryAddr(tbl, iova, l)), l).Addr
	}
	return tbl
}

// A table starts with 3 levels and grows when an address needs it: the device table entry says so, the hardware is told to
// forget the old one, and what was mapped stays mapped. Beyond the levels that the hardware has the map fails and changes
// nothing.
func TestTableGrows(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, 5)
		recorded.Run(func(th *cpu.Thread) {
			if err := r.dom.Core.Map(th, iova, phys, 4096, rw); err != nil {
				t.Fatal(err)
			}
			if d := r.dte(rid); d.Mode != 3 || !d.Valid || !d.Translation || d.Rights != amdtable.AllRights {
				t.Errorf("%v: entry %+v", v, d)
			}
			r.hw.take()
			live := []mapping{{iova, phys, 4096}}
			for _, c := range []struct {
				at   uint64
				mode int
			}{{1<<39 - 4096, 3}, {1 << 39, 4}, {1<<48 - 4096, 4}, {1 << 48, 5}, {1<<57 - 4096, 5}} {
				before := r.dte(rid).Mode
				if err := r.dom.Core.Map(th, c.at, phys+1<<30, 4096, rw); err != nil {
					t.Fatalf("%v, %#x: %v", v, c.at, err)
				}
				if d := r.dte(rid); d.Mode != c.mode || d.Root != r.dom.Root() {
					t.Errorf("%v, %#x: entry %+v, want mode %d", v, c.at, d, c.mode)
				}
				told := false
				for _, k := range r.hw.take() {
					told = told || k.Op == amdtable.InvalidateDevtabEntry && k.Device == rid
				}
				if told != (c.mode > before) {
					t.Errorf("%v, %#x: invalidation of the device table entry: %v", v, c.at, told)
				}
				live = append(live, mapping{c.at, phys + 1<<30, 4096})
				r.check(t, th, live)
			}
			if r.dom.Grown != 2 {
				t.Errorf("%v: grown by %d levels", v, r.dom.Grown)
			}
			if err := r.dom.Core.Map(th, 1<<57, phys, 4096, rw); err == nil {
				t.Errorf("%v: map beyond 5 levels succeeds", v)
			}
			r.check(t, th, live)
		})
	}
}

// A map over something mapped: 7.3 refuses, 6.12 writes over it and counts; a larger page over empty tables frees them, after
// the hardware has forgotten them.
func TestMapOverMapped(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, 4)
		recorded.Run(func(th *cpu.Thread) {
			r.dom.Core.Map(th, iova, phys, 4096, rw)
			err := r.dom.Core.Map(th, iova, phys+4096, 4096, rw)
			if refused := errors.Is(err, iommucore.EADDRINUSE); refused != (v == kernel.V7_3) {
				t.Errorf("%v: %v", v, err)
			}
			if v == kernel.V6_12 && r.dom.Replaced != 1 {
				t.Errorf("%d entries replaced", r.dom.Replaced)
			}
			const at = 4 << 30
			r.dom.Core.Map(th, at, 8<<30, 4096, rw)
			r.dom.Core.Map(th, at+4096, 1<<30, 4096, rw)
			unmap(th, r.dom, at, 4096)
			unmap(th, r.dom, at+4096, 4096)
			tables, used := r.dom.Tables, r.pages.used
			r.hw.take()
			if err := r.dom.Core.Map(th, at, 8<<30, 2<<20, rw); err != nil {
				t.Fatal(err)
			}
			if _, s, ok := r.translate(at + 0x5000); !ok || s != 21 {
				t.Errorf("%v: page of 2^%d (%v)", v, s, ok)
			}
			if r.dom.Tables != tables-1 || r.pages.used != used-1 {
				t.Errorf("%v: %d tables and %d pages, before %d and %d", v, r.dom.Tables, r.pages.used, tables, used)
			}
			seen := r.hw.take()
			if len(seen) != 2 || !seen[0].PDE || seen[0].Shift < 21 || seen[1].Op != amdtable.CompletionWait {
				t.Errorf("%v: commands %+v", v, seen)
			}
		})
	}
}

// Without memory for tables a map fails; what is there stays consistent.
func TestNoMemoryForTables(t *testing.T) {
	for _, v := range versions {
		for left := range 2 {
			r := newRig(t, v, 4)
			r.pages.left = left
			recorded.Run(func(th *cpu.Thread) {
				if err := r.dom.Core.Map(th, iova, phys, 4096, rw); !errors.Is(err, iommucore.ENOMEM) {
					t.Errorf("%v with %d pages: %v", v, left, err)
				}
				r.check(t, th, nil, iova)
				r.pages.left = -1
				if err := r.dom.Core.Map(th, iova, phys, 4096, rw); err != nil {
					t.Errorf("%v: %v", v, err)
				}
				r.check(t, th, []mapping{{iova, phys, 4096}})
			})
		}
	}
}
