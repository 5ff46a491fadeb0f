package nvme

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// Config is one run of the NVMe workload.
type Config struct {
	Variant dma.Variant
	CPUs    int   // CPUs that submit, each with its own queue pair; 1 to the machine's
	IOs     int64 // commands in all; the run ends when they have completed
	Size    int   // bytes per command, a multiple of 512, at most 128 KiB (max_hw_sectors behind an IOMMU)
	Depth   int   // commands in flight per CPU, 1 to 1023
	// WritePercent of the commands write.
	WritePercent int
	// Rate is the arrival rate per CPU in commands per second for an open loop (Poisson arrivals that wait when Depth
	// commands are in flight); 0 is a closed loop: a completed command is replaced at once.
	Rate       float64
	Media      Media
	Coalescing Coalescing
	Around     *workloads.Ambience
	Seed       uint64
}

// Validate lists everything that is out of range.
func (c *Config) Validate(cores int) error {
	err := workloads.Ranges{
		{Key: "cpus", Value: int64(c.CPUs), Lo: 1, Hi: int64(cores)},
		{Key: "nvme.ios", Value: c.IOs, Lo: 1, Hi: 1 << 40},
		{Key: "nvme.block_size", Value: int64(c.Size), Lo: 512, Hi: 128 << 10},
		{Key: "nvme.queue_depth", Value: int64(c.Depth), Lo: 1, Hi: 1023},
		{Key: "nvme.write_percent", Value: int64(c.WritePercent), Lo: 0, Hi: 100},
	}.Check()
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
	left int64 // commands not yet taken by a submitter
	live int   // submitters still running
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
	flight  int
	irq     bool // interrupt pending
	sig     sim.Signal
	reqs    []request // by tag
	free    ring      // tags not in use; like blk-mq's bitmap with its moving hint it gives the longest unused first
	buf     *workloads.Buffers
	rnd     *rand.Rand
	next    sim.Time // open loop: next arrival
	arrived sim.Time // when the command that is submitted next came: latency counts from there
	wake    sim.Handler
	err     error
}

// request is struct request with its nvme_iod, by tag.
type request struct {
	va    uint64 // where it lies: 7 lines
	dir   kernel.Direction
	size  uint64
	addr  uint64
	issue sim.Time
}

