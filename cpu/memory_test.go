package cpu

import (
	"math/rand/v2"
	"testing"

	"dmapath/cache"
	"dmapath/sim"
)

func TestStoreToLoadForwarding(t *testing.T) {
	for _, forward := range []int{4, 5} {
		r := newRig(t, func(c *Config) { c.Forward = forward })
		got := slope(r, 100, func(n int) {
			v := Val(0)
			for range n { // the value goes through memory and back
				r.Store(data, 0, v)
				v = r.Load(data, 0)
			}
		})
		if got != float64(forward) {
			t.Errorf("%v cycles from store to load, want %d", got, forward)
		}
	}
}

func TestForwardingNeedsOneStoreThatCoversTheLoad(t *testing.T) {
	type access struct {
		off  uint64
		size int
	}
	for _, tc := range []struct {
		name               string
		stores             []access
		load               access
		forwarded, blocked int64
	}{
		{"same bytes", []access{{0, 8}}, access{0, 8}, 1, 0},
		{"part of the store", []access{{0, 8}}, access{4, 2}, 1, 0},
		{"other half of the word", []access{{0, 4}}, access{4, 4}, 0, 0},
		{"two halves", []access{{0, 4}, {4, 4}}, access{0, 8}, 0, 1},
		{"two bytes stored, eight loaded", []access{{0, 1}, {1, 1}}, access{0, 8}, 0, 1},
		{"older store covers, younger overlaps", []access{{0, 8}, {2, 1}}, access{0, 8}, 0, 1},
		{"younger store elsewhere in the word", []access{{0, 4}, {4, 4}}, access{0, 4}, 1, 0},
		{"youngest of two wins", []access{{0, 8}, {0, 8}}, access{0, 8}, 1, 0},
		{"16 bytes cover 8", []access{{0, 16}}, access{8, 8}, 1, 0},
		{"across words", []access{{4, 8}}, access{4, 8}, 1, 0},
		{"across words, half stored", []access{{8, 8}}, access{4, 8}, 0, 1},
		{"next word", []access{{0, 8}}, access{8, 8}, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.Load(data, 0)
			r.run()
			for _, s := range tc.stores {
				r.Mem(Store, data+s.off, s.size, 0, 0)
			}
			r.Mem(Load, data+tc.load.off, tc.load.size, 0, 0)
			r.run()
			if f := r.acct.Total(); f.Forwarded != tc.forwarded || f.Blocked != tc.blocked {
				t.Errorf("%d forwarded, %d blocked, want %d, %d", f.Forwarded, f.Blocked, tc.forwarded, tc.blocked)
			}
		})
	}
}

func TestBlockedLoadWaitsForTheStoreToReachL1(t *testing.T) {
	cost := func(size int) int64 {
		r := newRig(t)
		return r.cost(func() {
			r.Mem(Store, data, 1, 0, 0)
			r.Mem(Store, data, size, 0, 0)
			r.Chain(40, r.Mem(Load, data, 8, 0, 0))
		})
	}
	// The store retires in cycle 2 at the earliest and is in L1 a cycle later; then two extra cycles and the L1 latency.
	if forwarded, blocked := cost(8), cost(4); blocked < forwarded+3 || blocked > forwarded+12 {
		t.Errorf("%d cycles when forwarded, %d when blocked; the dossier infers 10 to 15 more in all", forwarded, blocked)
	}
}

