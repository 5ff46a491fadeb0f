package nvme

import (
	"errors"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/mm"
	"dmapath/kernel/scatterlist"
	"dmapath/workloads"
)

// Functions of the data path of 6.12. Their instructions are not recorded: they are estimated from the structure of the source
// (drivers/nvme/host/pci.c, block/blk-merge.c, lib/scatterlist.c), what they call is modelled.
var (
	fnMapData12   = cpu.NewFunc("nvme_map_data", pci, 900)
	fnPrps12      = cpu.NewFunc("nvme_pci_setup_prps", pci, 800)
	fnSgls12      = cpu.NewFunc("nvme_pci_setup_sgls", pci, 500)
	fnUnmapData12 = cpu.NewFunc("nvme_unmap_data", pci, 300)
	fnInitTable   = cpu.NewFunc("sg_init_table", "lib/scatterlist.c", 80)
	fnBlkMapSG    = cpu.NewFunc("__blk_rq_map_sg", "block/blk-merge.c", 900)
)

// map12 is nvme_map_data of 6.12: one segment is mapped as a page, everything else as a scatterlist.
func (a *api) map12(t *cpu.Thread, r *request, c *command) error {
	t.Call(fnMapData12)
	t.Nop(2)
	t.Push(6)
	t.Frame(32)
	segs := t.Mem(cpu.Load, r.va+96, 2, 0, 0)
	t.Branch(r.segs == 1, t.ALU(2, segs))
	err := a.mapData12(t, r, c)
	t.Frame(-32)
	t.Pop(6)
	t.Ret()
	return err
}

func (a *api) mapData12(t *cpu.Thread, r *request, c *command) error {
	if r.segs == 1 {
		t.ALU(6, t.Mem(cpu.Load, r.bvecAt(0), 16, 0, 0)) // req_bvec
		simple := r.onePRPPair()
		t.Branch(simple, t.ALU(3, 0))
		a.p2pTest(t, r, 0)
		if a.s.d.cfg.Peer == nil && (simple || a.s.d.cfg.SGL) { // nvme_setup_prp_simple, nvme_setup_sgl_simple
			if err := a.mapSingle(t, r); err != nil {
				return err
			}
			t.Branch(false, t.ALU(1, 0))
			t.Mem(cpu.Store, r.va+136, 4, 0, t.ALU(3, 0)) // dma_len
			t.Store(r.va+216, 0, 0)                       // the command's data pointer
			if simple {
				t.Store(r.va+224, 0, t.ALU(3, 0))
				c.split(r.addr, r.size)
			} else {
				t.Store(r.va+224, 0, t.ALU(2, 0))
				c.sgl = append(c.sgl, iommucore.Segment{Phys: r.addr, Size: r.size})
			}
			return nil
		}
	}
	d := a.s.d
	r.how = viaSG
	r.sg.Segs = r.runs
	t.ALU(3, 0)
	r.sg.VA = d.iods.alloc(t)
	r.walk.VA = r.sg.VA
	r.walk.Reset()
	for _, run := range r.runs {
		r.walk.Add(run.Phys, 0, run.Size)
	}
	t.Store(r.sg.Table, 0, t.ALU(1, 0))
	a.initTable(t, r)
	a.blkMapSG(t, r)
	t.Mem(cpu.Store, r.sg.Table+12, 4, 0, t.ALU(2, 0)) // orig_nents
	if p := d.cfg.Peer; p != nil && p.BAR.Kind == mm.MMIO {
		if err := a.resources12(t, r); err != nil {
			return err
		}
	} else if err := a.call(t, workloads.CallMapSG, func() error {
		return d.dev.Ctx.MapSGTable(t, &r.sg, r.dir, kernel.AttrNoWarn)
	}); err != nil {
		return err
	}
	t.Branch(false, t.ALU(1, 0))
	if a.sgls(t, r) {
		a.sgls12(t, r, c)
	} else {
		a.prps12(t, r, c)
	}
	return nil
}

