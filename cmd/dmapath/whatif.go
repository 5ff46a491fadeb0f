package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"dmapath/bench"
	"dmapath/bench/sensitivity"
	"dmapath/results"
)

func newWhatif() *cobra.Command {
	var o options
	var workload, backend, cache string
	var wanted []string
	var top int
	cmd := &cobra.Command{
		Use:   "whatif VARIANT",
		Short: "what a result depends on: its elasticity to every number of the platform",
		Long: `whatif moves every number of the platform, one at a time, to both sides by a tenth or to the next valid value,
and prints which of them a result depends on most: the elasticity is the change of the result in percent per
percent of the parameter. Those that are guesses are named.

Examples:
  dmapath whatif map_phys@7.3 --backend iommu-strict
  dmapath whatif map_page@6.12 --backend direct --cache cold --result map
  dmapath whatif driver@7.3 --workload nic --backend iommu-lazy --result throughput --top 10`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.checkJobs(); err != nil {
				return err
			}
			if _, err := results.ParseFormat(o.format); err != nil {
				return err
			}
			if top < 1 {
				return fmt.Errorf("--top is %d: want 1 or more", top)
			}
			var chosen []int
			for _, w := range wanted {
				i, err := sensitivity.ResultIndex(w)
				if err != nil {
					return fmt.Errorf("--result: %w", err)
				}
				chosen = append(chosen, i)
			}
			s, err := o.spec(cmd)
			if err != nil {
				return err
			}
			x := bench.Default()
			if err := o.experiment(cmd, s, &x); err != nil {
				return err
			}
			x.Workloads, x.Variants, x.Backends, x.Caches = []string{workload}, args, []string{backend}, []string{cache}
			if workload == "nvme" && x.NeedsMapBenchmark(args[0]) != "" {
				x.Workloads = []string{"map-benchmark"}
			}
			if err := x.Validate(s); err != nil {
				return err
			}
			if x.Operations < sensitivity.FewestOperations {
				return fmt.Errorf("--operations is %d: want %d or more", x.Operations, sensitivity.FewestOperations)
			}
			var e *sensitivity.Elasticities
			err = interruptible(cmd.Context(), func() (err error) {
				e, err = sensitivity.Elast(cmd.Context(), s, x, o.jobs, sensitivity.Progress(o.progress(cmd.ErrOrStderr())))
				return err
			})
			if err != nil {
				return failure{err}
			}
			if err := o.writeAgain(cmd, s, x); err != nil {
				return err
			}
			r := e.Record(top, chosen...)
			r.Version, r.Command = results.Version(), "dmapath whatif "+args[0]
			return o.emit(cmd.OutOrStdout(), r)
		},
	}
	o.machineFlags(cmd)
	o.againFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&workload, "workload", "nvme", "nvme, nic or map-benchmark")
	f.StringVar(&backend, "backend", "iommu-strict", "direct, iommu-strict, iommu-lazy, iommu-passthrough, viommu-strict, viommu-lazy, viommu-passthrough, swiotlb-force, ops-gart or ops-grant")
	f.StringVar(&cache, "cache", "warm", "hot, warm or cold")
	f.StringSliceVar(&wanted, "result", sensitivity.Results, "map, unmap (mean cycles) and throughput")
	f.IntVar(&top, "top", 15, "parameters that are shown; csv and json have all")
	f.Int64Var(&o.operations, "operations", 1200, "I/Os or frames per hot run, rounds per thread; a warm run has a quarter, a cold one an eighth")
	f.IntVar(&o.jobs, "jobs", 0, "runs at a time (one per CPU); the results do not depend on it")
	f.BoolVar(&o.quiet, "quiet", false, "no progress line")
	complete(cmd, "workload", bench.Workloads)
	complete(cmd, "cache", bench.Caches)
	complete(cmd, "result", sensitivity.Results)
	return cmd
}
