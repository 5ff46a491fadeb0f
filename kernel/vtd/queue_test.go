package vtd_test

import (
	"testing"

	"dmapath/cpu"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/recorded"
	"dmapath/sim"
)

// The ring of 256 slots wraps every 128 submissions of one descriptor; every submission is seen once and in order.
func TestQueueWraps(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, true, 4)
		recorded.Run(func(th *cpu.Thread) {
			for i := uint64(0); i < 1000; i++ {
				at := 1<<30 + i<<12
				r.dom.Core.Map(th, at, phys, 4096, rw)
				r.unmap(th, at, 4096)
				if d := r.hw.seen[i]; d[1]&^4095 != at {
					t.Fatalf("%v: submission %d invalidates %#x, want %#x", v, i, d[1]&^4095, at)
				}
			}
		})
		if r.hw.waits != 1000 || len(r.hw.seen) != 1000 {
			t.Errorf("%v: %d waits, %d invalidations, want 1000 each", v, r.hw.waits, len(r.hw.seen))
		}
		if c, n := r.unit.Polls(); c != n || n != 1000 {
			t.Errorf("%v: %d checks for %d submissions, want one each when the hardware is done at once", v, c, n)
		}
	}
}

// A check that fails costs a read of the fault status register and the lock's release and return; here the hardware completes on
// that read, so there is exactly one.
func TestFailedCheckReadsTheFaultStatus(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, true, 4)
		var quick, slow *recorded.Call
		for _, lazy := range []bool{false, true} {
			r.hw.lazy = lazy
			ops := recorded.RunWarm(func(th *cpu.Thread) { r.dom.Core.Map(th, iova, phys, 4096, rw) },
				func(th *cpu.Thread) { r.unmap(th, iova, 4096) })
			if lazy {
				slow = recorded.Measure(ops)
			} else {
				quick = recorded.Measure(ops)
			}
		}
		if slow.MMIO != quick.MMIO+1 {
			t.Errorf("%v: %d register accesses, want %d", v, slow.MMIO, quick.MMIO+1)
		}
		if slow.Atomics != quick.Atomics+1 || slow.Function("_raw_spin_unlock").Calls != 1 {
			t.Errorf("%v: q_lock is not released and taken once between two checks", v)
		}
		if c, n := r.unit.Polls(); c != n+1 {
			t.Errorf("%v: %d checks for %d submissions", v, c, n)
		}
	}
}

// slowHardware completes what the tail write handed over a fixed time later.
type slowHardware struct {
	*hardware
	eng   *sim.Engine
	delay sim.Time
	h     sim.Handler
}

func (h *slowHardware) WriteReg(addr, val uint64, now sim.Time) {
	h.hardware.lazy = true
	h.hardware.WriteReg(addr, val, now)
	if addr-regVA == table.RegIQT && h.eng != nil {
		h.eng.At(now+h.delay, h.h, 0)
	}
}

func (h *slowHardware) ReadReg(addr uint64, now sim.Time) (uint64, sim.Time) {
	h.hardware.lazy = false // reading must not complete anything
	return h.hardware.ReadReg(addr, now)
}

// The wait ends at the first check after the hardware's write: checks are one register read apart.
func TestWaitEndsAtTheFirstCheckAfterCompletion(t *testing.T) {
	const read = 200 * sim.Nanosecond // what hardware.ReadReg takes
	for _, v := range versions {
		for _, tt := range []struct {
			delay sim.Time
			polls uint64
		}{{0, 1}, {1, 2}, {read - 1, 2}, {read, 2}, {read + 1, 3}, {5 * read, 6}, {5*read + 1, 7}} {
			e := sim.NewEngine()
			r := newRig(t, v, true, 4)
			slow := &slowHardware{hardware: r.hw, delay: tt.delay}
			r2 := rebuild(t, r, slow)
			slow.eng, slow.h = e, e.Register("completion", func(uint64) { r.hw.run() })
			var waited sim.Time
			e.Go("cpu", func(p *sim.Proc) {
				th := cpu.NewThread(p, 0, nil, cpu.NewStream(recorded.StackTop, cpu.MitNone))
				r2.dom.Core.Map(th, iova, phys, 4096, rw)
				start := p.Now()
				r2.unmap(th, iova, 4096)
				waited = p.Now() - start
			})
			if err := e.Run(sim.Never); err != nil {
				t.Fatal(err)
			}
			e.Close()
			checks, _ := r2.unit.Polls()
			// Without a core instructions take no time: all that passes is the register reads. A completion at the very time
			// of the tail write happens after the first check.
			want := tt.polls
			if tt.delay == 0 {
				want = 2
			}
			if checks != want || waited != sim.Time(want-1)*read {
				t.Errorf("%v, completion after %v: %d checks, %v waited, want %d", v, tt.delay, checks, waited, want)
			}
		}
	}
}

// rebuild returns a rig like r whose unit talks to hw.
func rebuild(t *testing.T, r *rig, hw cpu.MMIO) *rig {
	t.Helper()
	n := *r
	n.hw.regs = map[uint64]uint64{}
	n.hw.head = 0
	n.attach(t, hw)
	return &n
}

