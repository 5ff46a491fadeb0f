package host

import (
	"fmt"
	"math/rand/v2"

	"dmapath/bench/host/program"
)

// chase is a pointer chase over n slots of a random cycle; slot i lies at at(i) from the start of the memory. So many loads are one run.
func chase(name, what string, bytes uint64, shift uint8, n int, loads int, at func(i int) uint64) *Probe {
	return &Probe{Name: name, What: what, Prog: program.Chase, Bytes: bytes, Shift: shift, Units: float64(loads), Runs: 15, SimRuns: 2,
		Warm: max(2*n/loads, 1), Setup: func(a *program.Arena, r *rand.Rand) func(s *program.State) {
			perm := r.Perm(n)
			for i, k := range perm {
				a.Put(a.Base+at(k), a.Base+at(perm[(i+1)%n]))
			}
			here := a.Base + at(perm[0])
			return func(s *program.State) {
				if s.R[2] != 0 {
					here = s.R[2]
				}
				*s = program.State{}
				s.R[1], s.R[2] = uint64(loads/16), here
			}
		}}
}

// lineChase visits every line of size bytes of huge pages.
func lineChase(size uint64) *Probe {
	n := int(size / 64)
	p := chase(fmt.Sprintf("chase_%dk", size>>10), fmt.Sprintf("dependent loads of %s, every line, huge pages", bytesName(size)), size, 21, n, 8192,
		func(i int) uint64 { return uint64(i) * 64 })
	if size >= 64<<20 { // a lap would take long: half a million loads fill what can be filled, and a simulated cache begins empty
		p.Warm, p.SimWarm = 64, 8
	}
	return p
}

// pageChase visits one line of each of n pages of 4 KiB; the lines are spread over the sets.
func pageChase(n int, shift uint8) *Probe {
	kind := map[uint8]string{12: "4 KiB pages", 21: "huge pages"}[shift]
	return chase(fmt.Sprintf("pages_%d_%d", n, shift), fmt.Sprintf("dependent loads, one in each of %d times 4 KiB, %s", n, kind), uint64(n)<<12, shift, n, 8192,
		func(i int) uint64 { return uint64(i)<<12 + uint64(i)*0x9e3779b97f4a7c15>>58<<6 })
}

// pageLapChase visits every line of a page, in random order, before it goes on to the next page: what a chase costs when almost no access
// misses a TLB.
func pageLapChase(size uint64) *Probe {
	n := int(size / 64)
	p := lineChase(size)
	p.Name, p.What = fmt.Sprintf("laps_%dk", size>>10), fmt.Sprintf("dependent loads of %s, page by page, huge pages", bytesName(size))
	p.Setup = func(a *program.Arena, r *rand.Rand) func(s *program.State) {
		var order []int
		for _, page := range r.Perm(n / 64) {
			for _, l := range r.Perm(64) {
				order = append(order, page*64+l)
			}
		}
		for i, k := range order {
			a.Put(a.Base+uint64(k)*64, a.Base+uint64(order[(i+1)%n])*64)
		}
		here := a.Base + uint64(order[0])*64
		return func(s *program.State) {
			if s.R[2] != 0 {
				here = s.R[2]
			}
			*s = program.State{}
			s.R[1], s.R[2] = uint64(p.Units)/16, here
		}
	}
	return p
}

// loop is a probe whose runs are alike: rounds of a program that does unit things a round, on 64 KiB in small pages.
func loop(name, what string, prog *program.Program, rounds, units int, set func(a *program.Arena, s *program.State)) *Probe {
	return &Probe{Name: name, What: what, Prog: prog, Bytes: 256 << 10, Shift: 12, Units: float64(rounds * units), Warm: 2, Runs: 41, SimRuns: 1,
		Setup: func(a *program.Arena, _ *rand.Rand) func(s *program.State) {
			return func(s *program.State) {
				*s = program.State{}
				s.R[1], s.R[2] = uint64(rounds), a.Base
				set(a, s)
			}
		}}
}

func nothing(*program.Arena, *program.State) {}

// coins is how many branches one run of the coin decides.
const coins = 32768

// coin is branches on words of an array: new random ones for every run, or zeros.
func coin(name, what string, random bool) *Probe {
	return &Probe{Name: name, What: what, Prog: program.Coin, Bytes: coins * 8, Shift: 21, Units: coins, Warm: 2, Runs: 15, SimRuns: 2,
		Setup: func(a *program.Arena, r *rand.Rand) func(s *program.State) {
			return func(s *program.State) {
				for i := range uint64(coins) {
					v := uint64(0)
					if random {
						v = r.Uint64() & 1
					}
					a.Put(a.Base+i*8, v)
				}
				*s = program.State{}
				s.R[1], s.R[3] = coins/8, a.Base
			}
		}}
}

// gathers is how many independent loads one run of the gather does.
const gathers = 16384

// gather is independent loads of random lines of size bytes, whose offsets lie in an array beside.
func gather(size uint64) *Probe {
	return &Probe{Name: fmt.Sprintf("gather_%dk", size>>10), What: "independent loads of " + bytesName(size) + ", huge pages", Prog: program.Gather, Bytes: size + gathers*8, Shift: 21,
		Units: gathers, Warm: 4, Runs: 15, SimRuns: 2, Touch: size <= 16<<20,
		Setup: func(a *program.Arena, r *rand.Rand) func(s *program.State) {
			a.Alloc(size, 4096)
			return func(s *program.State) {
				for i := range uint64(gathers) {
					a.Put(a.Base+size+i*8, r.Uint64N(size/64)*8)
				}
				*s = program.State{}
				s.R[1], s.R[2], s.R[3] = gathers/8, a.Base, a.Base+size
			}
		}}
}

// stream is consecutive lines of size bytes, read or written, a piece a run.
func stream(name, what string, prog *program.Program, size uint64) *Probe {
	const lines = 16384
	return &Probe{Name: name, What: what, Prog: prog, Bytes: size, Shift: 21, Units: lines, Warm: 2, Runs: 15, SimRuns: 2,
		Setup: func(a *program.Arena, _ *rand.Rand) func(s *program.State) {
			at := uint64(0)
			return func(s *program.State) {
				if at+lines*64 > size {
					at = 0
				}
				*s = program.State{}
				s.R[1], s.R[2] = lines/8, a.Base+at
				at += lines * 64
			}
		}}
}

// copyOf is string copies of n bytes, both sides in L1 or L2.
func copyOf(n int) *Probe {
	return loop(fmt.Sprintf("copy_%d", n), fmt.Sprintf("a string copy of %d bytes", n), program.Copies, 32, 1, func(a *program.Arena, s *program.State) {
		s.R[6], s.R[7], s.R[8] = uint64(n), a.Base, a.Base+128<<10+256
	})
}

func bytesName(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
