package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// contents returns every file below dir by name; nil when there is no dir.
func contents(t *testing.T, dir string) map[string]string {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return files
}

// start begins dmapath in a process of its own, in dir.
func start(t *testing.T, dir, line string) (*exec.Cmd, *bytes.Buffer) {
	var stderr bytes.Buffer
	cmd := exec.Command("dmapath", strings.Fields(line)...)
	cmd.Dir, cmd.Stderr = dir, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &stderr
}

// A signal at any moment leaves what --out names as it was, or complete; the exit code says which signal it was. The moments are shares of
// what an uninterrupted run took, so most of them fall into it, and what is demanded holds wherever they fall.
func TestInterrupts(t *testing.T) {
	// A shell without job control has its background jobs ignore SIGINT, and they hand that on; who catches a signal hands on its default.
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGINT)
	t.Cleanup(func() { signal.Stop(c) })

	for name, line := range map[string]string{
		"compare": "compare --workload map-benchmark --variant map_phys@7.3 --cache hot --backend direct --operations 500 --quiet --out out --seed %d",
		"hazards": "hazards --memory mmio --backend direct,strict --kernel 7.3 --rounds 16 --windows=false --quiet --out out --seed %d",
		"sweep":   "sweep --set iommu.walkers=1..4 --workload map-benchmark --variant map_phys@7.3 --cache hot --backend iommu-strict --operations 500 --quiet --jobs 1 --out out --seed %d",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			run := func(seed int) map[string]string {
				cmd, stderr := start(t, dir, fmt.Sprintf(line, seed))
				if err := cmd.Wait(); err != nil {
					t.Fatal(err, stderr)
				}
				return contents(t, dir)
			}
			begin := time.Now()
			complete := run(2)
			took := time.Since(begin)
			os.RemoveAll(filepath.Join(dir, "out"))
			old := map[string]string{}
			if name != "sweep" { // which refuses a directory of another one
				old = run(1)
			}
			for i, share := range []float64{0.4, 0.8} {
				s, code := syscall.SIGINT, 130
				if i == 1 {
					s, code = syscall.SIGTERM, 143
				}
				cmd, stderr := start(t, dir, fmt.Sprintf(line, 2))
				time.Sleep(time.Duration(share * float64(took)))
				if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Fatal(err)
				}
				var exit *exec.ExitError
				err := cmd.Wait()
				switch have := contents(t, dir); {
				case err == nil:
					if !maps.Equal(have, complete) {
						t.Errorf("%v after %v: success, but the files are not those of an uninterrupted run", s, share)
					}
					old = have
				case !errors.As(err, &exit) || exit.ExitCode() != code && exit.ExitCode() != -1:
					t.Errorf("%v after %v: %v, want exit code %d: %s", s, share, err, code, stderr)
				case exit.ExitCode() == -1: // before the program could say what it does with signals
				case name == "sweep": // finished points stay, and the same command goes on
					if again := run(2); !maps.Equal(withoutTemporary(again), complete) {
						t.Errorf("%v after %v: the sweep that went on is not that of an uninterrupted run", s, share)
					}
					os.RemoveAll(filepath.Join(dir, "out"))
				case !maps.Equal(have, old):
					t.Errorf("%v after %v: the directory is not as it was", s, share)
				}
			}
		})
	}
}

// withoutTemporary leaves out what an interrupted sweep may leave behind.
func withoutTemporary(files map[string]string) map[string]string {
	kept := maps.Clone(files)
	maps.DeleteFunc(kept, func(name, _ string) bool { return strings.HasPrefix(filepath.Base(name), ".tmp-") })
	return kept
}

// What takes minutes ends when it is told to, and nothing of it is left; a replay has printed all or nothing.
func TestInterruptsWhatTakesLong(t *testing.T) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGINT)
	t.Cleanup(func() { signal.Stop(c) })
	for _, line := range []string{
		"debate --out out/debate.md --quiet",
		"compare --operations 100000000 --out out/dir --quiet",
		"hazards --backend all --rounds 100000 --out out/dir --quiet",
		"hazards --explain mmio/unmap_page+mmio@7.3/mmio/strict --rounds 1000000",
		"explain map_phys@7.3 --operations 100000000 --pprof out/p",
		"diff map_phys@7.3 map_page@7.3 --operations 100000000",
		"whatif map_phys@7.3 --operations 1000000 --quiet",
		"map-benchmark --full -s 300",
		"sweep - --dry-run",
		"validate behaviours",
		"validate closed-forms",
		"validate relations --configs 100000 --quiet",
		"replay - --limit 10",
	} {
		t.Run(strings.ReplaceAll(line, "/", "_"), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "out"), 0o755); err != nil {
				t.Fatal(err)
			}
			var out, stderr bytes.Buffer
			cmd := exec.Command("dmapath", strings.Fields(line)...)
			cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &stderr
			in, err := cmd.StdinPipe() // a trace of which nothing comes
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(150 * time.Millisecond)
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err, &stderr)
			}
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 && exit.ExitCode() != -1 {
				t.Errorf("%v, want exit code 130: %s", err, &stderr)
			}
			if have := contents(t, dir); len(have) != 0 || out.Len() != 0 {
				t.Errorf("left %v, printed %q", have, &out)
			}
		})
	}
}
