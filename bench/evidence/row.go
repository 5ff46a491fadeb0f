package evidence

import (
	"math"

	"dmapath/results"
)

// Row is one comparison.
type Row struct {
	Set        string  // the table it stands in: "T2 window sweep, Haswell"
	What       string  // the row: "read 64 B, 4 MiB, IOMMU on"
	Unit       string  // of Predicted and Reference: cycles, Gb/s, count, 1 for a ratio
	Predicted  float64 // what the model says
	Reference  float64 // what it is held against
	Tolerance  float64 // allowed |Error|, relative: 0.1 is 10 %
	Slack      float64 // allowed |Predicted-Reference| in Unit; either is enough
	Source     string  // where Reference is from
	Unverified bool    // the source is not verified: the row decides nothing
	Fitted     bool    // parameters were fitted on Reference: the row decides nothing
	Skip       string  // why it could not be judged; Predicted may be NaN
	Why        string  // what is known about a miss
}

// Error is the relative error, (Predicted-Reference)/Reference. It is infinite when Reference is zero and Predicted is not, and NaN
// when one of them is.
func (r *Row) Error() float64 {
	if r.Predicted == r.Reference {
		return 0
	}
	return (r.Predicted - r.Reference) / math.Abs(r.Reference)
}

// Within reports whether the prediction is within its tolerance or its slack.
func (r *Row) Within() bool {
	// A hair of rounding: 1.1 against 1 with 10 % is within.
	const hair = 1e-12
	d := math.Abs(r.Predicted - r.Reference)
	return d <= r.Tolerance*math.Abs(r.Reference)*(1+hair) || d <= r.Slack*(1+hair)
}

// Verdict says what came of a row.
type Verdict uint8

// Verdicts. Only OK and Miss decide.
const (
	OK         Verdict = iota // within tolerance
	Miss                      // outside
	Fitted                    // parameters were fitted on it
	Unverified                // nobody has verified the reference
	Skipped                   // it could not be run
	numVerdicts
)

// tone is that of the verdict in a table.
func (v Verdict) tone() results.Tone {
	return [numVerdicts]results.Tone{results.Good, results.Bad, results.Doubt, results.Doubt, results.Faint}[v]
}

var verdictNames = [numVerdicts]string{"ok", "MISS", "fitted", "unverified", "skipped"}

func (v Verdict) String() string { return verdictNames[v] }

// Verdict judges the row. A prediction or a reference that is no number is a miss, unless Skip says why.
func (r *Row) Verdict() Verdict {
	switch {
	case r.Skip != "":
		return Skipped
	case r.Unverified:
		return Unverified
	case r.Fitted:
		return Fitted
	case r.Within():
		return OK
	}
	return Miss
}
