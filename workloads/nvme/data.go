package nvme

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/workloads"
)

// mapData is nvme_map_data of the driver's kernel with what it costs: the DMA calls in Result.Map, the rest in Result.Setup.
func (s *submitter) mapData(t *cpu.Thread, r *request, o *io, c *command) error {
	d := s.d
	setup, m := d.res.Setup.Begin(t), d.res.Map.Begin(t)
	a := api{s: s, sample: &m, cost: &o.cost}
	err := setup.Call(t, func() error {
		if d.cfg.Variant.Version() == kernel.V7_3 {
			return a.map73(t, r, c)
		}
		return a.map12(t, r, c)
	})
	m.End()
	setup.Without(&m)
	setup.End()
	o.cost.Around += setup.Cycles
	if r.pool != nil {
		c.list, c.listVA = r.list.addr, r.list.va
	}
	return err
}

// unmapData is nvme_unmap_data.
func (s *submitter) unmapData(t *cpu.Thread, r *request, o *io) error {
	d := s.d
	down, u := d.res.Teardown.Begin(t), d.res.Unmap.Begin(t)
	a := api{s: s, sample: &u, cost: &o.cost}
	err := down.Call(t, func() error {
		if d.cfg.Variant.Version() == kernel.V7_3 {
			return a.unmap73(t, r)
		}
		return a.unmap12(t, r)
	})
	u.End()
	down.Without(&u)
	down.End()
	o.cost.Around += down.Cycles
	return err
}

// api makes the DMA calls of one phase of a request and charges them to its sample.
type api struct {
	s      *submitter
	sample *workloads.Sample
	cost   *workloads.Cost
}

// call makes one call of kind k.
func (a *api) call(t *cpu.Thread, k workloads.Call, f func() error) error {
	cycles, instr := a.sample.Cycles, a.sample.Instr
	err := a.sample.Call(t, f)
	a.s.d.res.Calls[k]++
	a.cost.Plus(workloads.Cost{Cycles: a.sample.Cycles - cycles, Instr: a.sample.Instr - instr, Calls: 1})
	return err
}

// mapSingle is dma_map_bvec, a macro around dma_map_page (both versions).
func (a *api) mapSingle(t *cpu.Thread, r *request) error {
	d := a.s.d
	b := d.buffer(r.runs[0])
	r.how = single
	return a.call(t, workloads.CallMap, func() (err error) {
		r.addr, err = d.cfg.Variant.Map(t, d.dev.Ctx, b, r.dir, 0)
		return err
	})
}

func (a *api) unmapSingle(t *cpu.Thread, r *request) error {
	d := a.s.d
	return a.call(t, workloads.CallUnmap, func() error {
		return d.cfg.Variant.Unmap(t, d.dev.Ctx, r.addr, r.size, r.dir, 0)
	})
}

// bvec is the entry of page i of a request in the bio's table of pages; 6.12 and folios have one entry for a run.
func (r *request) bvecAt(i int) uint64 { return r.bvec + uint64(i)*16 }

// onePRPPair reports whether PRP1 and PRP2 of the command reach a request of one segment.
func (r *request) onePRPPair() bool { return OneCall(1, r.runs[0].Phys, r.size, false) }

// sgls is nvme_pci_use_sgls: the controller takes them and the mean segment is large enough.
func (a *api) sgls(t *cpu.Thread, r *request) bool {
	t.Mem(cpu.Load, r.va+96, 2, 0, 0) // nr_phys_segments
	avg := (r.size + uint64(r.segs) - 1) / uint64(r.segs)
	use := a.s.d.cfg.SGL && avg >= sglLeast
	t.Branch(use, t.Op(cpu.Div, t.ALU(4, 0)))
	return use
}

// takeList gets the block for n entries of size bytes: from the small pool when they fit.
func (a *api) takeList(t *cpu.Thread, r *request, n, size int) {
	d := a.s.d
	r.pool = d.small
	t.Branch(n*size <= smallPool, t.ALU(2, 0))
	if n*size > smallPool {
		r.pool = d.page
	}
	r.list = r.pool.alloc(t)
	t.Store(r.va+128, 0, t.Last()) // the request remembers it
}

// sglEntries emits the descriptors of 16 bytes for the pieces.
func (a *api) sglEntry(t *cpu.Thread, r *request, i int) {
	v := t.ALU(2, 0)
	t.Store(r.list.va+uint64(i)*16, 0, v)
	t.Mem(cpu.Store, r.list.va+uint64(i)*16+8, 8, 0, t.ALU(2, v))
}
