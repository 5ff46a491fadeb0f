package host

import (
	"math/rand/v2"

	"dmapath/bench/host/program"
	"dmapath/sim"
)

// Probe is one thing that is timed, natively and simulated: a program, the memory it works on and what its registers hold. The same
// Setup with the same random stream prepares both.
type Probe struct {
	Name  string
	What  string // what it measures, for people
	Prog  *program.Program
	Bytes uint64 // of memory
	Shift uint8  // log2 of the size of its pages, 12 or 21
	// Units is how often a run does what is counted: results are cycles per unit.
	Units float64
	// Setup builds the data and returns what is called before every run to set the registers; they hold what the run before left.
	Setup func(a *program.Arena, r *rand.Rand) func(s *program.State)
	// Touch reads all that Setup allocated once, before the first run.
	Touch bool
	// Warm is how many runs come before those that count, Runs how many count natively, SimRuns how many simulated (0: 3).
	// SimWarm is Warm in the simulation where that needs fewer (0: Warm).
	Warm, Runs, SimRuns, SimWarm int
	// Displace is how many cache lines of foreign data are read before every run, after its registers and queries were set.
	Displace int
}

// displaceBytes is the size of the foreign data that p needs: twice what it reads at once, so that what comes next is not what was
// read last.
func (p *Probe) displaceBytes() uint64 {
	const line, round = 64, 512
	return max(2*uint64(p.Displace)*line, 4<<20) + round
}

// displacer walks through foreign memory, a piece at a time, from one end to the other and again.
type displacer struct{ at uint64 }

// next sets s up for program.LoadStream to read the next n lines.
func (d *displacer) next(a *program.Arena, n int, s *program.State) {
	rounds := uint64(n+7) / 8
	if d.at+rounds*512 > uint64(len(a.Bytes)) {
		d.at = 0
	}
	*s = program.State{}
	s.R[1], s.R[2] = rounds, a.Base+d.at
	d.at += rounds * 512
}

// random is the random stream of a probe, the same natively and simulated.
func (p *Probe) random(seed uint64) *rand.Rand { return sim.NewRand(seed, "host "+p.Name) }

// Where simulated arenas lie: virtual addresses of user programs, and physical memory above what a small kernel takes.
const (
	simBase     = 0x7f00_0000_0000
	simAwayBase = 0x6f00_0000_0000
	simPhys     = 8 << 30
	simAwayPhys = 64 << 30
)
