package sim

import (
	"fmt"
	"strings"
)

// Timeline records what happens when in one run, for a picture of it: slices on tracks, arrows between slices, spans that may overlap,
// and counters. Whoever does something looks whether the Engine has a Timeline that is On, and says so to it; nil records nothing.
//
// What is recorded is bounded by a budget of events, as a file has them: two for a slice, a span or an arrow, one for a change of a
// counter. When an event finds no room, nothing that begins later is recorded, and counted instead; what was begun has its end
// reserved. So no slice is without an end and no arrow without a head, whenever the recording stops.
//
// Callers run ahead of the engine within a segment or an access: what is recorded is not in the order of time. On a track of nested slices it
// is.
type Timeline struct {
	Tracks   []Track
	Slices   []Slice
	Arrows   []Arrow
	Spans    []Slice  // of tracks of spans
	Changes  []Change // of counters, in any order of time
	Start    Time     // when the recording began
	Stopped  Time     // when something found no room for the first time; Never if nothing did
	LeftOut  int64    // events that found no room
	Finished Time     // given to Finish

	on           bool
	full         bool
	budget, used int
	signals      map[uint64]Mark
}

// Track is a line of the picture.
type Track struct {
	Name string
	Kind TrackKind
	Unit string // of a counter
	Base int64  // of a counter: its value before the first change
	// Spans says that the counter counts what is under way, by Busy.
	Spans bool

	Process bool // it belongs to a process, or to several that live one after the other

	cpu   int // of the thread shown, plus 1
	owner *Proc
	first string // the name without a number
	last  Time   // latest end of a slice
}

// TrackKind is what is on a track.
type TrackKind uint8

// Kinds of tracks.
const (
	Nested   TrackKind = iota + 1 // slices, each inside of the one that was open when it began
	Apart                         // slices that do not overlap, recorded in any order
	Overlaps                      // spans
	Counter                       // changes of a number
)

// Slice is something that lasts from Start to End on a track.
type Slice struct {
	Track      TrackID
	Name       string
	Start, End Time
	Args       []Arg

	pinned bool // an arrow touches it, or will
}

// Arrow leads from a time within a slice to a time within another that is not earlier.
type Arrow struct {
	Name       string
	From, To   SliceID
	Left, Came Time
}

// Change is how much a counter changes at a time.
type Change struct {
	Track TrackID
	At    Time
	By    int64
}

// Arg says something about a slice: a text or a number.
type Arg struct {
	Key, Text string // Text is empty for a number
	Num       int64
	Hex       bool // the number is an address
}

// Text is an argument that is not a number.
func Text(key, v string) Arg { return Arg{Key: key, Text: v} }

// Num is a number, shown in decimals.
func Num(key string, v int64) Arg { return Arg{Key: key, Num: v} }

// Addr is an address or a word of bits, shown in hexadecimals.
func Addr(key string, v uint64) Arg { return Arg{Key: key, Num: int64(v), Hex: true} }

// TrackID and SliceID name what was recorded; 0 is none, and allowed wherever one is asked for.
type (
	TrackID int32
	SliceID int32
)

// Mark is a time within a slice, where an arrow may begin.
type Mark struct {
	Slice SliceID
	At    Time
}

// unended is the End of a slice that is open.
const unended Time = -1

// NewTimeline returns an empty recording of at most budget >= 0 events. It records from Begin on.
func NewTimeline(budget int) *Timeline {
	return &Timeline{budget: budget, Stopped: Never, signals: map[uint64]Mark{}, Slices: make([]Slice, 1), Tracks: make([]Track, 1)}
}

// On reports whether there is a recording that has begun; l may be nil.
func (l *Timeline) On() bool { return l != nil && l.on }

// Begin starts to record, unless it has begun; l may be nil.
func (l *Timeline) Begin(now Time) {
	if l != nil && !l.on && l.Finished == 0 {
		l.on, l.Start = true, now
	}
}

// Events returns how many events are recorded. It is never more than the budget.
func (l *Timeline) Events() int { return l.used }

// room takes n events from the budget.
func (l *Timeline) room(n int, at Time) bool {
	if l.full || l.used+n > l.budget {
		if !l.full {
			l.full, l.Stopped = true, at
		}
		l.LeftOut += int64(n)
		return false
	}
	l.used += n
	return true
}

// Track returns the track of the kind with the name, a new one if there is none.
func (l *Timeline) Track(kind TrackKind, name, unit string) TrackID {
	for i := range l.Tracks {
		if t := &l.Tracks[i]; t.Kind == kind && t.Name == name {
			return TrackID(i)
		}
	}
	l.Tracks = append(l.Tracks, Track{Name: name, Kind: kind, Unit: unit})
	return TrackID(len(l.Tracks) - 1)
}

// TrackOf returns the track of a process: one with its name that no living process has. Processes that live one after the other share one.
func (l *Timeline) TrackOf(p *Proc) TrackID {
	if p.timeline == l {
		return p.track
	}
	n, at := 1, TrackID(0)
	for i := range l.Tracks {
		t := &l.Tracks[i]
		if t.owner == nil || t.first != p.Name {
			continue
		}
		n++
		if t.owner.done && t.last <= p.e.now {
			at = TrackID(i)
			break
		}
	}
	if at == 0 {
		name := p.Name
		if n > 1 {
			name = fmt.Sprintf("%s (%d)", p.Name, n)
		}
		l.Tracks = append(l.Tracks, Track{Name: name, Kind: Nested, Process: true, first: p.Name})
		at = TrackID(len(l.Tracks) - 1)
	}
	l.Tracks[at].owner = p
	p.timeline, p.track = l, at
	return at
}

