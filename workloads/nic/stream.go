package nic

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/sim"
	"dmapath/workloads"
)

// Stream makes the workload a TCP-like receiver, as netserver is under netperf's TCP_STREAM: senders at the other end of a link, a window
// per connection, and on every CPU with a queue an application that reads what its connections have received.
type Stream struct {
	Rate   float64  // of the link, Gb/s
	Flows  int      // connections per queue
	Window int      // most bytes of a connection that are sent and not read: the receive buffer of the socket
	RTT    sim.Time // round trip outside of the host
	Buffer int      // packet memory of the device, bytes
	Reuse  bool     // receive into halves of pages that are used again while the stack keeps up, see rxPage
	Pause  bool     // pause frames stop the link before a frame is lost
	Read   int      // bytes per recv
	// Instructions of the network stack, see Stack.
	Stack
	CPUAntagonists int      // receiving CPUs, from the first on, on which a process competes with the application
	Slice          sim.Time // how long it runs when it is its turn
	// MemoryAntagonists are further CPUs, behind the receiving ones, that stream through MemoryWindow bytes each, reading every line and,
	// with MemoryWrites, writing it.
	MemoryAntagonists int
	MemoryWindow      int
	MemoryWrites      bool
}

// Stack is how many instructions the network stack executes. None of it is recorded: guesses of the size of Linux's paths, with which a
// core receives frames of 1500 bytes at some 40 Gb/s, as servers do (Cai et al., Understanding Host Network Stack Overheads, SIGCOMM 2021,
// recalled: 42 Gb/s with frames of 9000 bytes).
type Stack struct {
	Frame     int // per frame: building the skb, GRO
	Aggregate int // per aggregate of GRO: IP, TCP, wake-up of the reader
	Ack       int // per acknowledgement sent
	Recv      int // per recv call, without the copy
	Page      int // per frame read: finding it, giving its page back
}

// DefaultStack returns the guesses.
func DefaultStack() Stack {
	return Stack{Frame: 1200, Aggregate: 4000, Ack: 1500, Recv: 2500, Page: 250}
}

// validate lists what is out of range.
func (s *Stream) validate(cpus, cores int) error {
	if err := (workloads.Ranges{
		{Key: "netperf_rx.flows", Value: int64(s.Flows), Lo: 1, Hi: 1024},
		{Key: "netperf_rx.window", Value: int64(s.Window), Lo: 16 << 10, Hi: 64 << 20},
		{Key: "netperf_rx.rtt (ns)", Value: int64(s.RTT / sim.Nanosecond), Lo: 100, Hi: 1e8},
		{Key: "netperf_rx.buffer", Value: int64(s.Buffer), Lo: 16 << 10, Hi: 1 << 30},
		{Key: "netperf_rx.read", Value: int64(s.Read), Lo: 4096, Hi: 16 << 20},
		{Key: "netperf_rx.cpu_antagonists", Value: int64(s.CPUAntagonists), Lo: 0, Hi: int64(cpus)},
		{Key: "netperf_rx.memory_antagonists", Value: int64(s.MemoryAntagonists), Lo: 0, Hi: int64(cores - cpus)},
		{Key: "netperf_rx.slice (ns)", Value: int64(s.Slice / sim.Nanosecond), Lo: 1000, Hi: 1e8},
		{Key: "netperf_rx.memory_window", Value: int64(s.MemoryWindow), Lo: 4096, Hi: 1 << 30},
	}).Check(); err != nil {
		return err
	}
	if !(s.Rate >= 0.1 && s.Rate <= 1000) {
		return fmt.Errorf("netperf_rx.rate is %v: allowed are 0.1 to 1000 Gb/s", s.Rate)
	}
	for _, n := range []int{s.Frame, s.Aggregate, s.Ack, s.Recv, s.Page} {
		if n < 0 || n > 1_000_000 {
			return fmt.Errorf("netperf_rx: %d instructions of the stack: allowed are 0 to 1000000", n)
		}
	}
	return nil
}

// Cores is how many CPUs of the machine the workload uses: those with a queue, and behind them those of antagonists of memory.
func (c *Config) Cores() int {
	if c.Stream == nil {
		return c.CPUs
	}
	return c.CPUs + c.Stream.MemoryAntagonists
}

// frames is the window in frames of size bytes, 2 at least.
func (s *Stream) frames(size int) int { return max(2, s.Window/(size-headers)) }

const (
	gsoMax     = 64 << 10 // bytes of an aggregate (GRO_MAX_SIZE)
	maxRestart = 10       // polls before softirq leaves the rest to its thread (MAX_SOFTIRQ_RESTART)
)

