package pcie

import (
	"errors"
	"testing"

	"dmapath/sim"
	"dmapath/tlb"
)

// agent is a translation agent that adds 1 GiB to every address of a map of pages, and takes 200 ns for a translation request.
type agent struct {
	none     bool
	readOnly bool
	refuse   error
	asked    int
	checked  int
}

func (a *agent) Translate(rid uint16, iova uint64, write bool, now sim.Time) (uint64, sim.Time, error) {
	panic("a device with a TLB sends no address to be translated")
}

func (a *agent) TranslatePage(rid uint16, iova uint64, now sim.Time) (Page, sim.Time, error) {
	a.asked++
	if a.none {
		return Page{}, now + 200*sim.Nanosecond, a.refuse
	}
	return Page{Addr: iova&^0xfff + 1<<30, Shift: 12, Read: true, Write: !a.readOnly}, now + 200*sim.Nanosecond, a.refuse
}

func (a *agent) Translated(rid uint16, pa uint64, write bool, now sim.Time) (sim.Time, error) {
	a.checked++
	if pa>>30 != 1 {
		panic("an address that nobody translated")
	}
	return now + 5*sim.Nanosecond, nil
}

// withTLB returns a port to a device with a TLB, and one to the same device without, whose addresses need no translation.
func withTLB(t *testing.T) (p, plain *Port, a *agent) {
	t.Helper()
	cfg, m := DefaultConfig(), &flat{read: 100 * sim.Nanosecond, write: 100 * sim.Nanosecond, quiet: true}
	plain = newPort(t, cfg, nil, m)
	cfg.DeviceTLB, cfg.DeviceTLBLookup = tlb.Config{Entries: 64}, 3*sim.Nanosecond
	a = &agent{}
	return newPort(t, cfg, a, m), plain, a
}

// A translation request is a read request with an answer of 8 bytes; after it the device's writes carry physical addresses.
func TestATranslationRequestTakesAReadsWay(t *testing.T) {
	p, plain, a := withTLB(t)
	c := &p.cfg
	up, down := p.Up.Time(p.request(1<<32, 0)), p.Down.Time(p.answer(translationBytes))
	trip := 3*sim.Nanosecond + c.EndpointLatency + up + c.LinkLatency + c.RootUp + 200*sim.Nanosecond + c.RootDown + down + c.LinkLatency + c.EndpointLatency
	bare, err := plain.Write(1, 0x1234, 64, 0)
	if err != nil {
		t.Fatal(err)
	}
	first, err := p.Write(1, 0x1234, 64, 0)
	if want := trip + bare + 5*sim.Nanosecond; first != want || err != nil {
		t.Errorf("first write takes %v (%v), want %v", first, err, want)
	}
	at := 100 * sim.Microsecond
	bare, _ = plain.Write(1, 0x1834, 64, at)
	hit, err := p.Write(1, 0x1834, 64, at)
	if want := bare + (3+5)*sim.Nanosecond; hit != want || err != nil {
		t.Errorf("write to a page that is known takes until %v (%v), want %v", hit, err, want)
	}
	if a.asked != 1 || p.st.TranslationRequests != 1 || p.st.DeviceHits != 1 || a.checked != 2 {
		t.Errorf("%d requests, %d hits, %d checks", a.asked, p.st.DeviceHits, a.checked)
	}
	// A second access while the request is under way waits for its answer.
	at = 200 * sim.Microsecond
	one, _ := p.Write(1, 0x5000, 64, at)
	two, _ := p.Write(1, 0x5040, 64, at)
	if a.asked != 2 || two < one || two > one+100*sim.Nanosecond {
		t.Errorf("%d requests; first done at %v, second at %v", a.asked, one, two)
	}
}

func TestTranslationsBelongToARequester(t *testing.T) {
	p, _, a := withTLB(t)
	p.Read(1, 0x1000, 64, 0)
	p.Read(2, 0x1000, 64, 0)
	if a.asked != 2 {
		t.Errorf("%d requests of two functions", a.asked)
	}
}

