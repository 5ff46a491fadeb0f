package results

import (
	"fmt"
	"math"
	"sort"
	"strings"
)

// Dim is one coordinate of a measurement: variant=map_phys@7.3, backend=direct.
type Dim struct {
	Key   string `json:"key"` // snake_case
	Value string `json:"value"`
}

// Measurement is one number of a run, with what it is a measurement of. The long form, one measurement per line, is the
// record of a run; tables and figures are views of it.
type Measurement struct {
	Dims   []Dim
	Metric string // snake_case, without the unit: map_p99
	Unit   string // cycles, ns, count, percent, Gbit/s, ...
	// Value is exact when the simulation is; NaN means that there is nothing to report.
	Value float64
	// CI95 is half the width of the 95 % confidence interval of Value. NaN means that there is none.
	CI95 float64
	// N is the number of observations behind Value.
	N int64
}

// Name returns the metric with its unit, as headings and keys spell it: map_p99_cycles.
func (m *Measurement) Name() string { return withUnit(m.Metric, m.Unit) }

// Dim returns the value of a dimension, empty when m does not have it.
func (m *Measurement) Dim(key string) string {
	for _, d := range m.Dims {
		if d.Key == key {
			return d.Value
		}
	}
	return ""
}

// check returns what is wrong with m.
func (m *Measurement) check() error {
	if err := checkName(m.Dims, m.Metric); err != nil {
		return err
	}
	return m.checkValues()
}

// checkValues returns what is wrong with the numbers of m.
func (m *Measurement) checkValues() error {
	if math.IsInf(m.Value, 0) || math.IsInf(m.CI95, 0) {
		return fmt.Errorf("%s is infinite", m.Metric)
	}
	return nil
}

// checkName returns what is wrong with a metric and the dimensions that it is given.
func checkName(dims []Dim, metric string) error {
	if !snake(metric) {
		return fmt.Errorf("metric %q is not snake_case", metric)
	}
	for i, d := range dims {
		if !snake(d.Key) || reserved[d.Key] {
			return fmt.Errorf("dimension %q of %s is not snake_case or is the name of a column", d.Key, metric)
		}
		for _, e := range dims[:i] {
			if e.Key == d.Key {
				return fmt.Errorf("dimension %q of %s is given twice", d.Key, metric)
			}
		}
	}
	return nil
}

// reserved are the columns that follow the dimensions.
var reserved = map[string]bool{"metric": true, "unit": true, "value": true, "ci95": true, "n": true}

// DimKeys returns the dimensions that occur in ms, in the order of their first appearance.
func DimKeys(ms []Measurement) []string {
	var keys []string
	seen := map[string]bool{}
	for i := range ms {
		for _, d := range ms[i].Dims {
			if !seen[d.Key] {
				seen[d.Key] = true
				keys = append(keys, d.Key)
			}
		}
	}
	return keys
}

// Sort orders ms by its dimensions, in the order of DimKeys, then by metric. Numbers inside values compare as numbers
// (qd=8 before qd=16). Equal keys keep their order.
func Sort(ms []Measurement) {
	keys := DimKeys(ms)
	sort.SliceStable(ms, func(i, j int) bool {
		for _, k := range keys {
			if c := natural(ms[i].Dim(k), ms[j].Dim(k)); c != 0 {
				return c < 0
			}
		}
		return ms[i].Metric < ms[j].Metric
	})
}

// natural compares strings, with runs of digits compared as numbers.
func natural(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x > 0 && y > 0 {
			na, nb := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
			if len(na) != len(nb) {
				return len(na) - len(nb)
			}
			if c := strings.Compare(na, nb); c != 0 {
				return c
			}
			if x != y {
				return x - y
			}
			a, b = a[x:], b[y:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// snake reports whether s is a lower-case name of letters, digits and underscores.
func snake(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || i > 0 && (c >= '0' && c <= '9' || c == '_')) {
			return false
		}
	}
	return s != ""
}

// withUnit joins a name and its unit to one snake_case word: ("map p99", "cycles") is map_p99_cycles. Count and empty
// units add nothing.
func withUnit(name, unit string) string {
	n := toSnake(name)
	switch unit {
	case "", "count":
		return n
	case "%":
		unit = "percent"
	}
	if rest, ok := strings.CutPrefix(unit, "1/"); ok {
		unit = "per " + rest
	}
	u := toSnake(strings.ReplaceAll(unit, "/", " per "))
	if n == u || strings.HasSuffix(n, "_"+u) {
		return n
	}
	return n + "_" + u
}

func toSnake(s string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(s) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			if gap && b.Len() > 0 {
				b.WriteByte('_')
			}
			gap = false
			b.WriteRune(r)
			continue
		}
		if r == '%' {
			if b.Len() > 0 {
				b.WriteByte('_')
			}
			b.WriteString("percent")
		}
		gap = true
	}
	return b.String()
}
