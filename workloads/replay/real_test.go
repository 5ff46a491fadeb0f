package replay

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"dmapath/kernel/iova"
	"dmapath/workloads/ftrace"
)

// open reads a trace file.
func open(tb testing.TB, name string) *ftrace.Reader {
	tb.Helper()
	f, err := os.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	r, err := Text(f)
	if err != nil {
		tb.Fatal(err)
	}
	return ftrace.NewReader(r, name)
}

// At least 99 % of the IOVAs whose history a real trace contains are predicted exactly, in one pass of constant memory.
// DMAPATH_EVENTS names a directory with more traces.
func TestPredictsIOVAsOfRealTraces(t *testing.T) {
	names, _ := filepath.Glob("../testdata/events/*.txt.gz")
	if len(names) < 2 {
		t.Fatal("the kept traces are missing")
	}
	if dir := os.Getenv("DMAPATH_EVENTS"); dir != "" {
		more, _ := filepath.Glob(filepath.Join(dir, "*.txt.gz"))
		names = append(names, more...)
	}
	for _, n := range names {
		tr, err := Run(context.Background(), open(t, n), 0, 2, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tr.Devices {
			if d.Prediction == nil {
				continue
			}
			c := d.Prediction.Count()
			t.Logf("%s %s: exact %d, wrong %d, older than the trace %d and %d guessed, lazy %v", filepath.Base(n), d.Name, c[iova.Exact],
				c[iova.Wrong], c[iova.Older], c[iova.OlderGuessed], d.Prediction.Lazy)
			if judged := c[iova.Exact] + c[iova.Wrong]; c[iova.Exact]*100 < judged*99 {
				t.Errorf("%s %s: %d of %d predicted exactly, want 99 %%", filepath.Base(n), d.Name, c[iova.Exact], judged)
			}
		}
		t.Logf("%s: %+v", filepath.Base(n), tr.Counts)
		if tr.Malformed != 0 || tr.Lost != 0 {
			t.Errorf("%s: %d malformed lines, %d unmaps lost", filepath.Base(n), tr.Malformed, tr.Lost)
		}
	}
}
