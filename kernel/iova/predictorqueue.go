package iova

import (
	"math/bits"
	"slices"

	"dmapath/kernel/timer"
	"dmapath/sim"
)

// Lazy mode's hypotheses.
const (
	beam     = 80 // hypotheses kept
	fqSize   = 256
	fqPeriod = 10 * sim.Millisecond
)

// predictorQueue is the flush queues of one hypothesis.
type predictorQueue struct {
	lo, hi        sim.Time // ticks are at n jiffies plus something in [lo, hi)
	start, finish uint64
	rings         [][]waiting
	armed         bool
	armedAt       sim.Time
	armedOn       int
	base          sim.Time  // the timer expires at base plus the phase; 0: not worked out yet
	late          int       // ticks that the timer has been put off
	begun         bool      // the hypotheses about the first timer have been made
	batch         []waiting // what the last timer reaped
}

type waiting struct {
	at      sim.Time
	pfn     uint64
	order   int
	counter uint64
}

func newPredictorQueue(cpus int) *predictorQueue {
	return &predictorQueue{hi: timer.Jiffy, rings: make([][]waiting, cpus)}
}

// add is queue_iova.
func (q *predictorQueue) add(h *hypothesis, at sim.Time, c int, pfn, pages uint64) {
	q.reap(h, at, c, c)
	if len(q.rings[c]) == fqSize-1 {
		q.start++
		q.finish++
		q.reap(h, at, c, c)
	}
	q.rings[c] = append(q.rings[c], waiting{at, pfn, order(pages), q.start})
	if !q.armed {
		q.arm(at, c)
	}
}

func (q *predictorQueue) arm(at sim.Time, c int) {
	q.armed, q.armedAt, q.armedOn, q.base, q.late = true, at, c, 0, 0
}

// expiry works out when the timer runs, as far as the phase is known. When two jiffies are possible it returns a
// second hypothesis for the other one.
func (h *hypothesis) expiry() (other *hypothesis) {
	q := h.queue
	r := q.armedAt % timer.Jiffy // with a phase up to r the last tick was in this jiffy, else in the one before
	base := timer.Expiry(q.armedAt, fqPeriod)
	switch {
	case q.hi <= r+1:
		q.base = base
	case q.lo > r:
		q.base = base - timer.Jiffy
	default:
		other = h.clone()
		other.queue.lo, other.queue.base = r+1, base-timer.Jiffy
		q.hi, q.base = r+1, base
	}
	return other
}

// reap is fq_ring_free_locked of ring r on CPU c.
func (q *predictorQueue) reap(h *hypothesis, at sim.Time, r, c int) {
	ring := q.rings[r]
	n := 0
	for n < len(ring) && ring[n].counter < q.finish {
		if w := ring[n]; w.order < Orders {
			h.put(at, c, w.pfn, w.order)
		}
		n++
	}
	q.rings[r] = slices.Delete(ring, 0, n)
}

// fire is fq_flush_timeout on CPU c at time at, which may lie in the past: what was queued later stays, and the first of
// that has armed the timer again.
func (q *predictorQueue) fire(h *hypothesis, at sim.Time, c int) {
	h.moved = -1
	if c != q.armedOn {
		h.moved = 1
	}
	q.armed = false
	q.start++
	q.finish++
	again := sim.Never
	q.batch = q.batch[:0]
	for r := range q.rings {
		ring := q.rings[r]
		n := 0
		for ; n < len(ring) && ring[n].at <= at; n++ {
			if w := ring[n]; w.order < Orders {
				h.put(at, c, w.pfn, w.order)
				q.batch = append(q.batch, w)
			}
		}
		q.rings[r] = slices.Delete(ring, 0, n)
		for i := range q.rings[r] {
			q.rings[r][i].counter = q.start
		}
		if len(q.rings[r]) > 0 && q.rings[r][0].at < again {
			again = q.rings[r][0].at
			q.arm(again, r)
		}
	}
}

// rebatch moves what the last timer reaped onto CPU from, among it pfn, to CPU to. false: pfn was not among it.
func (q *predictorQueue) rebatch(h *hypothesis, from, to int, pfn uint64) bool {
	if !slices.ContainsFunc(q.batch, func(w waiting) bool { return w.pfn == pfn }) {
		return false
	}
	x := &h.cpus[from]
	for _, w := range q.batch {
		if drop(&x.loaded[w.order], w.pfn) || drop(&x.prev[w.order], w.pfn) {
			h.put(w.at, to, w.pfn, w.order)
		}
	}
	h.moved = -h.moved
	return true
}

// holds returns when pfn was queued; ok is false when it does not wait.
func (q *predictorQueue) holds(pfn uint64) (at sim.Time, ok bool) {
	for _, ring := range q.rings {
		for _, w := range ring {
			if w.pfn == pfn {
				return w.at, true
			}
		}
	}
	return 0, false
}

// early returns what h may have been in truth when CPU c was given a frame at time at that seemed to wait since time
// since: the timer ran before, at one of the ticks between, on that CPU.
func (h *hypothesis) early(at, since sim.Time, c int) (out []*hypothesis) {
	q := h.queue
	phase := (q.lo + q.hi) / 2
	tick := (at-phase)/timer.Jiffy*timer.Jiffy + phase
	for n := 0; n < 4 && tick >= since; n++ {
		k := h.clone()
		k.queue.fire(k, tick, c)
		out = append(out, k)
		tick -= timer.Jiffy
	}
	if out == nil {
		h.queue.fire(h, at, c)
		out = []*hypothesis{h}
	}
	return out
}

