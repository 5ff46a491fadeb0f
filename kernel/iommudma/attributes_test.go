package iommudma_test

import (
	"errors"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/direct"
	"dmapath/kernel/dma"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/mapops"
	"dmapath/kernel/recorded"
	"dmapath/kernel/swiotlb"
)

// What each version makes of each attribute, at dispatch, in dma-direct, in iommu-dma and with a provider of dma_map_ops: the result of the
// map, and whether the unmap with the same attributes undoes it.
func TestAttributes(t *testing.T) {
	const bar = 0xfe000000 // device memory below 4 GiB without struct pages
	const rw = iommucore.Read | iommucore.Write
	type want struct {
		err  error
		addr uint64         // on dma-direct; 0: the physical address
		prot iommucore.Prot // behind the IOMMU
	}
	ok := want{prot: rw | iommucore.Cache}
	mmio := want{prot: rw | iommucore.MMIO}
	for _, c := range []struct {
		name   string
		call   string
		phys   uint64
		attrs  kernel.Attrs
		arch   kernel.Arch
		set    func(d *kernel.Device)
		direct want
		iommu  want
		ops    want
	}{
		{name: "6.12 page", call: "map_page@6.12", phys: page, direct: ok, iommu: ok, ops: ok},
		{name: "6.12 knows no MMIO bit: the buffer is mapped as RAM", call: "map_page@6.12", phys: page, attrs: kernel.AttrMMIO, direct: ok, iommu: ok, ops: ok},
		{name: "6.12 knows no CC_SHARED", call: "map_page@6.12", phys: page, attrs: kernel.AttrCCShared, direct: ok, iommu: ok, ops: ok},
		{name: "6.12 knows no REQUIRE_COHERENT", call: "map_page@6.12", phys: page, attrs: kernel.AttrRequireCoherent, arch: kernel.ARM64, set: notCoherent, direct: ok, iommu: want{prot: rw}, ops: ok},
		{name: "6.12 SKIP_CPU_SYNC, NO_WARN, WEAK_ORDERING", call: "map_page@6.12", phys: page,
			attrs: kernel.AttrSkipCPUSync | kernel.AttrNoWarn | kernel.AttrWeakOrdering, direct: ok, iommu: ok, ops: ok},
		{name: "6.12 resource", call: "map_resource@6.12", phys: bar, direct: ok, iommu: mmio, ops: want{err: mapops.ErrMMIO}},

		{name: "7.3 page", call: "map_page@7.3", phys: page, direct: ok, iommu: ok, ops: ok},
		{name: "7.3 page with MMIO is an error", call: "map_page@7.3", phys: page, attrs: kernel.AttrMMIO,
			direct: want{err: dma.ErrMMIOAttr}, iommu: want{err: dma.ErrMMIOAttr}, ops: want{err: dma.ErrMMIOAttr}},
		{name: "7.3 single with MMIO is an error", call: "map_single@7.3", phys: page, attrs: kernel.AttrMMIO,
			direct: want{err: dma.ErrMMIOAttr}, iommu: want{err: dma.ErrMMIOAttr}, ops: want{err: dma.ErrMMIOAttr}},
		{name: "7.3 phys without MMIO of device memory: mapped as RAM", call: "map_phys@7.3", phys: bar, direct: ok, iommu: ok, ops: ok},
		{name: "7.3 phys with MMIO", call: "map_phys_mmio@7.3", phys: bar, direct: ok, iommu: mmio, ops: want{err: mapops.ErrMMIO}},
		{name: "7.3 resource", call: "map_resource@7.3", phys: bar, direct: ok, iommu: mmio, ops: want{err: mapops.ErrMMIO}},
		{name: "7.3 MMIO goes through dma_range_map", call: "map_phys_mmio@7.3", phys: bar, set: ranges, direct: want{addr: bar - 0xf0000000}, iommu: mmio, ops: want{err: mapops.ErrMMIO}},
		{name: "6.12 resource does not", call: "map_resource@6.12", phys: bar, set: ranges, direct: ok, iommu: mmio, ops: want{err: mapops.ErrMMIO}},
		{name: "7.3 REQUIRE_COHERENT of a coherent device", call: "map_phys@7.3", phys: page, attrs: kernel.AttrRequireCoherent, direct: ok, iommu: ok, ops: ok},
		{name: "7.3 REQUIRE_COHERENT of one that does not snoop", call: "map_phys@7.3", phys: page, attrs: kernel.AttrRequireCoherent, arch: kernel.ARM64, set: notCoherent,
			direct: want{err: dma.ErrNotCoherent}, iommu: want{err: dma.ErrNotCoherent}, ops: want{err: dma.ErrNotCoherent}},
		{name: "7.3 CC_SHARED is for dma-direct", call: "map_phys@7.3", phys: page, attrs: kernel.AttrCCShared,
			direct: ok, iommu: want{err: dma.ErrCCShared}, ops: want{err: dma.ErrCCShared}},
		{name: "7.3 SKIP_CPU_SYNC, NO_WARN, WEAK_ORDERING", call: "map_phys@7.3", phys: page,
			attrs: kernel.AttrSkipCPUSync | kernel.AttrNoWarn | kernel.AttrWeakOrdering, direct: ok, iommu: ok, ops: ok},
		{name: "7.3 list with REQUIRE_COHERENT of a device that does not snoop", call: "map_sg@7.3", phys: page, attrs: kernel.AttrRequireCoherent, arch: kernel.ARM64, set: notCoherent,
			direct: want{err: dma.ErrNotCoherent}, iommu: want{err: dma.ErrNotCoherent}, ops: want{err: dma.ErrNotCoherent}},
		{name: "7.3 linked with REQUIRE_COHERENT of a device that does not snoop", call: "iova_link@7.3", phys: page, attrs: kernel.AttrRequireCoherent, arch: kernel.ARM64, set: notCoherent,
			direct: want{err: dma.ErrNotCoherent}, iommu: want{err: iommucore.EOPNOTSUPP}, ops: want{err: dma.ErrNotCoherent}},
		{name: "7.3 linked with MMIO", call: "iova_link@7.3", phys: bar, attrs: kernel.AttrMMIO, direct: ok, iommu: mmio, ops: want{err: mapops.ErrMMIO}},
	} {
		v, err := dma.Lookup(c.call)
		if err != nil {
			t.Fatal(err)
		}
		for _, backend := range []string{"direct", "iommu", "ops"} {
			t.Run(c.name+"/"+backend, func(t *testing.T) {
				m := boot(t, v.Version(), 1, false)
				m.env.Arch = c.arch
				x := m.ctx(t)
				w := c.iommu
				switch backend {
				case "direct":
					w = c.direct
					m.dev.IOMMU = false
					x.Direct = direct.New(m.env, nil)
				case "ops":
					w = c.ops
					m.dev.IOMMU = false
					g, err := mapops.NewGart(m.env, x.MM, 0xc0000000, 1<<20)
					if err != nil {
						t.Fatal(err)
					}
					x.Ops = mapops.New(m.env, g)
				}
				if c.set != nil {
					c.set(m.dev)
				}
				b := dma.Buffer{Phys: c.phys, Size: 4096}
				if c.phys == page {
					b.Page = cpu.VmemmapBase + page>>12*64
				}
				recorded.Run(func(th *cpu.Thread) {
					addr, err := v.Map(th, x, b, kernel.Bidirectional, c.attrs)
					if w.err != nil {
						if addr != kernel.MappingError || !errors.Is(err, w.err) {
							t.Errorf("%#x, %v; want %v", addr, err, w.err)
						}
						if len(m.drv.pages) != 0 {
							t.Errorf("%d pages are mapped after the error", len(m.drv.pages))
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					if at := w.addr; backend == "direct" && addr != at && (at != 0 || addr != c.phys) {
						t.Errorf("mapped to %#x", addr)
					}
					if backend == "iommu" && m.drv.prot != w.prot {
						t.Errorf("protection %#x, want %#x", m.drv.prot, w.prot)
					}
					if err := v.Unmap(th, x, addr, 4096, kernel.Bidirectional, c.attrs); err != nil {
						t.Errorf("unmap: %v", err)
					}
					if len(m.drv.pages) != 0 {
						t.Errorf("%d pages stay mapped", len(m.drv.pages))
					}
					if th.Depth() != 0 {
						t.Errorf("%d functions did not return", th.Depth())
					}
				})
			})
		}
	}
}

func notCoherent(d *kernel.Device) { d.NonCoherent = true }

func ranges(d *kernel.Device) {
	d.Ranges = []kernel.BusRange{{CPU: 0xf0000000, DMA: 0, Size: 0x10000000}}
}

// Unmapping with other attributes than mapping, behind an IOMMU: dma_unmap_page of 7.3 with MMIO returns at once and leaks the
// mapping; without it the wrong call works, by a walk of the tables.
func TestUnmapWithOtherAttributes(t *testing.T) {
	for _, c := range []struct {
		name         string
		mapped       string
		with         kernel.Attrs
		unmap        string
		attrs        kernel.Attrs
		walks, leaks int
	}{
		{"page, unmapped with MMIO", "map_page@7.3", 0, "map_page@7.3", kernel.AttrMMIO, 0, 1},
		{"page, unmapped", "map_page@7.3", 0, "map_page@7.3", 0, 1, 0},
		{"MMIO, unmapped by page without the attribute", "map_phys@7.3", kernel.AttrMMIO, "map_page@7.3", 0, 1, 0},
		{"MMIO, unmapped with it", "map_phys@7.3", kernel.AttrMMIO, "map_phys@7.3", kernel.AttrMMIO, 0, 0},
		{"RAM, unmapped as if MMIO: no walk, no sync", "map_phys@7.3", 0, "map_phys@7.3", kernel.AttrMMIO, 0, 0},
		{"RAM, REQUIRE_COHERENT is the short unmap", "map_phys@7.3", kernel.AttrRequireCoherent, "map_phys@7.3", kernel.AttrRequireCoherent, 0, 0},
		{"6.12 page, MMIO bit unknown", "map_page@6.12", 0, "map_page@6.12", kernel.AttrMMIO, 1, 0},
		{"6.12 resource, unmapped by page", "map_resource@6.12", 0, "map_page@6.12", 0, 1, 0},
		{"6.12 resource", "map_resource@6.12", 0, "map_resource@6.12", 0, 0, 0},
	} {
		a, _ := dma.Lookup(c.mapped)
		b, _ := dma.Lookup(c.unmap)
		m := boot(t, a.Version(), 1, false)
		x := m.ctx(t)
		leaks := 0
		m.env.OnHazard = func(h kernel.Hazard) {
			if h.Kind == kernel.Leak {
				leaks++
			}
		}
		buf := dma.Buffer{Phys: page, Page: cpu.VmemmapBase + page>>12*64, Size: 4096}
		var addr uint64
		recorded.Run(func(th *cpu.Thread) {
			var err error
			if addr, err = a.Map(th, x, buf, kernel.ToDevice, c.with); err != nil {
				t.Fatal(err)
			}
		})
		walks := 0
		if f := recorded.Measure(recorded.Run(func(th *cpu.Thread) { b.Unmap(th, x, addr, 4096, kernel.ToDevice, c.attrs) })).Function("iommu_iova_to_phys"); f != nil {
			walks = f.Calls
		}
		if walks != c.walks || leaks != c.leaks || len(m.drv.pages) != c.leaks {
			t.Errorf("%s: %d walks, %d leaks, %d pages stay mapped; want %d walks, %d leaks", c.name, walks, leaks, len(m.drv.pages), c.walks, c.leaks)
		}
	}
}

// Forced bouncing and the attributes: 7.3 refuses what cannot bounce, 6.12 never looks at swiotlb for device memory.
func TestAttributesWhenBouncingIsForced(t *testing.T) {
	for _, c := range []struct {
		call  string
		attrs kernel.Attrs
		phys  uint64
		err   error
	}{
		{"map_resource@6.12", 0, 0xfe000000, nil},
		{"map_resource@7.3", 0, 0xfe000000, direct.ErrForced},
		{"map_phys@7.3", kernel.AttrMMIO, 0xfe000000, direct.ErrForced},
		{"map_phys@7.3", kernel.AttrRequireCoherent, page, direct.ErrForced},
	} {
		v, _ := dma.Lookup(c.call)
		m := boot(t, v.Version(), 1, false)
		x := m.ctx(t)
		m.dev.IOMMU = false
		cfg := swiotlb.Default(m.env, 2<<30)
		cfg.Force = true
		pool, err := swiotlb.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		x.Direct = direct.New(m.env, pool)
		recorded.Run(func(th *cpu.Thread) {
			if _, err := v.Map(th, x, dma.Buffer{Phys: c.phys, Size: 4096}, kernel.ToDevice, c.attrs); !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Errorf("%s %v: %v, want %v", c.call, c.attrs, err, c.err)
			}
		})
	}
}
