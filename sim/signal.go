package sim

// Signal lets processes wait until somebody says that something has happened. It does not remember: a Fire with nobody
// waiting is lost, so a process checks its condition, waits, and checks again. The zero value works.
type Signal struct {
	Name string
	// Owner names who fires, for the report of who waits for whom; may be empty.
	Owner string

	Fired uint64

	queue waitList
}

// Wait parks p until the next Fire.
func (s *Signal) Wait(p *Proc) { s.queue.park(p, s, 0) }

// Waiters returns how many processes wait.
func (s *Signal) Waiters() int { return s.queue.n }

// Fire lets all waiting processes continue at t, which must not lie in the past, in the order in which they came.
func (s *Signal) Fire(t Time) {
	s.Fired++
	for s.queue.n > 0 {
		s.queue.take().Wake(t)
	}
}

// Describe says which signal this is.
func (s *Signal) Describe() string { return "signal " + named(s.Name) + by(s.Owner) }
