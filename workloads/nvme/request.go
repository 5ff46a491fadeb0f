package nvme

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommudma"
	"dmapath/kernel/iova"
	"dmapath/kernel/mm"
	"dmapath/kernel/scatterlist"
	"dmapath/sim"
	"dmapath/workloads"
)

const (
	maxSize     = 1 << 20   // bytes of an I/O
	callSize    = 128 << 10 // a request that one call maps
	hwSize      = 8 << 20   // NVME_MAX_KB_SZ
	maxTags     = 1023      // what a queue of 1024 entries holds
	maxSegs612  = 128       // NVME_MAX_SEGS of 6.12
	maxSegs73   = 256       // of 7.3: a page of SGL descriptors
	sglLeast    = 32 << 10  // sgl_threshold: the mean segment from which lists of segments are used
	requestSGAt = 256       // struct sg_table in the request's nvme_iod
	requestIOVA = 320       // struct dma_iova_state in it
)

// io is an I/O of the application: one bio, which the block layer splits into requests that the driver takes.
type io struct {
	dir      kernel.Direction
	size     uint64
	runs     []iommucore.Segment // its memory
	run      int                 // first run that is not in a request yet
	bvecs    uint64              // the bio's table of pages
	done     uint64              // bytes in requests
	unread   int                 // requests under way
	issue    sim.Time
	cost     workloads.Cost
	finished bool // everything is in requests
}

// how says through which interface a request is mapped.
type how uint8

const (
	single      how = iota // one dma_map_page
	viaSG                  // 6.12: dma_map_sgtable
	viaIOVA                // 7.3: one range of I/O addresses, linked
	each                   // 7.3: dma_map_phys for every segment
	viaResource            // 6.12, memory without struct pages: dma_map_resource for every segment
	onBus                  // 7.3, another device below the same switch: no call at all
)

// request is struct request with its nvme_iod, by tag.
type request struct {
	va   uint64 // where it lies: 7 lines
	io   uint32
	dir  kernel.Direction
	size uint64
	runs []iommucore.Segment // physically contiguous pieces
	segs int                 // blk_rq_nr_phys_segments
	bvec uint64              // its first entry in the bio's table

	how    how
	attrs  kernel.Attrs // 7.3: MMIO for memory of another device
	addr   uint64
	sg     dma.SG
	walk   scatterlist.List // the same list, for walks over it
	iova   iommudma.State
	vecs   []iommucore.Segment // what each mapped: device addresses
	vecsVA uint64              // where the driver keeps them, 0 when it need not
	list   block               // PRP or SGL list
	pool   *dmaPool            // that list is from; nil without a list
}

func (r *request) init(va uint64) {
	r.va = va
	r.sg.Table, r.iova.VA = va+requestSGAt, va+requestIOVA
}

// limits finds how large a request of this driver may be on this machine and how many make up an I/O at most.
func (d *driver) limits() (perIO int) {
	cfg := &d.cfg
	if cfg.Layout == "" || !cfg.Driver {
		cfg.Layout = workloads.Contiguous
	}
	d.maxBytes, d.maxSegs = callSize, maxSize
	if cfg.Driver {
		d.maxBytes, d.maxSegs = d.optimal(), maxSegs612
		if cfg.Variant.Version() == kernel.V7_3 {
			d.maxSegs = maxSegs73
		}
	}
	n := min(d.maxBytes, cfg.Size)
	if cfg.Layout != workloads.Contiguous {
		n = min(n, d.maxSegs*4096-cfg.Offset)
	}
	return (cfg.Size + n - 1) / n
}

// optimal is max_hw_sectors of nvme_pci_alloc_dev in bytes: at most 8 MiB and dma_opt_mapping_size. Behind an IOMMU that is the largest
// range that the IOVA caches hold (128 KiB, unless the platform says otherwise), without one what can bounce if it must.
func (d *driver) optimal() int {
	dev := d.dev.Ctx.Dev
	dev.MaxSeg, dev.MinAlign = 1<<32-1, 4095 // dma_set_max_seg_size, dma_set_min_align_mask
	if d.dev.Cookie == nil {
		return int(min(hwSize, d.dev.Ctx.Direct.MaxMapping(dev, d.m.Spec.RAMEnd())))
	}
	orders := d.m.Env.IOVAOrders
	switch {
	case orders == 0:
		orders = iova.Orders
	case orders < 0:
		return hwSize // nothing is cached, so nothing is better than the rest
	}
	return min(hwSize, 4096<<(orders-1))
}

