package iommu

import "dmapath/sim"

// Curves are quantities of a unit over simulated time.
type Curves struct {
	IOTLB   *sim.Curve // live translations in the IOTLB, those of walks under way from their end on
	Walkers *sim.Curve // busy walkers, those that read device entries included
	Queue   *sim.Curve // commands between head and tail
}

// curveBins is how many bins a curve has.
const curveBins = 128

func newCurves(now sim.Time) Curves {
	return Curves{sim.NewCurve(now, curveBins), sim.NewCurve(now, curveBins), sim.NewCurve(now, curveBins)}
}

func (c *Curves) restart(now sim.Time) {
	c.IOTLB.Restart(now)
	c.Walkers.Restart(now)
	c.Queue.Restart(now)
}

// Curves returns quantities over time since the last ResetStats.
func (c *Core) Curves() *Curves { return &c.curves }

// holds notes how many translations the IOTLB holds from at on.
func (c *Core) holds(at sim.Time) {
	n := c.iotlb.Live()
	if n == c.shown.live {
		return
	}
	d := int64(n - c.shown.live)
	c.curves.IOTLB.Add(at, d)
	if tl := c.Eng.Timeline; tl.On() {
		c.showOn(tl)
		tl.Change(c.shown.iotlb, at, d)
	}
	c.shown.live = n
}

// deeper notes that n more commands are in the queue, fewer when it is negative.
func (q *Queue) deeper(n int64) {
	if n == 0 {
		return
	}
	now := q.c.Eng.Now()
	q.c.curves.Queue.Add(now, n)
	if tl := q.c.Eng.Timeline; tl.On() {
		q.c.showOn(tl)
		tl.Change(q.c.shown.depth, now, n)
	}
	q.c.shown.queued += int(n)
}
