package advise

import (
	"context"
	"errors"
	"fmt"
	"math"

	"dmapath/bench"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/iova"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads/replay"
)

// Trace is a recorded workload: the calls of a trace that was read and not performed.
type Trace struct {
	*bench.ReplayCalls

	found Found
}

// NewTrace looks at the calls of a trace.
func NewTrace(c *bench.ReplayCalls) *Trace {
	return &Trace{ReplayCalls: c, found: find(c.Calls())}
}

// tracedWorkload is what the workload of a traced setup is called.
const tracedWorkload = "trace"

// perMap is how many unmaps there are per map of the calls that are performed, and how many maps.
func (t *Trace) perMap() (unmaps float64, maps int64) {
	var n [2]int64
	for _, c := range t.Calls() {
		if !c.Unmeasured && c.Unmap {
			n[1]++
		} else if !c.Unmeasured {
			n[0]++
		}
	}
	return float64(n[1]) / float64(max(n[0], 1)), n[0]
}

// scale is how many times as many calls the trace has as are performed.
func (t *Trace) scale() float64 {
	_, kept := t.perMap()
	maps, _ := t.Trace().Calls()
	return float64(maps) / float64(max(kept, 1))
}

// Baseline guesses from the trace what it was recorded on: the backend, and the newest call of its kernel.
func (t *Trace) Baseline(s *platform.Spec) (backend, variant string) {
	ext := &t.Trace().Extent
	variant = "map_phys@7.3"
	if ext.Known && ext.Version == kernel.V6_12 {
		variant = "map_page@6.12"
	}
	if !ext.Translated {
		backend = string(platform.IommuPassthrough)
		if s.CheckBackend(platform.IommuPassthrough) != nil {
			backend = string(platform.Direct)
		}
		return backend, variant
	}
	lazy, strict := 0, 0
	for _, d := range t.Trace().Devices {
		switch {
		case d.Prediction == nil:
		case d.Prediction.Lazy:
			lazy += judged(d)
		default:
			strict += judged(d)
		}
	}
	if lazy > strict {
		return string(platform.IommuLazy), variant
	}
	return string(platform.IommuStrict), variant
}

// judged is how many allocations of addresses were predicted.
func judged(d *replay.Device) int {
	c := d.Prediction.Count()
	return c[iova.Exact] + c[iova.Wrong]
}

// perform has a machine perform the calls of u; begin is bench.ReplayCalls.Perform's.
func (u *Setup) perform(begin func(p *replay.Player) (goOn, end func() error)) (*replay.Player, error) {
	calls := u.Trace.Calls()
	for _, shape := range u.shapes {
		calls = shape(calls)
	}
	return u.Trace.Perform(context.Background(), u.Platform, string(u.backend()), u.variant(), calls, func(p *replay.Player) (func() error, func() error) {
		goOn, end := begin(p)
		plugged := p.Plugged
		p.Plugged = func(d *platform.Device) {
			d.Ctx.Dev.Untrusted = u.Untrusted
			if plugged != nil {
				plugged(d)
			}
		}
		return goOn, end
	})
}

// traced is the run of a trace.
type traced struct {
	*replay.Player
	trace *Trace
	clock sim.Clock
}

func (t traced) payload() float64        { return 0 }
func (t traced) gaps() *sim.Series       { return nil }
func (t traced) hz() int64               { return t.clock.Hz() }
func (t traced) count() int64            { return int64(t.Maps.Pairs.N) }
func (t traced) cpus() int               { return 1 }
func (t traced) trouble() (int64, int64) { return 0, t.Faults }

// rate is that of the trace: how many maps it has per second.
func (t traced) rate() (float64, float64) {
	maps, _ := t.trace.Trace().Calls()
	return float64(maps) * float64(sim.Second) / float64(t.trace.Trace().Extent.Span()), math.NaN()
}

func (t traced) parts(float64) []part {
	unmaps, _ := t.trace.perMap()
	return []part{{series: &t.Maps.Pairs, per: 1, all: true, total: t.Maps.Total}, {series: &t.Unmaps.Pairs, per: unmaps, all: true, total: t.Unmaps.Total}}
}

func (t traced) causes(float64) (c Causes) {
	_, maps := t.trace.perMap()
	for h := range replay.NumHow {
		for k := range replay.Classes {
			if o := t.Map[h][k]; o != nil {
				c.add(o.Acct.Total(), 1/float64(maps))
			}
			if o := t.Unmap[h][k]; o != nil {
				c.add(o.Acct.Total(), 1/float64(maps))
			}
		}
	}
	return c
}

