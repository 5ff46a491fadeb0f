package iova

import (
	"slices"

	"dmapath/kernel/timer"
	"dmapath/sim"
)

// Verdict says how a recorded allocation compares with what the allocator would have handed out.
type Verdict uint8

// Verdicts. The rate of a replay is Exact / (Exact + Wrong).
const (
	// Exact: the history in the trace determines the IOVA, and it is the recorded one.
	Exact Verdict = iota
	// Wrong: the history determines another IOVA, or the recorded one was freed earlier in the trace and was not predicted.
	Wrong
	// Older: the IOVA comes from a state older than the trace, which never saw it freed; nothing was claimed.
	Older
	// OlderGuessed is Older, but continuing downwards from the last allocation of the tree named it all the same.
	OlderGuessed
)

func (v Verdict) String() string { return [...]string{"exact", "wrong", "older", "older, guessed"}[v] }

// Predictor replays recorded allocations and frees of one domain against the allocator's rules, starting in the middle
// of its life: what magazines, depots and the tree held when the trace began is unknown and is learned. Magazines
// start out empty as far as is known; when a recorded allocation shows that one boundary between magazines lies
// elsewhere, or that a magazine travelled through the depot, the state is corrected, so that one surprise costs one
// prediction.
//
// In lazy mode frees wait in flush queues until a timer that no event shows. When it runs depends on the phase of the
// tick, and on which CPU on who was idle: the predictor keeps several hypotheses about both, predicts from the one that
// was right most often, and drops those that fail.
type Predictor struct {
	seen  map[uint64]bool // frames that the trace saw freed
	tree  predictorTree
	hyps  []*hypothesis // best first; one in strict mode
	moved [2]int        // flush timers seen to run where they were armed, and elsewhere
	late  uint16        // lazy mode: which of the last 16 allocations were wrong
	Count [4]int        // by Verdict
}

// NewPredictor returns a predictor for a machine of cpus CPUs. lazy says that frees go through flush queues.
func NewPredictor(cpus int, lazy bool) *Predictor {
	p := &Predictor{seen: map[uint64]bool{}}
	p.tree.init(cpus)
	if !lazy {
		p.hyps = []*hypothesis{newHypothesis(cpus)}
		return p
	}
	h := newHypothesis(cpus)
	h.queue = newPredictorQueue(cpus)
	p.hyps = []*hypothesis{h}
	return p
}

// Predict returns the frame that an allocation of pages on CPU c at time at gets. known is false when it depends on
// a state older than the trace; pfn is then a guess, or 0.
func (p *Predictor) Predict(at sim.Time, c int, pages uint64) (pfn uint64, known bool) {
	p.advance(at)
	if pfn, ok := p.hyps[0].top(c, order(pages)); ok {
		return pfn, pfn != 0
	}
	pfn = p.tree.guess(rounded(pages))
	return pfn, pfn != 0 && p.seen[pfn]
}

// rounded is the size that alloc_iova_fast takes for a request of pages.
func rounded(pages uint64) uint64 {
	if o := order(pages); o < Orders {
		return 1 << o
	}
	return pages
}

// Alloc replays an allocation: it predicts, compares with the recorded frame, and learns from it.
func (p *Predictor) Alloc(at sim.Time, c int, pages, pfn uint64) Verdict {
	guess, known := p.Predict(at, c, pages)
	v := Older
	switch {
	case guess == pfn && (known || p.seen[pfn]):
		v = Exact
	case guess == pfn:
		v = OlderGuessed
	case known || p.seen[pfn]:
		v = Wrong
	}
	p.Count[v]++
	p.doubt(at, v)
	o := order(pages)
	if o >= Orders {
		p.tree.take(pfn, pages)
		return v
	}
	p.surprise(at, c, pfn)
	for i, h := range p.hyps {
		if got, ok := h.top(c, o); ok && got != pfn || !ok && p.seen[pfn] {
			h.wrong++
		}
		if !h.learn(c, o, pfn) && i == 0 {
			p.tree.take(pfn, 1<<o)
		}
	}
	p.rank()
	return v
}

// Bounds of what a predictor remembers, so that a trace of any length or kind takes the same memory: frames that were freed (all of 4 GiB, twice), and
// magazines of a depot. A kernel that only frees does not exist, a trace of one does.
const (
	maxSeen  = 1 << 21
	maxDepot = 1 << 12
)

// freed remembers that the trace saw pfn freed.
func (p *Predictor) freed(pfn uint64) {
	if len(p.seen) < maxSeen {
		p.seen[pfn] = true
	}
}

