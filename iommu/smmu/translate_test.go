package smmu

import (
	"errors"
	"strings"
	"testing"

	"dmapath/iommu"
	"dmapath/iommu/smmutable"
	"dmapath/iommu/table"
	"dmapath/sim"
)

// A request takes lookup, stream (two levels), descriptor, walk start, one read per level, walk end; later ones only what is not cached.
func TestTranslationTakesTheSumOfItsSteps(t *testing.T) {
	read := 120 * ns
	for _, c := range []struct {
		name   string
		config smmutable.Config
		g1, g2 smmutable.Geometry
		setup  sim.Time // stream and descriptor
		levels sim.Time
	}{
		{"stage 1, 48 bits", smmutable.ConfigS1, geometry1, geometry2, 7*ns + 2*read + 7*ns + read, 4},
		{"stage 1, 39 bits", smmutable.ConfigS1, smmutable.Geometry{Stage: smmutable.Stage1, Granule: 12, Input: 39, Output: 48}, geometry2, 7*ns + 2*read + 7*ns + read, 3},
		{"stage 1, 64 KiB granule", smmutable.ConfigS1, smmutable.Geometry{Stage: smmutable.Stage1, Granule: 16, Input: 48, Output: 48}, geometry2, 7*ns + 2*read + 7*ns + read, 3},
		{"stage 1, 16 KiB granule", smmutable.ConfigS1, smmutable.Geometry{Stage: smmutable.Stage1, Granule: 14, Input: 47, Output: 48}, geometry2, 7*ns + 2*read + 7*ns + read, 3},
		{"stage 2, 48 bits", smmutable.ConfigS2, geometry1, smmutable.Geometry{Stage: smmutable.Stage2, Granule: 12, Input: 48, Output: 48}, 7*ns + 2*read, 4},
		// 44 bits have four tables side by side at level 1 instead of a level 0.
		{"stage 2, concatenated", smmutable.ConfigS2, geometry1, smmutable.Geometry{Stage: smmutable.Stage2, Granule: 12, Input: 41, Output: 48}, 7*ns + 2*read, 3},
	} {
		m := newShaped(t, plain(), c.config, c.g1, c.g2)
		page := uint64(1) << m.b.G.Granule
		m.mapPage(page, 5*page, smmutable.LastLevel)
		m.mapPage(2*page, 6*page, smmutable.LastLevel)
		if pa, took := m.translate(page + 0x234); pa != 5*page+0x234 || took != 2*ns+c.setup+7*ns+c.levels*read+3*ns {
			t.Errorf("%s: first request to %#x in %v, want %v", c.name, pa, took, 2*ns+c.setup+7*ns+c.levels*read+3*ns)
		}
		m.Settle()
		if _, took := m.translate(page); took != 2*ns {
			t.Errorf("%s: hit takes %v", c.name, took)
		}
		if _, took := m.translate(2 * page); took != 2*ns+7*ns+read+3*ns {
			t.Errorf("%s: miss behind cached tables takes %v", c.name, took)
		}
	}
}

// With both stages, the address of every table of the first, and of the page, goes through the second: with cold caches (4 + 1) reads for
// each of five addresses, less the page itself; with second-stage translations cached only those of the first.
func TestNestedTranslationWalksTheSecondStageForEveryTable(t *testing.T) {
	cfg := plain()
	for l := range cfg.Paging {
		cfg.Paging[l].Entries = 0
	}
	m := newShaped(t, cfg, smmutable.ConfigNested, geometry1, smmutable.Geometry{Stage: smmutable.Stage2, Granule: 12, Input: 48, Output: 48})
	m.mapPage(0x1000, 0x7_0000_5000, smmutable.LastLevel)
	m.mapPage(0x2000, 0x7_0000_6000, smmutable.LastLevel)
	m.mapSecond(0x7_0000_5000, 0x9_0000_5000)
	m.mapSecond(0x7_0000_6000, 0x9_0000_7000)
	read := 120 * ns
	pa, took := m.translate(0x1234)
	// Stream 2 reads; descriptor: 4 of stage 2 and 1; walk: 4 tables and the page, each 4 of stage 2, and 4 of stage 1.
	if want := 2*ns + 7*ns + 2*read + 7*ns + 5*read + 7*ns + (5*4+4)*read + 3*ns; pa != 0x9_0000_5234 || took != want {
		t.Errorf("%#x in %v, want %v", pa, took, want)
	}
	m.Settle()
	if _, took := m.translate(0x1000); took != 2*ns {
		t.Errorf("hit takes %v", took)
	}
	if pa, took := m.translate(0x2000); pa != 0x9_0000_7000 || took != 2*ns+7*ns+(4+4)*read+3*ns { // the tables' addresses are cached, the page's is not
		t.Errorf("%#x in %v", pa, took)
	}
	if m.u.Stats.SecondWalks != 7 {
		t.Errorf("%d second-stage walks, want 7: descriptor, four tables, two pages", m.u.Stats.SecondWalks)
	}
	m.Settle()
	// Invalidating the second stage alone leaves the combined translations; the stage-1 command removes those.
	ipa := smmutable.TLBI{VMID: vmid, Addr: 0x7_0000_5000}.Command(smmutable.TlbiS2IPA)
	m.invalidate(ipa)
	if m.walks(rid, 0x1000) != 0 || m.u.Stats.Dropped != 1 {
		t.Error("TLBI_S2_IPA did not drop a second-stage translation, or dropped a combined translation")
	}
	m.mapSecond(0x7_0000_5000, 0xa_0000_0000)
	m.invalidate(ipa, smmutable.AllCommand(smmutable.TlbiNHAll, vmid))
	if pa, _ := m.translate(0x1000); pa != 0xa_0000_0000 {
		t.Errorf("%#x after the second stage changed", pa)
	}
}

