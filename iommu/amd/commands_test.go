package amd

import (
	"testing"

	"dmapath/iommu/amdtable"
	"dmapath/iommu/rig"
	"dmapath/sim"
)

// A strict unmap's invalidation, step by step: tail write, fetch, decode, invalidate, drain, store. The value is not there a
// picosecond earlier.
func TestCommandsTakeTheSumOfTheirSteps(t *testing.T) {
	cfg := plain()
	cfg.RegWrite = 60 * ns
	cfg.FetchOverhead, cfg.DecodeTime, cfg.PageInvTime, cfg.SweepTime, cfg.DrainTime, cfg.StoreTime, cfg.DeviceInvTime, cfg.InterruptTime = 24, 8, 11, 77, 64, 32, 5, 9
	cfg.DeviceTLBTime = 900 * ns
	start := 60*ns + (100+24)*ns + 8*ns
	end := 32 * ns
	interrupt := amdtable.Command{Op: amdtable.InvalidateInterruptTab}
	for _, c := range []struct {
		name string
		cmds []amdtable.Command
		want sim.Time
	}{
		{"wait alone", nil, start + end},
		{"page", []amdtable.Command{pages(0x1000, 12, false)}, start + 11*ns + 64*ns + end},
		{"domain", []amdtable.Command{pages(0, 64, true)}, start + 77*ns + 64*ns + end},
		{"everything", []amdtable.Command{{Op: amdtable.InvalidateIOMMUAll}}, start + 77*ns + 64*ns + end},
		{"device entry", []amdtable.Command{{Op: amdtable.InvalidateDevtabEntry, Device: rid}}, start + 5*ns + 64*ns + end},
		{"interrupt table", []amdtable.Command{interrupt}, start + 9*ns + 8*ns + end},
		{"device TLB", []amdtable.Command{{Op: amdtable.InvalidateIOTLBPages, Device: rid, Shift: 12}}, start + 900*ns + 8*ns + end},
		{"prefetch", []amdtable.Command{{Op: amdtable.PrefetchIOMMUPages}}, start + 8*ns + end},
		// The drain of the first overlaps with the second: 8 + 11 of it do.
		{"two pages", []amdtable.Command{pages(0x1000, 12, false), pages(0x9000, 12, false)}, start + 11*ns + 8*ns + 11*ns + 64*ns + end},
		// Five commands are on two cache lines.
		{"four interrupt tables", []amdtable.Command{interrupt, interrupt, interrupt, interrupt}, start + 4*(9+8)*ns + 124*ns + end},
	} {
		m := newMachine(t, cfg, 4)
		from := m.Eng.Now()
		want := m.submit(c.cmds...)
		m.RunTo(from + c.want - 1)
		if m.stored() == want {
			t.Errorf("%s: complete before %v", c.name, c.want)
		}
		m.RunTo(from + c.want)
		if m.stored() != want {
			t.Errorf("%s: not complete at %v", c.name, c.want)
		}
	}
}

func TestInvalidationRemovesExactlyTheCoveredPages(t *testing.T) {
	for _, c := range []struct {
		addr        uint64
		shift       uint8
		first, last uint64 // pages that go
	}{
		{0x20000, 12, 0x20, 0x20}, {0x20000, 15, 0x20, 0x27}, {0x24000, 15, 0x20, 0x27}, {0x3f000, 17, 0x20, 0x3f}, {0, 30, 0, 0x3f}, {0x21000, 13, 0x20, 0x21}, {0, 64, 0, 0x3f},
	} {
		m := newMachine(t, plain(), 4)
		for p := range uint64(64) {
			m.mapPage(p<<12, p<<12|1<<40, 12)
			m.translate(p << 12)
		}
		m.Settle()
		m.invalidate(pages(c.addr, c.shift, false))
		for p := range uint64(64) {
			walks := m.u.Stats.Walks
			m.translate(p << 12)
			if gone := m.u.Stats.Walks > walks; gone != (p >= c.first && p <= c.last) {
				t.Errorf("addr %#x shift %d: page %#x gone is %v", c.addr, c.shift, p, gone)
			}
			m.Settle()
		}
	}
}

func TestALargePageGoesWithAnyOfItsBytes(t *testing.T) {
	m := newMachine(t, plain(), 4)
	for shift := uint8(12); shift < 36; shift++ {
		m.mapPage(uint64(shift)<<36, 1<<40, shift)
		m.translate(uint64(shift) << 36)
		m.Settle()
		m.invalidate(pages(uint64(shift)<<36|(1<<shift-1)&^0xfff, 12, false))
		walks := m.u.Stats.Walks
		if m.translate(uint64(shift) << 36); m.u.Stats.Walks != walks+1 {
			t.Errorf("page of 2^%d stays", shift)
		}
		m.Settle()
	}
}

