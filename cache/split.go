package cache

import (
	"errors"
	"fmt"
	"math/bits"
)

// Geometry is the size of one cache of a Split.
type Geometry struct {
	Bytes int // total, of all ways
	Ways  int // associativity, 1 to 32
	Line  int // bytes, a power of two, 16 to 4096
}

func (g Geometry) String() string { return fmt.Sprintf("%d,%d,%d", g.Bytes, g.Ways, g.Line) }

// maxSplit is the largest cache of a Split, in bytes.
const maxSplit = 1 << 30

// Validate returns an error that says what is wrong with g.
func (g Geometry) Validate() error {
	var errs []error
	if g.Line < 16 || g.Line > 4096 || g.Line&(g.Line-1) != 0 {
		errs = append(errs, fmt.Errorf("line size is %d bytes: allowed are powers of two from 16 to 4096", g.Line))
	}
	if g.Ways < 1 || g.Ways > 32 {
		errs = append(errs, fmt.Errorf("associativity is %d: allowed are 1 to 32", g.Ways))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	sets := g.Bytes / (g.Line * g.Ways)
	if g.Bytes > maxSplit || sets < 1 || sets*g.Line*g.Ways != g.Bytes || sets&(sets-1) != 0 {
		return fmt.Errorf("size is %d bytes: %d ways of %d bytes need a power of two of sets, at most %d bytes in all", g.Bytes, g.Ways, g.Line, maxSplit)
	}
	return nil
}

// SplitStats counts the accesses of one kind. A reference that touches two lines counts once, and is one miss if either
// line is missing.
type SplitStats struct {
	Refs   uint64 // accesses by the program
	Misses uint64 // not in the first level
	Last   uint64 // of them, not in the last level either
}

// Split is a first level split into instructions and data in front of one last level, as Valgrind's cachegrind simulates
// it (cachegrind/cg_sim.c of Valgrind 3.19): LRU everywhere, stores allocate, no inclusion, no write-backs, no coherence,
// no time. It is made of the arrays and the LRU of the Hierarchy, which is thereby held against an independent simulator.
//
// An access to two neighbouring lines looks both up in both levels: the last level is asked for both lines when either
// is missing in the first.
type Split struct {
	i1, d1, ll front
	Fetches    SplitStats
	Reads      SplitStats
	Writes     SplitStats
	clip       uint64 // bytes of the smallest line
}

// front is an array with a line size of its own.
type front struct {
	array
	shift uint
}

// NewSplit returns an empty Split.
func NewSplit(i1, d1, ll Geometry) (*Split, error) {
	s := &Split{clip: uint64(min(i1.Line, d1.Line, ll.Line))}
	var errs []error
	for _, x := range []struct {
		name  string
		g     Geometry
		f     *front
		level Level
	}{{"I1", i1, &s.i1, L1}, {"D1", d1, &s.d1, L1}, {"LL", ll, &s.ll, LLC}} {
		if err := x.g.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", x.name, err))
			continue
		}
		x.f.shift = uint(bits.TrailingZeros(uint(x.g.Line)))
		x.f.array = newArray(x.g.Bytes/x.g.Line*LineBytes, x.g.Ways, LRU, x.level) // lines are numbered, whatever their size
	}
	return s, errors.Join(errs...)
}

// Fetch executes the instruction of size bytes at addr.
func (s *Split) Fetch(addr uint64, size int) { s.access(&s.i1, &s.Fetches, addr, size) }

// Read loads size bytes at addr.
func (s *Split) Read(addr uint64, size int) { s.access(&s.d1, &s.Reads, addr, size) }

// Write stores size bytes at addr.
func (s *Split) Write(addr uint64, size int) { s.access(&s.d1, &s.Writes, addr, size) }

// access counts one reference. Data longer than the smallest line count as that long: only instructions that save or
// restore a processor's state have them, and cachegrind cuts those.
func (s *Split) access(f *front, st *SplitStats, addr uint64, size int) {
	st.Refs++
	last := addr + min(uint64(size), s.clip) - 1
	if f.holds(addr, last) {
		return
	}
	st.Misses++
	if !s.ll.holds(addr, last) {
		st.Last++
	}
}

// holds reports whether the lines of addr and of last, the same or neighbours, are in f, and makes them its most recently used.
func (f *front) holds(addr, last uint64) bool {
	one, two := addr>>f.shift, last>>f.shift
	hit := f.use(one << 6)
	if one == two {
		return hit
	}
	return f.use(two<<6) && hit
}

// use makes pa's line the most recently used of its set and reports whether it was there.
func (a *array) use(pa uint64) bool {
	set := a.set(pa)
	if a.level1 {
		i := a.base(set) + uint64(a.pred[pa>>6%predSlots])
		if a.row[i] == pa|tagValid {
			a.clock++
			a.row[i+a.ways] = a.clock
			return true
		}
		if i, ok := a.scan(pa); ok {
			a.touch(set, int(i))
			return true
		}
		a.fill(pa, 0, 0)
		return false
	}
	if i := a.find(set, pa); i >= 0 {
		a.touch(set, i)
		return true
	}
	a.place(set, a.victim(set, a.ways), pa, 0)
	return false
}
