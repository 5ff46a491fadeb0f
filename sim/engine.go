package sim

// Handler names a registered event handler.
type Handler uint32

// Engine owns simulated time and the pending events of one run. It is not safe for concurrent use:
// a run is single-threaded, parallelism is across runs.
type Engine struct {
	// Timeline records what happens, for a picture of the run; nil records nothing and costs a comparison.
	Timeline *Timeline

	now      Time
	until    Time
	q        queue
	handlers []func(arg uint64)
	names    []string
	procs    []*Proc
	free     []uint64 // slots of procs whose process has ended
	stopped  bool
	resume   Handler
	current  *Proc // the process that runs, nil while a handler does or nothing
}

// NewEngine returns an engine at time 0.
func NewEngine() *Engine {
	e := &Engine{until: Never}
	e.q.init()
	e.resume = e.Register("proc", func(arg uint64) { e.procs[arg].step() })
	return e
}

// Now returns the current simulated time.
func (e *Engine) Now() Time { return e.now }

// Register adds a handler; name appears in reports of what is pending.
func (e *Engine) Register(name string, fn func(arg uint64)) Handler {
	e.handlers = append(e.handlers, fn)
	e.names = append(e.names, name)
	return Handler(len(e.handlers) - 1)
}

// At schedules handler h with arg at time t, which must not lie in the past. Equal times run in the order of
// scheduling.
func (e *Engine) At(t Time, h Handler, arg uint64) {
	if t < e.now {
		panic("sim: event scheduled in the past")
	}
	e.q.push(e.now, t, h, arg)
}

// Current returns the process that is running, nil outside of one.
func (e *Engine) Current() *Proc { return e.current }

// Next returns the time of the earliest pending event, or Never.
func (e *Engine) Next() Time {
	return e.q.next()
}

// Stop makes Run return after the current handler.
func (e *Engine) Stop() { e.stopped = true }

// Run executes events until none is left, until is passed, or Stop is called. If processes are still waiting when
// no event is left, it returns a *DeadlockError that says who waits for what.
func (e *Engine) Run(until Time) error {
	e.until, e.stopped = until, false
	for !e.stopped {
		if e.q.len() == 0 {
			return e.deadlock()
		}
		if e.q.next() > until {
			e.now = until
			return nil
		}
		ev := e.q.pop()
		e.now = ev.at
		e.handlers[ev.h](ev.arg)
	}
	return nil
}
