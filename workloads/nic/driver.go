package nic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// Config is one run of the NIC workload.
type Config struct {
	Variant dma.Variant
	// Driver runs the data path of a whole driver of Variant's kernel in the given Style; Variant is then what pages are mapped
	// with. Otherwise every frame is one buffer and one call of Variant.
	Driver bool
	Style  Style
	CPUs   int   // CPUs with a queue pair each
	Frames int64 // frames that arrive in all
	Sizes  Sizes
	Arrive Arrivals
	Ring   int // descriptors per ring, a power of two, 64 to 4096
	// PagePool keeps receive buffers mapped and only syncs them; otherwise each frame costs a map and an unmap.
	PagePool bool
	// TxPercent frames are sent for every 100 received (acknowledgements, answers), of the same sizes.
	TxPercent int
	// Moderation is the least time between two interrupts of a queue.
	Moderation sim.Time
	Around     *workloads.Ambience
	// Stream receives a TCP-like transfer of Frames frames of one size instead of frames that arrive by a pattern; Arrive and TxPercent
	// mean nothing then, and Around is not run: stack and application are part of the run.
	Stream *Stream
	Seed   uint64

	sent func(s *slot) // tests: every piece that the device has read
}

// napiBudget is how many frames one poll handles (NAPI_POLL_WEIGHT).
const napiBudget = 64

// Validate lists everything that is out of range.
func (c *Config) Validate(cores int) error {
	ring := "nic.ring"
	if c.Stream != nil {
		ring = "netperf_rx.ring"
	}
	if err := (workloads.Ranges{
		{Key: "cpus", Value: int64(c.CPUs), Lo: 1, Hi: int64(cores)},
		{Key: "nic.frames", Value: c.Frames, Lo: int64(c.CPUs), Hi: 1 << 40},
		{Key: ring, Value: int64(c.Ring), Lo: 64, Hi: 4096},
		{Key: "nic.tx_percent", Value: int64(c.TxPercent), Lo: 0, Hi: 100},
	}).Check(); err != nil {
		return err
	}
	if c.Stream != nil {
		if err := c.Stream.validate(c.CPUs, cores); err != nil {
			return err
		}
		if len(c.Sizes.sizes) != 1 || c.Sizes.sizes[0] < 128 {
			return errors.New("a stream has frames of one size, 128 bytes at least")
		}
		if c.Driver && c.Style == GSO {
			return fmt.Errorf("nic.driver is %q: a receiver sends no super-frames", c.Style)
		}
		if c.Stream.Reuse && (c.Driver || c.PagePool || c.Sizes.sizes[0] > halfPage) {
			return fmt.Errorf("pages that are used again are for single calls, without a page_pool, and frames of up to %d bytes", halfPage)
		}
	} else if err := (workloads.Ranges{{Key: "nic.rate", Value: int64(c.Arrive.Rate), Lo: 1, Hi: 1_000_000_000}}).Check(); err != nil {
		return err
	}
	if c.Driver && !slices.Contains(Styles, string(c.Style)) {
		return fmt.Errorf("nic.driver is %q: allowed are %v", c.Style, Styles)
	}
	if c.Ring&(c.Ring-1) != 0 {
		return fmt.Errorf("%s is %d: allowed are powers of two", ring, c.Ring)
	}
	if c.Stream == nil && !slices.Contains(Patterns, c.Arrive.Pattern) {
		return fmt.Errorf("nic.arrivals is %q: allowed are %v", c.Arrive.Pattern, Patterns)
	}
	if c.Arrive.Pattern == "onoff" && (c.Arrive.Burst < 1 || c.Arrive.Burst > 100_000) {
		return fmt.Errorf("nic.burst is %d: allowed are 1 to 100000", c.Arrive.Burst)
	}
	if len(c.Sizes.sizes) == 0 {
		return errors.New("nic.sizes is empty: use Fixed, IMIX or ReadSizes")
	}
	return nil
}

type driver struct {
	cfg  Config
	m    *platform.Machine
	dev  *platform.Device
	hw   *Device
	res  *workloads.Result
	cpus []*poller
	live int

	done        bool  // of a stream
	antagonized int64 // bytes that antagonists of memory have gone through

	rxCall, txCall dma.Variant // what receive buffers and linear data are mapped with
	phys           dma.Variant // 7.3 with GSO: what the payload is mapped with where there are no I/O addresses
}

