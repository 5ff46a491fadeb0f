package mapops

import (
	"errors"
	"math/rand/v2"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/mm"
	"dmapath/kernel/recorded"
	"dmapath/kernel/scatterlist"
	"dmapath/sim"
)

var versions = []kernel.Version{kernel.V6_12, kernel.V7_3}

func boot(tb testing.TB, v kernel.Version, model mm.Model) (*kernel.Env, *mm.MM, *kernel.Device) {
	tb.Helper()
	e := kernel.NewEnv(kernel.Config{Version: v, CPUs: 2, Coherent: true}, cache.NewMemory(), 1<<32)
	m, err := mm.NewConfigured(e, mm.Config{Model: model, Map: mm.PCMap(16 << 30)})
	if err != nil {
		tb.Fatal(err)
	}
	return e, m, e.NewDevice("0000:00:01.0", 8, 1<<32-1)
}

func gart(tb testing.TB, v kernel.Version, pages int) (*Gart, *kernel.Device) {
	e, m, d := boot(tb, v, mm.SparseVmemmap)
	g, err := NewGart(e, m, 0xc0000000, uint64(pages)<<12)
	if err != nil {
		tb.Fatal(err)
	}
	return g, d
}

func grant(tb testing.TB, v kernel.Version, n int) (*Grant, *kernel.Device) {
	e, m, d := boot(tb, v, mm.SparseVmemmap)
	g, err := NewGrant(e, m, n)
	if err != nil {
		tb.Fatal(err)
	}
	return g, d
}

type live struct{ addr, phys, size uint64 }

