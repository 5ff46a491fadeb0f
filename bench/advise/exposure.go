package advise

import (
	"errors"
	"fmt"
	"math"

	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// Exposure is what a device could reach during one run besides the buffers that it had been given. Bytes are of memory that is not the
// buffer's own or not the device's any more.
type Exposure struct {
	// RAM is the share of random pages of RAM that the device reached before anything was mapped, 0 to 1; Total is the RAM, bytes.
	RAM   float64
	Total uint64
	// After unmaps: bytes of memory that could still be reached, as a mean over the run, and from the return of an unmap to the last access that got through,
	// over all unmapped buffers.
	After     float64
	Unmaps    int64
	Mean, Max sim.Time
	Windows   *sim.Histogram // ns, of the buffers that could be reached at all
	Open      int64          // buffers that were still reachable when nobody looked any more
	// Beside is the memory in the IOMMU pages of a buffer that is not the buffer's: bytes per map, and as a mean over time.
	Maps          int64
	Beside        float64
	BesideOverall float64
	// Kept are bytes that stayed mapped from before the middle of the run to its end: a pool.
	Kept float64
}

// Bytes is the mean over time of what the device could reach and should not.
func (e *Exposure) Bytes() float64 {
	if e.RAM > 0 {
		return e.RAM * float64(e.Total)
	}
	return e.After + e.BesideOverall + e.Kept
}

// Against is how one exposure compares with another.
type Against int8

// What comparing exposures comes to.
const (
	Less  Against = iota - 1 // of one kind or several, and more of none
	Same                     // of every kind
	More                     // of one kind or several, and less of none
	Other                    // more of one kind, less of another
)

// alike is the relative difference below which exposures are called the same: the number of buffers that are mapped at a time depends
// a little on how long calls take. least is the difference in bytes that is none in any case.
const (
	alike = 0.05
	least = 64
)

// Against compares e with f, kind by kind: memory that can be reached after an unmap is not made up for by a smaller pool.
func (e *Exposure) Against(f *Exposure) Against {
	kinds := [][2]float64{{e.After, f.After}, {e.BesideOverall, f.BesideOverall}, {e.Kept, f.Kept}}
	if e.RAM > 0 || f.RAM > 0 { // everything else is part of it
		kinds = [][2]float64{{e.RAM * float64(e.Total), f.RAM * float64(f.Total)}}
	}
	var less, more bool
	for _, k := range kinds {
		if d := k[0] - k[1]; math.Abs(d) > max(alike*max(k[0], k[1]), least) {
			less, more = less || d < 0, more || d > 0
		}
	}
	switch {
	case less && more:
		return Other
	case less:
		return Less
	case more:
		return More
	}
	return Same
}

const (
	// probe is how often the device tries what was unmapped: the resolution of a window.
	probe = 5 * sim.Microsecond
	// tries is how many pages of a buffer the device tries, spread evenly.
	tries = 4
	// samples is how many random pages of RAM it tries.
	samples = 256
	// after is how long it goes on after the run: ten times the flush queue's timeout.
	after = 100 * sim.Millisecond
)

// watch are devices that try to reach more than they should while a workload runs.
type watch struct {
	Exposure
	m     *platform.Machine
	seed  uint64
	devs  map[*kernel.Device]*device
	began sim.Time
	ended sim.Time // of the workload; sim.Never until then
	live  map[address]buffer
	open  []stale
	more  sim.Signal // there is something open
	err   error

	total      sim.Time            // of all windows
	area       float64             // bytes x picoseconds after unmaps, within the run
	until      map[uint64]sim.Time // by physical page: how far area counts it, so that a page with several stale addresses counts once
	beside     float64             // bytes beside the live buffers
	besideSum  float64             // of all maps
	besideArea float64             // bytes x picoseconds, until at
	at         sim.Time
}

// device is one of them.
type device struct {
	*platform.Device
	granule uint64
}

// address is one of a device.
type address struct {
	dev  *device
	addr uint64
}

// buffer is a range that the driver has mapped.
type buffer struct {
	size   uint64
	beside float64
	since  sim.Time
}

// stale is a page of a buffer that was unmapped and still answered.
type stale struct {
	dev      *device
	page     uint64
	phys     uint64 // what it leads to
	dir      kernel.Direction
	buf      *window
	unmapped sim.Time
	reached  sim.Time
	bytes    float64 // that the page stands for
}

// window is what the pages of one unmapped buffer have in common.
type window struct {
	longest sim.Time
	open    int // pages that still answer
}

// errEverything ends a run whose device reaches everything: what happens afterwards adds nothing.
var errEverything = errors.New("the device reaches all of RAM")

// newWatch returns the devices of m; they are plugged in by plug.
func newWatch(m *platform.Machine, seed uint64) *watch {
	w := &watch{Exposure: Exposure{Windows: sim.NewHistogram(int64(sim.Second/sim.Nanosecond), 3)}, m: m, seed: seed,
		devs: map[*kernel.Device]*device{}, live: map[address]buffer{}, until: map[uint64]sim.Time{}, ended: sim.Never}
	w.began, w.at = m.Eng.Now(), m.Eng.Now()
	w.more.Name, w.more.Owner = "a buffer was unmapped and can be reached", "the driver"
	m.Env.OnBuffer = w.buffer
	m.Eng.Go("a device that tries", w.try)
	return w
}

// plug adds a device. The first one tries random pages of RAM.
func (w *watch) plug(d *platform.Device) {
	own := &device{d, 4096}
	if d.Cookie != nil {
		own.granule = 1 << d.Cookie.IOVA.Shift()
	}
	if w.devs[d.Ctx.Dev] = own; len(w.devs) == 1 {
		w.everything(own)
	}
}

// measure runs u once more with a device that tries.
func (u *Setup) measure() (*Exposure, error) {
	if u.Trace != nil {
		return u.measureTrace()
	}
	var w *watch
	_, err := u.run(func(m *platform.Machine, d *platform.Device) (func(*workloads.Result) error, error) {
		w = newWatch(m, u.Exp.Seed)
		w.plug(d)
		if w.RAM > 0 {
			return nil, errEverything
		}
		return func(*workloads.Result) error { return w.finish(1, 0) }, nil
	})
	if err != nil && !errors.Is(err, errEverything) {
		return nil, err
	}
	return &w.Exposure, nil
}

// everything tries random pages of RAM.
func (w *watch) everything(d *device) {
	r := sim.NewRand(w.seed, "exposure")
	for _, g := range w.m.Memory() {
		if g.Kind.Linear() {
			w.Total += g.Size
		}
	}
	n := 0
	for range samples {
		if _, ok := d.reach(w.m.RandomRAM(r, 4096).Phys, kernel.Bidirectional); ok {
			n++
		}
	}
	w.RAM = float64(n) / samples
}

// reach is one access of the device in the direction of a mapping, both when it is for both or not known.
func (d *device) reach(addr uint64, dir kernel.Direction) (phys uint64, ok bool) {
	if dir != kernel.FromDevice {
		if pa, _, ok := d.Reach(addr, false); ok {
			return pa, true
		}
	}
	if dir != kernel.ToDevice {
		if pa, _, ok := d.Reach(addr, true); ok {
			return pa, true
		}
	}
	return 0, false
}

// foreign reports whether the device reaches memory at addr that does not belong to the bounce pool.
func (w *watch) foreign(d *device, addr uint64, dir kernel.Direction) bool {
	pa, _, ok := d.Reach(addr, dir == kernel.FromDevice)
	return ok && w.m.Tlb.Find(pa) == nil
}

// tick brings the integral over time up to now.
func (w *watch) tick() {
	now := w.m.Eng.Now()
	if w.ended == sim.Never {
		w.besideArea += w.beside * float64(now-w.at)
	}
	w.at = now
}

// buffer hears of a map or an unmap when it returns.
func (w *watch) buffer(ev kernel.BufferEvent) {
	d := w.devs[ev.Device]
	if d == nil || ev.Size == 0 {
		return
	}
	at := address{d, ev.Addr}
	w.tick()
	now := w.m.Eng.Now()
	if !ev.Unmap {
		w.reused(d, ev)
		b := buffer{size: ev.Size, since: now}
		for _, p := range d.pages(ev) {
			if _, ok := d.reach(p, ev.Dir); !ok && w.err == nil {
				w.err = fmt.Errorf("the device cannot reach %#x, which is mapped", p)
			}
		}
		if n := ev.Addr & (d.granule - 1); n > 0 && w.foreign(d, ev.Addr-1, ev.Dir) {
			b.beside += float64(n)
		}
		if n := -(ev.Addr + ev.Size) & (d.granule - 1); n > 0 && w.foreign(d, ev.Addr+ev.Size, ev.Dir) {
			b.beside += float64(n)
		}
		w.Maps++
		w.besideSum += b.beside
		w.beside += b.beside
		w.live[at] = b
		return
	}
	b, ok := w.live[at]
	if !ok {
		return // mapped before anybody looked
	}
	delete(w.live, at)
	w.beside -= b.beside
	w.Unmaps++
	var buf *window
	pages := d.pages(ev)
	for _, p := range pages {
		phys, ok := d.reach(p, ev.Dir)
		if !ok {
			continue
		}
		if buf == nil {
			buf = &window{}
		}
		buf.open++
		// What the page stands for: the buffer, and what lies beside it.
		w.open = append(w.open, stale{dev: d, page: p, phys: phys &^ (d.granule - 1), dir: ev.Dir, buf: buf, unmapped: now, reached: now, bytes: (float64(b.size) + b.beside) / float64(len(pages))})
	}
	if len(w.open) > 0 {
		w.more.Fire(now)
	}
}

// pages are the addresses that the device tries of a buffer.
func (d *device) pages(ev kernel.BufferEvent) []uint64 {
	first := ev.Addr &^ (d.granule - 1)
	n := (ev.Addr + ev.Size - first + d.granule - 1) / d.granule
	var list []uint64
	for i := range min(n, tries) {
		at := ev.Addr
		if k := i * (n - 1) / max(min(n, tries)-1, 1); k > 0 {
			at = first + k*d.granule
		}
		list = append(list, at)
	}
	return list
}

// reused ends the windows of addresses that have been given out again: what answers there from now on is another mapping.
func (w *watch) reused(d *device, ev kernel.BufferEvent) {
	first, last := ev.Addr&^(d.granule-1), ev.Addr+ev.Size-1
	keep := w.open[:0]
	for _, s := range w.open {
		if s.dev == d && s.page|(d.granule-1) >= first && s.page&^(d.granule-1) <= last {
			w.close(s)
			continue
		}
		keep = append(keep, s)
	}
	w.open = keep
}

func (w *watch) close(s stale) {
	d := s.reached - s.unmapped
	if from, to := max(s.unmapped, w.until[s.phys]), min(s.reached, w.ended); to > from {
		w.area += s.bytes * float64(to-from)
		w.until[s.phys] = to
	}
	if d > s.buf.longest {
		w.total += d - s.buf.longest
		s.buf.longest = d
	}
	w.Max = max(w.Max, d)
	if s.buf.open--; s.buf.open == 0 {
		w.Windows.Add(int64(s.buf.longest / sim.Nanosecond))
	}
}

// try is the device: at every step it tries all pages that answered the last time.
func (w *watch) try(p *sim.Proc) {
	for {
		if len(w.open) == 0 && w.ended == sim.Never {
			w.more.Wait(p)
		}
		p.SleepUntil(p.Now() + probe)
		over := w.ended != sim.Never && p.Now() >= w.ended+after
		keep := w.open[:0]
		for _, s := range w.open {
			if _, ok := s.dev.reach(s.page, s.dir); ok {
				s.reached = p.Now()
				if !over {
					keep = append(keep, s)
					continue
				}
				w.Open++
			}
			w.close(s)
		}
		w.open = keep
		if w.ended != sim.Never && len(w.open) == 0 {
			w.m.Eng.Stop()
			return
		}
	}
}

// finish looks on until nothing answers any more, and sums up. What was performed is one of scale such runs, which together took span; span 0 is
// the time that this one took.
func (w *watch) finish(scale float64, span sim.Time) error {
	w.tick()
	w.ended = w.m.Eng.Now()
	if w.ended == w.began {
		return w.err
	}
	kept := uint64(0) // a sum of whole numbers does not depend on the order
	for _, b := range w.live {
		if b.since <= w.began+(w.ended-w.began)/2 {
			kept += b.size
		}
	}
	w.Kept = float64(kept)
	w.m.Env.OnBuffer = nil
	if len(w.open) > 0 {
		if err := w.m.Run(); err != nil {
			return err
		}
	}
	if span == 0 {
		span = w.ended - w.began
	}
	w.After = w.area * scale / float64(span)
	w.BesideOverall = w.besideArea * scale / float64(span)
	if w.Maps > 0 {
		w.Beside = w.besideSum / float64(w.Maps)
	}
	if w.Unmaps > 0 {
		w.Mean = w.total / sim.Time(w.Unmaps)
	}
	return w.err
}