// The store buffer search agrees with a list walked from the youngest store to the oldest.
func TestStoreBufferAgreesWithAList(t *testing.T) {
	type st struct {
		addr, end    uint64
		data, commit int64
	}
	var b storeBuffer
	b.init()
	var list []st
	rnd := rand.New(rand.NewPCG(1, 1))
	commit := int64(0)
	for step := range 100_000 {
		now := commit - 20 + rnd.Int64N(40)
		addr, size := 0x1000+rnd.Uint64N(64), uint32(1)<<rnd.IntN(5)
		if rnd.IntN(2) == 0 {
			commit += rnd.Int64N(3)
			s := st{addr, addr + uint64(size), commit - rnd.Int64N(10), commit}
			b.add(addr, size, s.data, s.commit)
			list = append(list, s)
			continue
		}
		var when int64
		var hit, blocked bool
		end := addr + uint64(size)
		for i := len(list) - 1; i >= 0 && list[i].commit > now; i-- {
			if s := list[i]; s.addr < end && addr < s.end {
				if s.addr <= addr && end <= s.end {
					hit, when = true, s.data
				} else {
					blocked, when = true, s.commit
				}
				break
			}
		}
		gw, gh, gb := b.find(addr, size, now)
		if gh != hit || gb != blocked || gw != when {
			t.Fatalf("step %d: load of %d at %#x: %d,%v,%v, want %d,%v,%v", step, size, addr, gw, gh, gb, when, hit, blocked)
		}
		if (hit || blocked) && size <= 8 && addr&7+uint64(size) <= 8 && !b.pending(addr, now) {
			t.Fatalf("step %d: the filter hides a pending store", step)
		}
	}
}

// Stores retire long before a miss delivers their line; the one that finds the queue full waits for it.
func TestFullStoreQueueStallsDispatch(t *testing.T) {
	time := func(hits int) (int64, int64) {
		r := newRig(t)
		r.still(200, func(int) { r.Mem(Store, data, 8, 0, 0) })
		r.run()
		r.idle()
		r.pc = 0x40
		r.Store(data+7<<20, 0, 0) // misses everything
		r.still(hits, func(int) { r.Store(data, 0, 0) })
		before := r.acct.Total().Stall[StallStore]
		return r.run(), r.acct.Total().Stall[StallStore] - before
	}
	fits, none := time(71)
	full, stalled := time(72)
	if fits > 60 || none != 0 {
		t.Errorf("a miss and 71 hits in a queue of 72: %d cycles, %d stalled", fits, none)
	}
	if full < 200 || stalled < 100 {
		t.Errorf("a miss and 72 hits in a queue of 72: %d cycles, %d stalled; the miss should be waited for", full, stalled)
	}
}

func TestStoresReachL1InOrderUnlessWeak(t *testing.T) {
	for _, weak := range []bool{false, true} {
		r := newRig(t, func(c *Config) { c.WeakStores = weak })
		r.Store(data, 0, 0)
		r.run()
		r.idle()
		r.Store(data+9<<20, 0, 0)
		r.Store(data, 0, 0)
		r.run()
		b := &r.c.lsq
		miss, hit := b.nodes[(b.n-2)&nodeMask].commit, b.nodes[(b.n-1)&nodeMask].commit
		if weak == (hit > miss) {
			t.Errorf("weak %v: the hit is in L1 in cycle %d, the older miss in %d", weak, hit, miss)
		}
		if d := r.c.clock.FloorCycle(r.c.Drained()); d < miss {
			t.Errorf("weak %v: drained in cycle %d, before the miss of %d", weak, d, miss)
		}
	}
}

