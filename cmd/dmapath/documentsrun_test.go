package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

var documented = flag.String("documented", "bounded", "how documented commands run: bounded, with little work each, and those that cannot have little not at all; "+
	"thorough, those as well, and every output that is shown; full, exactly as shown")

// full says that every command is run as it is shown (.ci/docs full); thorough, that every command is run and every output compared (.ci/docs).
func full() bool     { return *documented == "full" }
func thorough() bool { return full() || *documented == "thorough" }

// elsewhere are commands that this test does not run, by their beginning, and why.
var elsewhere = []struct{ begins, why string }{
	{"git clone ", "what is tested is the clone"},
	{"cd ", "the test chooses the directory"},
	{"go test ./...", "this is that"},
	{"go test ./kernel", "CI, step \"tests\""},
	{"go test -run '^$' -bench", "CI, step \"benchmarks run\", runs a part of it"},
	{"go install ", "would install"},
	{"go doc ", "prints what go vet has parsed"},
	{"go build ", "CI builds"},
	{"go tool pprof -http", "a server, for a browser"},
	{"sbatch ", "CI runs the script on a real Slurm: deploy/slurm/test.sh"},
	{"kubectl ", "needs a cluster"},
	{"docker ", "needs a registry"},
	{"sudo ", "needs a real machine with an IOMMU"},
	{"MANPATH=", "a pager, for a terminal"},
}

// inCI are lines that take minutes and that CI runs at another place: script has to contain call.
var inCI = []struct{ line, step, script, call string }{
	{"dmapath compare", "main job", ".ci/regenerate", `"$dmapath" compare --quiet --out`},
	{"dmapath validate", "validation", ".ci/regenerate", `"$dmapath" validate --quiet --out`},
	{"dmapath validate behaviours", "behaviours", ".ci/regenerate", `"$dmapath" validate behaviours >`},
	{"dmapath hazards", "hazards", ".ci/regenerate", `"$dmapath" hazards --quiet >`},
	{"dmapath debate", "debate", ".ci/regenerate", `"$dmapath" debate --quiet --out`},
}

// presentation are flags that change where a result goes and how it looks, and not what is run.
var presentation = regexp.MustCompile(` --(out|format) \S+| --(quiet|json)\b`)

// bounds says, per command, what a bounded run has less of: flags that are put behind those of the line, the last of which counts. A command
// with the bound "skip" does what it does all or nothing, in more than five seconds; a bounded run does not run it, a thorough one as it is.
var bounds = map[string][]string{
	"advise":                 {"--operations", "64"},
	"compare":                {"--operations", "64"},
	"debate":                 {"skip"},
	"diff":                   {"--operations", "64"},
	"explain":                {"--operations", "64"},
	"hazards":                {"--rounds", "16"},
	"map-benchmark":          {"--rounds", "64"},
	"platform calibrate":     {"skip"},
	"replay":                 {"--limit", "2000"},
	"sweep":                  {"--operations", "64"},
	"validate":               {"skip"},
	"validate behaviours":    {"skip"},
	"validate cachegrind":    {},
	"validate closed-forms":  {"skip"},
	"validate event-traces":  {"skip"},
	"validate host":          {"skip"},
	"validate kernel-traces": {"skip"},
	"validate published":     {"skip"},
	"validate relations":     {"--configs", "1"},
	"whatif":                 {"skip"},
}

