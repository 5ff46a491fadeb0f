package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"dmapath/bench"
	"dmapath/platform"
	"dmapath/results"
)

func newCompare() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "compare API variants: cycles per map and unmap, and where they go",
		Long: `compare runs NVMe and NIC workloads with each API variant on each backend and in each cache state, and prints
who is cheaper, by how much, with what confidence and in which kernel function. The same figures go to --out as
CSV and JSON, with plots and a manifest from which the run is repeated.

Examples:
  dmapath compare
  dmapath compare --workload nvme --backend iommu-strict --variant map_page@7.3,map_phys@7.3
  dmapath compare --workload nvme --variant driver@6.12,driver@7.3 --size 128KiB
  dmapath compare --variant ./my.path,map_phys@7.3
  dmapath compare --source recorded --cache warm
  dmapath compare --ram 1TiB --memory-model sparsemem-extreme --cache cold
  dmapath compare --set iommu.iotlb.entries=64 --set workload.nvme.queue_depth=128
  dmapath compare --config dmapath-out/manifest.yaml
  dmapath compare --uncertainty --workload nvme --backend iommu-strict   which conclusions survive what is not known`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.compare(cmd) },
	}
	o.machineFlags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&o.workloads, "workload", nil, "nvme, nic, netperf-rx, map-benchmark, dma-probe (nvme,nic)")
	f.StringSliceVar(&o.variants, "variant", nil, "variants to compare, CALL@KERNEL, driver@KERNEL (a whole driver) or a file that describes a call (my.path); differences are against the first (map_page of both kernels, map_phys@7.3, map_phys_rederive@7.3)")
	f.StringSliceVar(&o.backends, "backend", nil, "direct, iommu-strict, iommu-lazy, iommu-passthrough, swiotlb-force, ops-gart, ops-grant (the first three)")
	f.StringSliceVar(&o.caches, "cache", nil, "hot, warm, cold (all)")
	f.StringVar(&o.source, "source", "modelled", "modelled, or recorded: the call as recorded from the real kernel")
	f.Int64Var(&o.operations, "operations", 1200, "I/Os, frames or accesses per run; rounds per thread")
	f.StringVar(&o.config, "config", "", "repeat the run of this manifest (- for standard input); other flags change it")
	f.StringVar(&o.out, "out", "dmapath-out", "directory for CSV, JSON, plots and manifest; empty for none")
	o.againFlags(cmd)
	f.IntVar(&o.jobs, "jobs", 0, "runs at a time (one per CPU); the results do not depend on it")
	f.BoolVar(&o.quiet, "quiet", false, "no progress line")
	o.uncertaintyFlag(cmd)
	complete(cmd, "workload", bench.Workloads)
	complete(cmd, "cache", bench.Caches)
	complete(cmd, "source", bench.Sources)
	return cmd
}

// manifestOrDefault returns the platform as flags and manifest say, and the manifest's experiment or the default one.
func (o *options) manifestOrDefault(cmd *cobra.Command) (*platform.Spec, bench.Experiment, error) {
	x := bench.Default()
	if o.config == "" {
		s, err := o.spec(cmd)
		return s, x, err
	}
	data, err := readInput(cmd, o.config)
	if err != nil {
		return nil, x, err
	}
	m, err := results.ReadManifest(inputName(o.config), data)
	if err != nil {
		return nil, x, err
	}
	s, x, err := bench.FromManifest(inputName(o.config), m)
	if err != nil {
		return nil, x, err
	}
	if cmd.Flags().Changed("platform") {
		return nil, x, fmt.Errorf("--platform and --config contradict each other: the manifest contains its platform")
	}
	return s, x, o.adjust(cmd, s)
}

// load returns platform and experiment as flags and manifest say.
func (o *options) load(cmd *cobra.Command) (*platform.Spec, bench.Experiment, error) {
	s, x, err := o.manifestOrDefault(cmd)
	if err != nil {
		return nil, x, err
	}
	if err := o.experiment(cmd, s, &x); err != nil {
		return nil, x, err
	}
	if err := x.Validate(s); err != nil {
		return nil, x, err
	}
	if o.config == "" && !cmd.Flags().Changed("backend") {
		for _, why := range x.DropUnfit(s) {
			fmt.Fprintln(cmd.ErrOrStderr(), "dmapath:", why)
		}
	}
	return s, x, nil
}

func (o *options) compare(cmd *cobra.Command) error {
	if err := o.checkJobs(); err != nil {
		return err
	}
	if _, err := results.ParseFormat(o.format); err != nil {
		return err
	}
	s, x, err := o.load(cmd)
	if err != nil {
		return err
	}
	if cmd.Flags().Changed(samplesFlag) {
		if o.pprof != "" || o.timeline != "" {
			return fmt.Errorf("--pprof and --timeline look at one platform, --%s at many: use one or the other", samplesFlag)
		}
		return o.vary(cmd, s, x)
	}
	dir, err := o.outputDir()
	if err != nil {
		return err
	}
	defer dir.Abort()
	var c *bench.Comparison
	err = interruptible(cmd.Context(), func() (err error) {
		c, err = bench.Compare(cmd.Context(), s, x, o.jobs, o.status(cmd.ErrOrStderr()))
		return err
	})
	if err != nil {
		return failure{err}
	}
	r := c.Record()
	m := c.Manifest()
	r.Version, r.ConfigHash, r.Command = m.Version, m.Hash(), "dmapath compare"
	if dir != nil {
		if err := c.Write(dir, r, m); err != nil {
			return failure{err}
		}
	}
	// Files before tables: whoever reads the tables may stop in the middle.
	if err := o.writeAgain(cmd, s, x); err != nil {
		return err
	}
	if err := o.emit(cmd.OutOrStdout(), r); err != nil {
		return failure{err}
	}
	if text := c.Text(); text != "" && o.format == "ascii" {
		if _, err := io.WriteString(cmd.OutOrStdout(), "\n"+text); err != nil {
			return failure{err}
		}
	}
	if dir != nil && !o.quiet && o.format == "ascii" {
		_, err = io.WriteString(cmd.ErrOrStderr(), "wrote "+filepath.Clean(o.out)+"/\n")
	}
	return err
}
