package iommudma_test

import (
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommudma"
	"dmapath/kernel/mm"
	"dmapath/kernel/recorded"
)

func (m *machine) ctx(tb testing.TB) *dma.Ctx {
	tb.Helper()
	mem, err := mm.NewConfigured(m.env, mm.Config{Model: mm.SparseVmemmap, Map: mm.PCMap(16 << 30)})
	if err != nil {
		tb.Fatal(err)
	}
	c := &dma.Ctx{Env: m.env, MM: mem, Dev: m.dev, IOMMU: m.l}
	if err := c.Validate(); err != nil {
		tb.Fatal(err)
	}
	return c
}

// translated returns what the device finds at addr for n bytes.
func (m *machine) translated(tb testing.TB, addr, phys, n uint64) {
	tb.Helper()
	for o := uint64(0); o < n; o++ {
		if o > 0 && (addr+o)&4095 != 0 && o != n-1 {
			continue // first and last byte, and the first of every page
		}
		if got, ok := m.drv.pages[(addr+o)&^4095]; !ok || got+(addr+o)&4095 != phys+o {
			tb.Errorf("%#x translates to %#x (%v), want %#x", addr+o, got+(addr+o)&4095, ok, phys+o)
			return
		}
	}
}

// Every variant maps what it says, one piece or several, strict or lazy, and unmaps it again: nothing stays in the page table. Only
// iova_link invalidates at once in a lazy domain.
func TestEveryCallMapsAndUnmaps(t *testing.T) {
	for _, v := range dma.Variants() {
		for _, lazy := range []bool{false, true} {
			for _, n := range []int{0, 1, 9} { // 0: a buffer that is not a list
				m := boot(t, v.Version(), 1, lazy)
				c := m.ctx(t)
				b := dma.Buffer{Phys: page + 0x120, Page: cpu.VmemmapBase + page>>12*64, Size: 9000}
				if n > 0 {
					l := c.NewList(n)
					for i := range uint64(n) {
						c.AddPiece(&l.List, page+i<<20, 8192)
					}
					b = l.Buffer()
				}
				name := v.Name()
				recorded.Run(func(th *cpu.Thread) {
					for range 2 {
						addr, err := dma.MapBuffer(v, th, c, b, kernel.ToDevice, 0)
						if err != nil {
							t.Fatalf("%s lazy %v: %v", name, lazy, err)
						}
						if l := b.List; l == nil {
							m.translated(t, addr, b.Phys, b.Size)
						} else {
							for i, e := range l.Entries {
								at := addr + uint64(i)*8192 // one range
								if len(l.Addrs) > 0 {
									at = l.Addrs[i]
								}
								m.translated(t, at, e.Phys, e.Size)
							}
						}
						if err := dma.UnmapBuffer(v, th, c, b, addr, kernel.ToDevice, 0); err != nil {
							t.Errorf("%s: %v", name, err)
						}
						if strings.HasPrefix(name, "premapped") {
							if len(m.drv.pages) == 0 {
								t.Errorf("%s: nothing stays mapped for the next use", name)
							}
							continue
						}
						if len(m.drv.pages) != 0 {
							t.Errorf("%s lazy %v, %d pieces: %d pages stay mapped", name, lazy, n, len(m.drv.pages))
						}
					}
					if err := c.DrainPool(th, kernel.ToDevice); err != nil || len(m.drv.pages) != 0 {
						t.Errorf("%s: drained: %v, %d pages", name, err, len(m.drv.pages))
					}
					if th.Depth() != 0 {
						t.Errorf("%s: %d functions did not return", name, th.Depth())
					}
				})
				if s := m.k.Stats; s.NotMapped != 0 || s.Failures != 0 {
					t.Errorf("%s: %+v", name, s)
				}
				if link := strings.HasPrefix(name, "iova_link"); lazy && (m.drv.syncs != 0) != link {
					t.Errorf("%s in a lazy domain: %d invalidations", name, m.drv.syncs)
				}
			}
		}
	}
}

