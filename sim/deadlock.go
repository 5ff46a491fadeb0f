package sim

import (
	"fmt"
	"strings"
)

// Waitable is something a process can wait for. Describe tells what it is and who holds it up, to be read
// after "cpu0 waits for ".
type Waitable interface{ Describe() string }

// Held is a Waitable that knows which process has to act before the wait can end; a circle of such waits is
// named in the DeadlockError.
type Held interface {
	Waitable
	Holder() *Proc
}

// DeadlockError says that processes wait although nothing can happen any more.
type DeadlockError struct {
	At      Time
	Waiting []string // one line per process: "cpu0 waits for lock a held by cpu1"
	Cycle   []string // the names of processes that wait for each other in a circle, first one repeated; nil if none
}

func (d *DeadlockError) Error() string {
	s := fmt.Sprintf("deadlock at %v: %s", d.At, strings.Join(d.Waiting, "; "))
	if d.Cycle != nil {
		s += "; circle: " + strings.Join(d.Cycle, " -> ")
	}
	return s
}

// deadlock returns a *DeadlockError if a process is parked, else nil.
func (e *Engine) deadlock() error {
	var d *DeadlockError
	for _, p := range e.procs {
		if p.parked == nil || p.done {
			continue
		}
		if d == nil {
			d = &DeadlockError{At: e.now}
		}
		d.Waiting = append(d.Waiting, p.Name+" waits for "+p.parked.Describe())
		if d.Cycle == nil {
			d.Cycle = circle(p)
		}
	}
	if d == nil {
		return nil
	}
	return d
}

// circle follows who waits for whom from p and returns the names if that leads back to p.
func circle(p *Proc) []string {
	names := []string{p.Name}
	seen := map[*Proc]bool{}
	for q := p; !seen[q]; {
		seen[q] = true
		h, ok := q.parked.(Held)
		if !ok || h.Holder() == nil {
			return nil
		}
		q = h.Holder()
		names = append(names, q.Name)
		if q == p {
			return names
		}
	}
	return nil // p waits for a circle it is not part of; that circle is reported for its own members
}
