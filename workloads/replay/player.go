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
	// Maps and Unmaps are all of them together.
	Maps, Unmaps Pool
	// Failures counts maps that the simulated machine refused, measured or not; First is why the first of them was. They have no
	// cost in Map and Maps, and their unmaps are not performed.
	Failures int64
	First    error
	// Moved counts mappings that lie elsewhere in this machine's memory than in the traced one's.
	Moved int64
	// PerRun counts lists and linked requests that were mapped run by run, because there is no translation.
	PerRun int64
	// Faults counts transactions that the IOMMU refused; Delayed calls that began later than recorded, Late by how much in all, Latest the most.
	Faults, Delayed int64
	Late, Latest    sim.Time
	Elapsed         sim.Time
	// Done counts the calls that were taken, performed or not.
	Done int64
	// Plugged is told about every device when it is plugged in; nil: nobody asks.
	Plugged func(*platform.Device)
	// Reproduced compares the kernel's events with the recorded ones; nil: nobody asks.
	Reproduced *Reproduction

	// Plan says how many calls of a kind there will be: a timeline begins with the second half of them. nil: with the first call.
	Plan func(unmap bool, how How, class Class) int64

	devs    []*platform.Device
	threads []*cpu.Thread
	held    map[uint64]*held
	free    []*held
	lists   uint64 // virtual address of the memory for lists
	next    uint64
	begun   bool
	first   sim.Time   // trace time of the first call
	start   sim.Time   // simulated time of it
	last    []sim.Time // by CPU: simulated time at which its last call was over, less start
	err     error
}

// Pool is the cost of all measured calls of a kind together.
type Pool struct {
	Cycles *sim.Histogram
	Series sim.Series // cycles of every call in order
	// Pairs is Series with a zero for every call that was refused, or not performed because its map was: the calls of two machines in step.
	Pairs   sim.Series
	Refused int64 // those calls
	Total   int64 // cycles of all
}

func (p *Pool) add(cycles int64) {
	if p.Cycles == nil {
		p.Cycles = sim.NewHistogram(1<<32, 3)
	}
	p.Cycles.Add(cycles)
	p.Series.Add(cycles)
	p.Pairs.Add(cycles)
	p.Total += cycles
}

// refuse counts a call that was not performed.
func (p *Pool) refuse() {
	p.Refused++
	p.Pairs.Add(0)
}

// N returns how many calls were measured.
func (p *Pool) N() int64 { return int64(p.Series.N) }

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
	return &Player{M: m, Variant: v, Around: around, held: map[uint64]*held{}, lists: m.Env.Slab(listSlots*listBytes, 4096), last: make([]sim.Time, len(m.Cores))}
}

// batch is calls on their way to the players, with the names of the devices that are known by then.
type batch struct {
	calls []*Call
	names []string
}

// Perform performs calls, which may be shared with other players; names are those of the devices. done, unless nil, is told after every few calls
// how many more have been performed, and ends the replay by an error.
func (p *Player) Perform(calls []*Call, names []string, done func(n int) error) error {
	return p.play(func() (batch, bool) {
		n := min(len(calls), batchCalls)
		if n == 0 {
			return batch{}, false
		}
		b := batch{calls[:n], names}
		calls = calls[n:]
		if done != nil && p.Done > 0 {
			if err := done(batchCalls); err != nil {
				p.err = err
				return batch{}, false
			}
		}
		return b, true
	})
}

// play performs everything that next returns, until there is no more.
func (p *Player) play(next func() (batch, bool)) error {
	m := p.M
	if p.Reproduced != nil {
		p.Reproduced.listen(m.Env)
	}
	m.Eng.Go("replay", func(proc *sim.Proc) {
		defer m.Eng.Stop()
		for c := range m.Cores {
			p.threads = append(p.threads, m.Thread(proc, c))
		}
		for b, more := next(); more; b, more = next() {
			for _, c := range b.calls {
				if p.err == nil {
					p.err = p.perform(c, b.names)
					p.Done++
				}
			}
		}
		p.Elapsed = m.Eng.Now() - p.start
	})
	if err := m.Run(); err != nil {
		for _, more := next(); more; _, more = next() { // the others go on
		}
		return err
	}
	return p.err
}

