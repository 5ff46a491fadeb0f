package iommudma_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommudma"
	"dmapath/kernel/recorded"
	"dmapath/kernel/timer"
	"dmapath/sim"
)

var versions = []kernel.Version{kernel.V6_12, kernel.V7_3}

// No two live mappings overlap, every mapping translates to its buffer, and after all unmaps and a timer nothing is
// mapped and no queue holds anything.
func TestLiveMappingsNeverOverlap(t *testing.T) {
	for _, v := range versions {
		for _, lazy := range []bool{false, true} {
			m := boot(t, v, 1, lazy)
			var fire func(th *cpu.Thread)
			m.run = func(at sim.Time, fn func(th *cpu.Thread)) { fire = fn }
			rng := rand.New(rand.NewPCG(uint64(v), 7))
			type live struct{ addr, phys, size uint64 }
			var lives []live
			recorded.Run(func(th *cpu.Thread) {
				for i := 0; i < 3000; i++ {
					if rng.IntN(100) < 52 || len(lives) == 0 {
						size := uint64(1 + rng.IntN(40*4096))
						phys := page + rng.Uint64N(1<<30)
						a, err := m.l.Map(th, m.dev, phys, size, kernel.ToDevice, 0)
						if err != nil {
							t.Fatal(err)
						}
						if a&4095 != phys&4095 {
							t.Fatalf("%#x mapped at %#x: offset in page lost", phys, a)
						}
						for _, l := range lives {
							if a>>12 <= (l.addr+l.size-1)>>12 && (a+size-1)>>12 >= l.addr>>12 {
								t.Fatalf("%#x+%#x overlaps %#x+%#x", a, size, l.addr, l.size)
							}
						}
						for o := uint64(0); o < size; o += 4096 {
							if got := m.drv.pages[(a+o)&^4095]; got != (phys+o)&^4095 {
								t.Fatalf("%#x translates to %#x, want %#x", a+o, got, (phys+o)&^4095)
							}
						}
						lives = append(lives, live{a, phys, size})
					} else {
						k := rng.IntN(len(lives))
						l := lives[k]
						lives[k] = lives[len(lives)-1]
						lives = lives[:len(lives)-1]
						m.l.Unmap(th, m.dev, l.addr, l.size, kernel.ToDevice, 0)
						if _, ok := m.drv.pages[l.addr&^4095]; ok {
							t.Fatalf("%#x is mapped after unmap", l.addr)
						}
					}
					if i%700 == 699 && fire != nil {
						f := fire
						fire = nil
						f(th)
						if n := m.k.Waiting(0); n != 0 {
							t.Fatalf("%d entries wait after the timer ran", n)
						}
					}
				}
				for _, l := range lives {
					m.l.Unmap(th, m.dev, l.addr, l.size, kernel.ToDevice, 0)
				}
				if fire != nil {
					fire(th)
				}
			})
			if len(m.drv.pages) != 0 || m.k.Waiting(0) != 0 || m.k.Stats.NotMapped != 0 {
				t.Errorf("%v lazy %v: %d pages mapped, %d queued, %d bad unmaps", v, lazy, len(m.drv.pages), m.k.Waiting(0), m.k.Stats.NotMapped)
			}
			if lazy && (m.k.Stats.Flushes == 0 || m.k.Stats.TimerFlushes == 0 || m.drv.syncs != 0) {
				t.Errorf("%v lazy: %+v, %d strict invalidations", v, m.k.Stats, m.drv.syncs)
			}
			if !lazy && (m.drv.flushes != 0 || m.drv.syncs != int(m.k.Stats.Unmaps)) {
				t.Errorf("%v strict: %d invalidations for %d unmaps, %d full flushes", v, m.drv.syncs, m.k.Stats.Unmaps, m.drv.flushes)
			}
		}
	}
}