// costOfTrace is cost for a trace. A machine that refuses maps which the traced one made is a failure: the driver would have to do something else.
func (u *Setup) costOfTrace() (ran, error) {
	t := traced{trace: u.Trace}
	p, err := u.perform(func(p *replay.Player) (func() error, func() error) {
		t.clock = p.M.Clock
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	if p.Failures > 0 {
		maps, _ := u.Trace.Trace().Calls()
		return nil, fmt.Errorf("%d of the trace's maps are refused (%d were performed of %d); the first: %w", p.Failures, p.Maps.N(), maps, p.First)
	}
	t.Player = p
	return t, nil
}

// measureTrace is measure for a trace.
func (u *Setup) measureTrace() (*Exposure, error) {
	var w *watch
	_, err := u.perform(func(p *replay.Player) (goOn, end func() error) {
		w = newWatch(p.M, u.Exp.Seed)
		p.Plugged = w.plug
		goOn = func() error {
			if w.RAM > 0 {
				return errEverything
			}
			return nil
		}
		return goOn, func() error { return w.finish(u.Trace.scale(), u.Trace.Trace().Extent.Span()) }
	})
	if err != nil && !errors.Is(err, errEverything) {
		return nil, err
	}
	return &w.Exposure, nil
}

// checkTrace is check for a trace.
func (u *Setup) checkTrace() error {
	if _, maps := u.Trace.perMap(); maps == 0 || u.Trace.Trace().Extent.Span() <= 0 {
		return fmt.Errorf("%s: there is no map in it whose cost could be saved: want dma:* events, of some time", u.Trace.Name())
	}
	x := bench.Replay{Name: u.Trace.Name(), Variants: u.Exp.Variants, Backends: u.Exp.Backends, Cache: u.Exp.Caches[0]}
	if err := x.Validate(); err != nil {
		return err
	}
	v, err := dma.Lookup(u.variant())
	if err != nil {
		return err
	}
	return u.Platform.Fits(v.Version(), u.backend())
}

// traceChanges are what a trace can be asked about besides protection.
func (u *Setup) traceChanges() (list []*Change) {
	reshaped := func(name string, d Dimension, needs string, s reshape) {
		list = append(list, &Change{Name: name, Dimension: d, Needs: needs, apply: func(v *Setup) { v.shapes = append(v.shapes[:len(v.shapes):len(v.shapes)], s) }})
	}
	f := u.Trace.found
	if f.Again > 0 {
		reshaped("pool of recurring buffers", Buffers, "a change of the driver: page_pool, or buffers of its own that stay mapped and are synced; the two inlined tests per use in place of the calls are not performed here", pool)
	}
	if f.Joined > 0 {
		reshaped("neighbours mapped at once", Buffers, "a change of driver or stack, so that it knows of the whole when it maps: larger buffers, pages of a higher order", join)
	}
	const linked = "a change of the driver: dma_iova_try_alloc, a link per piece, one sync; it invalidates at once in lazy mode too"
	switch {
	case f.Lists == 0:
	case u.newest():
		reshaped("iova_link for lists", Call, linked, links)
	default:
		reshaped("iova_link@7.3 for lists", Call, "kernel 7.3 and "+linked, links)
		c := list[len(list)-1]
		shape := c.apply
		c.apply = func(v *Setup) {
			shape(v)
			v.Exp.Variants = []string{"map_phys@7.3"}
		}
	}
	return list
}

// blind says what the trace cannot tell.
func (t *Trace) blind() []string {
	list := []string{
		"Backend and call of the baseline are those that the trace was recorded on, as far as its events show, unless they are given.",
		"A trace says when calls were made, not what waited for them: no throughput is said, and calls of different CPUs are performed one after the other.",
		"What lies beside a buffer in its pages, whether a device is trusted, and how long the CPU has a buffer in hand is not in it.",
		"Whether the driver could know of neighbours in time to map them at once, or give a buffer to a pool, is not in it: the savings are what is there to be had.",
	}
	if t.scale() > 1.01 {
		list = append(list, "Of a sample, memory that recurs or lies side by side across its windows is not seen: pools and neighbours may save more.")
	}
	return list
}

// table says what the trace shows about how its memory is used.
func (t *Trace) table() *results.Table {
	f := &t.found
	tab := &results.Table{ID: "trace", Title: t.Name() + ": what it shows about its memory, of the calls performed", Columns: []results.Column{{Name: "what", Text: true}, {Name: "count"}, {Name: "share", Unit: "%", Decimals: 1}}}
	add := func(what string, n, of int64) {
		share := math.NaN()
		if of > 0 {
			share = 100 * float64(n) / float64(of)
		}
		tab.Add(what, n, share)
	}
	add("single mappings", f.Maps, 0)
	add("of memory mapped before (a pool)", f.Again, f.Maps)
	add("bytes that the pool would hold", int64(f.Pool), 0)
	add("neighbours of another (one map)", f.Joined, f.Maps)
	add("scatterlists that could be links", f.Lists, 0)
	tr := t.Trace()
	for _, n := range []struct {
		what string
		n    int64
	}{{"events the tracer lost", tr.Lost}, {"malformed lines", tr.Malformed}, {"unmaps of older mappings, skipped", tr.Older}} {
		if n.n > 0 {
			tab.Add(n.what, n.n, nil)
		}
	}
	tab.Notes = []string{"mapped before: the same memory for the same device and direction as an earlier map. neighbours: maps of one CPU, device and direction that follow each other within 20 us, each behind or before the others in physical memory, mapped at the same time, up to 128 KiB."}
	return tab
}