// Run performs the workload on m through dev and returns what it measured.
func Run(m *platform.Machine, dev *platform.Device, cfg Config) (*workloads.Result, error) {
	if err := cfg.Validate(len(m.Cores)); err != nil {
		return nil, err
	}
	d := &driver{cfg: cfg, m: m, dev: dev, left: cfg.IOs, live: cfg.CPUs, fn: functionsOf(cfg.Variant.Version()),
		res: &workloads.Result{Map: workloads.NewOp(cfg.IOs), Unmap: workloads.NewOp(cfg.IOs), CPUs: cfg.CPUs,
			Latency: sim.NewHistogram(1<<40, 3)}}
	var err error
	d.ctrl, err = NewDevice(m.Eng, dev.Port, dev.RID, cfg.Media, cfg.Coalescing, sim.NewRand(cfg.Seed, "nvme media"), d.interrupt)
	if err != nil {
		return nil, err
	}
	entries := uint32(1)
	for int(entries) < cfg.Depth+1 {
		entries *= 2
	}
	for i := range cfg.CPUs {
		s := &submitter{d: d, cpu: i, entries: entries, nvmeq: m.Env.Slab(256, 64),
			rnd: sim.NewRand(cfg.Seed, fmt.Sprintf("nvme cpu %d", i)), reqs: make([]request, cfg.Depth),
			free: ring{tags: make([]uint32, cfg.Depth)}}
		s.sig.Name = fmt.Sprintf("interrupt of nvme queue %d", i)
		s.sig.Owner = "nvme device"
		s.buf = workloads.NewBuffers(m, sim.NewRand(cfg.Seed, fmt.Sprintf("buffers %d", i)))
		for j := range s.reqs {
			s.reqs[j].va = m.Env.Slab(448, 64)
			s.free.push(uint32(j))
		}
		var sq, cq uint64
		if s.sq, sq, err = dev.AllocCoherent(int(entries) * sqeBytes); err != nil {
			return nil, err
		}
		if s.cq, cq, err = dev.AllocCoherent(int(entries) * cqeBytes); err != nil {
			return nil, err
		}
		s.q = d.ctrl.AddQueue(sq, cq, entries, cfg.Depth)
		if cfg.Size > 2*4096 {
			if err := s.allocLists(); err != nil {
				return nil, err
			}
		}
		s.wake = m.Eng.Register("nvme arrival", func(uint64) { s.sig.Fire(m.Eng.Now()) })
		d.cpus = append(d.cpus, s)
	}
	start := m.Eng.Now()
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
	return d.res, d.ctrl.Err
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
	began, idle := t.Now(), sim.Time(0)
	s.next = began
	for s.err == nil {
		switch {
		case s.irq:
			s.irq = false
			s.complete(t)
		case s.flight < s.d.cfg.Depth && s.d.left > 0 && s.due(t.Now()):
			s.d.left--
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
			if s.flight < s.d.cfg.Depth && s.d.left > 0 {
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

// submit is nvme_queue_rq (drivers/nvme/host/pci.c): set up the command, map the data, write the entry, ring the doorbell.
func (s *submitter) submit(t *cpu.Thread) {
	d, cfg := s.d, &s.d.cfg
	tag := s.free.pop()
	r := &s.reqs[tag]
	*r = request{va: r.va, dir: kernel.FromDevice, size: uint64(cfg.Size), issue: s.arrived}
	if s.rnd.IntN(100) < cfg.WritePercent {
		r.dir = kernel.ToDevice
	}
	cfg.Around.Pass(t)
	d.fn.queueRq.emit(t, r.va, r.va+64, r.va+128, s.nvmeq)
	d.fn.setupCmd.emit(t, r.va, r.va+192)
	d.fn.setupRW.emit(t, r.va+64, r.va+192)

	buf := s.buf.Next(r.size)
	err := d.res.Map.Measure(t, func() (err error) {
		r.addr, err = cfg.Variant.Map(t, d.dev.Ctx, buf, r.dir, 0)
		return err
	})
	if err != nil {
		s.err = fmt.Errorf("nvme command of %d bytes: %w", r.size, err)
		return
	}
	slot := s.sqTail
	d.ctrl.queues[s.q].slots[slot] = tag
	c := &d.ctrl.queues[s.q].cmds[tag]
	c.write, c.size = r.dir == kernel.ToDevice, uint32(r.size)
	c.prps = c.prps[:0]
	for a, left := r.addr, r.size; left > 0; {
		n := min(left, 4096-a&4095)
		c.prps = append(c.prps, a)
		a, left = a+n, left-n
	}
	if len(c.prps) > 2 {
		s.prpList(t, c)
	}
	entry := s.sq + uint64(slot)*sqeBytes
	for o := uint64(0); o < sqeBytes; o += 16 { // the 64-byte copy of nvme_sq_copy_cmd
		v := t.Mem(cpu.Load, r.va+192+o, 16, 0, 0)
		t.Mem(cpu.Store, entry+o, 16, 0, v)
	}
	s.sqTail = (s.sqTail + 1) % s.entries
	s.flight++
	t.MMIOWrite(d.ctrl, uint64(s.q), uint64(s.sqTail), 0, 0)
}

// listBytes is the size of a PRP list of up to 64 entries: the driver's small pool (NVME_SMALL_POOL_SIZE) holds 32 of them, as many
// as 128 KiB need; here each list has a 512-byte piece of a page.
const listBytes = 512

// allocLists gives every tag of the queue a PRP list, as the driver's DMA pool has them ready after the first commands.
func (s *submitter) allocLists() error {
	cmds := s.d.ctrl.queues[s.q].cmds
	for i := range cmds {
		if i%(4096/listBytes) == 0 {
			va, addr, err := s.d.dev.AllocCoherent(4096)
			if err != nil {
				return err
			}
			cmds[i].listVA, cmds[i].list = va, addr
			continue
		}
		cmds[i].listVA, cmds[i].list = cmds[i-1].listVA+listBytes, cmds[i-1].list+listBytes
	}
	return nil
}

// prpList writes the list of the second and further pages (nvme_pci_setup_prps): the segment's address and one store per page.
func (s *submitter) prpList(t *cpu.Thread, c *command) {
	top := t.Here()
	for i := range c.prps[1:] {
		v := t.ALU(3, 0)
		t.Store(c.listVA+uint64(i)*8, 0, v)
		t.Loop(top, i < len(c.prps)-2, v)
	}
}

// complete is nvme_irq: it walks the completion queue, unmaps and ends each request, then rings the doorbell.
func (s *submitter) complete(t *cpu.Thread) {
	d, cfg := s.d, &s.d.cfg
	t.Call(d.fn.irq)
	t.Push(6)
	t.Op(cpu.IrqFlag, 0)
	q := &d.ctrl.queues[s.q]
	for s.err == nil {
		entry := t.Load(s.cq+uint64(s.cqHead)*cqeBytes+8, 0) // status and phase, written by the device
		t.ALU(4, entry)
		t.Sync()
		seen := q.done.n > 0
		t.Branch(seen, t.Last())
		if !seen {
			break
		}
		tag := q.done.pop()
		s.cqHead = (s.cqHead + 1) % s.entries
		r := &s.reqs[tag]
		cfg.Around.Pass(t)
		t.Load(r.va, entry)
		d.fn.unmapData.emit(t, r.va+64, r.va+128)
		err := d.res.Unmap.Measure(t, func() error {
			return cfg.Variant.Unmap(t, d.dev.Ctx, r.addr, r.size, r.dir, 0)
		})
		if err != nil {
			s.err = err
			break
		}
		d.fn.completeRq.emit(t, r.va, s.nvmeq)
		s.free.push(tag)
		s.flight--
		d.res.Complete(t.Now(), int64(r.size))
		d.res.Latency.Add(int64((t.Now() - r.issue) / sim.Nanosecond))
	}
	t.Pop(6)
	t.Ret()
	t.MMIOWrite(d.ctrl, uint64(s.q)|cqDoorbell, uint64(s.cqHead), 0, 0)
}

// functions are the driver's own functions with the instructions that they execute themselves for a 4 KiB request:
// kernel-traces/nvme_io.csv, column driver_functions_self_instructions.
type functions struct {
	queueRq, setupCmd, setupRW, unmapData, completeRq body
	irq                                               *cpu.Func
}

type body struct {
	f *cpu.Func
	n int
}

func (b body) emit(t *cpu.Thread, objs ...uint64) { workloads.Code(t, b.f, b.n, objs...) }

const pci, core = "drivers/nvme/host/pci.c", "drivers/nvme/host/core.c"

var functions612 = functions{
	queueRq:    body{cpu.NewFunc("nvme_queue_rq", pci, 700), 100},
	setupCmd:   body{cpu.NewFunc("nvme_setup_cmd", core, 900), 46},
	setupRW:    body{cpu.NewFunc("nvme_setup_rw", core, 400), 60},
	unmapData:  body{cpu.NewFunc("nvme_unmap_data", pci, 200), 22},
	completeRq: body{cpu.NewFunc("nvme_complete_rq", core, 300), 23 + 22},
	irq:        cpu.NewFunc("nvme_irq", pci, 500),
}

var functions73 = functions{
	queueRq:    body{cpu.NewFunc("nvme_queue_rq", pci, 700), 104},
	setupCmd:   body{cpu.NewFunc("nvme_setup_cmd", core, 900), 49},
	setupRW:    body{cpu.NewFunc("nvme_setup_rw", core, 400), 62},
	unmapData:  body{cpu.NewFunc("nvme_unmap_data", pci, 200), 29},
	completeRq: body{cpu.NewFunc("nvme_complete_rq", core, 300), 10},
	irq:        cpu.NewFunc("nvme_irq", pci, 500),
}

func functionsOf(v kernel.Version) *functions {
	if v == kernel.V6_12 {
		return &functions612
	}
	return &functions73
}
