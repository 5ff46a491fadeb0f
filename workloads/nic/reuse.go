package nic

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/workloads"
)

// halfPage is what a frame gets of a page that is used again.
const halfPage = 2048

// rxPage is a page of a driver that uses its receive pages again, as ice and ixgbe do: a frame gets half of it, and when the stack has given the
// other half back by then, that half goes on the ring and the mapping stays. Else the page is unmapped and another one mapped
// (ice_can_reuse_rx_page, drivers/net/ethernet/intel/ice/ice_txrx.c).
type rxPage struct {
	buf  dma.Buffer // the whole page
	addr uint64     // where it is mapped
	out  [2]bool    // halves that the stack has
	left bool       // unmapped: whoever gives the last half back frees it
}

var fnReuse = cpu.NewFunc("ice_can_reuse_rx_page", "drivers/net/ethernet/intel/ice/ice_txrx.c", 128)

// openReuse maps a page for slot n of the receive ring.
func (p *poller) openReuse(t *cpu.Thread, n int) error {
	pg := &rxPage{buf: p.buf.Next(4096)}
	var err error
	pg.addr, err = p.d.rxCall.Map(t, p.d.dev.Ctx, pg.buf, kernel.FromDevice, kernel.AttrSkipCPUSync|kernel.AttrWeakOrdering)
	p.offer(n, pg, 0)
	p.pages = append(p.pages, pg)
	return err
}

// offer puts a half of a page on slot n of the receive ring.
func (p *poller) offer(n int, pg *rxPage, half int) {
	p.bufs[n] = dma.Buffer{Phys: pg.buf.Phys + uint64(half)*halfPage, Page: pg.buf.Page, Size: halfPage}
	p.d.hw.queues[p.cpu].rx.slots[n].addr = pg.addr + uint64(half)*halfPage
}

// flip decides what becomes of the page of slot i, whose frame the stack gets: it returns the packet's page.
func (p *poller) flip(t *cpu.Thread, i uint64, cost *workloads.Cost) *rxPage {
	d := p.d
	pg := p.pages[i]
	half := int(p.bufs[i].Phys-pg.buf.Phys) / halfPage
	pg.out[half] = true
	t.Call(fnReuse)
	count := t.Mem(cpu.Load, pg.buf.Page+52, 4, 0, 0) // _refcount
	again := !pg.out[1-half]
	t.Branch(again, t.ALU(3, count))
	t.Ret()
	if again {
		p.offer(int(i), pg, 1-half)
		p.sync(t, cost, d.hw.queues[p.cpu].rx.slots[i].addr, halfPage, false)
		return pg
	}
	pg.left = true
	u := d.res.Unmap.Begin(t)
	p.err = u.Call(t, func() error {
		return d.rxCall.Unmap(t, d.dev.Ctx, pg.addr, 4096, kernel.FromDevice, kernel.AttrSkipCPUSync|kernel.AttrWeakOrdering)
	})
	u.End()
	cost.Add(&u, 1)
	d.res.Calls[workloads.CallUnmap]++
	next := &rxPage{}
	if n := len(p.freePages); n > 0 {
		next, p.freePages = p.freePages[n-1], p.freePages[:n-1]
		*next = rxPage{buf: next.buf}
	} else {
		next.buf = p.buf.Next(4096)
	}
	if p.err == nil {
		m := d.res.Map.Begin(t)
		p.err = m.Call(t, func() (err error) {
			next.addr, err = d.rxCall.Map(t, d.dev.Ctx, next.buf, kernel.FromDevice, kernel.AttrSkipCPUSync|kernel.AttrWeakOrdering)
			return err
		})
		m.End()
		cost.Add(&m, 1)
		d.res.Calls[workloads.CallMap]++
	}
	p.pages[i] = next
	p.offer(int(i), next, 0)
	return pg
}

// giveBack is the stack freeing the half that pk has: put_page, and the page itself when nobody has any of it.
func (p *poller) giveBack(t *cpu.Thread, pk *packet) {
	pg := pk.page
	t.Atomic(pg.buf.Page+52, 0, 0)
	t.Branch(false, t.Last())
	pg.out[(pk.buf.Phys-pg.buf.Phys)/halfPage] = false
	if pg.left && !pg.out[0] && !pg.out[1] {
		p.freePages = append(p.freePages, pg)
	}
}
