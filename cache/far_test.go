package cache

import (
	"math/rand/v2"
	"testing"

	"dmapath/sim"
)

func farConfig() Config {
	c := spread()
	c.FarAtomics, c.FarBusy = true, 10*sim.Nanosecond
	return c
}

// An operation that nobody hinders takes the way to the part of the LLC where the line lies and back, and its own time there; copies of other
// cores are fetched first.
func TestFarAtomicTakesTheWayAndItsTime(t *testing.T) {
	cfg := farConfig()
	for home := range 8 {
		for core := range 8 {
			h := build(t, cfg)
			h.Atomic(home, 0, 0) // from memory into the part of home
			done, lvl := h.Atomic(core, 0, 10*us)
			want := cfg.LLC.Latency + cfg.FarBusy + distance(cfg, home, core)
			if done-10*us != want || lvl != LLC {
				t.Errorf("core %d, line in the part of core %d: %v from %v, want %v", core, home, done-10*us, lvl, want)
			}
			if l, st := h.Probe(core, 0); l != LLC || st != Invalid {
				t.Errorf("core %d then has the line in %v, %v", core, l, st)
			}
			write(h, home, 0, 20*us) // takes the line out of the LLC
			done, lvl = h.Atomic(core, 0, 30*us)
			if want += cfg.Peer - cfg.LLC.Latency + distance(cfg, home, core); home != core && (done-30*us != want || lvl != Peer) {
				t.Errorf("core %d, line owned by core %d: %v from %v, want %v", core, home, done-30*us, lvl, want)
			}
			if home == core && done-30*us != cfg.LLC.Latency+cfg.FarBusy {
				t.Errorf("core %d, own line: %v", core, done-30*us)
			}
		}
	}
}

// Against a list of all operations so far: each starts when it has arrived and none of the earlier ones of its line is under way.
func TestFarAtomicsAgreeWithAList(t *testing.T) {
	type op struct {
		line       uint64
		start, end sim.Time
	}
	cfg := farConfig()
	h := build(t, cfg)
	home := map[uint64]int{}
	for l := range uint64(4) {
		home[l] = int(l) * 2
		h.Atomic(home[l], l<<6, 0)
	}
	var list []op
	r := rand.New(rand.NewPCG(7, 7))
	now, waited := 10*us, 0
	for range 3000 {
		now += sim.Time(r.IntN(20000))
		core, l := r.IntN(8), r.Uint64N(4)
		way := cfg.LLC.Latency + distance(cfg, home[l], core)
		start := now + way/2
		for _, o := range list {
			if o.line == l && o.end > start {
				start = o.end
				waited++
			}
		}
		list = append(list, op{l, start, start + cfg.FarBusy})
		if done, _ := h.Atomic(core, l<<6, now); done != start+cfg.FarBusy+way-way/2 {
			t.Fatalf("core %d, line %d at %v: done after %v, the list says %v", core, l, now, done-now, start+cfg.FarBusy+way-way/2-now)
		}
	}
	if waited < 300 {
		t.Errorf("only %d of 3000 had to wait", waited)
	}
}

// A core that asks again as soon as it has its result is served the more often the nearer it is.
func TestNearCoresWinMoreOften(t *testing.T) {
	cfg := farConfig()
	h := build(t, cfg)
	h.Atomic(0, 0, 0)
	next := [8]sim.Time{}
	for c := range next {
		next[c] = 10 * us
	}
	var n [8]int
	for {
		c := 0
		for k := range next {
			if next[k] < next[c] {
				c = k
			}
		}
		if next[c] > 110*us {
			break
		}
		next[c], _ = h.Atomic(c, 0, next[c])
		n[c]++
	}
	if !(n[1] > n[2] && n[2] > n[4]) {
		t.Errorf("served %v times: cores 0 and 1 are near, 2 and 3 in the same socket, the others in the other", n)
	}
	total := 0
	for _, k := range n {
		total += k
	}
	if most := int(100 * us / cfg.FarBusy); total > most+1 || total < most*3/4 {
		t.Errorf("%d operations in 100 us, each of which takes the line %v", total, cfg.FarBusy)
	}
}

// A load of the line waits for the operations before it.
func TestALoadWaitsForFarAtomics(t *testing.T) {
	cfg := farConfig()
	h := build(t, cfg)
	h.Atomic(0, 0, 0)
	var last sim.Time
	for c := range 8 {
		done, _ := h.Atomic(c, 0, 10*us)
		last = max(last, done)
	}
	done, _ := read(h, 1, 0, 10*us)
	if done < 10*us+8*cfg.FarBusy || done > last+cfg.LLC.Latency {
		t.Errorf("done after %v, the operations after %v", done-10*us, last-10*us)
	}
}

// Among loads and stores of the same lines, far atomics keep one writer or many readers, an exact directory and the counters.
func TestFarAtomicsKeepTheInvariants(t *testing.T) {
	for _, inclusive := range []bool{false, true} {
		cfg := tiny(8, inclusive, LRU)
		cfg.Topology, cfg.FarAtomics, cfg.FarBusy = spread().Topology, true, 5*sim.Nanosecond
		h := build(t, cfg)
		r := rand.New(rand.NewPCG(1, 9))
		now := sim.Time(0)
		for step := range 3000 {
			if r.IntN(3) == 0 {
				core, pa := r.IntN(8), r.Uint64N(120)<<6
				if done, _ := h.Atomic(core, pa, now); done < now+cfg.LLC.Latency {
					t.Fatalf("an atomic at %v is done at %v", now, done)
				}
			} else {
				randomAccess(h, r, &now)
			}
			if step%8 == 0 {
				if err := audit(h); err != nil {
					t.Fatalf("inclusive %v, step %d: %v", inclusive, step, err)
				}
			}
		}
	}
}

func randomAccess(h *Hierarchy, r *rand.Rand, now *sim.Time) {
	core, pa := r.IntN(len(h.cores)), r.Uint64N(120)<<6
	*now += sim.Time(r.IntN(20000))
	switch r.IntN(5) {
	case 0:
		h.DeviceWrite(pa+8, 8, *now)
	case 1:
		h.Displace(core, 3, 5)
	case 2:
		write(h, core, pa, *now)
	default:
		read(h, core, pa, *now)
	}
}

// Nothing of it allocates.
func TestFarAtomicsAllocateNothing(t *testing.T) {
	h := build(t, farConfig())
	now, n := sim.Time(0), uint64(0)
	if a := testing.AllocsPerRun(100, func() {
		for range 50 {
			n = n*6364136223846793005 + 1442695040888963407
			now += 1000
			h.Atomic(int(n>>61), n>>40&^63, now)
		}
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}