// packet is a frame that has been received and not read.
type packet struct {
	buf  dma.Buffer
	addr uint64 // where it is mapped, if it still is
	page *rxPage
}

// socket is the receiver's end of one connection.
type socket struct {
	flow     int
	va       uint64 // struct sock: four lines
	user     uint64 // the application's buffer
	unread   []packet
	received int64 // frames
	read     int64
	edge     int64 // last advertised, in frames
	merged   int   // frames of the aggregate that the present poll builds
}

// newSockets opens the connections of the CPU.
func (p *poller) newSockets(flows []flow) {
	s := p.d.cfg.Stream
	window := int64(s.frames(p.d.frameSize()))
	for i := range flows {
		if flows[i].queue != p.cpu {
			continue
		}
		p.sockets = append(p.sockets, &socket{flow: i, va: p.d.m.Env.Slab(256, 64), user: linearVA(p.buf.Next(uint64(s.Read)).Phys), edge: window})
	}
	for range len(p.frames) {
		p.acks = append(p.acks, p.buf.Next(headers))
	}
}

// linearVA is where the direct map has physical address pa.
func linearVA(pa uint64) uint64 { return cpu.DirectMapBase + pa }

// frameSize is the bytes of every frame: streams send full frames.
func (d *driver) frameSize() int { return d.cfg.Sizes.sizes[0] }

// take hands one received frame to the stack and gives its descriptor a buffer again.
func (p *poller) take(t *cpu.Thread, status cpu.Val) {
	d, cfg := p.d, &p.d.cfg
	i := p.clean % uint64(len(p.bufs))
	s := &d.hw.queues[p.cpu].rx.slots[i]
	info := p.info + i*32
	t.Load(info, status)
	pk := packet{buf: p.bufs[i], addr: s.addr}
	var cost workloads.Cost
	switch {
	case cfg.PagePool:
		t.Load(pk.buf.Page+pageDMA, 0)
		p.sync(t, &cost, s.addr, uint64(s.size), true)
	case cfg.Stream.Reuse:
		p.sync(t, &cost, s.addr, uint64(s.size), true)
	default:
		p.unmapRx(t, &cost, s.addr)
	}
	if p.err != nil {
		return
	}
	so := p.socketOf(s.flow)
	workloads.Code(t, fnRx, rxInstructions, info, p.skb, p.skb+64)
	t.Load(linearVA(pk.buf.Phys), t.Last()) // the headers
	t.Load(linearVA(pk.buf.Phys)+headers-8, 0)
	p.stack(t, fnGRO, cfg.Stream.Frame, p.skb, so.va)
	if cfg.Stream.Reuse {
		pk.page = p.flip(t, i, &cost)
	}
	so.unread = append(so.unread, pk)
	so.received++
	so.merged++
	if (so.merged+1)*(s.size-headers) > gsoMax {
		p.aggregate(t, so)
	}
	if !cfg.Stream.Reuse {
		p.refill(t, i, s, &cost)
	}
	d.res.Units[0].Add(cost)
	t.Store(p.rx+i*descBytes, 0, t.Last())
	t.Store(p.rx+i*descBytes+8, 0, 0)
	d.res.Latency.Add(int64((t.Now() - s.at) / sim.Nanosecond))
}

func (p *poller) socketOf(flow int) *socket { return p.sockets[flow/p.d.cfg.CPUs] }

// refill gives slot s, number i of the receive ring, a buffer.
func (p *poller) refill(t *cpu.Thread, i uint64, s *slot, cost *workloads.Cost) {
	d := p.d
	if n := len(p.free); n > 0 { // what was freed last is taken first, as from the per-CPU lists of page allocator and page_pool
		p.bufs[i], s.addr = p.free[n-1].buf, p.free[n-1].addr
		p.free = p.free[:n-1]
		if d.cfg.PagePool {
			p.poolGet(t, p.bufs[i].Page)
			return
		}
	} else {
		p.bufs[i] = p.buf.Next(p.rxBuffer())
	}
	m := d.res.Map.Begin(t)
	p.err = m.Call(t, func() (err error) {
		s.addr, err = d.rxCall.Map(t, d.dev.Ctx, p.bufs[i], kernel.FromDevice, d.rxAttrs())
		return err
	})
	m.End()
	cost.Add(&m, 1)
	d.res.Calls[workloads.CallMap]++
}

// aggregate passes what GRO has merged to the socket, and acknowledges it.
func (p *poller) aggregate(t *cpu.Thread, so *socket) {
	if so.merged == 0 {
		return
	}
	p.stack(t, fnTCP, p.d.cfg.Stream.Aggregate, so.va, so.va+64, so.va+128, p.skb+128)
	so.merged = 0
	p.acknowledge(t, so)
}