// bound gives a call of this program less to do; ok is false when a bounded run does not run it at all.
func bound(args []string) (less []string, ok bool) {
	cmd, rest, err := newRoot().Find(args)
	if err != nil {
		return args, true
	}
	name := strings.TrimPrefix(cmd.CommandPath(), "dmapath ")
	less = slices.Clone(bounds[name])
	if slices.Contains(less, "skip") {
		return nil, thorough()
	}
	has := func(flag string) bool {
		return slices.ContainsFunc(rest, func(a string) bool { return a == flag || strings.HasPrefix(a, flag+"=") })
	}
	plan := len(rest) > 0 && strings.HasSuffix(rest[0], ".yaml") // of a sweep
	switch {
	case name == "compare" && has("--uncertainty"):
		return []string{"--operations", "96", "--cache", "hot", "--uncertainty=8"}, thorough()
	case name == "compare" && has("--config"):
		less = nil // the run that it repeats was a bounded one
	case name == "compare" || name == "sweep":
		if !has("--cache") && !plan {
			less = append(less, "--cache", "hot")
		}
		if !has("--workload") && !has("--source") && !plan {
			less = append(less, "--workload", "nvme")
		}
		if !has("--backend") && !plan {
			less = append(less, "--backend", "direct")
		}
	case name == "advise" && slices.ContainsFunc(rest, func(a string) bool { return strings.HasPrefix(a, "trace.txt") }):
		return []string{"--limit", "2000"}, thorough()
	case name == "advise" && has("--uncertainty"):
		return append(less, "--uncertainty=8"), thorough()
	case name == "advise" && (len(rest) == 0 || rest[0] != "--workload" || has("--size")):
		return less, thorough()
	case name == "hazards" && !has("--explain"):
		less = append(less, "--windows=false")
		if !has("--call") {
			less = append(less, "--call", "map_phys")
		}
		if !has("--memory") {
			less = append(less, "--memory", "ram,mmio")
		}
	case name == "hazards" && has("--explain"):
		less = nil
	case name == "diff" && !has("--variant") && len(rest) == 2 && strings.HasSuffix(rest[0], "/"):
		less = nil // two directories: nothing is run
	}
	if name == "validate cachegrind" && !has("--trace") || name == "compare" && has("--platform") && slices.Contains(rest, "genoa") {
		return less, thorough() // pfn_valid() with cold caches takes seconds where caches are as large as genoa's
	}
	if name == "replay" && !has("--backend") {
		less = append(less, "--backend", "direct")
	}
	if name == "sweep" && has("--samples") {
		less = append(less, "--samples", "2")
	} else if name == "sweep" && has("--set") && !has("--out") {
		less = append(less, "--dry-run")
	}
	return less, true
}

// shorten is bound for a whole line, which may be a pipeline.
func shorten(line string) (short string, ok bool) {
	ok = true
	short = invocation.ReplaceAllStringFunc(line, func(call string) string {
		m := invocation.FindStringSubmatch(call)
		less, run := bound(words(m[2]))
		ok = ok && run
		trimmed := strings.TrimRight(call, " ")
		if len(less) == 0 {
			return call
		}
		return trimmed + " " + strings.Join(less, " ") + call[len(trimmed):]
	})
	return short, ok
}

// brought are the files that a reader has: the test makes them where a line names them.
var brought = map[string]func(dir string) error{
	"trace.txt": func(path string) error {
		return command(filepath.Dir(path), "gzip -dc workloads/testdata/events/612-strict-nvme.txt.gz > trace.txt")
	},
	"trace.txt.gz": copied("workloads/testdata/events/73-strict-nic.txt.gz"),
	"real.txt": text(`dma mapping benchmark(SINGLE_MODE): threads:1 seconds:20 node:-1 dir:BIDIRECTIONAL granule:1
average map latency(us):0.3 standard deviation:0.1
average unmap latency(us):2.1 standard deviation:0.3
`),
	"targets.yaml":    copied("bench/published/targets/T3-latency.yaml"),
	"host.yaml":       text("extends: zen2\ntitle: \"this machine\"\n"),
	"dmapath-out":     made("dmapath compare --quiet --workload nvme --backend direct --cache hot --operations 64 --out dmapath-out"),
	"kernel-traces":   copied("bench/reference/kernel-traces"),
	"recorded":        copied("bench/reference/cachegrind"),
	"sort.lackey.zst": copied("bench/reference/cachegrind/sort.lackey.zst"),
	"sort.lackey.gz": func(path string) error {
		data, err := os.ReadFile("../../bench/reference/cachegrind/sort.lackey.zst")
		if err != nil {
			return err
		}
		d, err := zstd.NewReader(nil)
		if err != nil {
			return err
		}
		defer d.Close()
		if data, err = d.DecodeAll(data, nil); err != nil {
			return err
		}
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err = z.Write(data); err == nil {
			err = z.Close()
		}
		if err != nil {
			return err
		}
		return os.WriteFile(path, b.Bytes(), 0o644)
	},
	// What cachegrind printed at the end of the run whose file is sort.cachegrind.
	"stderr.txt": text(`==1== I   refs:        259,635
==1== I1  misses:        1,807
==1== LLi misses:        1,737
==1== D   refs:         98,243  (68,263 rd   + 29,980 wr)
==1== D1  misses:        2,655  ( 1,981 rd   +    674 wr)
==1== LLd misses:        2,018  ( 1,404 rd   +    614 wr)
`),
	"cachegrind.out.123": copied("bench/reference/cachegrind/sort.cachegrind"),
}

