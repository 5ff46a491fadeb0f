package cachegrind

import (
	"fmt"
	"strings"
	"testing"
)

// Whatever the text, no count is one below zero that wrapped around, and an error names a line of it.
func FuzzReadCounts(f *testing.F) {
	f.Add("desc: D1 cache: 32768 B, 64 B, 8-way associative\nevents: Ir I1mr ILmr Dr D1mr DLmr Dw D1mw DLmw\nsummary: 2 1 1 2 1 2 1 0 0\n")
	f.Add("==1== D1  misses: 1,234  ( 1,000 rd + 234 wr)\n==1== I refs: 5\n")
	f.Add("events: Ir\ntotals: 99999999999999999999\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ReadCounts(strings.NewReader(text), "f")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("%v does not name the file", err)
			}
			return
		}
		for _, name := range all {
			if n := *c.counter(name); n >= 1<<63 {
				t.Fatalf("%s is %d, which no file says", name, n)
			}
		}
	})
}

// A geometry that is accepted can be written as the flag has it, and simulated.
func FuzzParseGeometry(f *testing.F) {
	for _, s := range []string{"32768,8,64", "1099511627776,16,64", "0,0,0", "64,1,64", "-1,1,64", "32768,8,64,", "9223372036854775807,32,4096"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGeometry(text)
		if err != nil {
			return
		}
		if again, err := ParseGeometry(fmt.Sprintf("%d,%d,%d", g.Bytes, g.Ways, g.Line)); err != nil || again != g {
			t.Fatalf("%+v reads as %+v, %v", g, again, err)
		}
		if g.Bytes <= 0 || g.Bytes > 1<<31 {
			t.Fatalf("%q: a cache of %d bytes", text, g.Bytes)
		}
	})
}