// poller is the NAPI instance of one queue.
type poller struct {
	d      *driver
	cpu    int
	rx, tx uint64 // virtual addresses of the rings
	info   uint64 // buffer info array, one line per two descriptors
	skb    uint64
	pool   uint64       // struct page_pool's per-CPU cache
	bufs   []dma.Buffer // receive buffer by slot
	frames []txFrame    // by slot of the first descriptor
	frags  []dma.Buffer
	addrs  []uint64
	txCred int
	clean  uint64 // next receive descriptor to look at
	txAt   uint64 // next transmit descriptor to clean
	txTail uint64
	irq    bool
	sig    sim.Signal
	buf    *workloads.Buffers
	rnd    *rand.Rand
	err    error

	// Of a stream.
	sockets            []*socket
	acks               []dma.Buffer // memory of acknowledgements, by slot
	free               []packet     // receive buffers given back
	pages, freePages   []*rxPage    // with Reuse: of the ring's slots, and given back
	turn               int          // connection that is read next
	told               uint64       // transmit tail that the device knows
	began, idle, since sim.Time
	asleep             bool
	ran                sim.Time // by the application since somebody else ran
}

// Run performs the workload on m through dev and returns what it measured.
func Run(m *platform.Machine, dev *platform.Device, cfg Config) (*workloads.Result, error) {
	if err := cfg.Validate(len(m.Cores)); err != nil {
		return nil, err
	}
	d := &driver{cfg: cfg, m: m, dev: dev, live: cfg.CPUs, res: &workloads.Result{CPUs: cfg.CPUs, Latency: sim.NewHistogram(1<<40, 3),
		Units: []*workloads.Unit{{Name: "packet received"}, {Name: "packet sent"}}}}
	pool := cfg.PagePool || cfg.Driver && cfg.Style != PerPacket
	calls := cfg.Frames * int64(100+cfg.TxPercent) / 100
	if cfg.Stream != nil {
		calls = cfg.Frames // and acknowledgements, whose number nobody knows before
		if pool || cfg.Stream.Reuse {
			calls = max(1, cfg.Frames/16)
			d.res.Sync = workloads.NewOp(2 * cfg.Frames).Named("sync")
		}
	} else if pool {
		calls = max(1, cfg.Frames*int64(cfg.TxPercent)/100)
		d.res.Sync = workloads.NewOp(2 * cfg.Frames).Named("sync")
	}
	d.res.Map, d.res.Unmap = workloads.NewOp(calls).Named("map"), workloads.NewOp(calls).Named("unmap")
	if err := d.whole(); err != nil {
		return nil, err
	}
	if cfg.Driver && cfg.Style == GSO {
		d.res.Units[1].Name = "super-frame sent"
	}
	d.hw = NewDevice(m.Eng, dev.Port, dev.RID, cfg.Sizes, cfg.Moderation, d.interrupt)
	d.res.Depths = append(d.res.Depths, d.hw.Buffers, d.hw.Frames)
	d.hw.watch = cfg.sent
	for i := range cfg.CPUs {
		p := &poller{d: d, cpu: i, info: m.Env.Slab(cfg.Ring*32, 64), skb: m.Env.Slab(64*256, 64),
			pool: m.Env.Slab(1024, 64), bufs: make([]dma.Buffer, cfg.Ring), frames: make([]txFrame, cfg.Ring),
			buf: workloads.NewBuffers(m, sim.NewRand(cfg.Seed, fmt.Sprintf("buffers %d", i))),
			rnd: sim.NewRand(cfg.Seed, fmt.Sprintf("nic cpu %d", i))}
		for j := range p.frames {
			p.frames[j].state.VA = m.Env.Slab(16, 16)
		}
		p.sig.Name, p.sig.Owner = fmt.Sprintf("interrupt of nic queue %d", i), "nic"
		var rx, tx uint64
		var err error
		if p.rx, rx, err = dev.AllocCoherent(cfg.Ring * descBytes); err != nil {
			return nil, err
		}
		if p.tx, tx, err = dev.AllocCoherent(cfg.Ring * descBytes); err != nil {
			return nil, err
		}
		frames := cfg.Frames / int64(cfg.CPUs)
		if i == 0 {
			frames += cfg.Frames % int64(cfg.CPUs)
		}
		d.hw.AddQueue(rx, tx, cfg.Ring, cfg.Arrive, frames, sim.NewRand(cfg.Seed, fmt.Sprintf("nic arrivals %d", i)))
		d.cpus = append(d.cpus, p)
	}
	if cfg.Stream != nil {
		return d.runStream()
	}
	start := m.Eng.Now()
	ready := 0
	for _, p := range d.cpus {
		m.Spawn(p.cpu, fmt.Sprintf("cpu %d napi", p.cpu), func(t *cpu.Thread) {
			p.open(t)
			if ready++; ready == len(d.cpus) {
				start = t.Now()
				d.hw.Start()
			}
			p.run(t)
		})
	}
	if err := m.Run(); err != nil {
		return nil, err
	}
	for _, p := range d.cpus {
		if p.err != nil {
			return nil, p.err
		}
	}
	d.res.Elapsed = m.Eng.Now() - start
	d.res.Drops, d.res.Interrupts, d.res.Faults = d.hw.Drops, d.hw.Interrupts, d.hw.Faults
	return d.res, d.hw.Err
}

