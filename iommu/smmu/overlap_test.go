package smmu

import (
	"testing"

	"dmapath/iommu/smmutable"
	"dmapath/sim"
)

// A message on its way keeps nobody waiting: CONS passes the CMD_SYNC when it is complete, the commands behind it start then, and the CPUs see
// the message later.
func TestMessageIsUnderWayWhileTheUnitGoesOn(t *testing.T) {
	for _, late := range []sim.Time{0, 500 * ns} {
		cfg := plain()
		cfg.MessageTime = late
		m := newMachine(t, cfg, smmutable.ConfigS1)
		from := m.Eng.Now()
		first := m.submit()
		second := m.submit()
		start := cfg.RegWrite + 100*ns + sim.Time(cfg.FetchOverhead+cfg.DecodeTime+cfg.SyncTime)*ns
		m.RunTo(from + start + late - 1)
		if m.received() == first {
			t.Errorf("late %v: the message is there too early", late)
		}
		m.RunTo(from + start + late)
		if m.received() != first {
			t.Errorf("late %v: the message is not there", late)
		}
		if late > 0 && m.read(smmutable.RegCmdqCons) == 0 {
			t.Errorf("late %v: CONS stands before the first command", late)
		}
		m.Run()
		// The second is decoded when the first is complete, whatever the message takes. It lies on the same cache line, and was written too late
		// to be fetched with the first.
		if took, want := m.Eng.Now()-from, start+(100+sim.Time(cfg.FetchOverhead+cfg.DecodeTime+cfg.SyncTime))*ns+late; m.received() != second || took > want {
			t.Errorf("late %v: both complete after %v, want %v", late, took, want)
		}
	}
}

// With overlap the TLBI behind a CMD_SYNC is carried out while the CMD_SYNC waits for the one before it; without, afterwards. CONS never passes a
// CMD_SYNC that is not complete, and messages come in order.
func TestCommandsBehindASyncMayStart(t *testing.T) {
	var took [2]sim.Time
	for k, overlap := range []bool{false, true} {
		cfg := plain()
		cfg.Overlap, cfg.DrainTime, cfg.RegRead = overlap, 1000, 0
		m := newMachine(t, cfg, smmutable.ConfigS1)
		from := m.Eng.Now()
		const n = 8
		var want [n]uint32
		for i := range want {
			want[i] = m.submit(m.page(uint64(i)<<12, true))
		}
		seen := uint32(0)
		for m.received() != want[n-1] {
			m.RunTo(m.Eng.Now() + 10*ns)
			got := m.received()
			if got < seen {
				t.Fatalf("overlap %v: message %d behind %d", overlap, got, seen)
			}
			seen = got
			done := 0
			for _, w := range want {
				if w <= got {
					done++
				}
			}
			if cons := int(m.read(smmutable.RegCmdqCons)); cons >= 2*(done+1) {
				t.Fatalf("overlap %v: CONS is %d, and the CMD_SYNC of slot %d is not complete", overlap, cons, 2*done+1)
			}
			if m.Eng.Now()-from > sim.Millisecond {
				t.Fatal("never complete")
			}
		}
		took[k] = m.Eng.Now() - from
	}
	if took[0] < 8*1000*ns || took[1] > took[0]/3 {
		t.Errorf("8 invalidations of 1 us each: %v one after the other, %v overlapping", took[0], took[1])
	}
}
