package workloads

import "dmapath/sim"

// Depth is how much a device has to do, over simulated time: commands of a drive, buffers of a ring.
type Depth struct {
	Metric, Unit string // nvme_outstanding, commands

	Curve *sim.Curve
	eng   *sim.Engine
	now   int64
	shown struct {
		tl    *sim.Timeline
		track sim.TrackID
	}
}

// NewDepth returns a depth of 0 from now on.
func NewDepth(eng *sim.Engine, metric, unit string) *Depth {
	return &Depth{Metric: metric, Unit: unit, Curve: sim.NewCurve(eng.Now(), 128), eng: eng}
}

// Add changes the depth by n now.
func (d *Depth) Add(n int64) {
	d.Curve.Add(d.eng.Now(), n)
	if tl := d.eng.Timeline; tl.On() {
		if d.shown.tl != tl {
			d.shown.tl, d.shown.track = tl, tl.Counter(d.Metric, d.Unit, d.now)
		}
		tl.Change(d.shown.track, d.eng.Now(), n)
	}
	d.now += n
}
