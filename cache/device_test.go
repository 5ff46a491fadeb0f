package cache

import (
	"testing"

	"dmapath/sim"
)

// Device writes may take their ways of each LLC set and no others, however many there are.
func TestDDIOStaysInItsWays(t *testing.T) {
	for _, ways := range []int{1, 2, 5} {
		for _, p := range []Policy{LRU, TreePLRU, SRRIP} {
			cfg := bare(1)
			cfg.LLC.Policy = p
			cfg.LLC.Bytes = 12 * 64 * 1024
			cfg.IO.DDIOWays = ways
			h := build(t, cfg)
			for line := range uint64(50_000) {
				h.DeviceWrite(line<<6, 64, sim.Time(line)*sim.Nanosecond*100)
			}
			held := 0
			for set := range uint64(h.llc.sets) {
				for w, tag := range h.llc.tagsOf(set) {
					if tag&tagValid == 0 {
						continue
					}
					held++
					if w >= ways {
						t.Fatalf("%v: a device write allocated way %d of %d", p, w, ways)
					}
				}
			}
			if held != ways*h.llc.sets {
				t.Errorf("%v: %d lines held, want %d", p, held, ways*h.llc.sets)
			}
			s := h.Stats()
			if want := uint64(50_000 - held); s.DRAM.Writes != want {
				t.Errorf("%v: %d write-backs, want %d", p, s.DRAM.Writes, want)
			}
		}
	}
}

