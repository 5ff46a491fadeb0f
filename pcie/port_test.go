package pcie

import (
	"errors"
	"math"
	"strings"
	"testing"

	"dmapath/cache"
	"dmapath/sim"
)

// flat is memory of constant latency; it remembers what it was asked.
type flat struct {
	read, write sim.Time
	reads       [][2]uint64 // address, bytes
	writes      [][2]uint64
	quiet       bool
}

func (m *flat) DeviceRead(pa uint64, n int, now sim.Time) (sim.Time, cache.Level) {
	if !m.quiet {
		m.reads = append(m.reads, [2]uint64{pa, uint64(n)})
	}
	return now + m.read, cache.LLC
}

func (m *flat) DeviceWrite(pa uint64, n int, now sim.Time) sim.Time {
	if !m.quiet {
		m.writes = append(m.writes, [2]uint64{pa, uint64(n)})
	}
	return now + m.write
}

// rules translates by adding an offset after a delay; pages in refused fault, pages in slow take longer.
type rules struct {
	offset uint64
	delay  sim.Time
	slow   map[uint64]sim.Time
	refuse map[uint64]bool
}

var errRefused = errors.New("not mapped")

func (r *rules) Translate(rid uint16, iova uint64, write bool, now sim.Time) (uint64, sim.Time, error) {
	t := now + r.delay + r.slow[iova>>12]
	if r.refuse[iova>>12] {
		return 0, t, errRefused
	}
	return iova + r.offset, t, nil
}