// Flushes returns what the domains of all devices did.
func (p *Player) Flushes() (sum iommudma.Stats) {
	for _, d := range p.devs {
		if d.Cookie == nil {
			continue
		}
		s := &d.Cookie.Stats
		sum.Maps, sum.Unmaps, sum.Failures, sum.NotMapped = sum.Maps+s.Maps, sum.Unmaps+s.Unmaps, sum.Failures+s.Failures, sum.NotMapped+s.NotMapped
		sum.Queued, sum.Flushes, sum.TimerFlushes, sum.Fallback64 = sum.Queued+s.Queued, sum.Flushes+s.Flushes, sum.TimerFlushes+s.TimerFlushes, sum.Fallback64+s.Fallback64
	}
	return sum
}

// Forget lets go of the machine and everything on it; what was measured stays.
func (p *Player) Forget() {
	p.M, p.Around, p.devs, p.threads, p.held, p.free = nil, nil, nil, nil, nil, nil
}

// device plugs in devices as the trace names them.
func (p *Player) device(i int, names []string) (*platform.Device, error) {
	for len(p.devs) <= i {
		d, err := p.M.AddDevice(names[len(p.devs)], uint16(len(p.devs)+1)<<8)
		if err != nil {
			return nil, err
		}
		if tl := p.M.Eng.Timeline; tl != nil {
			d.Port.Show(tl, "PCIe "+names[len(p.devs)])
		}
		p.devs = append(p.devs, d)
		if p.Plugged != nil {
			p.Plugged(d)
		}
	}
	return p.devs[i], nil
}

// perform executes one call; an error ends the replay.
func (p *Player) perform(c *Call, names []string) error {
	d, err := p.device(c.Device, names)
	if err != nil {
		return err
	}
	if c.Skip {
		p.leave(c)
		return nil
	}
	t := p.threads[c.CPU]
	if !p.begun {
		p.begun, p.first, p.start = true, c.At, t.Now()
	}
	if at := p.start + c.At - p.first; at > t.Now() {
		t.Proc.SleepUntil(at)
	} else if at < t.Now() && !c.Unmeasured {
		p.Delayed++
		p.Late += t.Now() - at
		p.Latest = max(p.Latest, t.Now()-at)
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
		p.surround(t, c)
		if err := p.timed(t, c, &p.Map, &p.Maps, func() error { return p.mapCall(t, d, h, dir, c.Attrs) }); err != nil {
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
		if !c.Unmeasured {
			p.Unmaps.refuse()
		}
		return nil
	}
	delete(p.held, c.ID)
	p.move(t, d, h, dir)
	p.surround(t, c)
	err = p.timed(t, c, &p.Unmap, &p.Unmaps, func() error { return p.unmapCall(t, d, h, dir, c.Attrs) })
	if r != nil {
		r.unmapped(c, h)
	}
	p.free = append(p.free, h)
	return err
}

// leave counts a call that is not performed as one that costs nothing.
func (p *Player) leave(c *Call) {
	switch {
	case c.Unmeasured:
	case c.Unmap:
		p.Unmaps.refuse()
	default:
		p.Maps.refuse()
	}
}

func (p *Player) refuse(c *Call, err error) {
	p.Failures++
	if !c.Unmeasured {
		p.Maps.refuse()
	}
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

// surround lets what runs between two mapping calls displace caches, predictor and TLBs of the CPU. How much that is the trace does not say,
// only for how long it ran: in the state warm, the surroundings of the platform take as long as their instructions do, and what ran for a
// shorter time since the CPU's last call displaces as much less. Hot displaces nothing, cold everything however short the gap is.
func (p *Player) surround(t *cpu.Thread, c *Call) {
	t.Sync()
	share := 1.0
	if full := p.Around.Takes(); full > 0 && p.Around.Name == "warm" {
		gap := t.Now() - p.start - p.last[c.CPU]
		share = min(1, max(0, float64(gap)/float64(full)))
	}
	p.Around.DisplacePart(t.Core, share)
}

// timed runs call and measures it unless c is not to be. A call that fails is not measured.
func (p *Player) timed(t *cpu.Thread, c *Call, ops *[NumHow][Classes]*workloads.Op, pool *Pool, call func() error) error {
	defer func() { p.last[c.CPU] = t.Now() - p.start }()
	if c.Unmeasured {
		err := call()
		t.Sync()
		return err
	}
	o := &ops[c.How][ClassOf(c.Size)]
	if *o == nil {
		planned := int64(0)
		if p.Plan != nil {
			planned = p.Plan(c.Unmap, c.How, ClassOf(c.Size))
		}
		*o = workloads.NewOp(planned).Named(map[bool]string{false: "map", true: "unmap"}[c.Unmap])
	}
	s := (*o).Begin(t)
	if err := s.Call(t, call); err != nil {
		s.Drop()
		return err
	}
	s.End()
	pool.add(s.Cycles)
	return nil
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
