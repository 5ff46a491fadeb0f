package replay

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"

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
	Events             int64
	Lines              int64
	Skipped, Malformed int64
}

// Run reads up to limit events (0: all) from r and has every player perform the calls, each machine in a goroutine of its own. cpus is
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
		g.Go(func() error { return p.play(in) })
	}
	tr := &Trace{}
	g.Go(func() error {
		defer func() {
			for _, in := range ins {
				close(in)
			}
		}()
		return tr.read(ctx, r, limit, NewTracker(cpus, cores), ins, malformed)
	})
	return tr, g.Wait()
}

// read feeds the players.
func (tr *Trace) read(ctx context.Context, r *ftrace.Reader, limit int64, t *Tracker, ins []chan batch, malformed func(*ftrace.SyntaxError)) error {
	var b batch
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
	t.emit = func(c *Call) error {
		if b.calls = append(b.calls, c); len(b.calls) == batchCalls {
			return send()
		}
		return nil
	}
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
			return err
		}
		tr.Events++
		if err := t.Event(ev); err != nil {
			return err
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	tr.Counts, tr.Devices, tr.Skipped, tr.Malformed, tr.Lines = t.Counts, t.Devices, r.Skipped, r.Malformed, r.Lines()
	return send()
}