// Without PDE the page directories stay cached; the bit is what 6.12 always sets.
func TestPDEDropsPageDirectories(t *testing.T) {
	for _, shift := range []uint8{12, 64} {
		for _, pde := range []bool{true, false} {
			m := newMachine(t, plain(), 4)
			m.mapPage(0x1000, 0x5000, 12)
			m.translate(0x1000)
			m.Settle()
			m.invalidate(pages(0x1000, shift, pde))
			reads := sim.Time(1)
			if pde {
				reads = 4
			}
			if _, took := m.translate(0x1000); took != 2*ns+7*ns+reads*120*ns+3*ns {
				t.Errorf("shift %d, PDE %v: walk takes %v", shift, pde, took)
			}
		}
	}
}

func TestInvalidationIsByDomain(t *testing.T) {
	m := newMachine(t, plain(), 4)
	d := m.entry()
	d.Domain++
	m.setDevice(rid+1, d)
	d.Domain = domain
	m.setDevice(rid+2, d)
	m.mapPage(0x1000, 0x5000, 12)
	walks := func(who uint16) uint64 {
		n := m.u.Stats.Walks
		if _, _, err := m.u.Translate(who, 0x1000, true, m.Eng.Now()); err != nil {
			t.Fatal(err)
		}
		m.Settle()
		return m.u.Stats.Walks - n
	}
	if walks(rid) != 1 || walks(rid+1) != 1 || walks(rid+2) != 0 {
		t.Error("devices of a domain share translations, of two domains do not")
	}
	m.invalidate(pages(0x1000, 12, true))
	if walks(rid+1) != 0 || walks(rid) != 1 {
		t.Error("the invalidation of a domain dropped another's translation, or not its own")
	}
}

