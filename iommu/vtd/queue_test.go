package vtd

import (
	"math/rand/v2"
	"testing"

	"dmapath/iommu/table"
	"dmapath/sim"
)

// A strict unmap's invalidation, step by step: tail write, fetch, decode, invalidate, drain, decode of the wait, status. The status is
// not there a picosecond earlier.
func TestInvalidationTakesTheSumOfItsSteps(t *testing.T) {
	cfg := plain()
	cfg.RegWrite = 60 * ns
	cfg.FetchOverhead, cfg.DecodeTime, cfg.IOTLBPageTime, cfg.IOTLBGlobalTime, cfg.DrainTime, cfg.StatusTime, cfg.ContextInvTime, cfg.InterruptInvTime = 24, 8, 11, 77, 64, 32, 5, 9
	cfg.DeviceTLBTime = 900 * ns
	fetch := (100 + 24) * ns
	for _, c := range []struct {
		name string
		desc [][2]uint64
		want sim.Time
	}{
		{"wait alone", nil, 60*ns + fetch + 8*ns + 32*ns},
		{"page", [][2]uint64{pages(0x1000, 0, true)}, 60*ns + fetch + 8*ns + 11*ns + 64*ns + 32*ns},
		{"domain", [][2]uint64{d(IOTLBDesc(GranDomain, domain, 0, 0, false))}, 60*ns + fetch + 8*ns + 77*ns + 64*ns + 32*ns},
		{"context", [][2]uint64{d(ContextDesc(GranDevice, domain, rid, 0))}, 60*ns + fetch + 8*ns + 5*ns + 8*ns + 32*ns},
		{"interrupt entry", [][2]uint64{{DescInterrupt, 0}}, 60*ns + fetch + 8*ns + 9*ns + 8*ns + 32*ns},
		{"device TLB", [][2]uint64{{DescDeviceTLB, 0}}, 60*ns + fetch + 8*ns + 900*ns + 8*ns + 32*ns},
		// The drain of the first overlaps with the second: 8 + 11 of it do.
		{"two pages", [][2]uint64{pages(0x1000, 0, true), pages(0x9000, 0, true)}, 60*ns + fetch + 2*(8+11)*ns + 64*ns + 32*ns},
		// Five descriptors are on two cache lines.
		{"four contexts", [][2]uint64{{DescInterrupt, 0}, {DescInterrupt, 0}, {DescInterrupt, 0}, {DescInterrupt, 0}},
			60*ns + 2*fetch + 4*(8+9)*ns + 8*ns + 32*ns},
	} {
		r := newRig(t, cfg, 4)
		start := r.eng.Now()
		want := r.submit(c.desc...)
		r.runTo(start + c.want - 1)
		if r.status() == want {
			t.Errorf("%s: complete before %v", c.name, c.want)
		}
		r.runTo(start + c.want)
		if r.status() != want {
			t.Errorf("%s: not complete at %v", c.name, c.want)
		}
	}
}

func TestInvalidationByMaskRemovesExactlyTheCoveredPages(t *testing.T) {
	for _, c := range []struct {
		addr        uint64
		am          uint8
		first, last uint64 // pages that go
	}{
		{0x20000, 0, 0x20, 0x20}, {0x20000, 3, 0x20, 0x27}, {0x24000, 3, 0x20, 0x27}, {0x3f000, 5, 0x20, 0x3f}, {0, 18, 0, 0x3f}, {0x21000, 1, 0x20, 0x21},
	} {
		r := newRig(t, plain(), 4)
		for p := range uint64(64) {
			r.mapPage(p<<12, p<<12|1<<40, 12)
			r.translate(p << 12)
		}
		r.settle()
		r.invalidate(pages(c.addr, c.am, true))
		for p := range uint64(64) {
			walks := r.v.Stats.Walks
			r.translate(p << 12)
			if gone := r.v.Stats.Walks > walks; gone != (p >= c.first && p <= c.last) {
				t.Errorf("addr %#x mask %d: page %#x gone is %v", c.addr, c.am, p, gone)
			}
			r.settle()
		}
	}
}

