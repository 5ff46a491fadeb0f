package amdvi_test

import (
	"fmt"
	"testing"

	"dmapath/cpu"
	"dmapath/iommu/amdtable"
	"dmapath/kernel"
	"dmapath/kernel/amdvi"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/recorded"
	"dmapath/sim"
)

// timed is a rig whose hardware takes time, on an engine.
type timed struct {
	*rig
	eng *sim.Engine
}

func newTimed(t *testing.T, v kernel.Version, after sim.Time) *timed {
	t.Helper()
	m := &timed{newRig(t, v, 6), sim.NewEngine()}
	m.hw.eng, m.hw.after = m.eng, after
	m.hw.handler = m.eng.Register("commands", m.hw.run)
	return m
}

func (m *timed) cpu(c int, body func(t *cpu.Thread)) {
	m.eng.Go(fmt.Sprintf("cpu%d", c), func(p *sim.Proc) {
		body(cpu.NewThread(p, c, nil, cpu.NewStream(recorded.StackTop-uint64(c)<<14, cpu.MitNone)))
	})
}

func (m *timed) run(t *testing.T) {
	t.Helper()
	if err := m.eng.Run(sim.Never); err != nil {
		t.Fatal(err)
	}
	m.eng.Close()
}

// What a strict unmap tells the hardware: one invalidation of the domain for the smallest aligned power of two around the
// range, then a completion wait with the next number. 6.12 always drops page directory entries with it, 7.3 only when tables
// were taken away.
func TestCommandsOfAnUnmap(t *testing.T) {
	const m2 = 2 << 20
	for _, v := range versions {
		for _, c := range []struct {
			name     string
			at, size uint64
			addr     uint64
			shift    uint8
			tables   bool // 7.3 detaches tables
		}{
			{"one page", iova, 4096, iova, 12, false},
			{"two pages in one", 0x10000000, 8192, 0x10000000, 13, false},
			{"two pages over a boundary", 0x10001000, 8192, 0x10000000, 14, false},
			{"32 pages", 0x10020000, 128 << 10, 0x10020000, 17, false},
			{"a whole leaf table of 4 KiB pages", 0x10000000 + m2, m2, 0x10000000 + m2, 21, true},
		} {
			r := newRig(t, v, 4)
			recorded.Run(func(th *cpu.Thread) {
				r.dom.Core.Map(th, c.at-4096, 7<<30, 4096, rw)
				for off := uint64(0); off < c.size; off += 4096 {
					r.dom.Core.Map(th, c.at+off, 8<<30+2*off, 4096, rw)
				}
				r.hw.take()
				unmap(th, r.dom, c.at, c.size)
				got := r.hw.take()
				if len(got) != 2 {
					t.Fatalf("%v, %s: %+v", v, c.name, got)
				}
				pde := v == kernel.V6_12 || c.tables
				want := amdtable.Command{Op: amdtable.InvalidateIOMMUPages, Domain: r.dte(rid).Domain, PDE: pde, Addr: c.addr, Shift: c.shift}
				if got[0] != want {
					t.Errorf("%v, %s: %+v, want %+v", v, c.name, got[0], want)
				}
				if w := got[1]; w.Op != amdtable.CompletionWait || w.Data != r.env.Mem.Read64(w.Store) || w.Interrupt {
					t.Errorf("%v, %s: %+v", v, c.name, w)
				}
				r.dom.Core.FlushAll(th)
				if got := r.hw.take(); len(got) != 2 || got[0].Shift != 64 || !got[0].PDE {
					t.Errorf("%v: flush of everything is %+v", v, got)
				}
			})
		}
	}
}

// The wait is tight: it looks once, and after each further microsecond, until the hardware has stored the number; it never ends
// before, and a picosecond more than a whole number of microseconds costs one more of them. Without a core the driver's own
// instructions take no time, so the first look is at the instant of the write and always too early.
func TestWaitIsQuantised(t *testing.T) {
	const us = sim.Microsecond
	for _, v := range versions {
		for _, c := range []struct {
			after sim.Time
			looks uint64
		}{{0, 2}, {us - 1, 2}, {us, 2}, {us + 1, 3}, {2 * us, 3}, {7*us + 1, 9}, {50 * us, 51}} {
			m := newTimed(t, v, c.after)
			m.cpu(0, func(th *cpu.Thread) {
				m.dom.Core.Map(th, iova, phys, 4096, rw)
				start := th.Now()
				unmap(th, m.dom, iova, 4096)
				if took, want := th.Now()-start, sim.Time(c.looks-1)*us; took != want || took < c.after {
					t.Errorf("%v, hardware takes %v: unmap takes %v, want %v", v, c.after, took, want)
				}
			})
			m.run(t)
			if m.unit.Waits != 1 || m.unit.Polls != c.looks {
				t.Errorf("%v, hardware takes %v: %d looks in %d waits, want %d", v, c.after, m.unit.Polls, m.unit.Waits, c.looks)
			}
		}
	}
}

// Two CPUs that unmap in one domain serialise: the second waits for the lock until the first has its completion. In two domains
// behind the same IOMMU they wait side by side.
func TestUnmapsInOneDomainSerialise(t *testing.T) {
	for _, v := range versions {
		for _, cpus := range []int{1, 2, 4} {
			for _, shared := range []bool{true, false} {
				m := newTimed(t, v, 1500*sim.Nanosecond) // two microseconds of polling
				doms := []*amdvi.Domain{m.dom}
				for len(doms) < cpus {
					if shared {
						doms = append(doms, m.dom)
					} else {
						doms = append(doms, m.domain(t, rid+uint16(len(doms)), 4))
					}
				}
				var last sim.Time
				for c := range cpus {
					m.cpu(c, func(th *cpu.Thread) {
						at := iova - uint64(c)<<20
						doms[c].Core.Map(th, at, phys, 4096, rw)
						unmap(th, doms[c], at, 4096)
						last = max(last, th.Now())
					})
				}
				m.run(t)
				want := 2 * sim.Microsecond
				if shared {
					want *= sim.Time(cpus)
				}
				if last != want {
					t.Errorf("%v, %d CPUs, shared %v: %v, want %v", v, cpus, shared, last, want)
				}
			}
		}
	}
}

