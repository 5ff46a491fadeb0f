package bench

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"dmapath/bench/evidence"
	"dmapath/cpu"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads"
	"dmapath/workloads/recorded"
)

// CycleTolerance is the relative deviation allowed between the cycles of a modelled and of a recorded stream.
const CycleTolerance = 0.15

// CycleSlack is how many cycles they may differ by in any case: streams of a few instructions, such as pfn_valid's, end where the last
// of them retires, which a single dependence moves by as much.
const CycleSlack = 5

// States are the cache states that streams are timed in, as of compare.
var States = [3]string{"hot", "warm", "cold"}

// Cycles is how long the modelled and the recorded stream of one call take on the same core, by state.
type Cycles struct{ Modelled, Recorded [3]float64 }

// Deviation is (modelled - recorded) / recorded.
func (c *Cycles) Deviation(state int) float64 {
	return (c.Modelled[state] - c.Recorded[state]) / c.Recorded[state]
}

// Within says that one state is within its tolerance.
func (c *Cycles) Within(state int) bool {
	d := c.Modelled[state] - c.Recorded[state]
	return max(d, -d) <= max(CycleTolerance*c.Recorded[state], CycleSlack)
}

// How often a stream runs in each place of its code: enough for the predictor and the caches to settle, then enough for a mean of
// states in which chance decides what is displaced.
const (
	cycleWarm   = 12
	cycleRounds = 8
)

// codeStarts is in how many places within a line of 64 bytes a function can begin: they are aligned to 16 bytes. No trace says where the
// real ones begin and the linker decides it anew with every change, so all streams run with their functions moved to each.
const codeStarts = 4

// recordedText is where the functions of recorded streams lie, one stream at a time.
var recordedText = cpu.NewFunc("(recorded text)", "(recorded)", 1<<20)

// stepsName is the file of a call's steps.
func stepsName(k CallKey) string {
	return fmt.Sprintf("steps/%s__%s__%s__%d.csv", k.Kernel, k.Backend, k.API, k.Size)
}

