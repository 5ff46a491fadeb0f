package sim

import "iter"

// Proc is a process: straight-line model code (a CPU executing a kernel path, say) that can wait in simulated
// time. It is a coroutine of the engine, so exactly one process or handler runs at any moment and the order
// is the event order.
type Proc struct {
	e     *Engine
	id    uint64
	Name  string
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	done  bool
	// parked says what the process waits for; nil when it has a wake-up pending or is running.
	parked Waitable
	// queued links the processes that wait in one waitList; want and since belong to that wait.
	queued *Proc
	want   int64
	since  Time
	// track is where timeline shows the process, innermost the slice that is open there.
	track     TrackID
	innermost SliceID
	timeline  *Timeline
}

// Go starts body as a process at the current time. The slot of a process that has ended is used again, so a
// run may start any number of them.
func (e *Engine) Go(name string, body func(p *Proc)) *Proc {
	p := &Proc{e: e, id: uint64(len(e.procs)), Name: name}
	if n := len(e.free); n > 0 {
		p.id, e.free = e.free[n-1], e.free[:n-1]
		e.procs[p.id] = p
	} else {
		e.procs = append(e.procs, p)
	}
	p.next, p.stop = iter.Pull(func(yield func(struct{}) bool) {
		p.yield = yield
		body(p)
		p.done = true
	})
	e.At(e.now, e.resume, p.id)
	return p
}

func (p *Proc) step() {
	p.e.current = p
	if _, ok := p.next(); !ok {
		p.e.free = append(p.e.free, p.id)
	}
	p.e.current = nil
}

// killed unwinds the stack of a process whose engine is closed.
type killed struct{}

// Now returns the current simulated time.
func (p *Proc) Now() Time { return p.e.now }

// Engine returns the engine the process runs on.
func (p *Proc) Engine() *Engine { return p.e }

// SleepUntil waits until t; it returns at once when t is not in the future.
func (p *Proc) SleepUntil(t Time) {
	e := p.e
	if t <= e.now {
		return
	}
	if t < e.Next() && t <= e.until && !e.stopped {
		e.now = t // nothing can happen in between: no need to switch
		return
	}
	e.At(t, e.resume, p.id)
	p.switchAway()
}

// Park waits until Wake is called; w says for what, for the deadlock report.
func (p *Proc) Park(w Waitable) {
	p.parked = w
	p.switchAway()
}

// Wake lets a parked process continue at time t >= now.
func (p *Proc) Wake(t Time) {
	if p.parked == nil {
		panic("sim: wake of " + p.Name + ", which is not parked")
	}
	p.parked = nil
	p.e.At(t, p.e.resume, p.id)
}

// Parked reports whether the process waits for Wake.
func (p *Proc) Parked() bool { return p.parked != nil }

func (p *Proc) switchAway() {
	if !p.yield(struct{}{}) {
		panic(killed{})
	}
}

// Close ends all processes of the engine; call it when a run is over.
func (e *Engine) Close() {
	for _, p := range e.procs {
		if !p.done {
			func() {
				defer func() {
					if r := recover(); r != nil {
						if _, ok := r.(killed); !ok {
							panic(r)
						}
					}
				}()
				p.stop()
			}()
			p.done = true
		}
	}
}
