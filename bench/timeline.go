package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads"
)

// TimelineEvents is the budget of a timeline unless another is asked for: a file of about 14 MB.
const TimelineEvents = 200_000

// TimelineLeast is how many events a run must be given to show something; of a larger grid the first points are shown.
const TimelineLeast = 2000

// Timeline runs each run and returns what happened after its warm-up: the CPUs with the measured calls and the kernel functions in them, their
// segments, locks, the IOMMU's commands, walks and caches, the link and the device. A run gets an equal part of the events, and what
// those before it left; each stops to be shown when its part is used up. When there are too many runs to give each something, the
// first are shown. The runs come one after the other, because functions on stacks are shared.
func Timeline(ctx context.Context, runs []Again, events int, progress Progress) (*results.Timeline, error) {
	return timeline(ctx, len(runs), events, func(i, shown int, tl *sim.Timeline) (string, error) {
		r := runs[i]
		r.Exp.stacks = true
		_, err := r.Exp.Inspect(r.Platform, r.Point, func(m *platform.Machine, d *platform.Device) (func(*workloads.Result) error, error) {
			m.Eng.Timeline = tl
			d.Port.Show(tl, "PCIe")
			if r.Point.Workload == dmaProbe { // its calls are all before the accesses
				tl.Begin(m.Eng.Now())
			}
			return func(*workloads.Result) error { tl.Finish(m.Eng.Now()); return nil }, nil
		})
		if err == nil && progress != nil {
			progress(i+1, shown, r.Point)
		}
		return r.name(), err
	})
}

// timeline has run make up to n runs, each into a recording of its own, and puts what they recorded together. run returns the name of the i-th of those
// that are shown.
func timeline(ctx context.Context, n, events int, run func(i, shown int, tl *sim.Timeline) (name string, err error)) (*results.Timeline, error) {
	if events < TimelineLeast {
		return nil, fmt.Errorf("timeline: %d events: want at least %d", events, TimelineLeast)
	}
	shown := min(n, events/TimelineLeast)
	out := &results.Timeline{}
	left, leftOut := events, int64(0)
	for i := range shown {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		tl := sim.NewTimeline(left / (shown - i))
		name, err := run(i, shown, tl)
		if err != nil {
			return nil, err
		}
		left -= tl.Events()
		leftOut += tl.LeftOut
		out.Processes = append(out.Processes, timelineProcess(name, tl))
	}
	out.Notes = []results.Dim{{Key: "tool", Value: results.Tool + " " + results.Version()}, {Key: "time", Value: "simulated, after the warm-up of each run"},
		{Key: "events", Value: strconv.Itoa(out.Events())}, {Key: "events_left_out", Value: strconv.FormatInt(leftOut, 10)},
		{Key: "runs_left_out", Value: strconv.Itoa(n - shown)}}
	return out, nil
}

