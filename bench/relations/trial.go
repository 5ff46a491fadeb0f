package relations

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"dmapath/bench"
	"dmapath/results"
	"dmapath/sim"
)

// perTrial is how many of the metamorphic relations one trial tries: the rest of the time goes into more cases.
const perTrial = 2

// Names of the statements about determinism.
const (
	sameAgain = "same again"
	jobs      = "jobs"
)

// Determinism are the statements about running the same thing more than once.
var Determinism = []struct{ Name, Says string }{
	{sameAgain, "a case run again, on another goroutine and beside other runs, has the same outcome, field by field"},
	{jobs, "a comparison has the same tables and measurements with one job and with two"},
}

// Finding is a statement that did not hold.
type Finding struct {
	Trial int
	Law   string // name of a law, a relation or a statement about determinism
	Text  string
	Case  Case   // the smallest case found in which it does not hold
	Other string // the other case of a relation; empty otherwise
}

// String is two lines: what is wrong, and the command that runs the case.
func (f Finding) String() string {
	s := fmt.Sprintf("trial %d, %s: %s\n    %s", f.Trial, f.Law, f.Text, f.Case)
	if f.Other != "" {
		s += "\n    against " + f.Other
	}
	return s
}

// trial is what one case showed.
type trial struct {
	unfit, refused bool
	held, judged   map[string]int // by name
	findings       []Finding
}

func (t *trial) judge(i int, name string, f *Finding) {
	t.judged[name]++
	if f == nil {
		t.held[name]++
		return
	}
	f.Trial, f.Law = i, name
	t.findings = append(t.findings, *f)
}

// try runs trial i of a seed.
func try(ctx context.Context, seed uint64, i int) (*trial, error) {
	t := &trial{held: map[string]int{}, judged: map[string]int{}}
	c := Draw(seed, i)
	r, err := perform(c)
	if errors.As(err, new(unfit)) {
		t.unfit = true
		return t, nil
	}
	t.refused = r.Refused != ""
	if !t.refused || len(r.Books) > 0 {
		t.conserve(i, r)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	other := twin(r) // beside the relations
	defer func() { t.judge(i, sameAgain, other()) }()
	rnd := sim.NewRand(seed, fmt.Sprintf("relations of case %d", i))
	if rnd.IntN(40) == 0 && !t.refused {
		t.judge(i, jobs, jobsDiffer(ctx, c))
	}
	list := All()
	for n := 0; n < perTrial && len(list) > 0 && !t.refused; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		k := rnd.IntN(len(list))
		rel := list[k]
		list = append(list[:k], list[k+1:]...)
		relSeed := rnd.Uint64()
		text, a, b, ok := rel.check(c, r, relSeed)
		if !ok {
			continue
		}
		n++
		var f *Finding
		if text != "" {
			f = &Finding{Text: text, Case: a, Other: b.String()}
			shrink(c, func(c Case) bool {
				text, a, b, ok := rel.check(c, nil, relSeed)
				if ok && text != "" {
					f.Text, f.Case, f.Other = text, a, b.String()
				}
				return ok && text != ""
			})

		}
		t.judge(i, rel.Name, f)
	}
	return t, nil
}

// notHot is how many times the margin is allowed where caches are not hot: which lines conflict there depends on addresses, and a change
// of anything that is allocated moves them.
const notHot = 4

// check judges a relation on c, which ran as r if that is not nil; ok is false where it says nothing.
func (rel *Relation) check(c Case, r *Ran, seed uint64) (text string, a, b Case, ok bool) {
	s, _, err := c.setup()
	if err != nil {
		return "", a, b, false
	}
	if a, b, ok = rel.Change(sim.NewRand(seed, rel.Name), c, s); !ok {
		return "", a, b, false
	}
	ra := r
	if r == nil || differ(a, c) != "" {
		if ra, err = perform(a); err != nil {
			return "", a, b, false
		}
	}
	rb, err := perform(b)
	if err != nil || ra.Refused != "" && rb.Refused != "" {
		return "", a, b, false
	}
	if ra.Refused != rb.Refused {
		return fmt.Sprintf("one is refused: %q and %q", ra.Refused, rb.Refused), a, b, true
	}
	margin := rel.Margin
	if a.Cache != "hot" || b.Cache != "hot" {
		margin *= notHot
	}
	return rel.Differ(ra, rb, margin), a, b, true
}

// conserve judges the laws of conservation on r.
func (t *trial) conserve(i int, r *Ran) {
	for _, law := range Laws {
		text := mistake(r, law.Name)
		var f *Finding
		if text != "" {
			f = &Finding{Text: text, Case: r.Case}
			f.Case = shrink(r.Case, func(c Case) bool {
				s, err := perform(c)
				if err != nil {
					return false
				}
				if m := mistake(s, law.Name); m != "" {
					f.Text = m
					return true
				}
				return false
			})
		}
		t.judge(i, law.Name, f)
	}
}

// mistake is what r has against a law; empty for nothing.
func mistake(r *Ran, law string) string {
	for _, m := range r.Books {
		if m.Law == law {
			return m.Text
		}
	}
	return ""
}

// twin runs the case of r once more on a goroutine of its own. The function it returns waits for it and says whether anything differs.
func twin(r *Ran) func() *Finding {
	found := make(chan *Finding, 1)
	go func() {
		s, _ := perform(r.Case)
		if d := differ(r, s); d != "" {
			found <- &Finding{Text: d, Case: r.Case}
		}
		close(found)
	}()
	return func() *Finding { return <-found }
}

// jobsDiffer compares what is written of a comparison, of hot and warm caches, with one job and with two.
func jobsDiffer(ctx context.Context, c Case) *Finding {
	s, x, err := c.setup()
	if err != nil {
		return nil
	}
	x.Caches = []string{"hot", "warm"}
	var texts [2]string
	for k := range texts {
		cmp, err := bench.Compare(ctx, s, *x, k+1, nil)
		if err != nil {
			texts[k] = err.Error()
			continue
		}
		var b bytes.Buffer
		rec := cmp.Record()
		for _, f := range []results.Format{results.ASCII, results.CSV} {
			if err := rec.Write(&b, f); err != nil {
				return &Finding{Text: err.Error(), Case: c}
			}
		}
		texts[k] = b.String()
	}
	if texts[0] != texts[1] {
		return &Finding{Text: "the texts differ", Case: c}
	}
	return nil
}

// shrink returns a smaller case for which fails still holds, as it does for c: without values that do not matter, with hot caches, of fewer
// calls. fails is called at most shrinkRuns times.
func shrink(c Case, fails func(Case) bool) Case {
	runs := 0
	try := func(n Case) bool {
		if runs == shrinkRuns {
			return false
		}
		runs++
		if _, _, err := n.setup(); err != nil || !fails(n) {
			return false
		}
		c = n
		return true
	}
	for i := 0; i < len(c.Set); {
		if k := c.Set[i].Key; k == "workload.operations" || k == "workload.seed" || !try(c.Without(i)) {
			i++
		}
	}
	for _, change := range []func(Case) Case{
		func(c Case) Case { return c.With("workload.operations", "64") },
		func(c Case) Case { return c.With("workload.seed", "1") },
		func(c Case) Case { c.Cache = "hot"; return c },
		func(c Case) Case { c.Platform = "icelake-sp"; return c },
	} {
		try(change(c))
	}
	try(c) // so that what fails noted last is about the case returned
	return c
}

// shrinkRuns bounds the work of making a case smaller.
const shrinkRuns = 24
