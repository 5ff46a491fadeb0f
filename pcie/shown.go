package pcie

import "dmapath/sim"

// shown is where a port is shown on a timeline (sim.Timeline): packets of each direction while they occupy the link, operations of the device
// until the last byte is in the device or visible, and a counter of tags in use.
type shown struct {
	tl                     *sim.Timeline
	up, down, dma, reading sim.TrackID
}

// Show shows the port on tl, under a name.
func (p *Port) Show(tl *sim.Timeline, name string) {
	p.shown = shown{tl, tl.Track(sim.Apart, name+" link up", ""), tl.Track(sim.Apart, name+" link down", ""), tl.Track(sim.Overlaps, name+" DMA", ""),
		tl.Counter(name+" reads in flight", "reads", 0)}
}

// Reads returns the number of read requests under way, translation requests included, over time, since boot or the Restart of the curve.
func (p *Port) Reads() *sim.Curve { return p.reads }

// packet and operation show what has been booked, when somebody looks.
func (p *Port) packet(l *Link, name string, addr uint64, n int) {
	if p.shown.tl.On() {
		p.showPacket(l, name, addr, n)
	}
}

func (p *Port) operation(name string, addr uint64, n int, start, end sim.Time) {
	if p.shown.tl.On() {
		p.showOperation(name, addr, n, start, end)
	}
}

// showPacket shows the packet that was sent last on l. Without an address it has none that means something to software.
func (p *Port) showPacket(l *Link, name string, addr uint64, n int) {
	track := p.shown.up
	if l == p.Down {
		track = p.shown.down
	}
	if l.last.start < p.shown.tl.Start {
		return
	}
	if addr == 0 {
		p.shown.tl.Slice(track, name, l.last.start, l.last.end, sim.Num("bytes", int64(n)))
		return
	}
	p.shown.tl.Slice(track, name, l.last.start, l.last.end, sim.Addr("addr", addr), sim.Num("bytes", int64(n)))
}

func (p *Port) showOperation(name string, addr uint64, n int, start, end sim.Time) {
	p.shown.tl.Span(p.shown.dma, name, start, end, sim.Addr("addr", addr), sim.Num("bytes", int64(n)))
}

// holdTag gives back at back the tag that a read request has had since start.
func (p *Port) holdTag(start, back sim.Time) {
	p.tags.release(back)
	p.reads.Span(start, back)
	if p.shown.tl.On() {
		p.shown.tl.Busy(p.shown.reading, start, back)
	}
}
