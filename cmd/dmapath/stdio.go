package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dmapath/platform"
	"dmapath/results"
)

// stdioName is the file name that stands for standard input or standard output.
const stdioName = "-"

// stdinName is what messages call standard input.
const stdinName = "standard input"

// readers and writers are the flags that name a file, which may be "-".
var (
	readers = []string{"against", "config", "expect", "platform", "targets", "trace", "variant"}
	writers = []string{"out", "pprof", "timeline"}
)

// singleFile are the commands whose --out is a file and not a directory.
var singleFile = []string{"debate", "report", "calibrate"}

// mostInput is the largest file that is read as a whole, bytes.
const mostInput = 64 << 20

// discarded is a standard output that a flag has taken (--pprof -): what else a command prints goes nowhere.
type discarded struct{ stdout io.Writer }

func (discarded) Write(p []byte) (int, error) { return len(p), nil }

// checkStdio refuses two readers of standard input and two writers to standard output, and gives the latter to the flag that asks for it.
func checkStdio(cmd *cobra.Command, args []string) error {
	var in, out []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			switch {
			case v != stdioName:
			case slices.Contains(readers, f.Name):
				in = append(in, "--"+f.Name+" -")
			case slices.Contains(writers, f.Name):
				out = append(out, "--"+f.Name+" -")
			}
		}
	})
	for _, a := range args {
		if a == stdioName {
			in = append(in, "the argument -")
		}
	}
	if len(in) > 1 {
		return fmt.Errorf("%s and %s both read standard input: give one of them a file", in[0], in[1])
	}
	if len(out) > 1 {
		return fmt.Errorf("%s and %s both write to standard output: give one of them a file", out[0], out[1])
	}
	if len(out) == 0 {
		return checkWritable(cmd)
	}
	if out[0] == "--out -" && !slices.Contains(singleFile, cmd.Name()) {
		return fmt.Errorf("--out - (standard output): what %s writes is a directory; --format chooses what it prints", cmd.CommandPath())
	}
	if f := cmd.Flags().Lookup("format"); f != nil && f.Changed {
		return fmt.Errorf("%s and --format %s both write to standard output: give the former a file", out[0], f.Value)
	}
	cmd.Root().SetOut(discarded{cmd.OutOrStdout()})
	return nil
}

// checkWritable refuses a single file that cannot be written, before anything runs: a directory of that name, or no directory for it.
func checkWritable(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		name := f.Value.String()
		if name == "" || !slices.Contains(writers, f.Name) || f.Name == "out" && !slices.Contains(singleFile, cmd.Name()) {
			return
		}
		dir, statErr := os.Stat(filepath.Dir(name))
		switch st, statErr2 := os.Stat(name); {
		case statErr2 == nil && st.IsDir():
			err = fmt.Errorf("--%s: %s is a directory: name a file", f.Name, name)
		case statErr == nil && !dir.IsDir():
			err = fmt.Errorf("--%s %s: %s is no directory", f.Name, name, filepath.Dir(name))
		case errors.Is(statErr, fs.ErrNotExist) && f.Name != "out": // whose directory is made
			err = fmt.Errorf("--%s %s: there is no directory %s", f.Name, name, filepath.Dir(name))
		case statErr != nil && !errors.Is(statErr, fs.ErrNotExist):
			err = fmt.Errorf("--%s: %w", f.Name, statErr)
		}
	})
	return err
}

// readInput reads a file, - being standard input.
func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	r, err := openInput(cmd, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var data []byte
	err = interruptible(cmd.Context(), func() (err error) { // whoever types it may give up
		data, err = platform.ReadAll(inputName(name), r, mostInput)
		return err
	})
	return data, err
}

// openInput opens a file to read, - being standard input.
func openInput(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	if name == stdioName {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return os.Open(name)
}

// inputName is what messages call a file.
func inputName(name string) string {
	if name == stdioName {
		return stdinName
	}
	return name
}

// writeOutput writes a file that appears as a whole, - being standard output, which checkStdio has kept free.
func writeOutput(cmd *cobra.Command, name string, write func(io.Writer) error) error {
	if name != stdioName {
		return results.WriteFile(name, write)
	}
	w := cmd.OutOrStdout()
	if d, ok := w.(discarded); ok {
		w = d.stdout
	}
	b := bufio.NewWriter(w)
	if err := write(b); err != nil {
		return err
	}
	return b.Flush()
}

// loadPlatform is platform.Load, - being standard input.
func loadPlatform(cmd *cobra.Command, name string) (*platform.Spec, error) {
	if name != stdioName {
		return platform.Load(name)
	}
	data, err := readInput(cmd, name)
	if err != nil {
		return nil, err
	}
	return platform.Parse(stdinName, data)
}