// Free replays an unmap on CPU c: to its magazines, or in lazy mode to its flush queue.
func (p *Predictor) Free(at sim.Time, c int, pfn, pages uint64) {
	p.advance(at)
	p.freed(pfn)
	for i, h := range p.hyps {
		switch {
		case h.queue != nil:
			h.queue.add(h, at, c, pfn, pages)
		case order(pages) < Orders:
			h.put(at, c, pfn, order(pages))
		}
		if i == 0 && order(pages) >= Orders {
			p.tree.free(pfn, pages)
		}
	}
}

// FreeNow replays a free that never waits in a flush queue: dma_iova_free of 7.3's two-step interface, which has
// invalidated already.
func (p *Predictor) FreeNow(at sim.Time, c int, pfn, pages uint64) {
	p.advance(at)
	p.freed(pfn)
	if order(pages) >= Orders {
		p.tree.free(pfn, pages)
		return
	}
	for _, h := range p.hyps {
		h.put(at, c, pfn, order(pages))
	}
}

// advance runs the depots' trim work, and the flush timer, up to time at.
func (p *Predictor) advance(at sim.Time) {
	if q := p.hyps[0].queue; q != nil {
		if !q.begun {
			p.restart(at)
		}
		p.branch(at)
	}
	for i, h := range p.hyps {
		h.trim(at, func(pfn, pages uint64) {
			if i == 0 {
				p.tree.free(pfn, pages)
			}
		})
	}
}

// hypothesis is one possible state of the magazines, depots and flush queues.
type hypothesis struct {
	cpus  []predictorCPU
	depot [Orders]predictorDepot
	queue *predictorQueue // lazy mode
	wrong int             // allocations it did not foresee
	moved int             // 1 when the last flush timer ran elsewhere than where it was armed, -1 when there, 0 none yet
}

// predictorCPU is one CPU's magazines per order; the last element of a stack is its top, 0 an unknown frame.
type predictorCPU struct {
	loaded, prev [Orders][]uint64
}

type predictorDepot struct {
	mags []predictorMag // full magazines, the last is the first to be taken
	trim sim.Time       // when the trim work runs; 0: not pending
}

// predictorMag is a full magazine and the CPU that filled it.
type predictorMag struct {
	cpu  int
	pfns []uint64
}

func newHypothesis(cpus int) *hypothesis { return &hypothesis{cpus: make([]predictorCPU, cpus)} }

// top returns the frame that CPU c would take next for order o; ok is false when only the tree is left.
func (h *hypothesis) top(c, o int) (pfn uint64, ok bool) {
	if o >= Orders {
		return 0, false
	}
	m := &h.cpus[c]
	for _, s := range [][]uint64{m.loaded[o], m.prev[o]} {
		if n := len(s); n > 0 {
			return s[n-1], true
		}
	}
	if mags := h.depot[o].mags; len(mags) > 0 {
		return mags[len(mags)-1].pfns[MagazineSize-1], true
	}
	return 0, false
}

// put is free_iova_fast of a range of order o.
func (h *hypothesis) put(at sim.Time, c int, pfn uint64, o int) {
	m := &h.cpus[c]
	if len(m.loaded[o]) >= MagazineSize {
		m.loaded[o], m.prev[o] = m.prev[o], m.loaded[o]
		if len(m.loaded[o]) >= MagazineSize {
			// Both full: the magazine that was loaded goes to the depot.
			m.loaded[o], m.prev[o] = m.prev[o], m.loaded[o]
			h.push(at, c, o, m.loaded[o])
			m.loaded[o] = nil
		}
	}
	m.loaded[o] = append(m.loaded[o], pfn)
}

func (h *hypothesis) push(at sim.Time, c, o int, mag []uint64) {
	d := &h.depot[o]
	if len(d.mags) >= maxDepot {
		d.mags = slices.Delete(d.mags, 0, maxDepot/2)
	}
	d.mags = append(d.mags, predictorMag{c, mag})
	if d.trim == 0 {
		d.trim = timer.Expiry(at, DepotDelay)
	}
}

// trim runs the depots' delayed work up to time at; free receives the ranges that go back to the tree.
func (h *hypothesis) trim(at sim.Time, free func(pfn, pages uint64)) {
	for o := range h.depot {
		for d := &h.depot[o]; d.trim != 0 && d.trim <= at; {
			if len(d.mags) <= len(h.cpus) {
				d.trim = 0
				break
			}
			m := d.mags[len(d.mags)-1]
			d.mags = d.mags[:len(d.mags)-1]
			for _, pfn := range m.pfns {
				if pfn != 0 {
					free(pfn, 1<<o)
				}
			}
			d.trim = timer.Expiry(d.trim, DepotDelay)
		}
	}
}

