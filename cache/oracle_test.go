package cache

import (
	"math/rand/v2"
	"testing"

	"dmapath/sim"
)

// oracle is MESI with caches that never evict: per line, a state per core, and what the LLC holds.
type oracle struct {
	state     map[uint64][]State
	llc       map[uint64]State // Invalid, Shared (clean), Modified (dirty)
	cores     int
	inclusive bool
}

func (o *oracle) line(pa uint64) []State {
	if o.state[pa] == nil {
		o.state[pa] = make([]State, o.cores)
	}
	return o.state[pa]
}

// others returns the state of the strongest copy in other cores.
func (o *oracle) others(core int, pa uint64) State {
	best := Invalid
	for c, s := range o.line(pa) {
		if c != core {
			best = max(best, s)
		}
	}
	return best
}

func (o *oracle) load(core int, pa uint64) Level {
	l := o.line(pa)
	if l[core] != Invalid {
		return L1
	}
	other := o.others(core, pa)
	switch {
	case other == Exclusive || other == Modified:
		for c := range l {
			if l[c] != Invalid {
				l[c] = Shared
			}
		}
		l[core] = Shared
		if o.llc[pa] != Modified {
			o.llc[pa] = Shared
		}
		if other == Modified {
			o.llc[pa] = Modified
		}
		return Peer
	case o.llc[pa] != Invalid:
		l[core] = Exclusive
		if other == Shared {
			l[core] = Shared
		} else if !o.inclusive {
			if o.llc[pa] == Modified {
				l[core] = Modified
			}
			o.llc[pa] = Invalid
		}
		return LLC
	case other == Shared:
		l[core] = Shared
		return Peer
	}
	l[core] = Exclusive
	if o.inclusive {
		o.llc[pa] = Shared
	}
	return DRAM
}

func (o *oracle) store(core int, pa uint64) Level {
	l := o.line(pa)
	mine, other := l[core], o.others(core, pa)
	lvl := DRAM
	switch {
	case mine == Exclusive || mine == Modified:
		lvl = L1
	case other != Invalid:
		lvl = Peer
	case mine == Shared || o.llc[pa] != Invalid:
		lvl = LLC
	}
	for c := range l {
		l[c] = Invalid
	}
	l[core] = Modified
	if !o.inclusive {
		o.llc[pa] = Invalid
	} else if o.llc[pa] == Invalid {
		o.llc[pa] = Shared
	}
	return lvl
}

func (o *oracle) deviceRead(pa uint64) Level {
	switch other := o.others(-1, pa); {
	case other == Exclusive || other == Modified:
		return Peer
	case o.llc[pa] != Invalid:
		return LLC
	case other == Shared:
		return Peer
	}
	return DRAM
}

func (o *oracle) invalidate(pa uint64) {
	l := o.line(pa)
	for c := range l {
		l[c] = Invalid
	}
	o.llc[pa] = Invalid
}

// Levels and states of every access agree with the oracle as long as nothing is evicted.
func TestMESIAgreesWithOracle(t *testing.T) {
	for _, inclusive := range []bool{false, true} {
		for _, cores := range []int{2, 3, 66} {
			cfg := bare(cores)
			cfg.LLC.Inclusive = inclusive
			h := build(t, cfg)
			o := &oracle{state: map[uint64][]State{}, llc: map[uint64]State{}, cores: cores, inclusive: inclusive}
			r := rand.New(rand.NewPCG(7, uint64(cores)))
			now := sim.Time(0)
			for step := range 20000 {
				now += 10 * us // nothing in flight any more
				core, pa := r.IntN(cores), r.Uint64N(40)<<6
				var got, want Level
				name := ""
				switch r.IntN(12) {
				case 0, 1, 2, 3, 4:
					name = "load"
					want = o.load(core, pa)
					_, got = read(h, core, pa, now)
				case 5, 6, 7:
					name = "store"
					want = o.store(core, pa)
					_, got = write(h, core, pa, now)
				case 8:
					name = "device read"
					want = o.deviceRead(pa)
					_, got = h.DeviceRead(pa, 64, now)
				case 9:
					name = "device write"
					o.invalidate(pa)
					o.llc[pa] = Modified
					h.DeviceWrite(pa, 64, now)
				case 10:
					name = "flush"
					o.invalidate(pa)
					h.CleanInvalidate(core, pa, now)
				case 11:
					name = "clean"
					for c, s := range o.line(pa) {
						if s == Modified {
							o.line(pa)[c] = Exclusive
						}
					}
					if o.llc[pa] == Modified {
						o.llc[pa] = Shared
					}
					h.Clean(core, pa, now)
				}
				if got != want {
					t.Fatalf("inclusive %v, step %d: %s by core %d of %#x from %v, oracle says %v", inclusive, step, name, core, pa, got, want)
				}
				for c := range cores {
					if _, st := h.Probe(c, pa); st != o.line(pa)[c] {
						t.Fatalf("inclusive %v, step %d: after %s by core %d of %#x, core %d has %v, oracle says %v", inclusive, step, name, core, pa, c, st, o.line(pa)[c])
					}
				}
			}
			if err := audit(h); err != nil {
				t.Fatal(err)
			}
		}
	}
}
