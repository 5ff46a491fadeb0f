package vtd_test

import (
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/mm"
	"dmapath/kernel/recorded"
	"dmapath/kernel/vtd"
)

// Functions of iommucore and vtd in the recordings, without those of the page allocator.
var (
	map12 = []string{"iommu_map", "__iommu_map", "iommu_pgsize", "intel_iommu_map_pages", "pfn_to_dma_pte",
		"intel_iommu_iotlb_sync_map"}
	unmap12 = []string{"iommu_iova_to_phys", "intel_iommu_iova_to_phys", "pfn_to_dma_pte", "iommu_unmap_fast", "__iommu_unmap",
		"iommu_pgsize", "intel_iommu_unmap_pages", "domain_unmap", "dma_pte_clear_level", "intel_iommu_tlb_sync",
		"cache_tag_flush_range", "calculate_psi_aligned_address", "cache_tag_flush_iotlb", "qi_batch_flush_descs",
		"qi_submit_sync", "iommu_put_pages_list"}
	map73  = []string{"iommu_map", "iommu_map_nosync", "vtdss_map_range", "make_range_ul", "intel_iommu_iotlb_sync_map"}
	fast73 = []string{"__map_single_page3", "__map_single_page2", "__map_single_page1"}
	slow73 = []string{"__map_range", "__map_range_leaf"}
	look73 = []string{"iommu_iova_to_phys", "pt_iommu_vtdss_iova_to_phys", "__iova_to_phys3", "__iova_to_phys2", "__iova_to_phys1",
		"make_range_ul"}
	unmap73 = []string{"iommu_unmap_fast", "__iommu_unmap", "vtdss_unmap_range", "__unmap_range", "gather_range_pending",
		"intel_iommu_tlb_sync", "cache_tag_flush_range", "cache_tag_flush_iotlb", "qi_batch_flush_descs", "qi_submit_sync",
		"__memcpy", "memcpy_orig", "iommu_put_pages_list"}
)

func cat(l ...[]string) (r []string) {
	for _, x := range l {
		r = append(r, x...)
	}
	return r
}