// acknowledge sends an acknowledgement with the window as it is now.
func (p *poller) acknowledge(t *cpu.Thread, so *socket) {
	if int(p.txTail-p.txAt)+1 >= len(p.frames) {
		return // the ring is full: the next one says as much and more
	}
	so.edge = so.read + int64(p.d.cfg.Stream.frames(p.d.frameSize()))
	b := p.acks[p.txTail%uint64(len(p.acks))]
	p.stack(t, fnAck, p.d.cfg.Stream.Ack, so.va, p.skb+192, linearVA(b.Phys))
	p.linear(t, b)
	p.d.hw.queues[p.cpu].tx.slot(p.txTail - 1).ack = ack{so.flow, so.received, so.edge}
}

// flush ends the aggregates of a poll.
func (p *poller) flush(t *cpu.Thread) {
	for _, so := range p.sockets {
		p.aggregate(t, so)
	}
}

// recv is one call of the application: it copies what a connection has received, up to a buffer's worth. Interrupts come between two
// frames.
func (p *poller) recv(t *cpu.Thread) bool {
	var so *socket
	for range p.sockets {
		if so = p.sockets[p.turn%len(p.sockets)]; len(so.unread) > 0 {
			break
		}
		p.turn++
	}
	p.turn++
	if len(so.unread) == 0 {
		return false
	}
	d, cfg := p.d, p.d.cfg.Stream
	began := t.Now()
	var away sim.Time // spent in interrupts
	t.Call(fnRead)
	p.stack(t, fnRecv, cfg.Recv, so.va, so.va+64, so.va+192)
	top := t.Here()
	payload := d.frameSize() - headers
	n := 0
	for len(so.unread) > n && (n+1)*payload <= max(cfg.Read, payload) && p.err == nil {
		pk := so.unread[n]
		n++
		d.m.Env.Memcpy(t, so.user+uint64((n-1)*payload), linearVA(pk.buf.Phys)+headers, payload, 0, 0)
		p.stack(t, fnFree, cfg.Page, pk.buf.Page, p.skb+64)
		var cost workloads.Cost
		if d.cfg.PagePool {
			p.sync(t, &cost, pk.addr, p.rxBuffer(), false)
			p.poolPut(t, pk.buf.Page)
		}
		if pk.page != nil {
			p.giveBack(t, &pk)
		} else {
			p.free = append(p.free, pk)
		}
		t.Sync()
		so.read++
		if d.res.Complete(t.Now(), int64(payload)); d.res.IOs >= d.cfg.Frames {
			d.finish()
			return false
		}
		if p.irq {
			from := t.Now()
			p.softirq(t)
			away += t.Now() - from
		}
		t.Loop(top, len(so.unread) > n && (n+1)*payload <= max(cfg.Read, payload), t.ALU(1, 0))
	}
	so.unread = append(so.unread[:0], so.unread[n:]...)
	// tcp_cleanup_rbuf: the window is told when it has become twice what the sender knows.
	window := so.read + int64(cfg.frames(d.frameSize())) - so.received
	if known := so.edge - so.received; window >= 2*max(known, 1) {
		p.acknowledge(t, so)
		p.ring(t)
	}
	t.Ret()
	t.Sync()
	p.ran += t.Now() - began - away
	return true
}

// stack executes n instructions of the network stack in function f, which works on the lines objs: with the mix of the recorded kernel
// paths (25 % loads, 12 % stores, 15 % branches, of which 7 % go the other way than usual). Half of them use the result of the one before, a guess.
func (p *poller) stack(t *cpu.Thread, f *cpu.Func, n int, objs ...uint64) {
	t.Call(f)
	top := t.Here()
	for i := 0; i < n; i++ {
		if i%stackTurn == stackTurn-1 {
			t.Loop(top, i+1 < n, t.Last())
			continue
		}
		x := uint64(i%stackTurn) * 0x9e3779b97f4a7c15 >> 32 // the same instruction at the same place every time
		at := objs[i%len(objs)] + uint64(i*40%64)&^7
		after := cpu.Val(0)
		if x>>16&1 == 0 {
			after = t.Last()
		}
		switch c := x % 100; {
		case c < 25:
			t.Load(at, after)
		case c < 37:
			t.Store(at, 0, t.Last())
		case c < 52:
			t.Branch(x>>17&3 == 0 != (p.rnd.IntN(100) < 7), t.Last())
		default:
			t.ALU(1, after)
		}
	}
	t.Ret()
}

// stackTurn bounds the code that stack executes before it begins again at the top: 80 lines at 4 bytes an instruction.
const stackTurn = 1280

