package host

import (
	"math"

	"dmapath/results"
)

// Record shows every probe of the calibration, natively and on the derived machine, and the values that follow.
func (d *Derived) Record(ms *Measurements) *results.Record {
	rec := &results.Record{Name: "Calibrate", Warnings: d.Notes}
	t := &results.Table{ID: "probes", Title: "Probes of this machine, cycles each", Columns: []results.Column{{Name: "what", Text: true}, {Name: "native", Decimals: 2},
		{Name: "simulated", Decimals: 2}, {Name: "off", Unit: "%", Decimals: 0, Signed: true}, {Name: "noise", Unit: "%", Decimals: 0}, {Name: "fitted", Text: true}}}
	for _, c := range d.Checked {
		fitted := ""
		if c.Fitted {
			fitted = "yes"
		}
		t.Add(c.Probe.What, c.Measured, c.Simulated, 100*(c.Simulated/c.Measured-1), 100*ms.Noise[c.Probe.Name], fitted)
		dims := []results.Dim{{Key: "probe", Value: c.Probe.Name}}
		rec.Add(results.Measurement{Dims: dims, Metric: "native", Unit: "cycles", Value: c.Measured, CI95: math.NaN(), N: 1})
		rec.Add(results.Measurement{Dims: dims, Metric: "simulated", Unit: "cycles", Value: c.Simulated, CI95: math.NaN(), N: 1})
	}
	t.Notes = []string{"Native: the lower quartile of undisturbed runs. Fitted: a parameter was chosen so that the simulated probe takes as long. On the others nothing was fitted.", ms.System.String()}
	v := &results.Table{ID: "values", Title: "Measured values", Columns: []results.Column{{Name: "key", Text: true}, {Name: d.Base, Text: true}, {Name: "this machine", Text: true}}}
	for _, x := range sorted(d.Values) {
		was := ""
		if s, err := LoadBase(d.Base); err == nil {
			was, _ = s.Get(x.Key)
		}
		v.Add(x.Key, was, x.Text)
	}
	rec.Tables = []*results.Table{t, v}
	return rec
}
