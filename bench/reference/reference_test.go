package reference_test

import (
	"testing"

	"dmapath/bench"
	"dmapath/bench/reference"
)

// Everything that travels with the program is readable.
func TestReadable(t *testing.T) {
	for _, d := range reference.KernelTraces() {
		k, err := bench.ReadKernelTracesFS(d.FS, d.Name)
		if err != nil {
			t.Fatal(err)
		}
		if len(k.Calls) < 30 || len(k.Notes) > 0 {
			t.Errorf("%s: %d calls, %q", d.Name, len(k.Calls), k.Notes)
		}
	}
	if n := reference.EventTraces(); len(n) != 4 {
		t.Errorf("event traces: %q", n)
	}
	for _, name := range reference.EventTraces() {
		f, err := reference.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}
