package replay

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommudma"
	"dmapath/kernel/scatterlist"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// Player performs calls on one machine.
type Player struct {
	M       *platform.Machine
	Variant dma.Variant
	Around  *workloads.Ambience

	// Map and Unmap are the costs by interface and size class; nil where there were no calls.
	Map, Unmap [NumHow][Classes]*workloads.Op
	// Failures counts maps that the simulated machine refused; First is why the first of them was.
	Failures int64
	First    error
	// Moved counts mappings that lie elsewhere in this machine's memory than in the traced one's.
	Moved int64
	// PerRun counts lists and linked requests that were mapped run by run, because there is no translation.
	PerRun int64
	// Faults counts transactions that the IOMMU refused; Delayed calls that began later than recorded.
	Faults, Delayed int64
	Elapsed         sim.Time
	// Reproduced compares the kernel's events with the recorded ones; nil: nobody asks.
	Reproduced *Reproduction

	devs    []*platform.Device
	threads []*cpu.Thread
	held    map[uint64]*held
	free    []*held
	lists   uint64 // virtual address of the memory for lists
	next    uint64
	begun   bool
	first   sim.Time // trace time of the first call
	start   sim.Time // simulated time of it
	err     error
}

// held is a mapping that the player has made.
type held struct {
	phys  []iommucore.Segment // physical pieces in this machine
	addrs []uint64            // DMA address of each, or of the whole
	st    iommudma.State
	list  scatterlist.List // VA is 0 without
	how   How

	base, recorded uint64 // first IOVA of its iommu: events, in this machine and in the trace
}

// listBytes is the memory of one list, listMost its entries; listSlots lists are used in turn, as a mempool would.
const (
	listBytes = 16 << 10
	listMost  = listBytes / scatterlist.Bytes
	listSlots = 64
)

// NewPlayer returns a player on m.
func NewPlayer(m *platform.Machine, v dma.Variant, around *workloads.Ambience) *Player {
	return &Player{M: m, Variant: v, Around: around, held: map[uint64]*held{}, lists: m.Env.Slab(listSlots*listBytes, 4096)}
}

// batch is calls on their way to the players, with the names of the devices that are known by then.
type batch struct {
	calls []*Call
	names []string
}

// play performs everything that comes out of in, until it is closed.
func (p *Player) play(in <-chan batch) error {
	m := p.M
	if p.Reproduced != nil {
		p.Reproduced.listen(m.Env)
	}
	m.Eng.Go("replay", func(proc *sim.Proc) {
		defer m.Eng.Stop()
		for c := range m.Cores {
			p.threads = append(p.threads, m.Thread(proc, c))
		}
		for b := range in {
			for _, c := range b.calls {
				if p.err == nil {
					p.err = p.perform(c, b.names)
				}
			}
		}
		p.Elapsed = m.Eng.Now() - p.start
	})
	if err := m.Run(); err != nil {
		for range in { // the others go on
		}
		return err
	}
	return p.err
}

// device plugs in devices as the trace names them.
func (p *Player) device(i int, names []string) (*platform.Device, error) {
	for len(p.devs) <= i {
		d, err := p.M.AddDevice(names[len(p.devs)], uint16(len(p.devs)+1)<<8)
		if err != nil {
			return nil, err
		}
		p.devs = append(p.devs, d)
	}
	return p.devs[i], nil
}

// perform executes one call; an error ends the replay.
func (p *Player) perform(c *Call, names []string) error {
	d, err := p.device(c.Device, names)
	if err != nil {
		return err
	}
	t := p.threads[c.CPU]
	if !p.begun {
		p.begun, p.first, p.start = true, c.At, t.Now()
	}
	if at := p.start + c.At - p.first; at > t.Now() {
		t.Proc.SleepUntil(at)
	} else if at < t.Now() {
		p.Delayed++
	}
	dir := c.Dir
	if dir >= kernel.NoDirection {
		dir = kernel.Bidirectional
	}
	r := p.Reproduced
	if r != nil {
		r.got = r.got[:0]
	}
	if !c.Unmap {
		if r != nil {
			r.request(p.M.Env.Version, c)
		}
		h := p.take()
		if !p.place(h, c) {
			p.refuse(c, fmt.Errorf("%s: %d bytes at %#x are more than any piece of RAM holds", names[c.Device], c.Size, c.Runs[0].Phys))
			p.free = append(p.free, h)
			return nil
		}
		p.Around.Pass(t)
		if err := p.timed(t, c, &p.Map, func() error { return p.mapCall(t, d, h, dir, c.Attrs) }); err != nil {
			p.refuse(c, err)
			p.free = append(p.free, h)
			return nil
		}
		if r != nil {
			r.mapped(c, h)
		}
		p.held[c.ID] = h
		return nil
	}
	h := p.held[c.ID]
	if h == nil { // its map was refused
		if r != nil {
			r.refused(c)
		}
		return nil
	}
	delete(p.held, c.ID)
	p.move(t, d, h, dir)
	p.Around.Pass(t)
	err = p.timed(t, c, &p.Unmap, func() error { return p.unmapCall(t, d, h, dir, c.Attrs) })
	if r != nil {
		r.unmapped(c, h)
	}
	p.free = append(p.free, h)
	return err
}

func (p *Player) refuse(c *Call, err error) {
	p.Failures++
	if p.Reproduced != nil {
		p.Reproduced.refused(c)
	}
	if p.First == nil {
		p.First = err
	}
}

// take returns an empty held.
func (p *Player) take() *held {
	if n := len(p.free); n > 0 {
		h := p.free[n-1]
		p.free = p.free[:n-1]
		*h = held{phys: h.phys[:0], addrs: h.addrs[:0]}
		return h
	}
	return &held{}
}

