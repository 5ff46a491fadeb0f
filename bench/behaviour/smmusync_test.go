package behaviour

import (
	"math"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/smmu"
	"dmapath/platform"
	"dmapath/sim"
)

// idleSync returns how long a CPU of node 0 waits for a CMD_SYNC on an idle queue: ns.
func idleSync(t *testing.T, set ...string) float64 {
	s, err := spec("kunpeng-920", set...)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := machine(s, kernel.V6_12, platform.IommuStrict, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	u := m.Driver.(smmu.Adapter)
	const n = 20
	m.Spawn(0, "cpu 0", func(t *cpu.Thread) {
		for range n {
			u.SyncAlone(t)
			t.WaitUntil(cpu.StallInv, t.Now()+10*sim.Microsecond)
		}
		m.Eng.Stop()
	})
	if err := m.Run(); err != nil {
		t.Fatal(err)
	}
	return float64(u.Stats.Waiting) / n / float64(sim.Nanosecond)
}

// The three figures that the preset's SMMU is fitted to (published-numbers SMMU-sync-idle-msi, SMMU-sync-idle-sev and SMMU-sync-1): a CMD_SYNC
// on an idle queue, by message and by event, and one behind a TLBI in a loop of one thread.
func TestKunpengSyncTimes(t *testing.T) {
	loop, err := smmuLoop(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"by message", idleSync(t), 280},
		{"by event", idleSync(t, "iommu.sync_message", "off"), 190},
		{"behind a TLBI", float64(loop.stats.Waiting) / float64(loop.stats.Syncs) / float64(sim.Nanosecond), 883},
	} {
		if math.Abs(c.got/c.want-1) > 0.03 {
			t.Errorf("%s: %.0f ns, want %.0f", c.what, c.got, c.want)
		}
	}
}
