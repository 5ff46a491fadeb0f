package bench

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"dmapath/platform"
	"dmapath/results"
	"dmapath/workloads/hazard"
)

func hazardRecord(t *testing.T, o HazardOptions, jobs int) *results.Record {
	t.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	h, err := RunHazards(context.Background(), s, o, jobs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return h.Record()
}

// Every cell can be named, and its name finds it again.
func TestCellNames(t *testing.T) {
	o := HazardOptions{Backends: []string{"all"}, Rounds: 16}
	cells := o.Cells()
	if want := len(hazard.Calls()) * len(hazard.Memories()) * len(hazard.Backends()); len(cells) != want {
		t.Errorf("%d cells, want %d", len(cells), want)
	}
	for _, c := range cells {
		got, err := FindCell(c.String())
		if err != nil || got.String() != c.String() {
			t.Errorf("%v is found as %v, %v", c, got, err)
		}
	}
	for name, want := range map[string]string{"map_phys@7.3": "a cell is CALL@KERNEL/MEMORY/BACKEND", "map_phys@6.12/ram/direct": "has no call map_phys",
		"map_phys@7.3/rom/direct": `no memory "rom": allowed are ram,`} {
		if _, err := FindCell(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// The tables of a part of the matrix: no line is too wide, every format can be written, and neither depends on how many cells run at a
// time.
func TestHazardTables(t *testing.T) {
	o := HazardOptions{Calls: []string{"map_page", "map_phys", "map_phys long", "mmio/unmap_page+mmio"}, Memories: []string{"ram", "mmio", "highmem"},
		Backends: []string{"direct", "strict", "lazy"}, Rounds: 16, Seed: 1}
	one, two := hazardRecord(t, o, 1), hazardRecord(t, o, 2)
	for _, f := range []results.Format{results.ASCII, results.Markdown, results.CSV, results.JSON, results.Bench} {
		var a, b bytes.Buffer
		if err := one.Write(&a, f); err != nil {
			t.Fatal(err)
		}
		if err := two.Write(&b, f); err != nil {
			t.Fatal(err)
		}
		if a.String() != b.String() {
			t.Errorf("%s depends on the number of jobs", f)
		}
		if f != results.ASCII {
			continue
		}
		for _, l := range strings.Split(a.String(), "\n") {
			if len(l) > results.Width {
				t.Errorf("%d columns: %s", len(l), l)
			}
		}
		for _, want := range []string{"Linux 7.3, mmio:", "LK mapping leaked:", "step map of another buffer", "highmem"} {
			if !strings.Contains(a.String(), want) {
				t.Errorf("%q is missing in\n%s", want, a.String())
			}
		}
	}
}
