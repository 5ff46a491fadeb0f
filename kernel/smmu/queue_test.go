package smmu

import (
	"fmt"
	"testing"

	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/recorded"
	"dmapath/sim"
)

var versions = []kernel.Version{kernel.V6_12, kernel.V7_3}

// issue puts commands into the queue as the version does.
func (r *rig) issue(t *cpu.Thread, cmds []smmutable.Command, sync bool) {
	b := &r.unit.scratchOf(t).batch
	copy(b.cmds[:], cmds)
	if r.env.Version == kernel.V7_3 {
		r.unit.issue73(t, b.cmds[:len(cmds)], t.SP()-4096, sync)
	} else {
		r.unit.issue12(t, b.cmds[:len(cmds)], t.SP()-4096, sync)
	}
}

// crowd runs body on n CPUs at once. At every end of a segment, that is before every step that another CPU can observe, a CPU pauses for a
// random time, so the CPUs interleave in ways that timing alone would not produce.
func (r *rig) crowd(tb testing.TB, seed uint64, n int, body func(t *cpu.Thread)) {
	tb.Helper()
	e := sim.NewEngine()
	r.hw.eng = e
	r.hw.step = e.Register("smmu command", r.hw.onStep)
	running := n
	for c := range n {
		rng := sim.NewRand(seed, fmt.Sprintf("cpu %d", c))
		e.Go(fmt.Sprintf("cpu %d", c), func(p *sim.Proc) {
			s := cpu.NewStream(kernelStack(c), cpu.MitNone)
			s.ISA = cpu.A64
			t := cpu.NewThread(p, c, nil, s)
			t.Tap = func([]cpu.Op) { p.SleepUntil(p.Now() + sim.Time(rng.IntN(1<<(6+rng.IntN(12))))) }
			body(t)
			t.Sync()
			running--
		})
	}
	if err := e.Run(10 * sim.Second); err != nil {
		tb.Fatal(err)
	}
	if running > 0 {
		q := &r.unit.q
		tb.Fatalf("%d CPUs are not through after %v: %+v, prod %#x, cons %#x, handed over up to %#x, lock %#x, hardware at %#x of %#x", running, e.Now(),
			r.unit.Stats, q.read32(q.llq), q.read32(q.llq+4), q.read32(q.ownerProd), q.read32(q.lock), r.hw.cons, r.hw.regs[smmutable.RegCmdqProd])
	}
	e.Close()
	r.hw.eng = nil
}

func kernelStack(c int) uint64 { return cpu.PerCPUBase + 1<<26 + uint64(c+1)<<14 }

