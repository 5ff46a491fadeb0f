package vtd

import (
	"errors"
	"strings"
	"testing"

	"dmapath/iommu"
	"dmapath/iommu/table"
	"dmapath/sim"
)

const ns = sim.Nanosecond

// An unloaded walk takes its start, one read and overhead per level, and its end; a hit takes the lookup.
func TestUnloadedWalkIsLevelsTimesLatency(t *testing.T) {
	const read = (100 + 20) * ns
	for levels := 3; levels <= 5; levels++ {
		for _, shift := range []uint8{12, 21, 30} {
			r := newRig(t, plain(), levels)
			iova := uint64(3) << 30
			r.mapPage(iova, 1<<40, shift)
			reads := levels - int(shift-12)/9
			pa, took := r.translate(iova + 77)
			// The first request also reads the root and the context entry, on a walker.
			want := 2*ns + 7*ns + 2*read + 7*ns + sim.Time(reads)*read + 3*ns
			if pa != 1<<40+77 || took != want {
				t.Errorf("%d levels %s: %#x in %v, want %v", levels, table.SizeName(shift), pa, took, want)
			}
			r.settle()
			if _, took = r.translate(iova + 78); took != 2*ns {
				t.Errorf("%d levels %s: hit takes %v, want %v", levels, table.SizeName(shift), took, 2*ns)
			}
			r.invalidate(d(IOTLBDesc(GranGlobal, 0, 0, 0, false)))
			if _, took = r.translate(iova); took != 2*ns+7*ns+sim.Time(reads)*read+3*ns {
				t.Errorf("%d levels %s: walk with the context cached takes %v", levels, table.SizeName(shift), took)
			}
		}
	}
}

func TestPagingStructureCachesCutLevels(t *testing.T) {
	r := newRig(t, plain(), 4)
	base := uint64(1) << 39
	for _, c := range []struct {
		name  string
		iova  uint64
		reads sim.Time
	}{
		{"first walk reads all levels", base, 4},
		{"neighbour page: one read", base + 1<<12, 1},
		{"next 2 MiB: two reads", base + 1<<21, 2},
		{"next 1 GiB: three reads", base + 1<<30, 3},
		{"next 512 GiB: all", base + 1<<39, 4},
	} {
		r.mapPage(c.iova, c.iova, 12)
		if c.reads == 4 && c.iova == base {
			r.translate(c.iova ^ 1) // fills the context cache
			r.settle()
			r.invalidate(d(IOTLBDesc(GranGlobal, 0, 0, 0, false)))
		}
		_, took := r.translate(c.iova)
		if want := 2*ns + 7*ns + c.reads*120*ns + 3*ns; took != want {
			t.Errorf("%s: %v, want %v", c.name, took, want)
		}
		r.settle()
	}
}

func TestWalkersWorkInParallel(t *testing.T) {
	for _, walkers := range []int{1, 2, 5} {
		cfg := plain()
		cfg.Walkers = walkers
		r := newRig(t, cfg, 4)
		const n = 20
		for i := range uint64(n + 1) {
			r.mapPage(i<<39>>1, i<<12, 12) // no two share more than the top two levels
		}
		r.translate(uint64(n) << 38)
		r.settle()
		r.invalidate(d(IOTLBDesc(GranGlobal, 0, 0, 0, false)))
		var last sim.Time
		for i := range uint64(n) {
			_, took := r.translate(i << 38)
			last = max(last, took)
		}
		// Pairs share the top entry, but never both walks wait for it: all read at least three levels.
		least, most := sim.Time(n/walkers)*(7+3*120+3)*ns, sim.Time(n/walkers)*(7+4*120+3)*ns+2*ns
		if last < least || last > most {
			t.Errorf("%d walks on %d walkers end after %v, want %v to %v", n, walkers, last, least, most)
		}
	}
}

func TestConcurrentMissesOnOnePageMerge(t *testing.T) {
	r := newRig(t, plain(), 4)
	r.mapPage(0x1000, 0x5000, 12)
	_, first := r.translate(0x1000)
	_, second := r.translate(0x1800)
	if second != first || r.v.Stats.Walks != 1 || r.v.Stats.Merges != 1 {
		t.Errorf("second request done after %v, first %v; %d walks, %d merges", second, first, r.v.Stats.Walks, r.v.Stats.Merges)
	}
	r.settle()
	if _, took := r.translate(0x1000); took != 2*ns || r.v.Stats.Hits != 1 {
		t.Errorf("after the walk: %v, %d hits", took, r.v.Stats.Hits)
	}
}

