package recorded

import (
	"compress/gzip"
	"embed"
	_ "embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"dmapath/cpu"
)

//go:embed steps/*.csv.gz
var steps embed.FS

//go:embed functions.txt
var functionList string

//go:embed functions-arm64.txt
var functionListArm string

// functions and functionsArm give every function of the embedded recordings a place in kernel text.
var functions, functionsArm = place(functionList), place(functionListArm)

func place(list string) map[string]*cpu.Func {
	m := map[string]*cpu.Func{}
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		i := strings.LastIndexByte(line, ' ')
		name := line[:i]
		n, err := strconv.ParseUint(line[i+1:], 10, 24)
		if err != nil {
			panic("recorded: functions.txt: " + line)
		}
		m[name] = cpu.NewFunc(name, "(recorded)", uint32(n))
	}
	return m
}

// armSuffix is what the kernels of arm64 recordings are called beyond their version.
const armSuffix = "-arm64"

// Steps returns the embedded recordings as files: NAME.csv.gz, in the format of the kernel traces' steps files.
func Steps() fs.FS {
	sub, err := fs.Sub(steps, "steps")
	if err != nil {
		panic(err) // the name is a constant
	}
	return sub
}

// Names lists the embedded recordings in order.
func Names() []string {
	var names []string
	entries, err := fs.ReadDir(steps, "steps")
	if err != nil {
		panic("recorded: " + err.Error())
	}
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".csv.gz"))
	}
	return names
}

// Name returns the name of the recording of api (map_page, unmap_phys, pfn_valid_ram) of a kernel (6.12, 7.3-arm64) on backend.
func Name(kernel, backend, api string, size uint64) string {
	return fmt.Sprintf("%s__%s__%s__%d", kernel, backend, api, size)
}

// Has reports whether there is an embedded recording of that name.
func Has(name string) bool { return slices.Contains(Names(), name) }

// Load returns an embedded recording; at says where its memory goes, its functions have their places.
func Load(name string, at Layout) (*Recording, error) {
	f, err := steps.Open("steps/" + name + ".csv.gz")
	if err != nil {
		return nil, fmt.Errorf("there is no recording %s", name)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	in := functions
	if of, _, _ := strings.Cut(name, "__"); strings.HasSuffix(of, armSuffix) {
		in = functionsArm
	}
	at.Func = func(s string) *cpu.Func { return in[s] }
	return Parse(z, name, at)
}