// ring tells the device of what has been put on the transmit ring.
func (p *poller) ring(t *cpu.Thread) {
	if p.txTail != p.told {
		t.MMIOWrite(p.d.hw, txDoorbell(p.cpu), p.txTail&0xffffffff, 0, 0)
		p.told = p.txTail
	}
}

// softirq handles an interrupt: it polls until there is less than a budget, and leaves the rest to the next turn after maxRestart
// polls.
func (p *poller) softirq(t *cpu.Thread) {
	p.irq = false
	p.interruptEntry(t)
	for n := 0; p.err == nil && !p.d.done; n++ {
		if n == maxRestart {
			p.irq = true // ksoftirqd and the application take turns
			return
		}
		if p.poll(t) < napiBudget {
			break
		}
	}
	t.Sync()
	p.d.hw.Unmask(p.cpu)
}

// serve is the life of a CPU: interrupts first, then the application, then whoever competes with it, then sleep.
func (p *poller) serve(t *cpu.Thread) {
	d := p.d
	p.began = t.Now()
	competes := p.cpu < d.cfg.Stream.CPUAntagonists
	top := t.Here()
	for p.err == nil && !d.done {
		t.Back(top)
		if p.irq {
			p.softirq(t)
		}
		if d.done || p.recv(t) {
			if competes && p.ran >= d.cfg.Stream.Slice {
				p.ran = 0
				p.compete(t)
			}
			continue
		}
		t.Sync()
		if p.irq || d.done {
			continue
		}
		p.asleep, p.since = true, t.Now()
		p.sig.Wait(t.Proc)
		p.asleep = false
		p.idle += t.Now() - p.since
	}
	t.Sync()
	d.finish()
}

// finish ends the run: everything has been received, or something is wrong.
func (d *driver) finish() {
	if !d.done {
		d.done = true
		d.m.Eng.Stop()
	}
}

// busy is how long the CPU has worked for the transfer until now.
func (p *poller) busy(now sim.Time) sim.Time {
	b := now - p.began - p.idle
	if p.asleep {
		b -= now - p.since
	}
	return b
}

var (
	fnGRO  = cpu.NewFunc("napi_gro_receive", "net/core/gro.c", 8192)
	fnTCP  = cpu.NewFunc("tcp_v4_rcv", "net/ipv4/tcp_ipv4.c", 8192)
	fnAck  = cpu.NewFunc("__tcp_send_ack", "net/ipv4/tcp_output.c", 8192)
	fnRead = cpu.NewFunc("tcp_recvmsg_locked", "net/ipv4/tcp.c", 4096)
	fnRecv = cpu.NewFunc("tcp_recvmsg", "net/ipv4/tcp.c", 8192)
	fnFree = cpu.NewFunc("skb_release_data", "net/core/skbuff.c", 8192)
)

// runStream runs the transfer: the receivers are set up and the antagonists run before the senders begin.
func (d *driver) runStream() (*workloads.Result, error) {
	m, cfg := d.m, d.cfg.Stream
	w := newWire(d.hw, cfg, d.frameSize(), d.cfg.CPUs)
	d.hw.wire = w
	for _, p := range d.cpus {
		p.newSockets(w.flows)
	}
	for i := range cfg.MemoryAntagonists {
		base := linearVA(d.cpus[0].buf.Next(uint64(cfg.MemoryWindow)).Phys)
		m.Spawn(d.cfg.CPUs+i, fmt.Sprintf("antagonist %d of memory", i), func(t *cpu.Thread) {
			t.Enter(fnStream)
			d.antagonize(t, base)
		})
	}
	start := m.Eng.Now()
	ready := 0
	for _, p := range d.cpus {
		m.Spawn(p.cpu, fmt.Sprintf("cpu %d", p.cpu), func(t *cpu.Thread) {
			p.open(t)
			if ready++; ready == len(d.cpus) {
				start = t.Now()
				d.antagonized = 0
				if m.Unit != nil {
					m.Unit.ResetStats()
				}
				w.start()
			}
			p.serve(t)
		})
	}
	if err := m.Run(); err != nil {
		return nil, err
	}
	now := m.Eng.Now()
	for _, p := range d.cpus {
		if p.err != nil {
			return nil, p.err
		}
		d.res.Busy += p.busy(now)
	}
	if w.stands {
		w.Paused += now - w.since
	}
	d.res.Elapsed = now - start
	d.res.Drops, d.res.Interrupts, d.res.Faults = d.hw.Drops, d.hw.Interrupts, d.hw.Faults
	d.res.Wire = &workloads.Wire{NoBuffer: w.NoBuffer, NoRoom: w.NoRoom, Sent: w.Sent, Paused: w.Paused, Antagonists: d.antagonized}
	return d.res, d.hw.Err
}

var fnStream = cpu.NewFunc("(antagonist)", "a loop over memory", 1024)
