package amdvi_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/iommu"
	"dmapath/iommu/amd"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
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
	amd *amd.Unit
}

func newMachine(t *testing.T, v kernel.Version, change func(*amd.Config)) *machine {
	t.Helper()
	m := &machine{rig: newRig(t, v, 6), eng: sim.NewEngine()}
	cfg := amd.DefaultConfig()
	cfg.RegBase = regVA
	if change != nil {
		change(&cfg)
	}
	var err error
	if m.amd, err = amd.New(cfg, m.eng, steady{}, m.env.Mem); err != nil {
		t.Fatal(err)
	}
	m.attach(t, m.amd, 6)
	return m
}

func (m *machine) cpu(c int, body func(p *sim.Proc, t *cpu.Thread)) {
	m.eng.Go(fmt.Sprintf("cpu%d", c), func(p *sim.Proc) {
		body(p, cpu.NewThread(p, c, nil, cpu.NewStream(recorded.StackTop-uint64(c)<<14, cpu.MitNone)))
	})
}

func (m *machine) run(t *testing.T) {
	t.Helper()
	if err := m.eng.Run(sim.Never); err != nil {
		t.Fatal(err)
	}
	m.eng.Close()
}

// reaches reports whether the device gets through to iova at t's time, and where.
func (m *machine) reaches(t *cpu.Thread, iova uint64) (uint64, bool) {
	t.Sync()
	pa, _, err := m.amd.Translate(rid, iova, true, t.Now())
	return pa, err == nil
}

// While a range is mapped the device reaches it; once a strict unmap has returned, it does not, although its last use had
// filled every translation cache. Several CPUs map and unmap in one domain at once, some where the table has to grow.
func TestHardwareForgetsWhatWasUnmapped(t *testing.T) {
	for _, v := range versions {
		for _, high := range []uint64{0, 1 << 40, 1 << 50} {
			m := newMachine(t, v, nil)
			checked := 0
			for c := 0; c < 3; c++ {
				m.cpu(c, func(p *sim.Proc, th *cpu.Thread) {
					rng := rand.New(rand.NewPCG(uint64(c), high))
					for i := 0; i < 120; i++ {
						// Each CPU has its own 1 GiB, so that ranges do not overlap; tables above are shared.
						size := uint64(1+rng.IntN(40)) << 12
						if rng.IntN(3) == 0 {
							size = 4096 << rng.IntN(11)
						}
						at := uint64(c+1)<<30 + uint64(rng.IntN(100))<<21
						pa := uint64(c+1)<<32 + uint64(rng.IntN(100))<<21
						if i > 40 {
							at += high
						}
						if rng.IntN(2) == 0 {
							at += uint64(rng.IntN(512)) << 12
							pa += uint64(rng.IntN(512)) << 12
						}
						if err := m.dom.Core.Map(th, at, pa, size, rw); err != nil {
							t.Error(err)
							return
						}
						for off := uint64(0); off < size; off += size/8&^4095 + 4096 {
							if got, ok := m.reaches(th, at+off); !ok || got != pa+off {
								t.Errorf("%#x is mapped to %#x and reaches %#x (%v)", at+off, pa+off, got, ok)
								return
							}
						}
						if n := unmap(th, m.dom, at, size); n != size {
							t.Errorf("unmapped %#x of %#x", n, size)
						}
						for off := uint64(0); off < size; off += size/8&^4095 + 4096 {
							checked++
							if got, ok := m.reaches(th, at+off); ok {
								t.Errorf("%v: %#x reaches %#x after its unmap (%#x, %#x bytes) returned at %v", v, at+off, got, at, size, p.Now())
								return
							}
						}
					}
				})
			}
			m.run(t)
			if checked < 3*120 {
				t.Errorf("%d addresses checked", checked)
			}
			if m.amd.QueueDepth() != 0 {
				t.Errorf("%d commands left in the ring", m.amd.QueueDepth())
			}
			if grown := m.dom.Grown; grown != map[uint64]int{0: 0, 1 << 40: 1, 1 << 50: 2}[high] {
				t.Errorf("grown by %d levels", grown)
			}
		}
	}
}

// In lazy mode the device still reaches a page after the unmap, until the flush queue's flush.
func TestLazyWindowClosesWithTheFlush(t *testing.T) {
	for _, v := range versions {
		m := newMachine(t, v, nil)
		m.cpu(0, func(p *sim.Proc, th *cpu.Thread) {
			m.dom.Core.Map(th, iova, phys, 4096, rw)
			if _, ok := m.reaches(th, iova); !ok {
				t.Errorf("%v: not reached while mapped", v)
			}
			var g iommucore.Gather
			th.Frame(64)
			g.Init(th.SP() + 8)
			g.Queued = true
			m.dom.Core.Unmap(th, iova, 4096, &g)
			th.Frame(-64)
			if _, ok := m.reaches(th, iova); !ok {
				t.Errorf("%v: the IOTLB forgot the page without an invalidation", v)
			}
			m.dom.Core.FlushAll(th)
			if _, ok := m.reaches(th, iova); ok {
				t.Errorf("%v: reached after the flush", v)
			}
		})
		m.run(t)
	}
}

// The wait of a strict unmap is the hardware's, rounded up to whole microseconds after the first look.
func TestWaitFollowsTheHardware(t *testing.T) {
	for _, v := range versions {
		var hardware sim.Time // what the unit takes, with the least drain
		for _, drain := range []sim.Time{0, 1, 5, 10, 20} {
			m := newMachine(t, v, func(c *amd.Config) { c.ClockHz, c.DrainTime = 1_000_000_000, 1000*iommu.Cycles(drain) })
			m.cpu(0, func(p *sim.Proc, th *cpu.Thread) {
				m.dom.Core.Map(th, iova, phys, 4096, rw)
				start := p.Now()
				unmap(th, m.dom, iova, 4096)
				took := p.Now() - start
				if drain == 0 {
					hardware = took
				}
				if want := hardware + drain*sim.Microsecond; took != want || took%sim.Microsecond != 0 {
					t.Errorf("%v, drain of %d us: unmap takes %v, want %v", v, drain, took, want)
				}
			})
			m.run(t)
			if m.unit.Polls-m.unit.Waits != uint64(hardware/sim.Microsecond)+uint64(drain) {
				t.Errorf("%v, drain of %d us: %d looks in %d waits", v, drain, m.unit.Polls, m.unit.Waits)
			}
		}
	}
}

// Pass-through entries make the device use physical addresses; a device without an entry is refused.
func TestPassthrough(t *testing.T) {
	m := newMachine(t, kernel.V7_3, nil)
	if err := m.unit.AttachPassthrough(0x0208); err != nil {
		t.Fatal(err)
	}
	m.cpu(0, func(p *sim.Proc, th *cpu.Thread) {
		p.SleepUntil(sim.Microsecond) // the writes that enabled the unit have arrived
		if pa, _, err := m.amd.Translate(0x0208, phys, true, p.Now()); err != nil || pa != phys {
			t.Errorf("%#x, %v; want %#x", pa, err, uint64(phys))
		}
		if _, _, err := m.amd.Translate(rid, phys, true, p.Now()); err == nil {
			t.Error("another device's translation succeeds without a mapping")
		}
		if _, _, err := m.amd.Translate(0x0300, phys, true, p.Now()); err == nil {
			t.Error("a device without a device table entry is not refused")
		}
	})
	m.run(t)
}
