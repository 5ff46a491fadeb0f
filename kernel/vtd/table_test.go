package vtd_test

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"testing"

	"dmapath/cpu"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/recorded"
	"dmapath/sim"
)

var versions = []kernel.Version{kernel.V6_12, kernel.V7_3}

// translate walks the domain's table as the hardware does.
func (r *rig) translate(iova uint64) (pa uint64, shift uint8, ok bool) {
	rules := table.NewRules(table.SecondStage, 52, table.Page2M|table.Page1G, false, false)
	t, why := table.Walk(r.env.Mem, &rules, r.dom.Root(), r.dom.Levels(), iova, true)
	return t.PA, t.Shift, why == table.NoFault
}

// mapping is one live mapping of the plain model.
type mapping struct{ iova, phys, size uint64 }

// model is the slow, obvious twin of a page table: a list of live mappings.
type model struct{ live []mapping }

func (m *model) overlaps(iova, size uint64) bool {
	for _, x := range m.live {
		if iova < x.iova+x.size && x.iova < iova+size {
			return true
		}
	}
	return false
}

func (m *model) look(iova uint64) (uint64, bool) {
	for _, x := range m.live {
		if iova-x.iova < x.size {
			return x.phys + iova - x.iova, true
		}
	}
	return 0, false
}

// check compares the table with the model at every page boundary of every mapping and around it.
func (r *rig) check(t *testing.T, m *model, probes []uint64) {
	t.Helper()
	for _, x := range m.live {
		probes = append(probes, x.iova, x.iova+x.size-1, x.iova+x.size/2, x.iova-1, x.iova+x.size)
	}
	for _, a := range probes {
		got, _, ok := r.translate(a)
		want, mapped := m.look(a)
		if a >= 1<<(12+9*r.dom.Levels()) {
			continue
		}
		if ok != mapped || ok && got != want {
			t.Fatalf("iova %#x: translates to %#x (%v), want %#x (%v)", a, got, ok, want, mapped)
		}
	}
}

// Random maps and unmaps of all sizes and alignments: the table always equals the plain map of live mappings, software and
// hardware walks agree, and nothing stays mapped after an unmap.
func TestTableEqualsPlainMap(t *testing.T) {
	for _, v := range versions {
		for _, levels := range []int{3, 4, 5} {
			for _, coherent := range []bool{true, false} {
				t.Run(fmt.Sprintf("%v/%d/%v", v, levels, coherent), func(t *testing.T) {
					r := newRig(t, v, coherent, levels)
					rng := rand.New(rand.NewPCG(uint64(levels), 7))
					var m model
					recorded.Run(func(th *cpu.Thread) {
						for i := 0; i < 150; i++ {
							r.step(t, th, rng, &m)
							if i%30 == 0 {
								r.check(t, &m, nil)
							}
						}
						for len(m.live) > 0 {
							x := m.live[0]
							m.live = m.live[1:]
							r.mustUnmap(t, th, x)
						}
						r.check(t, &m, []uint64{0, 1 << 30, 0xfffff000, 5 << 20})
					})
				})
			}
		}
	}
}