func TestProbeSaysWhatIsCachedAndChangesNothing(t *testing.T) {
	for _, r := range []*rig{newRig(t, plain(), 4), newScalableRig(t, plain(), table.FirstStage, 4)} {
		r.mapPage(0x1000, 0x5000, 12)
		if _, ok := r.v.Probe(rid, 0x1000); ok || r.v.Stats.Requests != 0 {
			t.Error("cached before the first request, or counted")
		}
		r.translate(0x1000)
		r.b.Unmap(0x1000)
		if pa, ok := r.v.Probe(rid, 0x1008); !ok || pa != 0x5008 {
			t.Errorf("stale entry: %#x %v", pa, ok)
		}
		r.invalidate(d(IOTLBDesc(GranGlobal, 0, 0, 0, true)))
		if _, ok := r.v.Probe(rid, 0x1000); ok {
			t.Error("cached after invalidation")
		}
	}
}

func TestRequestsAreConserved(t *testing.T) {
	r := newRig(t, plain(), 4)
	rng := sim.NewRand(1, "conserved")
	for i := range uint64(50) {
		r.mapPage(i<<12, i<<20, 12)
	}
	for range 2000 {
		r.v.Translate(rid, uint64(rng.IntN(60))<<12, rng.IntN(2) == 0, r.eng.Now())
		if rng.IntN(4) == 0 {
			r.v.Translate(0x300, 0x1000, true, r.eng.Now())
		}
		if rng.IntN(10) == 0 {
			r.invalidate(pages(uint64(rng.IntN(60))<<12, 2, true))
		}
	}
	s := &r.v.Stats
	if s.Requests != s.Untranslated+s.PassThrough+s.Hits+s.Merges+s.Walks+s.LookupFaults {
		t.Errorf("requests are not conserved: %+v", *s)
	}
	var walks uint64 = s.FullWalks
	for _, n := range s.PagingHits {
		walks += n
	}
	if walks != s.Walks || s.WalkTimes.N != s.Walks {
		t.Errorf("%d walks, of which %d started somewhere and %d were timed", s.Walks, walks, s.WalkTimes.N)
	}
}

func TestScalableModeReadsPASIDTables(t *testing.T) {
	const read = 120 * ns
	for _, f := range []table.Format{table.FirstStage, table.SecondStage} {
		for _, levels := range []int{4, 5} {
			r := newScalableRig(t, plain(), f, levels)
			r.mapPage(0x40000000, 0x7000, 12)
			pa, took := r.translate(0x40000123)
			// root, context, PASID directory, PASID entry, then the table
			if want := 2*ns + 7*ns + 4*read + 7*ns + sim.Time(levels)*read + 3*ns; pa != 0x7123 || took != want {
				t.Errorf("%v, %d levels: %#x in %v, want %v", f, levels, pa, took, want)
			}
			r.settle()
			if _, took = r.translate(0x40000000); took != 2*ns {
				t.Errorf("%v: hit takes %v", f, took)
			}
		}
	}
}

func TestPassThroughNeedsNoTable(t *testing.T) {
	r := bare(t, plain())
	r.setContext(rid, table.Context{Present: true, Type: table.TTPassThrough, Levels: 4, Domain: domain})
	r.enable(modeLegacy)
	r.translate(0x1234)
	if pa, took := r.translate(0x123456789a); pa != 0x123456789a || took != 2*ns {
		t.Errorf("%#x in %v", pa, took)
	}
	if _, _, err := r.v.Translate(rid, 1<<50, false, 0); reason(err) != table.BeyondWidth {
		t.Errorf("beyond the host width: %v", err)
	}
	s := newScalableRig(t, plain(), table.SecondStage, 4)
	s.setPASID(table.PASID{Present: true, Type: table.PGTTPassThrough, Domain: domain, Levels: 4})
	if pa, _ := s.translate(0x777000); pa != 0x777000 {
		t.Errorf("scalable pass-through: %#x", pa)
	}
}

func TestTranslationOffChangesNothing(t *testing.T) {
	r := bare(t, plain())
	if pa, done, err := r.v.Translate(rid, 0x1234, true, 42); pa != 0x1234 || done != 42 || err != nil {
		t.Errorf("%#x %v %v", pa, done, err)
	}
}

