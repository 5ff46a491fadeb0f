// Package reference holds what the model is held against and that is small enough to travel with the program, so that `dmapath validate`
// needs no files: what real kernels did. See README.md for how it was recorded.
package reference

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"dmapath/workloads/recorded"
)

//go:embed kernel-traces event-traces cachegrind
var files embed.FS

// KernelTraces returns the directories of recorded instruction counts, each a file system in the format of bench.ReadKernelTraces,
// with a name for messages.
func KernelTraces() (list []Directory) {
	for _, name := range []string{"kernel-traces", "kernel-traces/arm64"} {
		sub, err := fs.Sub(files, name)
		if err != nil {
			panic(err) // the names are constants
		}
		list = append(list, Directory{name, withSteps{sub}})
	}
	return list
}

// withSteps adds the steps files that the program offers as --source recorded: a directory of counts gets the instructions of the
// calls that have them.
type withSteps struct{ fs.FS }

func (w withSteps) Open(name string) (fs.File, error) {
	if file, ok := strings.CutPrefix(name, "steps/"); ok {
		return recorded.Steps().Open(file)
	}
	return w.FS.Open(name)
}

// Directory is a named file system.
type Directory struct {
	Name string
	FS   fs.FS
}

// EventTraces returns the names of the recorded event traces, in the order of tables; Open opens one. They are gzip files.
func EventTraces() (names []string) {
	list, err := fs.ReadDir(files, "event-traces")
	if err != nil {
		panic(err)
	}
	for _, f := range list {
		names = append(names, path.Join("event-traces", f.Name()))
	}
	return names
}

// Open opens a file that EventTraces names.
func Open(name string) (fs.File, error) { return files.Open(name) }

// Cachegrind returns the directory of recorded programs: what bench/cachegrind/record.sh writes.
func Cachegrind() fs.FS {
	sub, err := fs.Sub(files, "cachegrind")
	if err != nil {
		panic(err) // the name is a constant
	}
	return sub
}

// Data is a set of files that travels with the program.
type Data struct {
	Name   string `json:"name"`
	Files  int    `json:"files"`
	SHA256 string `json:"sha256"` // of names and contents, hex: two programs with equal ones judge by the same references
}

// Versions identifies the references of the program, and what else is given by name, such as "platforms".
func Versions(other map[string]fs.FS) (list []Data, err error) {
	sets := map[string]fs.FS{"recordings": recorded.Steps()}
	for _, name := range []string{"kernel-traces", "event-traces", "cachegrind"} {
		if sets[name], err = fs.Sub(files, name); err != nil {
			return nil, err
		}
	}
	maps.Copy(sets, other)
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		d, err := digest(name, sets[name])
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// digest reads every file, in the order of their names.
func digest(name string, fsys fs.FS) (Data, error) {
	h := sha256.New()
	d := Data{Name: name}
	err := fs.WalkDir(fsys, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fsys, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", path, len(data))
		h.Write(data)
		d.Files++
		return nil
	})
	d.SHA256 = hex.EncodeToString(h.Sum(nil))
	return d, err
}
