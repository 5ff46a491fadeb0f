package cache

import "testing"

// A device that does not snoop reads and writes memory and leaves every copy where it is; one that snoops does not.
func TestAroundLeavesTheCachesAlone(t *testing.T) {
	cfg := bare(2)
	const pa, now = 0x4000, 50 * us
	for _, c := range []struct {
		name  string
		setup func(h *Hierarchy)
		state State // core 0's copy, before and after
	}{
		{"nobody has it", func(h *Hierarchy) {}, Invalid},
		{"clean", func(h *Hierarchy) { read(h, 0, pa, 0) }, Exclusive},
		{"dirty", func(h *Hierarchy) { write(h, 0, pa, 0) }, Modified},
		{"dirty in the LLC", func(h *Hierarchy) { h.DeviceWrite(pa, 64, 0) }, Invalid},
	} {
		h := build(t, cfg)
		c.setup(h)
		where, _ := h.Probe(0, pa)
		h.ResetStats()
		a := h.Around()
		if done, lvl := a.DeviceRead(pa, 64, now); lvl != DRAM || done < now+cfg.IO.Latency+cfg.DRAM.Overhead {
			t.Errorf("%s: read from %v in %v", c.name, lvl, done-now)
		}
		if done := a.DeviceWrite(pa+8, 100, now+us) - now - us; done != cfg.IO.Latency+cfg.DRAM.Overhead+cfg.IO.Interval {
			t.Errorf("%s: 100 bytes of two lines written in %v", c.name, done)
		}
		if at, st := h.Probe(0, pa); at != where || st != c.state {
			t.Errorf("%s: core 0 then finds the line in %v %v, want %v %v", c.name, at, st, where, c.state)
		}
		if s := h.Stats(); s.DRAM.Reads != 1 || s.DRAM.Writes != 2 || s.IO.Partial != 2 || s.IO.Snooped != 0 || s.IO.ToMemory != 2 {
			t.Errorf("%s: %+v %+v", c.name, s.DRAM, s.IO)
		}
		if err := audit(h); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Repeated reads by a device that snoops find in the LLC what it wrote; around the caches each one goes to memory.
func TestAroundIsSlower(t *testing.T) {
	cfg := bare(1)
	h := build(t, cfg)
	h.DeviceWrite(0x8000, 64, 0)
	snooped, _ := h.DeviceRead(0x8000, 64, 10*us)
	around, _ := h.Around().DeviceRead(0x8000, 64, 20*us)
	if around-20*us <= snooped-10*us {
		t.Errorf("%v around the caches, %v from the LLC", around-20*us, snooped-10*us)
	}
}
