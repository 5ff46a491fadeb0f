package bench

import (
	"math"

	"dmapath/bench/evidence"
)

// Evidence turns the validation into rows: one per call and judged count, a set per kernel and backend; and one per
// call with a steps file and cache state, a set per kernel and state.
func (v *Validation) Evidence() *evidence.Report {
	rep := &evidence.Report{Name: "kernel-traces", Title: "Instruction counts and cycles against recorded kernels", Notes: v.Notes}
	for _, r := range v.Results {
		if !r.Judged() {
			continue
		}
		row := evidence.Row{Set: r.Kernel + " " + r.Backend, What: r.API + " " + sizeName(r.Size), Unit: "count", Source: "instruction traces of " + v.Dir}
		if r.Modelled == nil {
			row.Skip = r.Reason.Error()
			row.Reference, row.Predicted = float64(r.Counts[Instructions]), math.NaN()
			rep.Rows = append(rep.Rows, row)
			continue
		}
		for _, m := range judged {
			if r.Counts[m] < 0 {
				continue
			}
			one := row
			one.What += " " + m.String()
			one.Predicted, one.Reference, one.Tolerance = float64(r.Modelled.Counts[m]), float64(r.Counts[m]), Tolerance
			if m == Lines {
				one.Slack = LineSlack
			}
			rep.Rows = append(rep.Rows, one)
		}
		rep.Rows = append(rep.Rows, r.cycleRows()...)
	}
	return rep
}
