package amd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"dmapath/iommu"
	"dmapath/iommu/amdtable"
	"dmapath/sim"
)

// A request takes lookup, device entry, walk start, one read per level, walk end; later ones only what is not cached.
func TestTranslationTakesTheSumOfItsSteps(t *testing.T) {
	for levels := 1; levels <= 6; levels++ {
		m := newMachine(t, plain(), levels)
		m.mapPage(0x1000, 0x5000, 12)
		m.mapPage(0x2000, 0x6000, 12)
		read := 120 * ns
		entry := 7*ns + read
		if pa, took := m.translate(0x1234); pa != 0x5234 || took != 2*ns+entry+7*ns+sim.Time(levels)*read+3*ns {
			t.Errorf("%d levels: first request to %#x in %v", levels, pa, took)
		}
		m.Settle()
		if _, took := m.translate(0x1000); took != 2*ns {
			t.Errorf("%d levels: hit takes %v", levels, took)
		}
		if _, took := m.translate(0x2000); took != 2*ns+7*ns+read+3*ns {
			t.Errorf("%d levels: miss behind cached directories takes %v", levels, took)
		}
	}
}

// A page of any power of two is one entry of the IOTLB.
func TestPagesOfAnyPowerOfTwoAreOneTranslation(t *testing.T) {
	for shift := uint8(12); shift < 48; shift++ {
		m := newMachine(t, plain(), 5)
		at := uint64(1) << 47 & (1<<57 - 1)
		pa := uint64(1) << 48
		m.mapPage(at&^(1<<shift-1), pa, shift)
		last := at&^(1<<shift-1) + 1<<shift - 1
		first, _ := m.translate(last &^ (1<<shift - 1))
		m.Settle()
		got, took := m.translate(last)
		if first != pa || got != pa+1<<shift-1 || took != 2*ns || m.u.Stats.Walks != 1 {
			t.Errorf("page of 2^%d: %#x and %#x in %v, %d walks", shift, first, got, took, m.u.Stats.Walks)
		}
	}
}

// An entry of level 3 that points to a table of level 1 saves a read, and an address with bits set in between is not mapped, whether the
// entry is cached or not.
func TestSkippedLevels(t *testing.T) {
	m := newMachine(t, plain(), 3)
	leaf := m.Frame()
	m.Mem.Write64(amdtable.EntryAddr(m.b.Root, 1<<30, 3), amdtable.TablePTE(leaf, 1))
	for i := range uint64(512) {
		m.Mem.Write64(leaf+i*8, amdtable.LeafPTE(0x10000000+i<<12, 12, amdtable.AllRights))
	}
	if pa, took := m.translate(1<<30 | 5<<12); pa != 0x10005000 || took != 2*ns+7*ns+120*ns+7*ns+2*120*ns+3*ns {
		t.Errorf("%#x in %v", pa, took)
	}
	m.Settle()
	if _, took := m.translate(1<<30 | 6<<12); took != 2*ns+7*ns+120*ns+3*ns {
		t.Errorf("cached directory: %v", took)
	}
	for range 2 {
		if _, _, err := m.u.Translate(rid, 1<<30|1<<21|5<<12, true, m.Eng.Now()); reason(err) != amdtable.NotPresent {
			t.Errorf("address in a skipped level: %v", err)
		}
		m.invalidate(pages(0, 64, true))
	}
}

