package platform

import (
	"math"
	"slices"
	"strings"
)

// redraws is how often the values of a contradiction are drawn anew before they fall back to what the platform says.
const redraws = 32

// Sample returns a machine that s may be as well: every value of Uncertain drawn from its Range, the others as they are. u returns a number
// from 0 inclusive to 1 exclusive for a key; numbers are spread evenly on a logarithmic scale, words evenly. Values that contradict each other
// are drawn again, so u may be asked for a key more than once; what cannot be resolved so takes the value that s has. Sizes and ways
// of tables and caches are moved to the nearest that go together. The result passes Check when s does.
func (s *Spec) Sample(u func(key string) float64) *Spec {
	c := s.Clone()
	keys := s.Uncertain()
	for _, k := range keys {
		c.draw(s, k, u(k))
	}
	for try := 0; ; try++ {
		c.fit(s)
		problems := c.impossible()
		if len(problems) == 0 {
			return c
		}
		for _, p := range problems {
			for _, k := range p.keys {
				switch {
				case try > 2*redraws:
					return s.Clone() // not seen: each contradiction is between values that are named in it
				case !slices.Contains(keys, k):
				case try < redraws:
					c.draw(s, k, u(k))
				default:
					f := theSchema().byKey[k]
					f.at(c).Set(f.at(s))
				}
			}
		}
	}
}

// draw sets key in c to the value at u of its range in s.
func (c *Spec) draw(s *Spec, key string, u float64) {
	f := theSchema().byKey[key]
	r, _ := s.Range(key)
	switch {
	case f.kind == wordKind:
		f.at(c).SetString(r.Words[int(u*float64(len(r.Words)))])
	case f.kind == switchKind:
		f.at(c).SetBool(r.Words[int(u*float64(len(r.Words)))] == "on")
	default:
		f.store(c, r.at(u))
	}
}

// at returns the number at u, 0 to 1, of r.
func (r Range) at(u float64) int64 {
	switch {
	case r.powers:
		steps := 1
		for v := r.Lo; v < r.Hi; v *= 2 {
			steps++
		}
		return r.Lo << int(u*float64(steps))
	case r.Lo == 0:
		return min(r.Hi, int64(u*float64(r.Hi+1)))
	}
	// Half a step beyond both ends: small whole numbers get their share.
	step := max(1, r.grain)
	lo, hi := math.Log(float64(r.Lo)-float64(step)/2), math.Log(float64(r.Hi)+float64(step)/2)
	n := int64(math.Round((math.Exp(lo+u*(hi-lo)) - float64(r.Lo)) / float64(step)))
	return min(r.Hi, max(r.Lo, r.Lo+n*step))
}

// pair is the size and the ways of one table or cache.
type pair struct {
	size, ways *field
	unit       int64 // of size: bytes of a line, or 1
	sets       bool  // the number of sets must be a power of two
}

// pairs lists the tables and caches of a platform, in the order of the file.
func pairs() []pair {
	var list []pair
	for _, f := range theSchema().fields {
		section, last := f.key[:strings.LastIndexByte(f.key, '.')+1], f.key[strings.LastIndexByte(f.key, '.')+1:]
		if last != "ways" {
			continue
		}
		by := theSchema().byKey
		if e := by[section+"entries"]; e != nil {
			list = append(list, pair{e, f, 1, true})
		} else if e := by[section+"size"]; e != nil {
			list = append(list, pair{e, f, lineBytes, by[section+"inclusive"] == nil})
		}
	}
	return list
}

// fit moves sizes and ways of c, drawn from ranges of s, to the nearest that go together.
func (c *Spec) fit(s *Spec) {
	for _, p := range pairs() {
		size, ways := p.size.number(c)/p.unit, p.ways.number(c)
		size0, ways0 := p.size.number(s)/p.unit, p.ways.number(s)
		if size == size0 && ways == ways0 {
			continue
		}
		if size0 == ways0 { // fully associative stays so
			ways = size
		}
		sizes, free := s.Range(p.size.key)
		if free {
			want := float64(size) / float64(ways)
			sets := max(1, int64(math.Round(want)))
			if p.sets {
				sets = 1 << int(math.Round(math.Log2(max(1, want))))
				for sets > 1 && sets*ways*p.unit > sizes.Hi {
					sets /= 2
				}
				for sets*ways*p.unit < sizes.Lo {
					sets *= 2
				}
			}
			size = sets * ways
		} else if best := nearestWays(size, ways, p.sets); best != 0 {
			ways = best
		}
		if inside := size*p.unit >= p.size.min && size*p.unit <= p.size.max && ways >= p.ways.min && ways <= p.ways.max; !inside ||
			free && (size*p.unit < sizes.Lo || size*p.unit > sizes.Hi) {
			size, ways = size0, ways0
		}
		p.size.store(c, size*p.unit)
		p.ways.store(c, ways)
	}
}

// nearestWays returns the divisor of size nearest to ways, on a logarithmic scale, that leaves a power of two of sets (any number of sets if
// power is false); 0 when there is none.
func nearestWays(size, ways int64, power bool) (best int64) {
	nearest := math.Inf(1)
	for w := int64(1); w <= size && w <= 4*ways; w++ {
		if n := size / w; size%w != 0 || power && n&(n-1) != 0 {
			continue
		}
		if d := math.Abs(math.Log(float64(w) / float64(ways))); d < nearest {
			nearest, best = d, w
		}
	}
	return best
}

// Step returns a machine in which the number at key is about factor times what it is in s, or as near beyond as makes a valid machine: the
// next whole number, the next power of two. It returns false when there is none within four times as far. Ways and sizes
// are changed alone.
func (s *Spec) Step(key string, factor float64) (*Spec, bool) {
	f := theSchema().byKey[key]
	if f == nil || f.kind.units == nil || factor <= 0 || factor == 1 {
		return nil, false
	}
	v := f.number(s)
	if v == 0 {
		return nil, false
	}
	next := []int64{max(f.min, min(f.max, int64(math.Round(float64(v)*factor))))}
	if factor > 1 {
		next = append(next, v+1, ceilPower(v+1), 2*v, 4*v)
	} else {
		next = append(next, v-1, floorPower(v-1), v/2, v/4)
	}
	for _, n := range next {
		if n == v || n < f.min || n > f.max || n <= 0 || f.pow2 && n&(n-1) != 0 || (n > v) != (factor > 1) {
			continue
		}
		c := s.Clone()
		f.store(c, n)
		if len(c.impossible()) == 0 {
			return c, true
		}
	}
	return nil, false
}