// A range in a flush queue is not handed out before a flush that began after it was queued; it is afterwards.
func TestQueuedRangesAreNotReusedBeforeTheFlush(t *testing.T) {
	for _, v := range versions {
		m := boot(t, v, 1, true)
		var fire func(th *cpu.Thread)
		m.run = func(at sim.Time, fn func(th *cpu.Thread)) { fire = fn }
		recorded.Run(func(th *cpu.Thread) {
			a := m.many(t, th, 1)[0]
			m.unmapAll(th, []uint64{a})
			b := m.many(t, th, 1)[0]
			if a == b {
				t.Errorf("%v: %#x reused before the flush", v, a)
			}
			fire(th)
			if c := m.many(t, th, 1)[0]; c != a {
				t.Errorf("%v: got %#x after the flush, want %#x again", v, c, a)
			}
		})
	}
}

// The 255th unmap fits the ring, the 256th flushes at once and reaps all of it.
func TestFullRingFlushesAtOnce(t *testing.T) {
	for _, v := range versions {
		m := boot(t, v, 1, true)
		recorded.Run(func(th *cpu.Thread) {
			a := m.many(t, th, 256)
			m.unmapAll(th, a[:255])
			if m.drv.flushes != 0 || m.k.Waiting(0) != 255 {
				t.Errorf("%v: 255 unmaps: %d flushes, %d waiting; want 0 and 255", v, m.drv.flushes, m.k.Waiting(0))
			}
			m.unmapAll(th, a[255:])
			if m.drv.flushes != 1 || m.k.Waiting(0) != 1 {
				t.Errorf("%v: 256 unmaps: %d flushes, %d waiting; want 1 and 1", v, m.drv.flushes, m.k.Waiting(0))
			}
		})
	}
}

// The timer is armed by the first entry only, runs 12 to 16 ms later, and is armed again by the next entry.
func TestFlushTimerIsArmedOncePerPeriod(t *testing.T) {
	for _, v := range versions {
		m := boot(t, v, 1, true)
		var at []sim.Time
		var fire func(th *cpu.Thread)
		m.run = func(x sim.Time, fn func(th *cpu.Thread)) { at, fire = append(at, x), fn }
		recorded.Run(func(th *cpu.Thread) {
			a := m.many(t, th, 5)
			m.unmapAll(th, a[:4])
			if len(at) != 1 || at[0] != 16*sim.Millisecond {
				t.Errorf("%v: timers %v, want one at 16 ms", v, at)
			}
			fire(th)
			m.unmapAll(th, a[4:])
			if len(at) != 2 {
				t.Errorf("%v: %d timers after the second period began, want 2", v, len(at))
			}
		})
	}
	for _, c := range []struct{ now, want sim.Time }{{0, 16}, {3, 16}, {4, 20}, {5, 20}, {7, 20}, {8, 24}} {
		if got := timer.Expiry(c.now*sim.Millisecond, 10*sim.Millisecond); got != c.want*sim.Millisecond {
			t.Errorf("10 ms from %d ms: %v, want %d ms", c.now, got, c.want)
		}
	}
}

// A timer that runs while another CPU unmaps waits for that CPU's ring, and nothing is lost or freed twice.
func TestTimerAndOwnersMeetAtTheRing(t *testing.T) {
	for _, v := range versions {
		m := boot(t, v, 2, true)
		e := sim.NewEngine()
		m.run = func(at sim.Time, fn func(th *cpu.Thread)) {
			e.Go("softirq", func(p *sim.Proc) {
				p.SleepUntil(p.Now() + 3*sim.Microsecond) // far too early, to make them meet
				fn(thread(p, 1))
			})
		}
		m.drv.onFlush = func(th *cpu.Thread) { // an invalidation takes a while
			th.Sync()
			th.Proc.SleepUntil(th.Now() + sim.Microsecond)
		}
		for c := range 2 {
			e.Go("cpu", func(p *sim.Proc) {
				th := thread(p, c)
				rng := rand.New(rand.NewPCG(uint64(c), 3))
				var a []uint64
				for i := 0; i < 4000; i++ {
					p.SleepUntil(p.Now() + 20*sim.Nanosecond)
					if len(a) < 50 && rng.IntN(2) == 0 || len(a) == 0 {
						a = append(a, m.many(t, th, 1)[0])
					} else {
						m.unmapAll(th, a[:1])
						a = a[1:]
					}
				}
				m.unmapAll(th, a)
			})
		}
		if err := e.Run(sim.Never); err != nil {
			t.Fatal(err)
		}
		e.Close()
		if len(m.drv.pages) != 0 || m.k.Stats.NotMapped != 0 {
			t.Errorf("%v: %d pages left, %d bad unmaps", v, len(m.drv.pages), m.k.Stats.NotMapped)
		}
		cached, waiting := 0, m.k.Waiting(0)+m.k.Waiting(1)
		m.k.IOVA.EachCached(func(int, uint64) { cached++ })
		inTree := 0
		m.k.IOVA.Allocated(func(lo, hi uint64) { inTree++ })
		if inTree != cached+waiting+1 { // and the MSI window
			t.Errorf("%v: tree holds %d ranges; %d cached, %d queued and 1 reserved", v, inTree, cached, waiting)
		}
		if m.k.Stats.TimerFlushes < 10 {
			t.Errorf("%v: the timer ran %d times", v, m.k.Stats.TimerFlushes)
		}
	}
}

