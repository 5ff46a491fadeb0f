package nvme

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/scatterlist"
	"dmapath/workloads"
)

// Functions of the data path of 7.3. As for 6.12, what the driver and the block layer execute themselves is estimated from the
// structure of the source (drivers/nvme/host/pci.c, block/blk-mq-dma.c).
var (
	fnMapData73   = cpu.NewFunc("nvme_map_data", pci, 900)
	fnPrps73      = cpu.NewFunc("nvme_pci_setup_data_prp", pci, 1000)
	fnSgls73      = cpu.NewFunc("nvme_pci_setup_data_sgl", pci, 700)
	fnUnmapData73 = cpu.NewFunc("nvme_unmap_data", pci, 500)
	fnIterStart   = cpu.NewFunc("blk_rq_dma_map_iter_start", "block/blk-mq-dma.c", 900)
	fnIterNext    = cpu.NewFunc("blk_rq_dma_map_iter_next", "block/blk-mq-dma.c", 300)
	fnMapIter     = cpu.NewFunc("blk_map_iter_next", "block/blk-mq-dma.c", 500)
)

// iter is struct blk_dma_iter: what has been mapped and is not in a list yet.
type iter struct {
	addr, len uint64
	next      int    // first run that the iterator has not returned
	page      int    // its first page in the request
	va        uint64 // of the structure, on the stack
}

// map73 is nvme_map_data of 7.3: one segment (a folio, or a page) is mapped as a page, everything else by the block layer's
// iterator, which maps it into one range of I/O addresses where there are any and segment by segment where not.
func (a *api) map73(t *cpu.Thread, r *request, c *command) error {
	t.Call(fnMapData73)
	t.Nop(2)
	t.Push(6)
	t.Frame(96)
	use := a.sgls(t, r)
	t.Branch(r.segs == 1, t.ALU(2, t.Mem(cpu.Load, r.va+96, 2, 0, 0)))
	err := a.mapData73(t, r, c, use)
	t.Frame(-96)
	t.Pop(6)
	t.Ret()
	return err
}

func (a *api) mapData73(t *cpu.Thread, r *request, c *command, use bool) error {
	d := a.s.d
	if r.segs == 1 {
		page := t.Mem(cpu.Load, r.bvecAt(0), 16, 0, 0) // req_bvec
		fits := r.onePRPPair()
		t.Branch(fits, t.ALU(6, page))
		if fits || d.cfg.SGL { // nvme_pci_setup_data_simple
			a.p2pTest(t, r, page)
		}
		if d.cfg.Peer == nil && (fits || d.cfg.SGL) {
			if err := a.mapSingle(t, r); err != nil {
				return err
			}
			t.Branch(false, t.ALU(1, 0))
			t.Mem(cpu.Store, r.va+136, 4, 0, t.ALU(2, 0)) // total_len
			t.Mem(cpu.RMW, r.va+140, 1, 0, 0)             // IOD_SINGLE_SEGMENT
			t.Store(r.va+216, 0, t.ALU(2, 0))
			t.Store(r.va+224, 0, t.ALU(3, 0))
			if fits {
				c.split(r.addr, r.size)
			} else {
				c.sgl = append(c.sgl, iommucore.Segment{Phys: r.addr, Size: r.size})
			}
			return nil
		}
	}
	it := iter{va: t.SP() + 16}
	if err := a.iterStart(t, r, &it); err != nil {
		return err
	}
	if use {
		return a.sgls73(t, r, c, &it)
	}
	return a.prps73(t, r, c, &it)
}

// p2pTest is is_pci_p2pdma_page: one look into a struct page, with CONFIG_PCI_P2PDMA. 7.3 looks at the first page of a request.
func (a *api) p2pTest(t *cpu.Thread, r *request, page cpu.Val) {
	if m := a.s.d.m; m.Env.P2PDMA && a.s.d.buffer(r.runs[0]).Page != 0 {
		t.Branch(false, t.ALU(2, t.Load(m.PageOf(r.runs[0].Phys), page)))
	}
}

