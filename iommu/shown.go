package iommu

import "dmapath/sim"

// shown is where a unit is shown on a timeline (sim.Timeline): commands as they are carried out, wait commands from being decoded until the
// CPUs can see that they are complete, walks, and counters.
type shown struct {
	of                                               *sim.Timeline
	commands, completions, walks, busy, iotlb, depth sim.TrackID
	live, queued                                     int // translations in the IOTLB, commands in the queue
}

func (c *Core) showOn(tl *sim.Timeline) {
	s := &c.shown
	if s.of == tl {
		return
	}
	*s = shown{of: tl, live: s.live, queued: s.queued,
		commands: tl.Track(sim.Apart, "IOMMU command queue", ""), completions: tl.Track(sim.Apart, "IOMMU completions", ""),
		walks: tl.Track(sim.Overlaps, "IOMMU walks", ""), busy: tl.Counter("IOMMU walkers busy", "walkers", 0),
		iotlb: tl.Counter("IOTLB entries", "entries", int64(s.live)), depth: tl.Counter("IOMMU commands queued", "commands", int64(s.queued))}
}

func (c *Core) showWalk(tl *sim.Timeline, name string, start, end sim.Time, args ...sim.Arg) {
	c.showOn(tl)
	tl.Span(c.shown.walks, name, start, end, args...)
	tl.Busy(c.shown.busy, start, end)
}

// resultOf names how a walk ended.
func resultOf(c Cause) string {
	if c == Translated {
		return "translated"
	}
	return "fault"
}

// shownQueue is what of a queue is not on the timeline yet.
type shownQueue struct {
	took  sim.Time            // when the unit turned to the present command
	rung  map[uint64]sim.Mark // by the value written to the tail register: where a CPU wrote it
	first map[uint64]sim.Mark // by the position of the first command that such a write announced
	last  sim.Time            // when the last completion was visible
}

// showRing notes where the CPU that announces commands is.
func (q *Queue) showRing(tl *sim.Timeline, val uint64) {
	if q.shown.rung == nil {
		q.shown.rung, q.shown.first = map[uint64]sim.Mark{}, map[uint64]sim.Mark{}
	}
	q.shown.rung[val] = tl.Here(q.c.Eng.Current())
}

// showAnnounced is the announcement reaching the unit: the command at the present tail is its first.
func (q *Queue) showAnnounced(val uint64) {
	if m, ok := q.shown.rung[val]; ok {
		delete(q.shown.rung, val)
		q.shown.first[q.Tail] = m
	}
}

// named is a dialect that has names for its commands.
type named interface{ CommandName(cmd [2]uint64) string }

func (q *Queue) name() string {
	if n, ok := q.d.(named); ok {
		return n.CommandName(q.cmd)
	}
	return "command"
}

// showCommand shows the present command, which the unit is done with at end, and the arrow from the CPU that announced it.
func (q *Queue) showCommand(tl *sim.Timeline, end sim.Time) {
	q.c.showOn(tl)
	m, ok := q.shown.first[q.pos]
	delete(q.shown.first, q.pos)
	if q.shown.took < tl.Start {
		return
	}
	s := tl.Slice(q.c.shown.commands, q.name(), q.shown.took, end, sim.Addr("low", q.cmd[0]), sim.Addr("high", q.cmd[1]), sim.Num("position", int64(q.pos/q.Width)))
	if ok {
		tl.ArrowFrom("command submitted", m, s, max(q.shown.took, m.At))
	}
}

// showWait shows a wait command, decoded at t, whose completion is visible at seen.
func (q *Queue) showWait(tl *sim.Timeline, t, seen sim.Time) sim.SliceID {
	q.showCommand(tl, t)
	start := min(max(t, q.shown.last), seen)
	q.shown.last = max(seen, q.shown.last)
	return tl.Slice(q.c.shown.completions, q.name(), start, seen, sim.Num("position", int64(q.pos/q.Width)))
}

// showSignal is its completion: in memory, or in a register of the unit, as which the command's own place in the ring counts.
func (q *Queue) showSignal(tl *sim.Timeline, s *signal) {
	at := s.PA
	if s.Bytes == 0 {
		at = q.Base + s.pos&(q.Size-1)
	}
	tl.Signal(at, s.shown, q.c.Eng.Now())
}
