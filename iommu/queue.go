package iommu

import "dmapath/sim"

// Queue is a ring of commands in memory as a unit works it off: it reads the commands a cache line at a time, decodes them, and
// carries them out one after the other. Two things overlap with the commands that follow: the drain of requests in flight, and a
// wait command that does not fence. What commands mean is the dialect's: Commands.
type Queue struct {
	Base  uint64 // physical address of the ring, a multiple of 64
	Size  uint64 // bytes of the ring, a power of two
	Width uint64 // bytes of a command, a power of two from 16 on; what lies behind 16 is not looked at
	Wrap  uint64 // head and tail count modulo Wrap: Size, or twice that where they carry a wrap bit
	Head  uint64 // offset of the oldest command that is not carried out
	Tail  uint64 // offset behind the last command that software wrote

	FetchOverhead sim.Time // added to the read of a cache line of commands
	DecodeTime    sim.Time // per command

	c *Core
	d Commands

	running bool
	pos     uint64 // command being carried out; Head follows when it is
	have    uint64 // commands up to this offset are fetched, from pos on
	cmd     [2]uint64
	tails   [pendingTails]tailWrite // ring of tail writes whose commands the head has not all passed
	oldest  int
	written int
	drained sim.Time // all invalidations so far are complete
	fenced  sim.Time // when the wait command at pos is complete, if it fences

	signals [pendingWaits]signal // ring of wait commands whose signal is to come
	first   int
	pending int
	era     uint64 // counts resets, so that nothing of an older life comes in
	shown   shownQueue

	hTail, hKick, hStep, hEffect, hSignal sim.Handler
}

// tailWrite is when the commands up to a tail were announced.
type tailWrite struct {
	tail uint64
	at   sim.Time
}

// pendingTails bounds the tail writes that are told apart: more are taken for the last of them, and their commands' times in the queue are a
// little too long.
const pendingTails = 64

// pendingWaits bounds signals under way; a queue whose wait commands do not fence stops at so many.
const pendingWaits = 64

// lineBytes is what a unit reads of a queue at once.
const lineBytes = 64

// Commands is what a dialect's commands do.
type Commands interface {
	// Runs reports whether the queue is enabled and no error stops it.
	Runs() bool
	// Written is the tail register's write reaching the unit; it returns the tail as an offset, ok is false if it is none.
	Written(val uint64) (tail uint64, ok bool)
	// Decode tells what the unit does with a command.
	Decode(cmd [2]uint64) Action
	// Effect carries out a command that is not a wait: from now on nothing that it names is in the caches. It returns when no request
	// uses what was dropped.
	Effect(cmd [2]uint64) (complete sim.Time)
	// Signal is a wait command's completion becoming visible; its data is in memory.
	Signal(s Signal)
}

// ActionKind is what a unit does with a command.
type ActionKind uint8

// Kinds of action.
const (
	Refuse     ActionKind = iota // an error, which the dialect has noted: the queue stops at the command
	Invalidate                   // carry out: Effect
	Other                        // the same, but not counted as an invalidation
	Wait                         // signal when everything before is complete
)

// Action is what a unit does with a command.
type Action struct {
	Kind   ActionKind
	Fence  bool     // Wait: commands behind wait, too
	Holds  bool     // Wait: the head stays at the command until it is complete, even if commands behind it are carried out
	Takes  sim.Time // after decoding: until the effect, or from everything being complete to the signal
	Late   sim.Time // Wait: from the signal to its being visible; the unit does not wait for that
	Signal Signal   // Wait
}

// Signal is how a wait command tells software.
type Signal struct {
	PA    uint64 // where data goes, aligned to Bytes
	Data  uint64
	Bytes uint8 // 4 or 8, 0 for nothing
	Kind  uint8 // of the dialect's own: interrupt, event
}

// signal is a signal to come; the commands behind it go on with it if resumes is set, and the head stays at pos until the time at if holds is
// set.
type signal struct {
	Signal
	resumes, holds bool
	at             sim.Time
	pos            uint64
	shown          sim.SliceID
}

