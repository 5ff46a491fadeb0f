package pcie

import (
	"errors"

	"dmapath/cache"
	"dmapath/sim"
)

// errNoMemory is why a request to a physical address beyond the machine's width is refused.
var errNoMemory = errors.New("no memory at this address")

// Write performs a DMA write of n >= 1 bytes that the device has ready at now, and returns when the last byte is visible to
// the CPUs. An error is an *AbortError: the packets before the refused one were written.
func (p *Port) Write(rid uint16, iova uint64, n int, now sim.Time) (done sim.Time, err error) {
	if n < 1 {
		return now, p.abort(rid, iova, true)
	}
	p.st.Writes++
	for rest := n; rest > 0; {
		size := min(p.cfg.MPS, rest, pageBytes-int(iova%pageBytes))
		if done, err = p.writePacket(rid, iova, size, now); err != nil {
			return done, err
		}
		iova += uint64(size)
		rest -= size
	}
	p.st.WriteBytes += uint64(n)
	p.st.WriteTime += done - now
	p.operation("DMA write", iova-uint64(n), n, now, done)
	return done, nil
}

// sendPosted takes a posted packet from the device's engine to the root complex: credits, order, link. It returns when the root
// complex has it, and until when writes sent earlier keep it from becoming visible.
func (p *Port) sendPosted(bytes, payload int, now sim.Time) (at, pushed sim.Time) {
	ready := p.posted.take(now+p.cfg.EndpointLatency, units(payload))
	if ready >= p.sent.ready { // else the call is for an earlier time than the last one
		pushed = p.rootDone
	}
	_, end := p.Up.Send(ready, p.sent.behind(ready), bytes, payload)
	p.sent.put(ready, end)
	return end + p.cfg.LinkLatency + p.cfg.RootUp, pushed
}

func (p *Port) writePacket(rid uint16, iova uint64, n int, now sim.Time) (sim.Time, error) {
	if p.peers != nil {
		if w := p.peer(iova); w != nil {
			return p.writePeer(w, iova, n, now), nil
		}
	}
	payload := doublewords(iova, n)
	addr := iova
	if p.atc != nil {
		var err error
		if addr, now, err = p.ownAddress(rid, iova, true, now); err != nil {
			return now, err
		}
	}
	at, pushed := p.sendPosted(p.request(addr, payload), payload, now)
	p.packet(p.Up, "MWr", iova, n)
	p.st.WriteRequests++
	pa, t, err := p.translate(rid, addr, true, at)
	if err != nil {
		p.posted.give(units(payload), t+p.cfg.CreditReturn)
		return t, err
	}
	done := p.mem.DeviceWrite(pa, n, t)
	if done < pushed && !p.cfg.RelaxedOrdering {
		p.st.OrderTime += pushed - done
		done = pushed
	}
	p.rootDone = max(p.rootDone, done)
	p.commits.add(at, done)
	p.posted.give(units(payload), done+p.cfg.CreditReturn)
	return done, nil
}

// Read performs a DMA read of n >= 1 bytes that the device asks for at now, and returns when the last byte is in the device.
// An error is an *AbortError; done is then when the device knows.
func (p *Port) Read(rid uint16, iova uint64, n int, now sim.Time) (done sim.Time, err error) {
	if n < 1 {
		return now, p.abort(rid, iova, false)
	}
	p.st.Reads++
	for rest := n; rest > 0; {
		size := min(p.cfg.MRRS, rest, pageBytes-int(iova%pageBytes))
		end, err := p.readRequest(rid, iova, size, now)
		done = max(done, end)
		if err != nil {
			return done, err
		}
		iova += uint64(size)
		rest -= size
	}
	p.st.ReadBytes += uint64(n)
	p.st.ReadTime += done - now
	p.operation("DMA read", iova-uint64(n), n, now, done)
	return done, nil
}

func (p *Port) readRequest(rid uint16, iova uint64, n int, now sim.Time) (sim.Time, error) {
	if p.peers != nil {
		if w := p.peer(iova); w != nil {
			return p.readPeer(w, iova, n, now), nil
		}
	}
	payload := doublewords(iova, n)
	addr := iova
	if p.atc != nil {
		var err error
		if addr, now, err = p.ownAddress(rid, iova, false, now); err != nil {
			return now, err
		}
	}
	t := p.tags.take(now + p.cfg.EndpointLatency)
	tagged := t
	t = p.buffer.take(t, units(payload))
	t = p.nonPosted.take(t, 0)
	_, end := p.Up.Send(t, p.sent.behind(t), p.request(addr, 0), 0)
	p.packet(p.Up, "MRd", iova, n)
	at := end + p.cfg.LinkLatency + p.cfg.RootUp
	p.st.ReadRequests++
	pa, t, err := p.translate(rid, addr, false, at)
	if err != nil {
		p.nonPosted.give(0, t+p.cfg.CreditReturn)
		_, end := p.Down.Send(t+p.cfg.RootDown, 0, p.answer(0), 0)
		p.packet(p.Down, "Cpl unsupported request", iova, 0)
		back := end + p.cfg.LinkLatency + p.cfg.EndpointLatency
		p.holdTag(tagged, back)
		p.buffer.give(units(payload), back)
		return back, err
	}
	// A read does not pass writes that were sent before it.
	if t < p.rootDone && p.sent.end+p.cfg.LinkLatency+p.cfg.RootUp <= at {
		p.st.OrderTime += p.rootDone - t
		t = p.rootDone
	}
	p.nonPosted.give(0, t+p.cfg.CreditReturn)
	var back, have sim.Time
	for rest := n; rest > 0; {
		size := min(p.completion-int(pa%uint64(p.completion)), rest)
		data, _ := p.mem.DeviceRead(pa, size, t)
		have = max(have, data) // in address order
		dw := doublewords(pa, size)
		_, end := p.Down.Send(have+p.cfg.RootDown, 0, p.answer(dw), dw)
		p.packet(p.Down, "CplD", iova+uint64(n-rest), size)
		back = max(back, end+p.cfg.LinkLatency+p.cfg.EndpointLatency)
		p.st.Completions++
		pa += uint64(size)
		rest -= size
	}
	p.fetches.add(at, have)
	p.holdTag(tagged, back)
	p.buffer.give(units(payload), back)
	return back, nil
}