// The hardware sets accessed and dirty bits of the first stage; with both preset, as Linux does, it writes nothing.
func TestAccessedAndDirtyBits(t *testing.T) {
	r := newScalableRig(t, plain(), table.FirstStage, 4)
	r.mapPage(0x1000, 0x5000, 12)
	at, _ := r.b.Leaf(0x1000)
	r.translate(0x1000)
	if r.v.Stats.ADUpdates != 0 {
		t.Errorf("%d updates of preset bits", r.v.Stats.ADUpdates)
	}
	r.settle()
	r.invalidate(d(PASIDTLBDesc(GranPASIDAll, domain, 0, 0, 0, false)))
	r.mem.Write64(at, r.mem.Read64(at)&^(table.FSAccessed|table.FSDirty))
	r.v.Translate(rid, 0x1000, true, r.eng.Now())
	if got := r.mem.Read64(at) & (table.FSAccessed | table.FSDirty); got != table.FSAccessed|table.FSDirty || r.v.Stats.ADUpdates != 1 {
		t.Errorf("bits %#x after a write, %d updates", got, r.v.Stats.ADUpdates)
	}
}

func reason(err error) table.Reason {
	var f *iommu.Fault
	if errors.As(err, &f) {
		return f.Reason.(table.Reason)
	}
	return table.NoFault
}

func TestFaultsAreReturnedAndRecorded(t *testing.T) {
	for _, c := range []struct {
		name   string
		rid    uint16
		iova   uint64
		write  bool
		change func(r *rig)
		want   table.Reason
	}{
		{"page not present", rid, 0x2000, false, nil, table.NoRead},
		{"write to a read-only page", rid, 0x3000, true, func(r *rig) { r.b.Map(0x3000, 0x5000, 12, table.Read) }, table.NoWrite},
		{"reserved bit", rid, 0x1000, true, func(r *rig) { at, _ := r.b.Leaf(0x1000); r.mem.Write64(at, r.mem.Read64(at)|1<<50) }, table.PagingReserved},
		{"beyond the table's width", rid, 1 << 48, true, nil, table.BeyondWidth},
		{"root entry not present", 0x0300, 0x1000, true, nil, table.RootNotPresent},
		{"context entry not present", rid + 1, 0x1000, true, nil, table.ContextNotPresent},
		{"context entry with unsupported width", rid, 0x1000, true, func(r *rig) {
			r.setContext(rid, table.Context{Present: true, Levels: 2, Root: r.b.Root, Domain: domain})
		}, table.ContextInvalid},
		{"context entry with reserved bits", rid, 0x1000, true, func(r *rig) { r.mem.Write64(table.ContextAddr(ctxTable, rid)+8, 2|1<<30) }, table.ContextReserved},
		{"page in the interrupt range", rid, 0x4000, true, func(r *rig) { r.b.Map(0x4000, 0xfee01000, 12, table.Read|table.Write) }, table.InterruptAddr},
	} {
		r := newRig(t, plain(), 4)
		r.mapPage(0x1000, 0x5000, 12)
		if c.change != nil {
			c.change(r)
		}
		_, done, err := r.v.Translate(c.rid, c.iova, c.write, r.eng.Now())
		var f *iommu.Fault
		if !errors.As(err, &f) || f.Reason != c.want || f.RID != c.rid || f.IOVA != c.iova || f.Write != c.write || f.At != done {
			t.Errorf("%s: %v (%+v), want %v", c.name, err, f, c.want)
			continue
		}
		if s := uint32(r.read(table.RegFSTS)); s&FaultPending == 0 || s&FaultOverflow != 0 {
			t.Errorf("%s: FSTS %#x", c.name, s)
		}
		got, ok := DecodeFault(r.read(table.RegFRCD), r.read(table.RegFRCD+8))
		if !ok || got.Reason != c.want || got.RID != c.rid || got.IOVA != c.iova&^0xfff || got.Write != c.write {
			t.Errorf("%s: recorded %+v", c.name, got)
		}
		r.write(table.RegFRCD+12, 1<<31)
		if s := uint32(r.read(table.RegFSTS)); s != 0 {
			t.Errorf("%s: FSTS %#x after clearing the record", c.name, s)
		}
	}
}

func TestScalableFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *rig)
		want   table.Reason
	}{
		{"root", func(r *rig) { r.mem.Write64(table.RootEntryAddr(rootTable, rid), 0) }, table.SMRootNotPresent},
		{"context", func(r *rig) { r.mem.Write64(table.SMContextAddr(ctxTable, rid), 0) }, table.SMContextNotPresent},
		{"directory", func(r *rig) { r.mem.Write64(pasidDir, 0) }, table.PASIDDirNotPresent},
		{"PASID entry", func(r *rig) { r.mem.Write64(pasidTable, 0) }, table.PASIDNotPresent},
		{"nested translation", func(r *rig) { r.setPASID(table.PASID{Present: true, Type: table.PGTTNested, Levels: 4}) }, table.PASIDInvalid},
		{"PASID beyond the directory", func(r *rig) {
			w0, w1 := table.SMContext{Present: true, Dir: pasidDir, RIDPASID: 1 << 19}.Encode()
			r.mem.Write64(table.SMContextAddr(ctxTable, rid), w0)
			r.mem.Write64(table.SMContextAddr(ctxTable, rid)+8, w1)
		}, table.PASIDTooLarge},
		{"page", func(r *rig) { r.b.Unmap(0x1000) }, table.FSNotPresent},
		{"table mode", func(r *rig) { r.enable(3) }, table.TTMInvalid},
	} {
		r := newScalableRig(t, plain(), table.FirstStage, 4)
		r.mapPage(0x1000, 0x5000, 12)
		c.change(r)
		if _, _, err := r.v.Translate(rid, 0x1000, true, r.eng.Now()); reason(err) != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestFaultRecordsOverflowAndAreSilencedByTheContext(t *testing.T) {
	cfg := plain()
	cfg.FaultRecords = 2
	r := newRig(t, cfg, 4)
	for i := range 3 {
		if s := uint32(r.read(table.RegFSTS)); (s&FaultOverflow != 0) != (i > 2) {
			t.Errorf("after %d faults FSTS is %#x", i, s)
		}
		r.v.Translate(rid, 0x2000, false, r.eng.Now())
	}
	if s := uint32(r.read(table.RegFSTS)); s&FaultOverflow == 0 || s&FaultPending == 0 {
		t.Errorf("after 3 faults with 2 records FSTS is %#x", s)
	}
	r.write(table.RegFRCD+12, 1<<31)
	r.write(table.RegFRCD+28, 1<<31)
	r.write(table.RegFSTS, uint64(FaultOverflow))
	if s := r.read(table.RegFSTS); s != 0 {
		t.Errorf("FSTS %#x after clearing", s)
	}
	r.setContext(rid, table.Context{Present: true, FaultDisable: true, Root: r.b.Root, Levels: 4, Domain: domain})
	r.invalidate(d(ContextDesc(GranGlobal, 0, 0, 0)))
	if _, _, err := r.v.Translate(rid, 0x2000, false, r.eng.Now()); err == nil {
		t.Error("no fault")
	}
	if s := r.read(table.RegFSTS); s != 0 || r.v.Stats.Faults != 4 || r.v.Stats.FaultsRecorded != 2 {
		t.Errorf("FSTS %#x, %d faults, %d recorded", s, r.v.Stats.Faults, r.v.Stats.FaultsRecorded)
	}
}

// A grant of more rights needs no invalidation: the unit walks again before it refuses.
func TestMoreRightsAreSeenWithoutInvalidation(t *testing.T) {
	r := newRig(t, plain(), 4)
	r.b.Map(0x1000, 0x5000, 12, table.Read)
	if _, _, err := r.v.Translate(rid, 0x1000, false, 0); err != nil {
		t.Fatal(err)
	}
	r.settle()
	r.b.Map(0x1000, 0x5000, 12, table.Read|table.Write)
	if _, _, err := r.v.Translate(rid, 0x1000, true, r.eng.Now()); err != nil {
		t.Error(err)
	}
}

func TestCapabilityRegistersSayWhatTheUnitDoes(t *testing.T) {
	r := bare(t, plain())
	c, e := r.read(table.RegCAP), r.read(table.RegECAP)
	for _, x := range []struct {
		name      string
		got, want uint64
	}{
		{"SAGAW", c >> 8 & 31, 0b1110}, {"MGAW", c >> 16 & 63, 56}, {"FRO", c >> 24 & 0x3ff * 16, table.RegFRCD}, {"NFR", c >> 40 & 255, 7},
		{"SLLPS", c >> 34 & 15, 3}, {"PSI", c >> 39 & 1, 1}, {"MAMV", c >> 48 & 63, 18}, {"CM", c >> 7 & 1, 0},
		{"C", e & 1, 1}, {"QI", e >> 1 & 1, 1}, {"PT", e >> 6 & 1, 1}, {"IRO", e >> 8 & 0x3ff * 16, table.RegIVA}, {"SMTS", e >> 43 & 1, 1},
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
	_, err := New(Config{Config: iommu.Config{HostWidth: 60, Walkers: -1}, Levels: []int{7}}, nil, nil, nil)
	for _, want := range []string{"clock_hz", "host_width is 60", "guest_width is 0", "levels is 7", "walkers is -1", "fault_records is 0", "needs an engine"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q not reported: %v", want, err)
		}
	}
}
