package replay

import (
	"context"
	"errors"
	"io"

	"dmapath/kernel"
	"dmapath/sim"
	"dmapath/workloads/ftrace"
)

// Extent is what a machine must have to replay a trace.
type Extent struct {
	Events  int64
	CPUs    int    // highest CPU seen, plus 1
	CPULine int    // line of its first event
	Online  int    // CPUs that the traced machine had, by the trace's heading; 0: it does not say
	PhysTop uint64 // end of the highest buffer that is not MMIO
	// Version is the kernel that the dma: events come from, by their names; valid when Known.
	Version kernel.Version
	Known   bool
	// Translated: the trace has iommu: events.
	Translated bool
	// First and Last are the earliest and the latest time.
	First, Last sim.Time
	// LongestGap is the longest time between two events.
	LongestGap sim.Time
	// Dma and Iommu count the events of the two groups.
	Dma, Iommu int64
}

// Span is how long the trace lasts.
func (x *Extent) Span() sim.Time { return x.Last - x.First }

// Scan reads up to limit events (0: all) of a trace and returns its extent.
func Scan(ctx context.Context, r *ftrace.Reader, limit int64) (Extent, error) {
	var x Extent
	for limit == 0 || x.Events < limit {
		if x.Events&0xfff == 0 && ctx.Err() != nil {
			return x, ctx.Err()
		}
		ev, err := r.Next()
		var se *ftrace.SyntaxError
		switch {
		case err == io.EOF:
			x.Online = r.CPUs
			return x, nil
		case errors.As(err, &se):
			continue
		case err != nil:
			return x, CutError{x.Events, r.Lines(), err}
		}
		x.add(ev)
	}
	x.Online = r.CPUs
	return x, nil
}

func (x *Extent) add(ev *ftrace.Event) {
	if x.Events++; x.Events == 1 {
		x.First = ev.Time
	}
	if x.Events > 1 {
		x.LongestGap = max(x.LongestGap, ev.Time-x.Last)
	}
	x.First, x.Last = min(x.First, ev.Time), max(x.Last, ev.Time)
	if ev.Kind == ftrace.IommuMap || ev.Kind == ftrace.IommuUnmap {
		x.Iommu++
	} else {
		x.Dma++
	}
	if ev.CPU >= x.CPUs {
		x.CPUs, x.CPULine = ev.CPU+1, ev.Line
	}
	switch ev.Kind {
	case ftrace.MapPage, ftrace.UnmapPage:
		x.Known, x.Version = true, kernel.V6_12
	case ftrace.MapPhys, ftrace.UnmapPhys:
		x.Known, x.Version = true, kernel.V7_3
	case ftrace.IommuMap, ftrace.IommuUnmap:
		x.Translated = true
	}
	if ev.Kind == ftrace.MapResource || ev.Attrs&kernel.AttrMMIO != 0 {
		return
	}
	if ev.Kind == ftrace.IommuMap || ev.Kind.IsMap() {
		if ev.Size < 1<<40 { // a size that no buffer has is a damaged line
			x.PhysTop = max(x.PhysTop, ev.Phys+ev.Size)
		}
	}
	for _, p := range ev.SGPhys {
		x.PhysTop = max(x.PhysTop, p+4096)
	}
}