// Whatever the interleaving, every command is carried out exactly once, a CMD_SYNC completes only after the commands before it, and
// everybody gets through: with 1 to 96 CPUs, with messages and with polling, in a queue of 128 slots that is full most of the time.
func TestCommandsOfManyCPUs(t *testing.T) {
	for _, v := range versions {
		for _, msi := range []bool{false, true} {
			for _, n := range []int{1, 2, 3, 16, 64, 96} {
				sizes := []uint8{7, 16}
				if n > 16 {
					sizes = []uint8{10} // laps, but no crowd that spins for room
				}
				for _, log2 := range sizes {
					t.Run(fmt.Sprintf("%v msi %v %d CPUs 2^%d", v, msi, n, log2), func(t *testing.T) {
						t.Parallel()
						r := newRig(t, v, features{msi: msi, log2: log2})
						r.hw.perCmd, r.hw.read = 3*sim.Nanosecond, 20*sim.Nanosecond
						rounds := max(2, 24/n)
						done := map[uint64]int{}
						r.hw.onInv = func(c smmutable.Command) { done[c[1]]++ }
						r.crowd(t, uint64(n)<<8|uint64(log2), n, func(th *cpu.Thread) {
							rng := sim.NewRand(7, fmt.Sprintf("work of cpu %d", th.CPU))
							var cmds []smmutable.Command
							id := uint64(th.CPU) << 32
							for range rounds {
								first := id
								for batch := rng.IntN(3); batch >= 0; batch-- {
									cmds = cmds[:0]
									size := 1 + rng.IntN(4)
									if rng.IntN(8) == 0 {
										size = 1 + rng.IntN(batchEntries)
									}
									for range size {
										id++
										cmds = append(cmds, smmutable.TLBI{Addr: id << 12}.Command(smmutable.TlbiNHVA))
									}
									r.issue(th, cmds, batch == 0)
								}
								for i := first + 1; i <= id; i++ { // the last batch had a CMD_SYNC
									if done[i<<12] != 1 {
										t.Fatalf("cpu %d: command %#x carried out %d times when its CMD_SYNC was complete", th.CPU, i, done[i<<12])
									}
								}
							}
						})
						s := r.unit.Stats
						if uint64(len(r.hw.seen)) != s.Commands || len(done) != len(r.hw.seen) || r.hw.syncs != rounds*n || s.Syncs != uint64(rounds*n) {
							t.Errorf("%d commands issued, %d carried out, %d different; %d CMD_SYNC", s.Commands, len(r.hw.seen), len(done), r.hw.syncs)
						}
						if q := &r.unit.q; q.read32(q.lock) != 0 || q.read32(q.llq)&owned != 0 || q.read32(q.llq) != q.read32(q.ownerProd) {
							t.Errorf("at rest: lock %d, prod %#x, handed over up to %#x", q.read32(q.lock), q.read32(q.llq), q.read32(q.ownerProd))
						}
						if n >= 64 && s.ClaimRetries == 0 {
							t.Error("nobody lost a compare-and-exchange")
						}
						if n == 16 && log2 == 7 && s.Full == 0 {
							t.Error("the queue was never full")
						}
						if n == 96 && s.Owners >= s.Syncs {
							t.Errorf("%d submissions and %d owners: nobody was gathered", s.Syncs, s.Owners)
						}
					})
				}
			}
		}
	}
}

// As read from the source, and never seen on a machine: in a queue that is full to the last slot CPUs may wait for room until their poll times
// out, with the hardware idle, because nobody is left who would refresh the consumer index. Among some hundred interleavings of 16 CPUs there is
// one; afterwards everything is consistent, as TestCommandsOfManyCPUs has it.
func TestFullQueueMayWaitForTheTimeout(t *testing.T) {
	for _, v := range versions {
		waits := uint64(0)
		for seed := uint64(0); seed < 400 && waits == 0; seed++ {
			r := newRig(t, v, features{msi: true, log2: 7})
			r.hw.perCmd, r.hw.read = 3*sim.Nanosecond, 20*sim.Nanosecond
			var end sim.Time
			r.crowd(t, seed, 16, func(th *cpu.Thread) {
				rng := sim.NewRand(seed, fmt.Sprintf("work of cpu %d", th.CPU))
				cmds := make([]smmutable.Command, batchEntries)
				for i := range cmds {
					cmds[i] = smmutable.TLBI{Addr: uint64(i) << 12}.Command(smmutable.TlbiNHVA)
				}
				for range 3 {
					r.issue(th, cmds[:1+rng.IntN(batchEntries)], rng.IntN(2) == 0)
				}
				end = max(end, th.Now())
			})
			waits += r.unit.Stats.Timeouts
			if s := r.unit.Stats; (s.Timeouts > 0) != (end > sim.Second) || s.Commands != uint64(len(r.hw.seen)) {
				t.Errorf("%v: %d timeouts in a run of %v, %d of %d commands carried out", v, s.Timeouts, end, len(r.hw.seen), s.Commands)
			}
		}
		if waits == 0 {
			t.Errorf("%v: nobody waited for the timeout", v)
		}
	}
}

