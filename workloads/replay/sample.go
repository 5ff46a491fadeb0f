package replay

import (
	"slices"
)

// A Sample keeps windows of consecutive calls, evenly spread over a trace whose length is not known ahead: it keeps every window until it has
// too many, then every second one, then every fourth. A trace of at most Most calls is kept whole; of a longer one between half of Most and Most.
// Memory does not depend on the length of the trace.
//
// What happens between two windows is not performed, but the next one must find what it needs: Calls adds, unmeasured, the maps of the mappings that a
// window unmaps and nobody has made, and the unmaps of those that were made and are not unmapped in any window.
type Sample struct {
	// Most bounds the calls that are kept; at least 4 * SampleWindow.
	Most int
	// Seen is how many calls there were, Kept how many are kept.
	Seen, Kept int64

	stride  int64 // of the windows, every stride-th is kept
	windows []sampleWindow
}

// SampleWindow is how many calls a window has. sampleWarm of them are performed unmeasured where calls before the window are left out: magazines, page
// tables and caches are those of some calls ago again.
const (
	SampleWindow = 512
	sampleWarm   = SampleWindow / 8
)

// sampleWindow is a window: the at-th of the trace.
type sampleWindow struct {
	at    int64
	calls []*Call
}

// Add takes the next call of the trace.
func (s *Sample) Add(c *Call) {
	if s.stride == 0 {
		s.stride = 1
	}
	at := s.Seen / SampleWindow
	s.Seen++
	if at%s.stride != 0 {
		return
	}
	if n := len(s.windows); n == 0 || s.windows[n-1].at != at {
		if n == max(s.Most/SampleWindow, 4) {
			s.thin()
			if at%s.stride != 0 {
				return
			}
		}
		s.windows = append(s.windows, sampleWindow{at: at})
	}
	w := &s.windows[len(s.windows)-1]
	own := *c
	own.Recorded = nil
	w.calls = append(w.calls, &own)
	s.Kept++
}

// thin drops every second window.
func (s *Sample) thin() {
	s.stride *= 2
	s.windows = slices.DeleteFunc(s.windows, func(w sampleWindow) bool {
		if w.at%s.stride == 0 {
			return false
		}
		s.Kept -= int64(len(w.calls))
		return true
	})
}

// Whole reports whether every call is kept.
func (s *Sample) Whole() bool { return s.Kept == s.Seen }

// Windows returns how many windows are kept.
func (s *Sample) Windows() int { return len(s.windows) }

// Calls returns what a Player has to perform, in order. The calls are shared by all players.
func (s *Sample) Calls() (out []*Call) {
	ends := map[uint64]bool{} // mappings that a window unmaps
	for _, w := range s.windows {
		for _, c := range w.calls {
			if c.Unmap {
				ends[c.ID] = true
			}
		}
	}
	held := map[uint64]*Call{} // what a player has mapped
	for i, w := range s.windows {
		gap := i > 0 && s.windows[i-1].at+1 != w.at
		if gap {
			out = append(out, s.bridge(out[len(out)-1], w, held, ends)...)
		}
		for k, c := range w.calls {
			if gap && k < sampleWarm {
				warm := *c
				warm.Unmeasured = true
				c = &warm
			}
			if c.Unmap {
				delete(held, c.ID)
			} else {
				held[c.ID] = c
			}
			out = append(out, c)
		}
	}
	return out
}

// bridge returns the unmeasured calls between last and the window w, made right after last.
func (s *Sample) bridge(last *Call, w sampleWindow, held map[uint64]*Call, ends map[uint64]bool) (out []*Call) {
	for id, c := range held {
		if !ends[id] {
			out = append(out, &Call{Unmap: true, How: c.How, Unmeasured: true, Device: c.Device, CPU: c.CPU, At: last.At, ID: id, Size: c.Size, Dir: c.Dir, Attrs: c.Attrs})
		}
	}
	for _, c := range out {
		delete(held, c.ID)
	}
	closed := len(out)
	made := map[uint64]bool{}
	for _, c := range w.calls {
		switch {
		case !c.Unmap:
			made[c.ID] = true
		case held[c.ID] == nil && !made[c.ID] && len(c.Runs) > 0:
			m := &Call{How: c.How, Unmeasured: true, Device: c.Device, CPU: c.MapCPU, At: last.At, ID: c.ID, Size: c.Size, Dir: c.Dir, Attrs: c.Attrs, Runs: c.Runs, Block: c.Block}
			held[c.ID] = m
			out = append(out, m)
		}
	}
	byID := func(a, b *Call) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	}
	slices.SortFunc(out[:closed], byID)
	slices.SortFunc(out[closed:], byID)
	return out
}