// churn maps and unmaps at random and calls check for every live mapping now and then.
func churn(t *testing.T, p Provider, d *kernel.Device, rounds int, most uint64, check func(l live) bool) {
	rng := rand.New(rand.NewPCG(3, 4))
	var lives []live
	recorded.Run(func(th *cpu.Thread) {
		for i := range rounds {
			if rng.IntN(100) < 55 || len(lives) == 0 {
				l := live{phys: 4<<30 + rng.Uint64N(1<<30), size: 1 + rng.Uint64N(most)}
				a, err := p.Map(th, 0, d, l.phys, l.size, kernel.ToDevice, 0)
				if errors.Is(err, ErrFull) || errors.Is(err, ErrNoGrant) {
					for len(lives) > 3 { // make room
						p.Unmap(th, 0, d, lives[0].addr, lives[0].size, kernel.ToDevice, 0)
						lives = lives[1:]
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				l.addr = a
				for _, o := range lives {
					if a>>12 <= (o.addr+o.size-1)>>12 && (a+l.size-1)>>12 >= o.addr>>12 {
						t.Fatalf("%#x+%#x overlaps %#x+%#x", a, l.size, o.addr, o.size)
					}
				}
				lives = append(lives, l)
			} else {
				k := rng.IntN(len(lives))
				p.Unmap(th, 0, d, lives[k].addr, lives[k].size, kernel.ToDevice, 0)
				lives[k] = lives[len(lives)-1]
				lives = lives[:len(lives)-1]
			}
			if i%50 == 0 {
				for _, l := range lives {
					if !check(l) {
						t.Fatalf("%#x+%#x at %#x is not what the table says", l.phys, l.size, l.addr)
					}
				}
			}
			if th.Depth() != 0 {
				t.Fatalf("%d functions did not return", th.Depth())
			}
		}
		for _, l := range lives {
			p.Unmap(th, 0, d, l.addr, l.size, kernel.ToDevice, 0)
		}
	})
}

// Whatever is mapped and unmapped in which order: live mappings do not overlap, the table translates every byte, and in the end the
// aperture is empty.
func TestApertureAgainstAMap(t *testing.T) {
	for _, v := range versions {
		g, d := gart(t, v, 512)
		churn(t, g, d, 1500, 20<<12, func(l live) bool {
			for o := uint64(0); o < l.size; o += 4096 {
				if p, ok := g.Translate(l.addr + o); !ok || p != l.phys+o {
					return false
				}
			}
			p, ok := g.Translate(l.addr + l.size - 1)
			return ok && p == l.phys+l.size-1
		})
		if g.Live() != 0 {
			t.Errorf("%v: %d pages of the aperture stay in use", v, g.Live())
		}
		if _, ok := g.Translate(0xc0000000); ok {
			t.Errorf("%v: an entry stays valid", v)
		}
	}
}

// The same for grants: the other domain may access exactly the pages of live mappings, and all references come back.
func TestGrantsAgainstAMap(t *testing.T) {
	for _, v := range versions {
		g, d := grant(t, v, 512)
		all := g.Free()
		churn(t, g, d, 1500, 20<<12, func(l live) bool {
			for a, o := l.addr, uint64(0); o < l.size+l.phys&4095; a, o = a+4096, o+4096 {
				if pfn, write, ok := g.Frame(a); !ok || write || pfn != (l.phys&^4095+o)>>12 {
					return false
				}
			}
			return true
		})
		if g.Free() != all {
			t.Errorf("%v: %d of %d references are free", v, g.Free(), all)
		}
		recorded.Run(func(th *cpu.Thread) { // and every one of them can be had again
			for i := range all {
				if _, err := g.Map(th, 0, d, 5<<30+uint64(i)<<12, 4096, kernel.FromDevice, 0); err != nil {
					t.Fatalf("%v: reference %d of %d: %v", v, i, all, err)
				}
			}
			if _, err := g.Map(th, 0, d, 5<<30, 4096, kernel.FromDevice, 0); !errors.Is(err, ErrNoGrant) {
				t.Errorf("%v: one more: %v", v, err)
			}
		})
	}
}

// A buffer that the device reaches does not use the aperture unless that is forced; then it has to be empty for the buffer to pass.
func TestApertureIsForWhatTheDeviceDoesNotReach(t *testing.T) {
	for _, v := range versions {
		g, d := gart(t, v, 16)
		recorded.Run(func(th *cpu.Thread) {
			if a, err := g.Map(th, 0, d, 1<<30, 4096, kernel.ToDevice, 0); a != 1<<30 || err != nil || g.Live() != 0 {
				t.Errorf("%v: within reach: %#x, %v, %d pages in use", v, a, err, g.Live())
			}
			g.Force = true
			if a, err := g.Map(th, 0, d, 1<<30, 4096, kernel.ToDevice, 0); a < 0xc0000000 || err != nil || g.Live() != 1 {
				t.Errorf("%v: forced: %#x, %v, %d pages in use", v, a, err, g.Live())
			}
			g.Map(th, 0, d, 8<<30, 15<<12, kernel.ToDevice, 0)
			if a, err := g.Map(th, 0, d, 1<<30, 4096, kernel.ToDevice, 0); a != 1<<30 || err != nil {
				t.Errorf("%v: full, but within reach: %#x, %v", v, a, err)
			}
			if a, err := g.Map(th, 0, d, 8<<30, 4096, kernel.ToDevice, 0); a != kernel.MappingError || !errors.Is(err, ErrFull) {
				t.Errorf("%v: full: %#x, %v", v, a, err)
			}
			if a, err := g.Map(th, 0, d, 1<<41, 4096, kernel.ToDevice, 0); a != kernel.MappingError || !errors.Is(err, ErrTooHigh) {
				t.Errorf("%v: above 40 bits: %#x, %v", v, a, err)
			}
		})
	}
}

// nb are configuration registers whose flush bit clears itself after some reads.
type nb struct{ writes, reads, busy int }

func (n *nb) WriteReg(addr, val uint64, now sim.Time) { n.writes, n.busy = n.writes+1, 2 }
func (n *nb) ReadReg(addr uint64, now sim.Time) (uint64, sim.Time) {
	n.reads++
	if n.busy--; n.busy > 0 {
		return 1, now
	}
	return 0, now
}

// iommu=fullflush tells the northbridge after every map; otherwise only when the search has wrapped around: when it comes to the end,
// and again for the next map, because unmapping the last page moves the place to search from behind the end.
func TestNorthbridgeFlush(t *testing.T) {
	for _, c := range []struct {
		full bool
		want int
	}{{true, 40}, {false, 4}} {
		g, d := gart(t, kernel.V7_3, 16)
		n := &nb{}
		g.NB, g.FullFlush = n, c.full
		recorded.Run(func(th *cpu.Thread) {
			for range 40 {
				a, err := g.Map(th, 0, d, 8<<30, 4096, kernel.ToDevice, 0)
				if err != nil {
					t.Fatal(err)
				}
				g.Unmap(th, 0, d, a, 4096, kernel.ToDevice, 0)
			}
		})
		if n.writes != c.want || g.Flushes != c.want || n.reads != 2*c.want {
			t.Errorf("fullflush %v: %d writes, %d reads, %d flushes; want %d", c.full, n.writes, n.reads, g.Flushes, c.want)
		}
	}
}

// A search in a crowded aperture costs more than in an empty one: the bitmap is walked.
func TestSearchCostsWhatItWalks(t *testing.T) {
	cost := func(used int) int {
		g, d := gart(t, kernel.V7_3, 16384)
		g.FullFlush = false
		recorded.Run(func(th *cpu.Thread) {
			for range used {
				g.Map(th, 0, d, 8<<30, 4096, kernel.ToDevice, 0)
			}
		})
		g.next = 0
		return len(recorded.Run(func(th *cpu.Thread) { g.Map(th, 0, d, 8<<30, 4096, kernel.ToDevice, 0) }))
	}
	empty, crowded := cost(0), cost(6400)
	if words := 6400 / 64; crowded < empty+words*3 || crowded > empty+words*8 {
		t.Errorf("%d instructions in an empty aperture, %d behind %d full words", empty, crowded, words)
	}
}

// Several pages need references in a row: from the end of the list while it lasts, then the whole list is put in order again.
func TestRunsOfGrants(t *testing.T) {
	g, d := grant(t, kernel.V7_3, 512)
	var addrs []uint64
	cost := func() int {
		return len(recorded.Run(func(th *cpu.Thread) {
			a, err := g.Map(th, 0, d, 5<<30, 8<<12, kernel.ToDevice, 0)
			if err != nil {
				t.Fatal(err)
			}
			addrs = append(addrs, a)
			g.Unmap(th, 0, d, a, 8<<12, kernel.ToDevice, 0)
		}))
	}
	first := cost()
	worst := first
	for range 62 { // 504 references in runs of 8
		worst = max(worst, cost())
	}
	if worst > first+100 {
		t.Errorf("a run from the end costs %d to %d instructions", first, worst)
	}
	if again := cost(); again < first+504*3 {
		t.Errorf("with the end of the list used up %d instructions, want the 504 references relinked", again)
	}
	if addrs[63] != addrs[0] {
		t.Errorf("after the list is in order %#x, want %#x again", addrs[63], addrs[0])
	}
}

// What makes the page again costs nothing but arithmetic with VMEMMAP, and lookups in the section tables without it, for every page.
func TestPageAgain(t *testing.T) {
	loads := func(v kernel.Version, model mm.Model, pages uint64) int {
		e, m, d := boot(t, v, model)
		g, err := NewGrant(e, m, 512)
		if err != nil {
			t.Fatal(err)
		}
		return recorded.Measure(recorded.Run(func(th *cpu.Thread) { g.Map(th, 0, d, 5<<30, pages<<12, kernel.ToDevice, 0) })).Loads
	}
	for _, c := range []struct {
		model mm.Model
		extra int // loads per page that 7.3 has and 6.12 has not: phys_to_page
	}{{mm.SparseVmemmap, 1}, {mm.SparseExtreme, 3}} {
		a := loads(kernel.V6_12, c.model, 9) - loads(kernel.V6_12, c.model, 5)
		b := loads(kernel.V7_3, c.model, 9) - loads(kernel.V7_3, c.model, 5)
		if got := b - a; got != 4*c.extra {
			t.Errorf("%v: making the page again costs %d loads for 4 pages, want %d", c.model, got, 4*c.extra)
		}
	}
}

// Lists are mapped entry by entry, and a failure undoes what was mapped.
func TestLists(t *testing.T) {
	for _, v := range versions {
		for _, name := range []string{"gart", "grant"} {
			var p Provider
			var d *kernel.Device
			var used func() int
			if name == "gart" {
				g, dev := gart(t, v, 8)
				p, d, used = g, dev, g.Live
			} else {
				g, dev := grant(t, v, 512)
				p, d, used = g, dev, func() int { return 504 - g.Free() }
			}
			l := &scatterlist.List{VA: 0xffff888100000000}
			for i := range uint64(5) {
				phys := 5<<30 + i<<20
				l.Add(phys, cpu.VmemmapBase+phys>>12*64, 4096)
			}
			recorded.Run(func(th *cpu.Thread) {
				if err := p.MapSG(th, 0, d, l, kernel.ToDevice, 0); err != nil || l.Nents != 5 || used() != 5 {
					t.Errorf("%v %s: %v, %d segments, %d pages", v, name, err, l.Nents, used())
				}
				p.UnmapSG(th, 0, d, l, kernel.ToDevice, 0)
				if l.Nents != 0 || used() != 0 {
					t.Errorf("%v %s: %d segments, %d pages after unmap", v, name, l.Nents, used())
				}
				if name == "gart" {
					for i := range uint64(5) {
						phys := 6<<30 + i<<20
						l.Add(phys, cpu.VmemmapBase+phys>>12*64, 4096)
					}
					if err := p.MapSG(th, 0, d, l, kernel.ToDevice, 0); !errors.Is(err, ErrFull) || l.Nents != 0 || used() != 0 {
						t.Errorf("%v: too long a list: %v, %d segments, %d pages", v, err, l.Nents, used())
					}
				}
				if th.Depth() != 0 {
					t.Errorf("%v %s: %d functions did not return", v, name, th.Depth())
				}
			})
		}
	}
}

func TestGeometryIsChecked(t *testing.T) {
	e, m, _ := boot(t, kernel.V7_3, mm.SparseVmemmap)
	for _, c := range [][2]uint64{{0xc0000001, 4096}, {0xc0000000, 0}, {0xc0000000, 100}, {0xfffff000, 8192}} {
		if _, err := NewGart(e, m, c[0], c[1]); err == nil {
			t.Errorf("aperture %#x is accepted", c)
		}
	}
	for _, n := range []int{0, 511, 513, 1 << 20} {
		if _, err := NewGrant(e, m, n); err == nil {
			t.Errorf("%d grants are accepted", n)
		}
	}
}

func TestProvidersAllocateNothing(t *testing.T) {
	g, d := gart(t, kernel.V7_3, 512)
	x, _ := grant(t, kernel.V7_3, 512)
	for _, p := range []Provider{g, x} {
		recorded.Run(func(th *cpu.Thread) {
			th.Tap = nil
			pair := func() {
				a, _ := p.Map(th, 0, d, 5<<30, 3<<12, kernel.ToDevice, 0)
				p.Unmap(th, 0, d, a, 3<<12, kernel.ToDevice, 0)
				th.Sync()
			}
			pair()
			if n := testing.AllocsPerRun(200, pair); n != 0 {
				t.Errorf("%T: %v host allocations per pair", p, n)
			}
		})
	}
}