// resources12 maps memory of another device that has no struct pages, as an exporter of a DMABUF does for its importer on 6.12: every
// piece by dma_map_resource, its address written to the entry.
func (a *api) resources12(t *cpu.Thread, r *request) error {
	ctx := a.s.d.dev.Ctx
	r.how = viaResource
	r.sg.DMA = r.sg.DMA[:0]
	top := t.Here()
	for i, run := range r.runs {
		var addr uint64
		if err := a.call(t, workloads.CallMap, func() (err error) {
			addr, err = ctx.MapResource(t, run.Phys, run.Size, r.dir, kernel.AttrSkipCPUSync)
			return err
		}); err != nil {
			return err
		}
		t.Branch(false, t.ALU(1, 0))
		e := r.walk.At(i)
		t.Store(e+scatterlist.DMAAddr, 0, 0)
		t.Mem(cpu.Store, e+scatterlist.DMALength, 4, 0, 0)
		r.sg.DMA = append(r.sg.DMA, iommucore.Segment{Phys: addr, Size: run.Size})
		r.walk.Next(t, i, 0)
		t.Loop(top, i+1 < len(r.runs), t.ALU(1, 0))
	}
	return nil
}

func (a *api) unmapResources12(t *cpu.Thread, r *request) (err error) {
	ctx := a.s.d.dev.Ctx
	top := t.Here()
	for i, p := range r.sg.DMA {
		e := r.walk.At(i)
		t.Load(e+scatterlist.DMAAddr, 0)
		t.Mem(cpu.Load, e+scatterlist.DMALength, 4, 0, 0)
		err = errors.Join(err, a.call(t, workloads.CallUnmap, func() error {
			return ctx.UnmapResource(t, p.Phys, p.Size, r.dir, kernel.AttrSkipCPUSync)
		}))
		r.walk.Next(t, i, 0)
		t.Loop(top, i+1 < len(r.sg.DMA), t.ALU(1, 0))
	}
	return err
}

// initTable is sg_init_table: the entries are cleared and the last is marked.
func (a *api) initTable(t *cpu.Thread, r *request) {
	t.Call(fnInitTable)
	t.Nop(2)
	t.Push(2)
	t.StringSet(r.sg.VA, r.segs*scatterlist.Bytes, t.ALU(4, 0))
	t.RMW(r.sg.VA+uint64(r.segs-1)*scatterlist.Bytes, 0, t.ALU(3, 0))
	t.Pop(2)
	t.Ret()
}

// blkMapSG is blk_rq_map_sg: an entry for every bio_vec, filled with page, offset and length.
func (a *api) blkMapSG(t *cpu.Thread, r *request) {
	t.Call(fnBlkMapSG)
	t.Nop(2)
	t.Push(6)
	t.Frame(64)
	t.ALU(12, t.Load(r.va+56, 0)) // the bio
	top := t.Here()
	for i := range r.segs {
		page := t.Load(r.bvecAt(i), 0)
		ln := t.Load(r.bvecAt(i)+8, 0)
		t.ALU(12, ln) // the iterator's part of the vector
		t.Branch(false, t.Last())
		e := r.sg.VA + uint64(i)*scatterlist.Bytes
		if i > 0 {
			t.RMW(e-scatterlist.Bytes, 0, 0) // the end marker of the entry before goes
			r.walk.Next(t, i-1, 0)
		}
		link := t.LoadOp(e+scatterlist.PageLink, 0, page)
		t.Branch(false, t.ALU(1, page)) // a page pointer with low bits set is a bug
		t.Store(e+scatterlist.PageLink, 0, t.ALU(2, link))
		t.Mem(cpu.Store, e+scatterlist.Offset, 4, 0, t.ALU(1, ln))
		t.Mem(cpu.Store, e+scatterlist.Length, 4, 0, ln)
		t.ALU(8, ln) // advance
		t.Loop(top, i+1 < r.segs, t.Last())
	}
	t.RMW(r.sg.VA+uint64(r.segs-1)*scatterlist.Bytes, 0, t.ALU(4, 0)) // sg_mark_end
	t.Frame(-64)
	t.Pop(6)
	t.Ret()
}

