package workloads

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/sim"
)

// histLimit bounds the histogram of cycles per call: 2^32 cycles, more than a second.
const histLimit = 1 << 32

// Op collects what one kind of call cost.
//
// The series holds every call, so that the end of the warm-up can be found in it. Distribution and account hold the second
// half of the calls only: MSER never cuts more than half, so what they hold is always past the warm-up, or the series says
// that none was found. A run that makes less than half of the calls planned (a NIC that drops frames) has them all.
type Op struct {
	Name    string         // of the call on a timeline: map, unmap; empty: call
	Cycles  *sim.Histogram // cycles per call, second half
	Series  sim.Series     // cycles of every call in order
	Acct    *cpu.Account   // instructions, cycles, loads by kernel function, second half
	N       int64          // calls in Cycles and Acct
	Planned int64          // calls that the run will make
	Driver  bool           // it is the driver's own work that is measured: breakdowns name its functions
	Total   int64          // cycles of every call
	Instr   int64          // instructions of the calls in Cycles and Acct, counted by the streams and not by the cores
	halved  bool           // the first half is over
	open    int            // calls under way, on different CPUs
	site    uint32         // where the driver's code that makes the calls begins
	sited   bool
	marks   []mark // ends of batches of the second half
}

// NewOp returns an empty record for about planned calls.
func NewOp(planned int64) *Op {
	return &Op{Cycles: sim.NewHistogram(histLimit, 3), Acct: cpu.NewAccount(), Planned: planned}
}

// Named says what the calls are called on a timeline.
func (o *Op) Named(name string) *Op {
	o.Name = name
	return o
}

// Measure times call: the cycles from the retirement of what came before it to the retirement of its last instruction.
func (o *Op) Measure(t *cpu.Thread, call func() error) error {
	s := o.Begin(t)
	err := s.Call(t, call)
	s.End()
	return err
}

// Sample is one value of an Op that several calls of one CPU make up: what all of a request's calls cost together.
type Sample struct {
	Cycles int64
	Instr  int64 // instructions of the calls
	op     *Op
	acct   *cpu.Account // where its calls are counted
	now    sim.Time     // end of its last call
}

// Begin starts a value of o. When half of the calls have been made, what distribution and account hold is forgotten; calls that are under way on
// other CPUs then are in neither.
//
// What is inlined into a driver lies at one place, however often it is executed: a driver whose code is no function of the model
// goes back to where its first call was made from. Otherwise every call would execute new lines and branches.
func (o *Op) Begin(t *cpu.Thread) Sample {
	t.Sync()
	if t.Depth() == 0 {
		if !o.sited {
			o.site, o.sited = t.Here(), true
		}
		t.Back(o.site)
	}
	if !o.halved && 2*int64(o.Series.N) >= o.Planned {
		o.halved = true
		o.Cycles.Reset()
		if o.open > 0 {
			o.Acct = cpu.NewAccount()
		}
		o.Acct.Reset()
		o.N, o.Instr = 0, 0
		o.marks = o.marks[:0]
		o.mark(t.Now())
		t.Proc.Engine().Timeline.Begin(t.Now())
	}
	o.open++
	return Sample{op: o, acct: o.Acct}
}

// Call times call as a part of s. Calls of other samples may be nested in it: their time is part of both, see Without.
func (s *Sample) Call(t *cpu.Thread, call func() error) error {
	t.Sync()
	old, start, seq := t.Acct, t.Now(), t.Last()
	t.Acct = s.acct
	shown := t.Show(s.op.Name)
	err := call()
	t.Sync()
	t.Acct = old
	cycles, instr := t.Core.Between(start, t.Now()), int64(t.Last()-seq)
	if shown != 0 {
		t.Hide(shown, sim.Num("cycles", cycles), sim.Num("instructions", instr))
	}
	s.Cycles += cycles
	s.Instr += instr
	s.now = t.Now()
	return err
}

// Without takes what the calls of a nested sample cost out of s. The accounts by function are apart already.
func (s *Sample) Without(nested *Sample) {
	s.Cycles -= nested.Cycles
	s.Instr -= nested.Instr
}

// End adds s to its Op.
func (s *Sample) End() {
	o := s.op
	o.open--
	o.Series.Add(s.Cycles)
	o.Total += s.Cycles
	if s.acct != o.Acct {
		return
	}
	o.Cycles.Add(s.Cycles)
	o.N++
	o.Instr += s.Instr
	if o.due() {
		o.mark(s.now)
	}
}

