package cache

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// slowLRU is a set-associative cache as a list of lines per set, most recently used first.
type slowLRU struct {
	sets [][]uint64
	ways int
	line uint64
}

func newSlowLRU(g Geometry) *slowLRU {
	return &slowLRU{sets: make([][]uint64, g.Bytes/g.Ways/g.Line), ways: g.Ways, line: uint64(g.Line)}
}

func (c *slowLRU) use(block uint64) bool {
	s := &c.sets[block%uint64(len(c.sets))]
	for i, b := range *s {
		if b == block {
			copy((*s)[1:i+1], (*s)[:i])
			(*s)[0] = block
			return true
		}
	}
	*s = append([]uint64{block}, (*s)[:min(len(*s), c.ways-1)]...)
	return false
}

// holds touches every line of the bytes and reports whether all were there.
func (c *slowLRU) holds(addr, size uint64) bool {
	hit := true
	for b := addr / c.line; b <= (addr+size-1)/c.line; b++ {
		hit = c.use(b) && hit
	}
	return hit
}

// Any geometry and any accesses: the counts are those of lists.
func TestSplitIsAListOfLinesPerSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		geometry := func(name string, sets int) Geometry {
			g := Geometry{Ways: rapid.IntRange(1, 32).Draw(t, name+" ways"), Line: 16 << rapid.IntRange(0, 4).Draw(t, name+" line")}
			g.Bytes = g.Ways * g.Line << rapid.IntRange(0, sets).Draw(t, name+" sets")
			return g
		}
		gi, gd, gl := geometry("I1", 4), geometry("D1", 4), geometry("LL", 6)
		s, err := NewSplit(gi, gd, gl)
		if err != nil {
			t.Fatal(err)
		}
		i1, d1, ll := newSlowLRU(gi), newSlowLRU(gd), newSlowLRU(gl)
		var want [3]SplitStats
		clip := min(gi.Line, gd.Line, gl.Line)
		span := uint64(8 * gl.Bytes)
		for range rapid.IntRange(1, 400).Draw(t, "accesses") {
			kind := rapid.IntRange(0, 2).Draw(t, "kind")
			addr := rapid.Uint64Range(1<<40, 1<<40+rapid.SampledFrom([]uint64{64, 1024, span}).Draw(t, "span")).Draw(t, "addr")
			size := rapid.IntRange(1, 64).Draw(t, "size")
			first := d1
			switch kind {
			case 0:
				s.Fetch(addr, size)
				first = i1
			case 1:
				s.Read(addr, size)
			case 2:
				s.Write(addr, size)
			}
			w := &want[kind]
			w.Refs++
			n := uint64(min(size, clip))
			if !first.holds(addr, n) {
				w.Misses++
				if !ll.holds(addr, n) {
					w.Last++
				}
			}
		}
		if got := [3]SplitStats{s.Fetches, s.Reads, s.Writes}; got != want {
			t.Fatalf("I1 %v D1 %v LL %v: got %+v, lists say %+v", gi, gd, gl, got, want)
		}
	})
}

// The last level is asked for both lines of an access of which the first level has one: that line stays young there.
func TestASplitAccessAsksForBothLines(t *testing.T) {
	s, err := NewSplit(Geometry{1024, 2, 64}, Geometry{1024, 2, 64}, Geometry{128, 2, 64})
	if err != nil {
		t.Fatal(err)
	}
	s.Read(0, 8)  // D1: 0; LL: 0
	s.Read(60, 8) // 0 hits, 64 misses: one miss; LL: 64, 0
	if want := (SplitStats{2, 2, 2}); s.Reads != want {
		t.Fatalf("got %+v, want %+v", s.Reads, want)
	}
	s.Write(128, 4) // LL: 128, 64
	s.Fetch(64, 4)  // not in I1, in LL
	if s.Fetches.Misses != 1 || s.Fetches.Last != 0 {
		t.Errorf("the line that the access had in D1 was not asked for in LL: %+v", s.Fetches)
	}
}

func TestSplitRefusesWhatIsNoCache(t *testing.T) {
	ok := Geometry{32768, 8, 64}
	for _, c := range []struct {
		g   Geometry
		msg string
	}{
		{Geometry{32768, 33, 64}, "associativity"}, {Geometry{32768, 0, 64}, "associativity"}, {Geometry{32768, 8, 48}, "line size"},
		{Geometry{32768, 8, 8}, "line size"}, {Geometry{32768, 6, 64}, "power of two of sets"}, {Geometry{0, 8, 64}, "size is"},
		{Geometry{-512, 8, 64}, "size is"},
	} {
		if _, err := NewSplit(ok, c.g, ok); err == nil || !strings.Contains(err.Error(), "D1: "+c.msg) && !strings.Contains(err.Error(), c.msg) {
			t.Errorf("%v: got %v, want %q", c.g, err, c.msg)
		}
	}
}

func TestSplitAllocatesNothing(t *testing.T) {
	s, _ := NewSplit(Geometry{32768, 8, 64}, Geometry{32768, 8, 64}, Geometry{1 << 20, 16, 64})
	x := uint64(1)
	if n := testing.AllocsPerRun(100, func() {
		for range 1000 {
			x = x*6364136223846793005 + 1
			s.Read(x>>40, 8)
			s.Write(x>>44, 4)
			s.Fetch(x>>46, 5)
		}
	}); n != 0 {
		t.Errorf("%v allocations per 3000 accesses", n)
	}
}

// References per second of a program like stream: nearly all hits, and of one that misses the first level every time.
func BenchmarkSplit(b *testing.B) {
	for _, c := range []struct {
		name string
		step uint64
	}{{"hit", 8}, {"miss", 64}} {
		b.Run(c.name, func(b *testing.B) {
			s, _ := NewSplit(Geometry{32768, 8, 64}, Geometry{32768, 8, 64}, Geometry{33554432, 16, 64})
			b.ReportAllocs()
			for i := range uint64(b.N) {
				s.Read(i*c.step&(1<<20-1), 8)
			}
			if s.Reads.Refs != uint64(b.N) {
				b.Fatal(s.Reads)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mref/s")
		})
	}
}

// The marks of a set are compared eight at a time, and a match of mark 1 raises a flag above it as well: with fewer than eight ways,
// behind the set, and in the last set behind the array.
func TestFindStaysInsideOfTheArray(t *testing.T) {
	for ways := 1; ways < 8; ways++ {
		for _, l := range []Level{L1, L2, LLC} {
			a := newArray(2*ways*LineBytes, ways, LRU, l)
			tried := 0
			for line := uint64(1); tried < 40; line += 2 { // of the last set
				pa := line << 6
				if mark(pa) != 1 {
					continue
				}
				tried++
				if i := a.find(1, pa); i >= 0 {
					t.Fatalf("%d ways, %v: line %d is there before it was placed", ways, l, line)
				}
				a.place(1, a.victim(1, a.ways), pa, 0)
			}
		}
	}
}
