package cpu

import "testing"

// TestNestedWalk counts what a walk reads when it has been done before.
func TestNestedWalk(t *testing.T) {
	reads := func(shift, nested uint8, tables int, dirs bool) int64 {
		r := newRig(t, func(c *Config) {
			c.NestedShift, c.NestedTLB = nested, tables
			if !dirs {
				c.WalkCaches[0].Entries, c.WalkCaches[1].Entries, c.WalkCaches[2].Entries = 0, 0, 0
			}
		})
		va := map[uint8]uint64{12: PerCPUBase, 21: VmemmapBase, 30: DirectMapBase}[shift]
		r.c.pageWalk(va, 0x12345000, shift, 0)
		before := r.h.Stats().L1D.Accesses
		r.c.pageWalk(va, 0x12345000, shift, 1000)
		return int64(r.h.Stats().L1D.Accesses - before)
	}
	for _, c := range []struct {
		name          string
		shift, nested uint8
		tables        int
		dirs          bool
		want          int64
	}{
		{"bare metal, 4 KiB, directory cached", 12, 0, 0, true, 1},
		{"bare metal, 4 KiB, nothing cached", 12, 0, 0, false, 4},
		{"bare metal, 1 GiB, nothing cached", 30, 0, 0, false, 2},
		{"both 4 KiB, everything cached", 12, 12, 16, true, 2},
		{"both 4 KiB, no cache of table pages", 12, 12, 0, true, 3},
		{"both 4 KiB, nothing cached: n*m+n+m", 12, 12, 0, false, 24},
		{"2 MiB on 4 KiB, nothing cached", 21, 12, 0, false, 19},
		{"4 KiB on 2 MiB, nothing cached", 12, 21, 0, false, 19},
		{"both 2 MiB, everything cached", 21, 21, 16, true, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := reads(c.shift, c.nested, c.tables, c.dirs); got != c.want {
				t.Errorf("%d reads, want %d", got, c.want)
			}
		})
	}
}

// TestNestedSplinters: below a hypervisor with small pages a huge page is many entries of a TLB.
func TestNestedSplinters(t *testing.T) {
	walks := func(nested uint8) int64 {
		r := newRig(t, func(c *Config) { c.NestedShift, c.NestedTLB = nested, 16 })
		for i := range uint64(64) {
			r.Load(VmemmapBase+i<<12, 0)
		}
		r.run()
		f := r.acct.Total()
		return f.DTLBMisses
	}
	if bare, small, huge := walks(0), walks(12), walks(21); bare != 1 || small != 64 || huge != 1 {
		t.Errorf("misses of 64 pages of 4 KiB within 2 MiB: %d on bare metal, %d on 4 KiB, %d on 2 MiB; want 1, 64, 1", bare, small, huge)
	}
}
