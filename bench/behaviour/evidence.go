package behaviour

import (
	"strings"

	"dmapath/bench/evidence"
)

// Evidence turns outcomes into rows, one per claim: 1 when it holds.
func Evidence(list []*Outcome) *evidence.Report {
	rep := &evidence.Report{Name: "behaviours", Title: "Shapes of published measurements"}
	for _, o := range list {
		for i, c := range o.Claims {
			row := evidence.Row{Set: strings.ReplaceAll(o.Name, "_", " "), What: c.Text, Unit: "holds", Reference: 1, Source: o.Source}
			if o.Held[i] {
				row.Predicted = 1
			}
			rep.Rows = append(rep.Rows, row)
		}
	}
	return rep
}