// TrackOn returns the track of what a process does on a CPU: its own, or another one when it does things on several CPUs in turn.
func (l *Timeline) TrackOn(p *Proc, cpu int) TrackID {
	id := l.TrackOf(p)
	t := &l.Tracks[id]
	name := p.Name
	if !strings.HasPrefix(name, "cpu ") {
		name = fmt.Sprintf("cpu %d %s", cpu, p.Name)
	}
	switch {
	case t.cpu == cpu+1:
		return id
	case t.cpu == 0:
		t.cpu, t.Name = cpu+1, name+strings.TrimPrefix(t.Name, p.Name)
		return id
	}
	id = l.Track(Nested, name, "")
	l.Tracks[id].Process = true
	return id
}

// Open begins a slice on a track. 0 is returned when there is no room.
func (l *Timeline) Open(track TrackID, name string, at Time, args ...Arg) SliceID {
	if !l.room(2, at) {
		return 0
	}
	l.Slices = append(l.Slices, Slice{Track: track, Name: name, Start: at, End: unended, Args: args})
	return SliceID(len(l.Slices) - 1)
}

// Close ends a slice, which may have become longer than the ones inside of it only. One that took no time and contains nothing is forgotten.
func (l *Timeline) Close(s SliceID, at Time, args ...Arg) {
	if s == 0 {
		return
	}
	x := &l.Slices[s]
	if at == x.Start && int(s) == len(l.Slices)-1 && len(args) == 0 && !x.pinned {
		l.Slices = l.Slices[:s]
		l.used -= 2
		return
	}
	x.End, x.Args = at, append(x.Args, args...)
	l.Tracks[x.Track].last = max(l.Tracks[x.Track].last, at)
}

// Slice records one that is over, or whose end is known.
func (l *Timeline) Slice(track TrackID, name string, start, end Time, args ...Arg) SliceID {
	s := l.Open(track, name, start, args...)
	if s != 0 {
		l.Slices[s].End = end
		l.Tracks[track].last = max(l.Tracks[track].last, end)
	}
	return s
}

// Span records something that others of its track may overlap.
func (l *Timeline) Span(track TrackID, name string, start, end Time, args ...Arg) {
	if l.room(2, start) {
		l.Spans = append(l.Spans, Slice{Track: track, Name: name, Start: start, End: end, Args: args})
	}
}

// Counter returns a new track of a counter that is base when it is first changed.
func (l *Timeline) Counter(name, unit string, base int64) TrackID {
	id := l.Track(Counter, name, unit)
	l.Tracks[id].Base = base
	return id
}

// Change says that a counter changes by d at a time.
func (l *Timeline) Change(track TrackID, at Time, d int64) {
	if l.room(1, at) {
		l.Changes = append(l.Changes, Change{track, max(at, l.Start), d})
	}
}

// Busy says that a counter of what is under way counts one more from start to end.
func (l *Timeline) Busy(track TrackID, start, end Time) {
	l.Tracks[track].Spans = true
	if l.room(2, start) {
		l.Changes = append(l.Changes, Change{track, max(start, l.Start), 1}, Change{track, max(end, l.Start), -1})
	}
}

// Arrow leads from a slice to another. Nothing is recorded when one of them is not, or when it would lead into the past.
func (l *Timeline) Arrow(name string, from SliceID, left Time, to SliceID, came Time) {
	if from == 0 || to == 0 {
		if l.full {
			l.LeftOut += 2
		}
		return
	}
	if came < left || !l.room(2, came) {
		return
	}
	l.Slices[from].pinned, l.Slices[to].pinned = true, true
	l.Arrows = append(l.Arrows, Arrow{name, from, to, left, came})
}

// Innermost says that s is the innermost slice that is open on the track of p.
func (l *Timeline) Innermost(p *Proc, s SliceID) { p.innermost = s }

// Here marks the present time in the innermost open slice of p, which may be nil.
func (l *Timeline) Here(p *Proc) Mark {
	if p == nil || p.timeline != l || p.innermost == 0 {
		return Mark{}
	}
	l.Slices[p.innermost].pinned = true
	return Mark{p.innermost, p.e.now}
}

// ArrowFrom is Arrow from a mark.
func (l *Timeline) ArrowFrom(name string, m Mark, to SliceID, came Time) {
	l.Arrow(name, m.Slice, m.At, to, came)
}

// Signal remembers that within slice s, at a time, something became visible at an address, for who will see it.
func (l *Timeline) Signal(addr uint64, s SliceID, at Time) {
	if s != 0 {
		l.Slices[s].pinned = true
		l.signals[addr] = Mark{s, at}
	}
}

// Seen draws the arrow from the last Signal at an address to where it is seen.
func (l *Timeline) Seen(name string, addr uint64, by Mark) {
	if m, ok := l.signals[addr]; ok {
		l.Arrow(name, m.Slice, m.At, by.Slice, by.At)
	}
}

// Finish ends the recording and what is still open.
func (l *Timeline) Finish(now Time) {
	l.on, l.Finished = false, now
	for i := range l.Slices {
		if s := &l.Slices[i]; s.End == unended {
			s.End = max(now, s.Start, l.Tracks[s.Track].last)
		}
	}
}