// An invalidation that another CPU's completion wait covers needs no command of its own: it waits for that number.
func TestCoveredByAnotherWait(t *testing.T) {
	for _, v := range versions {
		m := newTimed(t, v, 2500*sim.Nanosecond)
		other := m.domain(t, rid+1, 4)
		// Both put their invalidation into the ring before either queues a wait: without a core, time stands still until
		// somebody waits.
		for c, d := range []*amdvi.Domain{m.dom, other} {
			m.cpu(c, func(th *cpu.Thread) {
				d.Core.Map(th, iova, phys, 4096, rw)
				unmap(th, d, iova, 4096)
			})
		}
		m.run(t)
		waits := 0
		for _, c := range m.hw.seen {
			if c.Op == amdtable.CompletionWait {
				waits++
			}
		}
		if uint64(waits)+m.unit.Shared != 2 || m.unit.Waits != 2 {
			t.Errorf("%v: %d commands and %d shared for %d waits", v, waits, m.unit.Shared, m.unit.Waits)
		}
	}
}

// A full ring makes the driver read the head register, and delay when that does not help; no command is lost or overwritten.
func TestFullRing(t *testing.T) {
	for _, v := range versions {
		m := newTimed(t, v, 0)
		m.hw.halted = true
		m.eng.Go("hardware", func(p *sim.Proc) {
			p.SleepUntil(3500 * sim.Nanosecond)
			m.hw.halted = false
			m.hw.run(m.hw.regs[amdtable.RegCmdTail])
		})
		const n = 600
		m.cpu(0, func(th *cpu.Thread) {
			for i := range n {
				m.unit.QueueForTest(th, amdtable.Command{Op: amdtable.InvalidateDevtabEntry, Device: uint16(i)})
			}
			// Two slots stay free besides the one behind the tail: the 510th command waits, until the fourth look after 4 us.
			if th.Now() != 4*sim.Microsecond {
				t.Errorf("%v: %v", v, th.Now())
			}
		})
		m.run(t)
		if len(m.hw.seen) != n {
			t.Fatalf("%v: %d commands executed", v, len(m.hw.seen))
		}
		for i, c := range m.hw.seen {
			if c.Device != uint16(i) {
				t.Fatalf("%v: command %d is %+v", v, i, c)
			}
		}
		if m.hw.reads != 5 && m.hw.reads != 6 {
			t.Errorf("%v: head register read %d times", v, m.hw.reads)
		}
	}
}

// Indirect calls, from the source of both versions: 6.12 goes through a pointer of the domain and one of the page table for
// each operation.
func TestIndirectCalls(t *testing.T) {
	for _, c := range []struct {
		v               kernel.Version
		m, strict, lazy int
	}{{kernel.V6_12, 3, 5, 4}, {kernel.V7_3, 2, 3, 2}} {
		r := newRig(t, c.v, 4)
		count := func(body func(th *cpu.Thread)) (n int) {
			for _, o := range recorded.Run(body) {
				if o.Class == cpu.CallInd || o.Class == cpu.JmpInd {
					n++
				}
			}
			return n
		}
		m := func(th *cpu.Thread) { r.dom.Core.Map(th, iova, phys, 4096, rw) }
		if got := count(m); got != c.m {
			t.Errorf("%v: map has %d indirect calls, want %d", c.v, got, c.m)
		}
		strict := count(func(th *cpu.Thread) {
			r.dom.Core.IovaToPhys(th, iova)
			unmap(th, r.dom, iova, 4096)
		})
		count(m)
		lazy := count(func(th *cpu.Thread) {
			r.dom.Core.IovaToPhys(th, iova)
			var g iommucore.Gather
			g.Init(th.SP() - 64)
			g.Queued = true
			r.dom.Core.Unmap(th, iova, 4096, &g)
		})
		if strict != c.strict || lazy != c.lazy {
			t.Errorf("%v: %d and %d indirect calls, want %d and %d", c.v, strict, lazy, c.strict, c.lazy)
		}
	}
}

// The numbers in the package documentation: instructions of a map and of an unmap with its invalidation, the hardware being
// done at the first look.
func TestDocumentedTotals(t *testing.T) {
	for _, c := range []struct {
		v           kernel.Version
		size        uint64
		mapN, unmap int
	}{{kernel.V6_12, 4096, 459, 917}, {kernel.V7_3, 4096, 389, 1103}, {kernel.V6_12, 128 << 10, 868, 942}, {kernel.V7_3, 128 << 10, 1181, 1246}} {
		r := newRig(t, c.v, 4)
		const at, pa = 0x10000000, 0x200000000
		var m, u int
		recorded.Run(func(th *cpu.Thread) { r.dom.Core.Map(th, at+1<<20, pa, 4096, rw) }) // the tables stay
		for range 2 {
			m = len(recorded.Run(func(th *cpu.Thread) { r.dom.Core.Map(th, at, pa, c.size, rw) }))
			u = len(recorded.Run(func(th *cpu.Thread) { unmap(th, r.dom, at, c.size) })) - 2 // the test's own frame
		}
		if m != c.mapN || u != c.unmap {
			t.Errorf("%v, %d bytes: map %d, unmap %d; doc.go says %d, %d", c.v, c.size, m, u, c.mapN, c.unmap)
		}
	}
}
