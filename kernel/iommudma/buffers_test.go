package iommudma_test

import (
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/recorded"
)

// Who listens by OnBuffer hears, for every variant and one piece or several, of ranges that translate when they are reported as mapped, that
// make up the buffer's bytes, and that are reported again as unmapped when they do not translate any more.
func TestEveryRangeIsReported(t *testing.T) {
	for _, v := range dma.Variants() {
		for _, n := range []int{0, 1, 9} {
			m := boot(t, v.Version(), 1, false)
			c := m.ctx(t)
			b := dma.Buffer{Phys: page + 0x120, Page: cpu.VmemmapBase + page>>12*64, Size: 9000}
			if n > 0 {
				l := c.NewList(n)
				for i := range uint64(n) {
					c.AddPiece(&l.List, page+i<<20, 8192)
				}
				b = l.Buffer()
			}
			live, bytes := map[uint64]uint64{}, uint64(0)
			m.env.OnBuffer = func(ev kernel.BufferEvent) {
				_, mapped := m.drv.pages[ev.Addr&^4095]
				if mapped == ev.Unmap || ev.Device != m.dev {
					t.Errorf("%s, %d pieces: %+v, and translated: %v", v.Name(), n, ev, mapped)
				}
				if !ev.Unmap {
					live[ev.Addr], bytes = ev.Size, bytes+ev.Size
				} else if live[ev.Addr] != ev.Size {
					t.Errorf("%s, %d pieces: %d bytes at %#x are unmapped, %d were mapped", v.Name(), n, ev.Size, ev.Addr, live[ev.Addr])
				} else {
					delete(live, ev.Addr)
				}
			}
			recorded.Run(func(th *cpu.Thread) {
				addr, err := dma.MapBuffer(v, th, c, b, kernel.ToDevice, 0)
				if err != nil {
					t.Fatalf("%s: %v", v.Name(), err)
				}
				if bytes != b.Size {
					t.Errorf("%s, %d pieces: %d bytes were reported, %d mapped", v.Name(), n, bytes, b.Size)
				}
				if err := dma.UnmapBuffer(v, th, c, b, addr, kernel.ToDevice, 0); err != nil {
					t.Error(err)
				}
				if dma.MemoryOf(v) == dma.OwnMemory {
					if err := c.DrainPool(th, kernel.ToDevice); err != nil {
						t.Error(err)
					}
				}
			})
			if len(live) > 0 {
				t.Errorf("%s, %d pieces: %d ranges were not reported as unmapped", v.Name(), n, len(live))
			}
		}
	}
}
