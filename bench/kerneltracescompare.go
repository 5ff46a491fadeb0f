package bench

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"

	"dmapath/kernel/recorded"
	"dmapath/platform"
)

// CallResult is a recorded call beside the modelled one.
type CallResult struct {
	*RecordedCall
	Modelled *ModelledCall // nil when Reason says why there is none
	Reason   error
	Misses   []Metric // judged metrics outside the tolerance
	Paths    []PathResult
	Cycles   *Cycles // nil without a steps file of the call
	Failed   error   // why the steps could not be timed
}

// PathResult is a path of a recorded call (a set of functions executed) beside the modelled one.
type PathResult struct {
	RecordedPath
	Calls, Instructions int // modelled calls that took the path, and the most common count among them; 0 when none did
	Within              bool
}

// Judged says whether the call has a row of its own in summary.csv.
func (c *CallResult) Judged() bool { return c.Of > 0 }

// Within says that every judged metric is within its tolerance.
func (c *CallResult) Within() bool { return c.Modelled != nil && len(c.Misses) == 0 }

// Deviation returns (modelled - recorded) / recorded, NaN when one is not known. Nothing instead of nothing is no deviation.
func (c *CallResult) Deviation(m Metric) float64 {
	if c.Modelled == nil || c.Counts[m] < 0 {
		return math.NaN()
	}
	d := float64(c.Modelled.Counts[m] - c.Counts[m])
	if d == 0 {
		return 0
	}
	if c.Counts[m] == 0 {
		return math.NaN()
	}
	return d / float64(c.Counts[m])
}

// miss reports whether a judged metric is outside its tolerance.
func (c *CallResult) miss(m Metric) bool {
	want := c.Counts[m]
	if want < 0 {
		return false
	}
	d := c.Modelled.Counts[m] - want
	if d < 0 {
		d = -d
	}
	return float64(d) > Tolerance*float64(want) && !(m == Lines && d <= LineSlack)
}

// Validation is the comparison of a directory of recordings with the model.
type Validation struct {
	Dir     string
	Results []*CallResult
	Notes   []string
}

// Validate models every call of k on at most jobs processors at a time (0: all) and compares. It ends early with ctx's error when ctx
// ends.
func (k *KernelTraces) Validate(ctx context.Context, dir string, jobs int) (*Validation, error) {
	v := &Validation{Dir: dir, Notes: k.Notes}
	type group struct {
		c     conditions
		f     family
		calls []*CallResult
	}
	var groups []*group
	index := map[string]*group{}
	for _, c := range k.Calls {
		r := &CallResult{RecordedCall: c}
		v.Results = append(v.Results, r)
		cond, err := parseConditions(c.Kernel, c.Backend)
		var f family
		if err == nil {
			f, err = familyOf(cond, c.CallKey)
		}
		if err != nil {
			r.Reason = err
			continue
		}
		key := CallKey{c.Kernel, c.Backend, f.kind + " " + f.name, f.size}.String()
		g := index[key]
		if g == nil {
			g = &group{c: cond, f: f}
			index[key], groups = g, append(groups, g)
		}
		g.calls = append(g.calls, r)
	}
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	work := make(chan *group)
	var wg sync.WaitGroup
	for range min(jobs, len(groups)) {
		wg.Go(func() {
			for g := range work {
				g.c.keep = slices.ContainsFunc(g.calls, func(r *CallResult) bool { return k.hasSteps(r.CallKey) })
				calls, err := model(ctx, g.c, g.f)
				for _, r := range g.calls {
					r.judge(calls[r.API], err, g.f.kind)
					if r.Modelled != nil && r.Modelled.ops != nil {
						r.Cycles, r.Failed = k.cycles(g.c, r.CallKey, r.Modelled.ops)
						r.Modelled.ops = nil
					}
				}
			}
		})
	}
	for _, g := range groups {
		work <- g
	}
	close(work)
	wg.Wait()
	return v, ctx.Err()
}

// errNotExecuted says that a model ran and a call of it did not happen.
type errNotExecuted string

func (e errNotExecuted) Error() string { return "the model never executes " + string(e) }

// judge compares r with the modelled calls of a kind: of the first calls, a burst or a run those with the recorded indices count.
func (r *CallResult) judge(calls []ModelledCall, err error, kind string) {
	if err == nil && len(calls) == 0 {
		err = errNotExecuted(r.API)
	}
	if err != nil {
		r.Reason = err
		return
	}
	r.paths(calls)
	if !r.Judged() {
		return
	}
	if kind == "" && strings.HasPrefix(r.Backend, string(platform.SwiotlbForce)) {
		calls = r.sameStart(calls)
	} else if kind == "" {
		calls = calls[:min(len(calls), warmRecorded)] // more were modelled for the sake of rare paths
	} else {
		calls = r.sameCalls(calls)
	}
	n := make([]int, len(calls))
	for i := range calls {
		n[i] = calls[i].Counts[Instructions]
	}
	switch {
	case !r.Typical:
		r.Modelled = average(calls)
	case kind == "":
		r.Modelled = &calls[representative(n)]
	default:
		r.Modelled = &calls[slices.IndexFunc(r.rows, func(w recordedRow) bool { return w.index == r.Index })]
	}
	for _, m := range judged {
		if r.miss(m) {
			r.Misses = append(r.Misses, m)
		}
	}
}

