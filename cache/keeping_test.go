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
		h, err := New(tiny(1, false, LRU))
		if err != nil {
			t.Fatal(err)
		}
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
