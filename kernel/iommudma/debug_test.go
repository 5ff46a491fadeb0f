package iommudma_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/dmadebug"
	"dmapath/kernel/kmsan"
	"dmapath/kernel/mm"
	"dmapath/kernel/recorded"
	"dmapath/kernel/trace"
)

// options turns debug options of m on.
func (m *machine) options(tb testing.TB, c *dma.Ctx, o kernel.Debug) *trace.Ring {
	tb.Helper()
	m.env.Debug = o
	if o.DMAAPI {
		c.Debug = dmadebug.New(m.env, c.MM)
	}
	if o.KMSAN {
		c.KMSAN = kmsan.New(m.env, c.MM)
	}
	var r *trace.Ring
	if o.Trace {
		var err error
		if r, err = trace.New(m.env, 64<<10); err != nil {
			tb.Fatal(err)
		}
		m.env.Tracer = r
	}
	if err := c.Validate(); err != nil {
		tb.Fatal(err)
	}
	return r
}

// Debug options change what a call costs, not what it does: every variant maps and unmaps as without them, DMA_API_DEBUG has nothing to
// complain about and forgets everything, and every option adds instructions.
func TestDebugOptionsChangeCostOnly(t *testing.T) {
	for _, v := range dma.Variants() {
		for _, n := range []int{1, 4} {
			cost := func(o kernel.Debug) int {
				m := boot(t, v.Version(), 1, false)
				c := m.ctx(t)
				m.options(t, c, o)
				b := dma.Buffer{Phys: page, Page: cpu.VmemmapBase + page>>12*64, Size: 8192}
				if dma.MemoryOf(v) == dma.DeviceMemory {
					b = dma.Buffer{Phys: 1 << 42, Size: 8192}
				}
				if n > 1 {
					l := c.NewList(n)
					for i := range uint64(n) {
						c.AddPiece(&l.List, b.Phys+i<<20, 4096)
					}
					b = l.Buffer()
				}
				count := len(recorded.Run(func(th *cpu.Thread) {
					addr, err := dma.MapBuffer(v, th, c, b, kernel.FromDevice, 0)
					if err != nil {
						t.Fatalf("%s %+v: %v", v.Name(), o, err)
					}
					if b.List == nil {
						m.translated(t, addr, b.Phys, b.Size)
					}
					if err := dma.UnmapBuffer(v, th, c, b, addr, kernel.FromDevice, 0); err != nil {
						t.Errorf("%s %+v: %v", v.Name(), o, err)
					}
					if err := c.DrainPool(th, kernel.FromDevice); err != nil || th.Depth() != 0 {
						t.Errorf("%s %+v: %v, depth %d", v.Name(), o, err, th.Depth())
					}
				}))
				if len(m.drv.pages) != 0 || m.k.Stats.NotMapped != 0 {
					t.Errorf("%s %+v: %d pages stay mapped", v.Name(), o, len(m.drv.pages))
				}
				if c.Debug != nil {
					s := c.Debug.Stats
					if c.Debug.Live() != 0 || c.Debug.Lines() != 0 || s.NotMapped+s.WrongSize+s.WrongKind+s.WrongDirection+s.Overlaps+s.RAMAsDevice != 0 {
						t.Errorf("%s: %d entries left, %+v", v.Name(), c.Debug.Live(), s)
					}
				}
				return count
			}
			off := cost(kernel.Debug{})
			for _, o := range []kernel.Debug{{DMAAPI: true}, {Trace: true}, {KMSAN: true}} {
				// the two-step interface is invisible to DMA_API_DEBUG and KMSAN; of device memory KMSAN has no shadow
				blind := strings.HasPrefix(v.Name(), "iova_link") && !o.Trace || dma.MemoryOf(v) == dma.DeviceMemory && o.KMSAN
				if on := cost(o); (on > off) == blind {
					t.Errorf("%s, %d pieces: %d instructions without %+v, %d with it", v.Name(), n, off, o, on)
				}
			}
		}
	}
}

// Which events a call records: those of the IOMMU for every range, those of the DMA API once per call, of a list once, and none for
// dma_iova_*.
func TestEventsOfACall(t *testing.T) {
	for _, c := range []struct {
		call   string
		pieces int
		events int64 // of a map and an unmap
	}{
		{"map_page@6.12", 0, 4}, {"map_phys@7.3", 0, 4}, {"map_resource@6.12", 0, 4},
		{"map_page@6.12", 3, 12}, {"map_sg@6.12", 3, 3 + 1 + 2}, {"map_sg@7.3", 3, 3 + 1 + 2}, {"iova_link@7.3", 3, 3 + 1},
	} {
		v, _ := dma.Lookup(c.call)
		m := boot(t, v.Version(), 1, false)
		x := m.ctx(t)
		r := m.options(t, x, kernel.Debug{Trace: true})
		b := dma.Buffer{Phys: page, Page: cpu.VmemmapBase + page>>12*64, Size: 4096}
		if c.pieces > 0 {
			l := x.NewList(c.pieces)
			for i := range uint64(c.pieces) {
				x.AddPiece(&l.List, page+i<<20, 4096)
			}
			b = l.Buffer()
		}
		recorded.Run(func(th *cpu.Thread) {
			addr, _ := dma.MapBuffer(v, th, x, b, kernel.ToDevice, 0)
			dma.UnmapBuffer(v, th, x, b, addr, kernel.ToDevice, 0)
			x.SyncSingleForCPU(th, addr, 64, kernel.ToDevice) // is skipped: no event
		})
		if r.Records != c.events {
			t.Errorf("%s, %d pieces: %d events, want %d", c.call, c.pieces, r.Records, c.events)
		}
	}
}

// With DMA_API_DEBUG a sync is never skipped, dma_need_unmap is true, and 7.3 refuses pages of device memory.
func TestDMAAPIDebugIsSeenByDrivers(t *testing.T) {
	for _, v := range versions {
		m := boot(t, v, 1, false)
		c := m.ctx(t)
		cfg := c.MM.Memory()
		cfg.Map = append(slices.Clone(cfg.Map), mm.Range{Start: 1 << 40, Size: 256 << 20, Kind: mm.ZoneDevice})
		var err error
		if c.MM, err = mm.NewConfigured(m.env, cfg); err != nil {
			t.Fatal(err)
		}
		m.options(t, c, kernel.Debug{DMAAPI: true})
		call := "map_page@" + v.String()
		va, _ := dma.Lookup(call)
		recorded.Run(func(th *cpu.Thread) {
			_, err := va.Map(th, c, dma.Buffer{Phys: 1 << 40, Page: cpu.VmemmapBase + 1<<40>>12*64, Size: 4096}, kernel.ToDevice, 0)
			if refused := errors.Is(err, dma.ErrZoneDevice); refused != (v == kernel.V7_3) {
				t.Errorf("%v: a page of device memory: %v", v, err)
			}
			if !c.NeedSync() || !c.NeedUnmap(th) {
				t.Errorf("%v: need sync %v, need unmap %v", v, c.NeedSync(), c.NeedUnmap(th))
			}
			c.SyncSingleForCPU(th, 0x123000, 64, kernel.FromDevice)
			if c.Debug.Stats.NotMapped != 1 {
				t.Errorf("%v: a sync of nothing: %+v", v, c.Debug.Stats)
			}
		})
	}
}