// forget removes a frame that was allocated although it seemed to wait.
func (q *predictorQueue) forget(pfn uint64) {
	for r := range q.rings {
		for i, w := range q.rings[r] {
			if w.pfn == pfn {
				q.rings[r] = slices.Delete(q.rings[r], i, i+1)
				return
			}
		}
	}
}

// branch lets the flush timers that are due run, on each CPU in a hypothesis of its own. The CPU that armed the timer, or
// the next one if timers have mostly been seen to move, comes first. A timer that may or may not have run by now
// divides the hypothesis, and with it what is known of the phase.
func (p *Predictor) branch(at sim.Time) {
	work := p.hyps
	grew := false
	var out []*hypothesis
	for i := 0; i < len(work); i++ {
		h := work[i]
		q := h.queue
		if !q.armed {
			out = append(out, h)
			continue
		}
		if q.base == 0 {
			if other := h.expiry(); other != nil {
				work = append(slices.Clone(work), other)
				grew = true
			}
		}
		if q.base+q.lo > at {
			out = append(out, h)
			continue
		}
		grew = true
		if i == 0 { // what the timer before this one did is settled by now, as far as it ever will be
			switch h.moved {
			case -1:
				p.moved[0]++
			case 1:
				p.moved[1]++
			}
		}
		if cut := at - q.base + 1; cut < q.hi { // phases from cut on: it has not run yet
			k := h.clone()
			k.queue.lo = cut
			q.hi = cut
			out = append(out, k)
		} else if q.late == 0 { // or it runs later than it should
			k := h.clone()
			k.queue.late++
			k.queue.base += timer.Jiffy
			k.wrong += 2
			out = append(out, k)
		}
		cpus := len(h.cpus)
		first := q.armedOn
		if p.moved[1] > p.moved[0] {
			first = (first + 1) % cpus
		}
		for n := 1; n < cpus; n++ {
			k := h.clone()
			k.queue.fire(k, at, (first+n)%cpus)
			k.wrong++ // less likely; one good prediction makes up for it
			out = append(out, k)
		}
		q.fire(h, at, first)
		out = append(out, h)
	}
	if grew {
		p.hyps = out
		p.rank()
	}
}

// restart forgets what was believed of the phase and of the pending timer, but not the magazines: the timer may be off,
// or run at one of the next ticks.
func (p *Predictor) restart(at sim.Time) {
	h := p.hyps[0]
	q := h.queue
	q.begun, q.lo, q.hi, q.late, h.wrong = true, 0, timer.Jiffy, 0, 0
	q.armed = false
	p.hyps = []*hypothesis{h}
	for n := sim.Time(-1); n < 4; n++ {
		k := h.clone()
		k.queue.arm(at, 0)
		k.queue.base = (at/timer.Jiffy + n) * timer.Jiffy
		k.queue.lo = max(0, at-k.queue.base) // it has not run yet
		if k.queue.lo < k.queue.hi {
			p.hyps = append(p.hyps, k)
		}
	}
	p.late = 0
}

// doubt starts over when 6 of the last 16 predictions failed: then the truth is among no hypothesis any more.
func (p *Predictor) doubt(at sim.Time, v Verdict) {
	if p.hyps[0].queue == nil {
		return
	}
	p.late <<= 1
	if v == Wrong {
		p.late |= 1
	}
	if bits.OnesCount16(p.late) >= 6 {
		p.restart(at)
	}
}

// surprise replaces the hypotheses in which pfn, which was just handed out, still waits for a flush.
func (p *Predictor) surprise(at sim.Time, c int, pfn uint64) {
	if p.hyps[0].queue == nil || !p.seen[pfn] {
		return
	}
	var out []*hypothesis
	for _, h := range p.hyps {
		if since, ok := h.queue.holds(pfn); ok {
			h.wrong++
			out = append(out, h.early(at, since, c)...)
		} else {
			out = append(out, h)
		}
	}
	p.hyps = out
	p.rank()
}

// rank orders the hypotheses by how often they were wrong and drops the worst.
func (p *Predictor) rank() {
	if len(p.hyps) == 1 {
		return
	}
	slices.SortStableFunc(p.hyps, func(a, b *hypothesis) int { return a.wrong - b.wrong })
	if len(p.hyps) > beam {
		p.hyps = p.hyps[:beam]
	}
}

// clone copies a hypothesis.
func (h *hypothesis) clone() *hypothesis {
	c := &hypothesis{cpus: make([]predictorCPU, len(h.cpus)), wrong: h.wrong, moved: h.moved}
	for i := range h.cpus {
		for o := range Orders {
			c.cpus[i].loaded[o] = slices.Clone(h.cpus[i].loaded[o])
			c.cpus[i].prev[o] = slices.Clone(h.cpus[i].prev[o])
		}
	}
	for o := range h.depot {
		c.depot[o] = predictorDepot{slices.Clone(h.depot[o].mags), h.depot[o].trim}
		for i := range c.depot[o].mags {
			c.depot[o].mags[i].pfns = slices.Clone(c.depot[o].mags[i].pfns)
		}
	}
	q := *h.queue
	q.rings = make([][]waiting, len(h.queue.rings))
	for i := range q.rings {
		q.rings[i] = slices.Clone(h.queue.rings[i])
	}
	q.batch = slices.Clone(q.batch)
	c.queue = &q
	return c
}
