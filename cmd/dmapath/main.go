// Command dmapath simulates Linux DMA map paths and says what they cost; see the README.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dmapath/platform"
	"dmapath/results"
)

// Exit codes.
const (
	exitFailed = 1 // the run failed or a check did not hold
	exitUsage  = 2 // usage or configuration error
	exitSome   = 3 // some points of a sweep failed
)

// failure is an error that is not the user's: exit code 1 instead of 2. A machine that cannot be built (platform.Unfit) is the
// user's all the same, wherever in a run it shows.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

func main() {
	os.Exit(run(untilSignal(context.Background()), os.Args[1:], os.Stdout, os.Stderr))
}

// run executes the command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var f failure
	var unfit platform.Unfit
	var some someFailed
	switch {
	case err == nil || errors.Is(err, syscall.EPIPE):
		return 0
	case ctx.Err() != nil:
		i := cause(ctx)
		report(stderr, i)
		return i.exitCode()
	case errors.As(err, &some):
		report(stderr, some.error)
		return exitSome
	case errors.As(err, &f) && !errors.As(err, &unfit):
		report(stderr, f.error)
		return exitFailed
	}
	if f.error != nil {
		err = f.error
	}
	report(stderr, err)
	return exitUsage
}

// report prints an error, each line of a joined one under the program's name.
func report(w io.Writer, err error) {
	for _, l := range strings.Split(err.Error(), "\n") {
		fmt.Fprintf(w, "dmapath: %s\n", l)
	}
}

// knownCommand refuses words that are no command, and names the nearest that is.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint := ": allowed are " + strings.Join(names, ", ")
	if near, ok := platform.Nearest(args[0], names, max(2, len(args[0])/2)); ok {
		hint = "; did you mean " + near + "?"
	}
	return fmt.Errorf("%s has no command %q%s", cmd.CommandPath(), args[0], hint)
}

// unknownFlag adds the nearest flag to the error of one that does not exist.
func unknownFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	name := unknown.GetSpecifiedName()
	if near, ok := platform.Nearest(name, names, max(1, len(name)/2)); ok {
		return fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return fmt.Errorf("%w: %s --help lists the flags", err, cmd.CommandPath())
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "dmapath",
		Short: "what does it cost to map a buffer for DMA, on which path, and where do the cycles go",
		Long: `dmapath simulates the Linux DMA map paths cycle by cycle: CPU, caches, IOTLB, IOMMU, PCIe, device and
the kernel's own path.

Examples:
  dmapath compare                                   the main job, tables on standard output
  dmapath compare --workload nic --cache cold       one workload, one cache state
  dmapath report dmapath-out                        what a run wrote as one HTML page
  dmapath explain map_phys@7.3 --backend iommu-strict
  dmapath debate --out results/debate.md            the answer as one page, from runs made for it
  dmapath whatif map_phys@7.3                       which parameters the result depends on
  dmapath advise --workload nic                     which setting saves how much, and what it exposes
  dmapath replay trace.txt                          a recorded trace on every backend with every variant
  dmapath sweep --set iommu.walkers=1..8 --backend iommu-strict
  dmapath map-benchmark -t 8 -s 1 -g 1              the kernel's tool on the simulated machine
  dmapath validate kernel-traces                    the model against recorded instructions
  dmapath platform show icelake-sp                  every parameter with its source

Exit codes: 0 success; 1 the run failed or a check did not hold; 2 usage or configuration error; 3 some points
of a sweep failed; 130 interrupted (SIGINT), 143 terminated (SIGTERM).`,
		SilenceUsage: true, SilenceErrors: true, Version: results.Version(),
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(unknownFlag)
	root.SetVersionTemplate(results.BuildInfo().String() + "\n")
	root.AddCommand(newCompare(), newExplain(), newHazards(), newDiff(), newSweep(), newMerge(), newMapBenchmark(), newReplay(), newWhatif(), newAdvise(), newDebate(), newReport(), newList(), newPlatform(), newMan(), newValidate(), newVersion())
	root.InitDefaultVersionFlag()
	everywhere(root)
	return root
}
