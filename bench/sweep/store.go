package sweep

import (
	"bytes"
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

	"dmapath/platform"
	"dmapath/results"
)

// The files of a store. planFile is written first and names the plan; the manifest comes last and says that the sweep is complete.
const (
	planFile    = "sweep.yaml"
	pointsDir   = "points"
	resultsFile = "results.csv"
	failedFile  = "failures.csv"
)

// Store is a directory that holds the finished points of a sweep.
type Store struct {
	dir  string
	plan *Plan
}

// Open returns the store of plan p at dir. A directory that holds another plan, another version of the program, or anything else that is
// not a sweep is refused.
func Open(dir string, p *Plan) (*Store, error) {
	s := &Store{dir, p}
	want := s.header()
	have, err := platform.ReadFile(filepath.Join(dir, planFile), maxFile)
	switch {
	case err == nil && bytes.Equal(have, want):
		return s, nil
	case err == nil:
		return nil, fmt.Errorf("%s holds another sweep, or one of another version of the program (%s differs): name another directory, or remove it", dir, filepath.Join(dir, planFile))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if list, err := os.ReadDir(dir); err == nil && len(list) > 0 {
		return nil, fmt.Errorf("%s is not empty and not a sweep: name a directory of its own", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, pointsDir), 0o755); err != nil {
		return nil, err
	}
	return s, results.WriteFile(filepath.Join(dir, planFile), func(w io.Writer) error {
		_, err := w.Write(want)
		return err
	})
}

// header is the plan as the store keeps it.
func (s *Store) header() []byte {
	var b bytes.Buffer
	if err := s.plan.Manifest().Write(&b); err != nil {
		panic("sweep: " + err.Error()) // a buffer takes everything, and the plan was checked
	}
	return b.Bytes()
}

// ReadPlan returns the plan of the store at dir.
func ReadPlan(dir string) (*Plan, error) {
	name := filepath.Join(dir, planFile)
	data, err := platform.ReadFile(name, maxFile)
	if err != nil {
		return nil, fmt.Errorf("%s is not a sweep: %w", dir, err)
	}
	m, err := results.ReadManifest(name, data)
	if err != nil {
		return nil, err
	}
	return FromManifest(name, m)
}

// path is the file of a point; a thousand share a directory.
func (s *Store) path(index int, ext string) string {
	return filepath.Join(s.dir, pointsDir, fmt.Sprintf("%03d", index/1000), fmt.Sprintf("%06d%s", index, ext))
}

const (
	doneExt   = ".csv"
	failedExt = ".failed"
)

// has says whether a point is finished, and whether it failed.
func (s *Store) has(index int) (done, failed bool) {
	if _, err := os.Stat(s.path(index, doneExt)); err == nil {
		return true, false
	}
	_, err := os.Stat(s.path(index, failedExt))
	return err == nil, err == nil
}

// put makes a finished point durable.
func (s *Store) put(index int, ext string, write func(io.Writer) error) error {
	path := s.path(index, ext)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return results.WriteFile(path, write)
}

// finish writes the files over all points, the manifest last. points are those that belong to the store (all, or a shard's).
func (s *Store) finish(points []Point, shard Shard) error {
	outputs := []results.Output{}
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{resultsFile, func(w io.Writer) error { return s.concat(w, points) }},
		{failedFile, func(w io.Writer) error { return s.failures(w, points) }},
	} {
		o, err := results.WriteHashed(filepath.Join(s.dir, f.name), f.write)
		if err != nil {
			return err
		}
		o.Name = f.name
		outputs = append(outputs, o)
	}
	slices.SortFunc(outputs, func(a, b results.Output) int { return strings.Compare(a.Name, b.Name) })
	m := s.plan.Manifest()
	m.Outputs = outputs
	if shard.Of > 1 {
		m.Config[0].Text += fmt.Sprintf("shard: %d/%d\n", shard.Index+1, shard.Of)
	}
	return results.WriteFile(filepath.Join(s.dir, results.ManifestName), m.Write)
}

// concat writes the measurements of all points that did not fail, in their order, with the columns of all.
func (s *Store) concat(w io.Writer, points []Point) error {
	var columns []string // dimensions, in the order of their first appearance; then the rest
	var tail []string
	each := func(do func(head []string, r *csv.Reader) error) error {
		for _, pt := range points {
			f, err := os.Open(s.path(pt.Index, doneExt))
			if errors.Is(err, fs.ErrNotExist) {
				continue // it failed
			}
			if err != nil {
				return err
			}
			r := csv.NewReader(f)
			r.ReuseRecord = true
			head, err := r.Read()
			if err == nil {
				err = do(slices.Clone(head), r)
			}
			f.Close()
			if err != nil {
				return fmt.Errorf("%s: %w", s.path(pt.Index, doneExt), err)
			}
		}
		return nil
	}
	const tailLen = 5 // metric, unit, value, ci95, n; see results.WriteCSV
	err := each(func(head []string, _ *csv.Reader) error {
		if len(head) < tailLen {
			return errors.New("the heading is too short")
		}
		n := len(head) - tailLen
		if tail == nil {
			tail = head[n:]
		}
		if !slices.Equal(tail, head[n:]) {
			return fmt.Errorf("the heading ends in %s, that of the points before in %s", strings.Join(head[n:], ", "), strings.Join(tail, ", "))
		}
		for _, c := range head[:n] {
			if !slices.Contains(columns, c) {
				columns = append(columns, c)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	out := csv.NewWriter(w)
	all := append(slices.Clone(columns), tail...)
	if err := out.Write(all); err != nil {
		return err
	}
	line := make([]string, len(all))
	err = each(func(head []string, r *csv.Reader) error {
		at := make([]int, len(head))
		for i, c := range head {
			at[i] = slices.Index(all, c)
		}
		for {
			rec, err := r.Read()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			clear(line)
			for i, v := range rec {
				line[at[i]] = v
			}
			if err := out.Write(line); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// failures lists the points that failed, with their values and the reason.
func (s *Store) failures(w io.Writer, points []Point) error {
	out := csv.NewWriter(w)
	head := []string{"point"}
	for _, a := range s.plan.Axes {
		head = append(head, a.Key)
	}
	if err := out.Write(append(head, "error")); err != nil {
		return err
	}
	for _, pt := range points {
		why, err := platform.ReadFile(s.path(pt.Index, failedExt), maxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		line := append([]string{strconv.Itoa(pt.Index)}, pt.Values...)
		if err := out.Write(append(line, strings.TrimSpace(string(why)))); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
