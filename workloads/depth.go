package workloads

import "dmapath/sim"

// Depth is how much a device has to do, over simulated time: commands of a drive, buffers of a ring. It is part of a Result, and holds nothing
// of the machine.
type Depth struct {
	Metric, Unit string // nvme_outstanding, commands

	Curve *sim.Curve
	now   int64
	shown struct {
		tl    *sim.Timeline
		track sim.TrackID
	}
}

// NewDepth returns a depth of 0 from start on.
func NewDepth(start sim.Time, metric, unit string) *Depth {
	return &Depth{Metric: metric, Unit: unit, Curve: sim.NewCurve(start, 128)}
}

// Add changes the depth by n now.
func (d *Depth) Add(eng *sim.Engine, n int64) {
	d.Curve.Add(eng.Now(), n)
	if tl := eng.Timeline; tl.On() {
		if d.shown.tl != tl {
			d.shown.tl, d.shown.track = tl, tl.Counter(d.Metric, d.Unit, d.now)
		}
		tl.Change(d.shown.track, eng.Now(), n)
	}
	d.now += n
}