// step does one random operation.
func (r *rig) step(t *testing.T, th *cpu.Thread, rng *rand.Rand, m *model) {
	if len(m.live) > 0 && rng.IntN(5) < 2 || len(m.live) > 40 {
		i := rng.IntN(len(m.live))
		x := m.live[i]
		m.live = append(m.live[:i], m.live[i+1:]...)
		r.mustUnmap(t, th, x)
		return
	}
	// Sizes from a page to a few superpages, aligned alike, differently or not at all.
	var size uint64
	switch rng.IntN(4) {
	case 0:
		size = 4096
	case 1:
		size = uint64(1+rng.IntN(64)) << 12
	case 2:
		size = uint64(1+rng.IntN(3)) << 21
	default:
		size = uint64(1+rng.IntN(1500)) << 12
	}
	iova := uint64(rng.IntN(1<<12)) << 21 // within 8 GiB
	pa := uint64(1+rng.IntN(1<<10)) << 30
	switch rng.IntN(3) {
	case 0: // both aligned
	case 1: // alike
		off := uint64(rng.IntN(512)) << 12
		iova += off
		pa += off
	default:
		iova += uint64(rng.IntN(512)) << 12
		pa += uint64(rng.IntN(512)) << 12
	}
	if rng.IntN(40) == 0 { // a 1 GiB page
		iova, pa, size = iova&^(1<<30-1), pa&^(1<<30-1), 1<<30
	}
	if m.overlaps(iova, size) {
		return
	}
	if err := r.dom.Core.Map(th, iova, pa, size, rw); err != nil {
		t.Fatalf("map of %#x to %#x, %#x bytes: %v", iova, pa, size, err)
	}
	m.live = append(m.live, mapping{iova, pa, size})
}

func (r *rig) mustUnmap(t *testing.T, th *cpu.Thread, x mapping) {
	for _, off := range []uint64{0, x.size - 1, x.size / 2} {
		if got := r.dom.Core.IovaToPhys(th, x.iova+off); got != x.phys+off {
			t.Fatalf("iova_to_phys(%#x) = %#x, want %#x", x.iova+off, got, x.phys+off)
		}
	}
	if n := r.unmap(th, x.iova, x.size); n != x.size {
		t.Fatalf("unmap of %#x, %#x bytes: unmapped %#x", x.iova, x.size, n)
	}
	for off := uint64(0); off < x.size; off += 4096 {
		if _, _, ok := r.translate(x.iova + off); ok {
			t.Fatalf("iova %#x still translates after the unmap of %#x, %#x bytes", x.iova+off, x.iova, x.size)
		}
		if off > 64<<12 {
			off += 63 << 12
		}
	}
	if got := r.dom.Core.IovaToPhys(th, x.iova); got != 0 {
		t.Fatalf("iova_to_phys(%#x) = %#x after the unmap", x.iova, got)
	}
}

// The largest page that alignment and length allow is used, and sizes are never mixed in one address.
func TestPageSizes(t *testing.T) {
	const g, m2 = 1 << 30, 2 << 20
	tests := []struct {
		iova, phys, size uint64
		at               []uint64 // offsets
		shift            []uint8
	}{
		{4 * g, 8 * g, 4096, []uint64{0}, []uint8{12}},
		{4 * g, 8 * g, m2, []uint64{0, m2 - 1}, []uint8{21, 21}},
		{4 * g, 8*g + 4096, m2, []uint64{0}, []uint8{12}},
		{4*g + 4096, 8*g + 4096, 2 * m2, []uint64{0, m2 - 4096, 2*m2 - 4096}, []uint8{12, 21, 12}},
		{4 * g, 8 * g, m2 + 4096, []uint64{0, m2}, []uint8{21, 12}},
		{4 * g, 8 * g, g, []uint64{0, g - 1}, []uint8{30, 30}},
		{4 * g, 8*g + m2, g, []uint64{0, g - m2}, []uint8{21, 21}},
		{5*g - m2 - 4096, 9*g - m2 - 4096, g + m2 + 8192, []uint64{0, 4096, m2 + 4096, g + m2 + 4096}, []uint8{12, 21, 30, 12}},
	}
	for _, v := range versions {
		for i, tt := range tests {
			r := newRig(t, v, true, 4)
			recorded.Run(func(th *cpu.Thread) {
				if err := r.dom.Core.Map(th, tt.iova, tt.phys, tt.size, rw); err != nil {
					t.Fatalf("%v, case %d: %v", v, i, err)
				}
				for k, off := range tt.at {
					pa, shift, ok := r.translate(tt.iova + off)
					if !ok || pa != tt.phys+off || shift != tt.shift[k] {
						t.Errorf("%v, case %d, offset %#x: %#x by a page of 2^%d (%v), want %#x, 2^%d", v, i, off, pa, shift, ok, tt.phys+off, tt.shift[k])
					}
				}
				r.mustUnmap(t, th, mapping{tt.iova, tt.phys, tt.size})
			})
		}
	}
}

