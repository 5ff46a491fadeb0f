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

// TestScatteredPages: every page of a scattered region has a frame of its own, within twice the size, and bytes stay in their page.
func TestScatteredPages(t *testing.T) {
	for _, pages := range []uint64{1, 2, 3, 64, 1000, 4096} {
		s := NewSpace([]Region{{Name: "data", VBase: 1 << 46, Size: pages << 12, PBase: 1 << 33, PageShift: 12, Scattered: true}})
		seen := map[uint64]bool{}
		sets := map[uint64]int{} // of 32 neighbouring frames, as the index of a cache takes page numbers
		for i := range pages {
			pa, ok := s.Phys(1<<46 + i<<12 + 8)
			if !ok || pa&4095 != 8 || pa < 1<<33 || pa >= 1<<33+2*pages<<12 {
				t.Fatalf("%d pages: page %d lies at %#x", pages, i, pa)
			}
			if seen[pa>>12] {
				t.Fatalf("%d pages: frame %#x is used twice", pages, pa>>12)
			}
			seen[pa>>12] = true
			if i < pages/4 {
				sets[pa>>12&31]++
			}
		}
		if pages == 4096 { // 1024 pages on 32 sets: 32 each if they were in order; a Poisson spread otherwise
			even := 0
			for _, n := range sets {
				if n == 32 {
					even++
				}
			}
			if even > 16 {
				t.Errorf("%d of 32 sets have exactly their share: the pages are in order", even)
			}
		}
	}
}
