package published

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/token"

	"dmapath/platform"
	"dmapath/sim"
)

// Confidence says how much a published value is worth.
type Confidence string

// Confidence words, best first.
const (
	Verified   Confidence = "verified"   // read in the primary text or data
	Derived    Confidence = "derived"    // arithmetic on such values
	Secondary  Confidence = "secondary"  // read in an abstract, an announcement or somebody's summary
	Unverified Confidence = "unverified" // recalled: shown, decides nothing
)

var confidences = []string{string(Verified), string(Derived), string(Secondary), string(Unverified)}

// Target is one published table or figure, and how to repeat it.
type Target struct {
	ID, Title  string
	Source     string
	Confidence Confidence
	Skip       string // why it cannot be run; its values are shown
	Setup      []Setting
	Axes       []Axis // none, one or two
	Metric     Metric
	Unit       string
	Functions  []string  // of the metric step: names of kernel functions whose own cycles are summed
	Relative   []Setting // the metric is divided by that of a run with these settings
	Tolerance  Tolerance
	Cells      []Cell
	Claims     []Claim

	file string
	at   *token.Position
}

// Setting is one key of a set-up: platform, variant, workload, backend, cache, cpus, size, segments, source, operations, seed, or a
// key that --set takes.
type Setting struct {
	Key, Value string
	at         *token.Position
}

// Axis is a swept key, or several that are changed together.
type Axis struct {
	Name   string
	Points []Point
}

// Point is one place on an axis.
type Point struct {
	Label    string
	Settings []Setting
}

// Cell is one value of the table.
type Cell struct {
	At     []int   // index into Points, by axis
	Value  float64 // in Unit; NaN when nothing was published there
	Fitted bool    // parameters were fitted on it
	Why    string  // what is known about a miss
	at     *token.Position
}

// Tolerance is what a row may be off: either is enough. Both 0 is exact.
type Tolerance struct {
	Relative float64 // 0.1 is 10 %
	Absolute float64 // in the row's unit
}

// parseTolerance reads "10%", "+-0.5" or both with a comma.
func parseTolerance(text string) (t Tolerance, err error) {
	bad := fmt.Errorf("%q: want a share such as 10%%, a distance such as +-0.5, or both with a comma", text)
	for _, p := range strings.Split(text, ",") {
		p = strings.TrimSpace(p)
		if n, ok := strings.CutSuffix(p, "%"); ok {
			v, err := number(n)
			if err != nil || v < 0 || v > 1000 || t.Relative != 0 {
				return t, bad
			}
			t.Relative = v / 100
			continue
		}
		n, ok := strings.CutPrefix(p, "+-")
		v, err := number(n)
		if !ok || err != nil || v < 0 || t.Absolute != 0 {
			return t, bad
		}
		t.Absolute = v
	}
	return t, nil
}

// number reads a decimal number; infinities and NaN are none.
func number(text string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || v-v != 0 || strings.ContainsAny(text, "xXpP_") {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	return v, nil
}

// quantity is the number that a label stands for: itself, bytes, or nanoseconds.
func quantity(label string) (float64, bool) {
	if v, err := number(label); err == nil {
		return v, true
	}
	if v, err := platform.ParseBytes(label); err == nil {
		return float64(v), true
	}
	if v, err := platform.ParseTime(label); err == nil {
		return float64(v) / float64(sim.Nanosecond), true
	}
	return 0, false
}

// label names a cell: the labels of its points.
func (t *Target) label(at []int) string {
	var s []string
	for i, p := range at {
		s = append(s, t.Axes[i].Points[p].Label)
	}
	if s == nil {
		return t.Title
	}
	return strings.Join(s, ", ")
}

// settings lists what a cell sets, the set-up first.
func (t *Target) settings(at []int) (list []Setting) {
	list = append(list, t.Setup...)
	for i, p := range at {
		list = append(list, t.Axes[i].Points[p].Settings...)
	}
	return list
}
