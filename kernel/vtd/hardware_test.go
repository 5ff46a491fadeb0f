package vtd_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/iommu"
	hw "dmapath/iommu/vtd"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
	"dmapath/sim"
)

// steady is a memory system of constant latency for the unit's own reads and writes.
type steady struct{}

func (steady) DeviceRead(pa uint64, n int, now sim.Time) (sim.Time, cache.Level) {
	return now + 50*sim.Nanosecond, cache.LLC
}

func (steady) DeviceWrite(pa uint64, n int, now sim.Time) sim.Time { return now + 50*sim.Nanosecond }

// machine is the driver on the real model of the hardware.
type machine struct {
	*rig
	eng *sim.Engine
	vtd *hw.Unit
}

const rid = 0x0100

func newMachine(t *testing.T, v kernel.Version, coherent bool, levels int) *machine {
	t.Helper()
	m := &machine{rig: newRig(t, v, coherent, levels), eng: sim.NewEngine()}
	cfg := hw.DefaultConfig()
	cfg.RegBase, cfg.Coherent, cfg.Levels = regVA, coherent, []int{3, 4, 5}
	var err error
	if m.vtd, err = hw.New(cfg, m.eng, steady{}, m.env.Mem); err != nil {
		t.Fatal(err)
	}
	m.attach(t, m.vtd)
	return m
}

func (m *machine) thread(p *sim.Proc, c int) *cpu.Thread {
	return cpu.NewThread(p, c, nil, cpu.NewStream(recorded.StackTop-uint64(c)<<14, cpu.MitNone))
}

func (m *machine) run(t *testing.T) {
	t.Helper()
	if err := m.eng.Run(sim.Never); err != nil {
		t.Fatal(err)
	}
	m.eng.Close()
}

// While a range is mapped the device reaches it; once a strict unmap has returned, it does not, although its last use had filled
// every translation cache. Several CPUs map and unmap in one domain at once.
func TestHardwareForgetsWhatWasUnmapped(t *testing.T) {
	for _, v := range versions {
		for _, levels := range []int{3, 4, 5} {
			t.Run(fmt.Sprintf("%v/%d", v, levels), func(t *testing.T) {
				m := newMachine(t, v, levels != 3, levels)
				reached := 0
				for c := 0; c < 3; c++ {
					m.eng.Go(fmt.Sprintf("cpu%d", c), func(p *sim.Proc) {
						th := m.thread(p, c)
						rng := rand.New(rand.NewPCG(uint64(c), uint64(levels)))
						for i := 0; i < 120; i++ {
							// Each CPU has its own 1 GiB, so that ranges do not overlap; tables above are shared.
							size := uint64(1+rng.IntN(40)) << 12
							if rng.IntN(4) == 0 {
								size = uint64(1+rng.IntN(2)) << 21
							}
							at := uint64(c+1)<<30 + uint64(rng.IntN(100))<<21
							pa := uint64(c+1)<<32 + uint64(rng.IntN(100))<<21
							if rng.IntN(2) == 0 && (v == kernel.V7_3 || size < 2<<20) { // see TestTablesFreedTooEarly
								at += uint64(rng.IntN(512)) << 12
							}
							if err := m.dom.Core.Map(th, at, pa, size, rw); err != nil {
								t.Errorf("map: %v", err)
								return
							}
							th.Sync()
							for _, off := range []uint64{0, size / 2, size - 1} {
								got, done, err := m.vtd.Translate(rid, at+off, true, p.Now())
								if err != nil || got != pa+off {
									t.Errorf("%#x mapped to %#x: the device gets %#x, %v", at+off, pa+off, got, err)
									return
								}
								p.SleepUntil(done)
								reached++
							}
							if n := m.unmap(th, at, size); n != size {
								t.Errorf("unmapped %#x of %#x", n, size)
							}
							for off := uint64(0); off < size; off += size/8&^4095 + 4096 {
								if pa, _, err := m.vtd.Translate(rid, at+off, false, p.Now()); err == nil {
									t.Errorf("%#x reaches %#x after its unmap (%#x, %#x bytes) returned at %v", at+off, pa, at, size, p.Now())
									return
								}
							}
						}
					})
				}
				m.run(t)
				if reached != 3*120*3 {
					t.Errorf("%d translations, want %d", reached, 3*120*3)
				}
				if m.vtd.QueueDepth() != 0 {
					t.Errorf("%d descriptors left in the queue", m.vtd.QueueDepth())
				}
			})
		}
	}
}