// A table that an unmap covers entirely is freed, after the invalidation and not before; one that it covers in part
// stays for the next map.
func TestTablesAreFreedAfterTheFlush(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, true, 4)
		recorded.Run(func(th *cpu.Thread) {
			const at, size = 6 << 30, 4 << 20 // two leaf tables, entered by 4 KiB pages
			r.dom.Core.Map(th, at, phys, size, rw)
			if r.dom.Tables != 5 || r.pages.used != 4 {
				t.Fatalf("%v: %d tables, %d pages after the map, want 5, 4", v, r.dom.Tables, r.pages.used)
			}
			r.hw.onInvalidate = func() {
				if r.pages.used != 4 {
					t.Errorf("%v: tables freed before the hardware forgot them", v)
				}
			}
			r.unmap(th, at, 4096)
			hint := r.hw.seen[len(r.hw.seen)-1]
			if hint[1]&(1<<6) == 0 {
				t.Errorf("%v: invalidation of one leaf entry without the hint", v)
			}
			r.dom.Core.Map(th, at, phys, 4096, rw)
			r.unmap(th, at, size)
			if last := r.hw.seen[len(r.hw.seen)-1]; last[1]&(1<<6) != 0 {
				t.Errorf("%v: tables went, but the invalidation says that only leaves changed", v)
			}
			if r.dom.Tables != 3 || r.pages.used != 2 {
				t.Errorf("%v: %d tables, %d pages after the unmap, want 3, 2", v, r.dom.Tables, r.pages.used)
			}
		})
	}
}

// A superpage may replace a table only when nothing is mapped below it; the table is freed.
func TestSuperpageReplacesEmptyTable(t *testing.T) {
	const at, size = 6 << 30, 2 << 20
	for _, v := range versions {
		for _, coherent := range []bool{true, false} {
			r := newRig(t, v, coherent, 4)
			recorded.Run(func(th *cpu.Thread) {
				r.dom.Core.Map(th, at, phys, 4096, rw)
				r.unmap(th, at, 4096)
				before := r.pages.used
				if err := r.dom.Core.Map(th, at, 8<<30, size, rw); err != nil {
					t.Fatalf("%v: %v", v, err)
				}
				if _, shift, ok := r.translate(at + 12345); !ok || shift != 21 {
					t.Errorf("%v: page of 2^%d (%v), want 2^21", v, shift, ok)
				}
				if r.pages.used != before-1 {
					t.Errorf("%v: %d table pages, want %d", v, r.pages.used, before-1)
				}
				r.mustUnmap(t, th, mapping{at, 8 << 30, size})
			})
		}
	}
}

// Two CPUs that need the same table at once: one installs it, the other frees its page and uses the first one's.
func TestRaceForATable(t *testing.T) {
	for _, v := range versions {
		for _, coherent := range []bool{true, false} {
			r := newRig(t, v, coherent, 4)
			r.pages.slow = 100 * sim.Nanosecond
			e := sim.NewEngine()
			for c := 0; c < 3; c++ {
				e.Go("cpu", func(p *sim.Proc) {
					th := cpu.NewThread(p, c, nil, cpu.NewStream(recorded.StackTop-uint64(c)<<14, cpu.MitNone))
					if err := r.dom.Core.Map(th, iova-uint64(c)<<12, phys+uint64(c)<<12, 4096, rw); err != nil {
						t.Errorf("%v: %v", v, err)
					}
				})
			}
			if err := e.Run(sim.Never); err != nil {
				t.Fatal(err)
			}
			e.Close()
			for c := uint64(0); c < 3; c++ {
				if pa, _, ok := r.translate(iova - c<<12); !ok || pa != phys+c<<12 {
					t.Errorf("%v: mapping of CPU %d translates to %#x, %v", v, c, pa, ok)
				}
			}
			if r.dom.Tables != 4 || r.pages.used != 3 {
				t.Errorf("%v: %d tables, %d pages in use, want 4, 3", v, r.dom.Tables, r.pages.used)
			}
			if len(r.pages.all) <= 3 {
				t.Errorf("%v: only %d pages were ever allocated: there was no race", v, len(r.pages.all))
			}
		}
	}
}

