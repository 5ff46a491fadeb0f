package bench

import (
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dmapath/kernel/recorded"
)

// Metric is one of the counts that a recorded call and a modelled one are compared by.
type Metric int

// Metrics, in the order of tables.
const (
	Instructions Metric = iota
	Loads               // instructions that read memory, with pop, ret and read-modify-writes
	Stores              // instructions that write memory, with push, call and read-modify-writes
	Branches            // conditional ones
	Atomics
	Fences
	IndirectCalls // retpolines included
	LineFlushes
	Lines       // distinct 64-byte lines without the stack
	PTEsWritten // stores to IOMMU page-table pages; the iterations of a string store count one by one
	numMetrics
)

// metrics are the names of the measurements, and the columns of summary.csv.
var metrics = [numMetrics]struct{ name, column string }{
	{"instructions", "instructions"}, {"loads", "loads"}, {"stores", "stores"}, {"branches", "cond_branches"}, {"atomics", "atomics"},
	{"fences", "fences"}, {"indirect_calls", "indirect_calls"}, {"line_flushes", "cache_flushes"},
	{"lines", "distinct_cachelines_nostack"}, {"ptes_written", "page_table_entries_written"},
}

func (m Metric) String() string { return metrics[m].name }

// Tolerance is the relative deviation allowed in instructions, loads, stores and lines; lines may also differ by LineSlack.
const (
	Tolerance = 0.10
	LineSlack = 2
)

// judged are the metrics that a verdict rests on.
var judged = []Metric{Instructions, Loads, Stores, Lines}

// Counts are the metrics of one call; a negative one is not known.
type Counts [numMetrics]int

// CallKey names a recorded call.
type CallKey struct {
	Kernel, Backend, API string
	Size                 uint64 // bytes; 0 for calls without
}

func (k CallKey) String() string {
	return fmt.Sprintf("%s %s %s %d", k.Kernel, k.Backend, k.API, k.Size)
}

// RecordedCall is what a directory says about one call: its representative, which is the last of those with the most common
// instruction count, what functions it consists of and how often it went another way.
type RecordedCall struct {
	CallKey
	// Typical says that at least half of the recorded calls have the representative's instruction count. When the shape of a tree
	// changes from call to call none is typical, and Counts are means.
	Typical   bool
	Index     int // of the representative among the recorded calls
	Of        int // rows in summary.csv
	Min, Max  int // instructions over all rows
	Counts    Counts
	Functions []recorded.Function // by name; empty when functions.csv does not know the call
	Recorded  []RecordedPath      // from variants.csv
	rows      []recordedRow
}

type recordedRow struct {
	line, index int
	counts      Counts
}

// RecordedPath is a line of variants.csv: the calls that executed the same set of functions.
type RecordedPath struct {
	Number, Count, Of, Min, Max int
	Extra, Missing              []string // functions, compared with the most common path
}

// KernelTraces is a directory of recorded calls in the format of summary.csv, functions.csv and variants.csv.
type KernelTraces struct {
	Calls []*RecordedCall // in the order of summary.csv
	Notes []string        // what is not there and therefore not compared
	index map[CallKey]*RecordedCall
	fsys  fs.FS
	name  string // of the directory, for messages
}

// maxProblems bounds how many errors of one file are listed.
const maxProblems = 20

// ReadKernelTraces reads a directory. Everything wrong with its files is reported, with file and line.
func ReadKernelTraces(dir string) (*KernelTraces, error) {
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: no such directory; wanted is one with summary.csv and, if there are any, functions.csv and variants.csv", dir)
	case err != nil:
		return nil, err
	case !st.IsDir():
		return nil, fmt.Errorf("%s is a file; wanted is a directory with summary.csv", dir)
	}
	return ReadKernelTracesFS(os.DirFS(dir), dir)
}

