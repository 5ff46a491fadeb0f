package cache

import "dmapath/sim"

// Around is the memory system as a device sees it that does not snoop: its reads come from memory and its writes go there, whatever
// the caches hold. They keep what they have, which is then older than memory, or newer.
type Around struct{ h *Hierarchy }

// Around returns h without snooping.
func (h *Hierarchy) Around() Around { return Around{h} }

// DeviceRead does a read of n bytes, 1 to 4096 within a page, that reaches the fabric at now. It returns when the last byte is back
// there. lvl is DRAM.
func (a Around) DeviceRead(pa uint64, n int, now sim.Time) (done sim.Time, lvl Level) {
	h := a.h
	span(pa, n)
	for at := pa &^ 63; at < pa+uint64(n); at += LineBytes {
		h.io.Reads[DRAM]++
		done = max(done, h.mem.read(at, now+h.cfg.IO.Latency+h.cfg.DRAM.Overhead))
		now += h.cfg.IO.Interval
	}
	return done, DRAM
}

// DeviceWrite does a write of n bytes, 1 to 4096 within a page, that reaches the fabric at now. It returns when memory has accepted all
// of it. A part of a line is written under a mask and costs what a line costs.
func (a Around) DeviceWrite(pa uint64, n int, now sim.Time) (done sim.Time) {
	h := a.h
	span(pa, n)
	end := pa + uint64(n)
	for at := pa &^ 63; at < end; at += LineBytes {
		h.io.Writes++
		h.io.ToMemory++
		if at < pa || at+LineBytes > end {
			h.io.Partial++
		}
		t := now + h.cfg.IO.Latency
		h.mem.write(at, t)
		done = max(done, t+h.cfg.DRAM.Overhead)
		now += h.cfg.IO.Interval
	}
	return done
}