// Blocks, and runs with the contiguous hint, are one translation each.
func TestBlocksAndContiguousRunsAreOneTranslation(t *testing.T) {
	for _, c := range []struct {
		granule uint8
		level   int
		run     int // entries with the hint, 1 for none
		shift   uint8
	}{{12, 2, 1, 21}, {12, 1, 1, 30}, {12, 3, 16, 16}, {12, 2, 16, 25}, {14, 2, 1, 25}, {14, 3, 128, 21}, {14, 2, 32, 30}, {16, 2, 1, 29}, {16, 3, 32, 21}} {
		m := newShaped(t, plain(), smmutable.ConfigS1, smmutable.Geometry{Stage: smmutable.Stage1, Granule: c.granule, Input: 48, Output: 48}, geometry2)
		at, pa := uint64(3)<<36, uint64(5)<<36
		for i := range uint64(c.run) {
			off := i << m.b.G.Shift(c.level)
			m.mapPage(at+off, pa+off, c.level)
			if c.run > 1 {
				e, _ := m.b.Leaf(at + off)
				m.Mem.Write64(e, m.Mem.Read64(e)|smmutable.PTEContiguous)
			}
		}
		m.translate(at + 1<<c.shift - 8)
		m.Settle()
		if got, took := m.translate(at + 0x10); got != pa+0x10 || took != 2*ns {
			t.Errorf("granule %d level %d run %d: %#x in %v", c.granule, c.level, c.run, got, took)
		}
		m.invalidate(m.page(at, true))
		if m.walks(rid, at+1<<c.shift-8) != 1 {
			t.Errorf("granule %d level %d run %d: part of it survived", c.granule, c.level, c.run)
		}
	}
}