// ReadKernelTracesFS reads the root of a file system, which errors call by name. Each file may be compressed by gzip and then ends in
// .csv.gz.
func ReadKernelTracesFS(fsys fs.FS, name string) (*KernelTraces, error) {
	k := &KernelTraces{index: map[CallKey]*RecordedCall{}, fsys: fsys, name: name}
	if err := k.file("summary.csv", k.readSummary); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: no summary.csv; wanted is a file with one line per recorded call and the columns %s",
				name, strings.Join(append(slices.Clone(keyColumns), "instructions", "loads", "stores"), ", "))
		}
		return nil, err
	}
	for _, f := range []struct {
		name, what string
		read       func(name string, r io.Reader) error
	}{
		{"functions.csv", "misses are broken down by function only where there is a steps file", k.readFunctions},
		{"variants.csv", "only the most common path of each call is compared", k.readVariants},
	} {
		err := k.file(f.name, f.read)
		if errors.Is(err, fs.ErrNotExist) {
			k.Notes = append(k.Notes, fmt.Sprintf("no %s: %s", f.name, f.what))
		} else if err != nil {
			return nil, err
		}
	}
	return k, k.readSteps()
}

// readSteps takes the functions of calls that functions.csv does not know from their steps file, if there is one.
func (k *KernelTraces) readSteps() error {
	var errs []error
	for _, c := range k.Calls {
		if len(c.Functions) > 0 || c.Of == 0 || strings.ContainsAny(c.Kernel+c.Backend+c.API, `/\`) {
			continue
		}
		name := fmt.Sprintf("steps/%s__%s__%s__%d.csv", c.Kernel, c.Backend, c.API, c.Size)
		err := k.file(name, c.readSteps)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// readSteps counts instructions, loads, stores and entries by function.
func (c *RecordedCall) readSteps(name string, r io.Reader) error {
	s, err := newSheet(name, r, "symbol", "mem")
	if err != nil {
		return err
	}
	at := -1
	for s.next() {
		fn, offset, ok := strings.Cut(s.text("symbol"), "+")
		fn = recorded.Plain(fn)
		if !ok || fn == "" && at < 0 {
			s.bad("symbol is %q; wanted is function+offset, or +offset after such a line", s.text("symbol"))
			continue
		}
		if fn != "" {
			if at = slices.IndexFunc(c.Functions, func(f recorded.Function) bool { return f.Name == fn }); at < 0 {
				at, c.Functions = len(c.Functions), append(c.Functions, recorded.Function{Name: fn})
			}
		}
		f := &c.Functions[at]
		f.Instructions++
		if offset == "0" {
			f.Calls++
		}
		for _, m := range strings.Fields(s.text("mem")) {
			switch m[0] {
			case 'r':
				f.Loads++
			case 'w':
				f.Stores++
			}
		}
	}
	return s.err()
}

// file reads a file of the directory, or the same compressed.
func (k *KernelTraces) file(name string, read func(name string, r io.Reader) error) error {
	shown := filepath.Join(k.name, filepath.FromSlash(name))
	f, err := k.fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if z, err := k.fsys.Open(name + ".gz"); err == nil {
			defer z.Close()
			r, err := gzip.NewReader(z)
			if err != nil {
				return fmt.Errorf("%s.gz: %w", shown, err)
			}
			return read(shown+".gz", r)
		}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return read(shown, f)
}

var keyColumns = []string{"kernel", "backend", "api", "size"}

// sheet reads a CSV file with a heading by the names of its columns.
type sheet struct {
	name     string
	r        *csv.Reader
	at       map[string]int
	fields   []string
	problems []error
	more     int
}

func newSheet(name string, r io.Reader, want ...string) (*sheet, error) {
	s := &sheet{name: name, r: csv.NewReader(r), at: map[string]int{}}
	s.r.ReuseRecord = true
	head, err := s.r.Read()
	if err == io.EOF {
		return nil, fmt.Errorf("%s:1: the file is empty; wanted is a heading with %s", name, strings.Join(want, ", "))
	}
	if err != nil {
		return nil, s.syntax(err)
	}
	for i, c := range head {
		c = strings.TrimSpace(strings.TrimPrefix(c, "\ufeff"))
		if _, twice := s.at[c]; twice {
			return nil, fmt.Errorf("%s:1: column %q is there twice", name, c)
		}
		s.at[c] = i
	}
	var missing []string
	for _, c := range want {
		if !s.has(c) {
			missing = append(missing, c)
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("%s:1: no column %s; the heading must have %s", name, strings.Join(missing, ", "), strings.Join(want, ", "))
	}
	return s, nil
}

func (s *sheet) syntax(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return fmt.Errorf("%s:%d: %w", s.name, p.Line, p.Err)
	}
	return fmt.Errorf("%s: %w", s.name, err)
}

func (s *sheet) has(column string) bool { _, ok := s.at[column]; return ok }

func (s *sheet) line() int { l, _ := s.r.FieldPos(0); return l }

// next reads a line; false at the end.
func (s *sheet) next() bool {
	f, err := s.r.Read()
	if err == io.EOF {
		return false
	}
	if err != nil {
		s.problems = append(s.problems, s.syntax(err))
		if errors.Is(err, csv.ErrFieldCount) {
			return s.next()
		}
		return false
	}
	s.fields = f
	return true
}

func (s *sheet) bad(format string, args ...any) {
	if len(s.problems) >= maxProblems {
		s.more++
		return
	}
	s.problems = append(s.problems, fmt.Errorf("%s:%d: %s", s.name, s.line(), fmt.Sprintf(format, args...)))
}

func (s *sheet) err() error {
	if s.more > 0 {
		s.problems = append(s.problems, fmt.Errorf("%s: and %d more", s.name, s.more))
	}
	return errors.Join(s.problems...)
}

func (s *sheet) text(column string) string {
	if i, ok := s.at[column]; ok && i < len(s.fields) {
		return strings.Clone(strings.TrimSpace(s.fields[i]))
	}
	return ""
}

// count reads a count; ok is false when the field is bad, which is noted.
func (s *sheet) count(column string) (n int, ok bool) {
	text := s.text(column)
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || int64(n) > 1<<40 {
		s.bad("%s is %q; wanted is a count", column, text)
		return 0, false
	}
	return n, true
}

// key reads the four columns that name a call.
func (s *sheet) key() (k CallKey, ok bool) {
	k = CallKey{Kernel: s.text("kernel"), Backend: s.text("backend"), API: s.text("api")}
	for i, v := range []string{k.Kernel, k.Backend, k.API} {
		if v == "" {
			s.bad("%s is empty; wanted is a name", keyColumns[i])
			return k, false
		}
	}
	n, ok := s.count("size")
	k.Size = uint64(n)
	return k, ok
}

func (k *KernelTraces) readSummary(name string, r io.Reader) error {
	s, err := newSheet(name, r, append(slices.Clone(keyColumns), "instructions", "loads", "stores")...)
	if err != nil {
		return err
	}
	for m := range numMetrics {
		if c := metrics[m].column; !s.has(c) {
			k.Notes = append(k.Notes, fmt.Sprintf("summary.csv has no column %s: %s are not compared", c, m))
		}
	}
	for s.next() {
		key, ok := s.key()
		row := recordedRow{line: s.line()}
		for m := range numMetrics {
			row.counts[m] = -1
			if c := metrics[m].column; s.has(c) {
				n, good := s.count(c)
				row.counts[m], ok = n, ok && good
			}
		}
		c := k.index[key]
		if c != nil {
			row.index = len(c.rows)
		}
		if s.has("call_index") {
			n, good := s.count("call_index")
			row.index, ok = n, ok && good
		}
		if !ok {
			continue
		}
		if c == nil {
			c = &RecordedCall{CallKey: key}
			k.index[key], k.Calls = c, append(k.Calls, c)
		}
		c.rows = append(c.rows, row)
	}
	if err := s.err(); err != nil {
		return err
	}
	if len(k.Calls) == 0 {
		return fmt.Errorf("%s: a heading and no recorded call", name)
	}
	for _, c := range k.Calls {
		n := make([]int, len(c.rows))
		for i := range c.rows {
			n[i] = c.rows[i].counts[Instructions]
		}
		rep := &c.rows[representative(n)]
		c.Index, c.Counts, c.Of, c.Min, c.Max = rep.index, rep.counts, len(n), slices.Min(n), slices.Max(n)
		if c.Typical = typical(n); !c.Typical {
			all := make([]Counts, len(c.rows))
			for i := range c.rows {
				all[i] = c.rows[i].counts
			}
			c.Counts = means(all)
		}
	}
	return nil
}

// typical reports whether at least half of the calls have the most common instruction count.
func typical(instructions []int) bool {
	n := 0
	for _, v := range instructions {
		if v == instructions[representative(instructions)] {
			n++
		}
	}
	return 2*n >= len(instructions)
}

// means returns the mean of every metric, rounded, without the smallest and the largest value where there are three or more: a
// call that refilled a slab among them is no part of the others' mean.
func means(all []Counts) (mean Counts) {
	v := make([]int, len(all))
	for m := range mean {
		for i := range all {
			v[i] = all[i][m]
		}
		slices.Sort(v)
		mid := v
		if len(v) > 2 {
			mid = v[1 : len(v)-1]
		}
		sum := 0
		for _, n := range mid {
			sum += n
		}
		mean[m] = (2*sum + len(mid)) / (2 * len(mid))
		if v[0] < 0 {
			mean[m] = -1
		}
	}
	return mean
}

// representative returns the last of the calls that have the most common instruction count; of several as common ones, the count
// that came first.
func representative(instructions []int) int {
	times := map[int]int{}
	for _, n := range instructions {
		times[n]++
	}
	best := -1
	for i, n := range instructions {
		if best < 0 || times[n] > times[instructions[best]] || n == instructions[best] {
			best = i
		}
	}
	return best
}

func (k *KernelTraces) readFunctions(name string, r io.Reader) error {
	columns := []string{"self_instructions", "self_loads", "self_stores", "calls"}
	s, err := newSheet(name, r, append(append(slices.Clone(keyColumns), "function"), columns...)...)
	if err != nil {
		return err
	}
	for s.next() {
		key, ok := s.key()
		var n [4]int
		for i, c := range columns {
			v, good := s.count(c)
			n[i], ok = v, ok && good
		}
		fn := recorded.Plain(s.text("function"))
		if fn == "" {
			s.bad("function is empty; wanted is a symbol")
			continue
		}
		c := k.index[key]
		if !ok || c == nil {
			continue
		}
		i := slices.IndexFunc(c.Functions, func(f recorded.Function) bool { return f.Name == fn })
		if i < 0 {
			i, c.Functions = len(c.Functions), append(c.Functions, recorded.Function{Name: fn})
		}
		f := &c.Functions[i]
		f.Instructions += n[0]
		f.Loads += n[1]
		f.Stores += n[2]
		f.Calls += n[3]
	}
	return s.err()
}

func (k *KernelTraces) readVariants(name string, r io.Reader) error {
	columns := []string{"variant", "count", "of", "min_instructions", "max_instructions"}
	lists := []string{"extra_functions_vs_most_common", "missing_functions"}
	s, err := newSheet(name, r, slices.Concat(keyColumns, columns, lists)...)
	if err != nil {
		return err
	}
	for s.next() {
		key, ok := s.key()
		var n [5]int
		for i, c := range columns {
			v, good := s.count(c)
			n[i], ok = v, ok && good
		}
		if ok && n[3] > n[4] {
			s.bad("min_instructions is %d and max_instructions %d", n[3], n[4])
			ok = false
		}
		if !ok {
			continue
		}
		c := k.index[key]
		if c == nil { // bursts and runs are only here
			c = &RecordedCall{CallKey: key, Index: -1}
			for m := range c.Counts {
				c.Counts[m] = -1
			}
			k.index[key], k.Calls = c, append(k.Calls, c)
		}
		c.Recorded = append(c.Recorded, RecordedPath{Number: n[0], Count: n[1], Of: n[2], Min: n[3], Max: n[4],
			Extra: functionSet(s.text(lists[0])), Missing: functionSet(s.text(lists[1]))})
	}
	for _, c := range k.Calls {
		slices.SortStableFunc(c.Recorded, func(a, b RecordedPath) int { return cmp.Compare(a.Number, b.Number) })
	}
	return s.err()
}

// functionSet splits a list of symbols, without the suffixes of compiler clones, sorted.
func functionSet(text string) []string {
	f := strings.Fields(text)
	for i := range f {
		f[i] = recorded.Plain(f[i])
	}
	slices.Sort(f)
	return slices.Compact(f)
}
