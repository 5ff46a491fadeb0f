package workloads

import (
	"math"
	"testing"

	"dmapath/cpu"
)

// account charges one call of n instructions and c cycles to function 1 as Measure would, and marks batches as it does.
func (o *Op) account(n, c int64) {
	o.Acct.Fn[1].Ops[cpu.ALU] += n
	o.Acct.Fn[1].Cycles += c
	o.N++
	if o.due() {
		o.mark(0)
	}
}

// A count that is the same in every call has an interval of zero; one that changes from batch to batch has that of the batches; a run
// of fewer calls than batches has none.
func TestIntervalsOfCounts(t *testing.T) {
	run := func(planned int64, cycles func(i int64) int64) *Op {
		o := NewOp(planned)
		o.mark(0)
		for i := range planned / 2 {
			o.account(100, cycles(i))
		}
		return o
	}
	o := run(800, func(i int64) int64 { return 50 + i/20%2 }) // 20 calls are a batch
	if len(o.marks) != batchCount+1 {
		t.Fatalf("%d marks, want %d", len(o.marks), batchCount+1)
	}
	if got := o.Interval((*cpu.FnCount).Instructions); got != 0 {
		t.Errorf("100 instructions in every call: half width %g", got)
	}
	sd := math.Sqrt(0.25 * 20 / 19)
	if got, want := o.StepInterval([]uint16{1}), 2.093*sd/math.Sqrt(20); math.Abs(got-want) > 1e-3 {
		t.Errorf("cycles 50 and 51 in turn by batch: half width %g, want %g", got, want)
	}
	if got := run(20, func(int64) int64 { return 50 }).Interval((*cpu.FnCount).Instructions); !math.IsNaN(got) {
		t.Errorf("ten calls: half width %g, want none", got)
	}
}
