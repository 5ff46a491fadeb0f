package smmu

import (
	"testing"

	"dmapath/iommu/rig"
	"dmapath/iommu/smmutable"
	"dmapath/sim"
)

// A strict unmap's invalidation, step by step: PROD, fetch, decode, invalidate, drain, message. It is not there a picosecond earlier.
func TestCommandsTakeTheSumOfTheirSteps(t *testing.T) {
	cfg := plain()
	cfg.RegWrite = 60 * ns
	cfg.FetchOverhead, cfg.DecodeTime, cfg.PageInvTime, cfg.SweepTime, cfg.DrainTime, cfg.SyncTime, cfg.ConfigInvTime = 24, 8, 11, 77, 64, 32, 5
	cfg.ATCTime = 900 * ns
	start := 60*ns + (100+24)*ns + 8*ns
	end := 32 * ns
	page := smmutable.TLBI{ASID: asid, Addr: 0x1000}.Command(smmutable.TlbiNHVA)
	cd := smmutable.CDCommand(uint32(rid), 0, true)
	for _, c := range []struct {
		name string
		cmds []smmutable.Command
		want sim.Time
	}{
		{"sync alone", nil, start + end},
		{"page", []smmutable.Command{page}, start + 11*ns + 64*ns + end},
		{"ASID", []smmutable.Command{smmutable.ASIDCommand(smmutable.TlbiNHASID, 0, asid)}, start + 77*ns + 64*ns + end},
		{"everything", []smmutable.Command{smmutable.AllCommand(smmutable.TlbiNSNHAll, 0)}, start + 77*ns + 64*ns + end},
		{"descriptor", []smmutable.Command{cd}, start + 5*ns + 64*ns + end},
		{"device TLB", []smmutable.Command{smmutable.ATCCommand(uint32(rid), 0, false, 0, smmutable.ATCAll)}, start + 900*ns + 8*ns + end},
		{"prefetch", []smmutable.Command{{uint64(smmutable.PrefetchConfig)}}, start + 8*ns + end},
		// The drain of the first overlaps with the second: 8 + 11 of it do.
		{"two pages", []smmutable.Command{page, page}, start + 11*ns + 8*ns + 11*ns + 64*ns + end},
		// Five commands are on two cache lines.
		{"four pages", []smmutable.Command{page, page, page, page}, start + 3*(8+11)*ns + 11*ns + 124*ns + 8*ns + end},
	} {
		m := newMachine(t, cfg, smmutable.ConfigS1)
		from := m.Eng.Now()
		want := m.submit(c.cmds...)
		m.RunTo(from + c.want - 1)
		if m.received() == want {
			t.Errorf("%s: complete before %v", c.name, c.want)
		}
		m.RunTo(from + c.want)
		if m.received() != want {
			t.Errorf("%s: not complete at %v", c.name, c.want)
		}
	}
}

// On an idle queue the default unit takes from PROD to the message about what Hi1620 takes, 190 to 280 ns as the CPU sees it.
func TestAnIdleSyncTakesWhatWasMeasured(t *testing.T) {
	m := newMachine(t, DefaultConfig(), smmutable.ConfigS1)
	from := m.Eng.Now()
	want := m.submit(m.page(0x1000, true))
	m.RunTo(from + 280*ns)
	if m.received() != want {
		t.Error("not complete after 280 ns")
	}
	m = newMachine(t, DefaultConfig(), smmutable.ConfigS1)
	from = m.Eng.Now()
	want = m.submit(m.page(0x1000, true))
	m.RunTo(from + 190*ns)
	if m.received() == want {
		t.Error("complete within 190 ns")
	}
}

// How CMD_SYNC tells: by message, by event, or by CONS alone. CONS passes it in every case when it is complete, and not before.
func TestSyncSignals(t *testing.T) {
	for _, cs := range []smmutable.Signal{smmutable.SignalNone, smmutable.SignalIRQ, smmutable.SignalSEV} {
		cfg := plain()
		cfg.SyncTime = 5000
		m := newMachine(t, cfg, smmutable.ConfigS1)
		events := 0
		m.u.Event = func() { events++ }
		// Like Linux, the message goes over the command itself.
		m.put(smmutable.SyncCommand(cs, cmdBase, 0))
		from := m.Eng.Now()
		m.write(smmutable.RegCmdqProd, uint64(m.prod))
		m.RunTo(from + 4*sim.Microsecond)
		if m.read(smmutable.RegCmdqCons) != 0 || events != 0 || uint32(m.Mem.Read64(cmdBase)) == 0 {
			t.Errorf("signal %d: something before its time", cs)
		}
		m.Run()
		if m.read(smmutable.RegCmdqCons) != 1 || (events == 1) != (cs == smmutable.SignalSEV) || (uint32(m.Mem.Read64(cmdBase)) == 0) != (cs == smmutable.SignalIRQ) {
			t.Errorf("signal %d: CONS %d, %d events, first word %#x", cs, m.read(smmutable.RegCmdqCons), events, m.Mem.Read64(cmdBase))
		}
	}
}