// cache_lock is held until the hardware is done: CPUs that unmap in one domain wait for each other.
func TestUnmapsOfOneDomainSerialise(t *testing.T) {
	const delay = 1 * sim.Microsecond
	for _, v := range versions {
		e := sim.NewEngine()
		r := newRig(t, v, true, 4)
		slow := &slowHardware{hardware: r.hw, delay: delay}
		r2 := rebuild(t, r, slow)
		slow.eng, slow.h = e, e.Register("completion", func(uint64) { r.hw.run() })
		var ends []sim.Time
		for c := 0; c < 4; c++ {
			e.Go("cpu", func(p *sim.Proc) {
				th := cpu.NewThread(p, c, nil, cpu.NewStream(recorded.StackTop-uint64(c)<<14, cpu.MitNone))
				at := uint64(iova - c<<12)
				r2.dom.Core.Map(th, at, phys, 4096, rw)
				r2.unmap(th, at, 4096)
				ends = append(ends, p.Now())
			})
		}
		if err := e.Run(sim.Never); err != nil {
			t.Fatal(err)
		}
		e.Close()
		for i, at := range ends {
			if at < sim.Time(i+1)*delay {
				t.Errorf("%v: unmap %d ends at %v, before %v", v, i, at, sim.Time(i+1)*delay)
			}
		}
		if len(ends) != 4 {
			t.Errorf("%v: %d unmaps ended", v, len(ends))
		}
	}
}

// flush_iotlb_all invalidates the whole domain.
func TestFlushAll(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, true, 4)
		recorded.Run(func(th *cpu.Thread) { r.dom.Core.FlushAll(th) })
		if len(r.hw.seen) != 1 || r.hw.seen[0][0]>>4&3 != 2 {
			t.Errorf("%v: descriptors %x, want one domain-selective invalidation", v, r.hw.seen)
		}
	}
}

// In lazy mode the gather is marked queued: nothing is invalidated by the unmap, and its tables wait on the gather.
func TestQueuedUnmapGathersOnlyTables(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, true, 4)
		recorded.Run(func(th *cpu.Thread) {
			const at, size = 6 << 30, 2 << 20
			r.dom.Core.Map(th, at, phys, size, rw)
			var g iommucore.Gather
			th.Frame(64)
			g.Init(th.SP() + 8)
			g.Queued = true
			if n := r.dom.Core.Unmap(th, at, size, &g); n != size {
				t.Fatalf("%v: unmapped %#x", v, n)
			}
			th.Frame(-64)
			if len(r.hw.seen) != 0 || g.Start != ^uint64(0) || g.End != 0 {
				t.Errorf("%v: gathered [%#x, %#x], %d invalidations", v, g.Start, g.End, len(r.hw.seen))
			}
			if len(g.Freelist.Pages) != 1 || r.pages.used != 3 {
				t.Errorf("%v: %d tables wait, %d in use, want 1, 3", v, len(g.Freelist.Pages), r.pages.used)
			}
			r.dom.Core.FlushAll(th)
			r.dom.Core.PutPages(th, &g.Freelist)
			if r.pages.used != 2 || !g.Freelist.Empty() {
				t.Errorf("%v: %d tables in use after the flush, want 2", v, r.pages.used)
			}
		})
	}
}

// A map and its strict unmap allocate nothing on the host once the buffers have grown.
func TestNoHostAllocations(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, true, 4)
		r.hw.seen = make([][2]uint64, 0, 1000)
		var g iommucore.Gather
		recorded.Run(func(th *cpu.Thread) {
			n := testing.AllocsPerRun(50, func() {
				r.dom.Core.Map(th, iova, phys, 4096, rw)
				r.dom.Core.IovaToPhys(th, iova)
				th.Frame(64)
				g.Init(th.SP() + 8)
				r.dom.Core.Unmap(th, iova, 4096, &g)
				r.dom.Core.SyncTLB(th, &g)
				th.Frame(-64)
				th.Sync()
			})
			if n != 0 {
				t.Errorf("%v: %v allocations per map and unmap", v, n)
			}
		})
	}
}

func BenchmarkMapUnmap4K(b *testing.B) {
	for _, v := range versions {
		b.Run(v.String(), func(b *testing.B) {
			r := newRig(b, v, true, 4)
			var g iommucore.Gather
			ops := 0
			recorded.Run(func(th *cpu.Thread) {
				th.Tap = func(s []cpu.Op) { ops += len(s) }
				b.ResetTimer()
				for i := 0; i < b.N; i++ {
					r.hw.seen = r.hw.seen[:0]
					r.dom.Core.Map(th, iova, phys, 4096, rw)
					th.Frame(64)
					g.Init(th.SP() + 8)
					r.dom.Core.Unmap(th, iova, 4096, &g)
					r.dom.Core.SyncTLB(th, &g)
					th.Frame(-64)
					th.Sync()
				}
			})
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(ops), "ns/op-emitted")
		})
	}
}

// The driver refuses hardware it cannot drive and says why.
func TestUnitErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(h *hardware)
	}{
		{"no queue", func(h *hardware) { h.ecap &^= 2 }},
		{"no depth", func(h *hardware) { h.cap &^= 31 << 8 }},
		{"coherency differs", func(h *hardware) { h.ecap &^= 1 }},
	} {
		r := newRig(t, kernel.V7_3, true, 4)
		tt.change(r.hw)
		if err := r.tryAttach(r.hw); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
	r := newRig(t, kernel.V7_3, true, 4)
	if _, err := r.unit.NewDomain(6); err == nil {
		t.Error("a domain of 6 levels: no error")
	}
	r.hw.ecap &^= 1 << 6
	r2 := rebuild(t, r, r.hw)
	if err := r2.unit.AttachPassthrough(0x200); err == nil {
		t.Error("pass-through without ECAP.PT: no error")
	}
}

// queuedGather returns a gather as the flush queue's users have it, in a frame that the caller is about to make.
func queuedGather(th *cpu.Thread) *iommucore.Gather {
	var g iommucore.Gather
	g.Init(th.SP() - 56)
	g.Queued = true
	return &g
}
