package recorded

import (
	"embed"
	"encoding/csv"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

//go:embed testdata/*.csv
var files embed.FS

// Counts are executed instructions by kind. Read-modify-writes, atomics and fences on the stack are in both Loads and
// Stores; push, pop, call and ret are included. On arm64 a pair of registers is one load or store, calls and returns are
// none, and dc zva is none either. A negative count of a recording is not known: for most calls of the arm64 kernels the
// functions have only instructions, loads and stores.
type Counts struct {
	Instructions, Loads, Stores, Branches, Atomics, Fences, IrqFlags, Flushes, Strings, MMIO int
}

func (c *Counts) fields() []*int {
	return []*int{&c.Instructions, &c.Loads, &c.Stores, &c.Branches, &c.Atomics, &c.Fences, &c.IrqFlags, &c.Flushes,
		&c.Strings, &c.MMIO}
}

// Function is one function's share of a call.
type Function struct {
	Name  string
	Calls int // entries
	Counts
}

// Call is one call of an API function: everything executed from its first instruction to its return.
type Call struct {
	Key string
	Counts
	Lines        int        // distinct 64-byte lines of data, MMIO excluded
	LinesNoStack int        // the same without the stack
	Functions    []Function // in the order of first execution
}

// Function returns the entry of name, nil if it was not executed.
func (c *Call) Function(name string) *Function {
	for i := range c.Functions {
		if c.Functions[i].Name == name {
			return &c.Functions[i]
		}
	}
	return nil
}

// sets are the tables: x86-64 without bounce buffers, with them, arm64.
var sets = []string{"", "-swiotlb", "-arm64"}

var load = sync.OnceValues(func() ([]*Call, error) {
	var calls []*Call
	for _, set := range sets {
		c, err := loadSet(set)
		if err != nil {
			return nil, err
		}
		calls = append(calls, c...)
	}
	return calls, nil
})

func loadSet(set string) ([]*Call, error) {
	rows, err := table("testdata/calls" + set + ".csv")
	if err != nil {
		return nil, err
	}
	var calls []*Call
	index := map[string]*Call{}
	for _, r := range rows {
		c := &Call{Key: key(r)}
		n, err := ints(r[5:])
		if err != nil {
			return nil, fmt.Errorf("recorded: %s: %w", c.Key, err)
		}
		for i, p := range c.fields() {
			*p = n[i]
		}
		c.Lines, c.LinesNoStack = n[10], n[11]
		calls = append(calls, c)
		index[c.Key] = c
	}
	if rows, err = table("testdata/functions" + set + ".csv"); err != nil {
		return nil, err
	}
	for _, r := range rows {
		c := index[key(r)]
		n, err := ints(r[6:])
		if c == nil || err != nil {
			return nil, fmt.Errorf("recorded: functions%s.csv: %v: %v", set, r, err)
		}
		name := Plain(r[5])
		f := c.Function(name)
		if f == nil {
			c.Functions = append(c.Functions, Function{Name: name})
			f = &c.Functions[len(c.Functions)-1]
		}
		f.Calls += n[0]
		for i, p := range f.fields() {
			*p += n[1+i]
		}
	}
	return calls, nil
}

func table(name string) ([][]string, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("recorded: %s: %w", name, err)
	}
	return rows[1:], nil
}

func key(r []string) string {
	k := strings.Join(r[:4], "/")
	if r[4] != "" {
		k += "/" + r[4]
	}
	return k
}

func ints(s []string) ([]int, error) {
	n := make([]int, len(s))
	for i := range s {
		var err error
		if n[i], err = strconv.Atoi(s[i]); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Load returns the recorded call of a key such as "7.3/direct/map_phys/4096".
func Load(key string) (*Call, error) {
	calls, err := load()
	if err != nil {
		return nil, err
	}
	for _, c := range calls {
		if c.Key == key {
			return c, nil
		}
	}
	return nil, fmt.Errorf("recorded: no call %q; there are %s", key, strings.Join(Keys(), ", "))
}

// Keys lists the recorded calls.
func Keys() []string {
	calls, err := load()
	if err != nil {
		panic(err)
	}
	var k []string
	for _, c := range calls {
		k = append(k, c.Key)
	}
	return k
}

var suffix = regexp.MustCompile(`(\.(isra|constprop|part|cold)(\.\d+)?)+$`)

// Plain strips the suffixes of compiler clones and the module from a symbol.
func Plain(symbol string) string {
	symbol, _, _ = strings.Cut(symbol, " [")
	return suffix.ReplaceAllString(symbol, "")
}
