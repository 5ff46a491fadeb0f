package cachegrind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"golang.org/x/sync/errgroup"

	"dmapath/bench/evidence"
	"dmapath/cache"
	"dmapath/workloads/lackey"
)

// Tolerances; see the package comment.
const (
	// Same is the relative tolerance of misses where the numbers of references agree exactly, with SameSlack misses in any case. Equal
	// runs give equal misses; runs of equal length whose stack lies elsewhere do not quite.
	Same      = 0.001
	SameSlack = 4
	// Refs is the tolerance of the numbers of references, and Differ that of misses where they differ. Six runs of a short Go program
	// under cachegrind alone differed by up to 7 % in references and 5 % in misses of instructions, by the clock: record.sh keeps the
	// run nearest in length.
	Refs        = 0.02
	Differ      = 0.10
	DifferSlack = 64
)

// Default caches: those of record.sh.
var (
	DefaultFirst = cache.Geometry{Bytes: 32768, Ways: 8, Line: 64}
	DefaultLast  = cache.Geometry{Bytes: 33554432, Ways: 16, Line: 64}
)

// Trace is a recorded program.
type Trace struct {
	Name  string                        // of the program
	Open  func() (io.ReadCloser, error) // lackey's text, plain, gzip or zstd
	Count *Counts                       // what cachegrind counted
}

// Options says what is compared.
type Options struct {
	Traces     []Trace
	I1, D1, LL cache.Geometry // a zero one is that of the expected counts, or the default
	// Malformed is told about the first damaged lines of each trace and how many there were; it may be nil, and is called after all
	// traces have run.
	Malformed func(first []*lackey.SyntaxError, all int64)
}

// ParseGeometry reads "32768,8,64": bytes, ways, bytes of a line, as cachegrind's options.
func ParseGeometry(s string) (g cache.Geometry, err error) {
	var rest string
	if n, _ := fmt.Sscanf(s+"!", "%d,%d,%d%s", &g.Bytes, &g.Ways, &g.Line, &rest); n != 4 || rest != "!" {
		return g, fmt.Errorf("%q: want bytes,associativity,bytes of a line, such as 32768,8,64", s)
	}
	return g, g.Validate()
}

// choose returns the cache to simulate: the given one, else that of the counts, else the default.
func choose(name string, given, counted, other cache.Geometry) (cache.Geometry, error) {
	switch none := (cache.Geometry{}); {
	case given == none && counted == none:
		return other, nil
	case given == none:
		return counted, nil
	case counted != none && given != counted:
		return given, fmt.Errorf("--%s is %v, but the expected counts are of %v", name, given, counted)
	}
	return given, nil
}

// ran is what came out of one trace.
type ran struct {
	rows   []evidence.Row
	notes  []string
	reader *lackey.Reader
}

// Run sends every trace through the caches and compares. jobs traces run at a time.
func Run(ctx context.Context, o Options, jobs int) (*evidence.Report, error) {
	done := make([]ran, len(o.Traces))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(jobs, 1))
	for i := range o.Traces {
		g.Go(func() (err error) {
			done[i], err = o.one(ctx, &o.Traces[i])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	r := &evidence.Report{Name: "cachegrind", Title: "Caches against Valgrind's cachegrind"}
	for _, d := range done {
		r.Rows = append(r.Rows, d.rows...)
		r.Notes = append(r.Notes, d.notes...)
		if d.reader.Malformed > 0 && o.Malformed != nil {
			o.Malformed(d.reader.Damaged, d.reader.Malformed)
		}
	}
	return r, nil
}

// one runs one trace.
func (o *Options) one(ctx context.Context, t *Trace) (d ran, err error) {
	var gs [3]cache.Geometry
	for i, x := range []struct {
		name           string
		given, counted cache.Geometry
		other          cache.Geometry
	}{{"I1", o.I1, t.Count.I1, DefaultFirst}, {"D1", o.D1, t.Count.D1, DefaultFirst}, {"LL", o.LL, t.Count.LL, DefaultLast}} {
		var e error
		gs[i], e = choose(x.name, x.given, x.counted, x.other)
		err = errors.Join(err, e)
	}
	if err != nil {
		return d, fmt.Errorf("%s: %w", t.Name, err)
	}
	s, err := cache.NewSplit(gs[0], gs[1], gs[2])
	if err != nil {
		return d, fmt.Errorf("%s: %w", t.Name, err)
	}
	f, err := t.Open()
	if err != nil {
		return d, err
	}
	defer f.Close()
	text, err := lackey.Text(f)
	if err != nil {
		return d, fmt.Errorf("%s: %w", t.Name, err)
	}
	defer text.Close()
	d.reader = lackey.NewReader(text, t.Name)
	if err := stream(ctx, d.reader, s); err != nil {
		return d, err
	}
	if s.Fetches.Refs+s.Reads.Refs+s.Writes.Refs == 0 {
		return d, fmt.Errorf("%s: no access found in %d lines: want the output of valgrind --tool=lackey --trace-mem=yes", t.Name, d.reader.Lines)
	}
	d.rows = compare(t.Name, fmt.Sprintf("I1 %v, D1 %v, LL %v", gs[0], gs[1], gs[2]), s, t.Count)
	if d.reader.Malformed > 0 {
		d.notes = append(d.notes, fmt.Sprintf("%s: %d lines are no accesses and were passed over.", t.Name, d.reader.Malformed))
	}
	return d, nil
}

// batch is how many accesses are handed over at a time; batches is how many are on the way.
const (
	batch   = 4096
	batches = 4
)

// stream performs all accesses of r on s. Reading the text and simulating the caches take turns on two processors.
func stream(ctx context.Context, r *lackey.Reader, s *cache.Split) error {
	free, full := make(chan []lackey.Ref, batches), make(chan []lackey.Ref, batches)
	for range batches {
		free <- make([]lackey.Ref, batch)
	}
	var failed error
	go func() {
		defer close(full)
		for b := range free {
			n, err := r.Next(b[:batch])
			full <- b[:n]
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					failed = err
				}
				return
			}
		}
	}()
	for b := range full {
		perform(s, b)
		free <- b
	}
	return failed
}

