package bench

import (
	"context"
	"strings"
	"testing"

	"dmapath/platform"
)

// drivers is the smallest comparison of the two drivers.
func drivers(t *testing.T, set ...string) (*platform.Spec, Experiment) {
	t.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	x := Default()
	x.Workloads, x.Variants, x.Caches, x.Operations = []string{"nvme"}, []string{"driver@6.12", "driver@7.3"}, []string{"hot"}, 96
	for _, kv := range set {
		k, v, _ := strings.Cut(kv, "=")
		if err := x.Set(k, v); err != nil {
			t.Fatal(err)
		}
	}
	return s, x
}

func compare(t *testing.T, s *platform.Spec, x Experiment) *Comparison {
	t.Helper()
	c, err := Compare(context.Background(), s, x, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A 4 KiB I/O of either driver makes the recorded calls (nvme_calls.csv): one map and one unmap of a page, with the recorded
// instructions within 10 %.
func TestDriverMakesTheRecordedCalls(t *testing.T) {
	recorded := map[string][2]float64{ // backend and variant: instructions of map and unmap, median of the recorded reads
		"direct driver@6.12": {74, 57}, "direct driver@7.3": {157, 66},
		"iommu-strict driver@6.12": {770, 1635}, "iommu-strict driver@7.3": {758, 1602},
		"iommu-lazy driver@6.12": {770, 1092}, "iommu-lazy driver@7.3": {758, 1107},
	}
	s, x := drivers(t, "operations=1500") // lazily unmapped addresses come back when the first queue is full: after 255
	for _, o := range compare(t, s, x).Outcomes {
		want := recorded[o.Backend+" "+o.Variant]
		for i, call := range []string{"map", "unmap"} {
			p := o.find(call)
			tot := p.Acct.Total()
			got := float64(tot.Instructions()) / float64(p.N)
			// Of what waits for the hardware the recording has one check that succeeds; its polls are not in the comparison.
			slack := 0.10
			if o.Backend == "iommu-strict" && call == "unmap" {
				if got < want[i]*0.9 {
					t.Errorf("%v: %.0f instructions per %s, recorded without failed polls %.0f", o.Point, got, call, want[i])
				}
				continue
			}
			if got < want[i]*(1-slack) || got > want[i]*(1+slack) {
				t.Errorf("%v: %.0f instructions per %s, recorded %.0f", o.Point, got, call, want[i])
			}
		}
		u := o.Units[0]
		if e := u.Calls.SecondHalf(); e.Mean != 2 || o.Requests != 1500 {
			t.Errorf("%v: %.1f calls per I/O in %d requests", o.Point, e.Mean, o.Requests)
		}
	}
}

// The two things that an I/O of many segments costs differently: 7.3 does not unmap with dma-direct, and invalidates for every
// request in lazy mode, where 6.12 queues.
func TestDriversDifferWhereTheKernelsDo(t *testing.T) {
	s, x := drivers(t, "size=64KiB")
	c := compare(t, s, x)
	cell := func(backend string, i int) *Outcome { return c.row("nvme", backend, "hot")[i] }
	if old, now := cell("direct", 0), cell("direct", 1); now.Unmap.Total != 0 || old.Unmap.Total == 0 {
		t.Errorf("dma-direct: %d cycles of unmapping on 6.12, %d on 7.3; want some and none", old.Unmap.Total, now.Unmap.Total)
	}
	lazy, strict := cell("iommu-lazy", 1).Units[0].Cycles.SecondHalf().Mean, cell("iommu-strict", 1).Units[0].Cycles.SecondHalf().Mean
	if lazy < strict*0.9 {
		t.Errorf("7.3: %.0f cycles per I/O lazy, %.0f strict: want no saving", lazy, strict)
	}
	lazy, strict = cell("iommu-lazy", 0).Units[0].Cycles.SecondHalf().Mean, cell("iommu-strict", 0).Units[0].Cycles.SecondHalf().Mean
	if lazy > strict*0.9 {
		t.Errorf("6.12: %.0f cycles per I/O lazy, %.0f strict: want a saving", lazy, strict)
	}
	tables := 0
	for _, tab := range c.Record().Tables {
		if strings.Contains(tab.Title, "mapping cost per I/O") {
			tables++
			if !strings.Contains(strings.Join(tab.Notes, " "), "Across kernels") {
				t.Errorf("%s does not say that it crosses kernels", tab.Title)
			}
		}
	}
	if tables != 3 {
		t.Errorf("%d tables of the mapping cost per I/O, want one for each backend", tables)
	}
}

// What a whole driver cannot be asked for is said.
func TestDriverProblems(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"workloads=map-benchmark", "map-benchmark has no driver"},
		{"nvme.segments=round", "nvme.segments \"round\""},
		{"size=2MiB", "up to 1MiB"},
		{"variants=driver@6.12,map_phys@7.3", ""},
		{"nvme.target=gpu", "nvme.target \"gpu\""},
		{"variants=driver@6.13", "did you mean driver@6.12?"},
	} {
		s, x := drivers(t, c.set)
		err := x.Validate(s)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.set, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.set, err, c.want)
		}
	}
}

// Only whole drivers move data to a second device.
func TestTargetNeedsADriver(t *testing.T) {
	s, x := drivers(t, "nvme.target=p2p-pages", "variants=driver@6.12,map_phys@7.3")
	if err := x.Validate(s); err == nil || !strings.Contains(err.Error(), "map_phys@7.3 maps memory") {
		t.Errorf("%v", err)
	}
}

// Below a common switch 7.3 makes no call; through the host bridge both kernels map.
func TestPeerToPeerInTables(t *testing.T) {
	for _, route := range Routes {
		s, x := drivers(t, "nvme.target=p2p-pages", "nvme.route="+route, "size=64KiB", "backends=iommu-strict")
		c := compare(t, s, x)
		for _, o := range c.Outcomes {
			calls := o.Units[0].Calls.SecondHalf().Mean
			if none := route == "switch" && o.Variant == "driver@7.3"; none != (calls == 0) || o.Faults != 0 {
				t.Errorf("%v by %s: %.1f calls for an I/O, %d faults", o.Point, route, calls, o.Faults)
			}
		}
		if out := c.Record().Tables[0]; len(out.Rows) != 3 {
			t.Errorf("%s: %d rows", out.Title, len(out.Rows))
		}
	}
}

// A super-frame of 7.3 is one range of I/O addresses and two invalidations, on 6.12 it is 18 of each: the largest difference there is
// between the drivers of the two kernels. A page pool calls nothing for a frame received.
func TestNICDriversInTables(t *testing.T) {
	s, x := drivers(t, "workloads=nic", "nic.driver=gso", "nic.sizes=66", "nic.tx_percent=10", "operations=600", "backends=iommu-strict")
	c := compare(t, s, x)
	sent := func(i int) float64 { return c.Outcomes[i].Units[1].Cycles.SecondHalf().Mean }
	if old, now := sent(0), sent(1); now > old/2 {
		t.Errorf("a super-frame: %.0f cycles on 6.12, %.0f on 7.3; want less than half", old, now)
	}
	var titles []string
	for _, tab := range c.Record().Tables {
		titles = append(titles, tab.Title)
	}
	all := strings.Join(titles, "\n")
	for _, want := range []string{"nic (gso)", "per packet received", "per super-frame sent"} {
		if !strings.Contains(all, want) {
			t.Errorf("no table %q among\n%s", want, all)
		}
	}
}
