package kmsan

import (
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/mm"
	"dmapath/kernel/recorded"
)

func boot(tb testing.TB, v kernel.Version) *Shadow {
	e := kernel.NewEnv(kernel.Config{Version: v, CPUs: 1}, cache.NewMemory(), 1<<32)
	m, err := mm.NewConfigured(e, mm.Config{Model: mm.SparseVmemmap, Map: mm.PCMap(16 << 30)})
	if err != nil {
		tb.Fatal(err)
	}
	return New(e, m)
}

// What the device reads is looked at byte by byte; what it writes is filled, twice as much as the buffer has: shadow and origins. Page by page.
func TestDirections(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, c := range []struct {
			dir   kernel.Direction
			bytes int // of the shadow that are loaded one by one
			fills int // bytes that are filled
		}{{kernel.ToDevice, 10000, 0}, {kernel.FromDevice, 0, 20000}, {kernel.Bidirectional, 10000, 20000}} {
			s := boot(t, v)
			ops := recorded.Run(func(th *cpu.Thread) {
				s.HandleDMA(th, 5<<30+100, 10000, c.dir)
				if th.Depth() != 0 {
					t.Errorf("%d functions did not return", th.Depth())
				}
			})
			loads, fills := 0, 0
			for _, o := range ops {
				if o.Class == cpu.Load && o.Size == 1 {
					loads++
				}
				if o.Class == cpu.String {
					fills += int(o.Size)
				}
			}
			pages := 3 // 100 to 10100
			if loads != c.bytes || fills != c.fills || len(s.at) != pages {
				t.Errorf("%v %v: %d bytes read, %d filled, %d pages with metadata", v, c.dir, loads, fills, len(s.at))
			}
		}
	}
}

// Two buffers of one page share its shadow; another page has another.
func TestShadowIsPerPage(t *testing.T) {
	s := boot(t, kernel.V7_3)
	if first := s.pages(5); first == s.pages(6) || first != s.pages(5) {
		t.Error("shadow pages are mixed up")
	}
}
