package amdvi_test

import (
	"testing"

	"dmapath/cpu"
	"dmapath/iommu/amdtable"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/recorded"
	"dmapath/sim"
)

// CPUs that miss the same table, or the same level on top, at the same time: one installs its page, the others find that and
// give theirs back. Nothing is lost, nothing leaks.
func TestRacesForTables(t *testing.T) {
	for _, v := range versions {
		for _, base := range []uint64{1 << 30, 1 << 39, 1 << 48} {
			m := newTimed(t, v, 100*sim.Nanosecond)
			m.pages.slow = 400 * sim.Nanosecond
			for c := range 4 {
				m.cpu(c, func(th *cpu.Thread) {
					if err := m.dom.Core.Map(th, base+uint64(c)<<12, phys+uint64(c)<<20, 4096, rw); err != nil {
						t.Errorf("%v, %#x, CPU %d: %v", v, base, c, err)
					}
				})
			}
			m.run(t)
			for c := range uint64(4) {
				if pa, _, ok := m.translate(base + c<<12); !ok || pa != phys+c<<20 {
					t.Errorf("%v, %#x, CPU %d: %#x (%v)", v, base, c, pa, ok)
				}
			}
			want := m.dom.Levels() - 3 + 1 + 2 // levels added, the first top, and the two tables below it
			if base >= 1<<39 {
				want = 2*m.dom.Levels() - 3 // the old tops stay at index 0, beside the new way down
				if v := m.dom.Levels(); v == 3 {
					t.Fatal("not grown")
				}
			}
			if m.pages.used+1 != m.dom.Tables || m.dom.Tables != want {
				t.Errorf("%v, %#x: %d tables, %d pages, want %d tables", v, base, m.dom.Tables, m.pages.used, want)
			}
		}
	}
}

// A device with a TLB of its own is told of every range that the IOMMU is told of, before the completion wait, and of
// everything when its device table entry changes. The others are not.
func TestDevicesWithTLBs(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, 6)
		if err := r.unit.AttachATS(rid+1, r.dom); err != nil {
			t.Fatal(err)
		}
		if d := r.dte(rid + 1); !d.IOTLB || r.dte(rid).IOTLB {
			t.Errorf("%v: entries %+v and %+v", v, r.dte(rid), d)
		}
		devices := func() (got []amdtable.Command) {
			seen := r.hw.take()
			for _, c := range seen {
				if c.Op == amdtable.InvalidateIOTLBPages {
					got = append(got, c)
				}
			}
			if n := len(seen); n > 0 && seen[n-1].Op != amdtable.CompletionWait {
				t.Errorf("%v: the last command is %v", v, seen[n-1].Op)
			}
			return got
		}
		recorded.Run(func(th *cpu.Thread) {
			const at = 0x10020000
			r.dom.Core.Map(th, at, 8<<30, 128<<10, rw)
			r.hw.take()
			unmap(th, r.dom, at, 128<<10)
			if got := devices(); len(got) != 1 || got[0].Device != rid+1 || got[0].Addr != at || got[0].Shift != 17 || got[0].MaxPend != 32 {
				t.Errorf("%v: unmap tells devices %+v", v, got)
			}
			r.dom.Core.FlushAll(th)
			if got := devices(); len(got) != 1 || got[0].Shift != 64 {
				t.Errorf("%v: flush tells devices %+v", v, got)
			}
			r.dom.Core.Map(th, 1<<40, 8<<30, 4096, rw)
			got := devices()
			if len(got) == 0 || r.dte(rid+1).Mode != 4 || !r.dte(rid+1).IOTLB || r.dte(rid).IOTLB {
				t.Errorf("%v: growing tells devices %+v", v, got)
			}
			for _, c := range got {
				if c.Shift != 64 || c.Device != rid+1 {
					t.Errorf("%v: growing tells a device %+v", v, c)
				}
			}
		})
	}
}

// The domain of another driver cannot be attached.
func TestForeignDomain(t *testing.T) {
	r := newRig(t, kernel.V7_3, 6)
	other := newRig(t, kernel.V7_3, 6)
	if err := r.unit.Attach(rid+1, other.dom); err == nil {
		t.Error("a domain of another unit is attached")
	}
	if err := r.unit.Attach(0xff00, r.dom); err == nil {
		t.Error("a device beyond the device table is attached")
	}
	if _, err := r.unit.NewDomain(2); err == nil {
		t.Error("a domain of 2 levels is made")
	}
	var _ iommucore.Driver = r.dom
}