func TestFaultsAreReturnedAndLogged(t *testing.T) {
	for _, c := range []struct {
		name   string
		rid    uint16
		iova   uint64
		write  bool
		change func(m *machine)
		want   any
		code   amdtable.EventCode
		flags  amdtable.EventFlags
	}{
		{"page not present", rid, 0x2000, false, nil, amdtable.NotPresent, amdtable.IOPageFault, 0},
		{"write to a read-only page", rid, 0x3000, true, func(m *machine) { m.b.Map(0x3000, 0x5000, 12, amdtable.Read) }, amdtable.Denied, amdtable.IOPageFault,
			amdtable.FaultRW | amdtable.FaultPR | amdtable.FaultPE},
		{"device without the right to write", rid, 0x1000, true, func(m *machine) {
			d := m.entry()
			d.Rights = amdtable.Read
			m.setDevice(rid, d)
		}, amdtable.Denied, amdtable.IOPageFault, amdtable.FaultRW | amdtable.FaultPR | amdtable.FaultPE},
		{"reserved bit", rid, 0x1000, false, func(m *machine) { m.Mem.Write64(m.b.Root, m.Mem.Read64(m.b.Root)|1<<55) }, amdtable.IllegalPTE, amdtable.IOPageFault,
			amdtable.FaultPR | amdtable.FaultRZ},
		{"beyond the table", rid, 1 << 48, false, nil, amdtable.BeyondWidth, amdtable.IOPageFault, 0},
		{"entry without translation", rid, 0x1000, false, func(m *machine) { m.setDevice(rid, amdtable.DTE{Valid: true}) }, amdtable.Denied, amdtable.IOPageFault,
			amdtable.FaultPR | amdtable.FaultPE},
		{"mode 7", rid, 0x1000, false, func(m *machine) {
			d := m.entry()
			d.Mode = 7
			m.setDevice(rid, d)
		}, amdtable.IllegalDevTableEntry, amdtable.IllegalDevTableEntry, 0},
		{"beyond the device table", 0x0100, 0x1000, false, nil, amdtable.IllegalDevTableEntry, amdtable.IllegalDevTableEntry, 0},
	} {
		m := newMachine(t, plain(), 4)
		m.mapPage(0x1000, 0x5000, 12)
		if c.change != nil {
			c.change(m)
		}
		_, done, err := m.u.Translate(c.rid, c.iova, c.write, m.Eng.Now())
		var f *iommu.Fault
		if !errors.As(err, &f) || f.Reason != c.want || f.Code != uint8(c.code) || f.RID != c.rid || f.IOVA != c.iova || f.Write != c.write || f.At != done {
			t.Errorf("%s: %v (%+v), want %v", c.name, err, f, c.want)
			continue
		}
		if m.read(amdtable.RegEventTail) != amdtable.EventSize || m.read(amdtable.RegStatus)&amdtable.StatusEventLogInt == 0 {
			t.Errorf("%s: event tail %d, status %#x", c.name, m.read(amdtable.RegEventTail), m.read(amdtable.RegStatus))
		}
		e := amdtable.DecodeEvent([2]uint64{m.Mem.Read64(logBase), m.Mem.Read64(logBase + 8)})
		if e.Code != c.code || e.Device != c.rid || e.Addr != c.iova || e.Flags != c.flags {
			t.Errorf("%s: logged %+v", c.name, e)
		}
	}
}

func TestTheLogOverflowsAndIsSilencedByTheDeviceEntry(t *testing.T) {
	m := newMachine(t, plain(), 4)
	for range 300 {
		m.u.Translate(rid, 0x9000, false, m.Eng.Now())
	}
	if s := m.read(amdtable.RegStatus); s&amdtable.StatusEventOverflow == 0 || s&amdtable.StatusEventLogRun != 0 || m.u.Stats.FaultsRecorded != 255 {
		t.Errorf("status %#x after 300 faults in a log of 256, %d recorded", s, m.u.Stats.FaultsRecorded)
	}
	for _, c := range []struct {
		change func(d *amdtable.DTE)
		logged uint64
	}{{func(d *amdtable.DTE) {}, 3}, {func(d *amdtable.DTE) { d.Suppress = true }, 1}, {func(d *amdtable.DTE) { d.SuppressAll = true }, 0}} {
		m := newMachine(t, plain(), 4)
		d := m.entry()
		c.change(&d)
		m.setDevice(rid, d)
		for range 3 {
			if _, _, err := m.u.Translate(rid, 0x9000, false, m.Eng.Now()); err == nil {
				t.Error("no fault")
			}
		}
		if m.u.Stats.FaultsRecorded != c.logged {
			t.Errorf("%+v: %d of 3 faults logged", d, m.u.Stats.FaultsRecorded)
		}
	}
}

