package iova

import "dmapath/sim"

type predictorQueue struct{}

func newPredictorQueue(cpus int) *predictorQueue { return &predictorQueue{} }

func (q *predictorQueue) add(p *Predictor, at sim.Time, c int, pfn, pages uint64) { p.put(at, c, pfn, pages) }
func (q *predictorQueue) advance(p *Predictor, at sim.Time)                       {}
func (q *predictorQueue) forget(pfn uint64)                                       {}
