package nic

import (
	"dmapath/sim"
)

// framing is what a frame takes on the wire beside its bytes here: preamble and start 8, FCS 4, least gap 12 (IEEE 802.3).
const framing = 24

// headers of a frame of a TCP stream: Ethernet 14, IPv4 20, TCP with time stamps 32.
const headers = 66

// initialWindow is how many segments a new connection sends before it has heard anything (RFC 6928).
const initialWindow = 10

// ack is what a frame sent by the receiver tells the sender of a flow.
type ack struct {
	flow     int
	received int64 // frames received so far; 0: it acknowledges nothing
	edge     int64 // frames that the sender may have sent in all: received window included
}

// flow is the sender's end of one connection. Everything is counted in frames of one size.
type flow struct {
	queue    int
	cwnd     float64
	slow     bool // slow start
	out      int64
	acked    int64
	lost     int64 // sent and known not to have arrived: they will be sent again
	edge     int64
	cut      int64 // frames sent when the window was cut last: one cut per window
	messages []ack // on their way back to the sender, in order
}

// ready reports whether the flow may send.
func (f *flow) ready() bool {
	sent := f.out - f.lost
	return sent-f.acked < int64(f.cwnd) && sent < f.edge
}

// wire is the senders, the link and the packet memory of the device. The link carries one frame at a time, by turns from the flows
// whose windows allow it. In the device a frame lies in packet memory until its data have been written to a receive buffer. A frame that
// finds no room in packet memory, or no receive buffer, is lost, or, with pause frames, the link stands still before that can
// happen.
type wire struct {
	d      *Device
	cfg    *Stream
	size   int // bytes of a frame
	flows  []flow
	turn   int  // flow that sends next
	busy   bool // the link carries a frame, or its next one is scheduled
	stands bool // paused
	since  sim.Time
	flying int   // bytes on the link and behind it, not yet in the device
	used   int   // bytes in packet memory
	held   []int // flows of frames that wait in packet memory for a receive buffer (pause only)

	evSend, evArrive, evFree, evAck, evLoss sim.Handler

	NoBuffer, NoRoom int64    // frames lost because of no receive buffer, no packet memory
	Paused           sim.Time // time during which the link stood still
	Sent             int64
}

func newWire(d *Device, cfg *Stream, size, queues int) *wire {
	w := &wire{d: d, cfg: cfg, size: size}
	for q := range queues * cfg.Flows {
		w.flows = append(w.flows, flow{queue: q % queues, cwnd: initialWindow, slow: true, edge: int64(cfg.frames(size))})
	}
	w.evSend = d.eng.Register("wire sends", w.send)
	w.evArrive = d.eng.Register("wire delivers", w.arrive)
	w.evFree = d.eng.Register("packet memory is free", w.free)
	w.evAck = d.eng.Register("sender hears", w.hear)
	w.evLoss = d.eng.Register("sender misses", w.miss)
	return w
}

// start lets the senders begin.
func (w *wire) start() { w.kick() }

// kick makes the link send when it is idle.
func (w *wire) kick() {
	if !w.busy {
		w.busy = true
		w.d.eng.At(w.d.eng.Now(), w.evSend, 0)
	}
}

// room reports whether one more frame may be sent without packet memory overflowing.
func (w *wire) room() bool { return w.used+w.flying+w.size <= w.cfg.Buffer }

// send puts the next frame on the link.
func (w *wire) send(uint64) {
	w.busy = false
	now := w.d.eng.Now()
	if w.cfg.Pause && !w.room() {
		if !w.stands {
			w.stands, w.since = true, now
		}
		return
	}
	if w.stands {
		w.stands = false
		w.Paused += now - w.since
	}
	for range w.flows {
		i := w.turn
		w.turn = (w.turn + 1) % len(w.flows)
		f := &w.flows[i]
		if !f.ready() {
			continue
		}
		if f.lost > 0 {
			f.lost--
		} else {
			f.out++
		}
		w.Sent++
		w.flying += w.size
		end := now + sim.Time(float64(w.size+framing)*8/w.cfg.Rate*float64(sim.Nanosecond))
		w.d.eng.At(end+w.cfg.RTT/2, w.evArrive, uint64(i))
		w.busy = true
		w.d.eng.At(end, w.evSend, 0)
		return
	}
}

// arrive is a frame of flow i reaching the device.
func (w *wire) arrive(i uint64) {
	w.flying -= w.size
	if w.used+w.size > w.cfg.Buffer {
		w.NoRoom++
		w.drop(i)
		return
	}
	if !w.cfg.Pause && !w.buffered(int(i)) {
		w.NoBuffer++
		w.drop(i)
		return
	}
	w.used += w.size
	if len(w.held) > 0 || !w.buffered(int(i)) {
		w.held = append(w.held, int(i))
		return
	}
	w.write(int(i))
}

// buffered reports whether flow i's queue has a receive buffer.
func (w *wire) buffered(i int) bool {
	r := &w.d.queues[w.flows[i].queue].rx
	return r.head != r.tail
}

// write moves a frame from packet memory to its receive buffer.
func (w *wire) write(i int) {
	now := w.d.eng.Now()
	left := w.d.receive(uint64(w.flows[i].queue), w.size, i, now)
	w.d.eng.At(max(left, now), w.evFree, 0)
}

// free is a frame's data having left packet memory.
func (w *wire) free(uint64) {
	w.used -= w.size
	w.kick()
}

// refilled is called when a queue has got receive buffers: frames that waited for them go on, in order.
func (w *wire) refilled() {
	n := 0
	for n < len(w.held) && w.buffered(w.held[n]) {
		w.write(w.held[n])
		n++
	}
	w.held = append(w.held[:0], w.held[n:]...)
}

// drop loses a frame of flow i. The sender learns of it from the acknowledgements of the frames behind it, a round trip later.
func (w *wire) drop(i uint64) {
	w.d.Drops++
	w.d.eng.At(w.d.eng.Now()+w.cfg.RTT, w.evLoss, i)
}

// miss is the sender of flow i finding out that a frame was lost: it will be sent again, and the window is halved, once per window.
func (w *wire) miss(i uint64) {
	f := &w.flows[i]
	f.lost++
	if f.acked >= f.cut {
		f.cwnd = max(f.cwnd/2, 2)
		f.slow = false
		f.cut = f.out
	}
	w.kick()
}

// sent is the device having read a frame of the driver's: what it says reaches the sender half a round trip after it was put on the
// link.
func (w *wire) sent(a ack, at sim.Time) {
	f := &w.flows[a.flow]
	f.messages = append(f.messages, a)
	w.d.eng.At(max(at, w.d.eng.Now())+w.cfg.RTT/2, w.evAck, uint64(a.flow))
}

// hear is the sender of flow i getting an acknowledgement: the window grows by a frame per frame in slow start and by a frame per
// window after it (RFC 5681).
func (w *wire) hear(i uint64) {
	f := &w.flows[i]
	a := f.messages[0]
	f.messages = append(f.messages[:0], f.messages[1:]...)
	if n := a.received - f.acked; n > 0 {
		f.acked = a.received
		if !f.slow {
			f.cwnd += float64(n) / f.cwnd
		} else {
			f.cwnd += float64(n)
		}
		f.cwnd = min(f.cwnd, float64(w.cfg.frames(w.size)))
	}
	f.edge = max(f.edge, a.edge)
	w.kick()
}
