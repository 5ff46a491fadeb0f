package cpu

import (
	"testing"
)

const data = DirectMapBase + 1<<30

// slope returns the cycles per repetition of an op sequence: the difference between n and 2n repetitions.
func slope(r *rig, n int, body func(n int)) float64 {
	one := r.cost(func() { body(n) })
	two := r.cost(func() { body(2 * n) })
	return float64(two-one) / float64(n)
}

func TestDependentALUOpsTakeOneCycleEach(t *testing.T) {
	r := newRig(t)
	if got := slope(r, 200, func(n int) { r.Chain(n, r.ALU(1, 0)) }); got != 1 {
		t.Errorf("%v cycles per op of a chain, want 1", got)
	}
}

func TestIndependentOpsRunAtTheNarrowestWidth(t *testing.T) {
	for _, tc := range []struct {
		name string
		tune func(*Config)
		op   Class
		want float64 // cycles per op
	}{
		{"four ALU ports", func(c *Config) {}, ALU, 1. / 4},
		{"dispatch of 5", func(c *Config) {}, Nop, 1. / 5},
		{"fetch of 2", func(c *Config) { c.FetchWidth = 2 }, ALU, 1. / 2},
		{"retirement of 2", func(c *Config) { c.RetireWidth = 2 }, ALU, 1. / 2},
		{"one multiplier, pipelined", func(c *Config) {}, Mul, 1},
		{"one divider, busy 6 cycles", func(c *Config) {}, Div, 6},
		{"three slots each", func(c *Config) { c.Slots[BitScan] = 10; c.DispatchWidth = 5 }, BitScan, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.tune)
			got := slope(r, 600, func(n int) {
				for range n {
					r.Op(tc.op, 0)
				}
			})
			if got != tc.want {
				t.Errorf("%v cycles per op, want %v", got, tc.want)
			}
		})
	}
}

func TestPointerChaseInL1TakesTheLoadLatencyPerLoad(t *testing.T) {
	r := newRig(t)
	got := slope(r, 100, func(n int) {
		v := Val(0)
		for i := range n {
			v = r.Load(data+uint64(i%64)*64, v)
		}
	})
	if got != 5 {
		t.Errorf("%v cycles per load, want 5", got)
	}
}

func TestIndependentLoadsRunAtTwoPerCycle(t *testing.T) {
	r := newRig(t)
	got := slope(r, 400, func(n int) {
		for i := range n {
			r.Load(data+uint64(i%64)*64, 0)
		}
	})
	if got != 0.5 {
		t.Errorf("%v cycles per load, want 1/2", got)
	}
}
