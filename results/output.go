package results

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// ManifestName is the manifest's file name in an output directory. Its presence says that the directory is complete.
const ManifestName = "manifest.yaml"

// WriteFile writes a file that is there as a whole or not at all: write fills a temporary file beside it, which is synced and
// then renamed.
func WriteFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-"+filepath.Base(path)+"-*")
	if err != nil {
		return unnamed(path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	b := bufio.NewWriterSize(f, 1<<16)
	if err := write(b); err != nil {
		return err
	}
	if err := errors.Join(b.Flush(), f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// unnamed gives an error about the temporary file beside path the name that the user knows.
func unnamed(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return &fs.PathError{Op: "create", Path: path, Err: pe.Err}
	}
	return err
}

// WriteHashed is WriteFile; it returns size and digest of what was written, with path as the name.
func WriteHashed(path string, write func(io.Writer) error) (Output, error) {
	h := sha256.New()
	var n int64
	err := WriteFile(path, func(w io.Writer) error {
		c := &countWriter{w: io.MultiWriter(w, h)}
		err := write(c)
		n = c.n
		return err
	})
	return Output{Name: path, Bytes: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// OutputDir assembles a directory of results beside its final place. Until Commit the final place is untouched; Commit puts the
// manifest last, so that a directory with a manifest is complete whenever the program was interrupted.
type OutputDir struct {
	final, temp string
	files       map[string]Output
}

// NewOutputDir starts a directory that Commit will put at path. Abort must be called when Commit is not.
func NewOutputDir(path string) (*OutputDir, error) {
	path = filepath.Clean(path)
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", path)
	}
	parent := filepath.Dir(path)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, err
	}
	if path == "." || path == ".." || path == parent {
		return nil, fmt.Errorf("%q cannot hold the results: name a directory of its own", path)
	}
	temp, err := os.MkdirTemp(parent, ".tmp-"+filepath.Base(path)+"-*")
	if err != nil {
		return nil, unnamed(path, err)
	}
	return &OutputDir{final: path, temp: temp, files: map[string]Output{}}, nil
}

// Create adds a file. name may contain slashes for sub-directories but does not leave the directory.
func (o *OutputDir) Create(name string, write func(io.Writer) error) error {
	if name == ManifestName {
		return fmt.Errorf("%s is written by Commit", name)
	}
	return o.create(name, write)
}

func (o *OutputDir) create(name string, write func(io.Writer) error) error {
	if o.temp == "" {
		return errors.New("the output directory is already finished")
	}
	if !filepath.IsLocal(name) || strings.Contains(name, `\`) {
		return fmt.Errorf("%q is not a file name inside the output directory", name)
	}
	if _, dup := o.files[name]; dup {
		return fmt.Errorf("%s is written twice", name)
	}
	path := filepath.Join(o.temp, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := WriteHashed(path, write)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	f.Name = name
	o.files[name] = f
	return nil
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Outputs returns the files so far, by name.
func (o *OutputDir) Outputs() []Output {
	var out []Output
	for _, f := range o.files {
		out = append(out, f)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Commit writes the manifest, with the files in it, and puts everything in place. A new directory appears at once. In an existing one
// the old manifest goes first, then each file is replaced, files that the old manifest names and the new run did not write are
// removed, and the new manifest comes last; other files stay.
func (o *OutputDir) Commit(m *Manifest) error {
	defer o.Abort()
	done := *m
	done.Outputs = o.Outputs()
	if err := o.create(ManifestName, done.Write); err != nil {
		return err
	}
	if err := os.Chmod(o.temp, 0o755); err != nil {
		return err
	}
	err := os.Rename(o.temp, o.final)
	if err == nil {
		o.temp = ""
		return syncDir(filepath.Dir(o.final))
	}
	if _, statErr := os.Stat(o.final); statErr != nil {
		return err
	}
	return o.replace()
}

func (o *OutputDir) replace() error {
	manifest := filepath.Join(o.final, ManifestName)
	var old *Manifest
	if data, err := os.ReadFile(manifest); err == nil {
		old, err = ReadManifest(manifest, data)
		if err != nil {
			old = nil // not ours or damaged: its files are left alone
		}
		if err := os.Remove(manifest); err != nil {
			return err
		}
		if err := syncDir(o.final); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if old != nil {
		for _, f := range old.Outputs {
			if _, again := o.files[f.Name]; again || !filepath.IsLocal(f.Name) {
				continue
			}
			if err := os.Remove(filepath.Join(o.final, filepath.FromSlash(f.Name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	for _, f := range append(o.Outputs(), Output{Name: ManifestName}) {
		if f.Name == ManifestName && f.SHA256 != "" {
			continue // last
		}
		from, to := filepath.Join(o.temp, filepath.FromSlash(f.Name)), filepath.Join(o.final, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.Rename(from, to); err != nil {
			return err
		}
	}
	return syncDir(o.final)
}

// Abort throws away what was not committed. After Commit it does nothing, nor for nil, which stands for no output.
func (o *OutputDir) Abort() {
	if o != nil && o.temp != "" {
		os.RemoveAll(o.temp)
		o.temp = ""
	}
}