// Init makes an idle queue of the unit; what names it in reports.
func (q *Queue) Init(c *Core, d Commands, name string) {
	q.c, q.d = c, d
	register := func(what string, fn func()) sim.Handler {
		return c.Eng.Register("iommu: "+name+" "+what, func(era uint64) {
			if era == q.era {
				fn()
			}
		})
	}
	q.hTail = c.Eng.Register("iommu: "+name+" tail", q.onTail)
	q.hKick = register("resumes", q.kick)
	q.hStep = register("steps", q.step)
	q.hEffect = register("effect", q.onEffect)
	q.hSignal = register("signal", q.onSignal)
}

// Reset empties the queue: head, tail and whatever is under way.
func (q *Queue) Reset(head, tail uint64) {
	q.deeper(-int64(q.Depth()))
	q.Head, q.Tail, q.pos = head, tail, head
	q.deeper(int64(q.Depth()))
	q.running, q.pending, q.written = false, 0, 0
	q.era++
}

// Ring says that val was written to the tail register; it reaches the unit at the time given.
func (q *Queue) Ring(val uint64, at sim.Time) {
	if tl := q.c.Eng.Timeline; tl.On() {
		q.showRing(tl, val)
	}
	q.c.Eng.At(at, q.hTail, val)
}

// Resume goes on at the time given, with the command at the head, after an error.
func (q *Queue) Resume(at sim.Time) { q.c.Eng.At(at, q.hKick, q.era) }

// Depth returns how many commands are between head and tail.
func (q *Queue) Depth() int { return int((q.Tail - q.Head) & (q.Wrap - 1) / q.Width) }

// HeadAt returns the head as the unit shows it at t, now or a little later: past a wait command whose completion by then is
// certain already.
func (q *Queue) HeadAt(t sim.Time) uint64 {
	for k := range q.pending {
		if s := &q.signals[(q.first+k)%pendingWaits]; s.holds && s.at > t {
			return s.pos
		}
	}
	if q.running && q.fenced != 0 && q.fenced <= t {
		return q.pos
	}
	return q.Head
}

func (q *Queue) onTail(val uint64) {
	q.c.Stats.TailWrites++
	tail, ok := q.d.Written(val)
	if !ok {
		return
	}
	if tail != q.Tail {
		q.announce(tail)
		if tl := q.c.Eng.Timeline; tl.On() {
			q.showAnnounced(val)
		}
	}
	old := q.Depth()
	q.Tail = tail
	q.deeper(int64(q.Depth() - old))
	q.c.Stats.QueueMax = max(q.c.Stats.QueueMax, q.Depth())
	q.kick()
}

// kick starts the queue if it stands still and may run.
func (q *Queue) kick() {
	if !q.running && q.d.Runs() {
		q.running = true
		q.pos = q.Head
		q.have = q.pos
		q.step()
	}
}

// step takes the next command. It runs at the time when the unit is free for it.
func (q *Queue) step() {
	for q.Head != q.pos {
		q.pass()
	}
	q.fenced = 0
	if q.pos == q.Tail || !q.d.Runs() {
		q.running = false
		return
	}
	t := q.c.Eng.Now()
	q.shown.took = t
	at := q.Base + q.pos&(q.Size-1)
	if q.have == q.pos {
		done, _ := q.c.Fabric.DeviceRead(at&^(lineBytes-1), lineBytes, t)
		q.c.Stats.DescFetches++
		t = done + q.FetchOverhead
		// What lies behind the tail may still be written, so it is not kept.
		end := (q.pos + lineBytes) &^ (lineBytes - 1)
		if q.Tail > q.pos && q.Tail < end {
			end = q.Tail
		}
		q.have = end & (q.Wrap - 1)
	}
	q.cmd = [2]uint64{q.c.Mem.Read64(at), q.c.Mem.Read64(at + 8)}
	t += q.DecodeTime
	a := q.d.Decode(q.cmd)
	switch a.Kind {
	case Refuse:
		q.running = false
		q.c.Stats.QueueErrors++
		return
	case Wait:
		q.c.Stats.Waits++
		q.wait(&a, t)
		return
	case Invalidate:
		q.c.Stats.Invalidations++
	}
	q.c.Eng.At(t+a.Takes, q.hEffect, q.era)
}

