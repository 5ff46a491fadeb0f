package pcie

import (
	"testing"

	"dmapath/sim"
)

// counting refuses every address and counts.
type counting struct{ asked int }

func (c *counting) Translate(_ uint16, _ uint64, _ bool, now sim.Time) (uint64, sim.Time, error) {
	c.asked++
	return 0, now, errRefused
}

// Below one switch a request to the other device's window goes there, untranslated, and takes the time of two links; what is outside
// of the window goes up as ever.
func TestSwitchRoutesByAddress(t *testing.T) {
	cfg := DefaultConfig()
	mem, tr := &flat{}, &counting{}
	a, b := newPort(t, cfg, tr, mem), newPort(t, cfg, nil, mem)
	const base, size = 1 << 40, 1 << 20
	a.Below(Window{base, size, b})
	now := sim.Time(sim.Microsecond)
	done, err := a.Write(8, base+size-4096, 4096, now)
	if err != nil || len(mem.writes) != 0 || tr.asked != 0 || b.Stats().WindowBytesIn != 4096 || a.Stats().PeerWrites != 4096/uint64(cfg.MPS) {
		t.Errorf("write: %v; %d to memory, %d translated, %d bytes arrived in %d packets", err, len(mem.writes), tr.asked, b.Stats().WindowBytesIn, a.Stats().PeerWrites)
	}
	// Closed form of an unloaded packet: both links' serialisation, and latencies of two links and of the switch.
	c, d := newPort(t, cfg, nil, mem), newPort(t, cfg, nil, mem)
	c.Below(Window{base, size, d})
	got, _ := c.Write(8, base, 64, now)
	wire := c.Up.Time(c.request(base, 64))
	want := now + cfg.EndpointLatency + wire + cfg.LinkLatency + cfg.RootUp + cfg.RootDown + wire + cfg.LinkLatency + cfg.EndpointLatency
	if got != want {
		t.Errorf("64 bytes arrive after %v, want %v", got-now, want-now)
	}
	back, err := a.Read(8, base, 512, done)
	if err != nil || b.Stats().WindowBytesOut != 512 || back < done+cfg.RegisterRead+4*cfg.LinkLatency || tr.asked != 0 {
		t.Errorf("read: %v after %v, %d bytes, %d translated", err, back-done, b.Stats().WindowBytesOut, tr.asked)
	}
	if _, err := a.Write(8, base+size, 64, back); err == nil || tr.asked != 1 {
		t.Errorf("behind the window: %v, %d translated; want the translator asked", err, tr.asked)
	}
}