// A CPU that overtakes a compare-and-exchange makes the other take the new values: both find their slots, in the order of the winners.
func TestLoserOfAClaimTakesTheNewValue(t *testing.T) {
	r := newRig(t, kernel.V7_3, features{})
	var got [2]uint32
	r.hw.perCmd = 1
	r.crowd(t, 1, 2, func(th *cpu.Thread) {
		u := r.unit
		prod, cons, v := u.loadLLQ(th)
		th.WaitUntil(cpu.StallMem, sim.Microsecond*sim.Time(th.CPU+1)) // both have read 0
		for {
			p, c, ok, _ := u.claim(th, prod, cons, u.q.inc(prod, 3), v)
			if ok {
				break
			}
			prod, cons = p, c
		}
		got[th.CPU] = prod
	})
	if got[0] == got[1] || got[0]+got[1] != 3 || r.unit.Stats.ClaimRetries != 1 {
		t.Errorf("slots from %v with %d retries, want 0 and 3 with one", got, r.unit.Stats.ClaimRetries)
	}
}

// The arithmetic of laps against one that counts without bound.
func TestIndexesEqualUnboundedCounts(t *testing.T) {
	var q cmdq
	q.log2 = 7
	rng := sim.NewRand(1, "indexes")
	for range 20000 {
		cons := rng.Uint64() >> 40
		prod := cons + uint64(rng.IntN(129))
		n := uint64(rng.IntN(130))
		p, c := uint32(prod&255), uint32(cons&255)
		if got, want := q.space(p, c, uint32(n)), prod-cons+n <= 128; got != want {
			t.Fatalf("prod %d cons %d: room for %d: %v, want %v", prod, cons, n, got, want)
		}
		if got, want := q.inc(p|owned, uint32(n)), uint32((prod+n)&255)|owned; got != want {
			t.Fatalf("%d + %d = %#x, want %#x", prod, n, got, want)
		}
		at := cons + uint64(rng.IntN(128)) // a slot that was in the queue when cons was read
		now := at - 64 + uint64(rng.IntN(128))
		if got, want := q.consumed(uint32(now&255), uint32(at&255)), now > at; got != want {
			t.Fatalf("slot %d consumed at cons %d: %v, want %v", at, now, got, want)
		}
	}
}

// Commands of an unmap with range invalidation, and without: the pages that they name are those unmapped, and 7.3 gives up at 512.
func TestInvalidationCoversTheRange(t *testing.T) {
	for _, v := range versions {
		for _, noRange := range []bool{false, true} {
			for _, n := range []uint64{1, 2, 3, 31, 32, 33, 63, 64, 100, 511, 512} {
				r := newRig(t, v, features{noRange: noRange})
				const at = 1 << 30
				ops := recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) {
					th.Reserve(8)
					r.mapRange(th, at, 1<<32, page, n, rw)
					if got := r.unmap(th, at, page, n); got != n*page {
						t.Errorf("%v: %d bytes unmapped of %d pages", v, got, n)
					}
					th.Reserve(-8)
				})
				if len(ops) == 0 {
					t.Fatal("nothing emitted")
				}
				if v == kernel.V7_3 && noRange && n >= 512 {
					if len(r.hw.seen) != 1 || r.hw.seen[0].Op() != smmutable.TlbiNHASID {
						t.Errorf("7.3, %d pages without ranges: %d commands, want one for the ASID", n, len(r.hw.seen))
					}
					continue
				}
				named := map[uint64]int{}
				for _, c := range r.hw.seen {
					inv := c.TLBI()
					if c.Op() != smmutable.TlbiNHVA || inv.ASID != r.dom.ASID() || !inv.Leaf {
						t.Fatalf("command %#x", c)
					}
					if !noRange && inv.TTL != 3 {
						t.Errorf("level %d, want 3", inv.TTL)
					}
					for i := range inv.Pages() {
						named[inv.Addr+i*page]++
					}
				}
				for i := range n {
					if named[at+i*page] != 1 {
						t.Fatalf("%v ranges %v, %d pages: page %d named %d times", v, !noRange, n, i, named[at+i*page])
					}
				}
				want := n
				if !noRange {
					want = rangeCommands(n)
				}
				if uint64(len(named)) != n || uint64(len(r.hw.seen)) != want || r.hw.syncs != 1 {
					t.Errorf("%v ranges %v, %d pages: %d named by %d commands (want %d), %d CMD_SYNC", v, !noRange, n, len(named), len(r.hw.seen), want, r.hw.syncs)
				}
			}
		}
	}
}

