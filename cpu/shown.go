package cpu

import "dmapath/sim"

// On a timeline (sim.Timeline) a thread has a track. Its slices are functions of the kernel, from the retirement of what came before
// them to the retirement of their last instruction, as they are accounted, and what Show opens. With Stacks set functions lie inside
// of their callers. A second track has the segments.
//
// To know when functions begin, a segment is timed in pieces of one function each. A sequence of ops takes the same time in one Run as in
// many, so nothing changes. A function that retired in the cycle of what came before it takes no time, and is not shown.

// shown is a slice that is open: a function, or what Show opened when fn is nil.
type shown struct {
	fn    *Func
	slice sim.SliceID // 0 if it found no room
	since sim.Time
}

// waitNames name slices of waiting by cause.
var waitNames = func() (names [NumStalls]string) {
	for c := range names {
		names[c] = "wait: " + Stall(c).String()
	}
	return names
}()

// track returns the thread's track.
func (t *Thread) track(tl *sim.Timeline) sim.TrackID {
	if t.tracks.of != tl {
		t.tracks.of, t.tracks.self = tl, tl.TrackOn(t.Proc, t.CPU)
		t.tracks.segments = tl.Track(sim.Apart, tl.Tracks[t.tracks.self].Name+" segments", "")
	}
	return t.tracks.self
}

// runShown times what was emitted and shows it.
func (t *Thread) runShown(tl *sim.Timeline) sim.Time {
	start, ops := t.Proc.Now(), t.Ops
	track := t.track(tl)
	at := start
	for i, j := 0, 0; i < len(ops); i = j {
		for j = i + 1; j < len(ops) && ops[j].Fn == ops[i].Fn; j++ {
		}
		if j < len(ops) && ops[j-1].Src == 0 {
			switch ops[j-1].Class {
			case Ret, JmpInd, CallInd, LinkInd, LinkRet: // the op behind says where it goes
				ops[j-1].Src = TextBase + uint64(ops[j].PC)
			}
		}
		t.align(tl, track, funcs[ops[i].Fn], at)
		at = t.Core.Run(ops[i:j], at, t.Acct)
	}
	tl.Slice(t.tracks.segments, "segment", start, at, sim.Num("instructions", int64(len(ops))))
	t.align(tl, track, t.Fn(), at)
	return at
}

// align closes and opens slices so that fn is the innermost function shown.
func (t *Thread) align(tl *sim.Timeline, track sim.TrackID, fn *Func, at sim.Time) {
	fixed := len(t.shown) // what Show has opened stays, and so do the functions around it
	for fixed > 0 && t.shown[fixed-1].fn != nil {
		fixed--
	}
	if n := len(t.shown); n > fixed && t.shown[n-1].fn == fn {
		return
	}
	var stack [maxShown]*Func // innermost first
	n := 0
	for f := fn; f != nil && f.ID != 0 && n < maxShown; f = f.caller {
		stack[n] = f
		n++
	}
	// The functions around what Show has opened are outer ones of the stack, unless there are none.
	for _, s := range t.shown[:fixed] {
		if s.fn != nil && n > 0 && stack[n-1] == s.fn {
			n--
		}
	}
	keep := fixed
	for keep < len(t.shown) && n > 0 && t.shown[keep].fn == stack[n-1] {
		keep++
		n--
	}
	for i := len(t.shown) - 1; i >= keep; i-- {
		if s := &t.shown[i]; s.slice == 0 && s.since == at {
			tl.LeftOut -= 2 // it would have been forgotten
		}
		tl.Close(t.shown[i].slice, at)
	}
	t.shown = t.shown[:keep]
	for ; n > 0; n-- {
		t.shown = append(t.shown, shown{stack[n-1], tl.Open(track, stack[n-1].Name, at), at})
	}
	t.innermost(tl)
}

// maxShown bounds how deep functions are shown.
const maxShown = 64

func (t *Thread) innermost(tl *sim.Timeline) {
	for i := len(t.shown) - 1; i >= 0; i-- {
		if s := t.shown[i].slice; s != 0 {
			tl.Innermost(t.Proc, s)
			return
		}
	}
	tl.Innermost(t.Proc, 0)
}

// Show opens a slice on the thread's track, which Hide closes: what is not a function, such as a call that is measured. Hide
// is given what Show returned. The caller has ended the segment.
func (t *Thread) Show(name string) (depth int) {
	tl := t.Proc.Engine().Timeline
	if !tl.On() || t.Core == nil {
		return 0
	}
	track := t.track(tl)
	t.align(tl, track, t.Fn(), t.Now())
	t.shown = append(t.shown, shown{slice: tl.Open(track, name, t.Now()), since: t.Now()})
	t.innermost(tl)
	return len(t.shown)
}

// Hide closes what Show opened.
func (t *Thread) Hide(depth int, args ...sim.Arg) {
	tl := t.Proc.Engine().Timeline
	if depth == 0 || len(t.shown) < depth {
		return
	}
	for i := len(t.shown) - 1; i > depth-1; i-- {
		tl.Close(t.shown[i].slice, t.Now())
	}
	tl.Close(t.shown[depth-1].slice, t.Now(), args...)
	t.shown = t.shown[:depth-1]
	t.innermost(tl)
}

// Sees says that the CPU finds at addr what hardware has put there: on a timeline an arrow leads from the one to the other.
func (t *Thread) Sees(name string, addr uint64) {
	if tl := t.Proc.Engine().Timeline; tl.On() {
		tl.Seen(name, addr, tl.Here(t.Proc))
	}
}