func (d *driver) interrupt(q int) {
	p := d.cpus[q]
	p.irq = true
	p.sig.Fire(d.m.Eng.Now())
}

// rxBuffer is the size of a receive buffer in bytes: 2 KiB as e1000e has them, 16 KiB when frames are larger.
func (p *poller) rxBuffer() uint64 {
	if slices.Max(p.d.cfg.Sizes.sizes) > 2048 {
		return 16 << 10
	}
	return 2048
}

// open fills the receive ring without measuring it.
func (p *poller) open(t *cpu.Thread) {
	for n := range p.bufs {
		if s := p.d.cfg.Stream; s != nil && s.Reuse {
			if err := p.openReuse(t, n); err != nil {
				p.err = fmt.Errorf("receive page %d: %w", n, err)
				return
			}
			continue
		}
		p.bufs[n] = p.buf.Next(p.rxBuffer())
		addr, err := p.d.rxCall.Map(t, p.d.dev.Ctx, p.bufs[n], kernel.FromDevice, p.d.rxAttrs())
		if err != nil {
			p.err = fmt.Errorf("receive buffer %d: %w", n, err)
			return
		}
		p.d.hw.queues[p.cpu].rx.slots[n].addr = addr
	}
	// One descriptor stays unused, as in every ring whose head must not catch its tail.
	t.MMIOWrite(p.d.hw, rxDoorbell(p.cpu), uint64(len(p.bufs)-1), 0, 0)
}

// run is the interrupt and NAPI loop of the CPU.
func (p *poller) run(t *cpu.Thread) {
	d, hwq := p.d, &p.d.hw.queues[p.cpu]
	defer func() {
		if d.live--; d.live == 0 {
			d.m.Eng.Stop()
		}
	}()
	began, idle := t.Now(), sim.Time(0)
	for p.err == nil {
		if hwq.left == 0 && p.clean == hwq.rx.head && p.txAt == p.txTail {
			break
		}
		if p.irq {
			p.irq = false
			p.interruptEntry(t)
			for p.err == nil && p.poll(t) == napiBudget {
				continue
			}
			t.Sync()
			d.hw.Unmask(p.cpu)
			continue
		}
		t.Sync()
		if p.irq {
			continue
		}
		from := t.Now()
		p.sig.Wait(t.Proc)
		idle += t.Now() - from
	}
	t.Sync()
	d.res.Busy += t.Now() - began - idle
}

// interruptEntry is the interrupt handler: it masks the queue's interrupt and schedules the poll.
func (p *poller) interruptEntry(t *cpu.Thread) {
	p.d.hw.Mask(p.cpu)
	t.Call(fnIntr)
	t.Push(4)
	t.Op(cpu.IrqFlag, 0)
	t.Pop(4)
	t.Ret()
}

// poll cleans finished transmits and up to a budget of received frames, and returns how many frames it handled.
func (p *poller) poll(t *cpu.Thread) int {
	d := p.d
	q := &d.hw.queues[p.cpu]
	t.Call(fnPoll)
	t.Push(6)
	t.ALU(20, 0)
	p.cleanTx(t)
	n := 0
	for n < napiBudget && p.err == nil {
		status := t.Load(p.rx+p.clean%uint64(len(p.bufs))*descBytes+8, 0) // written back by the device
		t.ALU(3, status)
		t.Sync()
		seen := p.clean < q.rx.done
		t.Branch(seen, t.Last())
		if !seen {
			break
		}
		if d.cfg.Stream != nil {
			p.take(t, status)
		} else {
			p.receive(t, status)
		}
		p.clean++
		n++
	}
	if n > 0 {
		t.MMIOWrite(d.hw, rxDoorbell(p.cpu), (uint64(len(p.bufs))-1+p.clean)&0xffffffff, 0, 0)
		if d.cfg.Stream != nil {
			p.flush(t)
		} else {
			p.reply(t, n)
		}
	}
	p.ring(t)
	t.Pop(6)
	t.Ret()
	return n
}

