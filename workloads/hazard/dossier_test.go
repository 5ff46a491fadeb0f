package hazard

import (
	"encoding/csv"
	"os"
	"strings"
	"sync"
	"testing"

	"dmapath/platform"
)

// verdict is a cell's answer without the cost.
func verdict(r *Result) string {
	if s := strings.TrimLeft(r.Short(), "0123456789 "); s != "" {
		return s
	}
	return "ok"
}

// find returns the cell of the names in a line of the facts.
func find(t *testing.T, kernel, memory, call, backend string) Cell {
	t.Helper()
	var c Cell
	for _, x := range Calls() {
		if x.Name == call && x.Version.String() == kernel {
			c.Call = x
		}
	}
	for _, x := range Memories() {
		if x.Name == memory {
			c.Memory = x
		}
	}
	for _, x := range Backends() {
		if x.Name == backend {
			c.Backend = x
		}
	}
	if c.Call.do == nil || c.Memory.Name == "" || c.Backend.Name == "" {
		t.Fatalf("no cell %s@%s/%s/%s", call, kernel, memory, backend)
	}
	return c
}

// The run matrix says what the source of Linux says, or the file says why not. What is not modelled is counted and cannot agree.
func TestMatrixAgreesWithTheFacts(t *testing.T) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/dossier.csv")
	if err != nil {
		t.Fatal(err)
	}
	rd := csv.NewReader(strings.NewReader(string(text)))
	rd.Comment = '#'
	lines, err := rd.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		line []string
		cell Cell
		got  string
		why  string
		err  error
	}
	var list []*answer
	seen := map[string]bool{}
	for _, l := range lines[1:] {
		a := &answer{line: l, cell: find(t, l[1], l[2], l[3], l[4])}
		if seen[a.cell.String()] {
			t.Errorf("%v stands in the file twice", a.cell)
		}
		seen[a.cell.String()] = true
		list = append(list, a)
	}
	var wg sync.WaitGroup
	free := make(chan bool, 2)
	for _, a := range list {
		wg.Add(1)
		go func() {
			defer wg.Done()
			free <- true
			defer func() { <-free }()
			r, err := Run(s, a.cell, Config{Seed: 1})
			if a.err = err; err == nil {
				a.got, a.why = verdict(r), r.Why
			}
		}()
	}
	wg.Wait()
	missing := map[string]int{}
	for _, a := range list {
		switch {
		case a.err != nil:
			t.Error(a.err)
		case a.got == "?":
			missing[a.why]++
		case a.got != a.line[6]:
			t.Errorf("section %s, %v: %s, want %s (%s)", a.line[0], a.cell, a.got, a.line[6], a.line[5])
		}
	}
	for why, n := range missing {
		t.Logf("%d of %d cells are not modelled: %s", n, len(list), why)
	}
}
