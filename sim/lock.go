package sim

import "fmt"

// Lock is a mutual exclusion that is handed to its waiters in the order in which they came, as the queued spinlock,
// the kernel's mutex under hand-off and a ticket lock do. The zero value is an unnamed, free lock
// without hand-off delay.
type Lock struct {
	Name string
	// HandOff is the time from the release until the next waiter knows that it owns the lock: for a queued
	// spinlock, the transfer of the waiter's own queue node between two caches. 0 is instant.
	HandOff Time

	Acquired   uint64 // times that the lock was taken, with or without waiting
	Contended  uint64 // times that a process had to wait for it
	MaxWaiters int    // most processes that waited at once
	Waited     Sample // picoseconds from Wait to ownership, of those that had to wait
	HeldFor    Time   // total time that the lock was owned, hand-offs included

	holder *Proc
	since  Time
	queue  waitList
	shown  lockTrack
}

// Holder returns the process that owns the lock, or nil. During a hand-off it is already the next one.
func (l *Lock) Holder() *Proc { return l.holder }

// Waiters returns how many processes wait.
func (l *Lock) Waiters() int { return l.queue.n }

// Describe says which lock this is, who owns it and how many wait.
func (l *Lock) Describe() string {
	s := "lock " + named(l.Name)
	if l.holder == nil {
		return s + ", which is free"
	}
	s += fmt.Sprintf(" held by %s since %v", l.holder.Name, l.since)
	if l.queue.n > 1 {
		s += fmt.Sprintf(" (%d wait)", l.queue.n)
	}
	return s
}

// TryLock takes the lock for p and returns true if it is free, which implies that nobody waits.
func (l *Lock) TryLock(p *Proc) bool {
	if l.holder != nil {
		return false
	}
	l.take(p, p.e.now)
	return true
}

// Wait takes the lock for p as soon as all who came earlier have had it. A process that waits for a lock it owns
// waits forever, as on the real machine, and the engine reports it.
func (l *Lock) Wait(p *Proc) {
	if l.TryLock(p) {
		return
	}
	l.Contended++
	l.MaxWaiters = max(l.MaxWaiters, l.queue.n+1)
	holder, ahead := l.holder, l.queue.n
	l.queue.park(p, l, 0)
	l.Waited.Add(int64(p.e.now - p.since))
	if tl := p.e.Timeline; tl.On() {
		tl.waited(l, p, holder, ahead)
	}
}

// Unlock releases the lock, which p must own, and hands it to the process that has waited longest, if any; that one
// continues HandOff later.
func (l *Lock) Unlock(p *Proc) {
	if l.holder != p {
		panic("sim: " + p.Name + " releases " + l.Describe())
	}
	now := p.e.now
	l.HeldFor += now - l.since
	if tl := p.e.Timeline; tl.On() {
		tl.held(l, p)
	}
	l.holder = nil
	if l.queue.n == 0 {
		return
	}
	next := l.queue.take()
	l.take(next, now)
	next.Wake(now + l.HandOff)
}

func (l *Lock) take(p *Proc, now Time) {
	l.holder, l.since = p, now
	l.Acquired++
}

func named(s string) string {
	if s == "" {
		return "(unnamed)"
	}
	return s
}
