package nic

import (
	"fmt"
	"math/rand/v2"

	"dmapath/pcie"
	"dmapath/sim"
	"dmapath/workloads"
)

// descBytes is the size of a receive or transmit descriptor (16 bytes: 82574, 82599, and most after them).
const descBytes = 16

// prefetch is how many descriptors the device reads at once: one 64-byte line.
const prefetch = 64 / descBytes

// slot is what a descriptor says.
type slot struct {
	addr uint64 // device address of the buffer
	size int    // bytes to send, or bytes received
	more bool   // transmit: the frame goes on in the next descriptor, and only the last is written back
	at   sim.Time
	flow int // receive, with a wire: whose frame it is
	ack  ack // transmit, with a wire: what it tells the sender
}

// ring is one descriptor ring of the device: [head, tail) belongs to the device, [clean, head) is done and waits for the
// driver. Counters run freely; a slot is counter modulo the size.
type ring struct {
	base    uint64
	slots   []slot
	head    uint64   // next the device uses
	tail    uint64   // as last written to the doorbell
	fetched uint64   // descriptors already read or being read
	readAt  sim.Time // when the last of them is in the device
	done    uint64   // completions visible in memory; done <= head
	free    sim.Time // transmit: when the next frame may be read
	read    sim.Time // transmit: when the pieces of the present frame are in the device
	part    uint64   // and how many there are
	visible sim.Time // when the last write-back is visible; they become so in order
}

func (r *ring) slot(n uint64) *slot { return &r.slots[n%uint64(len(r.slots))] }

// queue is a pair of rings with its interrupt.
type queue struct {
	rx, tx  ring
	arrive  Arrivals
	rnd     *rand.Rand
	left    int64 // frames still to arrive
	lastIRQ sim.Time
	armed   bool // an interrupt is scheduled
	masked  bool // NAPI polls: no interrupts
	pending bool // something completed while masked
}

// Device is a NIC with one receive and one transmit ring per CPU.
type Device struct {
	eng      *sim.Engine
	port     *pcie.Port
	rid      uint16
	sizes    Sizes
	moderate sim.Time // least time between two interrupts of a queue
	queues   []queue
	irq      func(q int)

	evArrive, evRx, evTx, evTxDone, evSend, evIRQ, evDoorbell sim.Handler

	Drops, Interrupts, Faults int64
	Err                       error
	// Buffers and Frames are how many receive descriptors and transmit descriptors belong to the device.
	Buffers, Frames *workloads.Depth

	watch func(s *slot) // tests: what has been read to be sent
	wire  *wire         // where frames come from instead of arrivals by a pattern
}

// NewDevice returns a NIC behind port; irq is called when an interrupt reaches the CPU of queue q.
func NewDevice(eng *sim.Engine, port *pcie.Port, rid uint16, s Sizes, moderate sim.Time, irq func(q int)) *Device {
	d := &Device{eng: eng, port: port, rid: rid, sizes: s, moderate: moderate, irq: irq,
		Buffers: workloads.NewDepth(eng.Now(), "nic_rx_buffers", "buffers"), Frames: workloads.NewDepth(eng.Now(), "nic_tx_queued", "descriptors")}
	d.evArrive = eng.Register("nic frame arrives", d.arrive)
	d.evRx = eng.Register("nic frame in memory", d.rxDone)
	d.evTx = eng.Register("nic transmits", d.transmit)
	d.evTxDone = eng.Register("nic frame sent", d.txDone)
	d.evDoorbell = eng.Register("nic doorbell", d.doorbell)
	d.evSend = eng.Register("nic sends interrupt", func(q uint64) { d.eng.At(d.port.MSIX(d.eng.Now()), d.evIRQ, q) })
	d.evIRQ = eng.Register("nic interrupt", func(q uint64) { d.irq(int(q)) })
	return d
}

// AddQueue adds a pair of rings of entries descriptors at device addresses rx and tx on which frames frames will arrive.
func (d *Device) AddQueue(rx, tx uint64, entries int, a Arrivals, frames int64, r *rand.Rand) {
	d.queues = append(d.queues, queue{rx: ring{base: rx, slots: make([]slot, entries)},
		tx: ring{base: tx, slots: make([]slot, entries)}, arrive: a, rnd: r, left: frames})
}

// Start lets frames arrive from now on.
func (d *Device) Start() {
	for i := range d.queues {
		q := &d.queues[i]
		d.eng.At(d.eng.Now()+q.arrive.Next(q.rnd), d.evArrive, uint64(i))
	}
}

// Doorbell register numbers: queue << 1 | ring.
func rxDoorbell(q int) uint64 { return uint64(q) << 1 }
func txDoorbell(q int) uint64 { return uint64(q)<<1 | 1 }

// WriteReg is a doorbell (cpu.MMIO): val is the new free-running tail modulo 2^32.
func (d *Device) WriteReg(addr, val uint64, now sim.Time) {
	d.eng.At(d.port.CPUWrite(now), d.evDoorbell, addr<<32|val&0xffffffff)
}

