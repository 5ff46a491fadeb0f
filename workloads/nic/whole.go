package nic

import (
	"errors"
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommudma"
	"dmapath/workloads"
)

// Style is how a whole driver maps.
type Style string

// Styles.
const (
	// PerPacket maps a buffer for every frame received and the linear data of every frame sent with dma_map_single, as e1000e does.
	PerPacket Style = "per-packet"
	// Pool receives into a page_pool: pages are mapped once and synced for each frame; sending is as in PerPacket.
	Pool Style = "page_pool"
	// GSO is Pool with super-frames of 64 KiB sent: 6.12 maps header and fragments one by one, 7.3 the payload as one range of
	// I/O addresses (tso_dma_map, which one driver of 7.3 uses).
	GSO Style = "gso"
)

// Styles lists them.
var Styles = []string{string(PerPacket), string(Pool), string(GSO)}

const (
	gsoBytes = 64 << 10 // payload of a super-frame
	gsoFrags = 17       // MAX_SKB_FRAGS pages: the first and the last are halves
	gsoHead  = 54       // Ethernet, IP and TCP header
)

// txFrame is a frame being sent, by the slot of its first descriptor.
type txFrame struct {
	slots  int
	pieces []iommucore.Segment // device addresses of what was mapped by calls of its own; the first with dma_map_single
	state  iommudma.State      // 7.3: the payload's range
	mapped uint64              // bytes linked into it, 0 when there is none
	cost   workloads.Cost
}

// whole prepares a whole driver.
func (d *driver) whole() (err error) {
	d.rxCall, d.txCall = d.cfg.Variant, d.cfg.Variant
	if !d.cfg.Driver {
		return nil
	}
	v := d.cfg.Variant.Version().String()
	if d.txCall, err = dma.Lookup("map_single@" + v); err != nil {
		return err
	}
	d.rxCall = d.txCall
	if d.cfg.Style != PerPacket {
		d.cfg.PagePool = true
		d.rxCall = d.cfg.Variant
	}
	d.res.Setup = workloads.NewOp(d.res.Map.Planned).Named("setup")
	d.res.Setup.Driver = true
	if d.cfg.Style == GSO && d.cfg.Variant.Version() == kernel.V7_3 {
		d.phys, err = dma.Lookup("map_phys@7.3")
	}
	return err
}

// rxAttrs are the attributes of a receive buffer's mapping: a pool syncs for itself.
func (d *driver) rxAttrs() kernel.Attrs {
	if d.cfg.Driver && d.cfg.PagePool {
		return kernel.AttrSkipCPUSync | kernel.AttrWeakOrdering
	}
	return 0
}

var (
	fnPoolGet = cpu.NewFunc("page_pool_alloc_pages", "net/core/page_pool.c", 300)
	fnPoolPut = cpu.NewFunc("page_pool_put_unrefed_page", "net/core/page_pool.c", 400)
	fnTSOInit = cpu.NewFunc("tso_dma_map_init", "net/core/tso.c", 600)
	fnTSODone = cpu.NewFunc("tso_dma_map_cleanup", "net/core/tso.c", 300)
)

// Fields of struct page that page_pool uses (dossier, section 0): the line is the one that a conversion never touches.
const (
	pagePP      = 16 // pp
	pageDMA     = 32 // dma_addr
	pagePPCount = 40 // pp_ref_count
)

// poolGet is what a driver does to a page that it takes from its pool's per-CPU cache, and poolPut what recycles it: estimated from
// the structure of net/core/page_pool.c. Both touch the struct page, whose dma_addr is where the mapping is kept.
func (p *poller) poolGet(t *cpu.Thread, page uint64) {
	t.Call(fnPoolGet)
	t.Nop(2)
	t.Push(2)
	n := t.Mem(cpu.Load, p.pool, 4, 0, 0) // cache.count
	t.Branch(false, t.ALU(2, n))
	t.Load(p.pool+8, n)
	t.Mem(cpu.Store, p.pool, 4, 0, n)
	t.Store(page+pagePPCount, 0, t.ALU(2, 0))
	t.ALU(3, 0)
	t.Pop(2)
	t.Ret()
}

func (p *poller) poolPut(t *cpu.Thread, page uint64) {
	t.Call(fnPoolPut)
	t.Nop(2)
	t.Push(3)
	t.Branch(true, t.ALU(2, t.Load(page+pagePPCount, 0))) // the last reference
	t.Load(page+pagePP, 0)
	t.ALU(6, 0)
	n := t.Mem(cpu.Load, p.pool, 4, 0, 0)
	t.Branch(false, t.ALU(2, n))
	t.Store(p.pool+8, n, 0)
	t.Mem(cpu.Store, p.pool, 4, 0, n)
	t.Pop(3)
	t.Ret()
}