// What a device does to each state of a line: who has it afterwards, what it costs, what memory sees.
func TestDeviceAccessTable(t *testing.T) {
	cfg := bare(2)
	snoop := cfg.Peer - cfg.LLC.Latency
	const pa = 0x4000
	rowHit, rowMiss, _ := cfg.RowTimes()
	_ = rowHit
	io := cfg.IO.Latency
	type setup func(h *Hierarchy)
	nobody := func(h *Hierarchy) {}
	modified := func(h *Hierarchy) { write(h, 0, pa, 0) }
	exclusive := func(h *Hierarchy) { read(h, 0, pa, 0) }
	shared := func(h *Hierarchy) { read(h, 0, pa, 0); read(h, 1, pa, us) }
	inLLC := func(h *Hierarchy) { h.DeviceWrite(pa, 64, 0) }
	for _, c := range []struct {
		name   string
		ddio   int
		setup  setup
		write  bool
		n      int
		took   sim.Time
		lvl    Level // reads
		after  Level // where core 0 then finds it
		state  State
		writes uint64
		reads  uint64
	}{
		{"read, nobody has it", 2, nobody, false, 64, rowMiss - cfg.LLC.Latency + io, DRAM, DRAM, Invalid, 0, 1},
		{"read, modified", 2, modified, false, 64, io + snoop, Peer, L1, Modified, 0, 0},
		{"read, exclusive", 2, exclusive, false, 64, io + snoop, Peer, L1, Exclusive, 0, 0},
		{"read, shared", 2, shared, false, 64, io, LLC, L1, Shared, 0, 0},
		{"read, LLC", 2, inLLC, false, 64, io, LLC, LLC, Invalid, 0, 0},
		{"write, nobody has it", 2, nobody, true, 64, io, 0, LLC, Invalid, 0, 0},
		{"write, modified", 2, modified, true, 64, io + snoop, 0, LLC, Invalid, 0, 0},
		{"write, shared", 2, shared, true, 64, io + snoop, 0, LLC, Invalid, 0, 0},
		{"write, LLC", 2, inLLC, true, 64, io, 0, LLC, Invalid, 0, 0},
		{"partial write, nobody has it", 2, nobody, true, 8, rowMiss - cfg.LLC.Latency + io, 0, LLC, Invalid, 0, 1},
		{"partial write, modified", 2, modified, true, 8, io + snoop, 0, LLC, Invalid, 0, 0},
		{"partial write, LLC", 2, inLLC, true, 8, io, 0, LLC, Invalid, 0, 0},
		{"write without DDIO, nobody has it", 0, nobody, true, 64, io + cfg.DRAM.Overhead, 0, DRAM, Invalid, 1, 0},
		{"write without DDIO, modified", 0, modified, true, 64, io + snoop + cfg.DRAM.Overhead, 0, DRAM, Invalid, 1, 0},
		{"partial write without DDIO, nobody has it", 0, nobody, true, 8, io + cfg.DRAM.Overhead, 0, DRAM, Invalid, 1, 0},
		{"partial write without DDIO, modified", 0, modified, true, 8, io + snoop + cfg.DRAM.Overhead, 0, DRAM, Invalid, 2, 0},
	} {
		cfg := cfg
		cfg.IO.DDIOWays = c.ddio
		h := build(t, cfg)
		c.setup(h)
		h.ResetStats()
		const now = 50 * us
		var done sim.Time
		var lvl Level
		if c.write {
			done = h.DeviceWrite(pa, c.n, now)
		} else {
			done, lvl = h.DeviceRead(pa, c.n, now)
		}
		if done-now != c.took || lvl != c.lvl {
			t.Errorf("%s: %v from %v, want %v from %v", c.name, done-now, lvl, c.took, c.lvl)
		}
		if at, st := h.Probe(0, pa); at != c.after || st != c.state {
			t.Errorf("%s: core 0 then finds it in %v %v, want %v %v", c.name, at, st, c.after, c.state)
		}
		if s := h.Stats().DRAM; s.Writes != c.writes || s.Reads != c.reads {
			t.Errorf("%s: %d DRAM writes and %d reads, want %d and %d", c.name, s.Writes, s.Reads, c.writes, c.reads)
		}
		if err := audit(h); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A status line that a CPU polls: each poll hits L1 until the device writes it, then one poll goes to the LLC.
func TestPolledLine(t *testing.T) {
	cfg := bare(1)
	h := build(t, cfg)
	read(h, 0, 0, 0)
	h.Load(0, 0, 1, us)
	for range 100 {
		if _, ok := h.LoadHit(0, 0); !ok {
			t.Fatal("poll misses")
		}
	}
	h.DeviceWrite(0, 4, 2*us)
	if _, ok := h.LoadHit(0, 0); ok {
		t.Fatal("the CPU still has the old line")
	}
	if done, lvl := h.Load(0, 0, 1, 3*us); lvl != LLC || done != 3*us+cfg.LLC.Latency {
		t.Errorf("%v from %v", done-3*us, lvl)
	}
}

// A long access is spaced by the port: its last line starts (n-1) intervals later.
func TestDeviceAccessIsSpacedByThePort(t *testing.T) {
	cfg := bare(1)
	h := build(t, cfg)
	h.DeviceWrite(0, 4096, 0)
	if done, lvl := h.DeviceRead(0, 4096, us); done != us+63*cfg.IO.Interval+cfg.IO.Latency || lvl != LLC {
		t.Errorf("4 KiB from %v in %v", lvl, done-us)
	}
	if s := h.Stats().IO; s.Reads[LLC] != 64 || s.Writes != 64 || s.Partial != 0 {
		t.Errorf("%+v", s)
	}
	// Unaligned: 128 bytes from offset 32 touch three lines, two of them in part.
	h.ResetStats()
	h.DeviceWrite(32, 128, 2*us)
	if s := h.Stats().IO; s.Writes != 3 || s.Partial != 2 {
		t.Errorf("%+v", s)
	}
}

func TestDeviceAccessLimits(t *testing.T) {
	h := build(t, bare(1))
	for _, c := range []struct {
		pa uint64
		n  int
	}{{0, 0}, {0, 4097}, {4000, 200}, {1 << 52, 64}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d bytes at %#x accepted", c.n, c.pa)
				}
			}()
			h.DeviceRead(c.pa, c.n, 0)
		}()
	}
}