// prps12 is nvme_pci_setup_prps: the first page into the command, the second too if it is the last, else a list.
func (a *api) prps12(t *cpu.Thread, r *request, c *command) {
	for _, p := range r.sg.DMA {
		c.split(p.Phys, p.Size)
	}
	t.Call(fnPrps12)
	t.Nop(2)
	t.Push(6)
	t.Frame(48)
	t.ALU(4, t.Load(r.sg.VA+scatterlist.DMAAddr, 0))
	t.ALU(8, t.Mem(cpu.Load, r.sg.VA+scatterlist.DMALength, 4, 0, 0))
	t.Store(r.va+216, 0, t.Last()) // PRP1
	t.Branch(len(c.prps) <= 2, t.ALU(3, 0))
	if len(c.prps) > 2 {
		a.takeList(t, r, len(c.prps)-1, 8)
		top := t.Here()
		piece, left := 0, r.sg.DMA[0].Size-min(r.sg.DMA[0].Size, 4096-r.sg.DMA[0].Phys&4095)
		for i := range c.prps[1:] {
			if left == 0 { // the next DMA segment
				e := r.sg.VA + uint64(piece)*scatterlist.Bytes
				r.walk.Next(t, piece, 0)
				piece++
				left = r.sg.DMA[piece].Size
				t.Load(e+scatterlist.Bytes+scatterlist.DMAAddr, 0)
				t.Mem(cpu.Load, e+scatterlist.Bytes+scatterlist.DMALength, 4, 0, 0)
			}
			v := t.ALU(2, 0)
			t.Branch(false, v) // the list is full
			t.Store(r.list.va+uint64(i)*8, 0, v)
			t.ALU(4, v)
			t.Branch(false, t.Last())
			t.Loop(top, i+2 < len(c.prps), t.ALU(1, 0))
			left -= min(left, 4096)
		}
	}
	t.Store(r.va+224, 0, t.ALU(4, 0)) // PRP2
	t.Frame(-48)
	t.Pop(6)
	t.Ret()
}

// sgls12 is nvme_pci_setup_sgls: one DMA segment goes into the command, more into a list.
func (a *api) sgls12(t *cpu.Thread, r *request, c *command) {
	c.sgl = append(c.sgl, r.sg.DMA...)
	t.Call(fnSgls12)
	t.Nop(2)
	t.Push(5)
	t.Branch(len(c.sgl) == 1, t.ALU(6, 0))
	if len(c.sgl) > 1 {
		a.takeList(t, r, len(c.sgl), 16)
		top := t.Here()
		for i := range c.sgl {
			e := r.sg.VA + uint64(i)*scatterlist.Bytes
			t.Load(e+scatterlist.DMAAddr, 0)
			t.Mem(cpu.Load, e+scatterlist.DMALength, 4, 0, 0)
			a.sglEntry(t, r, i)
			r.walk.Next(t, i, 0)
			t.Loop(top, i+1 < len(c.sgl), t.ALU(2, 0))
		}
	} else {
		t.Load(r.sg.VA+scatterlist.DMAAddr, 0)
		t.Mem(cpu.Load, r.sg.VA+scatterlist.DMALength, 4, 0, 0)
	}
	t.Store(r.va+216, 0, t.ALU(2, 0))
	t.Store(r.va+224, 0, t.ALU(2, 0))
	t.Pop(5)
	t.Ret()
}

// unmap12 is nvme_unmap_data of 6.12: 22 instructions of its own when the request is one mapped page (recorded).
func (a *api) unmap12(t *cpu.Thread, r *request) error {
	d := a.s.d
	if r.how == single {
		d.fn.unmapData.emit(t, r.va+64, r.va+128)
		return a.unmapSingle(t, r)
	}
	t.Call(fnUnmapData12)
	t.Nop(2)
	t.Push(4)
	t.Branch(false, t.ALU(2, t.Mem(cpu.Load, r.va+136, 4, 0, 0))) // dma_len
	t.ALU(6, 0)
	var err error
	if r.how == viaResource {
		err = a.unmapResources12(t, r)
	} else {
		err = a.call(t, workloads.CallUnmapSG, func() error { return d.dev.Ctx.UnmapSGTable(t, &r.sg, r.dir, 0) })
	}
	allocs := t.Mem(cpu.Load, r.va+140, 1, 0, 0)
	t.Branch(r.pool != nil, t.ALU(2, allocs))
	if r.pool != nil {
		t.Load(r.va+128, 0)
		r.pool.release(t, r.list)
	}
	d.iods.release(t, r.sg.VA)
	t.Pop(4)
	t.Ret()
	return err
}