func thread(p *sim.Proc, c int) *cpu.Thread {
	return cpu.NewThread(p, c, nil, cpu.NewStream(cpu.PerCPUBase+0x8000+uint64(c)<<16, cpu.MitNone))
}

// When the space is used up a map fails with nothing allocated; after an unmap the next map succeeds.
func TestExhaustedSpaceIsAnError(t *testing.T) {
	for _, v := range versions {
		m := boot(t, v, 1, false)
		m.dev.Mask = 1<<24 - 1 // 16 MiB: 4095 usable pages
		recorded.Run(func(th *cpu.Thread) {
			var a []uint64
			for {
				x, err := m.l.Map(th, m.dev, page, 4096, kernel.ToDevice, 0)
				if err != nil {
					if x != kernel.MappingError || !errors.Is(err, iommudma.ErrNoIOVA) {
						t.Errorf("%v: %#x, %v", v, x, err)
					}
					break
				}
				a = append(a, x)
			}
			if len(a) != 4095 {
				t.Errorf("%v: %d pages mapped below 16 MiB, want 4095 (all but frame 0)", v, len(a))
			}
			if len(m.drv.pages) != len(a) {
				t.Errorf("%v: %d pages mapped, %d handed out", v, len(m.drv.pages), len(a))
			}
			m.unmapAll(th, a[:1])
			if x, err := m.l.Map(th, m.dev, page, 4096, kernel.ToDevice, 0); err != nil || x != a[0] {
				t.Errorf("%v: after an unmap: %#x, %v; want %#x", v, x, err, a[0])
			}
		})
	}
}

// A PCI device gets addresses below 4 GiB until that fails once; then its whole mask is used, for good.
func TestPreferenceBelow4GiBEndsWithTheFirstFailure(t *testing.T) {
	for _, v := range versions {
		m := boot(t, v, 1, false)
		recorded.Run(func(th *cpu.Thread) {
			big := uint64(1 << 30)
			for i := 0; i < 4; i++ {
				a, err := m.l.Map(th, m.dev, page, big, kernel.ToDevice, 0)
				if err != nil {
					t.Fatal(err)
				}
				below := a+big <= 1<<32
				if want := i < 2; below != want { // 3 GiB to 4 GiB holds the MSI window, 0 to 1 GiB frame 0
					t.Errorf("%v: mapping %d of 1 GiB at %#x", v, i, a)
				}
			}
			if m.dev.Workaround32 || m.k.Stats.Fallback64 != 1 {
				t.Errorf("%v: preference %v, given up %d times", v, m.dev.Workaround32, m.k.Stats.Fallback64)
			}
			if a, _ := m.l.Map(th, m.dev, page, 64*4096, kernel.ToDevice, 0); a < 1<<32 {
				t.Errorf("%v: %#x, want an address above 4 GiB from now on", v, a)
			}
		})
	}
}

// When the page tables cannot be extended, the addresses are given back.
func TestFailedMapGivesItsAddressesBack(t *testing.T) {
	for _, v := range versions {
		m := boot(t, v, 1, false)
		recorded.Run(func(th *cpu.Thread) {
			a := m.many(t, th, 1)[0]
			m.unmapAll(th, []uint64{a})
			m.drv.failMap = true
			x, err := m.l.Map(th, m.dev, page, 4096, kernel.ToDevice, 0)
			if x != kernel.MappingError || err == nil {
				t.Errorf("%v: %#x, %v", v, x, err)
			}
			m.drv.failMap = false
			if b := m.many(t, th, 1)[0]; b != a {
				t.Errorf("%v: got %#x after the failure, want %#x again", v, b, a)
			}
		})
		if m.k.Stats.Failures != 1 {
			t.Errorf("%v: %d failures counted", v, m.k.Stats.Failures)
		}
	}
}

