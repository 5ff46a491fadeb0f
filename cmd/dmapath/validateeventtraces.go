package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dmapath/bench/eventtraces"
	"dmapath/bench/evidence"
	"dmapath/bench/reference"
	"dmapath/platform"
	"dmapath/workloads/ftrace"
)

func newValidateEventTraces() *cobra.Command {
	var o options
	var x eventtraces.Options
	cmd := &cobra.Command{
		Use:   "event-traces [FILE...]",
		Short: "the modelled kernel against recorded dma and iommu events",
		Long: `event-traces performs the calls of recorded dma:* and iommu:* events on the modelled kernel and reports, per file,
the share of IOVAs predicted exactly (of those whose history the trace contains), of iommu:map and iommu:unmap events
reproduced exactly, and of requests that the modelled driver maps by the recorded call: one dma_map_page or
dma_map_phys, dma_map_sg on 6.12, IOVA links (an iommu:map without a dma event) on 7.3. Each has to be 99 % at least.

FILE is the text of tracefs/trace, of trace-cmd report or perf script, plain or gzip; without FILE the traces that travel
with the program. Malformed lines are counted and the first are shown. The exit code is 1 when a share is too small.

Examples:
  dmapath validate event-traces
  dmapath validate event-traces trace.txt.gz --kernel 7.3`,
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := o.checkOutput(); err != nil {
				return err
			}
			x.Spec = func() (*platform.Spec, error) { return platform.Load(o.platform) }
			x.Malformed = func(e *ftrace.SyntaxError) { fmt.Fprintf(cmd.ErrOrStderr(), "dmapath: %v\n", e) }
			for _, name := range files {
				if name == stdioName {
					return errors.New("- (standard input): a trace is read twice, give a file")
				}
				info, err := os.Stat(name)
				if err != nil {
					return err
				}
				if !info.Mode().IsRegular() {
					return fmt.Errorf("%s is no file: a trace is read twice", name)
				}
				x.Files = append(x.Files, eventtraces.File{Name: strings.TrimSuffix(filepath.Base(name), ".gz"), Open: func() (io.ReadCloser, error) { return os.Open(name) }})
			}
			if len(files) == 0 {
				x.Files = eventtraces.Kept(reference.EventTraces(), func(name string) (io.ReadCloser, error) { return reference.Open(name) })
			}
			var r *evidence.Report
			err := interruptible(cmd.Context(), func() (err error) {
				r, err = eventtraces.Run(cmd.Context(), x, o.jobs)
				return err
			})
			if err != nil {
				return err
			}
			return o.showReport(cmd, r, "dmapath validate event-traces")
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&x.Kernel, "kernel", "", "kernel that the traces are of, 6.12 or 7.3 (seen from their events)")
	fl.StringVar(&o.platform, "platform", eventtraces.Platform, "machine that performs the calls")
	fl.StringVar(&o.format, "format", "ascii", "ascii, markdown, csv, json or bench")
	fl.IntVar(&o.jobs, "jobs", 0, "traces to replay at a time (0: all)")
	complete(cmd, "format", []string{"ascii", "markdown", "csv", "json", "bench"})
	return cmd
}
