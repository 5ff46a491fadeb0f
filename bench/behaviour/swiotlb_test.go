package behaviour

import (
	"context"
	"testing"
)

// One lock for all CPUs hurts, an area for each does not.
func TestSwiotlbAreas(t *testing.T) {
	b := swiotlbLock()
	out, err := Run(context.Background(), []*Behaviour{b}, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range b.Claims {
		if !out[0].Held[i] {
			t.Errorf("%s does not hold: %.3f", c.Text, out[0].Values)
		}
	}
	t.Logf("%.3f", out[0].Values)
}