// Unmapping what is not mapped is noticed, and its addresses leak as in the kernel.
func TestUnmapOfNothingIsNoticed(t *testing.T) {
	for _, v := range versions {
		m := boot(t, v, 1, false)
		recorded.Run(func(th *cpu.Thread) { m.l.Unmap(th, m.dev, 0x1000, 4096, kernel.ToDevice, 0) })
		if m.k.Stats.NotMapped != 1 || m.drv.syncs != 0 {
			t.Errorf("%v: %d noticed, %d invalidations", v, m.k.Stats.NotMapped, m.drv.syncs)
		}
	}
}

// Destroy invalidates at once, in a lazy domain too.
func TestDestroyIsSynchronousInLazyDomains(t *testing.T) {
	m := boot(t, kernel.V7_3, 1, true)
	st := &iommudma.State{VA: m.env.Slab(64, 64)}
	recorded.Run(func(th *cpu.Thread) {
		m.l.TryAlloc(th, m.dev, st, page, 16384)
		for o := uint64(0); o < 16384; o += 4096 {
			if err := m.l.Link(th, m.dev, st, page+o*7, o, 4096, kernel.ToDevice, 0); err != nil {
				t.Fatal(err)
			}
		}
		m.l.Destroy(th, m.dev, st, 16384, kernel.ToDevice, 0)
	})
	if m.drv.syncs != 1 || m.k.Waiting(0) != 0 || m.drv.flushes != 0 {
		t.Errorf("%d invalidations, %d queued, %d flushes; want 1, 0, 0", m.drv.syncs, m.k.Waiting(0), m.drv.flushes)
	}
}

// Table pages that an unmap frees in a lazy domain are kept until the flush.
func TestTablePagesWaitForTheFlush(t *testing.T) {
	for _, v := range versions {
		m := boot(t, v, 1, true)
		m.drv.listOfPage = true
		var fire func(th *cpu.Thread)
		m.run = func(at sim.Time, fn func(th *cpu.Thread)) { fire = fn }
		recorded.Run(func(th *cpu.Thread) {
			m.unmapAll(th, m.many(t, th, 3))
			if m.drv.freed != 0 {
				t.Errorf("%v: %d table pages freed before the flush", v, m.drv.freed)
			}
			fire(th)
		})
		if m.drv.freed != 3 {
			t.Errorf("%v: %d table pages freed by the flush, want 3", v, m.drv.freed)
		}
	}
}

// Bad configurations are refused with every reason.
func TestNewListsWhatIsWrong(t *testing.T) {
	m := boot(t, kernel.V7_3, 1, false)
	if _, err := iommudma.New(iommudma.Config{Env: m.env}); err == nil {
		t.Error("no domain: accepted")
	}
	_, err := iommudma.New(iommudma.Config{Env: m.env, Domain: m.k.Domain(), Lazy: true,
		Reserved: [][2]uint64{{0x1000, 0x2fff}, {0x2000, 0x3fff}}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"timers", "overlaps"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}
}

// BenchmarkPair is a map and an unmap of one page with emission, without a core.
func BenchmarkPair(b *testing.B) {
	for _, v := range versions {
		for _, lazy := range []bool{false, true} {
			b.Run(v.String()+map[bool]string{false: "/strict", true: "/lazy"}[lazy], func(b *testing.B) {
				m := boot(b, v, 1, lazy)
				recorded.Run(func(th *cpu.Thread) {
					th.Tap = nil
					b.ReportAllocs()
					for b.Loop() {
						a, _ := m.l.Map(th, m.dev, page, 4096, kernel.FromDevice, 0)
						m.l.Unmap(th, m.dev, a, 4096, kernel.FromDevice, 0)
						th.Ops = th.Ops[:0]
					}
				})
			})
		}
	}
}
