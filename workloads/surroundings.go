package workloads

import (
	"fmt"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/platform"
	"dmapath/sim"
)

// Surroundings are what runs between two mapping calls on the same CPU: the rest of the driver, of the kernel's path and of
// the application.
type Surroundings struct {
	Name string
	// CodeLines and DataLines are how many lines of code and data they bring into the caches between two calls.
	CodeLines, DataLines int
	// Instructions executed between two calls; they cost time at the rate that NewAmbience finds.
	Instructions int
}

// Ambience runs Surroundings on the CPUs of one machine.
type Ambience struct {
	Surroundings
	hier *cache.Hierarchy
	// cpi is picoseconds per instruction of the surroundings.
	cpi float64
}

// A line of code per 13 and a line of data per 32 executed instructions: means over the recorded kernel paths.
const (
	instructionsPerCodeLine = 13
	instructionsPerDataLine = 32
)

// maxSample bounds the instructions of one pass over the sample, and with them the lines of code and data that it touches.
const maxSample = 60_000

// NewAmbience prepares surroundings and finds the rate of their instructions: core runs a sample of code with the
// instruction mix of the recorded kernel paths (25 % loads, 12 % stores, 15 % branches, of which 7 % go the other way than
// usual) on as many lines of code and data as so many instructions touch on those paths.
func NewAmbience(s Surroundings, core *cpu.Core, hier *cache.Hierarchy, stack, data uint64, seed uint64) (*Ambience, error) {
	if s.CodeLines < 0 || s.DataLines < 0 || s.Instructions < 0 || s.Instructions > 10_000_000 {
		return nil, fmt.Errorf("surroundings %q: code_lines %d, data_lines %d, instructions %d: allowed are 0 and more, instructions at most 10000000",
			s.Name, s.CodeLines, s.DataLines, s.Instructions)
	}
	a := &Ambience{Surroundings: s, hier: hier}
	if s.Instructions == 0 {
		return a, nil
	}
	r := sim.NewRand(seed, "surroundings")
	st := cpu.NewStream(stack, cpu.MitNone)
	st.Enter(surround)
	lines := uint64(min(max(s.Instructions/instructionsPerDataLine, 64), maxSample/instructionsPerDataLine))
	code := min(max(s.Instructions/instructionsPerCodeLine, 64)*16, maxSample) // instructions of distinct code
	pass := max(code, int(lines)*instructionsPerDataLine)
	for i := 0; i < 2*pass; i++ { // the first pass brings code and data in, the second is timed
		if i%code == 0 {
			st.Back(surround.PC)
		}
		switch x := r.IntN(100); {
		case x < 25:
			st.Load(data+r.Uint64N(lines)*64+r.Uint64N(8)*8, st.Last())
		case x < 37:
			st.Store(data+r.Uint64N(lines)*64+r.Uint64N(8)*8, 0, st.Last())
		case x < 52:
			st.Branch(i%7 == 0 != (r.IntN(100) < 7), st.Last())
		default:
			st.ALU(1, st.Last()-1)
		}
	}
	start := core.Run(st.Ops[:pass], 0, nil)
	end := core.Run(st.Ops[pass:], start, nil)
	a.cpi = float64(end-start) / float64(pass)
	return a, nil
}

// surround is the place in kernel text of the sampled surroundings: 4096 lines, room for maxSample instructions.
var surround = cpu.NewFunc("(surroundings)", "block layer, network stack, application", 256<<10)

// AmbienceOf prepares the surroundings that m's platform gives the cache state hot, warm or cold, with so many instructions between
// two calls.
func AmbienceOf(m *platform.Machine, state string, instructions int, seed uint64) (*Ambience, error) {
	sur := &m.Spec.Surroundings
	foot := map[string]platform.Footprint{"hot": sur.Hot, "warm": sur.Warm, "cold": sur.Cold}[state]
	return NewAmbience(Surroundings{Name: state, CodeLines: int(foot.CodeLines), DataLines: int(foot.DataLines), Instructions: instructions},
		m.Cores[0], m.Hier, m.Env.Slab(4096, 4096)+4096, m.Env.Slab(2<<20, 4096), seed)
}

// Pass lets the surroundings run on t's CPU: what comes between one mapping call and the next.
func (a *Ambience) Pass(t *cpu.Thread) {
	t.Sync()
	a.Displace(t.Core)
	if d := sim.Time(float64(a.Instructions) * a.cpi); d > 0 {
		t.WaitUntil(cpu.StallIdle, t.Now()+d)
	}
}

// Takes returns how long the surroundings run between two calls, 0 when nobody has found their rate: see NewAmbience.
func (a *Ambience) Takes() sim.Time { return sim.Time(float64(a.Instructions) * a.cpi) }

// DisplacePart is Displace by surroundings of which only a part, 0 to 1, has run.
func (a *Ambience) DisplacePart(c *cpu.Core, part float64) {
	whole := *a
	whole.CodeLines, whole.DataLines = int(float64(a.CodeLines)*part), int(float64(a.DataLines)*part)
	whole.Displace(c)
}

// Displace does to the caches, the predictor and the TLBs of a core what the surroundings do, and takes no time.
func (a *Ambience) Displace(c *cpu.Core) {
	if a.CodeLines+a.DataLines > 0 {
		a.hier.Displace(c.ID(), a.CodeLines, a.DataLines)
		c.DisturbBy(a.CodeLines*branchesPerLine, a.CodeLines/linesPerCodePage, a.DataLines/linesPerDataPage)
	}
}

// What a line of the surroundings means for branch predictor and TLBs: a line of code holds 13 executed instructions, of which
// 15 % are branches (kernel-traces); how many lines of a page are touched is a guess.
const (
	branchesPerLine  = 2
	linesPerCodePage = 16
	linesPerDataPage = 4
)

// PicosPerInstruction returns the measured rate of the surroundings.
func (a *Ambience) PicosPerInstruction() float64 { return a.cpi }
