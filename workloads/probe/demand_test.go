package probe

import (
	"testing"

	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// touch runs a probe over a window of which no page is there.
func touch(t *testing.T, v kernel.Version, cpus int, cfg Config) (*workloads.Result, *platform.Machine) {
	t.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range [][2]string{{"pcie.device_tlb.entries", "1024"}, {"pcie.device_tlb.ways", "4"}} {
		if err := s.Set(kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	m, err := platform.Build(s, platform.Options{Version: v, Backend: platform.IommuStrict, CPUs: cpus, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	dev, err := m.AddDevice("0000:01:00.0", 0x0100)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(m, dev, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r, m
}

func onDemand() Config {
	return Config{Access: Write, Size: 64, Window: 1 << 20, Sequential: true, Outstanding: 1, Operations: 256 * 64, Demand: true, PageRequests: 32, QueueOrder: 4, Seed: 1}
}

// A device that touches every page once, one access at a time, asks once for each page, and each gets the kernel's answer: nothing is lost,
// nothing asked for twice, and the second access to a page finds it.
func TestEveryPageIsAskedForOnce(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, cpus := range []int{1, 3} {
			r, m := touch(t, v, cpus, onDemand())
			p := r.Pages
			if r.IOs != 256*64 || p.Requests != 256 || p.Accesses != 256 || p.Again != 0 || p.Queued != 256 || p.Groups != 256 || p.Made != 256 || p.Dropped+p.Auto != 0 {
				t.Errorf("%v, %d CPUs: %d accesses, %+v", v, cpus, r.IOs, *p)
			}
			if st := m.Unit.Statistics(); st.PageAnswers != 256 || st.Faults != 0 {
				t.Errorf("%v: %d answers, %d faults", v, st.PageAnswers, st.Faults)
			}
			// A fault crosses the link twice, interrupts, runs two threads and waits for a descriptor: microseconds, and never less than the
			// messages and the register reads alone.
			if p.Latency.Quantile(0.01) < 1500 || p.Latency.Mean() > 20_000 {
				t.Errorf("%v: a fault takes %.0f ns, the fastest %d", v, p.Latency.Mean(), p.Latency.Quantile(0.01))
			}
			if hit := r.Latency.Quantile(0.5); float64(hit) > p.Latency.Mean()/2 {
				t.Errorf("%v: an access to a page that is there takes %d ns, a fault %.0f", v, hit, p.Latency.Mean())
			}
		}
	}
}

// Whatever the number of accesses and of page requests under way, and however small the kernel's queue: every access ends, every page of the
// window that was touched is there, every message is either queued or dropped and has one answer, and every one that was dropped is
// asked for again.
func TestNoPageRequestIsLost(t *testing.T) {
	overflow := uint64(0)
	for _, c := range []struct{ outstanding, requests, order, cpus int }{{1, 1, 0, 1}, {64, 1, 0, 2}, {64, 32, 0, 4}, {512, 512, 0, 1}, {512, 512, 0, 4}, {512, 512, 4, 4}} {
		cfg := onDemand()
		cfg.Outstanding, cfg.PageRequests, cfg.QueueOrder = c.outstanding, c.requests, c.order
		cfg.Window, cfg.Size, cfg.Sequential, cfg.Operations = 2<<20, 4096, true, 512
		r, m := touch(t, kernel.V7_3, c.cpus, cfg)
		p, st := r.Pages, m.Unit.Statistics()
		if r.IOs != cfg.Operations || p.Made != 512 {
			t.Errorf("%+v: %d accesses ended, %d pages are there", c, r.IOs, p.Made)
		}
		if uint64(p.Requests) != p.Queued+p.Dropped || st.PageAsked != uint64(p.Requests) || st.PageAnswers != uint64(p.Requests) || p.Groups != p.Queued || p.Auto != p.Dropped {
			t.Errorf("%+v: %d messages, %+v, %d answers", c, st.PageAsked, *p, st.PageAnswers)
		}
		if uint64(p.Again) < p.Dropped || (c.order == 4 || c.requests < 128) && p.Dropped > 0 {
			t.Errorf("%+v: %d dropped, %d asked for again", c, p.Dropped, p.Again)
		}
		overflow += p.Dropped
	}
	if overflow == 0 {
		t.Error("no queue of 128 entries overflows with 512 requests at once: nothing was tested")
	}
}

// More requests at once hide the latency, and a second CPU shares the work; one worker bounds the rate of one CPU.
func TestFaultsOverlap(t *testing.T) {
	rate := func(requests, cpus int) float64 {
		cfg := onDemand()
		cfg.Outstanding, cfg.PageRequests, cfg.Size, cfg.Window, cfg.Operations = 64, requests, 4096, 4<<20, 1024
		r, _ := touch(t, kernel.V7_3, cpus, cfg)
		return float64(r.IOs) / (float64(r.Elapsed) / float64(sim.Millisecond))
	}
	one, many, more := rate(1, 1), rate(32, 1), rate(32, 4)
	if many < 1.3*one || more < 1.3*many {
		t.Errorf("%.0f faults/ms one at a time, %.0f with 32, %.0f with 4 CPUs", one, many, more)
	}
}

// What cannot fault says why.
func TestWhoCannotFault(t *testing.T) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []platform.Backend{platform.Direct, platform.IommuStrict, platform.IommuPassthrough, platform.ViommuStrict} {
		m, err := platform.Build(s, platform.Options{Version: kernel.V7_3, Backend: b, CPUs: 1})
		if err != nil {
			t.Fatal(err)
		}
		d, err := m.AddDevice("0000:01:00.0", 0x0100)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Run(m, d, onDemand()); err == nil {
			t.Errorf("%s: a device without a TLB asks for pages", b)
		}
		m.Close()
	}
}
