package hazard

import (
	"fmt"
	"math/rand/v2"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/oracle"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// observer runs a cell again and again on one machine, once per direction and adversary, and collects what the oracle sees.
type observer struct {
	*Result
	m    *platform.Machine
	dev  *platform.Device
	l    *layout
	o    *oracle.Oracle
	t    *cpu.Thread
	rnd  *rand.Rand
	list *dma.List

	dir     kernel.Direction
	adv     oracle.Adversary
	probing bool // what is reached now is an exposure and not a hazard
	dead    bool // the kernel has not survived
	calling bool // the call under test is under way
	story   []string
	found   int // hazards of the present scene

	bystander *oracle.Mapping // another buffer of the device, mapped all the time
}

// settling is how long after an unmap a lazy domain has certainly flushed: twice the timeout of the queue.
const settling = 20 * sim.Millisecond

// withoutCaches is s with the smallest caches: nobody looks at the time of what is only watched, and most of what building a machine
// takes is clearing its caches.
func withoutCaches(s *platform.Spec) *platform.Spec {
	c := *s
	small := func(size *platform.Bytes, ways platform.Count, atLeast platform.Bytes) {
		n := platform.Bytes(ways) * cache.LineBytes // of one set
		for n < atLeast {
			n *= 2
		}
		*size = min(*size, n)
	}
	small(&c.Cache.L2.Size, c.Cache.L2.Ways, c.Cache.L1I.Size+c.Cache.L1D.Size)
	small(&c.Cache.LLC.Size, c.Cache.LLC.Ways, c.Cache.L2.Size)
	return &c
}

// observe fills in everything but the cost.
func (r *Result) observe(l *layout, seed uint64) error {
	m, d, err := r.build(l, withoutCaches(l.spec), seed)
	if err != nil {
		return err
	}
	defer m.Close()
	x := &observer{Result: r, m: m, dev: d, l: l, rnd: sim.NewRand(seed, "hazard buffers"), list: d.Ctx.NewList(1)}
	truth := m.Watch(x.hazard)
	x.o = oracle.New(oracle.Config{Truth: truth, Bus: d, Granule: r.Backend.granule, DeviceMemory: m.Env.DeviceMemory,
		Bounced: func(pa uint64) bool { return m.Tlb.Find(pa) != nil }, Report: x.hazard})
	// What happens is the same whether instructions take time or not; what they cost is measured elsewhere.
	err = m.Do("driver", func(t *cpu.Thread) {
		x.t = t
		t.Tap = func(ops []cpu.Op) {
			if x.calling && x.dir == x.Call.timed() {
				x.emitted.add(ops)
			}
		}
		x.all()
	})
	if err != nil {
		return err
	}
	if r.Status == OK {
		r.judge()
	}
	return nil
}

// all runs every scene, then looks at what is left behind.
func (x *observer) all() {
	if x.mapBystander(); x.dead {
		return
	}
	x.t.WaitUntil(cpu.StallIdle, x.t.Now()+settling)
	before := x.inUse()
	dirs := x.Call.dirs
	if dirs == nil {
		dirs = []kernel.Direction{kernel.ToDevice, kernel.FromDevice, kernel.Bidirectional}
	}
	var last *oracle.Mapping
	for _, x.dir = range dirs {
		for _, x.adv = range oracle.Adversaries() {
			x.story, x.found = nil, 0
			m := x.scene()
			if len(x.Story) == 0 || x.found > 0 && !x.told() {
				x.Story = x.story
			}
			if x.dead || x.Status != OK {
				return
			}
			last = m
		}
	}
	x.t.WaitUntil(cpu.StallIdle, x.t.Now()+settling)
	x.story = nil
	if n := x.inUse(); n > before && !x.Call.keeps {
		x.hazard(kernel.Hazard{Kind: kernel.Leak, Step: x.Call.unmapFn, Addr: last.Addr,
			Note: fmt.Sprintf("%d of %d mappings left their range of I/O addresses allocated", n-before, len(dirs)*len(oracle.Adversaries()))})
	}
	x.probing = true
	x.Exposed.Later = x.reaches(last)
	x.probing = false
	if x.Exposed.Later && x.Backend.granule > 0 && !x.Call.keeps && !x.switched(last) {
		x.hazard(kernel.Hazard{Kind: kernel.UseAfterUnmap, Step: x.Call.unmapFn, Addr: last.Addr,
			Note: fmt.Sprintf("the device still reaches the buffer %d ms after the unmap", settling/sim.Millisecond)})
	}
	x.Story = append(x.Story, x.story...)
}

// switched reports whether the device reaches m through a PCIe switch, which no IOMMU sees.
func (x *observer) switched(m *oracle.Mapping) bool {
	p := x.dev.Ctx.Dev.P2P
	return p.Route == kernel.P2PBusAddress && m.Addr == m.Phys+p.BusOffset
}

// told reports whether the story that is kept is already one with a hazard.
func (x *observer) told() bool { return len(x.Hazards) > x.found }

func (x *observer) say(format string, a ...any) { x.story = append(x.story, fmt.Sprintf(format, a...)) }

// hazard takes a report of the kernel or of the oracle.
func (x *observer) hazard(h kernel.Hazard) {
	if x.probing || x.dead { // a kernel that has died does nothing more
		return
	}
	if h.Step == "(none)" { // inlined into the driver
		h.Step = x.Call.mapFn
	}
	n := len(x.Hazards)
	x.add(Found{h, x.dir, x.adv})
	x.found += len(x.Hazards) - n
	x.dead = x.dead || h.Kind.Fatal()
	x.say("  HAZARD %v", h)
}

// inUse counts the ranges of I/O addresses that are neither free nor kept in a magazine.
func (x *observer) inUse() int {
	if x.dev.Cookie == nil {
		return 0
	}
	n := 0
	x.dev.Cookie.IOVA.Allocated(func(uint64, uint64) { n++ })
	x.dev.Cookie.IOVA.EachCached(func(int, uint64) { n-- })
	return n
}

// mapBystander maps a page of RAM that has nothing to do with the buffer and must stay reachable. Where the kernel refuses that
// there is none.
func (x *observer) mapBystander() {
	v, err := dma.Lookup(plain(x.Call.Version))
	if err != nil {
		panic("hazard: " + err.Error())
	}
	b := x.m.RandomRAM(x.rnd, 4096)
	x.o.CPUWrite(b.Phys, b.Size)
	addr, err := v.Map(x.t, x.dev.Ctx, b, kernel.ToDevice, 0)
	if err == nil {
		x.bystander = x.o.Map("map of another buffer", addr, b.Phys, b.Size, kernel.ToDevice)
	}
}

// scene is one life of a buffer.
func (x *observer) scene() *oracle.Mapping {
	b := x.buffer(x.l, x.m, x.dev.Ctx, x.list, x.rnd)
	ctx, c := x.dev.Ctx, &x.Call
	x.Size = b.Size
	x.say("%v: %d bytes at %#x, %v; caches: %v before the device's access, %v after it", x.Cell, b.Size, b.Home, x.dir, x.adv.Before, x.adv.After)
	x.say("1. the CPU writes the buffer")
	x.o.CPUWrite(b.Home, b.Size)
	for _, f := range b.Foreign {
		x.o.CPUWrite(f[0], f[1])
	}
	x.t.Sync()
	x.calling = true
	addr, err := c.do(x.t, ctx, &b, x.dir)
	x.t.Sync()
	x.calling = false
	if err != nil {
		x.say("2. %s fails: %v", c.mapFn, err)
		if !x.dead {
			x.classify(err)
		}
		return nil
	}
	x.say("2. %s returns %#x", c.mapFn, addr)
	if x.dead {
		return nil
	}
	m := x.o.Map(c.mapFn, addr, b.Home, b.Size, x.dir)
	if c.skips && !x.sync(m, b, false) {
		return m
	}
	x.transfer(m, b, "3.")
	if c.synced {
		if !x.sync(m, b, true) {
			return m
		}
		x.o.CPURead("what the CPU reads after dma_sync_single_for_cpu", m, b.Home, b.Size)
		if x.dir != kernel.FromDevice {
			x.o.CPUWrite(b.Home, b.Size)
		}
		if !x.sync(m, b, false) {
			return m
		}
		x.transfer(m, b, "3.")
	}
	x.Exposed.Beside = max(x.Exposed.Beside, x.beside(m))
	if c.skips && !x.sync(m, b, true) {
		return m
	}
	x.calling = true
	err = c.undo(x.t, ctx, &b, addr, x.dir)
	x.t.Sync()
	x.calling = false
	x.say("4. %s", c.unmapFn)
	if x.dead {
		return m
	}
	if c.keeps {
		x.o.Lend(c.unmapFn, m, 0, m.Size)
	} else {
		x.o.Unmap(c.unmapFn, m)
	}
	if err != nil {
		x.classify(err)
		return m
	}
	x.probing = true
	if x.reaches(m) {
		x.Exposed.After = true
		x.say("   the device still reaches the buffer")
	}
	x.probing = false
	x.say("5. the CPU reads the buffer")
	x.o.CPURead("what the CPU reads after the unmap", m, b.Home, b.Size)
	for _, f := range b.Foreign {
		x.o.CPURead("what lies beside the buffer", m, f[0], f[1])
	}
	if x.bystander != nil {
		x.o.DeviceRead(x.bystander, 0, x.bystander.Size)
	}
	return m
}

// transfer is the device's part, with what the caches do before and after it.
func (x *observer) transfer(m *oracle.Mapping, b Buffer, at string) {
	for _, f := range b.Foreign {
		x.o.CPUWrite(f[0], f[1])
	}
	first, last := b.Home&^63, (b.Home+b.Size+63)&^63
	x.o.Play(x.adv.Before, first, last-first)
	if x.dir != kernel.FromDevice {
		x.say("%s the device reads the buffer", at)
		x.o.DeviceRead(m, 0, m.Size)
	}
	if x.dir != kernel.ToDevice {
		x.say("%s the device writes the buffer", at)
		x.o.DeviceWrite(m, 0, m.Size)
	}
	x.o.Play(x.adv.After, first, last-first)
}

// sync is dma_sync_single_for_cpu or _for_device of the whole buffer; false when the kernel has not survived it.
func (x *observer) sync(m *oracle.Mapping, b Buffer, toCPU bool) bool {
	sync := x.dev.Ctx.SyncSingleForDevice
	if toCPU {
		sync = x.dev.Ctx.SyncSingleForCPU
	}
	err := sync(x.t, m.Addr, b.Size, x.dir)
	x.t.Sync()
	if x.dead {
		return false
	}
	if err != nil {
		x.classify(err)
		return false
	}
	if toCPU {
		x.say("   dma_sync_single_for_cpu")
		x.o.Lend("dma_sync_single_for_cpu", m, 0, b.Size)
	} else {
		x.say("   dma_sync_single_for_device")
		x.o.Return("dma_sync_single_for_device", m, 0, b.Size)
	}
	return true
}

// beside returns how many bytes around m, within its granules or pages, the device can read or write. Where the buffer bounces to pages
// of its own behind an IOMMU, what surrounds it there is padding, and nobody's.
func (x *observer) beside(m *oracle.Mapping) uint64 {
	if pa, _, ok := x.dev.Reach(m.Addr, m.Dir != kernel.ToDevice); ok && x.Backend.granule > 0 && x.m.Tlb.Find(pa) != nil {
		return 0
	}
	x.probing = true
	defer func() { x.probing = false }()
	const page = 4096
	first, end := m.Addr&^(page-1), (m.Addr+m.Size+page-1)&^(page-1)
	most := uint64(0)
	for _, write := range []bool{false, true} {
		r := x.o.Access(first, m.Addr-first, write)
		s := x.o.Access(m.Addr+m.Size, end-m.Addr-m.Size, write)
		most = max(most, r.Forbidden+s.Forbidden)
	}
	return most
}

// reaches reports whether the device gets at any byte of m that it has no right to.
func (x *observer) reaches(m *oracle.Mapping) bool {
	return x.o.Access(m.Addr, m.Size, false).Forbidden+x.o.Access(m.Addr, m.Size, true).Forbidden > 0
}

// measure fills in the cost: pairs of map and unmap from the device, on buffers like the cell's, between which warm surroundings
// run.
func (r *Result) measure(l *layout, cfg Config) error {
	m, d, err := r.build(l, l.spec, cfg.Seed)
	if err != nil {
		return err
	}
	defer m.Close()
	around, err := workloads.AmbienceOf(m, "warm", 0, cfg.Seed)
	if err != nil {
		return err
	}
	if err := m.Settle(); err != nil {
		return err
	}
	dir := r.Call.timed()
	rnd, list := sim.NewRand(cfg.Seed, "hazard cost"), d.Ctx.NewList(1)
	up, down := workloads.NewOp(cfg.Rounds), workloads.NewOp(cfg.Rounds)
	m.Spawn(0, "cpu 0 driver", func(t *cpu.Thread) {
		var b Buffer
		for i := range cfg.Rounds {
			if i == 0 || !r.Call.keeps {
				b = r.buffer(l, m, d.Ctx, list, rnd)
			}
			around.Pass(t)
			var addr uint64
			if err = up.Measure(t, func() (err error) { addr, err = r.Call.do(t, d.Ctx, &b, dir); return err }); err != nil {
				break
			}
			around.Pass(t)
			if err = down.Measure(t, func() error { return r.Call.undo(t, d.Ctx, &b, addr, dir) }); err != nil {
				break
			}
		}
		m.Eng.Stop()
	})
	if e := m.Run(); e != nil {
		return e
	}
	r.Map, r.Unmap = up, down
	return err
}
