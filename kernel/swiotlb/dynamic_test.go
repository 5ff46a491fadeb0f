package swiotlb

import (
	"errors"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/sim"
)

// growing is a full default pool of 512 KiB with room for more; work is what the worker was given.
func growing(t *testing.T, e *kernel.Env, memory uint64) (m *Mem, d *kernel.Device, work *[]func(*cpu.Thread)) {
	t.Helper()
	work = new([]func(*cpu.Thread))
	m, err := New(Config{Env: e, Start: poolAt, Bytes: 512 << 10, Areas: 2, Growth: &Growth{Memory: [2]uint64{poolAt - memory, poolAt},
		Worker: func(c int, at sim.Time, fn func(t *cpu.Thread)) { *work = append(*work, fn) }}})
	if err != nil {
		t.Fatal(err)
	}
	d = e.NewDevice("0000:00:01.0", 8, ^uint64(0))
	run(0, func(th *cpu.Thread) {
		for range 128 {
			if _, err := m.Map(th, d, 1<<30, 4096, kernel.ToDevice, 0); err != nil {
				t.Fatal(err)
			}
		}
	})
	if m.Used() != 256 || m.Stats.Transient != 0 || len(*work) != 0 {
		t.Fatalf("%d slots taken, %d transient pools, %d pieces of work", m.Used(), m.Stats.Transient, len(*work))
	}
	return m, d, work
}

// A mapping that finds no room gets a pool of its own, which goes with it, and wakes a worker once; the pool that the worker adds serves the
// next.
func TestPoolsGrow(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		e := newEnv(v, 2)
		u := cache.NewTruth()
		e.Truth = u
		m, d, work := growing(t, e, 8<<20)
		want := u.CPUWrite(3<<30, 5000)
		run(0, func(th *cpu.Thread) {
			a, err := m.Map(th, d, 3<<30, 5000, kernel.Bidirectional, 0)
			b, err2 := m.Map(th, d, 3<<30, 5000, kernel.ToDevice, 0)
			if err != nil || err2 != nil || m.Stats.Transient != 2 || len(*work) != 1 {
				t.Fatalf("%v: %v, %v, %d transient pools, %d pieces of work; want 2 and 1", v, err, err2, m.Stats.Transient, len(*work))
			}
			p := m.Find(a)
			if p == nil || p == m.Boot() || p.Areas() != 1 || p.End-p.Start != 3*SlotSize || m.FindDynamic(th, d, a) != p {
				t.Fatalf("%v: transient pool %+v", v, p)
			}
			u.DeviceRead(a, 5000, true, func(at uint64, got cache.Version) {
				if got != want {
					t.Fatalf("%v: the device reads version %d, want %d", v, got, want)
				}
			})
			m.Unmap(th, d, a, 5000, kernel.Bidirectional, 0)
			m.Unmap(th, d, b, 5000, kernel.ToDevice, 0)
			if m.Used() != 256 || m.Find(a) != nil || len(m.grow.transient) != 0 {
				t.Errorf("%v: %d slots taken, %d transient pools after their unmaps", v, m.Used(), len(m.grow.transient))
			}
			(*work)[0](th)
			if m.Stats.Grown != 0 || len(m.pools) != 1 { // 1 MiB is the least, the boot pool has half of it
				t.Errorf("%v: %d pools", v, len(m.pools))
			}
			if th.Depth() != 0 {
				t.Errorf("%v: %d functions did not return", v, th.Depth())
			}
		})
	}
}

// The worker's pool is as large as the page allocator gives, at most 4 MiB, and no smaller than 1 MiB.
func TestGrownPool(t *testing.T) {
	for _, c := range []struct {
		memory uint64
		want   int // slots
	}{{16 << 20, 2048}, {3 << 20, 1024}, {1 << 20, 512}, {512 << 10, 0}} {
		e := newEnv(kernel.V7_3, 2)
		m, err := New(Config{Env: e, Start: poolAt, Bytes: 8 << 20, Areas: 2, Growth: &Growth{Memory: [2]uint64{poolAt - c.memory, poolAt},
			Worker: func(int, sim.Time, func(*cpu.Thread)) {}}})
		if err != nil {
			t.Fatal(err)
		}
		run(0, func(th *cpu.Thread) { m.dynAlloc(th) })
		got := 0
		if len(m.pools) > 1 {
			p := m.pools[1]
			got = len(p.slots)
			if p.Start < poolAt-c.memory || p.End > poolAt || len(p.areas) != 2 {
				t.Errorf("%d MiB: pool %#x to %#x with %d areas", c.memory>>20, p.Start, p.End, len(p.areas))
			}
		}
		if got != c.want {
			t.Errorf("%d KiB of memory: %d slots, want %d", c.memory>>10, got, c.want)
		}
	}
}

// Without memory the mapping fails as without growth, and one that is larger than a segment is refused at once.
func TestGrowthEnds(t *testing.T) {
	e := newEnv(kernel.V7_3, 2)
	m, d, _ := growing(t, e, 64<<10)
	run(0, func(th *cpu.Thread) {
		n := 0
		for ; ; n++ {
			if _, err := m.Map(th, d, 1<<30, 4096, kernel.ToDevice, 0); err != nil {
				if !errors.Is(err, ErrFull) {
					t.Error(err)
				}
				break
			}
		}
		if n != 16 {
			t.Errorf("64 KiB made %d transient pools of a page, want 16", n)
		}
		probes := m.Stats.Probes
		if _, err := m.Map(th, d, 1<<30, 300<<10, kernel.ToDevice, 0); !errors.Is(err, ErrTooLarge) || m.Stats.Probes != probes {
			t.Errorf("300 KiB: %v after %d probes", err, m.Stats.Probes-probes)
		}
	})
}

// Bouncing allocates nothing on the host once pools exist.
func TestMapAllocatesNothing(t *testing.T) {
	e := newEnv(kernel.V7_3, 1)
	m := newMem(t, e, 1<<20, 1)
	d := e.NewDevice("0000:00:01.0", 8, ^uint64(0))
	run(0, func(th *cpu.Thread) {
		pair := func() {
			a, _ := m.Map(th, d, 5<<30, 4096, kernel.FromDevice, 0)
			m.Unmap(th, d, a, 4096, kernel.FromDevice, 0)
			th.Ops = th.Ops[:0]
		}
		pair()
		if n := testing.AllocsPerRun(100, pair); n != 0 {
			t.Errorf("%.1f allocations per map and unmap", n)
		}
	})
}