func TestFaultsAreReturnedAndRecorded(t *testing.T) {
	leaf := func(m *machine, change func(pte uint64) uint64) {
		at, _ := m.b.Leaf(0x1000)
		m.Mem.Write64(at, change(m.Mem.Read64(at)))
	}
	for _, c := range []struct {
		name   string
		config smmutable.Config
		rid    uint16
		iova   uint64
		write  bool
		change func(m *machine)
		want   smmutable.EventCode
	}{
		{"not mapped", smmutable.ConfigS1, rid, 0x2000, false, nil, smmutable.FTranslation},
		{"not mapped in stage 2", smmutable.ConfigS2, rid, 0x2000, false, nil, smmutable.FTranslation},
		{"beyond the table", smmutable.ConfigS1, rid, 1 << 48, false, nil, smmutable.FTranslation},
		{"beyond the table of stage 2", smmutable.ConfigS2, rid, 1 << 44, false, nil, smmutable.FTranslation},
		{"write to a read-only page", smmutable.ConfigS1, rid, 0x1000, true, func(m *machine) {
			leaf(m, func(e uint64) uint64 { return e | smmutable.PTEReadOnly })
		}, smmutable.FPermission},
		{"privileged page", smmutable.ConfigS1, rid, 0x1000, false, func(m *machine) {
			leaf(m, func(e uint64) uint64 { return e &^ smmutable.PTEUnpriv })
		}, smmutable.FPermission},
		{"access flag clear", smmutable.ConfigS1, rid, 0x1000, false, func(m *machine) {
			leaf(m, func(e uint64) uint64 { return e &^ smmutable.PTEAccess })
		}, smmutable.FAccess},
		{"address too wide", smmutable.ConfigS1, rid, 0x1000, false, func(m *machine) {
			d := m.context()
			d.IPS = uint8(smmutable.OutputCode(32))
			m.setContext(d)
			m.mapPage(0x1000, 1<<40, smmutable.LastLevel)
		}, smmutable.FAddrSize},
		{"stream beyond the table", smmutable.ConfigS1, rid, 0x1000, false, func(m *machine) {
			m.write(smmutable.RegStrtabBaseCfg, uint64(smmutable.StrtabBaseCfg(8, smmutable.StreamSplit, true)))
		}, smmutable.CBadStreamID},
		{"no second-level stream table", smmutable.ConfigS1, 0x0200, 0x1000, false, nil, smmutable.CBadStreamID},
		{"stream entry invalid", smmutable.ConfigS1, rid + 1, 0x1000, false, nil, smmutable.CBadSTE},
		{"stage 2 with the wrong start level", smmutable.ConfigS2, rid, 0x1000, false, func(m *machine) {
			s := m.stream()
			s.SL0 ^= 3
			m.setStream(rid, s)
		}, smmutable.CBadSTE},
		{"descriptor invalid", smmutable.ConfigS1, rid, 0x1000, false, func(m *machine) { m.setContext(smmutable.CD{}) }, smmutable.CBadCD},
		{"stream needs a substream", smmutable.ConfigS1, rid, 0x1000, false, func(m *machine) {
			s := m.stream()
			s.CDMax = 4
			m.setStream(rid, s)
		}, smmutable.FStreamDisabled},
		{"descriptor not mapped by stage 2", smmutable.ConfigNested, rid, 0x1000, false, func(m *machine) { m.b2.Unmap(cdTable) }, smmutable.FTranslation},
		{"table not mapped by stage 2", smmutable.ConfigNested, rid, 0x1000, false, func(m *machine) { m.b2.Unmap(m.b.Root) }, smmutable.FTranslation},
		{"page not mapped by stage 2", smmutable.ConfigNested, rid, 0x1000, false, func(m *machine) { m.b2.Unmap(0x5000) }, smmutable.FTranslation},
	} {
		m := newMachine(t, plain(), c.config)
		m.mapPage(0x1000, 0x5000, smmutable.LastLevel)
		if c.change != nil {
			c.change(m)
		}
		_, done, err := m.u.Translate(c.rid, c.iova, c.write, m.Eng.Now())
		var f *iommu.Fault
		if !errors.As(err, &f) || f.Reason != c.want || f.Code != uint8(c.want) || f.RID != c.rid || f.IOVA != c.iova || f.Write != c.write || f.At != done {
			t.Errorf("%s: %v (%+v), want %v", c.name, err, f, c.want)
			continue
		}
		var w [4]uint64
		for i := range w {
			w[i] = m.Mem.Read64(eventBase + uint64(i)*8)
		}
		e := smmutable.DecodeEvent(w)
		second := strings.Contains(c.name, "stage 2") && c.want >= smmutable.FTranslation
		if m.read(smmutable.RegEventqProd) != 1 || e.Code != c.want || e.StreamID != uint32(c.rid) || e.Addr != c.iova || e.Read == c.write || e.Stage2 != second {
			t.Errorf("%s: recorded %+v, PROD %d", c.name, e, m.read(smmutable.RegEventqProd))
		}
	}
}

func TestWhatIsNotRecorded(t *testing.T) {
	m := newMachine(t, plain(), smmutable.ConfigS1)
	d := m.context()
	d.Record = false
	m.setContext(d)
	if _, _, err := m.u.Translate(rid, 0x9000, false, 0); reason(err) != smmutable.FTranslation || m.u.Stats.FaultsRecorded != 0 {
		t.Errorf("%v, %d recorded", err, m.u.Stats.FaultsRecorded)
	}
	m.setStream(rid+1, smmutable.STE{Valid: true})
	if _, _, err := m.u.Translate(rid+1, 0x1000, false, 0); err == nil || m.u.Stats.FaultsRecorded != 0 {
		t.Errorf("a stream that aborts: %v, %d recorded", err, m.u.Stats.FaultsRecorded)
	}
}

