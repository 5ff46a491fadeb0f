package nvme

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"dmapath/kernel/iommucore"
	"dmapath/pcie"
	"dmapath/sim"
	"dmapath/workloads"
)

// Sizes of the NVM Express base specification, revision 2.0: submission and completion queue entries.
const (
	sqeBytes = 64
	cqeBytes = 16
)

// command is what a submission queue entry says, and where the command stands.
type command struct {
	write  bool
	size   uint32
	prps   []uint64            // device addresses of the 4 KiB pieces; prps[0] may have an offset
	sgl    []iommucore.Segment // instead of PRPs: device addresses and lengths; one of them is in the command itself
	list   uint64              // device address of the list, when there are more than two PRPs or one segment; kept for the tag
	listVA uint64              // where the driver writes it
}

// queue is one pair of submission and completion queues of the device.
type queue struct {
	sq, cq  uint64 // device addresses of the rings
	entries uint32
	slots   []uint32  // the submission ring's contents: the tag of the command in each slot
	cmds    []command // by tag
	head    uint32    // next submission entry to fetch
	tail    uint32    // as last written to the doorbell
	cqTail  uint32

	done   ring     // completions that are in memory and that the driver has not seen
	posted int      // completions since the last interrupt
	timer  bool     // the coalescing timer runs
	due    sim.Time // when the first of posted has waited long enough
}

// ring is a bounded FIFO of tags.
type ring struct {
	tags []uint32
	head int
	n    int
}

func (r *ring) push(v uint32) {
	r.tags[(r.head+r.n)%len(r.tags)] = v
	r.n++
}

func (r *ring) pop() uint32 {
	v := r.tags[r.head]
	r.head = (r.head + 1) % len(r.tags)
	r.n--
	return v
}

// Media is the storage behind the controller.
type Media struct {
	// Latency draws the time in picoseconds of one access, without queueing.
	Latency func(r *rand.Rand, write bool) sim.Time
	// Channels is how many accesses proceed at once; more wait in order.
	Channels int
}

// Coalescing is interrupt coalescing as the controller's Set Features command sets it: an interrupt is sent
// after Threshold completions or when Time has passed since the first unsent one.
type Coalescing struct {
	Threshold int
	Time      sim.Time
}

// Device is an NVMe controller: it fetches commands, moves data, posts completions and interrupts, all through its PCIe
// port and hence through the IOMMU.
type Device struct {
	eng    *sim.Engine
	port   *pcie.Port
	rid    uint16
	media  Media
	chans  *sim.Servers
	rnd    *rand.Rand
	coal   Coalescing
	queues []queue
	// irq is called when queue q's interrupt reaches its CPU.
	irq func(q int)

	watch func(c *command, addr uint64, n int) // tests: what is moved

	evDoorbell, evFetched, evMedia, evPosted, evTimer, evIRQ sim.Handler

	// Faults counts transactions that the IOMMU or the fabric refused; Err is the first.
	Faults int64
	Err    error
	// BytesRead and BytesWritten count payload that crossed the link to and from memory.
	BytesRead, BytesWritten int64
	Interrupts              int64
	// Outstanding is how many commands have been announced by a doorbell and not completed in memory.
	Outstanding *workloads.Depth
}

// arg packs a queue with a tag or, for doorbells, a tail value.
func arg(q int, v uint32) uint64 { return uint64(q)<<32 | uint64(v) }