// Every function of the driver executes the recorded number of instructions, loads, stores, branches, atomics, fences, flushes
// and register accesses.
func TestFunctionsEqualTheirRecordings(t *testing.T) {
	const top4k, top2m = 0xfffff000, 0xffc00000 // where the recorded IOVAs lie in their tables
	mapOne := func(r *rig, t *cpu.Thread, at, size uint64) { r.dom.Core.Map(t, at, phys&^(size-1), size, rw) }
	unmapOne := func(r *rig, t *cpu.Thread, at, size uint64) {
		r.dom.Core.IovaToPhys(t, at)
		r.unmap(t, at, size)
	}
	unmapAlone := func(r *rig, t *cpu.Thread, at, size uint64) { r.unmap(t, at, size) }
	link := func(r *rig, t *cpu.Thread, at, size uint64) { r.dom.Core.MapNosync(t, at, phys, 4096, rw) }
	tests := []struct {
		key      string
		v        kernel.Version
		coherent bool
		at, size uint64
		unmap    bool // the recorded call is an unmap
		body     func(r *rig, t *cpu.Thread, at, size uint64)
		fns      []string
	}{
		{"6.12/iommu-strict/map_page/4096", kernel.V6_12, true, top4k, 4096, false, mapOne, map12},
		{"6.12/iommu-strict/map_page/2097152", kernel.V6_12, true, top2m, 2 << 20, false, mapOne, map12},
		{"6.12/iommu-strict/unmap_page/4096", kernel.V6_12, true, top4k, 4096, true, unmapOne, unmap12},
		{"6.12/iommu-strict/unmap_page/2097152", kernel.V6_12, true, top2m, 2 << 20, true, unmapOne, unmap12},
		{"6.12/iommu-strict-nc/map_page/4096", kernel.V6_12, false, top4k, 4096, false, mapOne, append(map12, "clflush_cache_range")},
		{"6.12/iommu-strict-nc/unmap_page/4096", kernel.V6_12, false, top4k, 4096, true, unmapOne, append(unmap12, "clflush_cache_range")},
		{"7.3/iommu-strict/map_phys/4096", kernel.V7_3, true, top4k, 4096, false, mapOne, cat(map73, fast73)},
		{"7.3/iommu-strict/map_phys/2097152", kernel.V7_3, true, top2m, 2 << 20, false, mapOne, cat(map73, slow73, []string{"pt_compute_best_pgsize"})},
		{"7.3/iommu-strict/iova_link/4096", kernel.V7_3, true, top4k, 4096, false, link, cat(map73[1:4], fast73)},
		{"7.3/iommu-strict/unmap_phys/4096", kernel.V7_3, true, top4k, 4096, true, unmapOne, cat(look73, unmap73)},
		{"7.3/iommu-strict/unmap_phys/2097152", kernel.V7_3, true, top2m, 2 << 20, true, unmapOne, cat(look73, unmap73)},
		{"7.3/iommu-strict/iova_destroy/4096", kernel.V7_3, true, top4k, 4096, true, unmapAlone, unmap73},
		{"7.3/iommu-strict/iova_destroy/131072", kernel.V7_3, true, 0xfffc0000, 131072, true, unmapAlone, unmap73},
		{"7.3/iommu-strict-nc/map_phys/4096", kernel.V7_3, false, top4k, 4096, false, mapOne, cat(map73, slow73, []string{"clflush_cache_range"})},
		{"7.3/iommu-strict-nc/unmap_phys/4096", kernel.V7_3, false, top4k, 4096, true, unmapOne, cat(look73, unmap73, []string{"clflush_cache_range"})},
	}
	for _, tt := range tests {
		t.Run(tt.key, func(t *testing.T) {
			r := newRig(t, tt.v, tt.coherent, 4)
			warm := func(th *cpu.Thread) {
				if tt.size > 4096 { // the recording's domain had mappings above
					mapOne(r, th, tt.at+tt.size, 4096)
				}
				for off := uint64(0); off < tt.size; off += 4096 {
					if tt.size == 2<<20 {
						mapOne(r, th, tt.at, tt.size)
						break
					}
					mapOne(r, th, tt.at+off, 4096)
				}
				if !tt.unmap {
					r.unmap(th, tt.at, tt.size)
				}
			}
			ops := recorded.RunWarm(warm, func(th *cpu.Thread) { tt.body(r, th, tt.at, tt.size) })
			for _, fn := range tt.fns {
				recorded.CheckFunction(t, ops, tt.key, fn, recorded.Exact)
			}
			if got := entriesWritten(r, ops); got != int(tt.size/4096) && got != 1 {
				t.Errorf("%d page-table entries written", got)
			}
		})
	}
}

