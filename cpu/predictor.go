package cpu

import "fmt"

// PredictorConfig sizes the branch predictor. Tables are given as the log2 of their entries.
type PredictorConfig struct {
	Bimodal  int    // two-bit counters indexed by PC, 6 to 20
	Tables   int    // tagged tables indexed by PC and history, 0 to 4
	Tagged   int    // entries of each tagged table, 6 to 16
	History  [4]int // branch outcomes hashed into each table's index, 1 to 64, increasing
	BTB      int    // branch target buffer of direct branches, two ways, 6 to 16
	Indirect int    // each of two tables of targets of indirect branches, by PC and by PC and history, 4 to 14
	Returns  int    // entries of the return stack (a number, not a log2), 1 to 64
}

func (p *PredictorConfig) validate() (errs []error) {
	in := func(name string, v, lo, hi int) {
		if v < lo || v > hi {
			errs = append(errs, fmt.Errorf("cpu: Predictor.%s is %d: allowed are %d to %d", name, v, lo, hi))
		}
	}
	in("Bimodal", p.Bimodal, 6, 20)
	in("Tables", p.Tables, 0, 4)
	in("Tagged", p.Tagged, 6, 16)
	for i, last := 0, 0; i < p.Tables && i < 4; i++ {
		in(fmt.Sprintf("History[%d]", i), p.History[i], last+1, 64)
		last = p.History[i]
	}
	in("BTB", p.BTB, 6, 16)
	in("Indirect", p.Indirect, 4, 14)
	in("Returns", p.Returns, 1, 64)
	return errs
}

// predictor is a small TAGE (Seznec and Michaud 2006): a table of two-bit counters by PC and up to four tagged tables
// whose indices hash geometrically longer histories; the longest match predicts. Updates are immediate:
// the history holds outcomes, not predictions, since wrong paths are not executed.
type predictor struct {
	bimodal  []uint8
	tagged   [4][]tagEntry
	mask     [4]uint64 // of history bits
	tables   int
	bimMask  uint32
	tagShift uint8
	hist     uint64

	btb     [][2]uint32 // PC+1 of taken branches, most recent first
	btbMask uint32

	ind      []indEntry // by PC and history
	indBase  []indEntry // by PC
	indShift uint8

	ras    [64]uint32 // PCs of calls
	rasTop int        // number of pushes minus pops; entries are those below it, at most rasLen
	rasLen int
	rasLow int // value of rasTop below which the stack holds nothing valid

	seed uint64 // of allocation and of Disturb
}

type tagEntry struct {
	tag    uint16
	ctr    int8  // -4 to 3; taken when >= 0
	useful uint8 // 0 to 3
}

type indEntry struct {
	tag    uint32
	target uint32
}

const (
	mixA = 0x9e3779b97f4a7c15
	mixB = 0xc2b2ae3d27d4eb4f
)

func newPredictor(cfg PredictorConfig) predictor {
	p := predictor{
		bimodal: make([]uint8, 1<<cfg.Bimodal), bimMask: 1<<cfg.Bimodal - 1,
		tables: cfg.Tables, tagShift: uint8(64 - cfg.Tagged),
		btb: make([][2]uint32, 1<<(cfg.BTB-1)), btbMask: 1<<(cfg.BTB-1) - 1,
		ind: make([]indEntry, 1<<cfg.Indirect), indBase: make([]indEntry, 1<<cfg.Indirect), indShift: uint8(64 - cfg.Indirect),
		rasLen: cfg.Returns, seed: mixA,
	}
	for i := range cfg.Tables {
		p.tagged[i] = make([]tagEntry, 1<<cfg.Tagged)
		p.mask[i] = 1<<cfg.History[i] - 1
		if cfg.History[i] == 64 {
			p.mask[i] = ^uint64(0)
		}
	}
	p.forget()
	return p
}

// forget returns to the state after reset: counters lean to not taken, nothing is known about targets.
func (p *predictor) forget() {
	for i := range p.bimodal {
		p.bimodal[i] = 1
	}
	for i := range p.tagged {
		clear(p.tagged[i])
	}
	clear(p.btb)
	clear(p.ind)
	clear(p.indBase)
	p.hist = 0
	p.rasTop, p.rasLow = 0, 0
}

// rand steps the predictor's own random stream.
func (p *predictor) rand() uint64 {
	p.seed ^= p.seed << 13
	p.seed ^= p.seed >> 7
	p.seed ^= p.seed << 17
	return p.seed
}

// conditional predicts and learns one conditional branch; it reports a misprediction.
func (p *predictor) conditional(pc uint32, taken bool) (wrong bool) {
	var at [4]uint32
	var tags [4]uint16
	provider := -1
	for i := 0; i < p.tables; i++ {
		x := ((p.hist&p.mask[i])*mixA ^ uint64(pc)) * mixB
		at[i] = uint32(x >> p.tagShift)
		tags[i] = uint16(x>>20) | 1
		if p.tagged[i][at[i]].tag == tags[i] {
			provider = i
		}
	}
	b := &p.bimodal[pc>>1&p.bimMask]
	guess := *b >= 2
	if provider >= 0 {
		e := &p.tagged[provider][at[provider]]
		base := guess
		guess = e.ctr >= 0
		if guess != base { // it differs from what a shorter history says: was it worth it?
			if guess == taken {
				if e.useful < 3 {
					e.useful++
				}
			} else if e.useful > 0 {
				e.useful--
			}
		}
		if taken {
			if e.ctr < 3 {
				e.ctr++
			}
		} else if e.ctr > -4 {
			e.ctr--
		}
	}
	if provider < 0 || guess != taken {
		if taken {
			if *b < 3 {
				*b++
			}
		} else if *b > 0 {
			*b--
		}
	}
	p.push(taken)
	if guess == taken {
		return false
	}
	p.allocate(provider+1, &at, &tags, taken)
	return true
}

