package pcie

import "dmapath/sim"

// PageRequest is a page request message (PCI Express base specification 5.0, 10.4): a device asks for a page that its translation request
// did not get. Messages of one group have its index, and the last one says so; the host answers the group once.
type PageRequest struct {
	RID   uint16
	Addr  uint64 // I/O address of the page
	Read  bool
	Write bool
	Last  bool
	Group uint16 // 9 bits
}

// Response is the code of a page request group response message.
type Response uint8

// Response codes (10.4.2.1).
const (
	ResponseSuccess Response = 0  // the pages are there, or the host asks to try again
	ResponseInvalid Response = 1  // a page cannot be had
	ResponseFailure Response = 15 // the host takes no page requests
)

func (r Response) String() string {
	switch r {
	case ResponseSuccess:
		return "success"
	case ResponseInvalid:
		return "invalid request"
	}
	return "response failure"
}

// PageRequest sends a page request message that the device has ready at now and returns when the root complex has it. It is a posted message
// without payload, behind the device's writes.
func (p *Port) PageRequest(now sim.Time) (arrive sim.Time) {
	at, _ := p.sendPosted(p.request(1<<32, 0), 0, now)
	p.packet(p.Up, "Msg page request", 0, 0)
	p.posted.give(0, at+p.cfg.CreditReturn)
	p.st.PageRequests++
	return at
}

// PageResponse sends a page request group response that the root complex has ready at now and returns when the device has it.
func (p *Port) PageResponse(now sim.Time) (arrive sim.Time) {
	ready := p.doorbells.take(now+p.cfg.RootDown, 0)
	_, end := p.Down.Send(ready, p.rung.behind(ready), p.request(1<<32, 0), 0)
	p.packet(p.Down, "Msg page group response", 0, 0)
	p.rung.put(ready, end)
	at := end + p.cfg.LinkLatency + p.cfg.EndpointLatency
	p.doorbells.give(0, at+p.cfg.CreditReturn)
	p.st.PageResponses++
	return at
}