// Drop ends s without adding it to its Op: the call failed. What it executed stays in the account, as that of calls under way does.
func (s *Sample) Drop() { s.op.open-- }

// UnderWay returns how many calls have begun and not ended: at the end of a run that stops while other CPUs are in a call, what these have
// executed is in Acct and nowhere else.
func (o *Op) UnderWay() int { return o.open }

// Warning says when Cycles and Acct stand on few of the calls; nil when they do not.
func (o *Op) Warning() error {
	if o.N > 0 && 4*o.N < int64(o.Series.N) {
		return fmt.Errorf("percentiles and steps are of %d of %d calls only: fewer were made than planned", o.N, o.Series.N)
	}
	return o.Cycles.Warning()
}

// Result is what a run of a workload found.
type Result struct {
	Map, Unmap *Op
	// Sync is the cost of dma_sync_* where the workload keeps buffers mapped; nil otherwise.
	Sync *Op
	// Setup and Teardown are what a whole driver does around the mapping calls of a request, and because of how it maps:
	// scatterlists, descriptor lists, their pools. nil where a single call is measured.
	Setup, Teardown *Op
	// Units are the operations as a user of the device sees them, with all of their mapping calls together.
	Units []*Unit
	// Calls counts the calls of the DMA API by kind.
	Calls [NumCalls]int64
	// Requests counts what was sent to the device: more than the IOs where an I/O is split.
	Requests int64
	// Elapsed is the simulated time from the first operation to the last.
	Elapsed sim.Time
	// Busy is the time during which the CPUs executed something, summed over CPUs; CPUs how many took part.
	Busy sim.Time
	CPUs int
	// IOs counts completed operations (I/Os, packets, map/unmap pairs), Bytes their payload.
	IOs, Bytes int64
	// Gaps is the time in picoseconds from one completion to the next, for the interval of the throughput.
	Gaps sim.Series
	last sim.Time
	// Drops counts packets that found no receive buffer or no transmit descriptor; Interrupts those delivered; Faults transactions that the IOMMU refused.
	Drops, Interrupts, Faults int64
	// Moved is the payload that the device says it has moved, nvme only: what driver and device count must agree.
	Moved int64
	// Flight is how many operations are under way, nvme only.
	Flight sim.Level
	// Depths are how much a device has to do, over time.
	Depths []*Depth
	// Latency of an operation from issue to completion, in nanoseconds; nil where there is none.
	Latency *sim.Histogram
	// Pages is what a device met that asks for the pages it touches; nil where memory is mapped before it is used.
	Pages *PageFaults
	// Wire is what happened between sender and receive buffer; nil where there is no wire.
	Wire *Wire
	// Text is output in the words of the tool that the workload imitates (map-benchmark); empty otherwise.
	Text string
}

// Wire is what happened to the frames of a transfer before they reached a receive buffer.
type Wire struct {
	Sent        int64    // frames put on the link, those sent again included
	NoBuffer    int64    // lost because the ring was empty
	NoRoom      int64    // lost because the device's packet memory was full
	Paused      sim.Time // time during which pause frames held the link
	Antagonists int64    // bytes that antagonists of memory went through meanwhile
}

// Complete counts an operation of n bytes that ended at now.
func (r *Result) Complete(now sim.Time, n int64) {
	if r.IOs > 0 {
		r.Gaps.Add(int64(now - r.last))
	}
	r.last = now
	r.IOs++
	r.Bytes += n
}

// Throughput returns operations per second in the steady state with half of the 95 % interval.
func (r *Result) Throughput() (perSecond, half float64) {
	e := r.Gaps.SecondHalf()
	perSecond = float64(sim.Second) / e.Mean
	return perSecond, perSecond * e.HalfWidth / e.Mean // of 1/x, to first order
}

// MapShare returns the share of the CPUs' time (of their busy time when busy is set) that mapping and unmapping took, 0 to 1; with whole drivers
// also what they do around the calls.
func (r *Result) MapShare(clock sim.Clock, busy bool) float64 {
	whole := float64(r.Elapsed) * float64(r.CPUs)
	if busy {
		whole = float64(r.Busy)
	}
	if whole == 0 {
		return 0
	}
	var cycles int64
	for _, o := range []*Op{r.Map, r.Unmap, r.Sync, r.Setup, r.Teardown} {
		if o != nil {
			cycles += o.Total
		}
	}
	return float64(cycles) / float64(clock.Hz()) * float64(sim.Second) / whole
}