// An unmap over runs of 4 KiB and 2 MiB shows a hole in 6.12: the table of the 2 MiB run is freed by the invalidation of the run
// before, and its own invalidation spares the paging-structure caches. The device still gets through the freed table. 7.3
// invalidates once and without the hint.
func TestTablesFreedTooEarly(t *testing.T) {
	const at, size = 6<<30 - 0x1000, 2<<20 + 0x1000 // one page, then a whole leaf table
	for _, v := range versions {
		m := newMachine(t, v, true, 4)
		m.eng.Go("cpu", func(p *sim.Proc) {
			th := m.thread(p, 0)
			m.dom.Core.Map(th, at, phys, size, rw)
			th.Sync()
			if _, _, err := m.vtd.Translate(rid, 6<<30, true, p.Now()); err != nil {
				t.Error(err)
			}
			m.unmap(th, at, size)
			_, _, err := m.vtd.Translate(rid, 6<<30+0x5000, true, p.Now())
			if reached := err == nil; reached != (v == kernel.V6_12) {
				t.Errorf("%v: reached after the unmap: %v", v, reached)
			}
			if want := map[kernel.Version]int{kernel.V6_12: 1}[v]; m.dom.EarlyFrees != want {
				t.Errorf("%v: %d tables freed early, want %d", v, m.dom.EarlyFrees, want)
			}
		})
		m.run(t)
	}
}

// In lazy mode the device still reaches a page after the unmap, until the flush queue's flush.
func TestLazyWindowClosesWithTheFlush(t *testing.T) {
	for _, v := range versions {
		m := newMachine(t, v, true, 4)
		m.eng.Go("cpu", func(p *sim.Proc) {
			th := m.thread(p, 0)
			reach := func() bool {
				th.Sync()
				_, _, err := m.vtd.Translate(rid, iova, true, p.Now())
				return err == nil
			}
			m.dom.Core.Map(th, iova, phys, 4096, rw)
			if !reach() {
				t.Errorf("%v: not reached while mapped", v)
			}
			g := queuedGather(th)
			th.Frame(64)
			m.dom.Core.Unmap(th, iova, 4096, g)
			th.Frame(-64)
			if !reach() {
				t.Errorf("%v: the IOTLB forgot the page without an invalidation", v)
			}
			m.dom.Core.FlushAll(th)
			if reach() {
				t.Errorf("%v: reached after the flush", v)
			}
		})
		m.run(t)
	}
}

// The wait of a strict unmap is the hardware's: a unit that takes longer to drain makes the unmap longer by as much, to
// within one register read.
func TestWaitFollowsTheHardware(t *testing.T) {
	for _, v := range versions {
		took := func(drain iommu.Cycles) (wait sim.Time) {
			m := newMachine(t, v, true, 4)
			cfg := m.vtd.Config()
			cfg.DrainTime = drain
			var err error
			if m.vtd, err = hw.New(cfg, m.eng, steady{}, m.env.Mem); err != nil {
				t.Fatal(err)
			}
			m.attach(t, m.vtd)
			m.eng.Go("cpu", func(p *sim.Proc) {
				th := m.thread(p, 0)
				m.dom.Core.Map(th, iova, phys, 4096, rw)
				start := p.Now()
				m.unmap(th, iova, 4096)
				wait = p.Now() - start
			})
			m.run(t)
			return wait
		}
		short, long := took(64), took(64+8000) // 8000 cycles at 800 MHz: 10 microseconds
		if d := long - short - 10*sim.Microsecond; d > 200*sim.Nanosecond || -d > 200*sim.Nanosecond {
			t.Errorf("%v: unmap takes %v, with a drain longer by 10 us %v", v, short, long)
		}
	}
}

// Pass-through entries make the device use physical addresses.
func TestPassthrough(t *testing.T) {
	m := newMachine(t, kernel.V7_3, true, 4)
	if err := m.unit.AttachPassthrough(0x0208); err != nil {
		t.Fatal(err)
	}
	if pa, _, err := m.vtd.Translate(0x0208, phys, true, 0); err != nil || pa != phys {
		t.Errorf("%#x, %v; want %#x", pa, err, uint64(phys))
	}
	if _, _, err := m.vtd.Translate(rid, phys, true, 0); err == nil {
		t.Error("another device's translation succeeds without a mapping")
	}
	if _, _, err := m.vtd.Translate(0x0300, phys, true, 0); err == nil {
		t.Error("a device without a context entry is not refused")
	}
}
