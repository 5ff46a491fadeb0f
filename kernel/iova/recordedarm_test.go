package iova

import (
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
)

// One page from a magazine and back, and 2 MiB from the tree and back, execute what was recorded on arm64. The tree is the one of the
// x86 recordings: the steps through it (rb_prev, rb_next, the insertion) are of another one there.
func TestPathsAgreeWithTheRecordingsOnArm64(t *testing.T) {
	for _, c := range []struct {
		v           kernel.Version
		size        uint64
		alloc, free string
		allocs      []string // functions of the allocation
		frees       []string
	}{
		{kernel.V6_12, 1, "6.12-arm64/iommu-strict/map_page/4096", "6.12-arm64/iommu-strict/unmap_page/4096",
			[]string{"alloc_iova_fast"}, []string{"free_iova_fast"}},
		{kernel.V7_3, 1, "7.3-arm64/iommu-strict/map_phys/4096", "7.3-arm64/iommu-strict/unmap_phys/4096",
			[]string{"alloc_iova_fast"}, []string{"free_iova_fast"}},
		{kernel.V7_3, 8, "7.3-arm64/iommu-strict/iova_try_alloc/32768", "7.3-arm64/iommu-strict/iova_destroy/32768",
			[]string{"alloc_iova_fast"}, []string{"free_iova_fast"}},
		{kernel.V7_3, 32, "7.3-arm64/iommu-strict/iova_try_alloc/131072", "7.3-arm64/iommu-strict/iova_destroy/131072",
			[]string{"alloc_iova_fast"}, []string{"free_iova_fast"}},
		{kernel.V6_12, 512, "6.12-arm64/iommu-strict/map_page/2097152", "6.12-arm64/iommu-strict/unmap_page/2097152",
			[]string{"alloc_iova_fast", "alloc_iova", "rb_insert_color"},
			[]string{"free_iova_fast", "free_iova", "private_find_iova", "remove_iova", "rb_erase"}},
		{kernel.V7_3, 512, "7.3-arm64/iommu-strict/map_phys/2097152", "7.3-arm64/iommu-strict/unmap_phys/2097152",
			[]string{"alloc_iova_fast", "alloc_iova", "rb_insert_color"},
			[]string{"free_iova_fast", "free_iova", "private_find_iova", "remove_iova", "rb_erase"}},
	} {
		d := recordedShape(t, kernel.ARM64, c.v)
		var pfn uint64
		alloc := func(th *cpu.Thread) { pfn, _ = d.AllocFast(th, 0, c.size, 0xfffff, false) }
		free := func(th *cpu.Thread) { d.FreeFast(th, 0, pfn, c.size) }
		a := recorded.Measure(recorded.RunWarmOn(kernel.ARM64, func(th *cpu.Thread) { alloc(th); free(th) }, alloc))
		f := recorded.Measure(recorded.RunOn(kernel.ARM64, free))
		for _, half := range []struct {
			got   *recorded.Call
			key   string
			names []string
		}{{a, c.alloc, c.allocs}, {f, c.free, c.frees}} {
			want, err := recorded.Load(half.key)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range half.names {
				g, w := half.got.Function(name), want.Function(name)
				if g == nil || w == nil || g.Calls != w.Calls || g.Instructions != w.Instructions || g.Loads != w.Loads || g.Stores != w.Stores {
					t.Errorf("%s: %s: %+v, recorded %+v\n%s", half.key, name, g, w, recorded.Table(half.got, want))
				}
			}
		}
	}
}