// A range that cannot be filled to its end is given back as a whole, and so are the pieces mapped before one that fails.
func TestFailureInTheMiddleOfAList(t *testing.T) {
	for _, v := range dma.Variants() {
		m := boot(t, v.Version(), 1, false)
		c := m.ctx(t)
		l := c.NewList(6)
		for i := range uint64(6) {
			c.AddPiece(&l.List, page+i<<20, 4096)
		}
		b := l.Buffer()
		m.drv.failAfter = 3
		recorded.Run(func(th *cpu.Thread) {
			addr, err := dma.MapBuffer(v, th, c, b, kernel.ToDevice, 0)
			if err == nil || addr != kernel.MappingError {
				t.Errorf("%s: %#x, %v", v.Name(), addr, err)
			}
			m.drv.failAfter = 0
			c.DrainPool(th, kernel.ToDevice)
			if len(m.drv.pages) != 0 || m.k.Stats.NotMapped != 0 {
				t.Errorf("%s: %d pages stay mapped, %+v", v.Name(), len(m.drv.pages), m.k.Stats)
			}
			if _, err = dma.MapBuffer(v, th, c, b, kernel.ToDevice, 0); err != nil {
				t.Errorf("%s: again: %v", v.Name(), err)
			}
		})
	}
}

// One range and one allocation against one for every piece: for 32 scattered pages the list and the range need one IOVA, the pieces 32.
func TestOneAllocationForAllPieces(t *testing.T) {
	count := func(name string) (allocs, maps, syncs int) {
		v, err := dma.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		m := boot(t, v.Version(), 1, false)
		m.dev.MaxSeg = 1<<32 - 1
		c := m.ctx(t)
		l := c.NewList(32)
		for i := range uint64(32) {
			c.AddPiece(&l.List, page+i<<20, 4096)
		}
		ops := recorded.Run(func(th *cpu.Thread) {
			addr, _ := dma.MapBuffer(v, th, c, l.Buffer(), kernel.ToDevice, 0)
			dma.UnmapBuffer(v, th, c, l.Buffer(), addr, kernel.ToDevice, 0)
		})
		for _, f := range recorded.Measure(ops).Functions {
			switch f.Name {
			case "iommu_dma_alloc_iova":
				allocs = f.Calls
			case "iommu_map", "__iommu_map", "iommu_map_nosync":
				maps = max(maps, f.Calls)
			}
		}
		return allocs, maps, m.drv.syncs
	}
	for _, c := range []struct {
		name                string
		allocs, maps, syncs int
	}{
		{"map_page@6.12", 32, 32, 32}, {"map_phys@7.3", 32, 32, 32}, {"map_sg@6.12", 1, 32, 1}, {"map_sg@7.3", 1, 32, 1}, {"iova_link@7.3", 1, 32, 1},
	} {
		if a, n, s := count(c.name); a != c.allocs || n != c.maps || s != c.syncs {
			t.Errorf("%s: %d allocations, %d maps, %d invalidations; want %+v", c.name, a, n, s, c)
		}
	}
}

// A sync asks nothing of a trusted device's IOMMU, and walks the tables of an untrusted one's.
func TestSyncWalksForUntrustedDevicesOnly(t *testing.T) {
	for _, v := range versions {
		for _, untrusted := range []bool{false, true} {
			m := boot(t, v, 1, false)
			m.dev.NeedSync, m.dev.Untrusted = true, untrusted
			c := m.ctx(t)
			walks := func(body func(th *cpu.Thread)) (n int) {
				if f := recorded.Measure(recorded.Run(body)).Function("iommu_iova_to_phys"); f != nil {
					n = f.Calls
				}
				return n
			}
			var addr uint64
			sg := &dma.SG{VA: m.env.Slab(4096, 64) + 64}
			for i := range uint64(4) {
				sg.Segs = append(sg.Segs, segment(page+i<<20))
			}
			recorded.Run(func(th *cpu.Thread) {
				addr, _ = m.l.Map(th, m.dev, page, 4096, kernel.FromDevice, 0)
				if err := c.MapSGTable(th, sg, kernel.FromDevice, 0); err != nil {
					t.Fatal(err)
				}
			})
			for toDevice, sync := range map[bool]func(*cpu.Thread, uint64, uint64, kernel.Direction) error{false: c.SyncSingleForCPU, true: c.SyncSingleForDevice} {
				one := walks(func(th *cpu.Thread) { sync(th, addr, 4096, kernel.FromDevice) })
				all := walks(func(th *cpu.Thread) { c.SyncSG(th, sg, kernel.FromDevice, toDevice) })
				if want := map[bool]int{false: 0, true: 1}[untrusted]; one != want || all != 4*want {
					t.Errorf("%v untrusted %v: %d walks for a buffer, %d for 4 pieces", v, untrusted, one, all)
				}
			}
		}
	}
}