// ReadReg completes cpu.MMIO; the modelled driver reads no register on the packet path.
func (d *Device) ReadReg(_ uint64, now sim.Time) (uint64, sim.Time) { return 0, d.port.CPURead(now) }

func (d *Device) doorbell(a uint64) {
	reg, val := a>>32, a&0xffffffff
	q := &d.queues[reg>>1]
	r, depth := &q.rx, d.Buffers
	if reg&1 == 1 {
		r, depth = &q.tx, d.Frames
	}
	depth.Add(d.eng, int64((val-r.tail)&0xffffffff))
	r.tail += (val - r.tail) & 0xffffffff
	if reg&1 == 1 {
		d.eng.At(d.eng.Now(), d.evTx, reg>>1)
	} else if d.wire != nil {
		d.wire.refilled()
	}
}

// descriptor makes sure that descriptor n of r has been read and returns when.
func (d *Device) descriptor(r *ring, n uint64, now sim.Time) sim.Time {
	if n < r.fetched {
		return max(now, r.readAt)
	}
	k := min(r.tail-r.fetched, prefetch-r.fetched%prefetch)
	done, err := d.port.Read(d.rid, r.base+r.fetched%uint64(len(r.slots))*descBytes, int(k)*descBytes, now)
	d.check(err)
	r.fetched += k
	r.readAt = done
	return done
}

// arrive is the arrival of one frame by the queue's pattern.
func (d *Device) arrive(i uint64) {
	q := &d.queues[i]
	now := d.eng.Now()
	if q.left--; q.left > 0 {
		d.eng.At(now+q.arrive.Next(q.rnd), d.evArrive, i)
	}
	size := d.sizes.Draw(q.rnd)
	if q.rx.head == q.rx.tail {
		d.Drops++
		if q.left == 0 {
			d.raise(int(i)) // lets the driver see that no more will come
		}
		return
	}
	d.receive(i, size, 0, now)
}

// receive takes a frame of a flow into the next buffer of queue i, whose ring has one: data to the buffer, then the descriptor is
// written back. It returns when the data have left the device's packet memory.
func (d *Device) receive(i uint64, size, flow int, now sim.Time) sim.Time {
	r := &d.queues[i].rx
	n := r.head
	r.head++
	d.Buffers.Add(d.eng, -1)
	s := r.slot(n)
	s.size, s.at, s.flow = size, now, flow
	start := d.descriptor(r, n, now)
	left, err := d.port.Write(d.rid, s.addr, size, start)
	d.check(err)
	done, err := d.port.Write(d.rid, r.base+n%uint64(len(r.slots))*descBytes, descBytes, left)
	d.check(err)
	r.visible = max(r.visible, done)
	d.eng.At(r.visible, d.evRx, i)
	return left
}

func (d *Device) rxDone(i uint64) {
	d.queues[i].rx.done++
	d.raise(int(i))
}

// transmit sends everything between head and tail.
func (d *Device) transmit(i uint64) {
	q := &d.queues[i]
	r := &q.tx
	for r.head != r.tail {
		n := r.head
		r.head++
		d.Frames.Add(d.eng, -1)
		s := r.slot(n)
		now := d.descriptor(r, n, max(d.eng.Now(), r.free))
		done, err := d.port.Read(d.rid, s.addr, s.size, now)
		d.check(err)
		if d.watch != nil {
			d.watch(s)
		}
		if d.wire != nil {
			d.wire.sent(s.ack, done)
		}
		r.free = max(r.free, now)
		r.read = max(r.read, done)
		if r.part++; s.more {
			continue
		}
		done, r.read = r.read, 0
		done, err = d.port.Write(d.rid, r.base+n%uint64(len(r.slots))*descBytes, descBytes, done)
		d.check(err)
		r.visible = max(r.visible, done)
		d.eng.At(r.visible, d.evTxDone, i|r.part<<32)
		r.part = 0
	}
}

func (d *Device) txDone(a uint64) {
	i := a & 0xffffffff
	d.queues[i].tx.done += a >> 32
	d.raise(int(i))
}

// raise sends an interrupt, not more often than the moderation time allows.
func (d *Device) raise(i int) {
	q := &d.queues[i]
	if q.masked {
		q.pending = true
		return
	}
	if q.armed {
		return
	}
	q.armed = true
	at := max(d.eng.Now(), q.lastIRQ+d.moderate)
	q.lastIRQ = at
	d.Interrupts++
	d.eng.At(at, d.evSend, uint64(i)) // not before: the port would hold its credits until then
}

// Mask and Unmask are what NAPI does to the queue's interrupt.
func (d *Device) Mask(i int) { d.queues[i].masked, d.queues[i].armed = true, false }

// Unmask allows interrupts again; one is raised at once when something completed in the meantime.
func (d *Device) Unmask(i int) {
	q := &d.queues[i]
	q.masked = false
	if q.pending {
		q.pending = false
		d.raise(i)
	}
}

func (d *Device) check(err error) {
	if err != nil {
		d.Faults++
		if d.Err == nil {
			d.Err = fmt.Errorf("nic at %v: %w", d.eng.Now(), err)
		}
	}
}
