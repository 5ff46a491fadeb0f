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
type Predictor struct {
	cpus  []predictorCPU
	depot [Orders]predictorDepot
	seen  map[uint64]bool // frames that the trace saw freed
	tree  predictorTree
	queue *predictorQueue // lazy mode
	Count [4]int          // by Verdict
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

// NewPredictor returns a predictor for a machine of cpus CPUs. lazy says that frees go through flush queues.
func NewPredictor(cpus int, lazy bool) *Predictor {
	p := &Predictor{cpus: make([]predictorCPU, cpus), seen: map[uint64]bool{}}
	p.tree.init(cpus)
	if lazy {
		p.queue = newPredictorQueue(cpus)
	}
	return p
}

// Predict returns the frame that an allocation of pages on CPU c at time at gets. known is false when it depends on
// a state older than the trace; pfn is then a guess, or 0.
func (p *Predictor) Predict(at sim.Time, c int, pages uint64) (pfn uint64, known bool) {
	p.advance(at)
	if o := order(pages); o < Orders {
		pages = 1 << o
		m := &p.cpus[c]
		for _, s := range [][]uint64{m.loaded[o], m.prev[o]} {
			if n := len(s); n > 0 {
				return s[n-1], s[n-1] != 0
			}
		}
		if mags := p.depot[o].mags; len(mags) > 0 {
			pfn = mags[len(mags)-1].pfns[MagazineSize-1]
			return pfn, pfn != 0
		}
	}
	pfn = p.tree.guess(pages)
	return pfn, pfn != 0 && p.seen[pfn]
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
	p.learn(c, pages, pfn)
	return v
}

// Free replays an unmap on CPU c: to its magazines, or in lazy mode to its flush queue.
func (p *Predictor) Free(at sim.Time, c int, pfn, pages uint64) {
	p.advance(at)
	p.seen[pfn] = true
	if p.queue != nil {
		p.queue.add(p, at, c, pfn, pages)
		return
	}
	p.put(at, c, pfn, pages)
}

// put is free_iova_fast.
func (p *Predictor) put(at sim.Time, c int, pfn, pages uint64) {
	o := order(pages)
	if o >= Orders {
		p.tree.free(pfn, pages)
		return
	}
	m := &p.cpus[c]
	if len(m.loaded[o]) >= MagazineSize {
		m.loaded[o], m.prev[o] = m.prev[o], m.loaded[o]
		if len(m.loaded[o]) >= MagazineSize {
			// Both full: the magazine that was loaded goes to the depot.
			m.loaded[o], m.prev[o] = m.prev[o], m.loaded[o]
			p.push(at, c, o, m.loaded[o])
			m.loaded[o] = nil
		}
	}
	m.loaded[o] = append(m.loaded[o], pfn)
}

func (p *Predictor) push(at sim.Time, c, o int, mag []uint64) {
	d := &p.depot[o]
	d.mags = append(d.mags, predictorMag{c, mag})
	if d.trim == 0 {
		d.trim = timer.Expiry(at, DepotDelay)
	}
}

// advance runs the depots' trim work, and the flush timer, up to time at.
func (p *Predictor) advance(at sim.Time) {
	if p.queue != nil {
		p.queue.advance(p, at)
	}
	for o := range p.depot {
		for d := &p.depot[o]; d.trim != 0 && d.trim <= at; {
			if len(d.mags) <= len(p.cpus) {
				d.trim = 0
				break
			}
			m := d.mags[len(d.mags)-1]
			d.mags = d.mags[:len(d.mags)-1]
			for _, pfn := range m.pfns {
				if pfn != 0 {
					p.tree.free(pfn, 1<<o)
				}
			}
			d.trim = timer.Expiry(d.trim, DepotDelay)
		}
	}
}

// learn makes the state one in which CPU c was just given frame pfn.
func (p *Predictor) learn(c int, pages, pfn uint64) {
	o := order(pages)
	if o >= Orders {
		p.tree.take(pfn, pages)
		return
	}
	m := &p.cpus[c]
	if len(m.loaded[o]) == 0 && len(m.prev[o]) > 0 {
		m.loaded[o], m.prev[o] = m.prev[o], m.loaded[o]
	}
	d := &p.depot[o]
	if len(m.loaded[o]) == 0 && len(d.mags) > 0 && d.mags[len(d.mags)-1].pfns[MagazineSize-1] == pfn {
		m.loaded[o] = d.mags[len(d.mags)-1].pfns
		d.mags = d.mags[:len(d.mags)-1]
	}
	switch {
	case drop(&m.loaded[o], pfn) || drop(&m.prev[o], pfn):
		// As predicted, or a little below the top: an interrupt freed something between allocation and record.
	case p.fromDepot(c, o, pfn) || p.fromOther(c, o, pfn):
	default:
		p.tree.take(pfn, 1<<o)
	}
	if p.queue != nil {
		p.queue.forget(pfn)
	}
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
func (p *Predictor) fromDepot(c, o int, pfn uint64) bool {
	d := &p.depot[o]
	for i := len(d.mags) - 1; i >= 0; i-- {
		mag := d.mags[i]
		if k := slices.Index(mag.pfns, pfn); k >= 0 {
			d.mags = slices.Delete(d.mags, i, i+1)
			x := &p.cpus[mag.cpu]
			if k < MagazineSize-1 && mag.cpu != c {
				p.cut(c, mag.cpu, o, slices.Concat(x.prev[o], mag.pfns, x.loaded[o]), pfn)
			} else {
				drop(&mag.pfns, pfn)
				p.cpus[c].loaded[o] = append(p.cpus[c].loaded[o], mag.pfns...)
			}
			return true
		}
	}
	return false
}

// fromOther handles a frame that another CPU freed and that seemed to be in its magazines still: that CPU must have
// pushed it to the depot, as the top of a full magazine.
func (p *Predictor) fromOther(c, o int, pfn uint64) bool {
	for i := range p.cpus {
		x := &p.cpus[i]
		if all := slices.Concat(x.prev[o], x.loaded[o]); i != c && slices.Contains(all, pfn) {
			p.cut(c, i, o, all, pfn)
			return true
		}
	}
	return false
}

// cut divides all that CPU x has freed, oldest first, into the magazines that must have been when pfn was the top of
// one: that one goes to CPU c, what is older stays as x's previous magazine, what is younger is loaded.
func (p *Predictor) cut(c, x, o int, all []uint64, pfn uint64) {
	k := slices.Index(all, pfn)
	lo := max(k-MagazineSize+1, 0)
	p.cpus[x].prev[o] = full(all[:lo])
	p.cpus[x].loaded[o] = slices.Clone(all[k+1:])
	p.cpus[c].loaded[o] = append(p.cpus[c].loaded[o], full(all[lo : k+1])[:MagazineSize-1]...)
}

// full pads a magazine with unknown frames at the bottom.
func full(s []uint64) []uint64 {
	if n := MagazineSize - len(s); n > 0 {
		return append(make([]uint64, n), s...)
	}
	return slices.Clone(s[len(s)-MagazineSize:])
}
