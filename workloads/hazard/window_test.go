package hazard

import (
	"testing"
	"time"

	"dmapath/kernel"
	"dmapath/platform"
)

func TestWindowScratch(t *testing.T) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range Windows() {
		for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
			for _, l := range Loads {
				start := time.Now()
				w, err := Measure(s, b, v, l, 1)
				if err != nil {
					t.Fatal(err)
				}
				t.Log(b.Name, v, l, w.Unmaps, w.Mean, w.Max, w.Never, w.Flushes, w.Timer, time.Since(start))
			}
		}
	}
}