// The same for protections other than read-write and for the rarer calls: read-only, write-only and MMIO maps, and unmaps in which
// something else happened (a magazine was allocated, a timer armed).
func TestFunctionsEqualOtherRecordings(t *testing.T) {
	for _, tt := range []struct {
		key  string
		v    kernel.Version
		prot iommucore.Prot
		fns  []string
	}{
		{"6.12/iommu-strict/map_single/4096", kernel.V6_12, iommucore.Read, map12},
		{"6.12/iommu-strict/map_page/4096", kernel.V6_12, iommucore.Write, map12},
		{"6.12/iommu-strict/map_resource/4096", kernel.V6_12, rw | iommucore.MMIO, map12},
		{"7.3/iommu-strict/map_single/4096", kernel.V7_3, iommucore.Read, cat(map73, fast73)},
		{"7.3/iommu-strict/map_phys/4096", kernel.V7_3, iommucore.Write, cat(map73, fast73)},
		{"7.3/iommu-strict/map_phys_mmio/4096", kernel.V7_3, rw | iommucore.MMIO, cat(map73, fast73)},
	} {
		r := newRig(t, tt.v, true, 4)
		at := uint64(iova)
		if tt.prot&iommucore.MMIO != 0 {
			at -= 4096
		}
		ops := recorded.RunWarm(func(th *cpu.Thread) {
			r.dom.Core.Map(th, at, phys, 4096, tt.prot)
			r.unmap(th, at, 4096)
		}, func(th *cpu.Thread) { r.dom.Core.Map(th, at, phys, 4096, tt.prot) })
		for _, fn := range tt.fns {
			recorded.CheckFunction(t, ops, tt.key, fn, recorded.Exact)
		}
	}
	for _, tt := range []struct {
		key string
		v   kernel.Version
		at  uint64
		fns []string
	}{
		{"6.12/iommu-strict/unmap_resource/4096", kernel.V6_12, iova, unmap12[3:]},
		{"7.3/iommu-strict/unmap_phys_mmio/4096", kernel.V7_3, iova, unmap73},
		{"7.3/iommu-strict/cold_unmap_page/4096/variant1", kernel.V7_3, iova - 3*4096, unmap73},
		{"6.12/iommu-strict/burst_unmap_page/4096/variant1", kernel.V6_12, iova - 3*4096, unmap12[3:]},
		{"7.3/iommu-strict/burst_unmap_page/4096/variant1", kernel.V7_3, iova - 3*4096, unmap73},
	} {
		r := newRig(t, tt.v, true, 4)
		at := uint64(tt.at)
		ops := recorded.RunWarm(func(th *cpu.Thread) {
			r.dom.Core.Map(th, at, phys, 4096, rw)
			if at != iova {
				r.dom.Core.Map(th, iova, phys, 4096, rw)
			}
		}, func(th *cpu.Thread) { r.unmap(th, at, 4096) })
		for _, fn := range tt.fns {
			recorded.CheckFunction(t, ops, tt.key, fn, recorded.Exact)
		}
	}
}

// entriesWritten counts stores to page-table pages: those of the test allocator and the top table.
func entriesWritten(r *rig, ops []cpu.Op) int {
	n := 0
	for _, o := range ops {
		if o.Class.Writes() && (r.pages.owns(o.Addr) || kernel.Phys(o.Addr)&^4095 == r.dom.Root()) {
			n++
		}
	}
	return n
}

// The first map of a domain builds the tables; with the page allocator of kernel/mm below it every function of the
// driver equals the recording.
func TestTableAllocationEqualsItsRecording(t *testing.T) {
	for _, tt := range []struct {
		v   kernel.Version
		key string
		fns []string
	}{
		{kernel.V6_12, "6.12/iommu-strict/cold_map_page/4096/variant1", append(map12, "iommu_alloc_pages_node", "mod_node_page_state",
			"lruvec_stat_mod_folio", "__lruvec_stat_mod_folio", "__rcu_read_lock", "__rcu_read_unlock", "__mod_node_page_state")},
		{kernel.V7_3, "7.3/iommu-strict/cold_map_page/4096/variant1", append(cat(map73, slow73), "__map_single_page3",
			"iommu_alloc_pages_node_sz", "__folio_alloc_noprof", "mod_node_page_state", "lruvec_stat_mod_folio", "__rcu_read_lock",
			"__rcu_read_unlock")},
	} {
		t.Run(tt.key, func(t *testing.T) {
			r := newRig(t, tt.v, true, 4)
			u, err := vtd.NewUnit(r.env, r.hw, regVA, mm.New(r.env))
			if err != nil {
				t.Fatal(err)
			}
			d, err := u.NewDomain(4)
			if err != nil {
				t.Fatal(err)
			}
			ops := recorded.Run(func(th *cpu.Thread) {
				if err := d.Core.Map(th, iova, phys, 4096, iommucore.Write); err != nil {
					t.Error(err)
				}
			})
			for _, fn := range tt.fns {
				recorded.CheckFunction(t, ops, tt.key, fn, recorded.Exact)
			}
			if d.Tables != 4 {
				t.Errorf("%d tables, want 4", d.Tables)
			}
		})
	}
}

