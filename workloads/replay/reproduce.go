package replay

import (
	"dmapath/kernel"
	"dmapath/kernel/iova"
	driver "dmapath/workloads/nvme"
)

// Share counts how many of some things came out as recorded.
type Share struct{ Exact, Of int64 }

func (s *Share) add(ok bool) {
	s.Of++
	if ok {
		s.Exact++
	}
}

// Reproduction compares what a Player's kernel does with what the traced one did.
//
// An iommu: event is reproduced when the modelled kernel writes or clears page-table entries for the same range at the same physical
// address, in a call that has as many events as the recorded one. The modelled domain has a history of its own, so the place
// of an event in it is measured from the beginning of the call's range, and the beginning is the predictor's: a range whose IOVA was
// predicted wrong is not reproduced. A range whose IOVA comes from before the trace is judged by what follows from its beginning.
type Reproduction struct {
	Maps, Unmaps Share // iommu:map and iommu:unmap events behind the calls that were performed
	// Requests are the calls whose interface is the one that the modelled driver chooses for memory of that shape: see Chosen.
	Requests Share
	// By is Requests by the recorded interface.
	By [NumHow]Share
	// Folios are the requests of them that 7.3 recorded as one dma_map_phys of several pages: the pages are taken for one folio, which no
	// event shows.
	Folios int64
	// Revealing are the requests that were not judged, because they are what shows that the controller takes scatter-gather lists.
	Revealing int64

	got []kernel.IOMMUEvent // of the call under way
	sgl map[int]bool        // by device: takes scatter-gather lists
}

// listen collects the events of p's kernel.
func (r *Reproduction) listen(env *kernel.Env) {
	r.sgl = map[int]bool{}
	env.OnIOMMU = func(ev kernel.IOMMUEvent) { r.got = append(r.got, ev) }
}

// mapped judges a map call that placed its pieces as h says.
func (r *Reproduction) mapped(c *Call, h *held) {
	if len(c.Recorded) == 0 || len(r.got) == 0 {
		return
	}
	h.base, h.recorded = r.got[0].IOVA, c.Recorded[0].IOVA
	same := len(r.got) == len(c.Recorded) && c.Verdict != iova.Wrong
	for i, want := range c.Recorded {
		ok := same
		if ok {
			got := r.got[i]
			ok = !got.Unmap && got.IOVA-h.base == want.IOVA-h.recorded && got.Size == want.Size && h.moved(c, got.Phys) == want.Phys
		}
		r.Maps.add(ok)
	}
}

// moved translates a physical address of the simulated machine into one of the traced machine.
func (h *held) moved(c *Call, phys uint64) uint64 {
	for i, s := range h.phys {
		if at := s.Phys &^ 4095; phys >= at && phys < s.Phys+s.Size && i < len(c.Runs) {
			return phys - s.Phys + c.Runs[i].Phys
		}
	}
	return ^uint64(0)
}

// unmapped judges an unmap call.
func (r *Reproduction) unmapped(c *Call, h *held) {
	if len(c.Recorded) == 0 || h.recorded == 0 {
		return
	}
	same := len(r.got) == len(c.Recorded)
	for i, want := range c.Recorded {
		ok := same
		if ok {
			got := r.got[i]
			ok = got.Unmap && got.IOVA-h.base == want.IOVA-h.recorded && got.Size == want.Size && got.Done == want.Done
		}
		r.Unmaps.add(ok)
	}
}

// refused judges a call that the simulated machine could not make.
func (r *Reproduction) refused(c *Call) {
	to := &r.Maps
	if c.Unmap {
		to = &r.Unmaps
	}
	for range c.Recorded {
		to.add(false)
	}
}

// request judges the interface of a map call.
func (r *Reproduction) request(v kernel.Version, c *Call) {
	if c.How == Coherent || c.How == Resource {
		return
	}
	if c.Block && c.How == Single && !r.sgl[c.Device] {
		if run := c.Runs[0]; !driver.OneCall(1, run.Phys, run.Size, false) {
			r.sgl[c.Device] = true
			r.Revealing++
			return
		}
	}
	how, folio := Chosen(v, c, r.sgl[c.Device])
	if folio {
		r.Folios++
	}
	r.Requests.add(how == c.How)
	r.By[c.How].add(how == c.How)
}

// Chosen is the interface that the drivers of kernel v choose for the memory of a map call. A network driver maps its buffers one by
// one. The NVMe driver maps a request of one segment by itself if PRPs or a scatter-gather list reach it, and else a
// scatterlist (6.12) or links (7.3); folio says that this takes the pages to be one folio, because they were mapped by one call.
func Chosen(v kernel.Version, c *Call, sgl bool) (how How, folio bool) {
	if !c.Block {
		return Single, false
	}
	segs, pages := 0, 0
	for _, run := range c.Runs {
		segs += driver.Segments(v, run.Phys, run.Size, false)
		pages += driver.Segments(kernel.V7_3, run.Phys, run.Size, false)
	}
	if folio = v == kernel.V7_3 && c.How == Single && pages > 1; folio {
		segs = 1
	}
	switch {
	case driver.OneCall(segs, c.Runs[0].Phys, c.Size, sgl):
		return Single, folio
	case v == kernel.V7_3:
		return Link, false
	}
	return List, false
}