// mapIter is blk_map_iter_next: the next physically contiguous run, which joins the bio's pages as long as they are neighbours.
func (a *api) mapIter(t *cpu.Thread, r *request, it *iter) (run iommucore.Segment, ok bool) {
	t.Call(fnMapIter)
	t.Nop(2)
	t.Push(5)
	left := t.Mem(cpu.Load, it.va+40, 4, 0, 0) // bi_size
	ok = it.next < len(r.runs)
	t.Branch(!ok, t.ALU(1, left))
	if !ok {
		t.Pop(5)
		t.Ret()
		return run, false
	}
	run = r.runs[it.next]
	it.next++
	pages := int(run.Phys&4095+run.Size+4095) / 4096
	if a.s.d.cfg.Layout == workloads.Contiguous {
		pages = 1 // one bio_vec for a folio
	}
	page := t.Load(r.bvecAt(it.page), left)
	t.ALU(6, t.Load(r.bvecAt(it.page)+8, left))
	pa := t.Chain(3, t.LoadOp(a.s.d.m.Env.Sym.VmemmapBase, 0, page)) // bvec_phys
	t.ALU(8, pa)
	top := t.Here()
	for i := range pages {
		t.ALU(7, 0)
		t.Mem(cpu.Store, it.va+40, 8, 0, 0) // advance: bi_size, bi_bvec_done
		t.Mem(cpu.Store, it.va+48, 4, 0, 0)
		last := it.next == len(r.runs) && i+1 == pages
		t.Branch(last, t.ALU(2, 0))
		if last {
			break
		}
		next := t.Load(r.bvecAt(it.page+i+1), 0)
		t.ALU(4, t.Load(r.bvecAt(it.page+i+1)+8, 0))
		t.ALU(6, next) // biovec_phys_mergeable: are they neighbours?
		t.Loop(top, i+1 < pages, t.ALU(3, next))
	}
	it.page += pages
	t.Store(it.va+64, 0, pa)
	t.Mem(cpu.Store, it.va+72, 4, 0, 0)
	t.ALU(2, 0)
	t.Pop(5)
	t.Ret()
	return run, true
}

// iterStart is blk_rq_dma_map_iter_start: the first run says whether this is memory of another device; without gaps between the
// segments a range of I/O addresses is taken for the whole request and everything linked into it, else the first run is mapped.
func (a *api) iterStart(t *cpu.Thread, r *request, it *iter) error {
	d := a.s.d
	t.Call(fnIterStart)
	t.Nop(2)
	t.Push(6)
	t.Frame(32)
	t.ALU(8, t.Load(r.va+56, 0)) // the bio
	for off := uint64(0); off < 32; off += 8 {
		t.Store(it.va+off, 0, 0) // the iterator's state
	}
	run, _ := a.mapIter(t, r, it)
	a.p2pTest(t, r, t.LoadOp(d.m.Env.Sym.VmemmapBase, 0, t.ALU(2, 0))) // phys_to_page
	r.attrs = 0
	route := kernel.P2PHostBridge
	if d.cfg.Peer != nil {
		route = d.dev.Ctx.Dev.P2P.Route
		r.attrs = kernel.AttrMMIO
		t.Branch(true, t.Mem(cpu.Load, d.dev.Ctx.Dev.P2P.Provider+40, 4, 0, 0))
	}
	var err error
	switch route {
	case kernel.P2PBusAddress:
		r.how = onBus
		a.busAddress(t, r, it, run)
	case kernel.P2PHostBridge: // or ordinary memory
		err = a.iterMap(t, r, it, run)
	default:
		err = scatterlist.ErrUnsupported
	}
	t.Frame(-32)
	t.Pop(6)
	t.Ret()
	return err
}

// iterMap takes a range of I/O addresses for the request if it has no gaps and there are any, else it maps the first run.
func (a *api) iterMap(t *cpu.Thread, r *request, it *iter, run iommucore.Segment) error {
	ctx, layer := a.s.d.dev.Ctx, a.s.d.m.Layer
	t.ALU(2, t.Mem(cpu.Load, r.va+100, 1, 0, 0)) // phys_gap_bit
	mask := ctx.MergeBoundary(t)
	t.Branch(false, t.ALU(2, 0))
	alloc := false
	if gapFree(r.runs, mask) {
		a.call(t, workloads.CallAlloc, func() error {
			alloc = layer.TryAlloc(t, ctx.Dev, &r.iova, run.Phys, r.size)
			return nil
		})
	}
	t.Branch(alloc, t.ALU(1, 0))
	if alloc {
		return a.link(t, r, it, run)
	}
	r.how = each
	r.vecs = r.vecs[:0]
	t.Store(r.iova.VA, 0, 0)
	t.Store(r.iova.VA+8, 0, 0)
	return a.mapEach(t, r, it, run)
}

// gapFree reports whether no segment of a request begins or ends within a granule of mask+1 bytes, except at its ends.
func gapFree(runs []iommucore.Segment, mask uint64) bool {
	for i, s := range runs {
		if i > 0 && s.Phys&mask != 0 || i+1 < len(runs) && (s.Phys+s.Size)&mask != 0 {
			return false
		}
	}
	return true
}

