package results

import (
	"fmt"
	"strings"
	"testing"
)

func TestT(t *testing.T) {
	tab := &Table{ID: "x", Title: "NVMe, 4 KiB random reads, dma-direct", Columns: []Column{{Name: "variant", Text: true}, {Name: "map mean", Unit: "cycles", Decimals: 1},
		{Name: "map p50", Unit: "cycles"}, {Name: "map p99", Unit: "cycles"}, {Name: "map p99.9", Unit: "cycles"}, {Name: "instructions", Unit: ""}, {Name: "difference from first", Unit: "%", Decimals: 1, Signed: true}, {Name: "interval", Unit: "%", Decimals: 1}, {Name: "loads L1", Unit: "1/map", Decimals: 2}, {Name: "verdict", Text: true}},
		Notes: []string{"Differences are paired; an interval that contains 0 is no difference at all, however large the first number may look in the column to its left."}}
	tab.Add("map_page@6.12", 123.45, 120, 400, 1000, 74, 0.0, 0.1, 20.25, "baseline")
	tab.Add("map_phys@7.3 | µs", 1123.45, 120, 400, 100000, 74, 1.05, nil, 20.25, "no")
	tab.Add("a very long name of a variant that nobody would ever choose", nil, 120, 400, 1000, 74, -3.0, 0.1, 20.25, "no")
	for _, f := range []Format{ASCII, Markdown, CSV} {
		var b strings.Builder
		if err := tab.Write(&b, f); err != nil {
			t.Fatal(err)
		}
		fmt.Println(b.String())
	}
}
