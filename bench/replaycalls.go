package bench

import (
	"cmp"
	"context"
	"fmt"

	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/workloads/replay"
)

// ReplayCalls is a trace that has been read and not performed: its calls, for machines that somebody else chooses.
type ReplayCalls struct{ p *Replayed }

// ReadOnly returns x such that File and Stream read a trace and perform nothing. Of one that is longer than x.Sample (0: ReplaySample) they keep a
// sample. The RAM of the platform grows as File's does; variants and backends of x do not matter.
func (x Replay) ReadOnly() Replay {
	x.Variants, x.Backends, x.Sample, x.readOnly = nil, []string{string(platform.Direct)}, cmp.Or(x.Sample, ReplaySample), true
	return x
}

// Calls returns the calls of a trace that was read by a ReadOnly.
func (p *Replayed) Calls() *ReplayCalls { return &ReplayCalls{p} }

// Name is that of the trace.
func (c *ReplayCalls) Name() string { return c.p.x.Name }

// Trace returns what was read, Calls what a machine performs of it, in order. Neither is to be changed.
func (c *ReplayCalls) Trace() *replay.Trace  { return c.p.Trace }
func (c *ReplayCalls) Calls() []*replay.Call { return c.p.calls }

// Perform performs calls, the trace's own or others made of them, on a new machine of platform s with a backend and a variant. begin gets the player before
// the first call; of what it returns, goOn is asked every few calls, and ends the run by an error, and end is called after the last call, while everything still
// stands. Both may be nil. The player that is returned has lost its machine.
func (c *ReplayCalls) Perform(ctx context.Context, s *platform.Spec, backend, variant string, calls []*replay.Call, begin func(*replay.Player) (goOn, end func() error)) (*replay.Player, error) {
	v, err := dma.Lookup(variant)
	if err != nil {
		return nil, err
	}
	p := *c.p
	p.s = s
	r := &replayed{backend: backend, name: v.Name(), version: v.Version()}
	pl, err := p.build(r, false)
	if err != nil {
		return nil, err
	}
	goOn, end := begin(pl)
	err = pl.Perform(calls, p.devices, func(int) error {
		if goOn != nil {
			if err := goOn(); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if err == nil && end != nil {
		err = end()
	}
	if err != nil {
		pl.M.Close()
		return nil, fmt.Errorf("%s, %s %s: %w", p.x.Name, backend, r.name, err)
	}
	r.finish(pl)
	return r.Player, nil
}