// earlier are results of earlier commands that an example of a help text takes for granted. On a page the page makes them.
var earlier = map[string]func(dir string) error{
	"my.path":    copied("docs/paths/rederive.path"),
	"mine.yaml":  text("extends: icelake-sp\niommu:\n  walkers: 2\n"),
	"study.yaml": text("set:\n  iommu.walkers: [1, 2, 4]\nworkload: [map-benchmark]\nvariant: [map_phys@7.3]\nbackend: [iommu-strict]\ncache: [hot]\noperations: 64\n"),
	"before":     made("dmapath compare --quiet --workload nvme --backend direct --cache hot --operations 64 --out before"),
	"after":      made("dmapath compare --quiet --workload nvme --backend direct --cache hot --operations 64 --set cache.llc.latency=30ns --out after"),
	"part-1":     made(shard(1)),
	"part-2":     made(shard(2)),
	"part-3":     made(shard(3)),
}

func shard(i int) string {
	return fmt.Sprintf("dmapath sweep --quiet --set iommu.walkers=1,2,4 --workload map-benchmark --variant map_phys@7.3 --backend iommu-strict --cache hot --operations 64 --shard %d/3 --out part-%d", i, i)
}

func text(s string) func(string) error {
	return func(path string) error { return os.WriteFile(path, []byte(s), 0o644) }
}

func copied(name string) func(string) error {
	return func(path string) error { return copyTree(filepath.Join("../..", name), path) }
}

func made(line string) func(string) error {
	return func(path string) error { return command(filepath.Dir(path), line) }
}

// command runs a line that has to succeed.
func command(dir, line string) error {
	if code, _, stderr := shell(context.Background(), dir, line); code != 0 {
		return fmt.Errorf("%s: exit code %d: %s", line, code, stderr)
	}
	return nil
}

func copyTree(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, info.Mode())
}

// standIns are programs that a real machine has and that print what the command behind them reads.
var standIns = map[string]string{
	"perf":      "#!/bin/sh\ncase \"$1\" in script) exec gzip -dc workloads/testdata/events/612-strict-nvme.txt.gz;; esac\n",
	"trace-cmd": "#!/bin/sh\ncase \"$1\" in report) exec gzip -dc workloads/testdata/events/612-strict-nvme.txt.gz;; esac\n",
}

// checkout are the parts of the source tree that documents name.
var checkout = []string{"docs/paths", "workloads/testdata/events", "deploy"}

// shell runs a line in a directory, with this program as dmapath.
func shell(ctx context.Context, dir, line string) (code int, stdout, stderr string) {
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, ".bin")+":"+os.Getenv("PATH"), "NO_COLOR=1")
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		return -1, "", err.Error()
	}
	return code, out.String(), errs.String()
}

// A done command is not run again where it would do the same: its output and what it made are kept.
type done struct {
	once           sync.Once
	code           int
	stdout, stderr string
	made           []string
}

// runner executes sequences; each has a directory, and what two of them share is done once.
type runner struct {
	kept  string // what commands made
	slots chan struct{}
	mu    sync.Mutex
	done  map[string]*done
	edits map[string][]edit
	ran   int
	not   []string // lines that were only parsed, with the reason
}

// edit replaces lines of a page.
type edit struct {
	first, n int
	with     []string
}

// names lists the entries of a directory that could be made or changed by a command, with what tells a change.
func names(dir string) map[string]string {
	list := map[string]string{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			list[e.Name()] = info.ModTime().String() + strconv.FormatInt(info.Size(), 10)
		}
	}
	return list
}

// key says what a command does: its text, and the contents of the files that it names. A command that reads directories or goes on with
// what is there has none.
func key(dir, line string) (string, bool) {
	if strings.Contains(line, "dmapath sweep") || strings.Contains(line, "merge") {
		return "", false
	}
	h := sha256.New()
	h.Write([]byte(line))
	for _, w := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" ,=<>|;\"'", r) }) {
		path := filepath.Join(dir, w)
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if info.IsDir() {
			return "", false
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return "", false
		}
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)), true
}

