package sim

// Handler names a registered event handler.
type Handler uint32

// event is one pending occurrence; ordered by (at, seq).
type event struct {
	at  Time
	seq uint64
	arg uint64
	h   Handler
}

// Engine owns simulated time and the pending events of one run. It is not safe for concurrent use:
// a run is single-threaded, parallelism is across runs.
type Engine struct {
	now      Time
	until    Time
	seq      uint64
	q        []event // TODO(sim helper): replace by the real queue
	handlers []func(arg uint64)
	names    []string
	procs    []*Proc
	free     []uint64 // slots of procs whose process has ended
	stopped  bool
	resume   Handler
}

// NewEngine returns an engine at time 0.
func NewEngine() *Engine {
	e := &Engine{until: Never}
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
	e.seq++
	e.push(event{t, e.seq, arg, h})
}

// Next returns the time of the earliest pending event, or Never.
func (e *Engine) Next() Time {
	if len(e.q) == 0 {
		return Never
	}
	return e.q[0].at
}

// Stop makes Run return after the current handler.
func (e *Engine) Stop() { e.stopped = true }

// Run executes events until none is left, until is passed, or Stop is called. If processes are still waiting when
// no event is left, it returns a *DeadlockError that says who waits for what.
func (e *Engine) Run(until Time) error {
	e.until, e.stopped = until, false
	for !e.stopped {
		if len(e.q) == 0 {
			return e.deadlock()
		}
		if e.q[0].at > until {
			e.now = until
			return nil
		}
		ev := e.pop()
		e.now = ev.at
		e.handlers[ev.h](ev.arg)
	}
	return nil
}

func less(a, b *event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (e *Engine) push(v event) {
	e.q = append(e.q, v)
	i := len(e.q) - 1
	for i > 0 {
		p := (i - 1) / 4
		if !less(&v, &e.q[p]) {
			break
		}
		e.q[i] = e.q[p]
		i = p
	}
	e.q[i] = v
}

func (e *Engine) pop() event {
	top := e.q[0]
	n := len(e.q) - 1
	v := e.q[n]
	e.q = e.q[:n]
	if n == 0 {
		return top
	}
	i := 0
	for {
		c := 4*i + 1
		if c >= n {
			break
		}
		m := c
		for j := c + 1; j < c+4 && j < n; j++ {
			if less(&e.q[j], &e.q[m]) {
				m = j
			}
		}
		if !less(&e.q[m], &v) {
			break
		}
		e.q[i] = e.q[m]
		i = m
	}
	e.q[i] = v
	return top
}