// allocate makes an entry in a table of longer history than the one that was wrong.
func (p *predictor) allocate(from int, at *[4]uint32, tags *[4]uint16, taken bool) {
	for i := from; i < p.tables; i++ {
		e := &p.tagged[i][at[i]]
		if e.useful > 0 {
			e.useful--
			continue
		}
		e.tag, e.ctr = tags[i], -1
		if taken {
			e.ctr = 0
		}
		return
	}
}

func (p *predictor) push(taken bool) {
	p.hist <<= 1
	if taken {
		p.hist |= 1
	}
}

// direct reports whether the BTB knew the taken direct branch at pc, and makes it known.
func (p *predictor) direct(pc uint32) (known bool) {
	e := &p.btb[(pc>>1^pc>>13)&p.btbMask]
	if e[0] == pc+1 {
		return true
	}
	known = e[1] == pc+1
	e[1], e[0] = e[0], pc+1
	return known
}

// indirect predicts and learns the target of an indirect branch; it reports a misprediction.
func (p *predictor) indirect(pc, target uint32) (wrong bool) {
	long := &p.ind[((p.hist&0xfff)*mixA^uint64(pc))*mixB>>p.indShift]
	short := &p.indBase[uint64(pc)*mixA>>p.indShift]
	tag := pc*0x9e3779b1 ^ uint32(p.hist&0xfff) | 1
	switch {
	case long.tag == tag:
		wrong = long.target != target
	case short.tag == pc+1:
		wrong = short.target != target
	default:
		wrong = true
	}
	if wrong || long.tag == tag {
		*long = indEntry{tag, target}
	}
	if short.tag != pc+1 || wrong {
		*short = indEntry{pc + 1, target}
	}
	p.hist = p.hist<<2 ^ uint64(target>>4)
	return wrong
}

// call notes a call at pc on the return stack.
func (p *predictor) call(pc uint32) {
	p.ras[p.rasTop&63] = pc
	p.rasTop++
	p.rasLow = max(p.rasLow, p.rasTop-p.rasLen)
}

// returns predicts a return from pc to target; it reports a misprediction. The stack holds the PCs of calls: a return
// lands right behind its call, whose length is at most 15 bytes.
func (p *predictor) returns(pc, target uint32) (wrong bool) {
	if p.rasTop <= p.rasLow { // underflow: the return is predicted like any indirect branch
		return p.indirect(pc, target)
	}
	p.rasTop--
	d := target - p.ras[p.rasTop&63]
	return d == 0 || d > 15
}

// pop removes the top of the return stack.
func (p *predictor) pop() {
	if p.rasTop > p.rasLow {
		p.rasTop--
	}
}

// disturb overwrites what n different branches of other code would: of a table of s entries s*(1-exp(-n/s)).
func (p *predictor) disturb(n int) {
	if n <= 0 {
		return
	}
	p.overwrite(
		displacedBy(n, len(p.bimodal)),
		displacedBy(n/2, 1<<(64-p.tagShift)), // about half of all branches need history at all
		displacedBy(n/2, 2*len(p.btb)),       // and half are taken
		displacedBy(n/16, len(p.ind)),
	)
}

// displacedBy returns the fraction of size entries that n random ones overwrite: 1 - exp(-n/size), where exp(-x) is
// (exp(-x/16))^16 and the inner one is taken to second order: multiplication only, so that every host agrees.
func displacedBy(n, size int) float64 {
	x := min(float64(n)/float64(size), 16) / 16
	keep := float64(1-x) + float64(x*x)/2
	for range 4 {
		keep = float64(keep * keep)
	}
	return 1 - keep
}

// overwrite replaces a fraction of each kind of table by foreign entries, in runs at random places: the entries of other
// code lie where its addresses and histories hash to.
func (p *predictor) overwrite(bimodal, tagged, btb, indirect float64) {
	for _, run := range p.runs(bimodal, len(p.bimodal)) {
		for i := range run.n {
			p.bimodal[run.at+i] = uint8(i>>1+i) & 3
		}
	}
	for t := range p.tables {
		e := p.tagged[t]
		for _, run := range p.runs(tagged, len(e)) {
			for i := range run.n {
				e[run.at+i] = tagEntry{ctr: int8(i&7) - 4}
			}
		}
	}
	for way := range 2 {
		for _, run := range p.runs(btb, len(p.btb)) {
			for i := range run.n {
				p.btb[run.at+i][way] = ^uint32(0)
			}
		}
	}
	for _, run := range p.runs(indirect, len(p.ind)) {
		clear(p.ind[run.at : run.at+run.n])
		clear(p.indBase[run.at : run.at+run.n])
	}
}

type entryRun struct{ at, n int }

// runs returns the entries of a table of size entries, a power of two, that make up a fraction of it: a run somewhere in
// every eighth.
func (p *predictor) runs(fraction float64, size int) (out [8]entryRun) {
	total := int(float64(float64(size)*fraction) + 0.5)
	for k := range out {
		slice, length := size/8, (total+k)/8
		out[k] = entryRun{k*slice + int(p.rand()>>40)%(slice-length+1), length}
	}
	return out
}
