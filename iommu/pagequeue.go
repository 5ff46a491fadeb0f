package iommu

import (
	"dmapath/pcie"
	"dmapath/sim"
)

// Asker is a device that can ask for pages (PRI). PageResponse is the answer to a group leaving the unit at now.
type Asker interface {
	PageResponse(group uint16, code pcie.Response, now sim.Time)
}

// PageRequests is a Unit that takes page requests.
type PageRequests interface {
	// AttachPRI says that the device with requester id rid asks for pages.
	AttachPRI(rid uint16, a Asker)
	// OnPageRequest sets what the interrupt of the page request queue does: fn is called when the interrupt arrives at a CPU. There is one
	// interrupt until software has cleared its status.
	OnPageRequest(fn func())
	// RequestPage is a page request message that reaches the unit at the time given.
	RequestPage(r pcie.PageRequest, at sim.Time)
}

// PageQueue is the queue in which a unit leaves page requests for software: a ring in memory. What an entry looks like is the
// dialect's. When the ring is full a request is dropped; so that the device does not wait for ever, the unit answers a group whose last
// request it drops with success, upon which the device finds the page missing and asks again.
type PageQueue struct {
	Base, Size uint64 // of the ring; Size is a power of two
	Width      uint64 // bytes of an entry
	Head, Tail uint64 // byte offsets of the oldest entry, and of the next
	Overflow   bool   // a request was dropped since software cleared it
	Pending    bool   // the interrupt's status: set with an entry, cleared by software

	// Enabled tells whether software takes requests; Encode returns the words of an entry.
	Enabled func() bool
	Encode  func(r pcie.PageRequest) [4]uint64
	// Delay is from the entry being visible to the interrupt at a CPU.
	Delay sim.Time

	c      *Core
	askers map[uint16]Asker
	on     func()

	coming     []pcie.PageRequest // messages under way, in order of arrival
	hArrive    sim.Handler
	hInterrupt sim.Handler
}

// Init makes an idle queue of the unit.
func (q *PageQueue) Init(c *Core, name string) {
	q.c, q.askers = c, map[uint16]Asker{}
	q.hArrive = c.Eng.Register("iommu: "+name+" request", func(uint64) { q.arrive() })
	q.hInterrupt = c.Eng.Register("iommu: "+name+" interrupt", func(uint64) {
		if q.on != nil {
			q.on()
		}
	})
}

// AttachPRI is PageRequests'.
func (q *PageQueue) AttachPRI(rid uint16, a Asker) { q.askers[rid] = a }

// OnPageRequest is PageRequests'.
func (q *PageQueue) OnPageRequest(fn func()) { q.on = fn }

// RequestPage is PageRequests'. Messages of one port arrive in order; those of several ports are taken in the order of calls.
func (q *PageQueue) RequestPage(r pcie.PageRequest, at sim.Time) {
	q.coming = append(q.coming, r)
	q.c.Eng.At(max(at, q.c.Eng.Now()), q.hArrive, 0)
}

// arrive is the oldest message reaching the unit.
func (q *PageQueue) arrive() {
	r := q.coming[0]
	q.coming = append(q.coming[:0], q.coming[1:]...)
	now := q.c.Eng.Now()
	q.c.Stats.PageAsked++
	if !q.Enabled() {
		q.auto(r, pcie.ResponseFailure, now)
		return
	}
	next := (q.Tail + q.Width) & (q.Size - 1)
	if q.Overflow || next == q.Head { // once it has overflown nothing is taken until software has seen that
		q.Overflow = true
		q.c.Stats.PageDropped++
		q.auto(r, pcie.ResponseSuccess, now)
		q.interrupt(now)
		return
	}
	done := q.c.Fabric.DeviceWrite(q.Base+q.Tail, int(q.Width), now)
	for i, w := range q.Encode(r) {
		if uint64(i)*8 < q.Width {
			q.c.Mem.Write64(q.Base+q.Tail+uint64(i)*8, w)
		}
	}
	q.Tail = next
	q.c.Stats.PageQueued++
	q.interrupt(done)
}

// interrupt tells software, unless it has not looked since it was told last.
func (q *PageQueue) interrupt(at sim.Time) {
	if !q.Pending {
		q.Pending = true
		q.c.Eng.At(at+q.Delay, q.hInterrupt, 0)
	}
}

// auto answers a group of which r is the last request, without software.
func (q *PageQueue) auto(r pcie.PageRequest, code pcie.Response, now sim.Time) {
	if r.Last {
		q.c.Stats.PageAuto++
		q.Respond(r.RID, r.Group, code, now)
	}
}

// Respond sends the response for a group to its device.
func (q *PageQueue) Respond(rid, group uint16, code pcie.Response, now sim.Time) {
	if a := q.askers[rid]; a != nil {
		q.c.Stats.PageAnswers++
		a.PageResponse(group, code, now)
	}
}
