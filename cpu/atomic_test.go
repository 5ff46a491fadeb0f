package cpu

import "testing"

// TestLoadsBehindAnAtomic: with AtomicHolds they wait for it, without they hide it.
func TestLoadsBehindAnAtomic(t *testing.T) {
	cost := func(holds bool) int64 {
		r := newRig(t, func(c *Config) { c.AtomicHolds = holds })
		return r.cost(func() {
			for range 20 {
				r.Atomic(testStack-64, 0, 0)
				d := r.Load(testStack-4096, 0)
				for range 15 {
					d = r.Load(testStack-4096, d)
				}
			}
		})
	}
	// 20 rounds of 16 loads of 5 cycles, and 20 atomics of 18.
	on, off := cost(true), cost(false)
	if on < 20*(16*5+18) || off > 20*16*5+20*18/2 {
		t.Errorf("%d cycles when loads wait, %d when not; want at least %d and less than %d", on, off, 20*(16*5+18), 20*16*5+20*18/2)
	}
}

// TestAtomicBehindStores: with AtomicHolds the stores come on top, without they do not.
func TestAtomicBehindStores(t *testing.T) {
	cost := func(holds bool, stores int) int64 {
		r := newRig(t, func(c *Config) { c.AtomicHolds = holds })
		return r.cost(func() {
			for range 20 {
				r.Atomic(testStack-64, 0, 0)
				for i := range stores {
					r.Store(testStack-4096+uint64(i)*8, 0, 0)
				}
			}
		})
	}
	if plain, stores := cost(true, 0), cost(true, 3); stores < plain+20*2 {
		t.Errorf("in order: %d cycles with 3 stores, %d without", stores, plain)
	}
	if plain, stores := cost(false, 0), cost(false, 3); stores > plain+20 {
		t.Errorf("overlapping: %d cycles with 3 stores, %d without", stores, plain)
	}
}

// TestIndexedLoadWaitsForBothRegisters: an address has two sources.
func TestIndexedLoadWaitsForBothRegisters(t *testing.T) {
	cost := func(base, index int) int64 {
		r := newRig(t)
		return r.cost(func() {
			d := r.Chain(base, 0)
			i := r.Chain(index, 0)
			v := r.Mem(Load, testStack-64, 8, d, i)
			r.Chain(20, v)
		})
	}
	if a, b, c := cost(40, 1), cost(1, 40), cost(1, 1); a != b || a < c+35 {
		t.Errorf("%d cycles behind a late base, %d behind a late index, %d behind neither", a, b, c)
	}
}

// TestStringsDoNotOverlap: two string instructions share the unit that moves bytes.
func TestStringsDoNotOverlap(t *testing.T) {
	cost := func(n int) int64 {
		r := newRig(t)
		return r.cost(func() {
			for range n {
				r.StringCopy(testStack-8192, testStack-16384, 1024, 0, 0)
			}
		})
	}
	one, nine := cost(1), cost(9)
	if want := int64(8 * 1024 / 32); nine-one < want {
		t.Errorf("8 more copies of 1024 bytes at 32 a cycle take %d cycles, want at least %d", nine-one, want)
	}
}
