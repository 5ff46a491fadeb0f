package sim

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func clock(t testing.TB, hz int64) Clock {
	c, err := NewClock(hz)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A period of 333 ps would be 333.3 ms short after a second.
func TestThreeGigahertzIsExactAfterABillionCycles(t *testing.T) {
	c := clock(t, 3_000_000_000)
	for _, want := range []struct {
		cycle int64
		at    Time
	}{
		{0, 0}, {1, 334}, {2, 667}, {3, 1000},
		{999_999_999, 333_333_333_000},
		{1_000_000_000, 333_333_333_334},
		{3_000_000_000, Second},
		{3_000_000_000 * 3600, 3600 * Second},
	} {
		if got := c.Edge(want.cycle); got != want.at {
			t.Errorf("edge %d at %d ps, want %d", want.cycle, got, want.at)
		}
		if got := c.FloorCycle(want.at); got != want.cycle {
			t.Errorf("cycle at %d ps is %d, want %d", want.at, got, want.cycle)
		}
	}
}

func TestClockEdges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hz := rapid.Int64Range(1, 1_000_000_000_000).Draw(t, "hz")
		c, err := NewClock(hz)
		if err != nil {
			t.Fatal(err)
		}
		// Up to a day, which fits in Time at every frequency.
		n := rapid.Int64Range(1, min(hz, 1<<62/86400)*86400).Draw(t, "n")
		at := c.Edge(n)
		q, r := new(big.Int).QuoRem(new(big.Int).Mul(big.NewInt(n), big.NewInt(1e12)), big.NewInt(hz), new(big.Int))
		if r.Sign() > 0 {
			q.Add(q, big.NewInt(1))
		}
		if int64(at) != q.Int64() {
			t.Fatalf("edge %d of %d Hz at %d ps, want %v", n, hz, at, q)
		}
		// Tight: at t the edge has come, at t-1 it has not.
		if got := c.FloorCycle(at); got != n {
			t.Fatalf("last edge at or before its own time is %d, want %d", got, n)
		}
		if got := c.FloorCycle(at - 1); got != n-1 {
			t.Fatalf("last edge 1 ps before edge %d is %d", n, got)
		}
		if got := c.CeilCycle(at); got != n {
			t.Fatalf("first edge at or after its own time is %d, want %d", got, n)
		}
		if hz < 1_000_000_000_000 {
			if got := c.CeilCycle(at + 1); got != n+1 && c.Edge(n+1) > at+1 {
				t.Fatalf("first edge 1 ps after edge %d is %d", n, got)
			}
		}
		x := Time(rapid.Int64Range(0, int64(at)).Draw(t, "x"))
		f, cl := c.FloorCycle(x), c.CeilCycle(x)
		if c.Edge(cl) < x || cl > 0 && c.Edge(cl-1) >= x {
			t.Fatalf("first edge at or after %d ps is %d (at %d)", x, cl, c.Edge(cl))
		}
		if c.Edge(f) > x || c.Edge(f+1) <= x {
			t.Fatalf("last edge at or before %d ps is %d (at %d), the next is at %d", x, f, c.Edge(f), c.Edge(f+1))
		}
	})
}

func TestClockRange(t *testing.T) {
	for _, hz := range []int64{-1, 0, 1_000_000_000_001} {
		if _, err := NewClock(hz); err == nil {
			t.Errorf("%d Hz is accepted", hz)
		}
	}
}

func TestTimeString(t *testing.T) {
	for _, c := range []struct {
		t    Time
		want string
	}{{0, "0.000ns"}, {1, "0.001ns"}, {-1500, "-1.500ns"}, {12 * Microsecond, "12000.000ns"}, {Never, "never"}} {
		if got := c.t.String(); got != c.want {
			t.Errorf("%d ps prints as %q, want %q", int64(c.t), got, c.want)
		}
	}
}