func TestTheEventQueueOverflows(t *testing.T) {
	m := newMachine(t, plain(), smmutable.ConfigS1)
	for range 300 {
		m.u.Translate(rid, 0x9000, false, 0)
	}
	if p := m.read(smmutable.RegEventqProd); p != 1<<31|256 || m.u.Stats.FaultsRecorded != 256 {
		t.Errorf("PROD %#x, %d recorded", p, m.u.Stats.FaultsRecorded)
	}
	m.write(smmutable.RegEventqCons, 1<<31|256)
	m.u.Translate(rid, 0x9000, false, 0)
	if p := m.read(smmutable.RegEventqProd); p != 1<<31|257 {
		t.Errorf("PROD %#x after software caught up", p)
	}
}

func TestRequestsThatAreNotTranslated(t *testing.T) {
	m := newMachine(t, plain(), smmutable.ConfigS1)
	one := m.stream()
	one.CDMax, one.DSS = 4, 1
	for _, s := range []smmutable.STE{{Valid: true, Config: smmutable.ConfigBypass}, one} {
		m.setStream(rid, s)
		m.invalidate(smmutable.STECommand(uint32(rid), true))
		if pa, _, err := m.u.Translate(rid, 0xabc123, true, m.Eng.Now()); pa != 0xabc123 || err != nil {
			t.Errorf("%+v: %#x %v", s, pa, err)
		}
	}
	m.write(smmutable.RegCR0, 0)
	if pa, done, err := m.u.Translate(rid, 0x1234, true, 42); pa != 0x1234 || done != 42 || err != nil {
		t.Errorf("disabled: %#x %v %v", pa, done, err)
	}
}

// A linear stream table, and a two-level table of descriptors with requests that use descriptor 0.
func TestOtherShapesOfTables(t *testing.T) {
	m := newMachine(t, plain(), smmutable.ConfigS1)
	m.mapPage(0x1000, 0x5000, smmutable.LastLevel)
	s := m.stream()
	s.CDFmt, s.CDMax, s.DSS, s.Context = 2, 12, 2, 0x80000
	m.Mem.Write64(0x80000, smmutable.L1CD(cdTable))
	m.setStream(rid, s)
	m.write(smmutable.RegStrtabBase, streamTable-uint64(rid&^0xff)*smmutable.STESize)
	m.write(smmutable.RegStrtabBaseCfg, uint64(smmutable.StrtabBaseCfg(16, 0, false)))
	if pa, took := m.translate(0x1000); pa != 0x5000 || took != 2*ns+7*ns+120*ns+7*ns+2*120*ns+7*ns+4*120*ns+3*ns {
		t.Errorf("%#x in %v", pa, took)
	}
}

