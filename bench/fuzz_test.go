package bench

import (
	"reflect"
	"testing"

	"dmapath/platform"
	"dmapath/results"
)

// An experiment that is read is written, and reads as the same; one that Validate accepts has points.
func FuzzExperiment(f *testing.F) {
	x := Default()
	f.Add(string(x.yaml()))
	f.Add("workloads: [nvme]\ncpus: 1000000\nsize: 1EiB\n")
	f.Add("nvme: {queue_depth: 99999999999999999999}\n")
	f.Add("paths: [\"path x@7.3\\nbase map_phys@7.3\\nmap {\\n base\\n}\\n\"]\nvariants: [x@7.3]\n")
	s, err := platform.Load("icelake-sp")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var x, again Experiment
		if results.DecodeYAML([]byte(text), &x) != nil {
			return
		}
		if err := results.DecodeYAML(x.yaml(), &again); err != nil {
			t.Fatalf("%v\n%s", err, x.yaml())
		}
		if string(again.yaml()) != string(x.yaml()) {
			t.Fatalf("%s\nreads as\n%s", x.yaml(), again.yaml())
		}
		if x.Validate(s) == nil && len(x.Points()) == 0 {
			t.Fatalf("a valid experiment without points:\n%s", x.yaml())
		}
	})
}

// A value that is set is in the experiment; one that is refused leaves it as it was.
func FuzzExperimentSet(f *testing.F) {
	for _, kv := range [][2]string{{"nvme.queue_depth", "8"}, {"caches", "hot,cold"}, {"seed", "-1"}, {"nvme", "1"}, {"", ""}, {"probe.window", "4MiB"}, {"nvme.sgl", "true"}} {
		f.Add(kv[0], kv[1])
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		x, before := Default(), Default()
		if err := x.Set(key, value); err != nil {
			if err.Error() == "" || !reflect.DeepEqual(x, before) {
				t.Fatalf("%s=%q is refused (%v) and changed the experiment", key, value, err)
			}
			return
		}
		y := Default()
		if err := y.Set(key, value); err != nil || !reflect.DeepEqual(x, y) {
			t.Fatalf("%s=%q sets something else the second time: %v", key, value, err)
		}
	})
}
