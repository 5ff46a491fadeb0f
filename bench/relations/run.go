package relations

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"strings"

	"dmapath/bench"
	"dmapath/cache"
	"dmapath/pcie"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// Ran is a case that was run.
type Ran struct {
	Case
	*bench.Outcome           // nil when the kernel refused
	Refused        string    // the error that it refused with
	Books          []Mistake // what does not add up
	Cache          cache.Stats
	Port           pcie.Stats
}

// unfit is why a case cannot be run at all: the machine cannot be built.
type unfit struct{ error }

// perform runs c. An error is unfit: what the kernel or a device reports is part of the Ran.
func perform(c Case) (*Ran, error) { return tampered(c, nil) }

// tampered is perform in which somebody falsifies the books, unless nil, before they are closed: tests. An error is unfit: what the kernel or a device reports is part of the Ran.
func tampered(c Case, tamper func(*platform.Machine, *platform.Device, *workloads.Result)) (r *Ran, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = &Ran{Case: c, Books: []Mistake{{"events", fmt.Sprintf("panic: %v at %s", p, where(debug.Stack()))}}, Refused: fmt.Sprint("panic: ", p)}, nil
		}
	}()
	s, x, err := c.setup()
	if err != nil {
		return nil, unfit{err}
	}
	r = &Ran{Case: c}
	o, err := x.Inspect(s, c.Point, func(m *platform.Machine, d *platform.Device) (func(*workloads.Result) error, error) {
		b := open(x, m, d)
		return func(res *workloads.Result) error {
			if tamper != nil {
				tamper(m, d, res)
			}
			r.Cache, r.Port = m.Hier.Stats(), d.Port.Stats()
			r.Books = b.close(res)
			return nil
		}, nil
	})
	switch {
	case errors.As(err, new(platform.Unfit)):
		return nil, unfit{err}
	case err != nil:
		r.Refused = err.Error()
	default:
		r.Outcome = o
	}
	return r, nil
}

// where names the function and line that panicked, from the stack of the goroutine.
func where(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "panic(") {
			for _, l := range lines[i+2:] {
				if j := strings.LastIndex(l, "/dmapath/"); strings.HasPrefix(l, "\t") && !strings.Contains(l, "/runtime/") {
					l = strings.TrimSpace(l[max(j, 0):])
					l, _, _ = strings.Cut(l, " +")
					return filepath.Base(filepath.Dir(l)) + "/" + filepath.Base(l)
				}
			}
		}
	}
	return "?"
}

// Cost is what a map and an unmap cost together in cycles, over the second half of the calls; with a whole driver, an operation's calls and what the
// driver does around them; of dma-probe, which calls nothing while it runs, the mean latency of an access in ns.
func (r *Ran) Cost() float64 {
	if r.Case.Workload == "dma-probe" {
		return r.Latency.Mean()
	}
	mean := func(o *workloads.Op) float64 {
		if o == nil || o.N == 0 {
			return 0
		}
		return o.Cycles.Mean()
	}
	return mean(r.Map) + mean(r.Unmap) + mean(r.Result.Sync) + mean(r.Setup) + mean(r.Teardown)
}

// latency is the mean time of an operation in ns; 0 where the workload has none.
func (r *Ran) latency() float64 {
	if r.Latency == nil || r.Latency.N == 0 {
		return 0
	}
	return r.Latency.Mean()
}

// Instructions is how many instructions a map and an unmap execute together, in the second half of the run.
func (r *Ran) Instructions() float64 {
	n := 0.0
	for _, o := range []*workloads.Op{r.Map, r.Unmap} {
		if o.N > 0 {
			t := o.Acct.Total()
			n += float64(t.Instructions()) / float64(o.N)
		}
	}
	return n
}

// Time is the time per operation.
func (r *Ran) Time() sim.Time { return r.Elapsed / sim.Time(max(1, r.IOs)) }

// Mistake is a sum that does not add up.
type Mistake struct{ Law, Text string }

func (m Mistake) String() string { return fmt.Sprintf("%s: %s", m.Law, m.Text) }
