package main

import (
	"github.com/spf13/cobra"

	"dmapath/bench"
	"dmapath/results"
)

func newExplain() *cobra.Command {
	var o options
	var backend, cache string
	cmd := &cobra.Command{
		Use:   "explain VARIANT",
		Short: "every step of one map and unmap: kernel function, instructions, cycles, where its loads hit",
		Long: `explain runs one API variant and prints each kernel function of its map and of its unmap. It maps the buffers of NVMe
reads; a variant for device memory or for a driver's own buffers, --segments and --attrs run as map-benchmark instead.

Examples:
  dmapath explain map_phys@7.3 --backend iommu-strict
  dmapath explain map_page@6.12 --backend direct --cache cold
  dmapath explain iova_link@7.3 --backend iommu-strict --size 128KiB --segments scattered
  dmapath explain map_phys@7.3 --backend iommu-strict --attrs require-coherent
  dmapath explain map_phys@7.3 --pprof map_phys.pb.gz && go tool pprof -http : map_phys.pb.gz
  dmapath explain docs/paths/rederive.path --backend direct`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.spec(cmd)
			if err != nil {
				return err
			}
			x := bench.Default()
			if err := o.experiment(cmd, s, &x); err != nil {
				return err
			}
			if args[0], err = described(cmd, &x, args[0]); err != nil {
				return err
			}
			x.Workloads, x.Variants, x.Backends, x.Caches = []string{"nvme"}, args, []string{backend}, []string{cache}
			if x.NeedsMapBenchmark(args[0]) != "" {
				x.Workloads = []string{"map-benchmark"}
			}
			if err := x.Validate(s); err != nil {
				return err
			}
			var r *results.Record
			err = interruptible(cmd.Context(), func() (err error) {
				r, err = bench.Explain(s, x)
				return err
			})
			if err != nil {
				return failure{err}
			}
			if err := o.writeAgain(cmd, s, x); err != nil {
				return err
			}
			return o.emit(cmd.OutOrStdout(), r)
		},
	}
	o.machineFlags(cmd)
	o.againFlags(cmd)
	cmd.Flags().Int64Var(&o.operations, "operations", 1200, "I/Os that are simulated")
	cmd.Flags().StringVar(&backend, "backend", "direct", "direct, iommu-strict, iommu-lazy, iommu-passthrough, viommu-strict, viommu-lazy, viommu-passthrough, swiotlb-force, ops-gart or ops-grant")
	cmd.Flags().StringVar(&cache, "cache", "warm", "hot, warm or cold")
	complete(cmd, "cache", bench.Caches)
	return cmd
}
