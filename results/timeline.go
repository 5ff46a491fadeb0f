package results

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Timeline is a picture of runs over simulated time, in the JSON form of Chrome's trace viewer, which Perfetto (ui.perfetto.dev) reads as
// well: the Trace Event Format. Times are integers of picoseconds; the file has microseconds with as many decimals as they need.
type Timeline struct {
	Processes []TimelineProcess
	Notes     []Dim // about the file as a whole
}

// TimelineProcess is one run: tracks that belong together.
type TimelineProcess struct {
	Name   string
	Label  string // shown beside the name
	Tracks []TimelineTrack
	Arrows []TimelineArrow
}

// TimelineTrack is a line of the picture. It has slices, spans or points.
type TimelineTrack struct {
	Name   string
	Place  int             // where it is shown among the tracks of its process
	Slices []TimelineSlice // one after the other or one inside of another; a slice stands before those inside of it
	Spans  []TimelineSlice // that may overlap
	Points []TimelinePoint // values of a counter, in the order of time
	Unit   string          // of the counter
}

// TimelineSlice lasts from Start to End, in picoseconds.
type TimelineSlice struct {
	Name       string
	Start, End int64
	Args       []TimelineArg
}

// TimelineArg says something about a slice: a text, or a number with Hex for an address.
type TimelineArg struct {
	Key, Text string
	Num       int64
	Hex       bool
}

// TimelinePoint is the value of a counter from At on, in picoseconds.
type TimelinePoint struct{ At, Value int64 }

// TimelineArrow leads from a time within a slice to a time within another, which is not earlier. Slices are named by track and number.
type TimelineArrow struct {
	Name            string
	FromTrack, From int
	ToTrack, To     int
	Left, Came      int64
}

// Events returns how many events the timeline has: two for a slice, a span or an arrow, one for a point.
func (t *Timeline) Events() (n int) {
	for _, p := range t.Processes {
		n += 2 * len(p.Arrows)
		for _, k := range p.Tracks {
			n += 2*len(k.Slices) + 2*len(k.Spans) + len(k.Points)
		}
	}
	return n
}

// Write writes the timeline, track by track. An arrow that takes no time must lead to a later track. It fails when slices of a track overlap, an arrow does not begin
// and end within its slices or leads into the past, or the points of a counter are not in order.
func (t *Timeline) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	e := &timelineWriter{w: b}
	e.w.WriteString("{\"displayTimeUnit\":\"ns\",\"otherData\":{")
	for i, n := range t.Notes {
		if i > 0 {
			e.w.WriteByte(',')
		}
		e.w.Write(quote(n.Key))
		e.w.WriteByte(':')
		e.w.Write(quote(n.Value))
	}
	e.w.WriteString("},\"traceEvents\":[")
	for i := range t.Processes {
		if err := e.process(i+1, &t.Processes[i]); err != nil {
			return fmt.Errorf("timeline: %s: %w", t.Processes[i].Name, err)
		}
	}
	e.w.WriteString("\n]}\n")
	return b.Flush()
}

// timelineWriter writes events.
type timelineWriter struct {
	w       *bufio.Writer
	some    bool
	pid     int
	arrows  int // of the processes before this one
	spans   int // likewise
	scratch []byte
}

// arrowEnd is one end of an arrow on a track.
type arrowEnd struct {
	slice, arrow int
	at           int64
	head, done   bool
}

func (e *timelineWriter) process(pid int, p *TimelineProcess) error {
	e.pid = pid
	e.meta("process_name", 0, "name", string(quote(p.Name)))
	if p.Label != "" {
		e.meta("process_labels", 0, "labels", string(quote(p.Label)))
	}
	e.meta("process_sort_index", 0, "sort_index", strconv.Itoa(pid))
	ends := make([][]arrowEnd, len(p.Tracks))
	for i, a := range p.Arrows {
		for _, x := range []struct {
			track, slice int
			at           int64
			head         bool
		}{{a.FromTrack, a.From, a.Left, false}, {a.ToTrack, a.To, a.Came, true}} {
			if s := p.Tracks[x.track].Slices[x.slice]; x.at < s.Start || x.at > s.End || a.Came < a.Left {
				return fmt.Errorf("the arrow %q at %d ps is outside of the slice %q from %d to %d", a.Name, x.at, s.Name, s.Start, s.End)
			}
			ends[x.track] = append(ends[x.track], arrowEnd{slice: x.slice, arrow: i, at: x.at, head: x.head})
		}
	}
	for i := range p.Tracks {
		k := &p.Tracks[i]
		tid := i + 1
		if len(k.Slices)+len(k.Spans) > 0 {
			e.meta("thread_name", tid, "name", string(quote(k.Name)))
			e.meta("thread_sort_index", tid, "sort_index", strconv.Itoa(k.Place))
		}
		if err := e.slices(tid, k, ends[i], p.Arrows); err != nil {
			return fmt.Errorf("track %s: %w", k.Name, err)
		}
		for _, s := range k.Spans {
			if s.End < s.Start {
				return fmt.Errorf("track %s: the span %q ends at %d ps, before it begins", k.Name, s.Name, s.End)
			}
			e.spans++
			id := fmt.Sprintf(",\"cat\":\"span\",\"id\":%d", e.spans)
			e.event('b', s.Name, tid, s.Start, id, s.Args)
			e.event('e', s.Name, tid, s.End, id, nil)
		}
		for j, v := range k.Points {
			if j > 0 && v.At < k.Points[j-1].At {
				return fmt.Errorf("track %s: the value at %d ps stands behind a later one", k.Name, v.At)
			}
			e.event('C', k.Name, 0, v.At, "", []TimelineArg{{Key: k.Unit, Num: v.Value}})
		}
	}
	e.arrows += len(p.Arrows)
	return nil
}