// sameCalls returns the modelled call for each recorded one of a series in which every call has its history.
func (r *CallResult) sameCalls(calls []ModelledCall) []ModelledCall {
	same := make([]ModelledCall, len(r.rows))
	for i := range r.rows {
		same[i] = calls[min(r.rows[i].index, len(calls)-1)]
	}
	return same
}

// sameStart returns for each recorded call the modelled one that is nearest in instructions. What a call that searches the bounce pool costs
// depends on where in a segment it finds room, which is the end of the one before; nobody knows where the first recorded one
// began, so all places of a segment are modelled.
func (r *CallResult) sameStart(calls []ModelledCall) []ModelledCall {
	same := make([]ModelledCall, len(r.rows))
	for i := range r.rows {
		want := r.rows[i].counts[Instructions]
		best := 0
		for k := range calls {
			if d := calls[k].Counts[Instructions] - want; d*d < (calls[best].Counts[Instructions]-want)*(calls[best].Counts[Instructions]-want) {
				best = k
			}
		}
		same[i] = calls[best]
	}
	return same
}

// average returns the means of calls with the functions of the call whose instructions are nearest.
func average(calls []ModelledCall) *ModelledCall {
	all := make([]Counts, len(calls))
	for i := range calls {
		all[i] = calls[i].Counts
	}
	m := &ModelledCall{Counts: means(all)}
	best := 0
	distance := func(i int) int {
		return max(all[i][Instructions]-m.Counts[Instructions], m.Counts[Instructions]-all[i][Instructions])
	}
	for i := range all {
		if distance(i) < distance(best) {
			best = i
		}
	}
	m.Functions = calls[best].Functions
	return m
}

// path is the set of functions that calls executed.
type path struct {
	functions    []string
	instructions []int
}

// paths finds for every recorded path the modelled one whose functions differ from the most common path in the same way.
func (r *CallResult) paths(calls []ModelledCall) {
	if len(r.Recorded) == 0 {
		return
	}
	var paths []*path
	index := map[string]*path{}
	for i := range calls {
		f := executed(calls[i].Functions)
		key := strings.Join(f, " ")
		if index[key] == nil {
			index[key] = &path{functions: f}
			paths = append(paths, index[key])
		}
		index[key].instructions = append(index[key].instructions, calls[i].Counts[Instructions])
	}
	common := paths[0]
	for _, p := range paths {
		if len(p.instructions) > len(common.instructions) {
			common = p
		}
	}
	// The most alike first; a modelled path stands for one recorded path only.
	type match struct {
		recorded, modelled int
		score              float64
	}
	var matches []match
	for i, want := range r.Recorded {
		r.Paths = append(r.Paths, PathResult{RecordedPath: want})
		for j, p := range paths {
			if s := likeness(want, p, common); s >= 0.5 {
				matches = append(matches, match{i, j, s})
			}
		}
	}
	slices.SortStableFunc(matches, func(a, b match) int { return cmp.Compare(b.score, a.score) })
	taken := make([]bool, len(paths))
	for _, m := range matches {
		res, p := &r.Paths[m.recorded], paths[m.modelled]
		if res.Calls > 0 || taken[m.modelled] {
			continue
		}
		taken[m.modelled] = true
		res.Calls = len(p.instructions)
		res.Instructions = p.instructions[representative(p.instructions)]
		near := min(max(res.Instructions, res.Min), res.Max)
		res.Within = math.Abs(float64(res.Instructions-near)) <= Tolerance*float64(near)
	}
}

// executed returns the sorted names of functions.
func executed(fs []recorded.Function) []string {
	var names []string
	for i := range fs {
		names = append(names, fs[i].Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// likeness is the share of functions by which both the recorded and the modelled path differ from their most common ones, among all
// by which one of them does; 1 when neither differs.
func likeness(want RecordedPath, p, common *path) float64 {
	extra, missing := without(p.functions, common.functions), without(common.functions, p.functions)
	both := shared(want.Extra, extra) + shared(want.Missing, missing)
	all := len(want.Extra) + len(want.Missing) + len(extra) + len(missing) - both
	if all == 0 {
		return 1
	}
	return float64(both) / float64(all)
}

// without returns the elements of sorted a that sorted b does not have.
func without(a, b []string) []string {
	var r []string
	for _, s := range a {
		if _, ok := slices.BinarySearch(b, s); !ok {
			r = append(r, s)
		}
	}
	return r
}

func shared(a, b []string) int { return len(a) - len(without(a, b)) }