// timelineProcess turns a recording into what a file has.
func timelineProcess(name string, tl *sim.Timeline) results.TimelineProcess {
	p := results.TimelineProcess{Name: name, Label: timelineLabel(tl)}
	order := trackOrder(tl)
	at := make([]int, len(tl.Tracks)) // of a track of the recording in p
	p.Tracks = make([]results.TimelineTrack, len(order))
	// Locks are written first: a lock is handed over in no time, from the lock's track to the next owner's.
	locks := 0
	for _, id := range order {
		if strings.HasPrefix(tl.Tracks[id].Name, "lock ") {
			locks++
		}
	}
	n, k := locks, 0
	for place, id := range order {
		i := n
		if strings.HasPrefix(tl.Tracks[id].Name, "lock ") {
			i = k
			k++
		} else {
			n++
		}
		at[id] = i
		p.Tracks[i] = results.TimelineTrack{Name: tl.Tracks[id].Name, Place: place + 1, Unit: tl.Tracks[id].Unit}
	}
	number := make([]int, len(tl.Slices)) // of a slice on its track
	for i := range tl.Slices[1:] {
		s := &tl.Slices[i+1]
		t := &p.Tracks[at[s.Track]]
		number[i+1] = len(t.Slices)
		t.Slices = append(t.Slices, timelineSlice(s))
	}
	for i := range tl.Spans {
		t := &p.Tracks[at[tl.Spans[i].Track]]
		t.Spans = append(t.Spans, timelineSlice(&tl.Spans[i]))
	}
	slices.SortStableFunc(tl.Changes, func(a, b sim.Change) int {
		c := cmp.Or(cmp.Compare(a.Track, b.Track), cmp.Compare(a.At, b.At))
		if c == 0 && tl.Tracks[a.Track].Spans {
			c = cmp.Compare(a.By, b.By) // what ends is over when the next begins
		}
		return c
	})
	value := make([]int64, len(tl.Tracks))
	for i := range tl.Tracks {
		value[i] = tl.Tracks[i].Base
	}
	for _, c := range tl.Changes {
		value[c.Track] += c.By
		t := &p.Tracks[at[c.Track]]
		t.Points = append(t.Points, results.TimelinePoint{At: int64(c.At), Value: value[c.Track]})
	}
	for _, a := range tl.Arrows {
		p.Arrows = append(p.Arrows, results.TimelineArrow{Name: a.Name, FromTrack: at[tl.Slices[a.From].Track], From: number[a.From],
			ToTrack: at[tl.Slices[a.To].Track], To: number[a.To], Left: int64(a.Left), Came: int64(a.Came)})
	}
	return p
}

func timelineSlice(s *sim.Slice) results.TimelineSlice {
	out := results.TimelineSlice{Name: cmp.Or(s.Name, "call"), Start: int64(s.Start), End: int64(s.End)}
	for _, a := range s.Args {
		out.Args = append(out.Args, results.TimelineArg{Key: a.Key, Text: a.Text, Num: a.Num, Hex: a.Hex})
	}
	return out
}

// timelineLabel says what of the run is shown.
func timelineLabel(tl *sim.Timeline) string {
	switch {
	case tl.Events() == 0:
		return "nothing recorded: the run ended within its warm-up"
	case tl.LeftOut == 0:
		return fmt.Sprintf("from %s to the end at %s", micros(tl.Start), micros(tl.Finished))
	}
	return fmt.Sprintf("from %s to %s; %d events after that left out", micros(tl.Start), micros(tl.Stopped), tl.LeftOut)
}

func micros(t sim.Time) string { return fmt.Sprintf("%.3f us", float64(t)/float64(sim.Microsecond)) }

// trackOrder lists the tracks as they are shown: CPUs with their segments, the locks, the IOMMU, the device, counters.
func trackOrder(tl *sim.Timeline) []sim.TrackID {
	rank := func(t *sim.Track) int {
		switch {
		case t.Process:
			return 0
		case strings.HasSuffix(t.Name, " segments"):
			return 0
		case strings.HasPrefix(t.Name, "lock "):
			return 1
		case t.Kind == sim.Counter:
			return 4
		case strings.HasPrefix(t.Name, "PCIe"):
			return 3
		}
		return 2
	}
	var order []sim.TrackID
	for i := range tl.Tracks[1:] {
		order = append(order, sim.TrackID(i+1))
	}
	slices.SortStableFunc(order, func(a, b sim.TrackID) int {
		x, y := &tl.Tracks[a], &tl.Tracks[b]
		return cmp.Or(cmp.Compare(rank(x), rank(y)), compareNatural(x.Name, y.Name))
	})
	return order
}

// compareNatural compares texts with the numbers in them as numbers: cpu 9 is before cpu 10.
func compareNatural(a, b string) int {
	digits := func(s string) int {
		n := 0
		for n < len(s) && '0' <= s[n] && s[n] <= '9' {
			n++
		}
		return n
	}
	for a != "" && b != "" {
		if n, m := digits(a), digits(b); n > 0 && m > 0 {
			x, _ := strconv.Atoi(a[:n])
			y, _ := strconv.Atoi(b[:m])
			if x != y {
				return cmp.Compare(x, y)
			}
			a, b = a[n:], b[m:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}