// fromPool receives a frame into a page that stays mapped: synced for the CPU, later for the device as it goes back to the pool.
func (p *poller) fromPool(t *cpu.Thread, i uint64, s *slot, cost *workloads.Cost) (err error) {
	d := p.d
	var around workloads.Sample
	if d.cfg.Driver {
		around = d.res.Setup.Begin(t)
	}
	part := func(f func()) {
		if d.cfg.Driver {
			err = errors.Join(err, around.Call(t, func() error { f(); return nil }))
		}
	}
	page := p.bufs[i].Page
	part(func() { t.Load(page+pageDMA, 0) })
	p.sync(t, cost, s.addr, uint64(s.size), true)
	workloads.Code(t, fnRx, rxInstructions, p.info+i*32, p.skb, p.skb+64)
	part(func() { t.Load(page+pageDMA, 0) })
	p.sync(t, cost, s.addr, p.rxBuffer(), false) // as the page is recycled
	if d.cfg.Driver {
		part(func() {
			p.poolPut(t, page)
			p.poolGet(t, page)
		})
		around.End()
		cost.Around += around.Cycles
	}
	return err
}

// sync is dma_sync_single_for_cpu or _for_device of n bytes of a receive buffer.
func (p *poller) sync(t *cpu.Thread, cost *workloads.Cost, addr, n uint64, forCPU bool) {
	d := p.d
	y := d.res.Sync.Begin(t)
	p.err = errors.Join(p.err, y.Call(t, func() error {
		if forCPU {
			return d.dev.Ctx.SyncSingleForCPU(t, addr, n, kernel.FromDevice)
		}
		return d.dev.Ctx.SyncSingleForDevice(t, addr, n, kernel.FromDevice)
	}))
	y.End()
	cost.Add(&y, 1)
	d.res.Calls[workloads.CallSync]++
}

// mapTx maps one piece of memory with a call of its own.
func (p *poller) mapTx(t *cpu.Thread, v dma.Variant, m *workloads.Sample, f *txFrame, b dma.Buffer) (addr uint64, err error) {
	d := p.d
	err = m.Call(t, func() (err error) {
		addr, err = v.Map(t, d.dev.Ctx, b, kernel.ToDevice, 0)
		return err
	})
	d.res.Calls[workloads.CallMap]++
	f.cost.Calls++
	f.pieces = append(f.pieces, iommucore.Segment{Phys: addr, Size: b.Size})
	return addr, err
}

// linear sends b as a frame in one piece.
func (p *poller) linear(t *cpu.Thread, b dma.Buffer) {
	d := p.d
	f := p.begin(1)
	d.cfg.Around.Pass(t)
	workloads.Code(t, fnXmit, txInstructions, p.skb+128, p.skb+192, p.info+p.txTail%uint64(len(p.frames))*32)
	m := d.res.Map.Begin(t)
	addr, err := p.mapTx(t, d.txCall, &m, f, b)
	m.End()
	f.cost.Add(&m, 0)
	p.err = err
	p.post(t, addr, int(b.Size), false)
}

// begin starts a frame of n descriptors.
func (p *poller) begin(n int) *txFrame {
	f := &p.frames[p.txTail%uint64(len(p.frames))]
	*f = txFrame{slots: n, pieces: f.pieces[:0], state: iommudma.State{VA: f.state.VA}}
	return f
}

// post writes one transmit descriptor.
func (p *poller) post(t *cpu.Thread, addr uint64, size int, more bool) {
	i := p.txTail % uint64(len(p.frames))
	*p.d.hw.queues[p.cpu].tx.slot(i) = slot{addr: addr, size: size, more: more}
	t.Store(p.tx+i*descBytes, 0, t.Last())
	t.Store(p.tx+i*descBytes+8, 0, 0)
	p.txTail++
}

// fragments draws the payload of a super-frame: gsoFrags pages that lie anywhere, of which the first and the last are used by half.
func (p *poller) fragments() []dma.Buffer {
	p.frags = p.frags[:0]
	for i := range gsoFrags {
		b := p.buf.Next(4096)
		switch i {
		case 0:
			b.Phys, b.Size = b.Phys+2048, 2048
		case gsoFrags - 1:
			b.Size = 2048
		}
		p.frags = append(p.frags, b)
	}
	return p.frags
}