// run executes a line in a directory, or gives back what it did before.
func (r *runner) run(ctx context.Context, dir, line string) (code int, stdout, stderr string, err error) {
	k, keep := key(dir, line)
	if !keep {
		r.slots <- struct{}{}
		defer func() { <-r.slots }()
		code, stdout, stderr = shell(ctx, dir, line)
		return code, stdout, stderr, nil
	}
	r.mu.Lock()
	d := r.done[k]
	if d == nil {
		d = &done{}
		r.done[k] = d
	}
	r.mu.Unlock()
	here := false
	d.once.Do(func() {
		here = true
		r.slots <- struct{}{}
		defer func() { <-r.slots }()
		was := names(dir)
		d.code, d.stdout, d.stderr = shell(ctx, dir, line)
		for name, is := range names(dir) {
			if was[name] != is {
				d.made = append(d.made, name)
				if e := copyTree(filepath.Join(dir, name), filepath.Join(r.kept, k, name)); e != nil {
					err = e
				}
			}
		}
	})
	if !here {
		for _, name := range d.made {
			to := filepath.Join(dir, name)
			if e := os.RemoveAll(to); e != nil {
				err = e
			}
			if e := copyTree(filepath.Join(r.kept, k, name), to); e != nil {
				err = e
			}
		}
	}
	return d.code, d.stdout, d.stderr, err
}

var saysCode = regexp.MustCompile(`exit code (\d+)`)

// codes are the exit codes that a line may end with: what its remark says; for a check 0 or 1, as its help says; else 0.
func codes(c shown) []int {
	if m := saysCode.FindStringSubmatch(c.remark); m != nil {
		n, _ := strconv.Atoi(m[1])
		return []int{n}
	}
	if strings.Contains(c.text, "dmapath validate") {
		return []int{0, 1}
	}
	return []int{0}
}