// A read of CONS that leaves the core shortly before a CMD_SYNC is complete samples it after that.
func TestConsIsSampledHalfWay(t *testing.T) {
	cfg := plain()
	cfg.RegRead, cfg.SyncTime = 200*ns, 1000
	m := newMachine(t, cfg, smmutable.ConfigS1)
	from := m.Eng.Now()
	m.submit()
	m.Run()
	took := m.Eng.Now() - from
	for _, early := range []sim.Time{100*ns + 1, 100 * ns} {
		from := m.Eng.Now()
		m.submit()
		m.RunTo(from + took - early)
		if got := m.read(smmutable.RegCmdqCons) == uint64(m.prod); got != (early == 100*ns) {
			t.Errorf("%v before completion: seen is %v", early, got)
		}
		m.Run()
	}
}

func TestRangesRemoveExactlyTheCoveredPages(t *testing.T) {
	for _, c := range []struct {
		t           smmutable.TLBI
		first, last uint64 // pages that go
	}{
		{smmutable.TLBI{Addr: 0x20000}, 0x20, 0x20},
		{smmutable.TLBI{Addr: 0x20000, Granule: 12}, 0x20, 0x20},
		{smmutable.TLBI{Addr: 0x21000, Granule: 12, Num: 6}, 0x21, 0x27},
		{smmutable.TLBI{Addr: 0x10000, Granule: 12, Num: 2, Scale: 3, TTL: 3}, 0x10, 0x27},
		{smmutable.TLBI{Addr: 0, Granule: 12, Num: 31, Scale: 20}, 0, 0x3f},
	} {
		for _, config := range []smmutable.Config{smmutable.ConfigS1, smmutable.ConfigS2, smmutable.ConfigNested} {
			m := newMachine(t, plain(), config)
			if config == smmutable.ConfigNested {
				for p := range uint64(64) {
					m.mapSecond(1<<40|p<<12, 1<<41|p<<12)
				}
			}
			for p := range uint64(64) {
				m.mapPage(p<<12, p<<12|1<<40, smmutable.LastLevel)
				m.translate(p << 12)
			}
			m.Settle()
			m.invalidate(m.pages(c.t))
			for p := range uint64(64) {
				if gone := m.walks(rid, p<<12) == 1; gone != (p >= c.first && p <= c.last) {
					t.Errorf("config %d, %+v: page %#x gone is %v", config, c.t, p, gone)
				}
			}
		}
	}
	// Without IDR3.RIL the fields of a range mean nothing.
	cfg := plain()
	cfg.Range = false
	m := newMachine(t, cfg, smmutable.ConfigS1)
	m.mapPage(0x1000, 0x5000, smmutable.LastLevel)
	m.mapPage(0x2000, 0x6000, smmutable.LastLevel)
	m.walks(rid, 0x1000)
	m.walks(rid, 0x2000)
	m.invalidate(m.pages(smmutable.TLBI{Addr: 0x1000, Granule: 12, Num: 3}))
	if m.walks(rid, 0x1000) != 1 || m.walks(rid, 0x2000) != 0 {
		t.Error("a unit without range invalidation invalidated a range")
	}
}

func TestLeafKeepsWalkCaches(t *testing.T) {
	for _, leaf := range []bool{true, false} {
		m := newMachine(t, plain(), smmutable.ConfigS1)
		m.mapPage(0x1000, 0x5000, smmutable.LastLevel)
		m.translate(0x1000)
		m.Settle()
		m.invalidate(m.page(0x1000, leaf))
		reads := sim.Time(4)
		if leaf {
			reads = 1
		}
		if _, took := m.translate(0x1000); took != 2*ns+7*ns+reads*120*ns+3*ns {
			t.Errorf("leaf %v: walk takes %v", leaf, took)
		}
	}
}

