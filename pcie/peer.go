package pcie

import "dmapath/sim"

// Window is memory of another device: the addresses [Base, Base+Size) on the bus answer at the device below Port.
type Window struct {
	Base, Size uint64
	Port       *Port
}

// Contains reports whether addr lies in the window.
func (w *Window) Contains(addr uint64) bool { return addr-w.Base < w.Size }

// Below puts the port's device below one switch with the devices whose windows these are. The switch routes by address: requests to
// a window go to its device, are seen by no root complex and translated by nobody (access control services that would send
// them up are off, as peer-to-peer needs it). The switch forwards a packet in the time that a root port needs, RootUp and RootDown: a guess.
func (p *Port) Below(windows ...Window) { p.peers = append(p.peers, windows...) }

// peer returns the window below the same switch that addr lies in, nil for none.
func (p *Port) peer(addr uint64) *Window {
	for i := range p.peers {
		if p.peers[i].Contains(addr) {
			return &p.peers[i]
		}
	}
	return nil
}

// writePeer is writePacket to a device below the same switch: done is when the data is in that device.
func (p *Port) writePeer(w *Window, addr uint64, n int, now sim.Time) sim.Time {
	payload := doublewords(addr, n)
	at, _ := p.sendPosted(p.request(addr, payload), payload, now)
	p.packet(p.Up, "MWr to peer", addr, n)
	p.st.WriteRequests++
	p.st.PeerWrites++
	done := w.Port.PeerWrite(n, at)
	p.posted.give(units(payload), done+p.cfg.CreditReturn)
	return done
}

// readPeer is readRequest from a device below the same switch.
func (p *Port) readPeer(w *Window, addr uint64, n int, now sim.Time) (back sim.Time) {
	payload := doublewords(addr, n)
	t := p.tags.take(now + p.cfg.EndpointLatency)
	tagged := t
	t = p.buffer.take(t, units(payload))
	t = p.nonPosted.take(t, 0)
	_, end := p.Up.Send(t, p.sent.behind(t), p.request(addr, 0), 0)
	p.packet(p.Up, "MRd to peer", addr, n)
	at := end + p.cfg.LinkLatency + p.cfg.RootUp
	p.st.ReadRequests++
	p.st.PeerReads++
	p.nonPosted.give(0, at+p.cfg.CreditReturn)
	for rest := n; rest > 0; {
		size := min(p.cfg.MPS, rest)
		have := w.Port.PeerRead(size, at)
		dw := doublewords(addr, size)
		_, end := p.Down.Send(have+p.cfg.RootDown, 0, p.answer(dw), dw)
		p.packet(p.Down, "CplD of peer", addr, size)
		back = max(back, end+p.cfg.LinkLatency+p.cfg.EndpointLatency)
		p.st.Completions++
		addr += uint64(size)
		rest -= size
	}
	p.holdTag(tagged, back)
	p.buffer.give(units(payload), back)
	return back
}

// PeerWrite brings a posted write of n bytes, which root complex or switch have at at, to the device, and returns when the device has it.
func (p *Port) PeerWrite(n int, at sim.Time) (arrive sim.Time) {
	payload := doublewords(0, n)
	ready := p.doorbells.take(at+p.cfg.RootDown, units(payload))
	_, end := p.Down.Send(ready, p.rung.behind(ready), p.request(1<<32, payload), payload)
	p.packet(p.Down, "MWr to window", 0, n)
	p.rung.put(ready, end)
	arrive = end + p.cfg.LinkLatency + p.cfg.EndpointLatency
	p.doorbells.give(units(payload), arrive+p.cfg.CreditReturn)
	p.st.WindowBytesIn += uint64(n)
	return arrive
}

// PeerRead fetches n bytes, at most a completion, from the device's window for a request that root complex or switch have at at, and
// returns when they have the data. The device answers as fast as a register read (a guess: its memory is its own business).
func (p *Port) PeerRead(n int, at sim.Time) (done sim.Time) {
	ready := p.registers.take(at+p.cfg.RootDown, 0)
	_, end := p.Down.Send(ready, p.rung.behind(ready), p.request(1<<32, 0), 0)
	p.packet(p.Down, "MRd of window", 0, n)
	got := end + p.cfg.LinkLatency + p.cfg.EndpointLatency
	p.registers.give(0, got+p.cfg.CreditReturn)
	ready = got + p.cfg.RegisterRead + p.cfg.EndpointLatency
	payload := doublewords(0, n)
	_, end = p.Up.Send(ready, p.sent.behind(ready), p.answer(payload), payload)
	p.packet(p.Up, "CplD of window", 0, n)
	p.st.WindowBytesOut += uint64(n)
	return end + p.cfg.LinkLatency + p.cfg.RootUp
}