// prepare makes the files that a line names and that are not there.
func prepare(dir, line string, page bool) error {
	sources := []map[string]func(string) error{brought}
	if !page {
		sources = append(sources, earlier)
	}
	fields := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" ,=<|", r) })
	for _, from := range sources {
		list := make([]string, 0, len(from))
		for name := range from {
			list = append(list, name)
		}
		sort.Strings(list)
		for _, name := range list {
			for _, f := range fields {
				glob, _ := filepath.Match(f, name)
				if f = strings.TrimPrefix(f, "./"); f != name && !strings.HasPrefix(f, name+"/") && !glob {
					continue
				}
				if j := slices.Index(fields, name); j > 0 && fields[j-1] == "--out" { // the line makes it
					continue
				}
				path := filepath.Join(dir, name)
				if _, err := os.Stat(path); err == nil {
					continue
				}
				if err := from[name](path); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sequence runs the commands of a page or of an example.
func (r *runner) sequence(t *testing.T, s sequence) {
	dir := t.TempDir()
	for _, part := range checkout {
		if err := copyTree(filepath.Join("../..", part), filepath.Join(dir, part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "results"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range s.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range standIns {
		if err := os.MkdirAll(filepath.Join(dir, ".bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ".bin", name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	page := !strings.Contains(s.name, "--help")
	for _, c := range s.shown {
		if form(c.text) {
			r.skip(c, "the form of a command")
			continue
		}
		for _, part := range parts(c.text) {
			r.step(t, dir, c, part, page)
		}
	}
}

// parts divides a line at && where one of the parts is not for this test; the others run all the same.
func parts(line string) []string {
	var list []string
	for rest := line; rest != ""; {
		var part string
		part, rest = cutRemark(rest, "&& ")
		list, rest = append(list, part), strings.TrimPrefix(rest, "&& ")
	}
	if slices.ContainsFunc(list, func(p string) bool { return notHere(p) != "" }) {
		return list
	}
	return []string{line}
}

// notHere says why a command is not run by this test, if it is not.
func notHere(line string) string {
	for _, e := range elsewhere {
		if strings.HasPrefix(line, e.begins) {
			return e.why
		}
	}
	return ""
}

func (r *runner) skip(c shown, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.not = append(r.not, fmt.Sprintf("%s:%d: %s: %s", c.page, c.line, c.text, why))
}

func (r *runner) step(t *testing.T, dir string, c shown, line string, page bool) {
	if why := notHere(line); why != "" {
		r.skip(c, why)
		return
	}
	if strings.HasPrefix(line, "benchstat ") {
		if _, err := exec.LookPath("benchstat"); err != nil {
			r.skip(c, "benchstat is not installed")
			return
		}
	}
	line = strings.ReplaceAll(line, "go run ./cmd/dmapath", "dmapath")
	exact := full() || c.output && (thorough() || !c.slow)
	if thorough() {
		for _, e := range inCI {
			if presentation.ReplaceAllString(line, "") == e.line && !c.output {
				r.skip(c, "CI runs it: step "+e.step)
				return
			}
		}
	}
	if !exact {
		short, ok := shorten(line)
		if !ok {
			r.skip(c, "it takes long, and is run by .ci/docs")
			return
		}
		line = short
	}
	if err := prepare(dir, line, page); err != nil {
		t.Fatalf("%s:%d: %s: %v", c.page, c.line, line, err)
	}
	begin := time.Now()
	code, stdout, stderr, err := r.run(t.Context(), dir, line)
	t.Logf("%5.1f s  %s", time.Since(begin).Seconds(), line)
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.ran++
	r.mu.Unlock()
	if !slices.Contains(codes(c), code) {
		t.Errorf("%s:%d: %s: exit code %d, want %v\n%s", c.page, c.line, line, code, codes(c), stderr)
		return
	}
	if c.output && exact && len(parts(c.text)) == 1 {
		r.compare(t, c, stdout)
	}
}

// compare holds what a command printed against what the page shows.
func (r *runner) compare(t *testing.T, c shown, stdout string) {
	got := outputLines(stdout)
	if *update {
		with, err := rewrite(c.want, got)
		if err != nil {
			t.Errorf("%s:%d: %s: %v", c.page, c.line, c.text, err)
			return
		}
		r.mu.Lock()
		r.edits[c.page] = append(r.edits[c.page], edit{c.first, len(c.want), with})
		r.mu.Unlock()
		return
	}
	if err := matches(c.want, got); err != nil {
		t.Errorf("%s:%d: %s: %v\nThe page is brought up to date by go test ./cmd/dmapath -run Documented -update", c.page, c.line, c.text, err)
	}
}

// Every command that the documents and the help texts show is run, in the order of its page, in a directory that has the files that the
// page shows and those that a reader brings, and ends as the page says. What a console block shows is what the command prints; "..."
// stands for lines left out.
//
// go test runs commands with little work each (bounds, above), and those whose output is shown as they are. .ci/docs runs what go test leaves
// out, too, and .ci/docs full all of them as they are.
func TestDocumentedCommands(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil || testing.Short() {
		t.Skip("needs a shell, and half a minute of processor time")
	}
	if *documented != "bounded" && !thorough() {
		t.Fatalf("-documented is %s: allowed are bounded, thorough and full", *documented)
	}
	r := &runner{kept: t.TempDir(), slots: make(chan struct{}, runtime.GOMAXPROCS(0)), done: map[string]*done{}, edits: map[string][]edit{}}
	all := documents(t)
	t.Run("run", func(t *testing.T) {
		for _, s := range all {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				r.sequence(t, s)
			})
		}
	})
	for page, edits := range r.edits {
		name := filepath.Join("../..", page)
		if err := os.WriteFile(name, []byte(applyEdits(readPage(t, page), edits)), 0o644); err != nil {
			t.Error(err)
		}
	}
	sort.Strings(r.not)
	t.Logf("%d commands were run (%d of them different), these were not:\n%s", r.ran, len(r.done), strings.Join(r.not, "\n"))
}

// What this test leaves to other steps of CI is there.
func TestDocumentedCommandsInCI(t *testing.T) {
	for _, e := range inCI {
		if !strings.Contains(readPage(t, e.script), e.call) {
			t.Errorf("%s does not contain %s, which stands for %q", e.script, e.call, e.line)
		}
	}
	run := readPage(t, ".ci/run")
	for _, script := range []string{".ci/regenerate", ".ci/docs", "deploy/slurm/test.sh"} {
		if !strings.Contains(run, "\n"+script) {
			t.Errorf(".ci/run does not run %s", script)
		}
	}
}
