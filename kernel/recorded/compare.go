package recorded

import (
	"fmt"
	"strings"

	"dmapath/cpu"
)

// TB is the part of testing.TB that the checks use; programs that only measure do not link package testing.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
}

// Tolerance says how far a modelled call may be from the recorded one.
type Tolerance struct {
	// Call and Function are relative deviations allowed in instructions, loads and stores of the whole call and of
	// one function. A deviation of one instruction of a function is always allowed when Function > 0.
	Call, Function float64
	Lines          int // deviation allowed in distinct lines without the stack
	// Ignore lists functions that are not compared one by one (they stay in the totals).
	Ignore []string
}

// Tolerances in use.
var (
	Exact = Tolerance{}                                       // every count equal
	Close = Tolerance{Call: 0.02, Function: 0.05, Lines: 2}   // the aim for straight-line paths
	Fair  = Tolerance{Call: 0.10, Function: 0.2501, Lines: 2} // what the project must reach
)

// Check fails tb with one line per deviation of ops from the recorded call of key.
func Check(tb TB, ops []cpu.Op, key string, tol Tolerance) {
	tb.Helper()
	want, err := Load(key)
	if err != nil {
		tb.Fatal(err)
	}
	got := Measure(ops)
	if diff := Compare(got, want, tol); len(diff) > 0 {
		tb.Errorf("%s differs from its recording:\n%s\n%s", key, strings.Join(diff, "\n"), Table(got, want))
	}
}

// CheckFunction fails tb when function name of ops differs from the recording of key; for tests of one function
// of a path whose other parts belong to other packages. Both are taken per call of the function.
func CheckFunction(tb TB, ops []cpu.Op, key, name string, tol Tolerance) {
	tb.Helper()
	want, err := Load(key)
	if err != nil {
		tb.Fatal(err)
	}
	g, w := Measure(ops).Function(name), want.Function(name)
	if g == nil || w == nil {
		tb.Errorf("%s: %s: executed by the model: %v, by the recording: %v", key, name, g != nil, w != nil)
		return
	}
	gc, wc := *g, *w
	scale(&gc, w.Calls)
	scale(&wc, g.Calls)
	for _, d := range compareCounts(name, &gc.Counts, &wc.Counts, tol.Function, w.Calls*g.Calls) {
		tb.Errorf("%s: %s", key, d)
	}
}

func scale(f *Function, n int) {
	for _, p := range f.fields() {
		*p *= n
	}
}

// Compare lists what differs by more than the tolerance.
func Compare(got, want *Call, tol Tolerance) []string {
	diff := compareCounts("call", &got.Counts, &want.Counts, tol.Call, 0)
	if d := got.LinesNoStack - want.LinesNoStack; d > tol.Lines || -d > tol.Lines {
		diff = append(diff, fmt.Sprintf("call: %d distinct lines without the stack, recorded %d", got.LinesNoStack, want.LinesNoStack))
	}
	ignore := strings.Join(tol.Ignore, " ") + " "
	for i := range want.Functions {
		w := &want.Functions[i]
		g := got.Function(w.Name)
		switch {
		case strings.Contains(ignore, w.Name+" "):
		case g == nil:
			diff = append(diff, fmt.Sprintf("%s: not executed, recorded %d instructions", w.Name, w.Instructions))
		default:
			if g.Calls != w.Calls {
				diff = append(diff, fmt.Sprintf("%s: entered %d times, recorded %d", w.Name, g.Calls, w.Calls))
			}
			diff = append(diff, compareCounts(w.Name, &g.Counts, &w.Counts, tol.Function, w.Calls)...)
		}
	}
	for i := range got.Functions {
		if g := &got.Functions[i]; want.Function(g.Name) == nil && !strings.Contains(ignore, g.Name+" ") {
			diff = append(diff, fmt.Sprintf("%s: %d instructions, not executed in the recording", g.Name, g.Instructions))
		}
	}
	return diff
}

var countNames = []string{"instructions", "loads", "stores", "branches", "atomics", "fences", "irq flag ops", "flushes",
	"string ops", "MMIO"}

// compareCounts allows instructions, loads, stores and branches to deviate by frac (or by slack counts, if frac is
// not zero); the other counts must be equal.
func compareCounts(what string, got, want *Counts, frac float64, slack int) []string {
	var diff []string
	g, w := got.fields(), want.fields()
	for i, name := range countNames {
		d := *g[i] - *w[i]
		if d < 0 {
			d = -d
		}
		if *w[i] < 0 { // not known
			continue
		}
		allowed := 0.0
		if i < 4 && frac > 0 {
			allowed = max(frac*float64(*w[i]), float64(slack))
		}
		if float64(d) > allowed {
			diff = append(diff, fmt.Sprintf("%s: %d %s, recorded %d", what, *g[i], name, *w[i]))
		}
	}
	return diff
}

// Table prints both calls side by side, modelled/recorded, one line per function; a star marks a difference.
func Table(got, want *Call) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-34s %9s %11s %9s %9s %9s\n", "function (modelled/recorded)", "calls", "instr", "loads", "stores", "branches")
	row := func(name string, gc, wc int, g, w *Counts) {
		star := " "
		if gc != wc || len(compareCounts("", g, w, 0, 0)) > 0 {
			star = "*"
		}
		pair := func(a, b int) string { return fmt.Sprintf("%d/%d", a, b) }
		fmt.Fprintf(&b, "%s%-33s %9s %11s %9s %9s %9s\n", star, name, pair(gc, wc), pair(g.Instructions, w.Instructions),
			pair(g.Loads, w.Loads), pair(g.Stores, w.Stores), pair(g.Branches, w.Branches))
	}
	for i := range want.Functions {
		w := &want.Functions[i]
		g := got.Function(w.Name)
		if g == nil {
			g = &Function{}
		}
		row(w.Name, g.Calls, w.Calls, &g.Counts, &w.Counts)
	}
	for i := range got.Functions {
		if g := &got.Functions[i]; want.Function(g.Name) == nil {
			row(g.Name, g.Calls, 0, &g.Counts, &Counts{})
		}
	}
	row("total", 1, 1, &got.Counts, &want.Counts)
	fmt.Fprintf(&b, "lines %d/%d, without stack %d/%d\n", got.Lines, want.Lines, got.LinesNoStack, want.LinesNoStack)
	return b.String()
}
