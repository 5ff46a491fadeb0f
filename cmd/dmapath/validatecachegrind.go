package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dmapath/bench/cachegrind"
	"dmapath/bench/evidence"
	"dmapath/bench/reference"
	"dmapath/cache"
	"dmapath/workloads/lackey"
)

func newValidateCachegrind() *cobra.Command {
	var o options
	var trace, expect, dir, i1, d1, ll string
	cmd := &cobra.Command{
		Use:   "cachegrind [--trace FILE --expect FILE]",
		Short: "the caches against Valgrind's cachegrind",
		Long: `cachegrind sends the accesses of a real program through the simulator's caches, with the geometry and the
policy of Valgrind's cachegrind (LRU, stores allocate, an access to two lines counts as cachegrind counts it), and
compares the misses with cachegrind's own. FILE of --trace is the output of

  valgrind --tool=lackey --trace-mem=yes --basic-counts=no PROGRAM

plain, gzip or zstd; - is standard input. FILE of --expect is cachegrind's output file or what it printed at the end,
of the same program with the same input and the same addresses: bench/cachegrind/record.sh records both. Without
them the programs that travel with this one are run. Where the
numbers of references agree, misses have to agree within 0.1 %, or 4.

Caches are given as cachegrind wants them: bytes, associativity, bytes of a line. What is not given is taken from the
expected counts, which have it if they are an output file. The exit code is 1 when a row is outside its tolerance.

Examples:
  dmapath validate cachegrind
  dmapath validate cachegrind --trace sort.lackey.zst --expect cachegrind.out.123
  dmapath validate cachegrind --trace sort.lackey.gz --D1 32768,8,64 --LL 33554432,16,64 --expect stderr.txt
  dmapath validate cachegrind --dir recorded`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := o.checkOutput()
			if err != nil {
				return err
			}
			x := cachegrind.Options{Malformed: func(first []*lackey.SyntaxError, all int64) {
				for _, e := range first {
					fmt.Fprintf(cmd.ErrOrStderr(), "dmapath: %v\n", e)
				}
				if n := all - int64(len(first)); n > 0 {
					fmt.Fprintf(cmd.ErrOrStderr(), "dmapath: %s: %d more lines are no accesses\n", first[0].File, n)
				}
			}}
			var errs []error
			for _, g := range []struct {
				flag, text string
				to         *cache.Geometry
			}{{"I1", i1, &x.I1}, {"D1", d1, &x.D1}, {"LL", ll, &x.LL}} {
				if g.text == "" {
					continue
				}
				var err error
				if *g.to, err = cachegrind.ParseGeometry(g.text); err != nil {
					errs = append(errs, fmt.Errorf("--%s: %w", g.flag, err))
				}
			}
			switch {
			case dir != "" && (trace != "" || expect != ""):
				errs = append(errs, errors.New("--dir names a directory of traces, --trace and --expect one trace: give one of them"))
			case dir != "":
				if x.Traces, err = cachegrind.Read(os.DirFS(dir)); err != nil {
					errs = append(errs, fmt.Errorf("--dir %s: %w", dir, err))
				}
			case trace == "" && expect == "":
				if x.Traces, err = cachegrind.Read(reference.Cachegrind()); err != nil {
					return failure{err}
				}
			case trace == "" || expect == "":
				errs = append(errs, errors.New("--trace and --expect belong together: the output of lackey and that of cachegrind"))
			}
			if err := errors.Join(errs...); err != nil {
				return err
			}
			if trace != "" {
				t, err := openTrace(cmd, trace, expect)
				if err != nil {
					return err
				}
				x.Traces = []cachegrind.Trace{t}
			}
			var r *evidence.Report
			err = interruptible(cmd.Context(), func() (err error) {
				r, err = cachegrind.Run(cmd.Context(), x, o.jobs)
				return err
			})
			if err != nil {
				return err
			}
			return o.showReport(cmd, r, "dmapath validate cachegrind")
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&trace, "trace", "", "output of lackey; - is standard input")
	fl.StringVar(&expect, "expect", "", "output of cachegrind: its file or its text")
	fl.StringVar(&dir, "dir", "", "directory written by record.sh, instead of --trace and --expect")
	fl.StringVar(&i1, "I1", "", "cache of instructions (that of the expected counts, else 32768,8,64)")
	fl.StringVar(&d1, "D1", "", "cache of data (that of the expected counts, else 32768,8,64)")
	fl.StringVar(&ll, "LL", "", "last-level cache (that of the expected counts, else 33554432,16,64)")
	fl.StringVar(&o.format, "format", "ascii", "ascii, markdown, csv, json or bench")
	fl.IntVar(&o.jobs, "jobs", 0, "traces to run at a time (0: as many as there are processors)")
	complete(cmd, "format", []string{"ascii", "markdown", "csv", "json", "bench"})
	return cmd
}

// programName is the name of a trace without what its kind and compression add.
func programName(file string) string {
	if file == stdioName {
		return "(stdin)"
	}
	name := filepath.Base(file)
	for _, end := range []string{".gz", ".zst", ".txt", ".lackey"} {
		name = strings.TrimSuffix(name, end)
	}
	return name
}

// openTrace reads what is expected of a trace.
func openTrace(cmd *cobra.Command, trace, expect string) (cachegrind.Trace, error) {
	t := cachegrind.Trace{Name: programName(trace), Open: func() (io.ReadCloser, error) { return openInput(cmd, trace) }}
	if trace != stdioName {
		if _, err := os.Stat(trace); err != nil {
			return t, err
		}
	}
	f, err := openInput(cmd, expect)
	if err != nil {
		return t, err
	}
	defer f.Close()
	err = interruptible(cmd.Context(), func() (err error) {
		t.Count, err = cachegrind.ReadCounts(f, inputName(expect))
		return err
	})
	return t, err
}
