package published

import (
	"math"
	"os"
	"strings"
	"testing"
)

// good is a target with everything that the format has.
const good = `targets:
  - id: A
    title: "a title"
    source: "a paper"
    confidence: verified
    setup:
      platform: icelake-sp
      workload: dma-probe
      workload.probe.outstanding: 8
      operations: 600
    metric: bandwidth
    unit: Gb/s
    tolerance: "10%, +-0.5"
    sweep:
      workload.probe.window: [64KiB, 1MiB]
      iommu:
        off: {backend: direct}
        on: {backend: iommu-strict}
    values:
      64KiB: [27.6, ~]
      1MiB: [28, 16.1]
    fitted: [[64KiB, off]]
    why:
      - {at: on, text: "known"}
    claims:
      - {claim: knee, along: workload.probe.window, with: on, after: 64KiB, by: 1MiB, loss: 10%}
      - {claim: descending, cells: [[64KiB, off], [1MiB, on]]}
      - {claim: ratio, of: [1MiB, on], to: [1MiB, off], value: 0.5, tolerance: 30%}
      - {claim: exponent, from: [64KiB, on], to: [1MiB, on], value: -0.2, tolerance: +-0.1, confidence: unverified}
      - {claim: slope, from: [64KiB, on], to: [1MiB, on], per: 64KiB, value: 1, tolerance: 5%}
`