// place decides where the pieces of c lie in this machine and which interface maps them.
func (p *Player) place(h *held, c *Call) bool {
	moved := false
	for _, r := range c.Runs {
		if c.How == Resource {
			at, ok := p.M.PlaceMMIO(r.Phys, r.Size)
			if !ok {
				return false
			}
			moved = moved || at != r.Phys
			h.phys = append(h.phys, iommucore.Segment{Phys: at, Size: r.Size})
			continue
		}
		b, m := p.M.Place(r.Phys, r.Size)
		if b.Size == 0 {
			return false
		}
		moved = moved || m
		h.phys = append(h.phys, iommucore.Segment{Phys: b.Phys, Size: b.Size})
	}
	if moved {
		p.Moved++
	}
	h.how = c.How
	if c.How == List || c.How == Link {
		switch {
		case p.M.Layer == nil || p.M.Opt.Backend.Passthrough() || len(h.phys) > listMost:
			h.how = Single
			p.PerRun++
		case c.How == Link && p.M.Env.Version != kernel.V7_3:
			h.how = List
		}
		h.list.VA = p.lists + p.next%listSlots*listBytes
		p.next++
	}
	return true
}

// timed runs call and measures it unless c is not to be.
func (p *Player) timed(t *cpu.Thread, c *Call, ops *[NumHow][Classes]*workloads.Op, call func() error) error {
	if c.Unmeasured {
		err := call()
		t.Sync()
		return err
	}
	o := &ops[c.How][ClassOf(c.Size)]
	if *o == nil {
		*o = workloads.NewOp(0)
	}
	return (*o).Measure(t, call)
}

// mapCall maps the pieces of h.
func (p *Player) mapCall(t *cpu.Thread, d *platform.Device, h *held, dir kernel.Direction, attrs kernel.Attrs) error {
	dev := d.Ctx.Dev
	switch h.how {
	case Resource:
		addr, err := d.Ctx.MapResource(t, h.phys[0].Phys, h.phys[0].Size, dir, attrs&^kernel.AttrMMIO)
		h.addrs = append(h.addrs, addr)
		return err
	case List:
		h.list.Reset()
		for _, s := range h.phys {
			h.list.Add(s.Phys, p.M.PageOf(s.Phys), s.Size)
		}
		if err := p.M.Layer.MapSG(t, dev, &h.list, dir, attrs); err != nil {
			return err
		}
		h.addrs = append(h.addrs, h.list.Entries[0].Addr)
		return nil
	case Link:
		h.st = iommudma.State{VA: h.list.VA}
		if !p.M.Layer.TryAlloc(t, dev, &h.st, h.phys[0].Phys, h.size()) {
			return iommudma.ErrNoIOVA
		}
		at := uint64(0)
		for _, s := range h.phys {
			if err := p.M.Layer.Link(t, dev, &h.st, s.Phys, at, s.Size, dir, attrs); err != nil {
				p.M.Layer.Destroy(t, dev, &h.st, at, dir, attrs)
				return err
			}
			at += s.Size
		}
		h.addrs = append(h.addrs, h.st.Addr)
		return p.M.Layer.Sync(t, dev, &h.st, 0, at)
	}
	for _, s := range h.phys {
		addr, err := p.Variant.Map(t, d.Ctx, dma.Buffer{Phys: s.Phys, Page: p.M.PageOf(s.Phys), Size: s.Size}, dir, attrs)
		if err != nil {
			p.unmapRuns(t, d, h, dir, attrs)
			return err
		}
		h.addrs = append(h.addrs, addr)
	}
	return nil
}

// unmapCall ends what mapCall made.
func (p *Player) unmapCall(t *cpu.Thread, d *platform.Device, h *held, dir kernel.Direction, attrs kernel.Attrs) error {
	dev := d.Ctx.Dev
	switch h.how {
	case Resource:
		return d.Ctx.UnmapResource(t, h.addrs[0], h.phys[0].Size, dir, attrs&^kernel.AttrMMIO)
	case List:
		p.M.Layer.UnmapSG(t, dev, &h.list, dir, attrs)
		return nil
	case Link:
		p.M.Layer.Destroy(t, dev, &h.st, h.size(), dir, attrs)
		return nil
	}
	return p.unmapRuns(t, d, h, dir, attrs)
}

func (p *Player) unmapRuns(t *cpu.Thread, d *platform.Device, h *held, dir kernel.Direction, attrs kernel.Attrs) error {
	for i, a := range h.addrs {
		if err := p.Variant.Unmap(t, d.Ctx, a, h.phys[i].Size, dir, attrs); err != nil {
			return err
		}
	}
	return nil
}

// size returns the bytes of all pieces.
func (h *held) size() (n uint64) {
	for _, s := range h.phys {
		n += s.Size
	}
	return n
}

// moveMost is how much of a buffer the device moves: what is beyond it costs host time and tells nothing new.
const moveMost = 1 << 20

// move lets the device transfer the buffer once; t waits until it is done.
func (p *Player) move(t *cpu.Thread, d *platform.Device, h *held, dir kernel.Direction) {
	if h.how == Resource {
		return
	}
	now, end, total := t.Now(), t.Now(), uint64(0)
	for i, a := range h.addrs {
		n := h.phys[i].Size
		if len(h.addrs) == 1 {
			n = h.size()
		}
		for n > 0 && total < moveMost {
			k := min(n, 4096-a&4095)
			var done sim.Time
			var err error
			if dir == kernel.ToDevice {
				done, err = d.Port.Read(d.RID, a, int(k), now)
			} else {
				done, err = d.Port.Write(d.RID, a, int(k), now)
			}
			if err != nil {
				p.Faults++
			}
			end = max(end, done)
			a, n, total = a+k, n-k, total+k
		}
	}
	t.Proc.SleepUntil(end)
}
