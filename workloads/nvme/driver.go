package nvme

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"dmapath/cpu"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// Config is one run of the NVMe workload.
type Config struct {
	Variant dma.Variant
	// Driver runs the whole data path of the driver of Variant's kernel, in which Variant is what a single segment is mapped
	// with. Otherwise every request is one physically contiguous buffer and one call of Variant.
	Driver bool
	// Layout of an I/O's memory, for a whole driver; the zero value is Contiguous.
	Layout workloads.Layout
	Offset int   // bytes from the start of a page to the start of an I/O, a multiple of 512 below 4096
	SGL    bool  // the controller takes scatter gather lists, for a whole driver
	CPUs   int   // CPUs that submit, each with its own queue pair; 1 to the machine's
	IOs    int64 // I/Os in all; the run ends when they have completed
	Size   int   // bytes per I/O, a multiple of 512, at most 1 MiB; split into requests that the driver takes, see requestLimits
	Depth  int   // I/Os in flight per CPU, 1 to 1023
	// WritePercent of the I/Os write.
	WritePercent int
	// Rate is the arrival rate per CPU in commands per second for an open loop (Poisson arrivals that wait when Depth
	// commands are in flight); 0 is a closed loop: a completed command is replaced at once.
	Rate       float64
	Media      Media
	Coalescing Coalescing
	Around     *workloads.Ambience
	Seed       uint64
	// Peer is a second device whose memory takes the place of RAM: data goes from drive to device (P2P). nil for RAM. How the drive
	// reaches it was said with platform.Device.Reaches.
	Peer *platform.Peer

	// For tests: what a CPU executes, and every piece of a request's data that the device has moved.
	tap   func([]cpu.Op)
	moved func(r *request, addr uint64, n int)
}

// Validate lists everything that is out of range.
func (c *Config) Validate(cores int) error {
	err := workloads.Ranges{
		{Key: "cpus", Value: int64(c.CPUs), Lo: 1, Hi: int64(cores)},
		{Key: "nvme.ios", Value: c.IOs, Lo: 1, Hi: 1 << 40},
		{Key: "nvme.block_size", Value: int64(c.Size), Lo: 512, Hi: maxSize},
		{Key: "nvme.queue_depth", Value: int64(c.Depth), Lo: 1, Hi: 1023},
		{Key: "nvme.write_percent", Value: int64(c.WritePercent), Lo: 0, Hi: 100},
	}.Check()
	if c.Layout != "" && !slices.Contains(workloads.Layouts, string(c.Layout)) {
		err = errors.Join(err, fmt.Errorf("nvme.segments is %q: allowed are %v", c.Layout, workloads.Layouts))
	}
	if c.Offset < 0 || c.Offset > 4095 || c.Offset%512 != 0 {
		err = errors.Join(err, fmt.Errorf("nvme.offset is %d: allowed are multiples of 512 below 4096", c.Offset))
	}
	if c.Size%512 != 0 {
		err = errors.Join(err, fmt.Errorf("nvme.block_size is %d: allowed are multiples of 512", c.Size))
	}
	if !(c.Rate >= 0 && c.Rate <= 1e9) {
		err = errors.Join(err, fmt.Errorf("nvme.rate is %g: allowed are 0 to 1e9 commands per second", c.Rate))
	}
	return err
}

// driver is nvme-pci on one machine.
type driver struct {
	cfg  Config
	m    *platform.Machine
	dev  *platform.Device
	ctrl *Device
	res  *workloads.Result
	fn   *functions
	cpus []*submitter
	left int64 // I/Os not yet taken by a submitter
	live int   // submitters still running

	maxBytes, maxSegs int      // of a request
	small, page       *dmaPool // whole drivers: PRP and SGL lists
	iods              *memPool // 6.12: scatterlists; 7.3: dma_vecs
	phys              dma.Variant
}

// submitter is one CPU's side: its queue pair and the commands in flight.
type submitter struct {
	d       *driver
	cpu     int
	q       int
	sq, cq  uint64 // virtual addresses of the rings
	entries uint32
	nvmeq   uint64 // struct nvme_queue
	sqTail  uint32
	cqHead  uint32
	flight  int  // I/Os
	irq     bool // interrupt pending
	sig     sim.Signal
	reqs    []request // by tag
	free    ring      // tags not in use; like blk-mq's bitmap with its moving hint it gives the longest unused first
	ios     []io
	freeIOs ring
	cur     int // the I/O whose requests are being submitted, -1 for none
	buf     *workloads.Buffers
	rnd     *rand.Rand
	next    sim.Time // open loop: next arrival
	arrived sim.Time // when the I/O that is submitted next came: latency counts from there
	wake    sim.Handler
	err     error
}

