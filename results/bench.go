package results

import (
	"fmt"
	"io"
	"math"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// writeBench writes the measurements as Go benchmark results: one line for each combination of dimensions, named
// Benchmark<Name>/key=value/..., with every metric as a value whose unit is the metric's name (map_p99_cycles: one word with
// underscores, which benchstat does not rescale). Simulated figures are declared exact, so that benchstat warns when two runs of
// one configuration differ.
func (r *Record) writeBench(w io.Writer) error {
	bw := benchfmt.NewWriter(w)
	var order []string
	lines := map[string]*benchfmt.Result{}
	var units []string
	seen := map[string]bool{}
	for i := range r.Measurements {
		m := &r.Measurements[i]
		if err := m.check(); err != nil {
			return err
		}
		if math.IsNaN(m.Value) {
			continue
		}
		name := benchName(r.Name, m.Dims)
		res := lines[name]
		if res == nil {
			res = &benchfmt.Result{Name: benchfmt.Name(name), Iters: 1}
			for _, c := range []struct{ key, value string }{{"tool", Tool + " " + r.Version}, {"config", r.ConfigHash}, {"seed", fmt.Sprint(r.Seed)}} {
				res.Config = append(res.Config, benchfmt.Config{Key: c.key, Value: []byte(c.value), File: true})
			}
			lines[name] = res
			order = append(order, name)
		}
		unit := m.Name()
		if _, dup := res.Value(unit); dup {
			return fmt.Errorf("%s has two values of %s", name, unit)
		}
		if !seen[unit] {
			seen[unit] = true
			units = append(units, unit)
		}
		res.Values = append(res.Values, benchfmt.Value{Value: m.Value, Unit: unit})
		res.Iters = max(res.Iters, int(min(m.N, math.MaxInt32)))
	}
	for _, u := range units {
		md := &benchfmt.UnitMetadata{UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: u, Key: "assume"}, OrigUnit: u, Value: "exact"}
		if err := bw.Write(md); err != nil {
			return err
		}
	}
	for _, name := range order {
		if err := bw.Write(lines[name]); err != nil {
			return err
		}
	}
	return nil
}

// benchName is the name after "Benchmark"; white space and slashes in values become underscores.
func benchName(name string, dims []Dim) string {
	var b strings.Builder
	for _, w := range strings.FieldsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
	}) {
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	if b.Len() == 0 {
		b.WriteString("Run")
	}
	for _, d := range dims {
		v := strings.Map(func(r rune) rune {
			if r <= ' ' || r == '/' || r == '=' || r > '~' {
				return '_'
			}
			return r
		}, d.Value)
		b.WriteString("/" + d.Key + "=" + v)
	}
	return b.String()
}