// perform executes accesses. A modification is a read: its write finds the line where the read left it, and cachegrind counts
// neither the reference nor the hit.
func perform(s *cache.Split, refs []lackey.Ref) {
	for i := range refs {
		switch a := &refs[i]; a.Kind {
		case lackey.Fetch:
			s.Fetch(a.Addr, int(a.Size))
		case lackey.Store:
			s.Write(a.Addr, int(a.Size))
		default:
			s.Read(a.Addr, int(a.Size))
		}
	}
}

// compare makes the rows of one trace.
func compare(name, set string, s *cache.Split, c *Counts) (rows []evidence.Row) {
	same := s.Fetches.Refs == c.Fetches.Refs && s.Reads.Refs == c.Reads.Refs && s.Writes.Refs == c.Writes.Refs
	add := func(what string, got, want uint64, refs bool) {
		row := evidence.Row{Set: set, What: name + ": " + what, Unit: "count", Predicted: float64(got), Reference: float64(want),
			Tolerance: Same, Slack: SameSlack, Source: "cachegrind on the same program"}
		if !same {
			row.Tolerance, row.Slack = Differ, DifferSlack
			row.Why = "the two runs were not the same: see the references"
		}
		if refs {
			row.Tolerance, row.Slack = Refs, 0
			row.Why = "the two runs were not the same: threads, seeds, or input that differed"
		}
		rows = append(rows, row)
	}
	add("instructions", s.Fetches.Refs, c.Fetches.Refs, true)
	add("data reads", s.Reads.Refs, c.Reads.Refs, true)
	add("data writes", s.Writes.Refs, c.Writes.Refs, true)
	add("I1 misses", s.Fetches.Misses, c.Fetches.Misses, false)
	add("D1 read misses", s.Reads.Misses, c.Reads.Misses, false)
	add("D1 write misses", s.Writes.Misses, c.Writes.Misses, false)
	add("LLi misses", s.Fetches.Last, c.Fetches.Last, false)
	add("LL read misses", s.Reads.Last, c.Reads.Last, false)
	add("LL write misses", s.Writes.Last, c.Writes.Last, false)
	return rows
}

// Pair is a recorded program in files, with one count of its misses.
type Pair struct{ Name, Trace, Expect string }

// Pairs finds what record.sh wrote into dir, by name: NAME.lackey.zst (or .gz, or plain) beside NAME.cachegrind, and perhaps
// counts of other caches in NAME.OTHER.cachegrind.
func Pairs(dir fs.FS) (list []Pair, err error) {
	files, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, err
	}
	for _, t := range files {
		name, end, ok := strings.Cut(t.Name(), ".lackey")
		if !ok || end != "" && end != ".gz" && end != ".zst" {
			continue
		}
		n := len(list)
		for _, e := range files {
			if c, ok := strings.CutSuffix(e.Name(), ".cachegrind"); ok && (c == name || strings.HasPrefix(c, name+".")) {
				list = append(list, Pair{c, t.Name(), e.Name()})
			}
		}
		if n == len(list) {
			return nil, fmt.Errorf("%s has no %s.cachegrind beside it", t.Name(), name)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("no NAME.lackey, NAME.lackey.gz or NAME.lackey.zst found")
	}
	return list, nil
}

// Read makes Traces of the pairs of a directory.
func Read(dir fs.FS) (list []Trace, err error) {
	pairs, err := Pairs(dir)
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		f, err := dir.Open(p.Expect)
		if err != nil {
			return nil, err
		}
		c, err := ReadCounts(f, p.Expect)
		f.Close()
		if err != nil {
			return nil, err
		}
		list = append(list, Trace{p.Name, func() (io.ReadCloser, error) { return dir.Open(p.Trace) }, c})
	}
	return list, nil
}
