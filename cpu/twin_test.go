package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// cycleByCycle is the slow twin of the window for ops that neither miss nor branch: it advances one cycle at a time and in
// each cycle looks at every op, oldest first. It returns the cycle in which each op retires.
func cycleByCycle(cfg *Config, ops []Op, start int64) []int64 {
	const not = int64(-1)
	n := len(ops)
	fetched, disp, issued, done, ret := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	for i := range n {
		fetched[i], disp[i], issued[i], done[i], ret[i] = not, not, not, not, not
	}
	loadsBefore := make([]int, n)
	var loadAt []int
	for i, op := range ops {
		loadsBefore[i] = len(loadAt)
		if op.Class == Load {
			loadAt = append(loadAt, i)
		}
	}
	f, d, r := 0, 0, 0 // next to fetch, dispatch, retire
	for now := start; r < n; now++ {
		// Execution that started earlier, and retirement.
		var ports uint16
		start := func() {
			for i := 0; i < d; i++ {
				if issued[i] != not || done[i] != not || disp[i]+1 > now {
					continue
				}
				ready := true
				for _, dep := range []uint16{ops[i].Dep1, ops[i].Dep2} {
					if j := i - int(dep); dep != 0 && j >= 0 && (done[j] == not || done[j] > now) {
						ready = false
					}
				}
				free := cfg.Ports[ops[i].Class] &^ ports
				if ready && free != 0 {
					ports |= free & -free
					issued[i] = now
					done[i] = now + int64(cfg.Latency[ops[i].Class])
				}
			}
		}
		start()
		retire := func(k int) int {
			for ; r < n && k < cfg.RetireWidth && done[r] != not && done[r] <= now; k++ {
				ret[r] = now
				r++
			}
			return k
		}
		// Fetch and dispatch of one cycle feed each other; nops are done when dispatched.
		nf, nd, nr := 0, 0, 0
		for {
			was := [3]int{nf, nd, r}
			for f < n && nf < cfg.FetchWidth && (f < cfg.FetchQueue || disp[f-cfg.FetchQueue] != not) {
				fetched[f] = now
				f++
				nf++
			}
			for d < f && nd < cfg.DispatchWidth {
				if d >= cfg.ROB && (ret[d-cfg.ROB] == not || ret[d-cfg.ROB] >= now) {
					break
				}
				if k := loadsBefore[d] - cfg.LoadQueue; ops[d].Class == Load && k >= 0 && (ret[loadAt[k]] == not || ret[loadAt[k]] >= now) {
					break
				}
				disp[d] = now
				if ops[d].Class == Nop {
					done[d] = now
				}
				d++
				nd++
			}
			nr = retire(nr)
			if was == [3]int{nf, nd, r} {
				break
			}
		}
	}
	return ret
}

func TestAgreesWithACycleByCycleMachine(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 8))
			r := newRig(t, func(c *Config) {
				c.FetchWidth, c.DispatchWidth, c.RetireWidth = 1+rnd.IntN(8), 1+rnd.IntN(6), 1+rnd.IntN(8)
				c.FetchQueue, c.ROB, c.LoadQueue = 1+rnd.IntN(70), 1+rnd.IntN(100), 1+rnd.IntN(30)
				for _, k := range []Class{ALU, Mul, BitScan} {
					c.Ports[k] = uint16(1 + rnd.IntN(15))
					c.Latency[k] = 1 + rnd.IntN(6)
				}
			})
			r.Load(data, 0) // warms the line, the translation and the code line
			r.run()
			r.idle()
			pc := r.pc
			for range 1500 {
				r.pc = pc
				k := []Class{ALU, ALU, ALU, Mul, BitScan, Nop, Load}[rnd.IntN(7)]
				r.emit(k, data, 8, 0, 0, 0)
				op := &r.Ops[len(r.Ops)-1]
				if k != Nop && rnd.IntN(3) > 0 {
					op.Dep1 = uint16(rnd.IntN(min(len(r.Ops), 30)))
				}
				if k != Nop && k != Load && rnd.IntN(3) == 0 {
					op.Dep2 = uint16(rnd.IntN(min(len(r.Ops), 30)))
				}
			}
			start := r.c.clock.CeilCycle(r.now)
			want := cycleByCycle(&r.c.cfg, r.Ops, start)
			for i := range r.Ops { // one op at a time, to see each retirement
				r.now = r.c.Run(r.Ops[i:i+1], r.now, nil)
				if got := r.c.retire >> posShift; got != want[i] {
					t.Fatalf("op %d (%v) retires in cycle %d, want %d", i, r.Ops[i].Class, got-start, want[i]-start)
				}
			}
		})
	}
}