// Three streams: two of the same ASID, one of another.
func TestInvalidationIsByASIDAndVMID(t *testing.T) {
	for _, c := range []struct {
		name       string
		cmd        smmutable.Command
		own, other uint64 // walks afterwards
	}{
		{"ASID", smmutable.ASIDCommand(smmutable.TlbiNHASID, 0, asid), 1, 0},
		{"the other ASID", smmutable.ASIDCommand(smmutable.TlbiNHASID, 0, asid+1), 0, 1},
		{"ASID, EL2", smmutable.ASIDCommand(smmutable.TlbiEL2ASID, 0, asid), 1, 0},
		{"page of the other ASID", smmutable.TLBI{ASID: asid + 1, Addr: 0x1000}.Command(smmutable.TlbiNHVA), 0, 1},
		{"page, EL2", smmutable.TLBI{ASID: asid, Addr: 0x1000}.Command(smmutable.TlbiEL2VA), 1, 0},
		{"page of every ASID", smmutable.TLBI{Addr: 0x1000}.Command(smmutable.TlbiNHVAA), 1, 1},
		{"all of a VMID", smmutable.AllCommand(smmutable.TlbiNHAll, 0), 1, 1},
		{"all of another VMID", smmutable.AllCommand(smmutable.TlbiS12VMAll, vmid), 0, 0},
		{"both stages", smmutable.AllCommand(smmutable.TlbiS12VMAll, 0), 1, 1},
		{"everything", smmutable.AllCommand(smmutable.TlbiNSNHAll, 0), 1, 1},
		{"intermediate address", smmutable.TLBI{Addr: 0x1000}.Command(smmutable.TlbiS2IPA), 0, 0},
	} {
		m := newMachine(t, plain(), smmutable.ConfigS1)
		m.mapPage(0x1000, 0x5000, smmutable.LastLevel)
		same, other := m.stream(), m.stream()
		other.Context = cdTable + 0x1000
		d := m.context()
		d.ASID++
		for i, w := range d.Encode() {
			m.Mem.Write64(other.Context+uint64(i)*8, w)
		}
		m.setStream(rid+1, same)
		m.setStream(rid+2, other)
		if m.walks(rid, 0x1000) != 1 || m.walks(rid+1, 0x1000) != 0 || m.walks(rid+2, 0x1000) != 1 {
			t.Error("streams of an ASID share translations, of two ASIDs do not")
		}
		m.invalidate(c.cmd)
		if own, oth := m.walks(rid, 0x1000), m.walks(rid+2, 0x1000); own != c.own || oth != c.other {
			t.Errorf("%s: %d and %d walks, want %d and %d", c.name, own, oth, c.own, c.other)
		}
	}
}

// A guest programs stage 1; below it is the host's stage 2, and the guest's commands, which know no VMID, act on it.
func TestAGuestIsNestedWithoutKnowing(t *testing.T) {
	m := newMachine(t, plain(), smmutable.ConfigNested)
	host := m.stream()
	m.config = smmutable.ConfigS1
	guest := m.stream()
	guest.VMID, guest.TTB, guest.T0SZ, guest.SL0, guest.TG, guest.PS = 0, 0, 0, 0, 0, 0
	m.setStream(rid, guest)
	m.setStream(rid+1, smmutable.STE{Valid: true, Config: smmutable.ConfigBypass})
	if err := m.u.SetHost(host); err != nil {
		t.Fatal(err)
	}
	m.mapPage(0x1000, 0x500000, smmutable.LastLevel)
	m.mapPage(0x2000, 0x501000, smmutable.LastLevel)
	m.mapSecond(0x500000, 0x9000000)
	m.mapSecond(0x501000, 0xa000000)
	if pa, _ := m.translate(0x1234); pa != 0x9000234 || m.u.Stats.SecondWalks == 0 {
		t.Errorf("%#x, %d second-stage walks", pa, m.u.Stats.SecondWalks)
	}
	m.Settle()
	m.mapPage(0x1000, 0x501000, smmutable.LastLevel)
	for _, cmd := range []smmutable.Command{m.page(0x1000, true), smmutable.ASIDCommand(smmutable.TlbiNHASID, 0, asid), smmutable.ASIDCommand(smmutable.TlbiEL2ASID, 0, asid)} {
		m.walks(rid, 0x1000)
		m.invalidate(cmd)
		if m.walks(rid, 0x1000) != 1 {
			t.Errorf("the translation survived %x", cmd)
		}
	}
	if pa, _ := m.translate(0x1000); pa != 0xa000000 {
		t.Errorf("%#x after the guest's invalidation", pa)
	}
	if pa, _, err := m.u.Translate(rid+1, 0x501008, true, m.Eng.Now()); pa != 0xa000008 || err != nil {
		t.Errorf("a stream that bypasses in the guest: %#x, %v", pa, err)
	}
	host.SL0 ^= 3
	if m.u.SetHost(host) == nil {
		t.Error("a second stage with the wrong start level was accepted")
	}
}

