package dmadebug

import (
	"math/rand/v2"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/mm"
	"dmapath/kernel/recorded"
	"dmapath/kernel/scatterlist"
)

var versions = []kernel.Version{kernel.V6_12, kernel.V7_3}

func boot(tb testing.TB, v kernel.Version) (*Debug, *kernel.Device) {
	tb.Helper()
	e := kernel.NewEnv(kernel.Config{Version: v, CPUs: 4, Coherent: true}, cache.NewMemory(), 1<<32)
	m, err := mm.NewConfigured(e, mm.Config{Model: mm.SparseVmemmap, Map: mm.PCMap(16 << 30)})
	if err != nil {
		tb.Fatal(err)
	}
	return New(e, m), e.NewDevice("0000:00:01.0", 8, ^uint64(0))
}

// Correct drivers are never accused, whatever the order; entries and cache lines are those of the live mappings, by a plain map.
func TestAgainstAPlainMap(t *testing.T) {
	for _, v := range versions {
		d, dev := boot(t, v)
		rng := rand.New(rand.NewPCG(uint64(v), 11))
		type live struct {
			addr, phys, size uint64
			dir              kernel.Direction
		}
		var lives []live
		lines := map[uint64]int{}
		recorded.Run(func(th *cpu.Thread) {
			for i := range 4000 {
				if rng.IntN(100) < 53 || len(lives) == 0 {
					l := live{0x1000 * rng.Uint64N(1<<16), 0x40 * (1<<26 + rng.Uint64N(1<<24)), 1 + rng.Uint64N(1<<16), kernel.Direction(rng.IntN(3))}
					if containsAddr(lives, func(o live) bool { return o.addr == l.addr }) {
						continue // no two live mappings have one address
					}
					d.Map(th, dev, l.addr, l.phys, l.size, l.dir, false)
					lives = append(lives, l)
					if l.dir != kernel.ToDevice {
						lines[l.phys>>6]++
					}
				} else {
					k := rng.IntN(len(lives))
					l := lives[k]
					if i%3 == 0 && l.size > 100 {
						d.Sync(th, dev, l.addr+50, 40, l.dir)
					}
					d.Unmap(th, dev, l.addr, l.size, l.dir, false)
					lives[k] = lives[len(lives)-1]
					lives = lives[:len(lives)-1]
					if l.dir != kernel.ToDevice {
						if lines[l.phys>>6]--; lines[l.phys>>6] == 0 {
							delete(lines, l.phys>>6)
						}
					}
				}
				if d.Live() != len(lives) || d.Lines() != len(lines) {
					t.Fatalf("%v: %d entries and %d lines, want %d and %d", v, d.Live(), d.Lines(), len(lives), len(lines))
				}
			}
			for _, l := range lives {
				d.Unmap(th, dev, l.addr, l.size, l.dir, false)
			}
			if th.Depth() != 0 {
				t.Errorf("%d functions did not return", th.Depth())
			}
		})
		if s := d.Stats; d.Live() != 0 || d.Lines() != 0 || d.lines.height != 0 || s.NotMapped+s.WrongSize+s.WrongKind+s.WrongDirection != 0 || s.Maps != s.Unmaps {
			t.Errorf("%v: %d entries, %d lines, height %d, %+v", v, d.Live(), d.Lines(), d.lines.height, s)
		}
	}
}

func containsAddr[T any](s []T, f func(T) bool) bool {
	for _, x := range s {
		if f(x) {
			return true
		}
	}
	return false
}

// What a driver does wrong is noticed, once each.
func TestMistakesAreNoticed(t *testing.T) {
	for _, v := range versions {
		for _, c := range []struct {
			name string
			do   func(d *Debug, dev, other *kernel.Device, th *cpu.Thread)
			want Stats
		}{
			{"unmap of another address", func(d *Debug, dev, _ *kernel.Device, th *cpu.Thread) {
				d.Unmap(th, dev, 0x5000, 4096, kernel.FromDevice, false)
			}, Stats{NotMapped: 1}},
			{"unmap by another device", func(d *Debug, _, other *kernel.Device, th *cpu.Thread) {
				d.Unmap(th, other, 0x4000, 4096, kernel.FromDevice, false)
			}, Stats{NotMapped: 1}},
			{"another size", func(d *Debug, dev, _ *kernel.Device, th *cpu.Thread) {
				d.Unmap(th, dev, 0x4000, 8192, kernel.FromDevice, false)
			}, Stats{WrongSize: 1}},
			{"another direction", func(d *Debug, dev, _ *kernel.Device, th *cpu.Thread) {
				d.Unmap(th, dev, 0x4000, 4096, kernel.ToDevice, false)
			}, Stats{WrongDirection: 1}},
			{"twice", func(d *Debug, dev, _ *kernel.Device, th *cpu.Thread) {
				d.Unmap(th, dev, 0x4000, 4096, kernel.FromDevice, false)
				d.Unmap(th, dev, 0x4000, 4096, kernel.FromDevice, false)
			}, Stats{NotMapped: 1}},
			{"sync of nothing", func(d *Debug, dev, _ *kernel.Device, th *cpu.Thread) { d.Sync(th, dev, 0x90000, 64, kernel.FromDevice) }, Stats{NotMapped: 1}},
			{"sync beyond the end", func(d *Debug, dev, _ *kernel.Device, th *cpu.Thread) {
				d.Sync(th, dev, 0x4800, 4096, kernel.FromDevice)
			}, Stats{NotMapped: 1}},
			{"sync the wrong way", func(d *Debug, dev, _ *kernel.Device, th *cpu.Thread) { d.Sync(th, dev, 0x4800, 64, kernel.ToDevice) }, Stats{WrongDirection: 1}},
			{"the line is mapped already", func(d *Debug, dev, _ *kernel.Device, th *cpu.Thread) {
				d.Map(th, dev, 0x9000, 5<<30, 64, kernel.FromDevice, false)
			}, Stats{Overlaps: 1}},
		} {
			d, dev := boot(t, v)
			other := d.Env.NewDevice("0000:00:02.0", 16, ^uint64(0))
			recorded.Run(func(th *cpu.Thread) {
				d.Map(th, dev, 0x4000, 5<<30, 4096, kernel.FromDevice, false)
				c.do(d, dev, other, th)
			})
			got := d.Stats
			got.Maps, got.Unmaps, got.Syncs = 0, 0, 0
			if got != c.want {
				t.Errorf("%v, %s: %+v, want %+v", v, c.name, got, c.want)
			}
		}
	}
}

