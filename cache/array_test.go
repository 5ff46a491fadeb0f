package cache

import "testing"

// A hash byte of 1 above a way that matches looks like a match itself, by the borrow: behind the last way of the last set it is no way at all.
func TestFindLooksAtWaysOnly(t *testing.T) {
	for _, ways := range []int{1, 2, 3, 4, 5, 7, 9, 12} {
		a := newArray(64*ways*4, ways, LRU, L2)
		last := uint64(a.sets - 1)
		var lines []uint64 // of the last set, with hash byte 1
		for pa := last * 64; len(lines) < ways+1; pa += uint64(a.sets) * 64 {
			if mark(pa) == 1 {
				lines = append(lines, pa)
			}
		}
		for w, pa := range lines[:ways] {
			a.place(last, int(a.base(last))+w, pa, 0)
		}
		for w, pa := range lines[:ways] {
			if got := a.find(last, pa); got != int(a.base(last))+w {
				t.Errorf("%d ways: line of way %d found at %d", ways, w, got)
			}
		}
		if got := a.find(last, lines[ways]); got >= 0 {
			t.Errorf("%d ways: a line that is not there found at %d", ways, got)
		}
	}
}