// link is blk_rq_dma_map_iova: every run is linked, then all are made visible at once.
func (a *api) link(t *cpu.Thread, r *request, it *iter, run iommucore.Segment) error {
	d := a.s.d
	dev, layer := d.dev.Ctx.Dev, d.m.Layer
	r.how = viaIOVA
	it.addr, it.len = r.iova.Addr, r.size
	t.Store(it.va, 0, t.Load(r.iova.VA, 0))
	t.Mem(cpu.Store, it.va+8, 4, 0, t.ALU(2, t.Load(r.iova.VA+8, 0)))
	mapped := uint64(0)
	top := t.Here()
	for {
		t.ALU(4, t.Load(it.va+64, 0))
		if err := a.call(t, workloads.CallLink, func() error {
			return layer.Link(t, dev, &r.iova, run.Phys, mapped, run.Size, r.dir, r.attrs)
		}); err != nil {
			return err
		}
		t.Branch(false, t.ALU(1, 0))
		mapped += run.Size
		t.ALU(2, 0)
		var more bool
		run, more = a.mapIter(t, r, it)
		t.Loop(top, more, t.ALU(1, 0))
		if !more {
			break
		}
	}
	err := a.call(t, workloads.CallSyncIOVA, func() error { return layer.Sync(t, dev, &r.iova, 0, mapped) })
	t.Branch(err != nil, t.ALU(1, 0))
	return err
}

// mapEach is blk_dma_map_direct: dma_map_phys of one run.
func (a *api) mapEach(t *cpu.Thread, r *request, it *iter, run iommucore.Segment) error {
	d := a.s.d
	t.ALU(4, t.Load(it.va+64, 0))
	err := a.call(t, workloads.CallMap, func() (err error) {
		it.addr, err = d.phys.Map(t, d.dev.Ctx, d.buffer(run), r.dir, r.attrs)
		return err
	})
	it.len = run.Size
	t.Store(it.va, 0, t.ALU(1, 0))
	t.Branch(err != nil, t.ALU(1, 0))
	t.Mem(cpu.Store, it.va+8, 4, 0, 0)
	r.vecs = append(r.vecs, iommucore.Segment{Phys: it.addr, Size: run.Size})
	return err
}

// busAddress is blk_dma_map_bus: below a common switch the address of a run is its physical address and an offset.
func (a *api) busAddress(t *cpu.Thread, r *request, it *iter, run iommucore.Segment) {
	dev := a.s.d.dev.Ctx.Dev
	off := t.Load(dev.P2P.Provider+32, 0)
	t.Store(it.va, 0, t.ALU2(off, t.Load(it.va+64, 0)))
	t.Mem(cpu.Store, it.va+8, 4, 0, t.ALU(2, 0))
	it.addr, it.len = run.Phys+dev.P2P.BusOffset, run.Size
}

// save is nvme_pci_prp_save_mapping: the addresses are kept only if somebody will have to unmap them.
func (a *api) save(t *cpu.Thread, r *request) {
	d := a.s.d
	t.Branch(r.how == viaIOVA, t.ALU(1, t.Load(r.iova.VA+8, 0)))
	if r.how == viaIOVA || r.how == onBus || !d.dev.Ctx.NeedUnmap(t) {
		return
	}
	if r.vecsVA == 0 {
		r.vecsVA = d.iods.alloc(t)
		t.Store(r.va+144, 0, t.ALU(1, 0))
	}
	e := r.vecsVA + uint64(len(r.vecs)-1)*16
	t.Store(e, 0, t.ALU(2, 0))
	t.Mem(cpu.Store, e+8, 4, 0, 0)
	t.Mem(cpu.RMW, r.va+152, 4, 0, 0)
}

// advance is blk_rq_dma_map_iter_next, for the next run of a request that is mapped run by run.
func (a *api) advance(t *cpu.Thread, r *request, it *iter) error {
	t.Call(fnIterNext)
	t.Nop(2)
	t.Push(4)
	run, _ := a.mapIter(t, r, it)
	bus := r.how == onBus
	t.Branch(bus, t.ALU(2, t.Mem(cpu.Load, it.va+16, 4, 0, 0)))
	var err error
	if bus {
		a.busAddress(t, r, it, run)
	} else {
		err = a.mapEach(t, r, it, run)
	}
	t.Pop(4)
	t.Ret()
	if err == nil {
		a.save(t, r)
	}
	return err
}