func newPort(t testing.TB, c Config, tr Translator, m Memory) *Port {
	t.Helper()
	p, err := NewPort(c, tr, m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// unlimited is a link whose only limits are its rate and its packets' overhead.
func unlimited(gen, lanes, mps, mrrs int) Config {
	c := DefaultConfig()
	c.Gen, c.Lanes, c.MPS, c.MRRS, c.Tags = gen, lanes, mps, mrrs, 1024
	c.Root, c.Device = Credits{}, Credits{}
	return c
}

const above4G = 1 << 33

// The published pcie-model gives the bandwidth left for TLPs as raw x (1 - 8/ack - 8/fc - 4/1538) and the goodput as payload over
// payload plus headers. Its table of limits is typed in here; AckLimit computes it.
func publishedTLP(gen, lanes, limit int) float64 {
	rate := []float64{1: 2.5 * 0.8, 2: 5 * 0.8, 3: 8 * 128. / 130, 4: 16 * 128. / 130, 5: 32 * 128. / 130}[gen]
	return rate * float64(lanes) * (1 - 8/float64(limit) - 8/float64(limit) - 4./1538)
}

func TestAckLimitIsTheSpecificationTable(t *testing.T) {
	for _, c := range []struct{ gen, lanes, mps, limit int }{
		{1, 1, 128, 237}, {1, 1, 256, 416}, {1, 4, 256, 118}, {1, 8, 128, 67}, {1, 8, 512, 86}, {1, 16, 256, 72},
		{2, 1, 128, 288}, {2, 8, 512, 137}, {2, 16, 4096, 585}, {2, 2, 256, 268},
		{3, 1, 128, 333}, {3, 2, 128, 224}, {3, 4, 128, 169}, {3, 8, 128, 163}, {3, 16, 128, 144},
		{3, 8, 256, 203}, {3, 16, 256, 168}, {3, 4, 512, 250}, {3, 8, 512, 182}, {3, 16, 512, 182}, {3, 8, 4096, 630},
		{4, 4, 256, 214}, {4, 16, 1024, 246}, {5, 8, 2048, 374}, {5, 16, 256, 168},
	} {
		if got := AckLimit(c.gen, c.lanes, c.mps); got != c.limit {
			t.Errorf("gen %d x%d mps %d: limit %d symbol times, specification %d", c.gen, c.lanes, c.mps, got, c.limit)
		}
	}
}

func TestWriteGoodputIsThePublishedFormula(t *testing.T) {
	for _, c := range []struct{ gen, lanes, mps, limit, size int }{
		{3, 8, 256, 203, 64}, {3, 8, 256, 203, 128}, {3, 8, 256, 203, 256}, {3, 8, 256, 203, 512}, {3, 8, 256, 203, 1024}, {3, 8, 256, 203, 4096},
		{3, 8, 256, 203, 300}, {1, 1, 128, 237, 256}, {2, 4, 128, 124, 128}, {4, 16, 512, 182, 1024}, {5, 4, 256, 214, 4096}, {5, 16, 512, 182, 64},
	} {
		p := newPort(t, unlimited(c.gen, c.lanes, c.mps, 512), nil, &flat{quiet: true})
		const ops = 2000
		var end sim.Time
		for i := range uint64(ops) {
			done, err := p.Write(0x100, above4G+i*4096, c.size, 0)
			if err != nil {
				t.Fatal(err)
			}
			end = done - p.cfg.LinkLatency - p.cfg.RootUp
		}
		got := float64(ops*c.size*8) / (end - p.cfg.EndpointLatency).Nanoseconds()
		tlps := (c.size + c.mps - 1) / c.mps
		want := publishedTLP(c.gen, c.lanes, c.limit) * float64(c.size) / float64(c.size+24*tlps)
		if math.Abs(got-want)/want > 0.001 {
			t.Errorf("gen %d x%d mps %d, writes of %d B: %.3f Gb/s, formula %.3f", c.gen, c.lanes, c.mps, c.size, got, want)
		}
	}
}

func TestReadGoodputIsThePublishedFormula(t *testing.T) {
	for _, c := range []struct{ gen, lanes, mps, completion, limit, size int }{
		{3, 8, 256, 256, 203, 256}, {3, 8, 256, 256, 203, 512}, {3, 8, 256, 256, 203, 4096}, {3, 8, 256, 64, 203, 512}, {3, 8, 256, 64, 203, 64},
		{4, 4, 256, 256, 214, 4096}, {5, 16, 512, 512, 182, 2048}, {1, 4, 128, 128, 73, 1024},
	} {
		cfg := unlimited(c.gen, c.lanes, c.mps, 512)
		cfg.CompletionSize = c.completion
		p := newPort(t, cfg, nil, &flat{quiet: true})
		const ops = 2000
		var first, last sim.Time
		for i := range uint64(ops) {
			done, err := p.Read(0x100, above4G+i*4096, c.size, 0)
			if err != nil {
				t.Fatal(err)
			}
			if i == ops/4-1 {
				first = done
			}
			last = done
		}
		got := float64(ops*3/4*c.size*8) / (last - first).Nanoseconds()
		completions := (c.size + c.completion - 1) / c.completion
		want := publishedTLP(c.gen, c.lanes, c.limit) * float64(c.size) / float64(c.size+20*completions)
		if math.Abs(got-want)/want > 0.001 {
			t.Errorf("gen %d x%d mps %d, reads of %d B in %d B completions: %.3f Gb/s, formula %.3f", c.gen, c.lanes, c.mps, c.size, c.completion, got, want)
		}
	}
}

func TestWorkedExampleOfThePackageComment(t *testing.T) {
	c := unlimited(3, 8, 256, 512)
	p := newPort(t, c, nil, &flat{})
	packet := p.Up.Time(256 + 24)
	if ns := packet.Nanoseconds(); math.Abs(ns-38.7) > 0.05 {
		t.Errorf("packet takes %.2f ns", ns)
	}
	if rate := 256 * 8 / packet.Nanoseconds(); math.Abs(rate-52.9) > 0.05 {
		t.Errorf("write rate %.2f Gb/s", rate)
	}
	if r := c.TLPGbps(); math.Abs(r-57.9) > 0.05 {
		t.Errorf("TLP rate %.2f Gb/s", r)
	}
}

// Unloaded latencies are sums, exact to the picosecond.
func TestUnloadedLatencies(t *testing.T) {
	c := DefaultConfig()
	c.EndpointLatency, c.LinkLatency, c.RootUp, c.RootDown, c.HostLatency, c.RegisterRead, c.Interrupt = 1000, 20000, 300000, 4000000, 50000000, 600000000, 700000000
	m := &flat{read: 11, write: 13}
	tr := &rules{delay: 17}
	up := func(p *Port, n int) sim.Time { return c.EndpointLatency + p.Up.Time(n) + c.LinkLatency + c.RootUp }
	const now = 1_000_000
	for _, x := range []struct {
		name string
		do   func(p *Port) sim.Time
		want func(p *Port) sim.Time
	}{
		{"write of 64 B above 4 GiB", func(p *Port) sim.Time { d, _ := p.Write(1, above4G, 64, now); return d },
			func(p *Port) sim.Time { return up(p, 24+64) + 17 + 13 }},
		{"write of 64 B below 4 GiB has a shorter header", func(p *Port) sim.Time { d, _ := p.Write(1, 4096, 64, now); return d },
			func(p *Port) sim.Time { return up(p, 20+64) + 17 + 13 }},
		{"write of 3 B that straddle doublewords carries 8 B", func(p *Port) sim.Time { d, _ := p.Write(1, 4096+2, 3, now); return d },
			func(p *Port) sim.Time { return up(p, 20+8) + 17 + 13 }},
		{"write of 512 B is two packets", func(p *Port) sim.Time { d, _ := p.Write(1, above4G, 512, now); return d },
			func(p *Port) sim.Time { return up(p, 24+256) + p.Up.Time(24+256) + 17 + 13 }},
		{"read of 64 B", func(p *Port) sim.Time { d, _ := p.Read(1, above4G, 64, now); return d },
			func(p *Port) sim.Time {
				return up(p, 24) + 17 + 11 + c.RootDown + p.Down.Time(20+64) + c.LinkLatency + c.EndpointLatency
			}},
		{"read of 512 B: one request, two completions", func(p *Port) sim.Time { d, _ := p.Read(1, above4G, 512, now); return d },
			func(p *Port) sim.Time {
				return up(p, 24) + 17 + 11 + c.RootDown + 2*p.Down.Time(20+256) + c.LinkLatency + c.EndpointLatency
			}},
		{"interrupt", func(p *Port) sim.Time { return p.MSIX(now) },
			func(p *Port) sim.Time { return up(p, 20+4) + c.Interrupt }},
		{"doorbell", func(p *Port) sim.Time { return p.CPUWrite(now) },
			func(p *Port) sim.Time { return c.HostLatency + p.Down.Time(24+4) + c.LinkLatency + c.EndpointLatency }},
		{"register read", func(p *Port) sim.Time { return p.CPURead(now) },
			func(p *Port) sim.Time {
				return c.HostLatency + p.Down.Time(24) + c.LinkLatency + c.EndpointLatency + c.RegisterRead +
					c.EndpointLatency + p.Up.Time(20+4) + c.LinkLatency + c.RootUp + c.HostLatency
			}},
	} {
		p := newPort(t, c, tr, m)
		if got, want := x.do(p)-now, x.want(p); got != want {
			t.Errorf("%s: %v, want %v", x.name, got, want)
		}
	}
}

// The defaults reproduce the median of pcie-bench on Haswell: 413 ns for 64 B from the LLC, of which memory is about 70.
func TestDefaultReadLatencyIsTheMeasuredOne(t *testing.T) {
	p := newPort(t, DefaultConfig(), nil, &flat{read: 70 * sim.Nanosecond})
	d, _ := p.Read(1, above4G, 64, 0)
	if ns := d.Nanoseconds(); math.Abs(ns-413) > 15 {
		t.Errorf("64 B read takes %.1f ns, measured 413", ns)
	}
}

func TestSplits(t *testing.T) {
	type piece = [2]uint64
	for _, c := range []struct {
		name       string
		mps, mrrs  int
		completion int
		write      bool
		iova       uint64
		n          int
		want       []piece
		requests   uint64
	}{
		{"a write within MPS is one packet", 256, 512, 0, true, 0x1000, 256, []piece{{0x1000, 256}}, 1},
		{"a write is cut by MPS", 128, 512, 0, true, 0x1000, 300, []piece{{0x1000, 128}, {0x1080, 128}, {0x1100, 44}}, 3},
		{"a write does not cross 4 KiB", 256, 512, 0, true, 0x1fc0, 128, []piece{{0x1fc0, 64}, {0x2000, 64}}, 2},
		{"a read is cut by MRRS", 256, 512, 0, false, 0x1000, 1024, []piece{{0x1000, 256}, {0x1100, 256}, {0x1200, 256}, {0x1300, 256}}, 2},
		{"a read does not cross 4 KiB", 256, 512, 0, false, 0x1f00, 512, []piece{{0x1f00, 256}, {0x2000, 256}}, 2},
		{"the first completion ends at a completion boundary", 256, 512, 0, false, 0x10c8, 256, []piece{{0x10c8, 56}, {0x1100, 200}}, 1},
		{"completions by line", 256, 512, 64, false, 0x1020, 128, []piece{{0x1020, 32}, {0x1040, 64}, {0x1080, 32}}, 1},
		{"one byte", 256, 512, 0, false, 0x1fff, 1, []piece{{0x1fff, 1}}, 1},
	} {
		cfg := unlimited(3, 8, c.mps, c.mrrs)
		cfg.CompletionSize = c.completion
		m := &flat{}
		p := newPort(t, cfg, nil, m)
		got, requests := &m.reads, &p.st.ReadRequests
		op := p.Read
		if c.write {
			got, requests, op = &m.writes, &p.st.WriteRequests, p.Write
		}
		if _, err := op(1, c.iova, c.n, 0); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if len(*got) != len(c.want) || *requests != c.requests {
			t.Errorf("%s: %x in %d requests, want %x in %d", c.name, *got, *requests, c.want, c.requests)
			continue
		}
		for i := range c.want {
			if (*got)[i] != c.want[i] {
				t.Errorf("%s: piece %d is %x, want %x", c.name, i, (*got)[i], c.want[i])
			}
		}
	}
}

// With t tags a device reads t requests per round trip.
func TestTagsLimitBandwidthByLittlesLaw(t *testing.T) {
	for _, tags := range []int{1, 2, 8, 32} {
		cfg := unlimited(5, 16, 512, 512)
		cfg.Tags = tags
		m := &flat{read: 800 * sim.Nanosecond, quiet: true}
		p := newPort(t, cfg, nil, m)
		rtt, _ := newPort(t, cfg, nil, m).Read(1, above4G, 512, 0)
		rtt -= cfg.EndpointLatency // a waiting request is past the engine already
		const n = 4000
		var last sim.Time
		for i := range uint64(n) {
			last, _ = p.Read(1, above4G+i*4096, 512, 0)
		}
		got := float64(n*512) / float64(last-cfg.EndpointLatency)
		want := float64(tags*512) / float64(rtt)
		if math.Abs(got-want)/want > 0.02 {
			t.Errorf("%d tags: %.4f B/ps, Little's law %.4f", tags, got, want)
		}
		if tags < 32 && p.Stats().TagTime == 0 {
			t.Errorf("%d tags: nobody waited for one", tags)
		}
	}
}

// With h posted header credits a device writes h packets per credit loop.
func TestPostedCreditsLimitBandwidth(t *testing.T) {
	for _, c := range []struct{ headers, data, inFlight int }{{4, 0, 4}, {0, 64, 4}, {8, 32, 2}, {3, 1000, 3}} {
		cfg := unlimited(5, 16, 256, 512)
		cfg.Root = Credits{PostedHeaders: c.headers, PostedData: c.data}
		m := &flat{write: 700 * sim.Nanosecond, quiet: true}
		p := newPort(t, cfg, nil, m)
		const n = 4000
		var last sim.Time
		for i := range uint64(n) {
			last, _ = p.Write(1, above4G+i*4096, 256, 0)
		}
		loop := p.Up.Time(280) + cfg.LinkLatency + cfg.RootUp + m.write + cfg.CreditReturn
		want := float64(c.inFlight*256) / float64(loop)
		if got := float64(n*256) / float64(last); math.Abs(got-want)/want > 0.02 {
			t.Errorf("%+v: %.4f B/ps, want %.4f", c, got, want)
		}
		if p.Stats().PostedCreditTime == 0 {
			t.Errorf("%+v: nobody waited", c)
		}
	}
}

func TestNonPostedCreditsAndCompletionBufferLimitReads(t *testing.T) {
	base := unlimited(5, 16, 256, 256)
	m := &flat{read: 500 * sim.Nanosecond, quiet: true}
	rate := func(cfg Config, tr Translator) float64 {
		p := newPort(t, cfg, tr, m)
		var last sim.Time
		const n = 2000
		for i := range uint64(n) {
			last, _ = p.Read(1, above4G+i*4096, 256, 0)
		}
		return float64(n*256) / float64(last)
	}
	// A request's credit comes back when it is translated and handed to memory.
	cfg := base
	cfg.Root.NonPostedHeaders = 2
	tr := &rules{delay: 300 * sim.Nanosecond}
	p := newPort(t, cfg, nil, m)
	loop := p.Up.Time(24) + cfg.LinkLatency + cfg.RootUp + tr.delay + cfg.CreditReturn
	if got, want := rate(cfg, tr), 2*256/float64(loop); math.Abs(got-want)/want > 0.02 {
		t.Errorf("2 non-posted credits: %.4f B/ps, want %.4f", got, want)
	}
	// Room for 3 answers is like 3 tags.
	cfg = base
	cfg.CompletionBuffer = 3 * 256
	tags := base
	tags.Tags = 3
	if got, want := rate(cfg, nil), rate(tags, nil); math.Abs(got-want)/want > 0.02 {
		t.Errorf("buffer for 3 requests: %.4f B/ps, 3 tags %.4f", got, want)
	}
}

// The link is an M/D/1 queue under Poisson arrivals of equal packets: mean wait = rho S / 2(1 - rho).
func TestLinkIsAnMD1Queue(t *testing.T) {
	for _, rho := range []float64{0.3, 0.6, 0.8} {
		p := newPort(t, unlimited(3, 8, 256, 512), nil, &flat{quiet: true})
		s := float64(p.Up.Time(256 + 24))
		rng := sim.NewRand(1, "md1")
		const n = 300_000
		at := 0.0
		for range n {
			at += rng.ExpFloat64() * s / rho
			if _, err := p.Write(1, above4G, 256, sim.Time(at)); err != nil {
				t.Fatal(err)
			}
		}
		got, want := float64(p.Up.Waited)/n, rho*s/(2*(1-rho))
		if math.Abs(got-want)/want > 0.04 {
			t.Errorf("load %.1f: mean wait %.0f ps, M/D/1 %.0f", rho, got, want)
		}
	}
}

func TestWritesBecomeVisibleInOrder(t *testing.T) {
	tr := &rules{slow: map[uint64]sim.Time{1: sim.Microsecond}}
	p := newPort(t, DefaultConfig(), tr, &flat{})
	first, _ := p.Write(1, 0x1000, 64, 0) // misses the IOTLB, say
	second, _ := p.Write(1, 0x2000, 64, 0)
	if second < first {
		t.Errorf("second write visible at %v, before the first at %v", second, first)
	}
	irq := p.MSIX(0)
	if want := first + p.cfg.Interrupt; irq != want {
		t.Errorf("interrupt arrives at %v, want %v: pushed by the writes", irq, want)
	}
	if read := p.CPURead(0); read < first {
		t.Errorf("register read returns at %v, before the write is visible at %v", read, first)
	}
	if back, _ := p.Read(1, 0x3000, 64, 0); back < first {
		t.Errorf("read of the device done at %v, passed a write visible at %v", back, first)
	}

	cfg := DefaultConfig()
	cfg.RelaxedOrdering = true
	p = newPort(t, cfg, tr, &flat{})
	first, _ = p.Write(1, 0x1000, 64, 0)
	if second, _ = p.Write(1, 0x2000, 64, 0); second >= first {
		t.Errorf("relaxed: second write at %v waits for the first at %v", second, first)
	}
	if irq := p.MSIX(0); irq < first {
		t.Errorf("relaxed: interrupt at %v passed a write visible at %v", irq, first)
	}
}

// A doorbell that is rung while the answers of an earlier read are still in memory is not held up by them.
func TestLinkTimeBetweenBookingsIsUsable(t *testing.T) {
	p := newPort(t, DefaultConfig(), nil, &flat{read: 10 * sim.Microsecond})
	idle := newPort(t, DefaultConfig(), nil, &flat{}).CPUWrite(100 * sim.Nanosecond)
	if _, err := p.Read(1, above4G, 4096, 0); err != nil {
		t.Fatal(err)
	}
	if got := p.CPUWrite(100 * sim.Nanosecond); got != idle {
		t.Errorf("doorbell arrives at %v, on an idle link at %v", got, idle)
	}
}

// A device model may book a write far ahead; what it sends before that time is not pushed by it.
func TestWritesBookedAheadHoldNothingUp(t *testing.T) {
	p := newPort(t, DefaultConfig(), nil, &flat{})
	idle := newPort(t, DefaultConfig(), nil, &flat{})
	if _, err := p.Write(1, 0x1000, 64, 80*sim.Microsecond); err != nil {
		t.Fatal(err)
	}
	w, _ := p.Write(1, 0x2000, 64, 0)
	r, _ := p.Read(1, 0x2000, 64, 0)
	irq, reg := p.MSIX(0), p.CPURead(0)
	w0, _ := idle.Write(1, 0x2000, 64, 0)
	r0, _ := idle.Read(1, 0x2000, 64, 0)
	if irq0, reg0 := idle.MSIX(0), idle.CPURead(0); w != w0 || r != r0 || irq != irq0 || reg != reg0 {
		t.Errorf("write, read, interrupt, register read at %v %v %v %v, without the booking %v %v %v %v", w, r, irq, reg, w0, r0, irq0, reg0)
	}
}

func TestRefusedTransactions(t *testing.T) {
	tr := &rules{refuse: map[uint64]bool{2: true}, delay: 5}
	m := &flat{}
	p := newPort(t, DefaultConfig(), tr, m)
	_, err := p.Write(0x1fb, 0x1f80, 512, 0)
	var ab *AbortError
	if !errors.As(err, &ab) || ab.Status != UnsupportedRequest || ab.IOVA != 0x2000 || !ab.Write || !errors.Is(err, errRefused) {
		t.Errorf("write into a page that is not mapped: %v", err)
	}
	if !strings.Contains(err.Error(), "01:1f.3 at 0x2000") {
		t.Errorf("error does not name device and address: %v", err)
	}
	if len(m.writes) != 1 || m.writes[0] != [2]uint64{0x1f80, 128} {
		t.Errorf("written before the abort: %x, want the first packet", m.writes)
	}
	done, err := p.Read(0x1fb, 0x2000, 64, 0)
	if !errors.As(err, &ab) || ab.Write || done == 0 {
		t.Errorf("read of a page that is not mapped: %v at %v", err, done)
	}
	if _, err = p.Read(1, 0x1000, 0, 0); !errors.As(err, &ab) || ab.Status != CompleterAbort {
		t.Errorf("read of 0 bytes: %v", err)
	}
	if _, err = newPort(t, DefaultConfig(), nil, m).Write(1, 1<<52, 64, 0); !errors.As(err, &ab) || ab.Status != UnsupportedRequest {
		t.Errorf("write beyond physical memory: %v", err)
	}
	if got := p.Stats().Aborts; got != 3 {
		t.Errorf("%d aborts counted, want 3", got)
	}
}

// Tightness: what the root complex accepted at t is drained when it is visible or read, and not before.
func TestDrained(t *testing.T) {
	p := newPort(t, DefaultConfig(), nil, &flat{read: 300 * sim.Nanosecond, write: 200 * sim.Nanosecond})
	visible, _ := p.Write(1, 0x1000, 64, 0)
	accepted := visible - 200*sim.Nanosecond
	if got := p.Drained(accepted - 1); got != 0 {
		t.Errorf("before the write was accepted: drained at %v", got)
	}
	if got := p.Drained(accepted); got != visible {
		t.Errorf("write accepted at %v: drained at %v, visible at %v", accepted, got, visible)
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	c := Config{Gen: 7, Lanes: 3, MPS: 100, MRRS: 8192, RCB: 32, Tags: 0, LinkLatency: -1}
	err := c.Validate()
	for _, field := range []string{"gen is 7", "lanes is 3", "mps is 100", "mrrs is 8192", "rcb is 32", "tags is 0", "link_latency"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%q not reported: %v", field, err)
		}
	}
	d := DefaultConfig()
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	if _, err := NewPort(d, nil, nil); err == nil {
		t.Error("a port without memory was made")
	}
}

func TestOperationsAllocateNothing(t *testing.T) {
	p := newPort(t, DefaultConfig(), &rules{}, &flat{quiet: true})
	now := sim.Time(0)
	if n := testing.AllocsPerRun(1000, func() {
		now += sim.Microsecond
		p.Read(1, 0x1000, 64, now)
		p.Write(1, 0x2000, 4096, now)
		p.MSIX(now)
		p.CPUWrite(now)
		p.CPURead(now)
	}); n != 0 {
		t.Errorf("%v allocations per I/O", n)
	}
}

func BenchmarkWrite4K(b *testing.B) {
	p := newPort(b, DefaultConfig(), &rules{}, &flat{quiet: true})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.Write(1, 0x2000, 4096, sim.Time(i)*sim.Microsecond)
	}
}

func BenchmarkRead64(b *testing.B) {
	p := newPort(b, DefaultConfig(), &rules{}, &flat{quiet: true})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.Read(1, 0x2000, 64, sim.Time(i)*100*sim.Nanosecond)
	}
}

// What a port has in use follows from what is under way, and is nothing when everything is over.
func TestInFlight(t *testing.T) {
	cfg := DefaultConfig()
	cfg.CompletionBuffer = 4096
	p := newPort(t, cfg, nil, &flat{read: 300 * sim.Nanosecond, write: 200 * sim.Nanosecond})
	read, _ := p.Read(1, above4G, 512, 0)
	written, _ := p.Write(1, above4G, 512, 0) // two packets
	got := p.InFlight(cfg.EndpointLatency)
	if want := (InFlight{Tags: 1, Posted: 2, NonPosted: 1, Buffered: 32}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, at := range []sim.Time{read - 1, read} {
		if got := p.InFlight(at); (got.Tags == 1) != (at < read) {
			t.Errorf("at %v, read done at %v: %+v", at, read, got)
		}
	}
	p.CPUWrite(0)
	p.CPURead(0)
	if got := p.InFlight(0); got.Doorbells != 1 || got.Reads != 1 {
		t.Errorf("%+v", got)
	}
	if got := p.InFlight(max(read, written) + sim.Microsecond); got != (InFlight{}) {
		t.Errorf("left over: %+v", got)
	}
}