// prepare makes what a whole driver has besides its queues, for so many requests under way.
func (d *driver) prepare(requests int) (err error) {
	if !d.cfg.Driver {
		return nil
	}
	d.res.Setup, d.res.Teardown = workloads.NewOp(d.res.Map.Planned).Named("setup"), workloads.NewOp(d.res.Map.Planned).Named("teardown")
	d.res.Setup.Driver, d.res.Teardown.Driver = true, true
	if d.small, err = newPool(d.m, d.dev, "prp list 256", smallPool, requests); err != nil {
		return err
	}
	if d.cfg.Offset+d.cfg.Size > (smallPool/8+1)*4096 {
		if d.page, err = newPool(d.m, d.dev, "prp list page", pagePool, requests); err != nil {
			return err
		}
	}
	name, size := "kmalloc-4k (nvme iod)", iodBytes
	if d.cfg.Variant.Version() == kernel.V7_3 {
		name, size = "kmalloc-4k (nvme dma_vecs)", vecsBytes
		d.phys, err = dma.Lookup("map_phys@7.3")
	}
	d.iods = newMemPool(d.m, name, size)
	return err
}

// begin takes the next I/O.
func (s *submitter) begin() {
	cfg := &s.d.cfg
	s.cur = int(s.freeIOs.pop())
	o := &s.ios[s.cur]
	*o = io{dir: kernel.FromDevice, size: uint64(cfg.Size), runs: o.runs[:0], bvecs: o.bvecs, issue: s.arrived}
	if s.rnd.IntN(100) < cfg.WritePercent {
		o.dir = kernel.ToDevice
	}
	s.flight++
	s.d.res.Flight.Add(s.d.m.Eng.Now(), 1)
}

// cut moves the next request's worth of o's memory to r, as the block layer splits a bio: at the limits of bytes and segments.
func (s *submitter) cut(o *io, r *request) {
	d := s.d
	r.runs, r.segs, r.size = r.runs[:0], 0, 0
	r.bvec = o.bvecs + (uint64(d.cfg.Offset)+o.done)/4096*16
	for o.run < len(o.runs) && r.size < uint64(d.maxBytes) {
		from := &o.runs[o.run]
		n := min(from.Size, uint64(d.maxBytes)-r.size)
		segs := Segments(d.cfg.Variant.Version(), from.Phys, n, d.cfg.Layout == workloads.Contiguous)
		if room := d.maxSegs - r.segs; segs > room {
			if room == 0 {
				break
			}
			segs, n = room, uint64(room)*4096-from.Phys&4095
		}
		r.runs = append(r.runs, iommucore.Segment{Phys: from.Phys, Size: n})
		r.segs += segs
		r.size += n
		if from.Phys, from.Size = from.Phys+n, from.Size-n; from.Size == 0 {
			o.run++
		}
	}
	o.done += r.size
	o.finished = o.run == len(o.runs)
}

// submit is nvme_queue_rq (drivers/nvme/host/pci.c) for the next request of the I/O under way: set up the command, map the data,
// write the entry, ring the doorbell.
func (s *submitter) submit(t *cpu.Thread) {
	d, cfg := s.d, &s.d.cfg
	tag := s.free.pop()
	r, o := &s.reqs[tag], &s.ios[s.cur]
	r.io, r.dir, r.pool, r.vecsVA = uint32(s.cur), o.dir, nil, 0
	cfg.Around.Pass(t)
	d.fn.queueRq.emit(t, r.va, r.va+64, r.va+128, s.nvmeq)
	d.fn.setupCmd.emit(t, r.va, r.va+192)
	d.fn.setupRW.emit(t, r.va+64, r.va+192)

	if len(o.runs) == 0 {
		o.runs = s.buf.Runs(o.runs, cfg.Layout, uint64(cfg.Offset), o.size)
	}
	s.cut(o, r)
	slot := s.sqTail
	d.ctrl.queues[s.q].slots[slot] = tag
	c := &d.ctrl.queues[s.q].cmds[tag]
	c.write, c.size, c.prps, c.sgl = r.dir == kernel.ToDevice, uint32(r.size), c.prps[:0], c.sgl[:0]
	var err error
	if cfg.Driver {
		err = s.mapData(t, r, o, c)
	} else {
		err = s.mapCall(t, r, o, c)
	}
	if err != nil {
		s.err = fmt.Errorf("nvme command of %d bytes: %w", r.size, err)
		return
	}
	entry := s.sq + uint64(slot)*sqeBytes
	for off := uint64(0); off < sqeBytes; off += 16 { // the 64-byte copy of nvme_sq_copy_cmd
		v := t.Mem(cpu.Load, r.va+192+off, 16, 0, 0)
		t.Mem(cpu.Store, entry+off, 16, 0, v)
	}
	s.sqTail = (s.sqTail + 1) % s.entries
	o.unread++
	if o.finished {
		s.cur = -1
	}
	d.res.Requests++
	t.MMIOWrite(d.ctrl, uint64(s.q), uint64(s.sqTail), 0, 0)
}

