// Package reference holds what the model is held against and that is small enough to travel with the program, so that `dmapath validate`
// needs no files: what real kernels did. See README.md for how it was recorded.
package reference

import (
	"embed"
	"io/fs"
	"path"
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