// superFrame sends a super-frame of 64 KiB.
func (p *poller) superFrame(t *cpu.Thread) {
	d := p.d
	head := p.buf.Next(gsoHead)
	frags := p.fragments()
	f := p.begin(1 + gsoFrags)
	d.cfg.Around.Pass(t)
	workloads.Code(t, fnXmit, txInstructions, p.skb+128, p.skb+192, p.info+p.txTail%uint64(len(p.frames))*32)
	around, m := d.res.Setup.Begin(t), d.res.Map.Begin(t)
	addrs := p.addrs[:0]
	p.err = around.Call(t, func() error {
		a, err := p.mapTx(t, d.txCall, &m, f, head)
		if err != nil {
			return err
		}
		addrs = append(addrs, a)
		if d.phys != nil {
			addrs, err = p.mapTSO(t, &m, f, frags, addrs)
			return err
		}
		top := t.Here()
		for i, b := range frags { // skb_frag_dma_map
			t.ALU(4, t.Load(p.skb+uint64(256+i*16), 0))
			a, err := p.mapTx(t, d.cfg.Variant, &m, f, b)
			if err != nil {
				return err
			}
			addrs = append(addrs, a)
			t.Loop(top, i+1 < len(frags), t.ALU(3, 0))
		}
		return nil
	})
	p.addrs = addrs
	m.End()
	around.Without(&m)
	around.End()
	f.cost.Add(&m, 0)
	f.cost.Around += around.Cycles
	if p.err != nil {
		p.err = fmt.Errorf("super-frame: %w", p.err)
		return
	}
	p.post(t, addrs[0], gsoHead, true)
	for i, b := range frags {
		p.post(t, addrs[1+i], int(b.Size), i+1 < len(frags))
	}
}

// mapTSO is tso_dma_map_init of 7.3: one range of I/O addresses for the payload when there are any, else piece by piece. The pieces
// but the first begin on a page and the pieces but the last end on one, as linking demands.
func (p *poller) mapTSO(t *cpu.Thread, m *workloads.Sample, f *txFrame, frags []dma.Buffer, addrs []uint64) ([]uint64, error) {
	d := p.d
	dev, layer := d.dev.Ctx.Dev, d.m.Layer
	call := func(k workloads.Call, do func() error) error {
		d.res.Calls[k]++
		f.cost.Calls++
		return m.Call(t, do)
	}
	t.Call(fnTSOInit)
	t.Nop(2)
	t.Push(6)
	t.ALU(14, t.Load(p.skb+128, 0))
	ok := false
	err := call(workloads.CallAlloc, func() error {
		ok = layer.TryAlloc(t, dev, &f.state, frags[0].Phys, gsoBytes)
		return nil
	})
	t.Branch(ok, t.ALU(1, 0))
	top := t.Here()
	for i, b := range frags {
		if err != nil {
			break
		}
		page := t.Load(p.skb+uint64(256+i*16), 0)
		t.Chain(4, t.LoadOp(d.m.Env.Sym.VmemmapBase, 0, page)) // skb_frag_phys
		if ok {
			off := f.mapped
			err = call(workloads.CallLink, func() error { return layer.Link(t, dev, &f.state, b.Phys, off, b.Size, kernel.ToDevice, 0) })
			addrs = append(addrs, f.state.Addr+off)
			f.mapped += b.Size
		} else {
			var a uint64
			a, err = p.mapTx(t, d.phys, m, f, b)
			addrs = append(addrs, a)
		}
		t.Branch(err != nil, t.ALU(1, 0))
		t.Loop(top, i+1 < len(frags), t.ALU(3, 0))
	}
	if err == nil && ok {
		err = call(workloads.CallSyncIOVA, func() error { return layer.Sync(t, dev, &f.state, 0, f.mapped) })
	}
	t.Pop(6)
	t.Ret()
	return addrs, err
}

// unmapFrame undoes the mappings of a frame that has been sent.
func (p *poller) unmapFrame(t *cpu.Thread, f *txFrame) error {
	d := p.d
	u := d.res.Unmap.Begin(t)
	var err error
	for i, s := range f.pieces {
		v := d.txCall
		if i > 0 {
			if v = d.cfg.Variant; d.phys != nil {
				v = d.phys
			}
		}
		err = errors.Join(err, u.Call(t, func() error { return v.Unmap(t, d.dev.Ctx, s.Phys, s.Size, kernel.ToDevice, 0) }))
		d.res.Calls[workloads.CallUnmap]++
		f.cost.Calls++
	}
	if f.mapped > 0 {
		t.Call(fnTSODone)
		t.Nop(2)
		t.ALU(4, 0)
		err = errors.Join(err, u.Call(t, func() error {
			d.m.Layer.Destroy(t, d.dev.Ctx.Dev, &f.state, f.mapped, kernel.ToDevice, 0)
			return nil
		}))
		t.Ret()
		d.res.Calls[workloads.CallDestroy]++
		f.cost.Calls++
	}
	u.End()
	f.cost.Add(&u, 0)
	return err
}
