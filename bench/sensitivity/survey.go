package sensitivity

import (
	"context"

	"dmapath/bench"
	"dmapath/platform"
	"dmapath/results"
)

// surveyTop is how many parameters a table of Survey names.
const surveyTop = 8

// Survey computes what the results that most conclusions are about depend on, for a page about how far to trust them: map_phys of 7.3 under NVMe load
// with warm caches on the default platform, without an IOMMU and with strict invalidation. Each table names the leading parameters and those
// among them that are guesses. It takes about 700 runs of a fraction of a second, up to jobs at a time (0: one per CPU of the host).
func Survey(ctx context.Context, jobs int, progress Progress) ([]*results.Table, error) {
	s, err := platform.Load(platform.Default)
	if err != nil {
		return nil, err
	}
	var tables []*results.Table
	for _, backend := range []string{"direct", "iommu-strict"} {
		x := bench.Default()
		x.Workloads, x.Variants, x.Backends, x.Caches = []string{"nvme"}, []string{"map_phys@7.3"}, []string{backend}, []string{"warm"}
		e, err := Elast(ctx, s, x, jobs, progress)
		if err != nil {
			return nil, err
		}
		for i := range Results {
			if len(e.Leading(i, 1)) > 0 {
				tables = append(tables, e.Table(i, surveyTop))
			}
		}
	}
	return tables, nil
}
