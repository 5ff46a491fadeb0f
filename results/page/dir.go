package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dmapath/results"
)

// Limits. A browser shows what they allow within seconds; what is larger is refused with its size.
const (
	MaxDocument  = 64 << 20  // bytes of a document
	MaxDocuments = 64        // in a directory
	MaxInput     = 128 << 20 // bytes of all documents
	MaxPage      = 32 << 20  // bytes of the page
)

// Source is one document of a directory.
type Source struct {
	File     string // its name in the directory
	Document *results.Document
}

// Dir is what a directory of results holds.
type Dir struct {
	Sources  []Source          // in the order of their names
	Manifest *results.Manifest // nil when there is none
	// Checked are the files whose size and digest are those of the manifest; Missing those that it names and that are not there;
	// Skipped are files that end in .json and are no results documents.
	Checked, Missing, Skipped []string
}

// Read reads the results documents of a directory, not of those below it: every .json file that says it is one (strictly, as
// results.ReadJSON does), and every .csv file of measurements in the long form that has no .json file of the same name. Files named by a
// manifest.yaml must have the size and digest that it says; a document that it names must be there.
func Read(dir string) (*Dir, error) {
	st, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, fmt.Errorf("%s is a file: name the directory that it lies in", dir)
	}
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, err
	}
	d := &Dir{}
	if err := d.verify(dir); err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	total := 0
	for _, name := range names {
		stem, isCSV := strings.CutSuffix(name, ".csv")
		if strings.HasPrefix(name, ".") || !isCSV && !strings.HasSuffix(name, ".json") || isCSV && slices.Contains(names, stem+".json") {
			continue
		}
		path := filepath.Join(dir, name)
		take := d.json
		if isCSV {
			take = d.csv
		}
		n, err := take(path, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if total += n; total > MaxInput {
			return nil, fmt.Errorf("%s: the documents up to %s have %s together, at most %s fit on a page: move some to a directory of their own", dir, name, mib(total), mib(MaxInput))
		}
		if len(d.Sources) > MaxDocuments {
			return nil, fmt.Errorf("%s holds more than %d results documents: move some to a directory of their own", dir, MaxDocuments)
		}
	}
	if len(d.Sources) == 0 {
		return nil, fmt.Errorf("%s holds no results document (a .json file of this program): dmapath compare --out %s writes one, and so does --format json of most commands", dir, dir)
	}
	return d, nil
}

// verify reads the manifest, if there is one, and holds the files against it.
func (d *Dir) verify(dir string) error {
	path := filepath.Join(dir, results.ManifestName)
	f, err := open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	data, err := readAll(f, 16<<20)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if d.Manifest, err = results.ReadManifest(path, data); err != nil {
		return err
	}
	for _, o := range d.Manifest.Outputs {
		if !filepath.IsLocal(o.Name) || strings.Contains(o.Name, `\`) {
			return fmt.Errorf("%s: the output %q is not a file inside the directory", path, o.Name)
		}
		file := filepath.Join(dir, filepath.FromSlash(o.Name))
		n, digest, err := hash(file, o.Bytes)
		switch {
		case errors.Is(err, os.ErrNotExist) && !strings.HasSuffix(o.Name, ".json"):
			d.Missing = append(d.Missing, o.Name)
			continue
		case errors.Is(err, os.ErrNotExist):
			return fmt.Errorf("%s: %s names it and it is not there", file, results.ManifestName)
		case err != nil:
			return err
		case n != o.Bytes:
			return fmt.Errorf("%s: it has %s%d bytes and %s says %d: it was changed after the run, or belongs to another", file, more(n > o.Bytes), n, results.ManifestName, o.Bytes)
		case digest != o.SHA256:
			return fmt.Errorf("%s: its SHA-256 is %s and %s says %s: it was changed after the run, or belongs to another", file, digest, results.ManifestName, o.SHA256)
		}
		d.Checked = append(d.Checked, o.Name)
	}
	return nil
}

func more(yes bool) string {
	if yes {
		return "at least "
	}
	return ""
}

// hash returns size and digest of a file, of which it reads one byte more than expected at most.
func hash(path string, expected int64) (int64, string, error) {
	f, err := open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, max(expected, 0)+1))
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", path, err)
	}
	return n, hex.EncodeToString(h.Sum(nil)), nil
}

// json reads a .json file. One that does not say that it is a results document is skipped.
func (d *Dir) json(path, name string) (int, error) {
	data, err := read(path, claims)
	if err != nil {
		return 0, err
	}
	if data == nil {
		d.Skipped = append(d.Skipped, name)
		return 0, nil
	}
	doc, err := results.ReadJSON(bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	d.Sources = append(d.Sources, Source{name, doc})
	return len(data), nil
}

// claims reports whether a file that begins so is meant to be a results document: an object whose first key is schema_version or tool.
func claims(head []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(head))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	t, err := dec.Token()
	return err == nil && (t == "schema_version" || t == "tool")
}

// csv reads a .csv file, if it holds measurements in the long form.
func (d *Dir) csv(path, name string) (int, error) {
	data, err := read(path, longForm)
	if err != nil || data == nil {
		return 0, err
	}
	ms, err := results.ReadCSV(bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	r := &results.Record{Name: strings.TrimSuffix(name, ".csv"), Measurements: ms}
	if d.Manifest != nil {
		r.Version, r.Seed, r.ConfigHash = d.Manifest.Version, d.Manifest.Seed, d.Manifest.Hash()
	}
	d.Sources = append(d.Sources, Source{name, r.Document()})
	return len(data), nil
}

// longForm reports whether a file that begins so has the columns that every file of measurements ends in.
func longForm(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	return bytes.HasSuffix(bytes.TrimSuffix(line, []byte("\r")), []byte("metric,unit,value,ci95,n"))
}

// read reads a file that begins as ours wants it; nil when it does not.
func read(path string, ours func(head []byte) bool) ([]byte, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return nil, err
	}
	if !ours(head[:n]) {
		return nil, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return readAll(f, MaxDocument)
}

// open opens a regular file: a pipe or a device would never end.
func open(path string) (*os.File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return os.Open(path)
}

// readAll reads a file of at most limit bytes.
func readAll(f *os.File, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		size := len(data)
		if st, err := f.Stat(); err == nil {
			size = int(st.Size())
		}
		return nil, fmt.Errorf("it has %s, at most %s are read", mib(size), mib(int(limit)))
	}
	return data, err
}

func mib(n int) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
