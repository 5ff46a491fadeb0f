package reference_test

import (
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

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

// The versions of the references follow every byte of them, and nothing else.
func TestVersions(t *testing.T) {
	of := func(text string) string {
		list, err := reference.Versions(map[string]fs.FS{"mine": fstest.MapFS{"a/b.yaml": {Data: []byte(text)}}})
		if err != nil || len(list) != 5 {
			t.Fatal(list, err)
		}
		i := slices.IndexFunc(list, func(d reference.Data) bool { return d.Name == "mine" })
		if list[i].Files != 1 {
			t.Errorf("%+v", list[i])
		}
		return list[i].SHA256
	}
	x, y, again := of("x"), of("y"), of("x")
	if x == y || x != again {
		t.Errorf("the digest does not follow the contents: %s of x, %s of y, %s of x again", x, y, again)
	}
}
