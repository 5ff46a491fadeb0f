package closedforms

import (
	"context"
	"maps"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
	"gonum.org/v1/gonum/stat/distuv"

	"dmapath/bench/evidence"
)

// Options choose the seed; the zero value takes seed 1.
type Options struct{ Seed uint64 }

// group is rows of one set.
type group struct {
	set string
	run func(seed uint64) ([]evidence.Row, error)
}

func groups() []group {
	return []group{
		{"Queues in equilibrium", queues},
		{"Little's law: L = lambda W", little},
		{"Walks of an idle IOMMU", walks},
		{"Pipelines: servers / service time", pipelines},
		{"Core: width, ports, chains", coreRates},
		{"PCIe goodput against the pcie-bench model", goodput},
		{"LRU hit rates: Che's approximation", che},
		{"TLB reach", reach},
		{"Cache cliff", cliff},
	}
}

// Run computes all rows with up to jobs groups at a time (0: one per CPU of the host). The result does not depend on jobs.
func Run(ctx context.Context, o Options, jobs int) (*evidence.Report, error) {
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	var g errgroup.Group
	g.SetLimit(jobs)
	list := groups()
	rows, errs := make([][]evidence.Row, len(list)), make([]error, len(list))
	for i := range list {
		g.Go(func() error {
			if errs[i] = ctx.Err(); errs[i] == nil {
				rows[i], errs[i] = list[i].run(o.Seed)
			}
			return nil
		})
	}
	g.Wait()
	r := &evidence.Report{Name: "closed-forms", Title: "Closed forms: what a formula says without a simulator"}
	for i := range list {
		if errs[i] != nil {
			return nil, errs[i]
		}
		for _, row := range rows[i] {
			row.Set = list[i].set
			r.Rows = append(r.Rows, row)
		}
	}
	r.Notes = append(r.Notes, "Rows of random traffic have as slack half of a 99.9 % confidence interval of the simulated mean (Student's t, 32 batches). "+
		"Exact rows allow the rounding of times to picoseconds or cycles.")
	return r, nil
}

// batches is how many batches a random run is cut into for its interval.
const batches = 32

// interval returns the mean of means of batches and half of its 99.9 % confidence interval.
func interval(means []float64) (mean, half float64) {
	n := float64(len(means))
	for _, v := range means {
		mean += v / n
	}
	var q float64
	for _, v := range means {
		q += (v - mean) * (v - mean)
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.9995)
	return mean, t * math.Sqrt(q/(n-1)/n)
}

// sortedKeys returns the keys of m in order.
func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