// steps reads the recorded stream of a call; ok is false when there is none.
func (k *KernelTraces) steps(key CallKey, at recorded.Layout) (rec *recorded.Recording, ok bool, err error) {
	if strings.ContainsAny(key.Kernel+key.Backend+key.API, `/\`) {
		return nil, false, nil
	}
	text := map[string]*cpu.Func{}
	at.Func = func(s string) *cpu.Func { return text[s] }
	err = k.file(stepsName(key), func(name string, r io.Reader) error { return layOut(name, r, text) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	err = k.file(stepsName(key), func(name string, r io.Reader) (err error) {
		rec, err = recorded.Parse(r, name, at)
		return err
	})
	return rec, err == nil, err
}

// layOut gives the functions of a steps file places in kernel text, in the order in which they appear, each as large as its last
// instruction needs.
func layOut(name string, r io.Reader, text map[string]*cpu.Func) error {
	s, err := newSheet(name, r, "symbol")
	if err != nil {
		return err
	}
	var order []*cpu.Func
	var fn *cpu.Func
	for s.next() {
		symbol, offset, ok := strings.Cut(s.text("symbol"), "+")
		off, err := strconv.ParseUint(offset, 16, 18)
		if !ok || err != nil || symbol == "" && fn == nil {
			s.bad("symbol is %q; wanted is function+offset, or +offset after such a line", s.text("symbol"))
			continue
		}
		if symbol != "" {
			if fn = text[symbol]; fn == nil {
				fn = &cpu.Func{ID: recordedText.ID, Name: symbol}
				text[symbol], order = fn, append(order, fn)
			}
		}
		fn.Size = max(fn.Size, uint32(off)+16)
	}
	at := recordedText.PC
	for _, f := range order {
		f.PC = at
		at += (f.Size+15)&^15 + 4096 // as cpu.NewFunc: which functions share a page is not known
	}
	if at > recordedText.PC+recordedText.Size {
		return fmt.Errorf("%s: the functions need %d bytes of text, more than %d", name, at-recordedText.PC, recordedText.Size)
	}
	return s.err()
}

// cycles times the modelled stream ops of a call and its recorded one; nil when there is no steps file.
func (k *KernelTraces) cycles(c conditions, key CallKey, ops []cpu.Op) (*Cycles, error) {
	if _, ok, err := k.steps(key, recorded.Layout{}); !ok || err != nil {
		return nil, err
	}
	out := &Cycles{}
	for state := range States {
		for _, from := range []struct {
			recorded bool
			to       *float64
		}{{false, &out.Modelled[state]}, {true, &out.Recorded[state]}} {
			err := func() error {
				m, _, err := c.machine()
				if err != nil {
					return err
				}
				defer m.Close()
				stream := ops
				if from.recorded {
					rec, _, err := k.steps(key, recorded.MemoryOf(m))
					if err != nil {
						return err
					}
					stream = rec.Ops
				}
				*from.to, err = timeStream(m, stream, States[state])
				return err
			}()
			if err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// timeStream is the mean number of cycles of ops on m's core, run again and again with the surroundings of a state in between.
func timeStream(m *platform.Machine, ops []cpu.Op, state string) (cycles float64, err error) {
	defer func() {
		if p := recover(); p != nil { // an access that no machine has, in a damaged file
			err = fmt.Errorf("the stream cannot run: %v", p)
		}
	}()
	around, err := workloads.AmbienceOf(m, state, 0, 1)
	if err != nil {
		return 0, err
	}
	core := m.Cores[0]
	now, sum := sim.Microsecond, int64(0)
	for start := range uint32(codeStarts) {
		moved := move(ops, start*64/codeStarts)
		for i := range cycleWarm + cycleRounds {
			around.Displace(core)
			end := core.Run(moved, now, nil)
			if i >= cycleWarm {
				sum += core.Between(now, end)
			}
			now = end + sim.Microsecond // the pipeline and the buses are empty again
		}
	}
	return float64(sum) / (codeStarts * cycleRounds), nil
}

// move returns ops whose code lies by bytes further on.
func move(ops []cpu.Op, by uint32) []cpu.Op {
	moved := slices.Clone(ops)
	for i := range moved {
		o := &moved[i]
		o.PC += by
		switch o.Class {
		case cpu.Ret, cpu.CallInd, cpu.JmpInd, cpu.LinkRet, cpu.LinkInd:
			if o.Src != 0 { // where it goes
				o.Src += uint64(by)
			}
		}
	}
	return moved
}

// hasSteps reports whether there is a steps file of a call.
func (k *KernelTraces) hasSteps(key CallKey) bool {
	if strings.ContainsAny(key.Kernel+key.Backend+key.API, `/\`) {
		return false
	}
	return k.file(stepsName(key), func(string, io.Reader) error { return nil }) == nil
}

// CycleTally counts calls and states whose cycles are compared, of one kernel (all with an empty name) and one state (all: -1).
// Unmodelled counts the calls with steps that could not be timed.
func (v *Validation) CycleTally(kern string, state int) (n Tally) {
	for _, r := range v.Results {
		if kern != "" && r.Kernel != kern {
			continue
		}
		for i := range States {
			if state >= 0 && i != state {
				continue
			}
			switch {
			case r.Cycles != nil:
				n.add(r.Cycles.Within(i), true)
			case r.Failed != nil:
				n.add(false, false)
			}
		}
	}
	return n
}

// cycleTable is modelled and recorded cycles side by side for a kernel and backend.
func (v *Validation) cycleTable(place string, of func(*CallResult) bool) *results.Table {
	t := &results.Table{ID: "cycles", Title: place + ": cycles, modelled/recorded, and the deviation", Keys: 2, Columns: []results.Column{{Name: "call", Text: true},
		{Name: "size", Text: true}}}
	for _, s := range States {
		t.Columns = append(t.Columns, results.Column{Name: s}, results.Column{Name: "dev", Unit: "%", Decimals: 1, Signed: true})
	}
	t.Columns = append(t.Columns, results.Column{Name: "verdict", Text: true})
	for _, r := range v.Results {
		if !of(r) || r.Cycles == nil {
			continue
		}
		row, verdict := []any{r.API, sizeName(r.Size)}, "ok"
		for i := range States {
			row = append(row, fmt.Sprintf("%.0f/%.0f", r.Cycles.Modelled[i], r.Cycles.Recorded[i]), 100*r.Cycles.Deviation(i))
			if !r.Cycles.Within(i) {
				verdict = "MISS"
			}
		}
		t.Add(append(row, results.Toned(verdict, verdictTone(verdict == "ok")))...)
	}
	return t
}

// cycleSummary counts calls and states by kernel.
func (v *Validation) cycleSummary() *results.Table {
	t := &results.Table{ID: "cycle_summary", Title: "Cycles of modelled against recorded streams, calls", Columns: []results.Column{{Name: "kernel", Text: true}, {Name: "state", Text: true},
		{Name: "calls"}, {Name: "within"}, {Name: "miss"}, {Name: "not timed"}}}
	for _, k := range v.kernels() {
		for i, s := range States {
			if n := v.CycleTally(k, i); n.Rows > 0 {
				t.Add(k, s, n.Rows, n.Within, n.Miss, n.Unmodelled)
			}
		}
	}
	t.Notes = []string{fmt.Sprintf("Within is %g %%, or %d cycles. Both streams run on the same core (icelake-sp), again and again, with the surroundings of the state in between. Only calls with a "+
		"steps file have recorded cycles, and of these only such as have a typical instruction count.", 100*CycleTolerance, CycleSlack)}
	for _, r := range v.Results {
		if r.Failed != nil {
			t.Notes = append(t.Notes, fmt.Sprintf("%v: %v.", r.CallKey, r.Failed))
		}
	}
	return t
}

// cycleRows are the rows of one call, a set per kernel and state.
func (r *CallResult) cycleRows() (rows []evidence.Row) {
	if r.Cycles == nil {
		return nil
	}
	for i, s := range States {
		rows = append(rows, evidence.Row{Set: r.Kernel + " cycles, " + s, What: r.Backend + " " + r.API + " " + sizeName(r.Size), Unit: "cycles",
			Predicted: r.Cycles.Modelled[i], Reference: r.Cycles.Recorded[i], Tolerance: CycleTolerance, Slack: CycleSlack,
			Source: "the recorded instructions on the same core and caches", Why: cycleWhy[i]})
	}
	return rows
}

// cycleWhy is what is known about misses, by state; docs/model.md has more.
var cycleWhy = [len(States)]string{
	"a chain of dependences that the modelled stream lacks",
	"code lines: gcc moves what is rarely executed behind the function, so short recorded calls visit more lines, which are no neighbours",
	"one line of code or data more or less is 150 to 200 cycles, and which objects share lines is not recorded",
}