func TestConfigurationStaysCachedUntilInvalidated(t *testing.T) {
	sid := uint32(rid)
	for _, c := range []struct {
		name           string
		cmd            smmutable.Command
		stream, contxt bool // gone
	}{
		{"stream", smmutable.STECommand(sid, true), true, true},
		{"another stream", smmutable.STECommand(sid+1, true), false, false},
		{"eight streams", smmutable.Command{uint64(smmutable.CfgiSTERange) | uint64(sid+3)<<32, 2}, true, true},
		{"eight others", smmutable.Command{uint64(smmutable.CfgiSTERange) | uint64(sid+8)<<32, 2}, false, false},
		{"all", smmutable.CfgiAll(), true, true},
		{"descriptor", smmutable.CDCommand(sid, 0, true), false, true},
		{"another stream's descriptor", smmutable.CDCommand(sid+1, 0, true), false, false},
		{"another substream's descriptor", smmutable.CDCommand(sid, 1, true), false, false},
		{"all descriptors", smmutable.Command{uint64(smmutable.CfgiCDAll) | uint64(sid)<<32}, false, true},
		{"translations", smmutable.AllCommand(smmutable.TlbiNSNHAll, 0), false, false},
	} {
		for _, what := range []string{"stream", "descriptor"} {
			m := newMachine(t, plain(), smmutable.ConfigS1)
			m.mapPage(0x1000, 0x5000, smmutable.LastLevel)
			m.translate(0x1000)
			m.Settle()
			gone := c.stream
			if what == "stream" {
				m.setStream(rid, smmutable.STE{})
			} else {
				m.setContext(smmutable.CD{})
				gone = c.contxt
			}
			m.invalidate(c.cmd)
			if _, _, err := m.u.Translate(rid, 0x1000, true, m.Eng.Now()); (err != nil) != gone {
				t.Errorf("%s, %s changed: %v", c.name, what, err)
			}
		}
	}
}

func TestSyncWaitsForWalksAndRequestsInFlight(t *testing.T) {
	for _, since := range []sim.Time{0, sim.Second} {
		m := newMachine(t, plain(), smmutable.ConfigS1)
		until := m.Eng.Now() + 50*sim.Microsecond
		m.u.Drain(rig.Port{Since: since, Until: until})
		want := m.submit(m.page(0x1000, true))
		m.RunTo(until - 1)
		if done := m.received() == want; done != (since > 0) {
			t.Errorf("request from %v until %v: invalidation complete before is %v", since, until, done)
		}
		m.Run()
		if m.received() != want {
			t.Error("never complete")
		}
	}
	m := newMachine(t, plain(), smmutable.ConfigS1)
	m.Fab.Read = 10 * sim.Microsecond
	m.mapPage(0x1000, 0x5000, smmutable.LastLevel)
	_, took := m.translate(0x1000) // stream, descriptor and four levels: 70 microseconds
	m.Fab.Read = 10 * ns
	from := m.Eng.Now()
	want := m.submit(m.page(0x1000, true))
	m.RunTo(from + took - 1)
	if m.received() == want {
		t.Error("invalidation complete while the walk was in flight")
	}
	m.Run()
}

// The queue holds all of its 256 entries, and CONS follows and wraps.
func TestTheQueueFillsAndWraps(t *testing.T) {
	m := newMachine(t, plain(), smmutable.ConfigS1)
	for round := range 9 {
		cmds := make([]smmutable.Command, 255)
		for i := range cmds {
			cmds[i] = m.page(uint64(i)<<12, true)
		}
		before := m.u.Stats.Invalidations
		want := m.submit(cmds...)
		m.RunTo(m.Eng.Now() + m.u.cfg.RegWrite)
		if d := m.u.QueueDepth(); d != 256 {
			t.Fatalf("round %d: %d commands in the queue, want 256", round, d)
		}
		cons := m.read(smmutable.RegCmdqCons)
		if !smmutable.Full(m.prod, uint32(cons), queue2) {
			t.Fatalf("round %d: PROD %d, CONS %d", round, m.prod, cons)
		}
		m.Run()
		if m.received() != want || m.read(smmutable.RegCmdqCons) != uint64(m.prod) || m.u.Stats.Invalidations-before != 255 {
			t.Fatalf("round %d: message %d, CONS %d, PROD %d", round, m.received(), m.read(smmutable.RegCmdqCons), m.prod)
		}
	}
}

