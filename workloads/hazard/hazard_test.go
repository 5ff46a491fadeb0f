package hazard

import (
	"testing"
	"time"

	"dmapath/platform"
)

func TestScratch(t *testing.T) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	n := 0
	for _, m := range Memories() {
		for _, c := range Calls() {
			line := c.String() + "/" + m.Name + ": "
			for _, b := range Backends() {
				r, err := Run(s, Cell{c, m, b}, Config{Rounds: 64, Seed: 1})
				if err != nil {
					t.Fatal(err)
				}
				n++
				line += " | " + r.Short()
			}
			t.Log(line)
		}
	}
	t.Log(n, time.Since(start))
}