// What the kernels do when something is mapped already: 7.3 refuses and leaves no part of the new mapping behind; 6.12
// complains and keeps the old entries.
func TestMapOverExistingMapping(t *testing.T) {
	const at = 6 << 30
	for _, tt := range []struct {
		name     string
		old, new mapping
	}{
		{"same page", mapping{at, phys, 4096}, mapping{at, 9 << 30, 4096}},
		{"last page of a range", mapping{at + 7*4096, phys, 4096}, mapping{at, 9 << 30, 8 * 4096}},
		{"in the second table", mapping{at + 0x200000, phys, 4096}, mapping{at + 0x1f0000, 9<<30 + 4096, 32 * 4096}},
	} {
		t.Run("7.3/"+tt.name, func(t *testing.T) {
			r := newRig(t, kernel.V7_3, true, 4)
			recorded.Run(func(th *cpu.Thread) {
				r.dom.Core.Map(th, tt.old.iova, tt.old.phys, tt.old.size, rw)
				if err := r.dom.Core.Map(th, tt.new.iova, tt.new.phys, tt.new.size, rw); err != iommucore.EADDRINUSE {
					t.Errorf("error %v, want EADDRINUSE", err)
				}
				r.check(t, &model{[]mapping{tt.old}}, []uint64{tt.new.iova, tt.new.iova + tt.new.size - 1})
			})
		})
		t.Run("6.12/"+tt.name, func(t *testing.T) {
			r := newRig(t, kernel.V6_12, true, 4)
			recorded.Run(func(th *cpu.Thread) {
				r.dom.Core.Map(th, tt.old.iova, tt.old.phys, tt.old.size, rw)
				if err := r.dom.Core.Map(th, tt.new.iova, tt.new.phys, tt.new.size, rw); err != nil {
					t.Errorf("error %v, want none", err)
				}
				if pa, _, _ := r.translate(tt.old.iova); pa != tt.old.phys {
					t.Errorf("old mapping translates to %#x, want %#x", pa, tt.old.phys)
				}
			})
			if r.dom.AlreadySet != 1 {
				t.Errorf("%d complaints, want 1", r.dom.AlreadySet)
			}
		})
	}
	t.Run("7.3/superpage over a page", func(t *testing.T) {
		r := newRig(t, kernel.V7_3, true, 4)
		recorded.Run(func(th *cpu.Thread) {
			r.dom.Core.Map(th, at+4096, phys, 4096, rw)
			used := r.pages.used
			if err := r.dom.Core.Map(th, at, 8<<30, 2<<20, rw); err != iommucore.EADDRINUSE {
				t.Errorf("error %v, want EADDRINUSE", err)
			}
			if pa, _, ok := r.translate(at + 4096); !ok || pa != phys || r.pages.used != used {
				t.Errorf("old mapping: %#x, %v; %d tables, want %d", pa, ok, r.pages.used, used)
			}
		})
	})
}