// Only 7.3 asks whether device memory is RAM: pfn_valid() and the page. RAM that is mapped as device memory is reported.
func TestRAMAsDeviceMemory(t *testing.T) {
	for _, c := range []struct {
		v     kernel.Version
		phys  uint64
		found int64
		loads int // of the section tables
	}{{kernel.V6_12, 5 << 30, 0, 0}, {kernel.V7_3, 5 << 30, 1, 1}, {kernel.V7_3, 1 << 45, 0, 1},
		{kernel.V7_3, 0xa0000, 0, 1}} { // the VGA hole: pfn_valid, but reserved
		d, dev := boot(t, c.v)
		ops := recorded.Run(func(th *cpu.Thread) { d.Map(th, dev, 0x4000, c.phys, 4096, kernel.ToDevice, true) })
		n := 0
		for _, o := range ops {
			if o.Class.Reads() && o.Addr == d.Env.Sym.MemSection {
				n = 1
			}
		}
		if d.Stats.RAMAsDevice != c.found || n != c.loads {
			t.Errorf("%v %#x: %d reports, section table read %d", c.v, c.phys, d.Stats.RAMAsDevice, n)
		}
	}
}

// A bucket is a list: unmapping the newest of n mappings that share one costs n steps.
func TestCostGrowsWithTheBucket(t *testing.T) {
	cost := func(n int, step uint64) int {
		d, dev := boot(t, kernel.V7_3)
		recorded.Run(func(th *cpu.Thread) {
			for i := range uint64(n) {
				d.Map(th, dev, 0x4000+i*step, 5<<30+i<<12, 4096, kernel.ToDevice, false)
			}
		})
		return len(recorded.Run(func(th *cpu.Thread) { d.Unmap(th, dev, 0x4000+uint64(n-1)*step, 4096, kernel.ToDevice, false) }))
	}
	const same = Buckets << hashShift // addresses of one bucket
	one, spread, crowded := cost(1, 0x4000), cost(50, 0x4000), cost(50, same)
	if spread != one {
		t.Errorf("%d instructions alone, %d with 49 mappings in other buckets", one, spread)
	}
	if d := crowded - one; d < 49*5 || d > 49*9 {
		t.Errorf("49 mappings in the same bucket add %d instructions", d)
	}
}

// A list is recorded segment by segment, checked against the limits of the device, and taken out before it is unmapped.
func TestLists(t *testing.T) {
	for _, v := range versions {
		d, dev := boot(t, v)
		dev.MaxSeg = 8192
		l := &scatterlist.List{VA: 0xffff888100000000}
		for i := range uint64(3) {
			l.Add(5<<30+i<<20, cpu.VmemmapBase+(5<<30+i<<20)>>12*64, 4096*(i+1))
			l.Entries[i].Addr, l.Entries[i].Len = 0x100000*(i+1), 4096*(i+1)
		}
		l.Nents = 3
		recorded.Run(func(th *cpu.Thread) {
			d.MapSG(th, dev, l, kernel.FromDevice)
			if d.Live() != 3 || d.Stats.LongSegment != 1 {
				t.Errorf("%v: %d entries, %d beyond the limit; want 3 and 1", v, d.Live(), d.Stats.LongSegment)
			}
			d.SyncSG(th, dev, l, kernel.FromDevice)
			d.UnmapSG(th, dev, l, kernel.FromDevice)
		})
		if s := d.Stats; d.Live() != 0 || s.NotMapped+s.WrongSize+s.WrongKind+s.WrongDirection != 0 || s.Syncs != 3 {
			t.Errorf("%v: %d entries left, %+v", v, d.Live(), s)
		}
	}
}

// Without entries the option gives up, and the kernel works on.
func TestDisablesItself(t *testing.T) {
	d, dev := boot(t, kernel.V7_3)
	d.free = d.free[:3]
	recorded.Run(func(th *cpu.Thread) {
		for i := range uint64(10) {
			d.Map(th, dev, i<<20, 5<<30+i<<12, 4096, kernel.ToDevice, false)
		}
		d.Unmap(th, dev, 0, 4096, kernel.ToDevice, false)
		if th.Depth() != 0 {
			t.Errorf("%d functions did not return", th.Depth())
		}
	})
	if !d.Stats.OutOfEntries || d.Stats.Maps != 3 || d.Stats.Unmaps != 0 {
		t.Errorf("%+v", d.Stats)
	}
}

func TestAllocatesNothing(t *testing.T) {
	d, dev := boot(t, kernel.V7_3)
	recorded.Run(func(th *cpu.Thread) {
		th.Tap = nil
		pair := func() {
			d.Map(th, dev, 0x4000, 5<<30, 4096, kernel.FromDevice, false)
			d.Unmap(th, dev, 0x4000, 4096, kernel.FromDevice, false)
			th.Sync()
		}
		pair()
		if n := testing.AllocsPerRun(200, pair); n != 0 {
			t.Errorf("%v host allocations per pair", n)
		}
	})
}