// Run performs the workload on m through dev and returns what it measured.
func Run(m *platform.Machine, dev *platform.Device, cfg Config) (*workloads.Result, error) {
	if err := cfg.Validate(len(m.Cores)); err != nil {
		return nil, err
	}
	d := &driver{cfg: cfg, m: m, dev: dev, left: cfg.IOs, live: cfg.CPUs, fn: functionsOf(cfg.Variant.Version()),
		res: &workloads.Result{CPUs: cfg.CPUs, Latency: sim.NewHistogram(1<<40, 3), Units: []*workloads.Unit{{Name: "I/O"}}}}
	dev.Ctx.Dev.MinAlign = 4096 - 1 // nvme_pci_alloc_dev: dma_set_min_align_mask(NVME_CTRL_PAGE_SIZE - 1)
	perIO := d.limits()
	d.res.Map, d.res.Unmap = workloads.NewOp(cfg.IOs*int64(perIO)).Named("map"), workloads.NewOp(cfg.IOs*int64(perIO)).Named("unmap")
	tags := min(cfg.Depth*perIO, maxTags)
	if err := d.prepare(tags * cfg.CPUs); err != nil {
		return nil, err
	}
	var err error
	d.ctrl, err = NewDevice(m.Eng, dev.Port, dev.RID, cfg.Media, cfg.Coalescing, sim.NewRand(cfg.Seed, "nvme media"), d.interrupt)
	if err != nil {
		return nil, err
	}
	entries := uint32(1)
	for int(entries) < tags+1 {
		entries *= 2
	}
	for i := range cfg.CPUs {
		s := &submitter{d: d, cpu: i, entries: entries, nvmeq: m.Env.Slab(256, 64),
			rnd: sim.NewRand(cfg.Seed, fmt.Sprintf("nvme cpu %d", i)), reqs: make([]request, tags),
			free: ring{tags: make([]uint32, tags)}, ios: make([]io, cfg.Depth), freeIOs: ring{tags: make([]uint32, cfg.Depth)}, cur: -1}
		s.sig.Name = fmt.Sprintf("interrupt of nvme queue %d", i)
		s.sig.Owner = "nvme device"
		s.buf = workloads.NewBuffers(m, sim.NewRand(cfg.Seed, fmt.Sprintf("buffers %d", i)))
		if cfg.Peer != nil {
			s.buf.In(&cfg.Peer.BAR)
		}
		for j := range s.reqs {
			s.reqs[j].init(m.Env.Slab(448, 64))
			s.free.push(uint32(j))
		}
		for j := range s.ios {
			if cfg.Driver {
				s.ios[j].bvecs = m.Env.Slab((maxSize/4096+1)*16, 64)
			}
			s.freeIOs.push(uint32(j))
		}
		var sq, cq uint64
		if s.sq, sq, err = dev.AllocCoherent(int(entries) * sqeBytes); err != nil {
			return nil, err
		}
		if s.cq, cq, err = dev.AllocCoherent(int(entries) * cqeBytes); err != nil {
			return nil, err
		}
		s.q = d.ctrl.AddQueue(sq, cq, entries, tags)
		if cfg.Offset+cfg.Size > 2*4096 && !cfg.Driver {
			if err := s.allocLists(); err != nil {
				return nil, err
			}
		}
		s.wake = m.Eng.Register("nvme arrival", func(uint64) { s.sig.Fire(m.Eng.Now()) })
		d.cpus = append(d.cpus, s)
	}
	if cfg.moved != nil {
		d.ctrl.watch = d.watched
	}
	start := m.Eng.Now()
	d.res.Flight.Restart(start)
	d.res.Depths = append(d.res.Depths, d.ctrl.Outstanding)
	for _, s := range d.cpus {
		m.Spawn(s.cpu, fmt.Sprintf("cpu %d nvme submitter", s.cpu), s.run)
	}
	if err := m.Run(); err != nil {
		return nil, err
	}
	for _, s := range d.cpus {
		if s.err != nil {
			return nil, s.err
		}
	}
	d.res.Elapsed = m.Eng.Now() - start
	d.res.Interrupts, d.res.Faults = d.ctrl.Interrupts, d.ctrl.Faults
	d.res.Moved = d.ctrl.BytesRead + d.ctrl.BytesWritten
	return d.res, d.ctrl.Err
}

// watched finds the request whose command has moved n bytes at addr.
func (d *driver) watched(c *command, addr uint64, n int) {
	for _, s := range d.cpus {
		cmds := d.ctrl.queues[s.q].cmds
		for tag := range cmds {
			if &cmds[tag] == c {
				d.cfg.moved(&s.reqs[tag], addr, n)
				return
			}
		}
	}
}

// interrupt arrives at the CPU of queue q.
func (d *driver) interrupt(q int) {
	s := d.cpus[q]
	s.irq = true
	s.sig.Fire(d.m.Eng.Now())
}

// run is the CPU's loop: submit while there is room, otherwise wait for an interrupt and complete.
func (s *submitter) run(t *cpu.Thread) {
	defer func() {
		if s.d.live--; s.d.live == 0 {
			s.d.m.Eng.Stop()
		}
	}()
	t.Tap = s.d.cfg.tap
	began, idle := t.Now(), sim.Time(0)
	s.next = began
	for s.err == nil {
		switch {
		case s.irq:
			s.irq = false
			s.complete(t)
		case s.cur >= 0 && s.free.n > 0:
			s.submit(t)
		case s.cur < 0 && s.flight < s.d.cfg.Depth && s.d.left > 0 && s.due(t.Now()):
			s.d.left--
			s.begin()
			s.submit(t)
		case s.flight == 0 && s.d.left == 0:
			t.Sync()
			s.d.res.Busy += t.Now() - began - idle
			return
		default:
			t.Sync()
			if s.irq {
				continue
			}
			from := t.Now()
			if s.cur < 0 && s.flight < s.d.cfg.Depth && s.d.left > 0 {
				s.d.m.Eng.At(max(s.next, from), s.wake, 0)
			}
			s.sig.Wait(t.Proc)
			idle += t.Now() - from
		}
	}
}

// due says whether the next command of an open loop has arrived.
func (s *submitter) due(now sim.Time) bool {
	if s.d.cfg.Rate == 0 {
		s.arrived = now
		return true
	}
	if s.next > now {
		return false
	}
	s.arrived = s.next
	s.next += sim.Time(s.rnd.ExpFloat64() / s.d.cfg.Rate * float64(sim.Second))
	return true
}