// slices writes the slices of a track as pairs of begin and end, which stay nested when a viewer rounds them to its own unit, and the ends of
// arrows while their slices are open.
func (e *timelineWriter) slices(tid int, k *TimelineTrack, ends []arrowEnd, arrows []TimelineArrow) error {
	order := make([]int, len(k.Slices))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(k.Slices[i].Start, k.Slices[j].Start) })
	slices.SortStableFunc(ends, func(a, b arrowEnd) int { return cmp.Compare(a.at, b.at) })
	var stack []int
	next := 0 // the first end that is not written
	// arrowsTo writes the ends of arrows before a time, and at that time those of the innermost slice.
	arrowsTo := func(at int64) {
		for i := next; i < len(ends) && ends[i].at <= at; i++ {
			a := &ends[i]
			if a.done || a.at == at && (len(stack) == 0 || stack[len(stack)-1] != a.slice) {
				continue
			}
			a.done = true
			id := fmt.Sprintf(",\"cat\":\"arrow\",\"id\":%d", e.arrows+a.arrow+1)
			if a.head {
				e.event('f', arrows[a.arrow].Name, tid, a.at, id+",\"bp\":\"e\"", nil)
			} else {
				e.event('s', arrows[a.arrow].Name, tid, a.at, id, nil)
			}
		}
		for next < len(ends) && ends[next].done {
			next++
		}
	}
	pop := func() {
		s := &k.Slices[stack[len(stack)-1]]
		arrowsTo(s.End)
		stack = stack[:len(stack)-1]
		e.event('E', "", tid, s.End, "", nil)
	}
	for _, i := range order {
		s := &k.Slices[i]
		if s.End < s.Start {
			return fmt.Errorf("the slice %q ends at %d ps, before it begins", s.Name, s.End)
		}
		for len(stack) > 0 && k.Slices[stack[len(stack)-1]].End <= s.Start {
			pop()
		}
		arrowsTo(s.Start)
		if len(stack) > 0 {
			if o := &k.Slices[stack[len(stack)-1]]; o.End < s.End {
				return fmt.Errorf("the slice %q from %d to %d ps overlaps %q from %d to %d", s.Name, s.Start, s.End, o.Name, o.Start, o.End)
			}
		}
		e.event('B', s.Name, tid, s.Start, "", s.Args)
		stack = append(stack, i)
	}
	for len(stack) > 0 {
		pop()
	}
	if next < len(ends) {
		return fmt.Errorf("%d arrows have an end outside of all slices", len(ends)-next)
	}
	return nil
}

// begin starts an event.
func (e *timelineWriter) begin() []byte {
	b := e.scratch[:0]
	if e.some {
		b = append(b, ',')
	}
	e.some = true
	return append(b, '\n')
}

func (e *timelineWriter) meta(name string, tid int, key, value string) {
	b := e.begin()
	b = fmt.Appendf(b, "{\"ph\":\"M\",\"name\":%q,\"pid\":%d,\"tid\":%d,\"args\":{%q:%s}}", name, e.pid, tid, key, value)
	e.w.Write(b)
	e.scratch = b
}

// event writes one event; more stands behind its usual fields.
func (e *timelineWriter) event(phase byte, name string, tid int, at int64, more string, args []TimelineArg) {
	b := e.begin()
	b = append(b, "{\"ph\":\""...)
	b = append(b, phase, '"')
	if name != "" {
		b = append(b, ",\"name\":"...)
		b = append(b, quote(name)...)
	}
	b = append(b, ",\"pid\":"...)
	b = strconv.AppendInt(b, int64(e.pid), 10)
	if tid != 0 {
		b = append(b, ",\"tid\":"...)
		b = strconv.AppendInt(b, int64(tid), 10)
	}
	b = append(b, ",\"ts\":"...)
	b = appendMicros(b, at)
	b = append(b, more...)
	if len(args) > 0 {
		b = append(b, ",\"args\":{"...)
		for i, a := range args {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, quote(a.Key)...)
			b = append(b, ':')
			switch {
			case a.Hex:
				b = fmt.Appendf(b, "\"%#x\"", uint64(a.Num))
			case a.Text != "":
				b = append(b, quote(a.Text)...)
			default:
				b = strconv.AppendInt(b, a.Num, 10)
			}
		}
		b = append(b, '}')
	}
	b = append(b, '}')
	e.w.Write(b)
	e.scratch = b
}

// appendMicros appends picoseconds as microseconds, exactly.
func appendMicros(b []byte, ps int64) []byte {
	if ps < 0 {
		b, ps = append(b, '-'), -ps
	}
	b = strconv.AppendInt(b, ps/1e6, 10)
	rest := ps % 1e6
	if rest == 0 {
		return b
	}
	b = append(b, '.')
	for unit := int64(1e5); rest > 0; unit /= 10 {
		b = append(b, byte('0'+rest/unit))
		rest %= unit
	}
	return b
}

// quote is s as a JSON string, in which nothing can end a script element either.
func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic("results: " + err.Error()) // a string can be marshalled
	}
	return b
}
