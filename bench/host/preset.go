package host

import (
	"bytes"
	"fmt"
	"strings"

	"dmapath/platform"
)

// YAML is the platform file: it extends the nearest preset and has every measured value with how it was measured. Everything else is the
// preset's, with the preset's confidence.
func (d *Derived) YAML(sys *System) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# This machine, measured by dmapath platform calibrate. Values that are not here are those of %s, of which many are guesses.\n", d.Base)
	fmt.Fprintf(&b, "name: host\nextends: %s\ntitle: %q\nnotes:\n", d.Base, clean(sys.String()))
	for _, n := range append([]string{"Measured values hold for the time of the measurement: clock, neighbours and the share of the last-level cache change."}, d.Notes...) {
		fmt.Fprintf(&b, "  - %q\n", clean(n))
	}
	var open []string // sections
	for _, v := range sorted(d.Values) {
		path := strings.Split(v.Key, ".")
		sections, leaf := path[:len(path)-1], path[len(path)-1]
		same := 0
		for same < len(open) && same < len(sections) && open[same] == sections[same] {
			same++
		}
		for i := same; i < len(sections); i++ {
			if i == 0 {
				b.WriteByte('\n')
			}
			fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", i), sections[i])
		}
		open = sections
		fmt.Fprintf(&b, "%s%s: %q\n", strings.Repeat("  ", len(sections)), leaf, clean(v.Text+"; measured; "+v.How))
	}
	if _, err := platform.Parse("host.yaml", b.Bytes()); err != nil {
		return nil, fmt.Errorf("the derived platform file is not valid: %w", err)
	}
	return b.Bytes(), nil
}

// sorted puts values into the order of the platform's keys, so that sections come once. The last value of a key counts.
func sorted(list []Value) []Value {
	last := map[string]Value{}
	for _, v := range list {
		last[v.Key] = v
	}
	var out []Value
	for _, f := range platform.Schema() {
		if v, ok := last[f.Name]; ok {
			out = append(out, v)
		}
	}
	return out
}

// clean keeps text on one line and in ASCII.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
}