// prps73 is nvme_pci_setup_data_prp: page by page from the iterator, which is asked for more when its run is used up.
func (a *api) prps73(t *cpu.Thread, r *request, c *command, it *iter) error {
	t.Call(fnPrps73)
	t.Nop(2)
	t.Push(6)
	t.Frame(48)
	a.save(t, r)
	t.ALU(10, t.Load(it.va, 0))
	left := r.size
	take := func() {
		n := min(left, 4096-it.addr&4095, it.len)
		c.prps = append(c.prps, it.addr)
		it.addr, it.len, left = it.addr+n, it.len-n, left-n
		v := t.ALU(3, 0)
		t.Mem(cpu.RMW, r.va+136, 4, 0, v) // total_len
		t.RMW(it.va, 0, v)
		t.Mem(cpu.RMW, it.va+8, 4, 0, v)
		t.Branch(left == 0, t.ALU(1, v))
	}
	take()
	var err error
	more := func() {
		t.Branch(it.len == 0, t.ALU(1, t.Mem(cpu.Load, it.va+8, 4, 0, 0)))
		if it.len == 0 {
			err = a.advance(t, r, it)
		}
	}
	if left > 0 {
		more()
	}
	if err == nil && left > 0 {
		pair := left <= 4096
		t.Branch(pair, t.ALU(2, 0))
		if pair {
			take()
		} else {
			n := int((left + 4095) / 4096)
			a.takeList(t, r, n, 8)
			top := t.Here()
			for i := 0; err == nil; i++ {
				t.Store(r.list.va+uint64(i)*8, 0, t.Load(it.va, 0))
				take()
				if left == 0 {
					break
				}
				more()
				t.Branch(false, t.ALU(1, 0)) // the list is full
				t.Loop(top, true, t.Last())
			}
		}
	}
	t.Store(r.va+216, 0, t.ALU(2, 0))
	t.Store(r.va+224, 0, t.ALU(2, 0))
	t.Frame(-48)
	t.Pop(6)
	t.Ret()
	return err
}

// sgls73 is nvme_pci_setup_data_sgl: what the iterator has mapped in one piece goes into the command, more into a list.
func (a *api) sgls73(t *cpu.Thread, r *request, c *command, it *iter) error {
	t.Call(fnSgls73)
	t.Nop(2)
	t.Push(6)
	one := it.len == r.size
	t.Branch(one, t.ALU(8, 0))
	var err error
	if one {
		a.save(t, r)
		c.sgl = append(c.sgl, iommucore.Segment{Phys: it.addr, Size: it.len})
	} else {
		a.takeList(t, r, r.segs, 16)
		a.save(t, r)
		top := t.Here()
		for i := 0; ; i++ {
			t.Load(it.va, 0)
			t.Mem(cpu.Load, it.va+8, 4, 0, 0)
			a.sglEntry(t, r, i)
			c.sgl = append(c.sgl, iommucore.Segment{Phys: it.addr, Size: it.len})
			t.Mem(cpu.RMW, r.va+136, 4, 0, 0)
			more := it.next < len(r.runs)
			if more {
				if err = a.advance(t, r, it); err != nil {
					break
				}
			} else {
				a.mapIter(t, r, it)
			}
			t.Loop(top, more, t.ALU(2, 0))
			if !more {
				break
			}
		}
	}
	t.Store(r.va+216, 0, t.ALU(2, 0))
	t.Store(r.va+224, 0, t.ALU(2, 0))
	t.Pop(6)
	t.Ret()
	return err
}

// unmap73 is nvme_unmap_data of 7.3. Of a request of one segment the page is unmapped (29 instructions of its own, recorded); a
// range of I/O addresses is destroyed, which invalidates at once in lazy mode too; what was mapped run by run is unmapped
// only if it must be (dma_need_unmap).
func (a *api) unmap73(t *cpu.Thread, r *request) error {
	d := a.s.d
	if r.how == single {
		d.fn.unmapData.emit(t, r.va+64, r.va+128)
		return a.unmapSingle(t, r)
	}
	t.Call(fnUnmapData73)
	t.Nop(2)
	t.Push(5)
	t.ALU(8, t.Mem(cpu.Load, r.va+140, 1, 0, 0))
	var err error
	t.Branch(r.how == viaIOVA, t.ALU(1, t.Load(r.iova.VA+8, 0)))
	if r.how == viaIOVA { // blk_rq_dma_unmap
		t.ALU(5, 0)
		err = a.call(t, workloads.CallDestroy, func() error {
			d.m.Layer.Destroy(t, d.dev.Ctx.Dev, &r.iova, r.size, r.dir, r.attrs)
			return nil
		})
	} else if r.how == each && d.dev.Ctx.NeedUnmap(t) {
		top := t.Here()
		for i, v := range r.vecs {
			t.Load(r.vecsVA+uint64(i)*16, 0)
			t.Mem(cpu.Load, r.vecsVA+uint64(i)*16+8, 4, 0, 0)
			if e := a.call(t, workloads.CallUnmap, func() error {
				return d.phys.Unmap(t, d.dev.Ctx, v.Phys, v.Size, r.dir, r.attrs)
			}); err == nil {
				err = e
			}
			t.Loop(top, i+1 < len(r.vecs), t.ALU(3, 0))
		}
	}
	if r.vecsVA != 0 {
		d.iods.release(t, r.vecsVA)
	}
	t.Branch(r.pool != nil, t.ALU(2, t.Mem(cpu.Load, r.va+141, 1, 0, 0))) // nr_descriptors
	if r.pool != nil {
		t.Load(r.va+128, 0)
		r.pool.release(t, r.list)
	}
	t.Pop(5)
	t.Ret()
	return err
}