// Arguments that the core refuses, and what is left after running out of memory: nothing.
func TestMapErrors(t *testing.T) {
	for _, v := range versions {
		for _, tt := range []struct {
			iova, phys, size uint64
			prot             iommucore.Prot
			want             error
		}{
			{4097, 4096, 4096, rw, iommucore.EINVAL},
			{4096, 100, 4096, rw, iommucore.EINVAL},
			{4096, 4096, 100, rw, iommucore.EINVAL},
			{1 << 48, 4096, 4096, rw, map[kernel.Version]error{kernel.V6_12: iommucore.EINVAL, kernel.V7_3: iommucore.ERANGE}[v]},
			{1<<48 - 4096, 4096, 8192, rw, map[kernel.Version]error{kernel.V6_12: iommucore.EINVAL, kernel.V7_3: iommucore.ERANGE}[v]},
			{4096, 4096, 4096, 0, map[kernel.Version]error{kernel.V6_12: iommucore.EINVAL, kernel.V7_3: iommucore.EOPNOTSUPP}[v]},
		} {
			r := newRig(t, v, true, 4)
			recorded.Run(func(th *cpu.Thread) {
				if err := r.dom.Core.Map(th, tt.iova, tt.phys, tt.size, tt.prot); err != tt.want {
					t.Errorf("%v: map of %#x to %#x, %#x bytes: %v, want %v", v, tt.iova, tt.phys, tt.size, err, tt.want)
				}
			})
		}
		for left := 0; left < 4; left++ {
			r := newRig(t, v, true, 4)
			recorded.Run(func(th *cpu.Thread) {
				r.pages.left = left
				// Two leaf tables needed: 2 + 2 pages.
				if err := r.dom.Core.Map(th, 0x1ff000, phys, 8192, rw); err != iommucore.ENOMEM {
					t.Errorf("%v, %d pages left: %v, want ENOMEM", v, left, err)
				}
				r.pages.left = -1
				if v == kernel.V7_3 {
					r.check(t, &model{}, []uint64{0x1ff000, 0x200000})
				}
			})
		}
	}
}

// An unmap of a hole: 7.3 stops there, 6.12 goes on.
func TestUnmapOverHole(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, true, 4)
		recorded.Run(func(th *cpu.Thread) {
			const at = 6 << 30
			r.dom.Core.Map(th, at, phys, 4096, rw)
			r.dom.Core.Map(th, at+8192, phys, 4096, rw)
			n := r.unmap(th, at, 3*4096)
			_, _, ok := r.translate(at + 8192)
			switch v {
			case kernel.V6_12:
				if n != 3*4096 || ok {
					t.Errorf("%v: unmapped %d, third page mapped: %v", v, n, ok)
				}
			default:
				if n != 4096 || !ok {
					t.Errorf("%v: unmapped %d, third page mapped: %v", v, n, ok)
				}
			}
		})
	}
}

// The range that is invalidated covers what was unmapped; it is exact when length and alignment allow.
func TestInvalidationCoversTheRange(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, true, 4)
		exact := map[[2]uint64]uint64{{6 << 30, 1}: 0, {6 << 30, 8}: 3, {6<<30 + 0x8000, 8}: 3, {6 << 30, 512}: 9}
		var keys [][2]uint64
		for k := range exact {
			keys = append(keys, k)
		}
		keys = append(keys, [2]uint64{6<<30 + 0x1000, 2}, [2]uint64{6<<30 + 0x7000, 3}, [2]uint64{6<<30 - 0x1000, 2}, [2]uint64{6<<30 + 0x3000, 700})
		sort.Slice(keys, func(i, j int) bool { return keys[i][0] < keys[j][0] })
		recorded.Run(func(th *cpu.Thread) {
			for _, k := range keys {
				at, n := k[0], k[1]
				if err := r.dom.Core.Map(th, at, phys, n<<12, rw); err != nil {
					t.Fatal(err)
				}
				r.unmap(th, at, n<<12)
				d := r.hw.seen[len(r.hw.seen)-1]
				if gran := d[0] >> 4 & 3; gran == 2 {
					continue // the whole domain
				}
				mask := d[1] & 63
				start := d[1] &^ 4095 &^ (4096<<mask - 1)
				if start > at || start+4096<<mask < at+n<<12 {
					t.Errorf("%v: %d pages at %#x: invalidates 2^%d pages at %#x", v, n, at, mask, start)
				}
				if want, ok := exact[k]; ok && mask != want {
					t.Errorf("%v: %d pages at %#x: mask %d, want %d", v, n, at, mask, want)
				}
			}
		})
	}
}