func TestParse(t *testing.T) {
	list, err := Parse("f.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	a := list[0]
	if a.ID != "A" || a.Tolerance != (Tolerance{0.1, 0.5}) || len(a.Cells) != 4 || len(a.Claims) != 5 || len(a.Setup) != 4 {
		t.Fatalf("%+v", a)
	}
	if c := a.Cells[0]; !c.Fitted || c.Value != 27.6 || a.label(c.At) != "64KiB, off" || c.Why != "" {
		t.Errorf("first cell %+v", c)
	}
	if c := a.Cells[1]; c.Fitted || !math.IsNaN(c.Value) || c.Why != "known" {
		t.Errorf("second cell %+v", c)
	}
	if err := Check(list); err != nil {
		t.Error(err)
	}
}

// Every problem names file, line, field and what is allowed.
func TestProblems(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"    title: \"a title\"\n", "", "f.yaml:2:5: A.title: is missing"},
		{"confidence: verified", "confidence: sure", `f.yaml:5:17: A.confidence: "sure" is not known: allowed are verified, derived, secondary, unverified`},
		{"metric: bandwidth", "metric: bandwith", `A.metric: "bandwith" is not known, did you mean bandwidth?: allowed are rate, bandwidth`},
		{"unit: Gb/s", "unit: ns", `A.unit: "ns" is not known: allowed are Gb/s, GB/s`},
		{`tolerance: "10%, +-0.5"`, "tolerance: 10", `A.tolerance: "10": want a share such as 10%`},
		{"      1MiB: [28, 16.1]\n", "", "A.values.1MiB: is missing: values has a line for every value"},
		{"1MiB: [28, 16.1]", "1MiB: [28]", "A.values.1MiB: has 1 values: iommu has 2"},
		{"1MiB: [28, 16.1]", "1MiB: [28, fast]", `f.yaml:21:18: A.values.1MiB: "fast" is not a number; ~ says that none was published`},
		{"1MiB: [28, 16.1]", "1MiB: [28, 16.1]\n      2MiB: [1, 2]", "A.values.2MiB: unknown key, did you mean 1MiB?: allowed are 64KiB, 1MiB"},
		{"fitted: [[64KiB, off]]", "fitted: [[65KiB, off]]", "A.fitted: [65KiB off] is no cell"},
		{"claim: knee", "claim: bend", `A.claims[0].claim: "bend" is not known`},
		{"by: 1MiB, loss", "by: 64KiB, loss", "A.claims[0].by: lies at or before after"},
		{"loss: 10%}", "loss: 10}", `A.claims[0].loss: "10": want a share`},
		{"value: 0.5, tolerance: 30%", "tolerance: 30%", "A.claims[2].value: is missing"},
		{"to: [1MiB, off]", "to: [1MiB]", "A.claims[2].to: names a cell by 1 labels: the sweep has 2 keys"},
		{"per: 64KiB, ", "", "A.claims[4].per: is missing"},
		{"      operations: 600", "      operation: 600", "f.yaml:10:7: A.setup.operation: unknown key, did you mean operations?"},
		{"  - id: A", "  - id: A\n    colour: red", "f.yaml:3:5: A.colour: unknown key: allowed are id, title"},
		{"targets:", "target:", "target: unknown key, did you mean targets?: allowed are targets"},
		{"    metric: bandwidth\n    unit: Gb/s", "    metric: unmap_step\n    unit: ns", "A.functions: is missing: unmap_step sums the functions named"},
	} {
		if n := strings.Count(good, c.old); n < 1 {
			t.Fatalf("%q is not in the file", c.old)
		}
		_, err := Parse("f.yaml", []byte(strings.Replace(good, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v\nwant %s", c.new, err, c.want)
		}
	}
	for _, c := range []struct{ old, new, want string }{
		{"platform: icelake-sp", "platform: icelake", `f.yaml:7:7: A.platform: there is no platform "icelake", did you mean "icelake-sp"?`},
		{"workload: dma-probe", "workload: probe", "f.yaml:2:5: A: 64KiB, off: workload \"probe\": allowed are"},
		{"workload.probe.outstanding: 8", "workload.probe.outstandin: 8", "f.yaml:9:7: A.workload.probe.outstandin: there is no workload.probe.outstandin"},
		{"workload.probe.outstanding: 8", "iommu.walkers: 0", "f.yaml:9:7: A.iommu.walkers: "},
	} {
		list, err := Parse("f.yaml", []byte(strings.Replace(good, c.old, c.new, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(list); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v\nwant %s", c.new, err, c.want)
		}
	}
}

func TestTolerance(t *testing.T) {
	for text, want := range map[string]Tolerance{"10%": {0.1, 0}, "+-0.5": {0, 0.5}, "5%, +-2": {0.05, 2}, "0%": {}} {
		if got, err := parseTolerance(text); err != nil || got != want {
			t.Errorf("%q: %v %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "-5%", "5%, 6%", "+-", "0.5", "nan%", "+-inf", "0x5%"} {
		if got, err := parseTolerance(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

// FuzzParse: whatever the file, Parse neither panics nor accepts a target whose claims or cells point outside of its table.
func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("targets: [{id: x, sweep: {a: {b: {}}}, values: {b: 1}}]")
	f.Add("targets:\n- 1\n- {}\n- id: &a b\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Parse("f", []byte(text))
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("an error that says nothing")
			}
			return
		}
		for _, x := range list {
			if x.ID == "" || x.Title == "" || x.Source == "" || x.Confidence == "" || x.Metric == "" {
				t.Fatalf("accepted without what is needed: %+v", x)
			}
			n := 1
			for i := range x.Axes {
				n *= len(x.Axes[i].Points)
			}
			if len(x.Cells) != n {
				t.Fatalf("%d cells, the sweep has %d", len(x.Cells), n)
			}
			values, why := make([]float64, n), make([]string, n)
			for i := range values {
				values[i] = float64(i + 1)
			}
			x.rows(values, why) // a claim about a cell that is not there would panic
		}
	})
}

// The example in docs/formats.md is a file that can be read, and its platforms and keys exist.
func TestExampleInTheDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "## Targets of validate published")
	_, text, _ = strings.Cut(text, "```yaml targets.yaml\n")
	text, _, ok := strings.Cut(text, "```\n")
	if !ok {
		t.Fatal("docs/formats.md has no example")
	}
	list, err := Parse("formats.md", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(list); err != nil || len(list) != 1 {
		t.Errorf("%d targets, %v", len(list), err)
	}
	for _, m := range []string{"rate", "bandwidth", "latency_mean", "mapping_per_operation", "iotlb_hit_rate", "walk_mean", "dropped"} {
		if !strings.Contains(string(doc), "`"+m+"`") {
			t.Errorf("docs/formats.md does not name the metric %s", m)
		}
	}
}
