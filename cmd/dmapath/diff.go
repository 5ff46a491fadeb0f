package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"dmapath/bench"
	"dmapath/platform"
	"dmapath/results"
)

func newDiff() *cobra.Command {
	var o options
	var variant, workload, backend, cache string
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "which steps account for the difference between two variants, platforms or result directories",
		Long: `diff runs one point twice and says where the two differ: by kernel function, in cycles with intervals, instructions,
and loads by the level that served them. A and B are two variants (or described calls) on --platform, or two platforms with
--variant. Two directories that compare or sweep wrote are compared measurement by measurement instead, and so are their
configurations.

Examples:
  dmapath diff map_page@6.12 map_phys@7.3 --backend iommu-strict --cache warm
  dmapath diff icelake-sp genoa --variant map_phys@7.3 --backend iommu-strict
  dmapath diff map_phys@7.3 docs/paths/page-cookie.path --cache cold
  dmapath diff map_page@7.3 map_phys@7.3 --pprof both.pb.gz && go tool pprof -http : -tagroot run both.pb.gz
  dmapath diff before/ after/`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := results.ParseFormat(o.format); err != nil {
				return fmt.Errorf("--format: %w", err)
			}
			var dirs, platforms int
			for _, a := range args {
				if st, err := os.Stat(a); err == nil && st.IsDir() {
					dirs++
				} else if isPlatform(a) {
					platforms++
				}
			}
			if dirs == 2 {
				if o.pprof != "" || o.timeline != "" {
					return fmt.Errorf("--pprof and --timeline run A and B once more: want two variants or two platforms, not directories")
				}
				r, err := bench.DiffDirs(args[0], args[1])
				if err != nil {
					return err
				}
				return o.emit(cmd.OutOrStdout(), r)
			}
			if dirs == 1 || platforms == 1 {
				return fmt.Errorf("%s and %s are not of one kind: want two variants, two platforms or two directories", args[0], args[1])
			}
			var sides [2]bench.Side
			for i, a := range args {
				name := variant
				if platforms == 2 {
					if cmd.Flags().Changed("platform") {
						return fmt.Errorf("--platform and the platforms %s and %s contradict each other", args[0], args[1])
					}
					o.platform = a
				} else {
					if cmd.Flags().Changed("variant") {
						return fmt.Errorf("--variant and the variants %s and %s contradict each other", args[0], args[1])
					}
					name = a
				}
				s, err := o.spec(cmd)
				if err != nil {
					return err
				}
				x := bench.Default()
				if err := o.experiment(cmd, s, &x); err != nil {
					return err
				}
				if name, err = described(cmd, &x, name); err != nil {
					return err
				}
				x.Workloads, x.Variants, x.Backends, x.Caches = []string{workload}, []string{name}, []string{backend}, []string{cache}
				sides[i] = bench.Side{Label: name, Platform: s, Exp: x}
				if platforms == 2 {
					sides[i].Label = s.Name
				}
				if err := x.Validate(s); err != nil {
					return err
				}
			}
			var r *results.Record
			err := interruptible(cmd.Context(), func() (err error) {
				r, err = bench.Diff(sides[0], sides[1])
				return err
			})
			if err != nil {
				return failure{err}
			}
			if o.pprof != "" || o.timeline != "" {
				runs, err := sides[0].Again()
				if err != nil {
					return err
				}
				b, err := sides[1].Again()
				if err != nil {
					return err
				}
				if err := o.writeRuns(cmd, append(runs, b...)); err != nil {
					return err
				}
			}
			return o.emit(cmd.OutOrStdout(), r)
		},
	}
	o.machineFlags(cmd)
	o.againFlags(cmd)
	f := cmd.Flags()
	f.Int64Var(&o.operations, "operations", 1200, "I/Os, frames or rounds that are simulated")
	f.StringVar(&variant, "variant", "map_phys@7.3", "variant of both sides when A and B are platforms")
	f.StringVar(&workload, "workload", "nvme", "nvme, nic or map-benchmark")
	f.StringVar(&backend, "backend", "direct", "backend of both sides")
	f.StringVar(&cache, "cache", "warm", "hot, warm or cold")
	complete(cmd, "cache", bench.Caches)
	complete(cmd, "workload", bench.Workloads)
	return cmd
}

// isPlatform says whether a name is a preset or a platform file.
func isPlatform(name string) bool {
	if slices.Contains(platform.Names(), name) {
		return true
	}
	_, err := os.Stat(name)
	return err == nil && !isDescription(name)
}
