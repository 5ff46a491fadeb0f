package bench

import (
	"context"
	"slices"

	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads/replay"
)

// Profile has every machine perform the sample once more and returns where the simulated cycles of the calls went, by kernel function and the
// stack that it was called on; see Profile. Samples carry trace, backend, cache state, variant, call, interface and size as labels. There is no
// profile without a sample.
func (p *Replayed) Profile(ctx context.Context) (*results.Profile, error) {
	prof := results.NewProfile(profileValues()...)
	tell := p.counter(int64(len(p.calls)) * int64(len(p.runs)))
	for _, r := range p.runs { // one after the other: functions on stacks are shared
		pl, err := p.one(ctx, r, true, tell, nil)
		if err != nil {
			return nil, err
		}
		for _, call := range replayCalls {
			of := &pl.Unmap
			if call == "map" {
				of = &pl.Map
			}
			for how := range replay.NumHow {
				for class := range replay.Class(replay.Classes) {
					if o := of[how][class]; o != nil && o.N > 0 {
						labels := []results.Dim{{Key: "trace", Value: p.x.Name}, {Key: "backend", Value: r.backend}, {Key: "cache", Value: p.x.Cache}, {Key: "variant", Value: r.name},
							{Key: "call", Value: call}, {Key: "interface", Value: how.String()}, {Key: "size", Value: class.String()}}
						profileAccount(prof, call, o.Acct, slices.Clip(labels))
					}
				}
			}
		}
		pl.M.Close()
	}
	return prof, nil
}

// Timeline has machines perform the sample once more, one after the other, and returns what happened from the middle of it on, as many events
// in all as given: see Timeline.
func (p *Replayed) Timeline(ctx context.Context, events int) (*results.Timeline, error) {
	tell := p.counter(int64(len(p.calls)) * int64(len(p.runs)))
	return timeline(ctx, len(p.runs), events, func(i, _ int, tl *sim.Timeline) (string, error) {
		r := p.runs[i]
		pl, err := p.one(ctx, r, true, tell, func(pl *replay.Player) {
			pl.M.Eng.Timeline = tl
			pl.Plan = func(unmap bool, how replay.How, class replay.Class) int64 {
				if o := r.op(map[bool]string{false: "map", true: "unmap"}[unmap], replayCell{how, class}); o != nil {
					return o.N
				}
				return 0
			}
		})
		if err == nil {
			tl.Finish(pl.M.Eng.Now())
			pl.M.Close()
		}
		return p.x.Name + " " + r.backend + " " + p.x.Cache + " " + r.name, err
	})
}
