package sensitivity

import (
	"fmt"
	"math"
	"strings"

	"dmapath/bench"
	"dmapath/results"
)

// units of Results.
var units = []string{"cycles", "cycles", "per_second"}

// Record turns e into measurements, all of them, and a table of the n leading parameters per chosen result (indices of Results).
func (e *Elasticities) Record(n int, chosen ...int) *results.Record {
	r := &results.Record{Name: "Elasticities", Seed: e.Exp.Seed, ConfigHash: (&bench.Comparison{Platform: e.Platform, Exp: e.Exp}).Manifest().Hash()}
	dims := []results.Dim{{Key: "platform", Value: e.Platform.Name}, {Key: "workload", Value: e.Point.Workload}, {Key: "source", Value: e.Exp.Source}, {Key: "backend", Value: e.Point.Backend},
		{Key: "cache", Value: e.Point.Cache}, {Key: "variant", Value: e.Point.Variant}}
	for i, name := range Results {
		if !math.IsNaN(e.Nominal[i]) {
			r.Add(results.Measurement{Dims: dims, Metric: name + "_nominal", Unit: units[i], Value: e.Nominal[i], CI95: math.NaN(), N: 1})
		}
	}
	for _, el := range e.List {
		d := append(append([]results.Dim(nil), dims...), results.Dim{Key: "parameter", Value: el.Key}, results.Dim{Key: "set_to", Value: el.Value}, results.Dim{Key: "confidence", Value: string(el.Confidence)})
		for i, name := range Results {
			if !math.IsNaN(el.By[i]) {
				half := el.Half[i]
				if math.IsInf(half, 0) {
					half = math.NaN()
				}
				r.Add(results.Measurement{Dims: d, Metric: name + "_elasticity", Unit: "count", Value: el.By[i], CI95: half, N: 1})
			}
		}
	}
	for _, i := range chosen {
		r.Tables = append(r.Tables, e.Table(i, n))
	}
	return r
}

// Table lists the n parameters on which a result (an index of Results) depends most.
func (e *Elasticities) Table(result, n int) *results.Table {
	value := fmt.Sprintf("%.0f cycles", e.Nominal[result])
	if result == 2 {
		value = fmt.Sprintf("%.1f thousand a second", e.Nominal[result]/1000)
	}
	t := &results.Table{ID: "elasticities_" + Results[result], Title: fmt.Sprintf("What %s depends on: %s, %s, %s, %s on %s (%s)", Results[result], e.Point.Variant, e.Point.Workload, e.Point.Backend, e.Point.Cache, e.Platform.Name, value),
		Columns: []results.Column{{Name: "parameter", Text: true}, {Name: "value", Text: true}, {Name: "confidence", Text: true}, {Name: "elasticity", Decimals: 3, Signed: true}, {Name: "+-", Decimals: 3}, {Name: "range worth", Unit: "%", Decimals: 1}}}
	var guesses []string
	for _, el := range e.Leading(result, n) {
		worth := any(nil)
		if el.Worth[result] > 0 {
			worth = 100 * el.Worth[result]
		}
		t.Add(el.Key, el.Value, string(el.Confidence), el.By[result], el.Half[result], worth)
	}
	for _, el := range e.Guesses(result, n) {
		guesses = append(guesses, el.Key)
	}
	t.Notes = []string{fmt.Sprintf("elasticity: percent of change in the result per percent of change in the parameter, one at a time, to both sides by a tenth or to the next valid value, with half of its 95 %% interval. range worth: "+
		"what the plausible range of the value would change at that rate. %d parameters were moved; of those not shown the interval contains zero or the elasticity is smaller. Words and switches have none.", len(e.List))}
	switch {
	case len(t.Rows) == 0:
	case len(guesses) == 0:
		t.Notes = append(t.Notes, "None of these is a guess.")
	default:
		t.Notes = append(t.Notes, "Guesses among these: "+strings.Join(guesses, ", ")+".")
	}
	return t
}
