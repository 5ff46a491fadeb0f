package sweep

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"dmapath/platform"
	"dmapath/results"
)

// maxFile is the largest point that Merge reads, bytes.
const maxFile = 64 << 20

var pointName = regexp.MustCompile(`^(\d{6})(\.csv|\.failed)$`)

// Merge puts the points of several stores of one plan into one at dir and completes it. A point that two of them have must be the same
// bytes; what is missing, is not of this plan, or does not read as results is an error, and dir is then not complete.
func Merge(dir string, from []string) (Status, error) {
	p, err := ReadPlan(from[0])
	if err != nil {
		return Status{}, err
	}
	points, err := p.Points()
	if err != nil {
		return Status{}, err
	}
	for _, f := range from {
		if filepath.Clean(f) == filepath.Clean(dir) {
			return Status{}, fmt.Errorf("%s is merged into itself", f)
		}
		have, err := platform.ReadFile(filepath.Join(f, planFile), maxFile)
		if err != nil {
			return Status{}, fmt.Errorf("%s is not a sweep: %w", f, err)
		}
		if !bytes.Equal(have, (&Store{f, p}).header()) {
			return Status{}, fmt.Errorf("%s is another sweep than %s, or of another version of the program: their %s differ", f, from[0], planFile)
		}
	}
	s, err := Open(dir, p)
	if err != nil {
		return Status{}, err
	}
	origin := map[int]string{}
	for _, f := range from {
		if err := s.take(f, len(points), origin); err != nil {
			return Status{}, err
		}
	}
	st := Status{Total: len(points)}
	var missing []string
	for _, pt := range points {
		done, failed := s.has(pt.Index)
		switch {
		case !done:
			missing = append(missing, strconv.Itoa(pt.Index))
		case failed:
			st.Failed++
		}
		if done {
			st.Done++
		}
	}
	if n := len(missing); n > 0 {
		if n > 10 {
			missing = append(missing[:10], "...")
		}
		return st, fmt.Errorf("%d of %d points are in none of the directories: %s", n, len(points), strings.Join(missing, ", "))
	}
	return st, s.finish(points, Shard{})
}

// take copies the points of the store at dir.
func (s *Store) take(dir string, total int, origin map[int]string) error {
	return filepath.WalkDir(filepath.Join(dir, pointsDir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f := pointName.FindStringSubmatch(d.Name())
		if f == nil {
			if strings.HasPrefix(d.Name(), ".tmp-") {
				return nil // left behind by a killed run
			}
			return fmt.Errorf("%s is not a point of a sweep", path)
		}
		index, err := strconv.Atoi(f[1])
		if err != nil || index >= total {
			return fmt.Errorf("%s: the sweep has %d points", path, total)
		}
		data, err := platform.ReadFile(path, maxFile)
		if err != nil {
			return err
		}
		if f[2] == doneExt {
			if _, err := results.ReadCSV(bytes.NewReader(data)); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		for _, ext := range []string{doneExt, failedExt} {
			have, err := platform.ReadFile(s.path(index, ext), maxFile)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if ext != f[2] || !bytes.Equal(have, data) {
				return fmt.Errorf("point %d differs between %s and %s", index, origin[index], path)
			}
			return nil
		}
		origin[index] = path
		return s.put(index, f[2], func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
	})
}