// mapCall maps a request's buffer with one call of the variant.
func (s *submitter) mapCall(t *cpu.Thread, r *request, o *io, c *command) error {
	d, cfg := s.d, &s.d.cfg
	r.how = single
	buf := d.buffer(r.runs[0])
	m := d.res.Map.Begin(t)
	err := m.Call(t, func() (err error) {
		r.addr, err = cfg.Variant.Map(t, d.dev.Ctx, buf, r.dir, 0)
		return err
	})
	m.End()
	o.cost.Add(&m, 1)
	d.res.Calls[workloads.CallMap]++
	if err != nil {
		return err
	}
	c.split(r.addr, r.size)
	if len(c.prps) > 2 {
		s.prpList(t, c)
	}
	return nil
}

// buffer is a piece of memory as a call takes it.
func (d *driver) buffer(run iommucore.Segment) dma.Buffer {
	b := dma.Buffer{Phys: run.Phys, Size: run.Size}
	if d.cfg.Peer == nil || d.cfg.Peer.BAR.Kind == mm.ZoneDevice {
		b.Page = d.m.PageOf(run.Phys)
	}
	return b
}

// split appends the pages of size bytes at device address a to the command's PRPs.
func (c *command) split(a, size uint64) {
	for left := size; left > 0; {
		n := min(left, 4096-a&4095)
		c.prps = append(c.prps, a)
		a, left = a+n, left-n
	}
}

// listBytes is the size of a PRP list of up to 64 entries: the driver's small pool (NVME_SMALL_POOL_SIZE) holds 32 of them, as many
// as 128 KiB need; here each list has a 512-byte piece of a page.
const listBytes = 512

// allocLists gives every tag of the queue a PRP list, as the driver's DMA pool has them ready after the first commands.
func (s *submitter) allocLists() error {
	cmds := s.d.ctrl.queues[s.q].cmds
	for i := range cmds {
		if i%(4096/listBytes) == 0 {
			va, addr, err := s.d.dev.AllocCoherent(4096)
			if err != nil {
				return err
			}
			cmds[i].listVA, cmds[i].list = va, addr
			continue
		}
		cmds[i].listVA, cmds[i].list = cmds[i-1].listVA+listBytes, cmds[i-1].list+listBytes
	}
	return nil
}

// prpList writes the list of the second and further pages (nvme_pci_setup_prps): the segment's address and one store per page.
func (s *submitter) prpList(t *cpu.Thread, c *command) {
	top := t.Here()
	for i := range c.prps[1:] {
		v := t.ALU(3, 0)
		t.Store(c.listVA+uint64(i)*8, 0, v)
		t.Loop(top, i < len(c.prps)-2, v)
	}
}

// complete is nvme_irq: it walks the completion queue, unmaps and ends each request, then rings the doorbell.
func (s *submitter) complete(t *cpu.Thread) {
	d, cfg := s.d, &s.d.cfg
	t.Call(d.fn.irq)
	t.Push(6)
	t.Op(cpu.IrqFlag, 0)
	q := &d.ctrl.queues[s.q]
	for s.err == nil {
		entry := t.Load(s.cq+uint64(s.cqHead)*cqeBytes+8, 0) // status and phase, written by the device
		t.ALU(4, entry)
		t.Sync()
		seen := q.done.n > 0
		t.Branch(seen, t.Last())
		if !seen {
			break
		}
		tag := q.done.pop()
		s.cqHead = (s.cqHead + 1) % s.entries
		r := &s.reqs[tag]
		o := &s.ios[r.io]
		cfg.Around.Pass(t)
		t.Load(r.va, entry)
		if cfg.Driver {
			s.err = s.unmapData(t, r, o)
		} else {
			d.fn.unmapData.emit(t, r.va+64, r.va+128)
			s.err = s.unmapCall(t, r, o)
		}
		if s.err != nil {
			break
		}
		d.fn.completeRq.emit(t, r.va, s.nvmeq)
		s.free.push(tag)
		if o.unread--; o.unread == 0 && o.finished {
			s.end(t, r.io)
		}
	}
	t.Pop(6)
	t.Ret()
	t.MMIOWrite(d.ctrl, uint64(s.q)|cqDoorbell, uint64(s.cqHead), 0, 0)
}

func (s *submitter) unmapCall(t *cpu.Thread, r *request, o *io) error {
	d := s.d
	u := d.res.Unmap.Begin(t)
	err := u.Call(t, func() error { return d.cfg.Variant.Unmap(t, d.dev.Ctx, r.addr, r.size, r.dir, 0) })
	u.End()
	o.cost.Add(&u, 1)
	d.res.Calls[workloads.CallUnmap]++
	return err
}

// end completes an I/O.
func (s *submitter) end(t *cpu.Thread, i uint32) {
	o := &s.ios[i]
	res := s.d.res
	s.flight--
	s.d.res.Flight.Add(s.d.m.Eng.Now(), -1)
	s.freeIOs.push(i)
	res.Complete(t.Now(), int64(o.size))
	res.Latency.Add(int64((t.Now() - o.issue) / sim.Nanosecond))
	res.Units[0].Add(o.cost)
}