// rangeCommands counts the commands of n pages: one per run of up to five bits from the lowest one on.
func rangeCommands(n uint64) (k uint64) {
	for n > 0 {
		for n&1 == 0 {
			n >>= 1
		}
		n = n &^ 31
		k++
	}
	return k
}

// Lazy mode flushes a domain with one command for its ASID.
func TestFlushAllNamesTheASID(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, features{})
		recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) { r.dom.FlushAll(th, 0) })
		want := smmutable.ASIDCommand(smmutable.TlbiNHASID, 0, r.dom.ASID())
		if len(r.hw.seen) != 1 || r.hw.seen[0] != want || r.hw.syncs != 1 {
			t.Errorf("%v: %#x and %d CMD_SYNC, want %#x and one", v, r.hw.seen, r.hw.syncs, want)
		}
	}
}

// A CMD_SYNC is seen at the first look after its completion: by register reads that take 3 ns, by message in the instant of the write.
func TestSyncEndsWhenTheHardwareIsDone(t *testing.T) {
	for _, v := range versions {
		for _, msi := range []bool{false, true} {
			r := newRig(t, v, features{msi: msi})
			r.hw.perCmd, r.hw.read = 50*sim.Nanosecond, 3*sim.Nanosecond
			var complete, back sim.Time
			r.hw.doneSync = func(uint32) { complete = r.hw.eng.Now() }
			e := sim.NewEngine()
			r.hw.eng, r.hw.step = e, e.Register("smmu command", r.hw.onStep)
			e.Go("cpu", func(p *sim.Proc) {
				s := cpu.NewStream(kernelStack(0), cpu.MitNone)
				s.ISA = cpu.A64
				r.issue(cpu.NewThread(p, 0, nil, s), []smmutable.Command{smmutable.TLBI{Addr: 1 << 12}.Command(smmutable.TlbiNHVA)}, true)
				back = p.Now()
			})
			if err := e.Run(sim.Never); err != nil {
				t.Fatal(err)
			}
			e.Close()
			late := back - complete
			if complete != 100*sim.Nanosecond || late < 0 || msi && late != 0 || !msi && late > sim.Microsecond+3*sim.Nanosecond {
				t.Errorf("%v msi %v: complete at %v, seen %v later", v, msi, complete, late)
			}
		}
	}
}

// Two pages apart, or of two sizes, are two invalidations: the gather synchronises when it cannot merge.
func TestGatherSyncsWhatItCannotMerge(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, features{})
		recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) {
			th.Reserve(8)
			for _, p := range []uint64{0x10000, 0x20000, 0x21000} {
				r.mapRange(th, p, 1<<32, page, 1, rw)
			}
			r.mapRange(th, block, 1<<32, block, 1, rw)
			var g iommucore.Gather
			th.Reserve(64)
			g.Init(th.SP() + 8)
			r.dom.UnmapPages(th, 0, 0x10000, page, 1, &g)
			r.dom.UnmapPages(th, 0, 0x20000, page, 1, &g)
			r.dom.UnmapPages(th, 0, 0x21000, page, 1, &g)
			r.dom.UnmapPages(th, 0, block, block, 1, &g)
			r.dom.SyncTLB(th, 0, &g)
			th.Reserve(-72)
		})
		type inv struct{ at, pages, level uint64 }
		want := []inv{{0x10000, 1, 3}, {0x20000, 2, 3}, {block, 512, 2}}
		if len(r.hw.seen) != len(want) || r.hw.syncs != len(want) {
			t.Fatalf("%v: %d commands, %d CMD_SYNC, want %d of each", v, len(r.hw.seen), r.hw.syncs, len(want))
		}
		for i, c := range r.hw.seen {
			if got := (inv{c.TLBI().Addr, c.TLBI().Pages(), uint64(c.TLBI().TTL)}); got != want[i] {
				t.Errorf("%v: %+v, want %+v", v, got, want[i])
			}
		}
	}
}