// learn makes the state one in which CPU c was just given frame pfn of order o. false: it came from the tree, or from
// before the trace.
func (h *hypothesis) learn(c, o int, pfn uint64) bool {
	if h.queue != nil {
		h.queue.forget(pfn)
	}
	m := &h.cpus[c]
	if len(m.loaded[o]) == 0 && len(m.prev[o]) > 0 {
		m.loaded[o], m.prev[o] = m.prev[o], m.loaded[o]
	}
	d := &h.depot[o]
	if len(m.loaded[o]) == 0 && len(d.mags) > 0 && d.mags[len(d.mags)-1].pfns[MagazineSize-1] == pfn {
		m.loaded[o] = d.mags[len(d.mags)-1].pfns
		d.mags = d.mags[:len(d.mags)-1]
	}
	// As predicted, or a little below the top: an interrupt freed something between allocation and record.
	return drop(&m.loaded[o], pfn) || drop(&m.prev[o], pfn) || h.fromDepot(c, o, pfn) || h.fromOther(c, o, pfn)
}

// drop removes pfn from s, searching from the top.
func drop(s *[]uint64, pfn uint64) bool {
	for i := len(*s) - 1; i >= 0; i-- {
		if (*s)[i] == pfn {
			*s = slices.Delete(*s, i, i+1)
			return true
		}
	}
	return false
}

// fromDepot handles a frame out of a depot magazine that was not expected next. It was the top of its magazine in
// truth: if it is not in the model, the boundaries between the magazines of the CPU that filled it are shifted.
func (h *hypothesis) fromDepot(c, o int, pfn uint64) bool {
	d := &h.depot[o]
	for i := len(d.mags) - 1; i >= 0; i-- {
		mag := d.mags[i]
		if k := slices.Index(mag.pfns, pfn); k >= 0 {
			d.mags = slices.Delete(d.mags, i, i+1)
			x := &h.cpus[mag.cpu]
			if k < MagazineSize-1 && mag.cpu != c {
				h.cut(c, mag.cpu, o, slices.Concat(x.prev[o], mag.pfns, x.loaded[o]), pfn)
			} else {
				drop(&mag.pfns, pfn)
				h.cpus[c].loaded[o] = bounded(append(h.cpus[c].loaded[o], mag.pfns...))
			}
			return true
		}
	}
	return false
}

// fromOther handles a frame that another CPU freed and that seemed to be in its magazines still: that CPU must have
// pushed it to the depot, as the top of a full magazine.
func (h *hypothesis) fromOther(c, o int, pfn uint64) bool {
	for i := range h.cpus {
		x := &h.cpus[i]
		all := slices.Concat(x.prev[o], x.loaded[o])
		if i == c || !slices.Contains(all, pfn) {
			continue
		}
		if h.queue != nil && (h.queue.rebatch(h, i, c, pfn) || len(all) < MagazineSize) {
			// A flush timer freed it, with all that it reaped, on CPU c and not on this one.
			m := &h.cpus[c]
			return drop(&m.loaded[o], pfn) || drop(&m.prev[o], pfn) || drop(&x.loaded[o], pfn) || drop(&x.prev[o], pfn)
		}
		h.cut(c, i, o, all, pfn)
		return true
	}
	return false
}

// cut divides all that CPU x has freed, oldest first, into the magazines that must have been when pfn was the top of
// one: that one goes to CPU c, what is older stays as x's previous magazine, what is younger is loaded.
func (h *hypothesis) cut(c, x, o int, all []uint64, pfn uint64) {
	k := slices.Index(all, pfn)
	lo := max(k-MagazineSize+1, 0)
	h.cpus[x].prev[o] = full(all[:lo])
	h.cpus[x].loaded[o] = slices.Clone(all[k+1:])
	h.cpus[c].loaded[o] = bounded(append(h.cpus[c].loaded[o], full(all[lo : k+1])[:MagazineSize-1]...))
}

// bounded forgets the oldest frames of a CPU that seems to have more than two magazines can hold: the trace has lost events, or is several, and
// the guess would grow with every one.
func bounded(s []uint64) []uint64 {
	if len(s) <= 4*MagazineSize {
		return s
	}
	return slices.Clone(s[len(s)-2*MagazineSize:])
}

// full pads a magazine with unknown frames at the bottom.
func full(s []uint64) []uint64 {
	if n := MagazineSize - len(s); n > 0 {
		return append(make([]uint64, n), s...)
	}
	return slices.Clone(s[len(s)-MagazineSize:])
}