// receive hands one frame to the stack and gives its descriptor a buffer again.
func (p *poller) receive(t *cpu.Thread, status cpu.Val) {
	d, cfg := p.d, &p.d.cfg
	i := p.clean % uint64(len(p.bufs))
	s := &d.hw.queues[p.cpu].rx.slots[i]
	info := p.info + i*32
	cfg.Around.Pass(t)
	t.Load(info, status)
	var cost workloads.Cost
	if cfg.PagePool {
		p.err = p.fromPool(t, i, s, &cost)
	} else {
		if p.unmapRx(t, &cost, s.addr); p.err != nil {
			return
		}
		workloads.Code(t, fnRx, rxInstructions, info, p.skb, p.skb+64)
		p.bufs[i] = p.buf.Next(p.rxBuffer())
		cfg.Around.Pass(t)
		m := d.res.Map.Begin(t)
		p.err = m.Call(t, func() (err error) {
			s.addr, err = d.rxCall.Map(t, d.dev.Ctx, p.bufs[i], kernel.FromDevice, 0)
			return err
		})
		m.End()
		cost.Add(&m, 1)
		d.res.Calls[workloads.CallMap]++
	}
	d.res.Units[0].Add(cost)
	t.Store(p.rx+i*descBytes, 0, t.Last())
	t.Store(p.rx+i*descBytes+8, 0, 0)
	d.res.Complete(t.Now(), int64(s.size))
	d.res.Latency.Add(int64((t.Now() - s.at) / sim.Nanosecond))
}

// unmapRx unmaps a receive buffer.
func (p *poller) unmapRx(t *cpu.Thread, cost *workloads.Cost, addr uint64) {
	d := p.d
	u := d.res.Unmap.Begin(t)
	p.err = u.Call(t, func() error {
		return d.rxCall.Unmap(t, d.dev.Ctx, addr, p.rxBuffer(), kernel.FromDevice, 0)
	})
	u.End()
	cost.Add(&u, 1)
	d.res.Calls[workloads.CallUnmap]++
}

// reply sends the frames that n received ones cause.
func (p *poller) reply(t *cpu.Thread, n int) {
	d, cfg := p.d, &p.d.cfg
	p.txCred += n * cfg.TxPercent
	slots := 1
	if cfg.Driver && cfg.Style == GSO {
		slots += gsoFrags
	}
	for ; p.txCred >= 100 && p.err == nil; p.txCred -= 100 {
		if int(p.txTail-p.txAt)+slots >= len(p.frames) {
			d.hw.Drops++ // ring full: a stack would queue it, here it is lost
			continue
		}
		if slots > 1 {
			p.superFrame(t)
			continue
		}
		p.linear(t, p.buf.Next(uint64(cfg.Sizes.Draw(p.rnd))))
	}
}

// cleanTx unmaps what has been sent.
func (p *poller) cleanTx(t *cpu.Thread) {
	d := p.d
	q := &d.hw.queues[p.cpu]
	t.Sync()
	for p.txAt < q.tx.done && p.err == nil {
		i := p.txAt % uint64(len(p.frames))
		f := &p.frames[i]
		last := (p.txAt + uint64(f.slots) - 1) % uint64(len(p.frames))
		t.Load(p.tx+last*descBytes+8, 0)
		d.cfg.Around.Pass(t)
		p.err = p.unmapFrame(t, f)
		d.res.Units[1].Add(f.cost)
		workloads.Code(t, fnCleanTx, txInstructions/2, p.info+i*32, p.skb+128)
		p.txAt += uint64(f.slots)
		t.Sync()
	}
}

// Instructions that the driver itself executes per frame. Not recorded: guesses of the size of e1000e's and ixgbe's per-frame
// loops, which matter for throughput only, not for the cost of a call.
const (
	rxInstructions = 180
	txInstructions = 160
)

const file = "drivers/net/ethernet/intel/e1000e/netdev.c"

var (
	fnIntr    = cpu.NewFunc("e1000_intr_msix_rx", file, 300)
	fnPoll    = cpu.NewFunc("e1000e_poll", file, 500)
	fnRx      = cpu.NewFunc("e1000_clean_rx_irq", file, 900)
	fnXmit    = cpu.NewFunc("e1000_xmit_frame", file, 1200)
	fnCleanTx = cpu.NewFunc("e1000_clean_tx_irq", file, 600)
)
