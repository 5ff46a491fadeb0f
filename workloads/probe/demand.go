package probe

import (
	"errors"
	"fmt"

	"dmapath/pcie"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// demand is the window of a probe whose pages come when the device asks for them.
type demand struct {
	*platform.Demand
	p       *probe
	st      workloads.PageFaults
	free    []uint16           // groups that are not in use
	asked   []sim.Time         // by group
	page    []uint64           // by group: what was asked for
	group   map[uint64]uint16  // by page
	waiting map[uint64][]retry // accesses that wait for a page
	queue   []uint64           // pages that wait for a group
	tried   map[uint64]bool    // pages that were answered
	answer  sim.Handler
}

// retry is an access that found no page.
type retry struct {
	slot uint64
	at   uint64
}

// demandWindow gives the probe a window of which no page is there.
func (p *probe) demandWindow() error {
	d := &demand{p: p, asked: make([]sim.Time, p.cfg.PageRequests), page: make([]uint64, p.cfg.PageRequests), group: map[uint64]uint16{},
		waiting: map[uint64][]retry{}, tried: map[uint64]bool{}, st: workloads.PageFaults{Latency: sim.NewHistogram(int64(sim.Second), 3)}}
	for g := p.cfg.PageRequests - 1; g >= 0; g-- {
		d.free = append(d.free, uint16(g))
	}
	d.answer = p.m.Eng.Register("probe: page response", d.answered)
	var err error
	if d.Demand, err = p.m.NewDemand(p.dev, d, p.cfg.Window, p.cfg.QueueOrder); err != nil {
		return err
	}
	for i := range p.pages {
		p.pages[i] = d.First + uint64(i)*4096
	}
	p.demand = d
	return nil
}

// missed takes an access that ended for want of a page: the device asks for it, unless it has done so already.
func (d *demand) missed(slot, at uint64, now sim.Time) {
	page := at &^ 4095
	d.st.Accesses++
	_, asked := d.group[page]
	first := len(d.waiting[page]) == 0
	d.waiting[page] = append(d.waiting[page], retry{slot, at})
	if !asked && first {
		d.queue = append(d.queue, page)
		d.ask(now)
	}
}

// ask sends page requests for the pages that wait, as far as there are groups: what the capability calls outstanding page request
// allocation.
func (d *demand) ask(now sim.Time) {
	for len(d.queue) > 0 && len(d.free) > 0 {
		page := d.queue[0]
		d.queue = append(d.queue[:0], d.queue[1:]...)
		g := d.free[len(d.free)-1]
		d.free = d.free[:len(d.free)-1]
		d.group[page], d.page[g], d.asked[g] = g, page, now
		d.st.Requests++
		if d.tried[page] {
			d.st.Again++
		}
		d.Ask(pcie.PageRequest{RID: d.p.dev.RID, Addr: page, Read: true, Write: d.p.cfg.Access != Read, Last: true, Group: g}, now)
	}
}

// PageResponse is iommu.Asker's: an answer leaves the unit.
func (d *demand) PageResponse(group uint16, code pcie.Response, now sim.Time) {
	d.p.m.Eng.At(d.p.dev.Port.PageResponse(now), d.answer, uint64(group)|uint64(code)<<16)
}

// answered is an answer reaching the device: what waited for the page is tried again.
func (d *demand) answered(arg uint64) {
	g, code := uint16(arg), pcie.Response(arg>>16)
	now := d.p.m.Eng.Now()
	page := d.page[g]
	if int(g) >= len(d.page) || d.group[page] != g {
		d.p.err = errors.Join(d.p.err, fmt.Errorf("probe: an answer for group %d, which asks for nothing", g))
		return
	}
	delete(d.group, page)
	d.free = append(d.free, g)
	d.tried[page] = true
	d.st.Latency.Add(int64((now - d.asked[g]) / sim.Nanosecond))
	if code != pcie.ResponseSuccess {
		d.p.err = errors.Join(d.p.err, fmt.Errorf("probe: the page at %#x is answered with %v", page, code))
	}
	list := d.waiting[page]
	delete(d.waiting, page)
	for _, r := range list {
		d.p.access(r.slot, r.at, now)
	}
	d.ask(now)
}

// finish completes what the probe met.
func (d *demand) finish() *workloads.PageFaults {
	st := d.p.m.Unit.Statistics()
	d.st.Queued, d.st.Dropped, d.st.Auto, d.st.Groups = st.PageQueued, st.PageDropped, st.PageAuto, d.Handler.Groups
	d.st.Made = int64(d.Handler.Faults - d.Handler.Present - d.Handler.Refused)
	return &d.st
}