// Clearing n pages in one table costs 7.3 18 instructions per page: __unmap_range is recorded for 1, 8 and 32.
func TestUnmapRangeGrowsAsRecorded(t *testing.T) {
	recordedSelf := map[uint64]int{1: 422, 8: 549, 32: 981} // kernel-traces/functions.csv, iova_destroy
	for n := uint64(1); n <= 256; n++ {
		r := newRig(t, kernel.V7_3, true, 4)
		at := uint64(0xfff00000) - 0x100000 + (256-n)<<12
		ops := recorded.RunWarm(func(th *cpu.Thread) { r.dom.Core.Map(th, at, phys, n<<12, rw) },
			func(th *cpu.Thread) { r.unmap(th, at, n<<12) })
		got := recorded.Measure(ops).Function("__unmap_range").Instructions
		want := 422
		if n > 1 {
			want = 405 + 18*int(n)
		}
		if got != want {
			t.Fatalf("%d pages: %d instructions, want %d", n, got, want)
		}
		if w, ok := recordedSelf[n]; ok && w != got {
			t.Errorf("%d pages: %d instructions, recorded %d", n, got, w)
		}
	}
}

// Instructions of a map and of an unmap with its invalidation grow linearly with the number of pages within one table.
func TestCostIsLinearWithinATable(t *testing.T) {
	cost := func(v kernel.Version, n uint64) (m, u int) {
		r := newRig(t, v, true, 4)
		const at = 0xc0000000
		warm := func(th *cpu.Thread) {
			r.dom.Core.Map(th, at, phys, n<<12, rw)
			r.unmap(th, at, n<<12)
		}
		m = len(recorded.RunWarm(warm, func(th *cpu.Thread) { r.dom.Core.Map(th, at, phys, n<<12, rw) }))
		u = len(recorded.Run(func(th *cpu.Thread) { r.unmap(th, at, n<<12) }))
		return m, u
	}
	for _, tt := range []struct {
		v          kernel.Version
		mapPage    int // instructions per further page
		unmapPages int
	}{{kernel.V6_12, 17, 23}, {kernel.V7_3, 26, 18}} {
		m2, u2 := cost(tt.v, 2)
		for _, n := range []uint64{3, 8, 32, 256, 511} {
			m, u := cost(tt.v, n)
			if got := float64(m-m2) / float64(n-2); got != float64(tt.mapPage) {
				t.Errorf("%v: map of %d pages: %.2f instructions per page, want %d", tt.v, n, got, tt.mapPage)
			}
			if got := float64(u-u2) / float64(n-2); got != float64(tt.unmapPages) {
				t.Errorf("%v: unmap of %d pages: %.2f instructions per page, want %d", tt.v, n, got, tt.unmapPages)
			}
		}
	}
}

// The numbers in the package documentation.
func TestDocumentedTotals(t *testing.T) {
	for _, tt := range []struct {
		v          kernel.Version
		mapN, unmN int
	}{{kernel.V6_12, 453, 1239}, {kernel.V7_3, 401, 1092}} {
		r := newRig(t, tt.v, true, 4)
		m := len(recorded.RunWarm(func(th *cpu.Thread) { r.dom.Core.Map(th, iova, phys, 4096, rw); r.unmap(th, iova, 4096) },
			func(th *cpu.Thread) { r.dom.Core.Map(th, iova, phys, 4096, rw) }))
		u := len(recorded.Run(func(th *cpu.Thread) { r.unmap(th, iova, 4096) })) - 2 // the test's own frame
		if m != tt.mapN || u != tt.unmN {
			t.Errorf("%v: map %d, unmap %d; doc.go says %d, %d", tt.v, m, u, tt.mapN, tt.unmN)
		}
	}
}
