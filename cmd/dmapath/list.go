package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"dmapath/bench"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/workloads/mapbench"
	"dmapath/workloads/recorded"
)

func newList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "variants, backends, workloads, platforms and recordings that exist",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var b strings.Builder
			words := map[string][]string{}
			section := func(name string, list []string) {
				fmt.Fprintf(&b, "%s:\n", name)
				for _, s := range list {
					fmt.Fprintf(&b, "  %s\n", s)
				}
				words[strings.ReplaceAll(name, " ", "_")] = list
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
			if asJSON {
				return writeJSON(cmd, words)
			}
			return printText(cmd, b.String())
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// printText writes text to standard output.
func printText(cmd *cobra.Command, text string) error {
	if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil {
		return failure{err}
	}
	return nil
}

func newPlatform() *cobra.Command {
	var asJSON bool
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
			s, err := loadPlatform(cmd, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd, s.Describe())
			}
			if err := s.Show(cmd.OutOrStdout()); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	list := &cobra.Command{
		Use:   "list",
		Short: "names of the presets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return writeJSON(cmd, platform.Names())
			}
			return printText(cmd, strings.Join(platform.Names(), "\n")+"\n")
		},
	}
	keys := &cobra.Command{
		Use:   "keys",
		Short: "every key of a platform file with its meaning and what is allowed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return writeJSON(cmd, platform.DescribeKeys())
			}
			if err := platform.WriteKeys(cmd.OutOrStdout()); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	for _, c := range []*cobra.Command{show, list, keys} {
		jsonFlag(c, &asJSON)
	}
	cmd.AddCommand(show, list, keys, newCalibrate())
	return cmd
}
