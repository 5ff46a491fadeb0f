package bench

import (
	"fmt"
	"os"
	"testing"
)

func TestScratch(t *testing.T) {
	dir := os.Getenv("KT")
	if dir == "" {
		t.Skip()
	}
	k, err := ReadKernelTraces(dir)
	if err != nil {
		t.Fatal(err)
	}
	v := k.Validate(dir, 0)
	for _, r := range v.Results {
		if r.Reason != nil {
			fmt.Println("NOMODEL", r.CallKey, r.Reason)
			continue
		}
		if r.Judged() {
			fmt.Print(map[bool]string{true: "ok   ", false: "MISS "}[r.Within()], r.CallKey)
			for m := range numMetrics {
				if r.Counts[m] == r.Modelled.Counts[m] {
					fmt.Printf(" %d", r.Counts[m])
				} else {
					fmt.Printf(" %s:%d/%d", m, r.Modelled.Counts[m], r.Counts[m])
				}
			}
			fmt.Println(" ", r.Misses)
		}
		for _, p := range r.Paths {
			fmt.Println("  PATH", p.Within, r.CallKey, p.Number, p.Count, p.Min, p.Max, "modelled", p.Calls, p.Instructions)
		}
	}
}
