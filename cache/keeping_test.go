package cache

import (
	"testing"

	"dmapath/sim"
)

// What an IOMMU reads through Keeping is in the LLC when it reads it again; through the hierarchy itself it comes from memory every time.
func TestKeepingReadsStayInTheLLC(t *testing.T) {
	for _, c := range []struct {
		keep bool
		want [2]Level
	}{{false, [2]Level{DRAM, DRAM}}, {true, [2]Level{DRAM, LLC}}} {
		h := build(t, tiny(1, false, LRU))
		read := h.DeviceRead
		if c.keep {
			read = h.Keeping().DeviceRead
		}
		now := sim.Time(0)
		for i, want := range c.want {
			done, lvl := read(0x1000, 8, now)
			if lvl != want {
				t.Errorf("keep %v: read %d comes from %v, want %v", c.keep, i, lvl, want)
			}
			if want == LLC && done != now+h.cfg.IO.Latency {
				t.Errorf("from the LLC it takes %v, want %v", done-now, h.cfg.IO.Latency)
			}
			now = done + sim.Microsecond
		}
		if h.io.Reads[DRAM]+h.io.Reads[LLC] != 2 {
			t.Errorf("%d reads counted", h.io.Reads[DRAM]+h.io.Reads[LLC])
		}
	}
}

// With OwnFirst a write is visible one trip later, and changes the same.
func TestOwnFirstIsATripMore(t *testing.T) {
	var done [2]sim.Time
	var io [2]IOStats
	for i, own := range []bool{false, true} {
		c := tiny(1, false, LRU)
		c.IO.OwnFirst = own
		h := build(t, c)
		done[i] = h.DeviceWrite(0x1000, 256, sim.Microsecond)
		io[i] = h.io
	}
	if d, want := done[1]-done[0], tiny(1, false, LRU).IO.Latency; d != want || io[0] != io[1] {
		t.Errorf("%v later, want %v; counts %+v and %+v", d, want, io[0], io[1])
	}
}