// An untrusted device: buffers that do not fill their granules bounce, whichever call maps them; nothing stays mapped and no slot in use.
func TestUntrustedDevicesGiveTheirSlotsBack(t *testing.T) {
	for _, v := range dma.Variants() {
		if dma.MemoryOf(v) == dma.DeviceMemory {
			continue
		}
		m := boot(t, v.Version(), 1, false)
		m.dev.Untrusted = true
		c := m.ctx(t)
		b := dma.Buffer{Phys: page + 0x200, Page: cpu.VmemmapBase + page>>12*64, Size: 1024}
		if v.Name() == "iova_link@7.3" {
			b.Phys = page // the copy has no place for an offset unless the device asks for one (min_align_mask)
		}
		recorded.Run(func(th *cpu.Thread) {
			addr, err := dma.MapBuffer(v, th, c, b, kernel.Bidirectional, 0)
			if err != nil {
				t.Fatalf("%s: %v", v.Name(), err)
			}
			if at := m.drv.pages[addr&^4095]; at == page || m.pools.Used() == 0 {
				t.Errorf("%s: the buffer's own page is mapped, %d slots", v.Name(), m.pools.Used())
			}
			if err := dma.UnmapBuffer(v, th, c, b, addr, kernel.Bidirectional, 0); err != nil {
				t.Errorf("%s: %v", v.Name(), err)
			}
			c.DrainPool(th, kernel.Bidirectional)
			if len(m.drv.pages) != 0 || m.pools.Used() != 0 || th.Depth() != 0 {
				t.Errorf("%s: %d pages, %d slots, depth %d", v.Name(), len(m.drv.pages), m.pools.Used(), th.Depth())
			}
		})
	}
}

// A piece that is not the first must begin on a granule: dma_iova_link refuses it, and the variant does not try.
func TestLinkRefusesGaps(t *testing.T) {
	m := boot(t, kernel.V7_3, 1, false)
	c := m.ctx(t)
	st := &iommudma.State{VA: m.env.Slab(64, 64)}
	v, _ := dma.Lookup("iova_link@7.3")
	l := c.NewList(3)
	for i := range uint64(3) {
		c.AddPiece(&l.List, page+i<<20+0x200, 1024)
	}
	recorded.Run(func(th *cpu.Thread) {
		if !m.l.TryAlloc(th, m.dev, st, page+0x200, 8192) {
			t.Fatal("no addresses")
		}
		if err := m.l.Link(th, m.dev, st, page+0x200, 0, 3584, kernel.ToDevice, 0); err != nil {
			t.Errorf("the first piece: %v", err)
		}
		if err := m.l.Link(th, m.dev, st, page+1<<20+0x200, 3584, 1024, kernel.ToDevice, 0); err != iommucore.EIO {
			t.Errorf("the second: %v, want EIO", err)
		}
		m.l.Destroy(th, m.dev, st, 3584, kernel.ToDevice, 0)
		addr, err := dma.MapBuffer(v, th, c, l.Buffer(), kernel.ToDevice, 0)
		if err != nil || len(l.Addrs) != 3 || l.State.Size != 0 {
			t.Errorf("%#x, %v, %d addresses, range of %d bytes; want three pieces", addr, err, len(l.Addrs), l.State.Size)
		}
		dma.UnmapBuffer(v, th, c, l.Buffer(), addr, kernel.ToDevice, 0)
		if len(m.drv.pages) != 0 || th.Depth() != 0 {
			t.Errorf("%d pages stay mapped, depth %d", len(m.drv.pages), th.Depth())
		}
	})
}