// Cache maintenance by state: what it costs, what it writes, what stays.
func TestMaintenanceTable(t *testing.T) {
	cfg := bare(2)
	const pa = 0x4000
	over := cfg.DRAM.Overhead
	for _, c := range []struct {
		name   string
		setup  func(h *Hierarchy)
		drop   bool
		took   sim.Time
		writes uint64
		after  Level
		state  State
	}{
		{"flush, nobody has it", func(h *Hierarchy) {}, true, cfg.LLC.Latency, 0, DRAM, Invalid},
		{"flush, clean", func(h *Hierarchy) { read(h, 0, pa, 0) }, true, cfg.LLC.Latency, 0, DRAM, Invalid},
		{"flush, own dirty", func(h *Hierarchy) { write(h, 0, pa, 0) }, true, cfg.LLC.Latency + over, 1, DRAM, Invalid},
		{"flush, other's dirty", func(h *Hierarchy) { write(h, 1, pa, 0) }, true, cfg.Peer + over, 1, DRAM, Invalid},
		{"flush, dirty in LLC", func(h *Hierarchy) { h.DeviceWrite(pa, 64, 0) }, true, cfg.LLC.Latency + over, 1, DRAM, Invalid},
		{"flush, shared and dirty in LLC", func(h *Hierarchy) { write(h, 1, pa, 0); read(h, 0, pa, us) }, true, cfg.Peer + over, 1, DRAM, Invalid},
		{"clean, own dirty", func(h *Hierarchy) { write(h, 0, pa, 0) }, false, cfg.LLC.Latency + over, 1, L1, Exclusive},
		{"clean, clean", func(h *Hierarchy) { read(h, 0, pa, 0) }, false, cfg.LLC.Latency, 0, L1, Exclusive},
		{"clean, other's dirty", func(h *Hierarchy) { write(h, 1, pa, 0) }, false, cfg.Peer + over, 1, Peer, Invalid},
		{"clean, dirty in LLC", func(h *Hierarchy) { h.DeviceWrite(pa, 64, 0) }, false, cfg.LLC.Latency + over, 1, LLC, Invalid},
	} {
		h := build(t, cfg)
		c.setup(h)
		h.ResetStats()
		const now = 50 * us
		op := h.Clean
		if c.drop {
			op = h.CleanInvalidate
		}
		if took := op(0, pa, now) - now; took != c.took {
			t.Errorf("%s: %v, want %v", c.name, took, c.took)
		}
		if at, st := h.Probe(0, pa); at != c.after || st != c.state {
			t.Errorf("%s: then in %v %v, want %v %v", c.name, at, st, c.after, c.state)
		}
		if s := h.Stats().DRAM; s.Writes != c.writes {
			t.Errorf("%s: %d DRAM writes, want %d", c.name, s.Writes, c.writes)
		}
		// A second one has nothing to write.
		if op(0, pa, now+us); h.Stats().DRAM.Writes != c.writes {
			t.Errorf("%s: written back twice", c.name)
		}
	}
}

// Invalidation takes a dirty line away and leaves memory alone, where the clean that it must not be would write it.
func TestInvalidateDiscards(t *testing.T) {
	cfg := bare(2)
	const pa, now = 0x4000, 50 * us
	for _, c := range []struct {
		name  string
		setup func(h *Hierarchy)
		took  sim.Time
	}{
		{"own dirty", func(h *Hierarchy) { write(h, 0, pa, 0) }, cfg.LLC.Latency},
		{"other's dirty", func(h *Hierarchy) { write(h, 1, pa, 0) }, cfg.Peer},
		{"dirty in LLC", func(h *Hierarchy) { h.DeviceWrite(pa, 64, 0) }, cfg.LLC.Latency},
		{"clean", func(h *Hierarchy) { read(h, 0, pa, 0) }, cfg.LLC.Latency},
	} {
		h := build(t, cfg)
		c.setup(h)
		h.ResetStats()
		if took := h.Invalidate(0, pa, now) - now; took != c.took {
			t.Errorf("%s: %v, want %v", c.name, took, c.took)
		}
		if at, st := h.Probe(0, pa); at != DRAM || st != Invalid {
			t.Errorf("%s: then in %v %v", c.name, at, st)
		}
		if s := h.Stats().DRAM; s.Writes != 0 {
			t.Errorf("%s: %d DRAM writes", c.name, s.Writes)
		}
		if err := audit(h); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// As many lines are maintained at once as there are miss registers: rounds of the LLC's latency, and no more at once than that.
func TestMaintenanceTakesMissRegisters(t *testing.T) {
	cfg := bare(1)
	cfg.L1D.MSHRs = 4
	for n, rounds := range map[int]sim.Time{1: 1, 4: 1, 5: 2, 8: 2, 9: 3} {
		h := build(t, cfg)
		const now = 50 * us
		var done sim.Time
		for i := range uint64(n) {
			done = max(done, h.Clean(0, 0x4000+i*64, now))
		}
		if done-now != rounds*cfg.LLC.Latency {
			t.Errorf("%d lines take %v, want %d rounds of %v", n, done-now, rounds, cfg.LLC.Latency)
		}
	}
}