func TestSuperpagesGoWithAnyOfTheirPages(t *testing.T) {
	r := newRig(t, plain(), 4)
	r.mapPage(1<<30, 1<<40, 30)
	r.mapPage(4<<21, 1<<21, 21)
	r.translate(1 << 30)
	r.translate(4 << 21)
	r.settle()
	r.invalidate(pages(1<<30+12345<<12, 0, true))
	walks := r.v.Stats.Walks
	r.translate(1 << 30)
	r.translate(4 << 21)
	if got := r.v.Stats.Walks - walks; got != 1 {
		t.Errorf("%d walks, want 1: the 1 GiB page went, the 2 MiB page stayed", got)
	}
}

func TestHintKeepsPagingStructureCaches(t *testing.T) {
	for _, hint := range []bool{true, false} {
		r := newRig(t, plain(), 4)
		r.mapPage(0x1000, 0x5000, 12)
		r.translate(0x1000)
		r.settle()
		r.invalidate(pages(0x1000, 0, hint))
		_, took := r.translate(0x1000)
		reads := sim.Time(4)
		if hint {
			reads = 1
		}
		if want := 2*ns + 7*ns + reads*120*ns + 3*ns; took != want {
			t.Errorf("hint %v: walk takes %v, want %v", hint, took, want)
		}
	}
}

func TestInvalidationIsByDomainAndPASID(t *testing.T) {
	r := newRig(t, plain(), 4)
	other := rid + 1
	r.setContext(other, table.Context{Present: true, Root: r.b.Root, Levels: 4, Domain: domain + 1})
	r.mapPage(0x1000, 0x5000, 12)
	ask := func(who uint16) bool { // whether it needed a walk
		n := r.v.Stats.Walks
		if _, _, err := r.v.Translate(who, 0x1000, true, r.eng.Now()); err != nil {
			t.Fatal(err)
		}
		r.settle()
		return r.v.Stats.Walks > n
	}
	fill := func() { ask(rid); ask(other) }
	for _, c := range []struct {
		name     string
		desc     [2]uint64
		own, oth bool
	}{
		{"domain", d(IOTLBDesc(GranDomain, domain, 0, 0, false)), true, false},
		{"page of the other domain", d(IOTLBDesc(GranPage, domain+1, 0x1000, 0, true)), false, true},
		{"global", d(IOTLBDesc(GranGlobal, 0, 0, 0, false)), true, true},
		{"unknown domain", d(IOTLBDesc(GranDomain, 99, 0, 0, false)), false, false},
		{"PASID of a domain without", d(PASIDTLBDesc(GranPASIDAll, domain, 0, 0, 0, false)), false, false},
	} {
		fill()
		r.invalidate(c.desc)
		if a, b := ask(rid), ask(other); a != c.own || b != c.oth {
			t.Errorf("%s: own %v, other %v, want %v %v", c.name, a, b, c.own, c.oth)
		}
	}
	s := newScalableRig(t, plain(), table.FirstStage, 4)
	s.mapPage(0x1000, 0x5000, 12)
	s.mapPage(0x2000, 0x6000, 12)
	for _, c := range []struct {
		desc  [2]uint64
		walks uint64
	}{
		{d(PASIDTLBDesc(GranPASIDPage, domain, 0, 0x1000, 0, true)), 1}, {d(PASIDTLBDesc(GranPASIDAll, domain, 0, 0, 0, true)), 2},
		{d(PASIDTLBDesc(GranPASIDAll, domain, 7, 0, 0, true)), 0}, {d(IOTLBDesc(GranPage, domain, 0x1000, 0, true)), 0}, {d(IOTLBDesc(GranDomain, domain, 0, 0, true)), 2},
	} {
		s.translate(0x1000)
		s.translate(0x2000)
		s.settle()
		s.invalidate(c.desc)
		n := s.v.Stats.Walks
		s.translate(0x1000)
		s.translate(0x2000)
		s.settle()
		if got := s.v.Stats.Walks - n; got != c.walks {
			t.Errorf("descriptor %x: %d walks, want %d", c.desc, got, c.walks)
		}
	}
}