// With tables that do not change, the unit and the functional walk agree on every address, block size, right and event, in all
// configurations and granules, whatever its caches hold.
func TestUnitAgreesWithTheFunctionalWalk(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(18) {
		rng := sim.NewRand(seed, "twin")
		cfg := plain()
		cfg.IOTLB.Entries, cfg.IOTLB.Ways = 32, 2
		granule := []uint8{12, 14, 16}[seed/3%3]
		g1 := smmutable.Geometry{Stage: smmutable.Stage1, Granule: granule, Input: uint8(40 + rng.IntN(9)), Output: 48}
		g2 := smmutable.Geometry{Stage: smmutable.Stage2, Granule: 12, Input: 44, Output: 48}
		config := []smmutable.Config{smmutable.ConfigS1, smmutable.ConfigS2, smmutable.ConfigNested}[seed%3]
		m := newShaped(t, cfg, config, g1, g2)
		g := m.b.G
		address := func() uint64 {
			return uint64(rng.IntN(3))<<g.Shift(1)&(1<<g.Input-1) | uint64(rng.IntN(4))<<g.Shift(2) | uint64(rng.IntN(4))<<g.Granule
		}
		out := func() uint64 { // where pages of the first table lie
			if config == smmutable.ConfigNested {
				return 1<<32 | uint64(rng.IntN(8))<<30 | uint64(rng.IntN(4))<<21 | uint64(rng.IntN(16))<<12
			}
			return rng.Uint64() >> 16
		}
		for range 150 {
			level := smmutable.LastLevel
			if l := 2 - rng.IntN(2); rng.IntN(4) == 0 && g.BlockLevel(l) && l >= g.StartLevel() {
				level = l
			}
			size := uint64(1)<<g.Shift(level) - 1
			m.b.Map(address()&^size, out()&^size, level, table.Rights(rng.IntN(4))|table.User, false) // refused where a block is
		}
		if config == smmutable.ConfigNested {
			for range 300 {
				level, size := smmutable.LastLevel, uint64(0xfff)
				if rng.IntN(8) == 0 {
					level, size = 2, 1<<21-1
				}
				m.b2.Map(out()&^size, rng.Uint64()>>16&^size, level, table.Rights(1+rng.IntN(3))|table.User, false)
			}
		}
		// Some entries forbid more, some are not as they should be.
		for range 12 {
			at, _ := m.b.Leaf(address())
			m.Mem.Write64(at, m.Mem.Read64(at)&^[]uint64{smmutable.PTEAccess, smmutable.PTEUnpriv, smmutable.PTEValid}[rng.IntN(3)])
			if at = g.EntryAddr(m.b.Root, address(), g.StartLevel()); g.Stage == smmutable.Stage1 && rng.IntN(3) == 0 {
				m.Mem.Write64(at, m.Mem.Read64(at)|smmutable.PTEAPTableRO)
			}
		}
		for i := range 3000 {
			a, write := address()|uint64(rng.IntN(4096)), rng.IntN(2) == 0
			pa, _, err := m.u.Translate(rid, a, write, m.Eng.Now())
			var want table.Translation
			var why smmutable.EventCode
			if config == smmutable.ConfigNested {
				want, why, _ = smmutable.WalkNested(m.Mem, g1, m.b.Root, g2, m.b2.Root, a, write)
			} else {
				want, why = smmutable.Walk(m.Mem, g, m.b.Root, a, write)
			}
			if got := reason(err); got != why || why == smmutable.NoEvent && pa != want.PA {
				t.Fatalf("seed %d request %d for %#x, write %v: %#x (%v), functional walk %#x (%v)", seed, i, a, write, pa, err, want.PA, why)
			}
			seen[why.String()]++
			if why == smmutable.NoEvent && want.Shift > granule {
				seen["block"]++
			}
			if rng.IntN(8) == 0 {
				m.Settle()
			}
		}
		seen["hit"] += int(m.u.Stats.Hits)
		seen["walk cache hit"] += int(m.u.Stats.PagingHits[2])
		if config == smmutable.ConfigNested {
			seen["nested hit"] += int(m.u.Stats.Hits)
		}
	}
	for _, what := range []string{smmutable.NoEvent.String(), smmutable.FTranslation.String(), smmutable.FPermission.String(), smmutable.FAccess.String(), "block", "hit", "walk cache hit", "nested hit"} {
		if seen[what] < 20 {
			t.Errorf("%q was seen %d times only", what, seen[what])
		}
	}
}

func TestIdentificationRegistersSayWhatTheUnitDoes(t *testing.T) {
	m := newMachine(t, plain(), smmutable.ConfigS1)
	r0, r1, r3, r5 := m.read(smmutable.RegIDR0), m.read(smmutable.RegIDR1), m.read(smmutable.RegIDR3), m.read(smmutable.RegIDR5)
	for _, x := range []struct {
		name      string
		got, want uint64
	}{
		{"S1P and S2P", r0 & 3, 3}, {"COHACC", r0 >> 4 & 1, 1}, {"MSI", r0 >> 13 & 1, 1}, {"SEV", r0 >> 14 & 1, 1}, {"ATS", r0 >> 10 & 1, 0}, {"ST_LEVEL", r0 >> 27 & 3, 1},
		{"SIDSIZE", r1 & 63, 16}, {"CMDQS", r1 >> 21 & 31, 16}, {"EVENTQS", r1 >> 16 & 31, 16}, {"RIL", r3 >> 10 & 1, 1}, {"OAS", r5 & 7, 5}, {"granules", r5 >> 4 & 7, 7},
	} {
		if x.got != x.want {
			t.Errorf("%s is %#x, want %#x", x.name, x.got, x.want)
		}
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	c := DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	_, err := New(Config{Config: iommu.Config{Walkers: -1}, SyncTime: -1, Granules: []uint8{13}}, nil, nil, nil)
	for _, want := range []string{"clock_hz", "host_width is 0", "stream_bits is 0", "walkers is -1", "sync_time is -1", "granules is 13", "stage1 and stage2", "needs an engine"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q not reported: %v", want, err)
		}
	}
}