// onEffect carries out the present command. It is complete when requests with old translations are drained as well.
func (q *Queue) onEffect() {
	q.drained = max(q.drained, q.d.Effect(q.cmd))
	if tl := q.c.Eng.Timeline; tl.On() {
		q.showCommand(tl, q.c.Eng.Now())
	}
	q.advance()
	q.step()
}

// advance goes to the next command. The head follows when the unit is free for it.
func (q *Queue) advance() { q.pos = (q.pos + q.Width) & (q.Wrap - 1) }

// announce notes that the commands up to tail reached the unit now.
func (q *Queue) announce(tail uint64) {
	if q.written == pendingTails {
		q.tails[(q.oldest+q.written-1)%pendingTails].tail = tail
		return
	}
	q.tails[(q.oldest+q.written)%pendingTails] = tailWrite{tail, q.c.Eng.Now()}
	q.written++
}

// pass moves the head past a command, which leaves the queue.
func (q *Queue) pass() {
	q.Head = (q.Head + q.Width) & (q.Wrap - 1)
	q.deeper(-1)
	if q.written == 0 {
		return // announced in an earlier life of the queue
	}
	w := &q.tails[q.oldest]
	q.c.Stats.QueueTime += q.c.Eng.Now() - w.at
	if q.Head == w.tail {
		q.oldest = (q.oldest + 1) % pendingTails
		q.written--
	}
}

// wait carries out a wait command decoded at t: its signal comes when everything before it is complete.
func (q *Queue) wait(a *Action, t sim.Time) {
	at := max(t, q.drained) + a.Takes
	seen := at + a.Late
	fence := a.Fence || q.pending == pendingWaits-1
	resumes := fence && (a.Late == 0 || q.pending == pendingWaits-1) // the signal lets the commands behind go on
	if resumes {
		at = seen
	}
	s := &q.signals[(q.first+q.pending)%pendingWaits]
	*s = signal{a.Signal, resumes, a.Holds, at, q.pos, 0}
	if tl := q.c.Eng.Timeline; tl.On() {
		s.shown = q.showWait(tl, t, seen)
	}
	q.pending++
	q.c.Eng.At(seen, q.hSignal, q.era)
	q.advance()
	switch {
	case resumes:
		q.fenced = at
	case fence:
		q.fenced = at
		q.c.Eng.At(at, q.hStep, q.era)
	default:
		if a.Holds { // the signal says how long
			q.fenced = t
		}
		q.c.Eng.At(t, q.hStep, q.era)
	}
}

// onSignal is the oldest wait command's data becoming visible to the CPUs: the line leaves their caches, and who reads it again finds the
// new value.
func (q *Queue) onSignal() {
	s := q.signals[q.first]
	q.first = (q.first + 1) % pendingWaits
	q.pending--
	switch s.Bytes {
	case 8:
		q.c.Stats.StatusWrites++
		q.c.Fabric.DeviceWrite(s.PA, 8, q.c.Eng.Now())
		q.c.Mem.Write64(s.PA, s.Data)
	case 4:
		q.c.Stats.StatusWrites++
		q.c.Fabric.DeviceWrite(s.PA, 4, q.c.Eng.Now())
		at, shift := s.PA&^7, s.PA&4*8
		q.c.Mem.Write64(at, q.c.Mem.Read64(at)&^(0xffffffff<<shift)|s.Data&0xffffffff<<shift)
	}
	if tl := q.c.Eng.Timeline; tl.On() {
		q.showSignal(tl, &s)
	}
	q.d.Signal(s.Signal)
	if s.resumes {
		q.step()
	}
}