func TestContextCacheKeepsOldEntriesUntilInvalidated(t *testing.T) {
	for _, c := range []struct {
		name string
		desc [2]uint64
		gone bool
	}{
		{"device", d(ContextDesc(GranDevice, domain, rid, 0)), true},
		{"another device", d(ContextDesc(GranDevice, domain, rid+1, 0)), false},
		{"another function, low bits masked", d(ContextDesc(GranDevice, domain, rid^1, 3)), true},
		{"domain", d(ContextDesc(GranDomain, domain, 0, 0)), true},
		{"another domain", d(ContextDesc(GranDomain, domain+1, 0, 0)), false},
		{"global", d(ContextDesc(GranGlobal, 0, 0, 0)), true},
	} {
		r := newRig(t, plain(), 4)
		r.mapPage(0x1000, 0x5000, 12)
		r.translate(0x1000)
		r.settle()
		r.mem.Write64(table.ContextAddr(ctxTable, rid), 0)
		r.invalidate(c.desc)
		_, _, err := r.v.Translate(rid, 0x1000, true, r.eng.Now())
		if (reason(err) == table.ContextNotPresent) != c.gone {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	s := newScalableRig(t, plain(), table.SecondStage, 4)
	s.mapPage(0x1000, 0x5000, 12)
	for _, c := range []struct {
		desc [2]uint64
		gone bool
	}{
		{d(PASIDDesc(GranPCPASID, domain, 0)), true}, {d(PASIDDesc(GranPCPASID, domain, 1)), false}, {d(PASIDDesc(GranPCDomain, domain, 0)), true},
		{d(PASIDDesc(GranPCDomain, domain+1, 0)), false}, {d(PASIDDesc(GranPCGlobal, 0, 0)), true},
	} {
		s.setPASID(table.PASID{Present: true, Type: table.PGTTSecond, Domain: domain, Second: s.b.Root, Levels: 4})
		s.translate(0x1000)
		s.settle()
		s.mem.Write64(pasidTable, 0)
		s.invalidate(c.desc)
		if _, _, err := s.v.Translate(rid, 0x1000, true, s.eng.Now()); (reason(err) == table.PASIDNotPresent) != c.gone {
			t.Errorf("descriptor %x: %v", c.desc, err)
		}
		s.invalidate(d(PASIDDesc(GranPCGlobal, 0, 0)))
	}
}

// busyPort is a root port with requests in flight until a given time.
type busyPort struct{ since, until sim.Time }

func (p busyPort) Drained(t sim.Time) sim.Time {
	if p.since <= t {
		return p.until
	}
	return 0
}

func TestWaitDescriptorWaitsForWalksAndRequestsInFlight(t *testing.T) {
	for _, since := range []sim.Time{0, sim.Second} {
		r := newRig(t, plain(), 4)
		until := r.eng.Now() + 50*sim.Microsecond
		r.v.Drain(busyPort{since, until})
		want := r.submit(pages(0x1000, 0, true))
		r.runTo(until - 1)
		if done := r.status() == want; done != (since > 0) {
			t.Errorf("request from %v until %v: invalidation complete before is %v", since, until, done)
		}
		r.run()
		if r.status() != want {
			t.Errorf("never complete")
		}
	}
	cfg := plain()
	cfg.RegWrite = 0
	r := newRig(t, cfg, 5)
	r.fab.read = 10 * sim.Microsecond
	r.mapPage(0x1000, 0x5000, 12)
	_, took := r.translate(0x1000) // root, context and five levels: 70 microseconds
	r.fab.read = 10 * ns
	start := r.eng.Now()
	want := r.submit(pages(0x1000, 0, true))
	r.runTo(start + took - 1)
	if r.status() == want {
		t.Error("invalidation complete while the walk was in flight")
	}
	r.run()
	if _, again := r.translate(0x1000); again == 2*ns {
		t.Error("the walk that was in flight filled the IOTLB after all")
	}
}

func TestFenceHoldsUpWhatFollows(t *testing.T) {
	for _, fence := range []bool{false, true} {
		cfg := plain()
		cfg.StatusTime = 5000
		r := newRig(t, cfg, 4)
		r.put(WaitDesc(statusWord+4, 9, fence))
		start := r.eng.Now()
		r.submit()
		r.runTo(start + 6*sim.Microsecond)
		if first, second := r.mem.Read64(statusWord)>>32 == 9, r.status() == 1; !first || second == fence {
			t.Errorf("fence %v: first done %v, second done %v after one status time", fence, first, second)
		}
		r.run()
		if r.status() != 1 {
			t.Error("second wait never complete")
		}
	}
}

func TestHeadFollowsAndWraps(t *testing.T) {
	r := newRig(t, plain(), 4)
	for range 700 { // the queue has 256 descriptors
		r.invalidate(pages(0x1000, 0, true))
		if h := r.read(table.RegIQH); h != r.tail || r.v.QueueDepth() != 0 {
			t.Fatalf("head %#x, tail %#x, depth %d", h, r.tail, r.v.QueueDepth())
		}
	}
}

func TestWideDescriptors(t *testing.T) {
	r := newRig(t, plain(), 4)
	r.write(table.RegGCMD, uint64(CmdTE))
	r.write(table.RegIQA, queueBase|iqaWide|1)
	r.write(table.RegGCMD, uint64(CmdTE|CmdQIE))
	r.mapPage(0x1000, 0x5000, 12)
	r.translate(0x1000)
	r.settle()
	lo, hi := IOTLBDesc(GranGlobal, 0, 0, 0, false)
	r.mem.Write64(queueBase, lo)
	r.mem.Write64(queueBase+8, hi)
	lo, hi = WaitDesc(statusWord, 77, false)
	r.mem.Write64(queueBase+32, lo)
	r.mem.Write64(queueBase+40, hi)
	r.write(table.RegIQT, 64)
	r.run()
	if r.status() != 77 || r.read(table.RegIQH) != 64 {
		t.Errorf("status %d, head %d", r.status(), r.read(table.RegIQH))
	}
	n := r.v.Stats.Walks
	if r.translate(0x1000); r.v.Stats.Walks != n+1 {
		t.Error("translation survived a global invalidation")
	}
}

func TestQueueErrorsStopTheQueueUntilCleared(t *testing.T) {
	for _, c := range []struct {
		name string
		desc [2]uint64
		code uint64
	}{
		{"unknown type", [2]uint64{15, 0}, errType}, {"extended type", [2]uint64{DescIOTLB | 1<<9, 0}, errType}, {"no granularity", [2]uint64{DescIOTLB, 0}, errGran},
		{"mask beyond MAMV", pages(0, 19, false), errAddrMask}, {"status beyond memory", d(WaitDesc(1<<60, 1, false)), errStatusAddr},
	} {
		r := newRig(t, plain(), 4)
		r.put(c.desc[0], c.desc[1])
		want := r.submit()
		r.run()
		if s := uint32(r.read(table.RegFSTS)); s != QueueError || r.read(table.RegIQERCD) != c.code || r.read(table.RegIQH) != 0 || r.status() == want {
			t.Errorf("%s: FSTS %#x, code %d, head %d, status %d", c.name, s, r.read(table.RegIQERCD), r.read(table.RegIQH), r.status())
		}
		// Like Linux, replace the bad descriptor and clear the error.
		lo, hi := WaitDesc(statusWord+4, 1, false)
		r.mem.Write64(queueBase, lo)
		r.mem.Write64(queueBase+8, hi)
		r.write(table.RegFSTS, uint64(QueueError))
		r.run()
		if r.status() != want || r.read(table.RegFSTS) != 0 {
			t.Errorf("%s: status %d, FSTS %#x after recovery", c.name, r.status(), r.read(table.RegFSTS))
		}
	}
	r := newRig(t, plain(), 4)
	r.write(table.RegIQT, 8)
	r.run()
	if r.read(table.RegFSTS)&uint64(QueueError) != 0 && r.read(table.RegIQERCD) != errTail {
		t.Errorf("odd tail: code %d", r.read(table.RegIQERCD))
	}
}

func TestRegisterBasedInvalidation(t *testing.T) {
	r := newRig(t, plain(), 4)
	r.mapPage(0x1000, 0x5000, 12)
	r.mapPage(0x2000, 0x6000, 12)
	r.translate(0x1000)
	r.translate(0x2000)
	r.settle()
	r.write(table.RegIVA, 0x1000)
	r.write(table.RegIOTLB, commandBusy|uint64(GranPage)<<60|uint64(domain)<<32)
	if r.read(table.RegIOTLB)&commandBusy == 0 {
		t.Error("not busy right after the write")
	}
	r.run()
	r.settle()
	if r.read(table.RegIOTLB)&commandBusy != 0 {
		t.Error("busy for ever")
	}
	n := r.v.Stats.Walks
	r.translate(0x1000)
	r.translate(0x2000)
	if got := r.v.Stats.Walks - n; got != 1 {
		t.Errorf("%d walks, want 1", got)
	}
	r.mem.Write64(table.ContextAddr(ctxTable, rid), 0)
	r.write(table.RegCCMD, commandBusy|uint64(GranGlobal)<<61)
	r.run()
	if r.read(table.RegCCMD)&commandBusy != 0 {
		t.Error("context command busy for ever")
	}
	if _, _, err := r.v.Translate(rid, 0x1000, true, r.eng.Now()); reason(err) != table.ContextNotPresent {
		t.Errorf("context still cached: %v", err)
	}
}

// The slow twin of the whole unit: memory, walked functionally, and for every page the translations that may still be cached, because
// they were mapped after the last complete invalidation that covers the page was submitted.
type stale struct {
	pa      uint64
	removed int // operation number
}

func TestNoStaleTranslationAfterInvalidationAndNoneLostBefore(t *testing.T) {
	sawStale := 0
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		cfg := plain()
		cfg.IOTLB.Entries, cfg.IOTLB.Ways = 16<<(seed%3), 4
		r := newRig(t, cfg, 3+int(seed%3))
		const slots = 48
		old := make([][]stale, slots)
		cur := make([]uint64, slots) // 0: not mapped
		next := uint64(1) << 32
		detached := make([]int, slots/4) // operation that detached the table of four slots, -1: no cache knows a detached one
		for g := range detached {
			detached[g] = -1
		}
		type pending struct {
			status      uint32
			first, last int
			op          int
		}
		var waiting []pending
		iova := func(s int) uint64 { return uint64(s/16)<<30 | uint64(s/4%4)<<21 | uint64(s%4)<<12 }
		rules := table.NewRules(table.SecondStage, uint8(cfg.HostWidth), table.Page2M|table.Page1G, true, false)
		for op := range 4000 {
			r.runTo(r.eng.Now() + sim.Time(rng.IntN(300))*ns)
			for len(waiting) > 0 && int32(r.status()-waiting[0].status) >= 0 {
				w := waiting[0]
				waiting = waiting[1:]
				for s := w.first; s <= w.last; s++ {
					keep := old[s][:0]
					for _, o := range old[s] {
						if o.removed > w.op {
							keep = append(keep, o)
						}
					}
					old[s] = keep
					if detached[s/4] <= w.op {
						detached[s/4] = -1
					}
				}
			}
			s := rng.IntN(slots)
			switch rng.IntN(8) {
			case 0: // map, or replace
				if cur[s] != 0 {
					old[s] = append(old[s], stale{cur[s], op})
				}
				cur[s] = next
				r.mapPage(iova(s), next, 12)
				next += 4096
			case 1: // unmap
				if cur[s] != 0 {
					old[s] = append(old[s], stale{cur[s], op})
					cur[s] = 0
					r.b.Unmap(iova(s))
				}
			case 2: // unmap four pages by detaching their table
				g := s &^ 3
				at := walkTo(r, iova(g), 2)
				if at == 0 {
					break
				}
				for i := g; i < g+4; i++ {
					if cur[i] != 0 {
						old[i] = append(old[i], stale{cur[i], op})
						cur[i] = 0
					}
				}
				r.mem.Write64(at, 0)
				detached[g/4] = op
			case 3: // invalidate some pages; not only leaves changed, so without the hint
				if len(waiting) > 20 {
					break
				}
				var w pending
				switch rng.IntN(3) {
				case 0:
					w = pending{r.submit(pages(iova(s), 0, false)), s, s, op}
				case 1:
					w = pending{r.submit(pages(iova(s), 9, false)), s &^ 3, s | 3, op}
				default:
					w = pending{r.submit(d(IOTLBDesc(GranDomain, domain, 0, 0, false))), 0, slots - 1, op}
				}
				waiting = append(waiting, w)
			default: // translate
				now := r.eng.Now()
				got, _, err := r.v.Translate(rid, iova(s)+8, true, now)
				ok := err == nil && cur[s] != 0 && got == cur[s]+8 || err != nil && cur[s] == 0
				for _, o := range old[s] {
					if err == nil && got == o.pa+8 {
						if !ok {
							sawStale++
						}
						ok = true
					}
				}
				// A stale entry of a paging-structure cache may hide a new mapping behind a detached table.
				if err != nil && detached[s/4] >= 0 {
					ok = true
				}
				if !ok {
					t.Fatalf("seed %d op %d: iova %#x became %#x (%v); mapped to %#x, stale %v", seed, op, iova(s), got, err, cur[s], old[s])
				}
				if tr, why := table.Walk(r.mem, &rules, r.b.Root, r.b.Levels, iova(s), true); (why == table.NoFault) != (cur[s] != 0) || why == table.NoFault && tr.PA != cur[s] {
					t.Fatalf("the test's own record is wrong: %v %+v", why, tr)
				}
			}
		}
	}
	if sawStale == 0 {
		t.Error("no stale translation was ever seen before its invalidation: the test shows nothing")
	}
}

// walkTo returns the address of the entry of the level that iova goes through, 0 if it is not present.
func walkTo(r *rig, iova uint64, level int) uint64 {
	at := r.b.Root
	for l := r.b.Levels; ; l-- {
		e := table.EntryAddr(at, iova, l)
		pte := r.mem.Read64(e)
		if pte&3 == 0 {
			return 0
		}
		if l == level {
			return e
		}
		at = pte &^ 0xfff & (1<<52 - 1)
	}
}

// The time that commands spend in the queue is counted from the tail write that announced each, not the last one, to the head passing it.
func TestQueueTimeIsFromTheOwnTailWrite(t *testing.T) {
	r := newRig(t, plain(), 4)
	r.v.ResetStats()
	depth := sim.Level{}
	at := r.eng.Now()
	depth.Restart(at)
	look := r.eng.Register("look", func(uint64) {
		depth.Add(r.eng.Now(), int64(r.v.QueueDepth())-depth.Now)
	})
	for i := range 10_000 { // every ns of the time that all commands take
		r.eng.At(at+sim.Time(i)*ns, look, 0)
	}
	for range 3 { // three tail writes before the first command is over
		r.put(IOTLBDesc(GranDomain, domain, 0, 0, false))
		r.submit()
	}
	r.run()
	want := depth.Mean(r.eng.Now()) * float64(r.eng.Now()-at)
	if got := float64(r.v.Stats.QueueTime); r.v.QueueDepth() != 0 || got < want-12*float64(ns) || got > want+12*float64(ns) {
		t.Errorf("%.0f ps in the queue, integral of its length %.0f", got, want)
	}
	if r.v.Stats.TailWrites != 3 || r.v.Stats.QueueTime == 0 {
		t.Errorf("%d tail writes, %v in the queue", r.v.Stats.TailWrites, r.v.Stats.QueueTime)
	}
}
