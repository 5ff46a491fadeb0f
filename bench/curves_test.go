package bench

import (
	"math"
	"slices"
	"testing"

	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads"
)

// The mean of a curve over a run is what the totals say: the busy time of the walkers, the time that commands lie in the queue, the
// drive's commands by Little's law.
func TestCurvesAgreeWithTotals(t *testing.T) {
	for _, name := range []string{"icelake-sp", "genoa", "kunpeng-920"} {
		t.Run(name, func(t *testing.T) {
			s := load(t, name)
			x := timelineExperiment("nvme", "map_phys@7.3", "iommu-strict", 256)
			if err := x.Validate(s); err != nil {
				t.Fatal(err)
			}
			var busy, began, ended sim.Time
			o, err := x.Inspect(s, x.Points()[0], func(m *platform.Machine, d *platform.Device) (func(*workloads.Result) error, error) {
				began = m.Eng.Now()
				return func(*workloads.Result) error { busy, ended = m.Unit.WalkerBusy(), m.Eng.Now(); return nil }, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			area := map[string]float64{}
			for _, c := range o.curves {
				if c.start != 0 || len(c.means) < 32 || len(c.means) > 128 {
					t.Errorf("%s: %d bins from %v", c.metric, len(c.means), c.start)
				}
				for i, v := range c.means {
					area[c.metric] += v * float64(min(c.step, ended-began-sim.Time(i)*c.step))
				}
			}
			if got := area["walkers_busy"]; busy == 0 || math.Abs(got-float64(busy)) > 1e-6*float64(busy) {
				t.Errorf("walkers are busy for %v ps by the curve, %v by the count", got, float64(busy))
			}
			if got := area["invalidation_queue"]; math.Abs(got-float64(o.IOMMU.QueueTime)) > 1e-6*got {
				t.Errorf("commands are in the queue for %v ps by the curve, %v by the count", got, float64(o.IOMMU.QueueTime))
			}
			if area["iotlb_occupancy"] <= 0 || area["nvme_outstanding"] <= 0 || area["pcie_reads_in_flight"] <= 0 {
				t.Errorf("missing: %v", area)
			}
			// Between doorbell and completion a command takes its media latency and up to 2 us for transfers, and less than between issue
			// and the driver's seeing it complete.
			media, err := platform.ParseTime(x.NVMe.MediaLatency)
			if err != nil {
				t.Fatal(err)
			}
			flight, least := o.Flight.Mean(ended)*float64(ended-began), float64(o.IOs)*float64(media)
			if got := area["nvme_outstanding"]; got > flight || got < 0.95*least || got > 1.05*least+float64(o.IOs)*float64(2*sim.Microsecond) {
				t.Errorf("%d commands are outstanding for %v ps at the drive, for %v at the driver; the media takes %v", o.IOs, got, flight, least)
			}
		})
	}
}

// compare has them in its record, within the bound of a series.
func TestCurvesAreInTheRecord(t *testing.T) {
	s := load(t, "icelake-sp")
	x := timelineExperiment("nic", "map_phys@7.3", "iommu-lazy", 128)
	c, err := ComparePoints(t.Context(), s, x, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range c.Record().Series {
		names = append(names, s.Name())
		if len(s.Values) == 0 || len(s.Values) > results.MaxPoints || !slices.Contains(s.Dims, results.Dim{Key: "workload", Value: "nic"}) {
			t.Errorf("%+v", s)
		}
	}
	for _, want := range []string{"iotlb_occupancy_entries", "walkers_busy", "pcie_reads_in_flight", "nic_rx_buffers"} {
		if !slices.Contains(names, want) {
			t.Errorf("no series %s in %v", want, names)
		}
	}
}
