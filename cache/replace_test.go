package cache

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// slowSet is one set of a cache as a list, obvious and slow.
type slowSet struct {
	ways   int
	line   []uint64 // by way; 0 for empty
	last   []int    // LRU: time of last use; of empty ways, below that of all others
	now    int
	gone   int             // how often a way was emptied: the last one is used first, where a permutation keeps the order
	bits   map[string]bool // tree-PLRU: per node, named by the path to it: true points to the right
	rrpv   []int
	policy Policy
}

func newSlowSet(ways int, p Policy) *slowSet {
	s := &slowSet{ways: ways, line: make([]uint64, ways), last: make([]int, ways), rrpv: make([]int, ways),
		bits: map[string]bool{}, policy: p}
	for w := range ways {
		s.last[w] = w - ways
	}
	s.gone = ways
	return s
}

func (s *slowSet) path(way int) string {
	n := 1
	depth := 0
	for n < s.ways {
		n, depth = n*2, depth+1
	}
	if depth == 0 {
		return ""
	}
	return fmt.Sprintf("%0*b", depth, way)
}

func (s *slowSet) use(w int, fresh bool) {
	s.now++
	s.last[w] = s.now
	p := s.path(w)
	for i := range p {
		s.bits[p[:i]] = p[i] == '0' // point to the other half
	}
	s.rrpv[w] = 0
	if fresh {
		s.rrpv[w] = 2
	}
}

// access returns whether line was there; if not, it takes the victim's way among the first n.
func (s *slowSet) access(line uint64, n int) bool {
	for w, l := range s.line {
		if l == line {
			s.use(w, false)
			return true
		}
	}
	v := s.victim(n)
	s.line[v] = line
	s.use(v, true)
	return false
}

func (s *slowSet) victim(n int) int {
	if s.policy != LRU {
		for w := range n {
			if s.line[w] == 0 {
				return w
			}
		}
	}
	switch s.policy {
	case LRU:
		best := 0
		for w := range n {
			if s.last[w] < s.last[best] {
				best = w
			}
		}
		return best
	case TreePLRU:
		p := ""
		for len(p) < len(s.path(0)) {
			next := p + "0"
			if s.bits[p] {
				for w := range n { // is a way in the right half?
					if q := s.path(w); q[:len(p)+1] == p+"1" {
						next = p + "1"
					}
				}
			}
			p = next
		}
		for w := range n {
			if s.path(w) == p {
				return w
			}
		}
		panic("tree leads nowhere")
	}
	for {
		for w := range n {
			if s.rrpv[w] == 3 {
				return w
			}
		}
		for w := range n {
			s.rrpv[w]++
		}
	}
}

func (s *slowSet) drop(line uint64, level Level) {
	for w, l := range s.line {
		if l == line {
			s.gone++
			s.line[w], s.last[w] = 0, -s.gone
			if level == L1 { // by stamps: the lowest empty way
				s.last[w] = w - s.ways
			}
		}
	}
}

// The arrays agree with the list on which lines they hold, for every policy, number of ways and restriction of ways.
func TestReplacementAgreesWithList(t *testing.T) {
	for _, level := range []Level{L1, L2, LLC} {
		for _, p := range []Policy{LRU, TreePLRU, SRRIP} {
			for _, ways := range []int{1, 2, 3, 7, 8, 9, 11, 12, 15, 16, 17, 20, 24, 31, 32} {
				r := rand.New(rand.NewPCG(uint64(ways), uint64(p)))
				const sets = 4
				a := newArray(sets*64*ways, ways, p, level)
				slow := make([]*slowSet, sets)
				for i := range slow {
					slow[i] = newSlowSet(ways, p)
				}
				for step := range 4000 {
					line := 1 + r.Uint64N(uint64(sets*ways*3/2+1))
					pa := line << 6
					set := a.set(pa)
					n := uint64(ways)
					if r.IntN(4) == 0 {
						n = 1 + r.Uint64N(uint64(ways))
					}
					if r.IntN(10) == 0 {
						a.remove(pa)
						slow[set].drop(line, level)
					} else {
						i := a.find(set, pa)
						hit := i >= 0
						if hit {
							a.touch(set, i)
						} else {
							a.place(set, a.victim(set, n), pa, uint64(Shared))
						}
						if want := slow[set].access(line, int(n)); hit != want {
							t.Fatalf("%v %v %d ways, step %d: hit %v, list says %v", level, p, ways, step, hit, want)
						}
					}
				}
			}
		}
	}
}

// With the same number of sets, a cache with more ways under LRU holds what one with fewer ways holds.
func TestMoreWaysNeverLoseHits(t *testing.T) {
	last := -1
	for ways := 1; ways <= 32; ways++ {
		a := newArray(16*64*ways, ways, LRU, L2)
		r := rand.New(rand.NewPCG(1, 2))
		hits := 0
		for range 20000 {
			pa := uint64(r.ExpFloat64()*150) << 6
			set := a.set(pa)
			if i := a.find(set, pa); i >= 0 {
				hits++
				a.touch(set, i)
			} else {
				a.place(set, a.victim(set, a.ways), pa, uint64(Shared))
			}
		}
		if hits < last {
			t.Errorf("%d ways hit %d times, %d ways %d times", ways, hits, ways-1, last)
		}
		last = hits
	}
}

// A cyclic sweep of one line more than fits never hits under LRU and does under SRRIP: what SRRIP is for.
func TestSweepOverCapacity(t *testing.T) {
	for _, c := range []struct {
		p    Policy
		hits bool
	}{{LRU, false}, {SRRIP, true}} {
		a := newArray(64*8, 8, c.p, L2)
		hot := uint64(1000) << 6
		hits := 0
		for round := range 50 {
			for range 2 {
				if i := a.find(0, hot); i >= 0 {
					a.touch(0, i)
					if round > 0 {
						hits++
					}
				} else {
					a.place(0, a.victim(0, 8), hot, uint64(Shared))
				}
			}
			for l := range uint64(9) { // a scan never used again
				pa := (uint64(round)*9 + l + 1) << 16
				a.place(0, a.victim(0, 8), pa, uint64(Shared))
			}
		}
		if got := hits > 49; got != c.hits { // 49: the second use of each pair
			t.Errorf("%v: %d hits of the hot line", c.p, hits)
		}
	}
}