func TestFencesWait(t *testing.T) {
	for _, tc := range []struct {
		name  string
		first Class // misses to memory
		fence func(r *rig)
		waits bool // younger loads wait for it
	}{
		{"no fence, store", Store, func(r *rig) {}, false},
		{"mfence waits for stores", Store, func(r *rig) { r.Op(Fence, 0) }, true},
		{"locked add waits for stores", Store, func(r *rig) { r.FenceLockAdd() }, true},
		{"atomic waits for stores", Store, func(r *rig) { r.Atomic(data+64, 0, 0) }, true},
		{"lfence does not wait for stores", Store, func(r *rig) { r.emit(Fence, 0, 0, 0, 0, Serialize) }, false},
		{"lfence waits for loads", Load, func(r *rig) { r.emit(Fence, 0, 0, 0, 0, Serialize) }, true},
		{"read of a register waits for stores", Store, func(r *rig) { r.Mem(MMIORead, MMIOBase, 4, 0, 0) }, true},
		{"flush and mfence wait for the flush", Flush, func(r *rig) { r.Op(Fence, 0) }, true},
		{"flush alone does not wait", Flush, func(r *rig) {}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			far := uint64(data + 3<<20)
			for i := range 2 {
				r.idle()
				r.pc = 0x40
				r.Mem(tc.first, far+uint64(i)<<20, 8, 0, 0)
				tc.fence(r)
				r.Chain(3, r.Load(data, 0))
				if i == 0 {
					r.run()
				}
			}
			last := r.c.seq + int64(len(r.Ops)) - 3 // the load
			start := r.c.clock.CeilCycle(r.now)
			r.run()
			took := r.c.done[last&ringMask] - start
			if waits := took > 150; tc.first != Flush && waits != tc.waits {
				t.Errorf("the load behind completes after %d cycles", took)
			}
			if tc.first == Flush && (took > 40) != tc.waits {
				t.Errorf("the load behind completes after %d cycles", took)
			}
		})
	}
}

func TestStringSpeed(t *testing.T) {
	per := func(tune func(*Config), size int, flag Flag) float64 {
		r := newRig(t, tune)
		op := func(n int) {
			if flag == Copy {
				r.StringCopy(data, data+8192, n, 0, 0)
			} else {
				r.StringSet(data, n, 0)
			}
			r.Op(Fence, 0)
		}
		one := r.cost(func() { op(size) })
		two := r.cost(func() { op(2 * size) })
		return float64(two-one) / float64(size)
	}
	for _, width := range []int{8, 32} {
		tune := func(c *Config) { c.StringBytes = width }
		if got := per(tune, 2048, 0); got != 1/float64(width) {
			t.Errorf("rep stos at %d bytes per cycle: %v cycles per byte", width, got)
		}
		if got := per(tune, 2048, Copy); got != 1/float64(width) {
			t.Errorf("rep movs at %d bytes per cycle: %v cycles per byte", width, got)
		}
	}
	r := newRig(t)
	start := r.cost(func() { r.StringSet(data, 8, 0) })
	r2 := newRig(t, func(c *Config) { c.StringStart += 10 })
	if later := r2.cost(func() { r2.StringSet(data, 8, 0) }); later != start+10 {
		t.Errorf("10 more cycles of start-up make %d of %d", later, start)
	}
}

func TestLoadBehindAStringWaitsForIt(t *testing.T) {
	r := newRig(t)
	inside := r.cost(func() { r.StringSet(data, 64, 0); r.Chain(50, r.Load(data+32, 0)) })
	r = newRig(t)
	outside := r.cost(func() { r.StringSet(data, 64, 0); r.Chain(50, r.Load(data+64, 0)) })
	if inside < outside+20 {
		t.Errorf("%d cycles when the load reads what the string wrote, %d when not", inside, outside)
	}
}

func TestFlushRemovesTheLineUnlessItKeepsIt(t *testing.T) {
	for _, keep := range []bool{false, true} {
		r := newRig(t)
		r.Store(data, 0, 0)
		r.run()
		r.idle()
		how := Discard
		if keep {
			how = KeepLine
		}
		r.FlushLine(data, how, 0)
		r.run()
		if wrote := r.h.Stats().DRAM.Writes; wrote != 0 != keep {
			t.Errorf("keep %v: %d lines written back", keep, wrote)
		}
		r.idle()
		before := r.acct.Total().Level
		r.Load(data, 0)
		r.run()
		after := r.acct.Total().Level
		if l1 := after[cache.L1] > before[cache.L1]; l1 != keep {
			t.Errorf("keep %v: the next load hits L1: %v", keep, l1)
		}
	}
}