func TestRequestsThatAreNotTranslated(t *testing.T) {
	m := newMachine(t, plain(), 4)
	for _, d := range []amdtable.DTE{{}, {Valid: true, Translation: true, Rights: amdtable.AllRights}} {
		m.setDevice(rid, d)
		m.invalidate(amdtable.Command{Op: amdtable.InvalidateDevtabEntry, Device: rid})
		if pa, _, err := m.u.Translate(rid, 0xabc123, true, m.Eng.Now()); pa != 0xabc123 || err != nil {
			t.Errorf("%+v: %#x %v", d, pa, err)
		}
	}
	if m.u.Stats.PassThrough != 2 {
		t.Errorf("%d requests passed through", m.u.Stats.PassThrough)
	}
	m.write(amdtable.RegControl, 0)
	if pa, done, err := m.u.Translate(rid, 0x1234, true, 42); pa != 0x1234 || done != 42 || err != nil {
		t.Errorf("disabled: %#x %v %v", pa, done, err)
	}
}

// With tables that do not change, the unit and the functional walk agree on every address, page size, right and fault, whatever its
// caches hold.
func TestUnitAgreesWithTheFunctionalWalk(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(12) {
		rng := sim.NewRand(seed, "twin")
		cfg := plain()
		cfg.IOTLB.Entries, cfg.IOTLB.Ways = 32, 2
		levels := 3 + int(seed%4)
		m := newMachine(t, cfg, levels)
		address := func() uint64 {
			return uint64(rng.IntN(2))<<38 | uint64(rng.IntN(4))<<30 | uint64(rng.IntN(4))<<21 | uint64(rng.IntN(8))<<12
		}
		var mapped [][2]uint64 // a page that lies in another one would make entries of that disagree
		for range 200 {
			shift := uint8(12 + rng.IntN(21))
			a := address() &^ (1<<shift - 1)
			if slices.ContainsFunc(mapped, func(r [2]uint64) bool { return a < r[1] && a+1<<shift > r[0] }) {
				continue
			}
			mapped = append(mapped, [2]uint64{a, a + 1<<shift})
			m.b.Map(a, rng.Uint64()>>14&^(1<<shift-1), shift, amdtable.Rights(rng.IntN(4)))
		}
		// Some tables are reached past a level, upper entries lose rights, and some entries are illegal.
		for range 4 {
			leaf := m.Frame()
			for i := range uint64(8) {
				m.Mem.Write64(leaf+i*8, amdtable.LeafPTE(rng.Uint64()>>14&^0xfff, 12, amdtable.AllRights))
			}
			m.Mem.Write64(amdtable.EntryAddr(m.b.Root, uint64(rng.IntN(4))<<30, levels), amdtable.TablePTE(leaf, 1+rng.IntN(levels-1)))
		}
		for range 6 {
			at := amdtable.EntryAddr(m.b.Root, address(), levels)
			if pte := m.Mem.Read64(at); rng.IntN(4) == 0 {
				m.Mem.Write64(at, pte|1<<53)
			} else {
				m.Mem.Write64(at, pte&^amdtable.IW)
			}
		}
		for i := range 4000 {
			a, write := address()|uint64(rng.IntN(4096)), rng.IntN(2) == 0
			pa, _, err := m.u.Translate(rid, a, write, m.Eng.Now())
			want, why := amdtable.Walk(m.Mem, m.b.Root, levels, a, write)
			if got := reason(err); got != why || why == amdtable.NoFault && pa != want.PA {
				t.Fatalf("seed %d request %d for %#x, write %v: %#x (%v), functional walk %#x (%v)", seed, i, a, write, pa, err, want.PA, why)
			}
			seen[fmt.Sprint(why)]++
			if why == amdtable.NoFault && want.Shift > 12 {
				seen["large page"]++
			}
			if rng.IntN(8) == 0 {
				m.Settle()
			}
		}
		seen["hit"] += int(m.u.Stats.Hits)
		seen["directory hit"] += int(m.u.Stats.PagingHits[2])
	}
	for _, what := range []string{"no fault", "page not present", "illegal page-table entry", "no permission", "large page", "hit", "directory hit"} {
		if seen[what] < 20 {
			t.Errorf("%q was seen %d times only", what, seen[what])
		}
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	c := DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	_, err := New(Config{Config: iommu.Config{Walkers: -1}, StoreTime: -1}, nil, nil, nil)
	for _, want := range []string{"clock_hz", "host_width is 0", "levels is 0", "walkers is -1", "store_time is -1", "needs an engine"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q not reported: %v", want, err)
		}
	}
}