// NewDevice returns a controller behind port.
func NewDevice(eng *sim.Engine, port *pcie.Port, rid uint16, m Media, c Coalescing, r *rand.Rand, irq func(q int)) (*Device, error) {
	var errs []error
	if m.Channels < 1 || m.Channels > 1<<16 {
		errs = append(errs, fmt.Errorf("nvme media channels %d: allowed are 1 to 65536", m.Channels))
	}
	if c.Threshold < 1 || c.Threshold > 256 {
		errs = append(errs, fmt.Errorf("nvme coalescing threshold %d: allowed are 1 to 256 completions", c.Threshold))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	d := &Device{eng: eng, port: port, rid: rid, media: m, chans: sim.NewServers("nvme media", m.Channels), rnd: r, coal: c, irq: irq,
		Outstanding: workloads.NewDepth(eng.Now(), "nvme_outstanding", "commands")}
	d.evDoorbell = eng.Register("nvme doorbell", d.doorbell)
	d.evFetched = eng.Register("nvme command fetched", d.fetched)
	d.evMedia = eng.Register("nvme media done", d.mediaDone)
	d.evPosted = eng.Register("nvme completion posted", d.posted)
	d.evTimer = eng.Register("nvme coalescing timer", d.timeout)
	d.evIRQ = eng.Register("nvme interrupt", func(a uint64) { d.irq(int(a)) })
	return d, nil
}

// AddQueue creates a queue pair of the given number of entries whose rings lie at device addresses sq and cq. Up to depth
// commands, fewer than entries, are under way at once; they are told apart by their tags, since they complete in any order.
func (d *Device) AddQueue(sq, cq uint64, entries uint32, depth int) int {
	q := queue{sq: sq, cq: cq, entries: entries, slots: make([]uint32, entries), cmds: make([]command, depth),
		done: ring{tags: make([]uint32, depth)}}
	for i := range q.cmds {
		q.cmds[i].prps = make([]uint64, 0, 64)
	}
	d.queues = append(d.queues, q)
	return len(d.queues) - 1
}

// WriteReg is the doorbell write of the driver (cpu.MMIO): addr is the queue, val the new tail; completion queue doorbells
// have bit 31 of addr set and cost link time only.
func (d *Device) WriteReg(addr, val uint64, now sim.Time) {
	at := d.port.CPUWrite(now)
	if q := addr & 0xffff; addr&cqDoorbell == 0 {
		d.eng.At(at, d.evDoorbell, arg(int(q), uint32(val)))
	}
}

// ReadReg completes cpu.MMIO; the I/O path of the driver reads no register.
func (d *Device) ReadReg(addr uint64, now sim.Time) (uint64, sim.Time) {
	return 0, d.port.CPURead(now)
}

const cqDoorbell = 1 << 31

func (d *Device) doorbell(a uint64) {
	q := &d.queues[a>>32]
	q.tail = uint32(a)
	for q.head != q.tail {
		slot := q.head
		q.head = (q.head + 1) % q.entries
		d.Outstanding.Add(d.eng, 1)
		done, err := d.port.Read(d.rid, q.sq+uint64(slot)*sqeBytes, sqeBytes, d.eng.Now())
		d.check(err)
		d.eng.At(done, d.evFetched, arg(int(a>>32), q.slots[slot]))
	}
}

// fetched starts the media access; a write command fetches its data first. More than two PRPs or one segment are in a list.
func (d *Device) fetched(a uint64) {
	q := &d.queues[a>>32]
	c := &q.cmds[uint32(a)]
	now := d.eng.Now()
	n := 0
	switch {
	case len(c.prps) > 2:
		n = 8 * (len(c.prps) - 1)
	case len(c.sgl) > 1:
		n = 16 * len(c.sgl)
	}
	if n > 0 {
		done, err := d.port.Read(d.rid, c.list, n, now)
		d.check(err)
		now = done
	}
	if c.write {
		now = d.data(c, now)
	}
	_, end := d.chans.Serve(now, d.media.Latency(d.rnd, c.write))
	d.eng.At(end, d.evMedia, a)
}

// data moves the payload of c starting at now and returns when it is done.
func (d *Device) data(c *command, now sim.Time) sim.Time {
	end, left := now, int(c.size)
	for _, p := range c.prps {
		n := min(left, 4096-int(p&4095))
		end = max(end, d.move(c, p, n, now))
		left -= n
	}
	for _, s := range c.sgl {
		end = max(end, d.move(c, s.Phys, int(s.Size), now))
	}
	return end
}

// move moves n bytes at device address p.
func (d *Device) move(c *command, p uint64, n int, now sim.Time) (done sim.Time) {
	var err error
	if c.write {
		done, err = d.port.Read(d.rid, p, n, now)
		d.BytesRead += int64(n)
	} else {
		done, err = d.port.Write(d.rid, p, n, now)
		d.BytesWritten += int64(n)
	}
	d.check(err)
	if d.watch != nil {
		d.watch(c, p, n)
	}
	return done
}

func (d *Device) mediaDone(a uint64) {
	q := &d.queues[a>>32]
	c := &q.cmds[uint32(a)]
	now := d.eng.Now()
	if !c.write {
		now = d.data(c, now)
	}
	done, err := d.port.Write(d.rid, q.cq+uint64(q.cqTail)*cqeBytes, cqeBytes, now)
	d.check(err)
	q.cqTail = (q.cqTail + 1) % q.entries
	d.eng.At(done, d.evPosted, a)
}

// posted makes the completion visible and decides about the interrupt.
func (d *Device) posted(a uint64) {
	q := &d.queues[a>>32]
	q.done.push(uint32(a))
	d.Outstanding.Add(d.eng, -1)
	if q.posted++; q.posted == 1 {
		q.due = d.eng.Now() + d.coal.Time
	}
	switch {
	case q.posted >= d.coal.Threshold:
		d.interrupt(int(a >> 32))
	case !q.timer:
		q.timer = true
		d.eng.At(q.due, d.evTimer, a>>32)
	}
}

// timeout ends the coalescing time. What it was set for may have been sent since: then it goes on for what came later.
func (d *Device) timeout(a uint64) {
	q := &d.queues[a]
	q.timer = false
	switch {
	case q.posted == 0:
	case q.due > d.eng.Now():
		q.timer = true
		d.eng.At(q.due, d.evTimer, a)
	default:
		d.interrupt(int(a))
	}
}

func (d *Device) interrupt(qi int) {
	d.queues[qi].posted = 0
	d.Interrupts++
	d.eng.At(d.port.MSIX(d.eng.Now()), d.evIRQ, uint64(qi))
}

func (d *Device) check(err error) {
	if err != nil {
		d.Faults++
		if d.Err == nil {
			d.Err = fmt.Errorf("nvme device at %v: %w", d.eng.Now(), err)
		}
	}
}