// translate is what the root complex does with the address of a packet, which with a device TLB is a physical one already.
func (p *Port) translate(rid uint16, iova uint64, write bool, at sim.Time) (pa uint64, t sim.Time, err error) {
	pa, t = iova, at
	if p.atc != nil {
		t, err = p.atc.agent.Translated(rid, pa, write, at)
		p.st.TranslationTime += t - at
	} else if p.tr != nil {
		pa, t, err = p.tr.Translate(rid, iova, write, at)
		p.st.TranslationTime += t - at
	}
	switch {
	case err != nil:
		p.st.Aborts++
		err = &AbortError{Status: UnsupportedRequest, RID: rid, IOVA: iova, Write: write, Err: err}
	case pa>>cache.PABits != 0:
		p.st.Aborts++
		err = &AbortError{Status: UnsupportedRequest, RID: rid, IOVA: iova, Write: write, Err: errNoMemory}
	}
	return pa, t, err
}

func (p *Port) abort(rid uint16, iova uint64, write bool) error {
	p.st.Aborts++
	return &AbortError{Status: CompleterAbort, RID: rid, IOVA: iova, Write: write}
}

// units returns the data credits of a payload.
func units(payload int) int { return (payload + creditUnit - 1) / creditUnit }

// MSIX sends an interrupt at now: a posted write of 4 bytes to the interrupt address below 4 GiB, which the IOMMU does not
// translate. It returns when the CPU's interrupt controller has it, not before all writes sent earlier are visible.
func (p *Port) MSIX(now sim.Time) (arrive sim.Time) {
	at, pushed := p.sendPosted(p.request(0, registerBytes), registerBytes, now)
	p.packet(p.Up, "MWr MSI-X", 0, registerBytes)
	p.st.Interrupts++
	if at < pushed {
		p.st.OrderTime += pushed - at
		at = pushed
	}
	p.posted.give(units(registerBytes), at+p.cfg.CreditReturn)
	return at + p.cfg.Interrupt
}

// CPUWrite sends a posted write of 4 bytes that left the core at now, a doorbell, to the device, and returns when the
// device sees it.
func (p *Port) CPUWrite(now sim.Time) (arrive sim.Time) { return p.CPUWriteBytes(registerBytes, now) }

// CPUWriteBytes is CPUWrite for n bytes: 4, 8, or 64 through a write-combining mapping.
func (p *Port) CPUWriteBytes(n int, now sim.Time) (arrive sim.Time) {
	payload := doublewords(0, n)
	ready := p.doorbells.take(now+p.cfg.HostLatency, units(payload))
	_, end := p.Down.Send(ready, p.rung.behind(ready), p.request(1<<32, payload), payload)
	p.packet(p.Down, "MWr register", 0, n)
	p.rung.put(ready, end)
	p.st.Doorbells++
	arrive = end + p.cfg.LinkLatency + p.cfg.EndpointLatency
	p.doorbells.give(units(payload), arrive+p.cfg.CreditReturn)
	return arrive
}

// CPURead reads a 4-byte register for an instruction that left the core at now, and returns when the value is back. The answer
// pushes the device's earlier writes: when it is there, they are visible.
func (p *Port) CPURead(now sim.Time) (done sim.Time) {
	ready := p.registers.take(now+p.cfg.HostLatency, 0)
	_, end := p.Down.Send(ready, p.rung.behind(ready), p.request(1<<32, 0), 0)
	p.packet(p.Down, "MRd register", 0, registerBytes)
	at := end + p.cfg.LinkLatency + p.cfg.EndpointLatency
	p.registers.give(0, at+p.cfg.CreditReturn)
	p.st.RegisterReads++
	ready = at + p.cfg.RegisterRead + p.cfg.EndpointLatency
	_, end = p.Up.Send(ready, p.sent.behind(ready), p.answer(registerBytes), registerBytes)
	p.packet(p.Up, "CplD register", 0, registerBytes)
	back := end + p.cfg.LinkLatency + p.cfg.RootUp
	if ready >= p.sent.ready {
		back = max(back, p.rootDone)
	}
	return back + p.cfg.HostLatency
}
