package replay

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"dmapath/sim"
	"dmapath/workloads/ftrace"
)

// batchCalls is how many calls travel together, batches how many batches may wait for a player.
const (
	batchCalls = 256
	batches    = 4
)

// Trace is what was read.
type Trace struct {
	Counts
	Devices            []*Device
	Extent             Extent
	Events             int64
	Lines              int64
	Skipped, Malformed int64 // lines, see ftrace.Reader
	Unread             int64
	Lost, LostMarks    int64 // events that the tracer lost
	NoCPU              int64
	// Restarts counts how often time goes back by more than a second: traces one after the other. What follows is taken to come right after.
	Restarts int64
}

// restart is how far time stamps may go back before another trace is taken to begin: those of several CPUs are merged, and not in perfect order.
const restart = sim.Second

// Calls returns how many calls the trace has that are measured: maps and unmaps of all interfaces but coherent memory.
func (tr *Trace) Calls() (maps, unmaps int64) {
	for h := range NumHow {
		if h != Coherent {
			maps += tr.Maps[h]
			unmaps += tr.Unmaps[h]
		}
	}
	return maps, unmaps
}

// Names returns the names of the devices.
func (tr *Trace) Names() (names []string) {
	for _, d := range tr.Devices {
		names = append(names, d.Name)
	}
	return names
}

// Run reads up to limit events (0: all) from r and has every player perform the calls as they come, each machine in a goroutine of its own. cpus is
// how many CPUs the traced machine had; an event of a CPU that a player's machine does not have is an error. malformed is
// told about every line that cannot be read; nil is allowed.
func Run(ctx context.Context, r *ftrace.Reader, limit int64, cpus int, players []*Player, malformed func(*ftrace.SyntaxError)) (*Trace, error) {
	g, ctx := errgroup.WithContext(ctx)
	var ins []chan batch
	cores := cpus
	for _, p := range players {
		in := make(chan batch, batches)
		ins = append(ins, in)
		cores = min(cores, len(p.M.Cores))
		g.Go(func() error {
			return p.play(func() (batch, bool) {
				b, more := <-in
				return b, more
			})
		})
	}
	tr := &Trace{}
	g.Go(func() error {
		defer func() {
			for _, in := range ins {
				close(in)
			}
		}()
		var b batch
		t := NewTracker(cpus, cores)
		send := func() error {
			for len(b.names) < len(t.Devices) {
				// The players may be reading the old array: append never changes what they see.
				b.names = append(b.names, t.Devices[len(b.names)].Name)
			}
			for _, in := range ins {
				select {
				case in <- b:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			b.calls = make([]*Call, 0, batchCalls)
			return nil
		}
		err := tr.read(ctx, r, limit, t, malformed, func(c *Call) error {
			if b.calls = append(b.calls, c); len(b.calls) == batchCalls {
				return send()
			}
			return nil
		})
		if err != nil {
			return err
		}
		return send()
	})
	return tr, g.Wait()
}

// Collect reads like Run, but performs nothing: s keeps the calls for players that are made when it is known what machine they need. cores is
// how many CPUs these may have.
func Collect(ctx context.Context, r *ftrace.Reader, limit int64, cpus, cores int, s *Sample, malformed func(*ftrace.SyntaxError)) (*Trace, error) {
	tr := &Trace{}
	return tr, tr.read(ctx, r, limit, NewTracker(cpus, cores), malformed, func(c *Call) error {
		s.Add(c)
		return nil
	})
}

// read has t turn the events of r into calls. What was read until then is in tr when there is an error, too.
func (tr *Trace) read(ctx context.Context, r *ftrace.Reader, limit int64, t *Tracker, malformed func(*ftrace.SyntaxError), emit func(*Call) error) error {
	t.emit = emit
	defer func() {
		tr.Counts, tr.Devices = t.Counts, t.Devices
		tr.Skipped, tr.Malformed, tr.Lines, tr.Unread = r.Skipped, r.Malformed, r.Lines(), r.Unread
		tr.Lost, tr.LostMarks, tr.NoCPU = r.Lost, r.LostMarks, r.NoCPU
		tr.Extent.Online = r.CPUs
	}()
	var shift sim.Time // of time stamps, so that traces one after the other are one
	for limit == 0 || tr.Events < limit {
		if tr.Events&0xfff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		var se *ftrace.SyntaxError
		if errors.As(err, &se) {
			if malformed != nil {
				malformed(se)
			}
			continue
		}
		if err != nil {
			return CutError{tr.Events, r.Lines(), err}
		}
		tr.Events++
		if ev.Time += shift; tr.Events > 1 && ev.Time < tr.Extent.Last-restart {
			shift += tr.Extent.Last - ev.Time
			ev.Time = tr.Extent.Last
			tr.Restarts++
		}
		tr.Extent.add(ev)
		if err := t.Event(ev); err != nil {
			return err
		}
	}
	return t.Flush()
}

// CutError is an error of the input in the middle of a trace.
type CutError struct {
	Events, Lines int64 // read before it
	Err           error
}

func (e CutError) Error() string {
	return fmt.Sprintf("after %d events in %d lines: %v", e.Events, e.Lines, e.Err)
}

func (e CutError) Unwrap() error { return e.Err }