func TestAnIllegalCommandStopsTheQueueUntilAcknowledged(t *testing.T) {
	for _, bad := range []smmutable.Command{{0xff}, {uint64(smmutable.PriResp)}, {uint64(smmutable.Sync) | 3<<12}} {
		m := newMachine(t, plain(), smmutable.ConfigS1)
		m.put(smmutable.STECommand(1, true))
		m.put(bad)
		want := m.submit()
		m.Run()
		if c := m.read(smmutable.RegCmdqCons); c != 1|smmutable.CmdqErrIll<<smmutable.CmdqErrShift || m.read(smmutable.RegGError) != uint64(smmutable.GErrorCmdq) || m.received() == want {
			t.Errorf("%x: CONS %#x, GERROR %#x", bad, c, m.read(smmutable.RegGError))
		}
		// Like Linux, replace the bad command and acknowledge.
		s := smmutable.SyncCommand(smmutable.SignalNone, 0, 0)
		m.Mem.Write64(cmdBase+16, s[0])
		m.Mem.Write64(cmdBase+24, s[1])
		m.write(smmutable.RegGErrorN, m.read(smmutable.RegGError))
		m.Run()
		if m.received() != want || m.read(smmutable.RegCmdqCons) != uint64(m.prod) {
			t.Errorf("%x: message %d, CONS %#x after recovery", bad, m.received(), m.read(smmutable.RegCmdqCons))
		}
	}
}

// The slow twin of the whole unit, in stage 1 and in stage 2, with invalidations with and without leaf.
func TestNoStaleTranslationAfterInvalidationAndNoneLostBefore(t *testing.T) {
	stale := 0
	for seed := range uint64(12) {
		cfg := plain()
		cfg.IOTLB.Entries, cfg.IOTLB.Ways = 16<<(seed%3), 4
		config, everything := smmutable.ConfigS1, smmutable.ASIDCommand(smmutable.TlbiNHASID, 0, asid)
		if seed%2 == 1 {
			config, everything = smmutable.ConfigS2, smmutable.AllCommand(smmutable.TlbiS12VMAll, vmid)
		}
		m := newMachine(t, cfg, config)
		rng := sim.NewRand(seed, "leaf")
		iova := func(page int) uint64 { return uint64(page/16)<<30 | uint64(page/4%4)<<21 | uint64(page%4)<<12 }
		w := rig.Twin{Groups: 12,
			Map:   func(page int, pa uint64) { m.mapPage(iova(page), pa, smmutable.LastLevel) },
			Unmap: func(page int) { m.b.Unmap(iova(page)) },
			Submit: func(first, last int, all bool) func() bool {
				c := smmutable.TLBI{Addr: iova(first), Leaf: rng.IntN(2) == 0}
				if last > first {
					c.Granule, c.Num = 12, uint8(last-first)
				}
				cmd := m.pages(c)
				if all {
					cmd = everything
				}
				seq := m.submit(cmd)
				return func() bool { return m.received() >= seq }
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

// Nothing that software puts into the queue may stop the model.
func FuzzCommands(f *testing.F) {
	f.Add(uint64(smmutable.TlbiNHVA), uint64(0x1000), uint64(smmutable.Sync), uint64(0))
	f.Fuzz(func(t *testing.T, a, b, c, d uint64) {
		m := newMachine(t, plain(), smmutable.ConfigNested)
		m.mapPage(0x1000, 0x5000, smmutable.LastLevel)
		m.translate(0x1000)
		m.put(smmutable.Command{a, b})
		m.put(smmutable.Command{c, d})
		m.submit()
		m.Run()
		if m.read(smmutable.RegCmdqCons) != uint64(m.prod) && m.read(smmutable.RegGError) == 0 {
			t.Fatalf("queue stands still at %d without an error", m.read(smmutable.RegCmdqCons))
		}
	})
}

func BenchmarkInvalidate(b *testing.B) {
	m := newMachine(b, DefaultConfig(), smmutable.ConfigS1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.submit(m.page(1<<30+uint64(i&15)<<12, true))
		m.Run()
	}
}