func TestDeviceEntriesStayCachedUntilInvalidated(t *testing.T) {
	for _, c := range []struct {
		name string
		cmd  amdtable.Command
		gone bool
	}{
		{"device", amdtable.Command{Op: amdtable.InvalidateDevtabEntry, Device: rid}, true},
		{"another device", amdtable.Command{Op: amdtable.InvalidateDevtabEntry, Device: rid + 1}, false},
		{"pages of the domain", pages(0, 64, true), false},
		{"everything", amdtable.Command{Op: amdtable.InvalidateIOMMUAll}, true},
	} {
		m := newMachine(t, plain(), 4)
		m.mapPage(0x1000, 0x5000, 12)
		m.translate(0x1000)
		m.Settle()
		m.setDevice(rid, amdtable.DTE{Valid: true})
		m.invalidate(c.cmd)
		_, _, err := m.u.Translate(rid, 0x1000, true, m.Eng.Now())
		if (err != nil) != c.gone {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestCompletionWaitWaitsForWalksAndRequestsInFlight(t *testing.T) {
	for _, since := range []sim.Time{0, sim.Second} {
		m := newMachine(t, plain(), 4)
		until := m.Eng.Now() + 50*sim.Microsecond
		m.u.Drain(rig.Port{Since: since, Until: until})
		want := m.submit(pages(0x1000, 12, false))
		m.RunTo(until - 1)
		if done := m.stored() == want; done != (since > 0) {
			t.Errorf("request from %v until %v: invalidation complete before is %v", since, until, done)
		}
		m.Run()
		if m.stored() != want {
			t.Error("never complete")
		}
	}
	m := newMachine(t, plain(), 5)
	m.Fab.Read = 10 * sim.Microsecond
	m.mapPage(0x1000, 0x5000, 12)
	_, took := m.translate(0x1000) // device entry and five levels: 60 microseconds
	m.Fab.Read = 10 * ns
	from := m.Eng.Now()
	want := m.submit(pages(0x1000, 12, false))
	m.RunTo(from + took - 1)
	if m.stored() == want {
		t.Error("invalidation complete while the walk was in flight")
	}
	m.Run()
}

func TestFlushBitAndInterrupt(t *testing.T) {
	for _, flush := range []bool{false, true} {
		cfg := plain()
		cfg.StoreTime = 5000
		m := newMachine(t, cfg, 4)
		m.put(amdtable.Command{Op: amdtable.CompletionWait, Store: semaphore + 8, Data: 9, Flush: flush, Interrupt: true}.Encode())
		from := m.Eng.Now()
		m.submit()
		if m.read(amdtable.RegStatus)&amdtable.StatusComWaitInt != 0 {
			t.Error("interrupt before completion")
		}
		m.RunTo(from + 6*sim.Microsecond)
		if first, second := m.Mem.Read64(semaphore+8) == 9, m.stored() == 1; !first || second == flush {
			t.Errorf("flush %v: first done %v, second done %v after one store time", flush, first, second)
		}
		if m.read(amdtable.RegStatus)&amdtable.StatusComWaitInt == 0 {
			t.Error("no interrupt")
		}
		m.Run()
		if m.stored() != 1 {
			t.Error("second wait never complete")
		}
	}
}

// What lies behind the tail is not fetched with the line: a command that comes while the unit is at work on the same line is read when
// its turn comes.
func TestCommandsBehindTheTailAreFetchedLater(t *testing.T) {
	cfg := plain()
	cfg.PageInvTime = 1000
	m := newMachine(t, cfg, 4)
	m.put(pages(0x1000, 12, false).Encode())
	m.write(amdtable.RegCmdTail, m.tail)
	m.RunTo(m.Eng.Now() + 500*ns)
	m.submit()
	m.Run()
	if m.u.Stats.DescFetches != 2 || m.stored() != 1 {
		t.Errorf("%d fetches, %d stored", m.u.Stats.DescFetches, m.stored())
	}
}

func TestHeadFollowsAndWraps(t *testing.T) {
	m := newMachine(t, plain(), 4)
	for range 1200 { // the buffer has 512 commands
		m.invalidate(pages(0x1000, 12, false))
		if h := m.read(amdtable.RegCmdHead); h != m.tail || m.u.QueueDepth() != 0 {
			t.Fatalf("head %#x, tail %#x, depth %d", h, m.tail, m.u.QueueDepth())
		}
	}
}

func TestAnIllegalCommandStopsTheBuffer(t *testing.T) {
	m := newMachine(t, plain(), 4)
	m.put([2]uint64{15 << 60, 0})
	want := m.submit()
	m.Run()
	if m.read(amdtable.RegStatus)&amdtable.StatusCmdBufRun != 0 || m.read(amdtable.RegCmdHead) != 0 || m.stored() == want {
		t.Errorf("status %#x, head %d", m.read(amdtable.RegStatus), m.read(amdtable.RegCmdHead))
	}
	if e := amdtable.DecodeEvent([2]uint64{m.Mem.Read64(logBase), m.Mem.Read64(logBase + 8)}); e.Code != amdtable.IllegalCommandError || e.Addr != cmdBase {
		t.Errorf("logged %+v", e)
	}
	// Like Linux, start the buffer again, empty.
	c := m.read(amdtable.RegControl)
	m.write(amdtable.RegControl, c&^amdtable.ControlCmdBufEn)
	m.write(amdtable.RegCmdHead, 0)
	m.write(amdtable.RegCmdTail, 0)
	m.Run()
	m.tail = 0
	m.write(amdtable.RegControl, c)
	m.invalidate(pages(0x1000, 12, true))
}

// The slow twin of the whole unit, with pages of 4 KiB to 64 KiB and invalidations with and without PDE.
func TestNoStaleTranslationAfterInvalidationAndNoneLostBefore(t *testing.T) {
	stale := 0
	for seed := range uint64(10) {
		cfg := plain()
		cfg.IOTLB.Entries, cfg.IOTLB.Ways = 16<<(seed%3), 4
		m := newMachine(t, cfg, 3+int(seed%3))
		rng := sim.NewRand(seed, "sizes")
		iova := func(page int) uint64 { return uint64(page/16)<<30 | uint64(page/4%4)<<21 | uint64(page%4)<<16 }
		w := rig.Twin{Groups: 12,
			Map:   func(page int, pa uint64) { m.mapPage(iova(page), pa, uint8(12+rng.IntN(5))) },
			Unmap: func(page int) { m.b.Unmap(iova(page)) },
			Submit: func(first, last int, all bool) func() bool {
				c := pages(iova(first), 16, rng.IntN(2) == 0)
				switch {
				case all:
					c.Addr, c.Shift = 0, 64
				case last > first:
					c.Shift = 18
				}
				seq := m.submit(c)
				return func() bool { return m.stored() >= seq }
			},
			Translate: func(page int) (uint64, error) {
				pa, _, err := m.u.Translate(rid, iova(page)+8, true, m.Eng.Now())
				return pa, err
			}}
		stale += w.Run(m.Rig, seed, 4000)
	}
	if stale == 0 {
		t.Error("no stale translation was ever seen before its invalidation: the test shows nothing")
	}
}

// Nothing that software puts into the buffer may stop the model.
func FuzzCommands(f *testing.F) {
	f.Add(uint64(3<<60), uint64(0x1000), uint64(1<<60|1), uint64(0))
	f.Fuzz(func(t *testing.T, a, b, c, d uint64) {
		m := newMachine(t, plain(), 4)
		m.mapPage(0x1000, 0x5000, 12)
		m.translate(0x1000)
		m.put([2]uint64{a, b})
		m.put([2]uint64{c, d})
		want := m.submit()
		m.Run()
		if m.stored() != want && m.read(amdtable.RegStatus)&amdtable.StatusCmdBufRun != 0 && a>>60 != 1 && c>>60 != 1 {
			t.Fatalf("buffer stands still at %d without an error", m.read(amdtable.RegCmdHead))
		}
	})
}

func BenchmarkInvalidate(b *testing.B) {
	m := newMachine(b, DefaultConfig(), 4)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.submit(pages(1<<30+uint64(i&15)<<12, 12, true))
		m.Run()
	}
}