func TestADeviceEndsWhatItWasNotGranted(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   func(a *agent)
		write bool
		ok    bool
	}{
		{"read of a read-only page", func(a *agent) { a.readOnly = true }, false, true},
		{"write of a read-only page", func(a *agent) { a.readOnly = true }, true, false},
		{"no page", func(a *agent) { a.none = true }, false, false},
		{"may not ask", func(a *agent) { a.refuse = errors.New("no") }, false, false},
	} {
		p, _, a := withTLB(t)
		c.set(a)
		var err error
		for range 2 { // a refusal is not kept
			if c.write {
				_, err = p.Write(1, 0x1000, 64, 0)
			} else {
				_, err = p.Read(1, 0x1000, 64, 0)
			}
		}
		var abort *AbortError
		if (err == nil) != c.ok || !c.ok && (!errors.As(err, &abort) || abort.Write != c.write || a.asked != 2 || a.checked != 0) {
			t.Errorf("%s: %v, %d requests, %d packets", c.name, err, a.asked, a.checked)
		}
	}
}

// The device forgets when the request reaches it, not before and not after, and answers at once when nothing is under way.
func TestAnInvalidationTakesARoundTrip(t *testing.T) {
	p, _, a := withTLB(t)
	c := &p.cfg
	sent := 100 * sim.Microsecond
	arrives := sent + c.RootDown + p.Down.Time(p.request(1<<32, translationBytes)) + c.LinkLatency + c.EndpointLatency
	answered := arrives + c.EndpointLatency + p.Up.Time(p.request(1<<32, 0)) + c.LinkLatency + c.RootUp
	p.Read(1, 0x1000, 64, 0)
	p.Read(1, 0x2000, 64, 0)
	if done := p.InvalidateTLB(1, 0x1000, 0x1fff, sent); done != answered {
		t.Errorf("answered at %v, want %v", done, answered)
	}
	for _, s := range []struct {
		at    sim.Time
		iova  uint64
		asked int
	}{{arrives - 1, 0x1000, 2}, {arrives, 0x2000, 2}, {arrives, 0x1000, 3}} {
		if p.Read(1, s.iova, 64, s.at); a.asked != s.asked {
			t.Errorf("read of %#x at %v: %d translation requests so far, want %d", s.iova, s.at, a.asked, s.asked)
		}
	}
}

// The answer comes behind the device's writes, and after the reads that it had sent with the old translation.
func TestAnInvalidationWaitsForWhatIsUnderWay(t *testing.T) {
	for _, write := range []bool{true, false} {
		p, _, _ := withTLB(t)
		p.Read(1, 0x1000, 64, 0)
		at := 100 * sim.Microsecond
		p.mem = &flat{read: 20 * sim.Microsecond, write: 20 * sim.Microsecond, quiet: true}
		access := p.Read
		if write {
			access = p.Write
		}
		if _, err := access(1, 0x1000, 64, at); err != nil {
			t.Fatal(err)
		}
		if done := p.InvalidateTLB(1, 0x1000, 0x1fff, at+sim.Nanosecond); done < at+20*sim.Microsecond {
			t.Errorf("write %v: answered at %v although memory takes 20 us", write, done-at)
		}
	}
}

// Neither hits nor misses nor invalidations allocate, and those of a device that does nothing are not kept.
func TestDeviceTLBAllocatesNothing(t *testing.T) {
	p, _, _ := withTLB(t)
	now := sim.Time(0)
	step := func() {
		now += 10 * sim.Microsecond
		p.Read(1, uint64(now)>>10&^63, 64, now)
		p.Read(1, 0x1000, 64, now)
		for range 3 {
			p.InvalidateTLB(1, 0x1000, 0x1fff, now)
		}
	}
	for range 1000 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations per step", n)
	}
	for range 1000 {
		now += 10 * sim.Microsecond
		p.InvalidateTLB(1, 0x1000, 0x1fff, now)
	}
	if n := len(p.atc.due); n > 4 {
		t.Errorf("%d invalidations wait for an idle device", n)
	}
}

func TestADeviceTLBNeedsAnAgent(t *testing.T) {
	cfg := DefaultConfig()
	cfg.DeviceTLB = tlb.Config{Entries: 64}
	if _, err := NewPort(cfg, nil, &flat{}); err == nil {
		t.Error("a port without translation agent has a device TLB")
	}
}