func TestOrderedFlushesFollowEachOther(t *testing.T) {
	time := func(ordered bool) sim.Time {
		r := newRig(t, func(c *Config) { c.FlushOrdered = ordered })
		for i := range 16 {
			r.Store(data+uint64(i)*64, 0, 0)
		}
		r.run()
		r.idle()
		for i := range 16 {
			r.Mem(Flush, data+uint64(i)*64, 64, 0, 0)
		}
		start := r.now
		r.run()
		return r.c.Drained() - start
	}
	if o, u := time(true), time(false); o < 4*u {
		t.Errorf("16 clflush take %v, 16 clflushopt %v", o, u)
	}
}

func TestPageWalksReadAsManyEntriesAsThePageSizeNeeds(t *testing.T) {
	for _, tc := range []struct {
		name string
		base uint64
		page uint64
		// walks of a further page: the walk caches know all but the last entry
		first, next uint64
	}{
		{"4 KiB", PerCPUBase + 32<<20, 1 << 12, 4, 1},
		{"2 MiB", VmemmapBase, 2 << 20, 3, 1},
		{"1 GiB", DirectMapBase + 8<<30, 1 << 30, 2, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			reads := func(va uint64) uint64 {
				var before, after uint64
				count := func() uint64 {
					s := r.h.Stats().L1D
					return s.Accesses
				}
				before = count()
				r.c.pageWalk(va, 0, r.c.sp.Find(va).PageShift, 0)
				after = count()
				return after - before
			}
			if got := reads(tc.base); got != tc.first {
				t.Errorf("first walk reads %d entries, want %d", got, tc.first)
			}
			if got := reads(tc.base + tc.page); got != tc.next {
				t.Errorf("walk of the next page reads %d entries, want %d", got, tc.next)
			}
		})
	}
}

func TestTranslationMissesAreCountedAndPaid(t *testing.T) {
	r := newRig(t)
	pages := func(n int) func() {
		return func() {
			v := Val(0)
			for i := range n { // lines of different sets, one page each
				v = r.Load(PerCPUBase+16<<20+uint64(i)<<12+uint64(i%64)*64, v)
			}
		}
	}
	if few := r.cost(pages(32)); few > 32*5+10 {
		t.Errorf("32 pages in a TLB of 64: %d cycles, want 5 per load", few)
	}
	before := r.acct.Total()
	many := r.cost(pages(256))
	after := r.acct.Total()
	if want := int64(256 * (5 + 7)); many < want || many > want+want/4 {
		t.Errorf("256 pages in a TLB of 64 with a second level: %d cycles, want about 12 per load", many)
	}
	if d := after.DTLBMisses - before.DTLBMisses; d < 3*256-64 {
		t.Errorf("%d first-level misses in three passes of 256 pages, of which at most 64 were there", d)
	}
	if after.Stall[StallTLB] == before.Stall[StallTLB] {
		t.Error("nothing is charged to translation")
	}
}

func TestCodeMissesAreSeenUnlessTheFrontEndRunsAhead(t *testing.T) {
	time := func(ahead int) int64 {
		r := newRig(t, func(c *Config) { c.FetchAhead = ahead })
		for range 40 * 16 {
			r.Op(ALU, r.Last())
		}
		r.pc = 0
		return r.run()
	}
	none, some := time(0), time(4)
	if some >= none {
		t.Errorf("40 cold code lines: %d cycles without running ahead, %d with", none, some)
	}
}

func TestLinesOfAnotherCoreAreChargedToIt(t *testing.T) {
	r := newRig(t)
	other, err := NewCore(1, testConfig(), r.h, testSpace())
	if err != nil {
		t.Fatal(err)
	}
	s := NewStream(testStack+1<<16, MitNone)
	s.Store(data, 0, 0)
	r.now = other.Run(s.Ops, r.now, nil) + sim.Microsecond
	r.Chain(60, r.Load(data, 0))
	r.run()
	f := r.acct.Total()
	if f.Level[cache.Peer] != 1 || f.Stall[StallPeer] < 50 {
		t.Errorf("levels %v, %d cycles charged to the peer", f.Level, f.Stall[StallPeer])
	}
}
