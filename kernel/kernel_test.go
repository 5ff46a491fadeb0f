package kernel

import (
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
)

// Symbols that share a line in the recorded kernels share one here, and no others do.
func TestSymbolLines(t *testing.T) {
	for _, v := range []Version{V6_12, V7_3} {
		s := NewEnv(Config{Version: v, CPUs: 1}, cache.NewMemory(), 1<<30).Sym
		if s.VmemmapBase>>6 != s.PageOffsetBase>>6 || s.VmemmapBase>>6 != s.VmallocBase>>6 {
			t.Errorf("%v: vmemmap_base, vmalloc_base and page_offset_base are on different lines", v)
		}
		seen := map[uint64]string{}
		for name, va := range map[string]uint64{"vmemmap_base": s.VmemmapBase, "phys_base": s.PhysBase, "dma_ops": s.DmaOps,
			"sme_me_mask": s.SmeMeMask, "cc_vendor": s.CcVendor, "io_tlb_default_mem": s.IoTlb, "gfp_allowed_mask": s.GfpAllowedMask,
			"__kfence_pool": s.KfencePool, "mem_section": s.MemSection} {
			if other, ok := seen[va>>6]; ok {
				t.Errorf("%v: %s and %s share a line", v, name, other)
			}
			seen[va>>6] = name
		}
	}
}

// Hot per-CPU variables: three lines on 6.12, one on 7.3, and a different one per CPU.
func TestPerCPULines(t *testing.T) {
	for v, want := range map[Version]int{V6_12: 3, V7_3: 1} {
		lines := map[uint64]bool{}
		for _, f := range []func(Version, int) uint64{PreemptCount, StackGuard, ThisCPUOff, CurrentTask} {
			lines[f(v, 0)>>6] = true
			if f(v, 1)-f(v, 0) != PerCPUStride {
				t.Errorf("%v: per-CPU variable is %#x apart on two CPUs, want %#x", v, f(v, 1)-f(v, 0), PerCPUStride)
			}
		}
		if len(lines) != want {
			t.Errorf("%v: %d lines, want %d", v, len(lines), want)
		}
	}
}

// The bytes within their lines at which the recordings load a device's fields.
func TestDeviceFieldsLieAsRecorded(t *testing.T) {
	for v, want := range map[Version]map[string]uint64{
		V6_12: {"dma_ops": 16, "dma_mask": 24, "bus_dma_limit": 40, "dma_range_map": 48, "dma_parms": 56, "io_tlb": 16, "group": 32,
			"default": 40, "iommu": 40, "workaround": 36, "flags": 60, "mask": 8, "min_align": 20, "bus": 40, "untrusted": 20},
		V7_3: {"dma_ops": 40, "dma_mask": 48, "bus_dma_limit": 0, "dma_range_map": 8, "dma_parms": 16, "io_tlb": 48, "group": 0,
			"default": 32, "iommu": 8, "workaround": 60, "flags": 32, "mask": 8, "min_align": 28, "bus": 48, "untrusted": 51},
	} {
		e := NewEnv(Config{Version: v, CPUs: 1}, cache.NewMemory(), 1<<30)
		for range 3 {
			a := e.NewDevice("0000:00:01.0", 8, ^uint64(0)).At
			got := map[string]uint64{"dma_ops": a.DmaOps, "dma_mask": a.DmaMask, "bus_dma_limit": a.BusDmaLimit, "dma_range_map": a.DmaRangeMap,
				"dma_parms": a.DmaParms, "io_tlb": a.IoTlbMem, "group": a.IommuGroup, "default": a.Default, "iommu": a.Iommu,
				"workaround": a.Workaround, "flags": a.Flags, "mask": a.MaskValue, "min_align": a.MinAlignMask, "bus": a.Bus, "untrusted": a.Untrusted}
			for k, b := range want {
				if got[k]%64 != b {
					t.Errorf("%v: %s at byte %d of its line, recorded at %d", v, k, got[k]%64, b)
				}
			}
			if a.DmaOps>>6 != a.DmaMask>>6 || a.IommuGroup>>6 != a.Flags>>6 || a.IommuGroup>>6 != a.Iommu>>6 || a.MaskValue>>6 != a.MinAlignMask>>6 {
				t.Errorf("%v: fields that share a line in the recordings do not", v)
			}
		}
	}
}

// Areas of the environment never overlap, whatever is taken from them in which order.
func TestAreasDoNotOverlap(t *testing.T) {
	e := NewEnv(Config{CPUs: 4}, cache.NewMemory(), 1<<30)
	type area struct{ a, b uint64 }
	var all []area
	take := func(va uint64, n int) { all = append(all, area{va, va + uint64(n)}) }
	for i := range 50 {
		take(e.Data(i+1), i+1)
		take(e.Slab(i*3+1, 8), i*3+1)
		take(e.Page(), 4096)
		p := e.Pages(i % 4)
		if p%(4096<<(i%4)) != 0 {
			t.Errorf("pages of order %d at %#x", i%4, p)
		}
		take(p, 4096<<(i%4))
		off := e.PerCPU(i+1, 8)
		for c := range 4 {
			take(e.Cpu(off, c), i+1)
		}
	}
	for i, x := range all {
		for _, y := range all[:i] {
			if x.a < y.b && y.a < x.b {
				t.Fatalf("%#x..%#x and %#x..%#x overlap", x.a, x.b, y.a, y.b)
			}
		}
	}
}

func TestPhysAndVirtAreInverse(t *testing.T) {
	if Virt(0) != cpu.DirectMapBase || Phys(Virt(0x123456789)) != 0x123456789 {
		t.Error("direct map is not linear")
	}
}
