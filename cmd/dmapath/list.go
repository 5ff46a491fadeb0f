package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"dmapath/bench"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/workloads/mapbench"
	"dmapath/workloads/recorded"
)

func newList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "variants, backends, workloads, platforms and recordings that exist",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := cmd.OutOrStdout()
			section := func(name string, words []string) {
				fmt.Fprintf(w, "%s:\n", name)
				for _, s := range words {
					fmt.Fprintf(w, "  %s\n", s)
				}
			}
			var variants, backends []string
			for _, v := range dma.Variants() {
				variants = append(variants, v.Name())
			}
			names, meanings := dma.Aliases()
			for i, n := range names {
				variants = append(variants, n+" = "+meanings[i])
			}
			variants = append(variants, bench.Drivers...)
			for _, b := range platform.Backends {
				backends = append(backends, string(b))
			}
			section("variants", variants)
			section("backends", backends)
			section("workloads", bench.Workloads)
			section("cache states", bench.Caches)
			section("segments", mapbench.Segmentations)
			section("attributes", kernel.AttrNames())
			section("platforms", platform.Names())
			section("recordings", recorded.Names())
			calls, memories, hazardBackends, _ := bench.HazardNames()
			section("calls of hazards", calls)
			section("memories of hazards", memories)
			section("backends of hazards", hazardBackends)
			return nil
		},
	}
}

func newPlatform() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "platform",
		Short: "presets of machines: show them with the source of every value",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	show := &cobra.Command{
		Use:       "show NAME|FILE",
		Short:     "every parameter with unit, source and confidence",
		Args:      cobra.ExactArgs(1),
		ValidArgs: platform.Names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := platform.Load(args[0])
			if err != nil {
				return err
			}
			return s.Show(cmd.OutOrStdout())
		},
	}
	list := &cobra.Command{
		Use:   "list",
		Short: "names of the presets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, n := range platform.Names() {
				fmt.Fprintln(cmd.OutOrStdout(), n)
			}
			return nil
		},
	}
	keys := &cobra.Command{
		Use:   "keys",
		Short: "every key of a platform file with its meaning and what is allowed",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return platform.WriteKeys(cmd.OutOrStdout()) },
	}
	cmd.AddCommand(show, list, keys, newCalibrate())
	return cmd
}
