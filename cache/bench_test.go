package cache

import (
	"testing"

	"dmapath/sim"
)

func bare(cores int) Config {
	c := Default(cores)
	c.Prefetch = PrefetchConfig{}
	return c
}

func build(t testing.TB, c Config) *Hierarchy {
	t.Helper()
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func read(h *Hierarchy, core int, pa uint64, now sim.Time) (sim.Time, Level) {
	if _, ok := h.LoadHit(core, pa); ok {
		return now + h.cores[core].d.lat, L1
	}
	return h.Load(core, pa, 0x100, now)
}

func write(h *Hierarchy, core int, pa uint64, now sim.Time) (sim.Time, Level) {
	if _, ok := h.StoreHit(core, pa); ok {
		return now + h.cores[core].d.lat, L1
	}
	return h.Store(core, pa, 0x200, now)
}

func BenchmarkLoadHit(b *testing.B) {
	h := build(b, bare(1))
	for i := range uint64(256) {
		write(h, 0, i*64, 0)
		read(h, 0, i*64, sim.Microsecond*10)
	}
	n := 0
	for i := range b.N {
		if _, ok := h.LoadHit(0, uint64(i*7&255)*64); ok {
			n++
		}
	}
	if n != b.N {
		b.Fatal(n, b.N)
	}
}

func BenchmarkStoreHit(b *testing.B) {
	h := build(b, bare(1))
	for i := range uint64(256) {
		write(h, 0, i*64, 0)
		read(h, 0, i*64, sim.Microsecond*10)
	}
	for i := range b.N {
		if _, ok := h.StoreHit(0, uint64(i*7&255)*64); !ok {
			b.Fatal("miss")
		}
	}
}

func BenchmarkFetchHit(b *testing.B) {
	h := build(b, bare(1))
	for i := range uint64(256) {
		h.Fetch(0, i*64, 0)
		h.Fetch(0, i*64, 10*sim.Microsecond)
	}
	for i := range b.N {
		if _, ok := h.FetchHit(0, uint64(i*7&255)*64); !ok {
			b.Fatal("miss")
		}
	}
}

// BenchmarkLoadL2 misses L1D and hits L2.
func BenchmarkLoadL2(b *testing.B) {
	h := build(b, bare(1))
	now := sim.Time(0)
	for i := range b.N {
		now, _ = h.Load(0, uint64(i*13%8192)*64, 0x100, now)
	}
}

// BenchmarkLoadLLC misses L2 and hits the LLC: 4 MiB in a 1.25 MiB L2.
func BenchmarkLoadLLC(b *testing.B) {
	h := build(b, bare(1))
	now := sim.Time(0)
	for i := range b.N {
		now, _ = h.Load(0, uint64(i%65536)*64, 0x100, now)
	}
}

// BenchmarkLoadDRAM misses everything: 1 GiB at random. With an LLC of 24 MiB its rows do not fit the host's L2, and the
// host's own misses are most of it; small shows the rest.
func BenchmarkLoadDRAM(b *testing.B) {
	small := bare(1)
	small.L2.Bytes, small.LLC.Bytes = 160<<10, 12*64*1024
	for _, c := range []struct {
		name string
		cfg  Config
	}{{"small", small}, {"bare", bare(1)}, {"prefetch", Default(1)}} {
		b.Run(c.name, func(b *testing.B) {
			h := build(b, c.cfg)
			now, x := sim.Time(0), uint64(1)
			for range b.N {
				x = x*6364136223846793005 + 1442695040888963407
				now, _ = h.Load(0, x>>34&^63, uint32(x>>50), now)
			}
		})
	}
}

func BenchmarkPingPong(b *testing.B) {
	h := build(b, bare(2))
	now := sim.Time(0)
	for i := range b.N {
		now, _ = h.Store(i&1, 64, 0, now)
	}
}

func BenchmarkDeviceRead4K(b *testing.B) {
	h := build(b, bare(1))
	now := sim.Time(0)
	for i := range b.N {
		now, _ = h.DeviceRead(uint64(i)<<12, 4096, now)
	}
}

func BenchmarkDeviceWrite4K(b *testing.B) {
	h := build(b, bare(1))
	now := sim.Time(0)
	for i := range b.N {
		now = h.DeviceWrite(uint64(i)<<12, 4096, now)
	}
}

func BenchmarkDisplace(b *testing.B) {
	for _, n := range []int{100, 1000, 20000} {
		b.Run(map[int]string{100: "100", 1000: "1000", 20000: "20000"}[n], func(b *testing.B) {
			h := build(b, bare(1))
			for range b.N {
				h.Displace(0, n/2, n/2)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/line")
		})
	}
}

// BenchmarkDisplaceAndTouch includes what the displaced lines cost when the sets are next used: 300 lines of the model.
func BenchmarkDisplaceAndTouch(b *testing.B) {
	h := build(b, Default(1))
	now := sim.Time(0)
	for range b.N {
		h.Displace(0, 400, 600)
		for l := range uint64(300) {
			now, _ = h.Load(0, l*64*7, 0x100, now)
		}
	}
}
