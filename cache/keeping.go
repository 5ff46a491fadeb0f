package cache

import "dmapath/sim"

// Keeping is the memory system as an IOMMU sees it whose reads of tables stay in the LLC: a line that comes from memory is put there, in
// any way, as if a core had read it. Everything else is as for a device.
type Keeping struct{ *Hierarchy }

// Keeping returns h for reads that stay in the LLC.
func (h *Hierarchy) Keeping() Keeping { return Keeping{h} }

// DeviceRead is Hierarchy.DeviceRead, and what was not in a cache is in the LLC then.
func (k Keeping) DeviceRead(pa uint64, n int, now sim.Time) (done sim.Time, lvl Level) {
	h := k.Hierarchy
	span(pa, n)
	for a := pa &^ 63; a < pa+uint64(n); a += LineBytes {
		d, l := h.readLine(a, now)
		h.io.Reads[l]++
		if l == DRAM {
			h.insertLLC(a, false, h.llc.ways, now, -1)
		}
		done, lvl = max(done, d), max(lvl, l)
		now += h.cfg.IO.Interval
	}
	return done, lvl
}
