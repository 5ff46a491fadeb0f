package vmm_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/iommu/table"
	hwvtd "dmapath/iommu/vtd"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/recorded"
	"dmapath/kernel/vmm"
	"dmapath/kernel/vtd"
	"dmapath/sim"
)

const (
	rid     = 0x0100
	rw      = iommucore.Read | iommucore.Write
	realVA  = cpu.MMIOBase
	guestVA = cpu.MMIOBase + 0x10000
	exit    = 500 * sim.Nanosecond
)

var versions = []kernel.Version{kernel.V6_12, kernel.V7_3}

// steady is a memory system of constant latency for the unit's own reads and writes.
type steady struct{}

func (steady) DeviceRead(pa uint64, n int, now sim.Time) (sim.Time, cache.Level) {
	return now + 50*sim.Nanosecond, cache.LLC
}

func (steady) DeviceWrite(pa uint64, n int, now sim.Time) sim.Time { return now + 50*sim.Nanosecond }

// pages is a page allocator that emits nothing.
type pages struct {
	env  *kernel.Env
	free []uint64
}

func (a *pages) AllocPages(*cpu.Thread, int) uint64 {
	if n := len(a.free); n > 0 {
		va := a.free[n-1]
		a.free = a.free[:n-1]
		return va
	}
	return a.env.Page()
}

func (a *pages) FreePages(_ *cpu.Thread, va uint64, _ int) { a.free = append(a.free, va) }

// machine is a guest with one device on a host with the real model of a VT-d unit.
type machine struct {
	eng   *sim.Engine
	mem   *cache.Memory
	hw    *hwvtd.Unit
	host  *vmm.Host
	guest *vtd.Domain
}

func newMachine(t *testing.T, v kernel.Version) *machine {
	t.Helper()
	m, below, above, unit := newHost(t, v)
	c, _ := m.hw.ReadReg(realVA+table.RegCAP, 0)
	e, _ := m.hw.ReadReg(realVA+table.RegECAP, 0)
	host, window := vmm.New(vmm.Config{Env: below, Adapter: vtd.Adapter{Unit: unit}, Levels: 4, Exit: exit, Base: guestVA, Cap: c, ECap: e})
	m.host = host
	virtual, err := vtd.NewUnit(above, window, guestVA, &pages{env: above})
	if err != nil {
		t.Fatal(err)
	}
	a := vmm.Adapter{Adapter: vtd.Adapter{Unit: virtual}, Host: host}
	a.Enable()
	d, err := a.NewDomain(4)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Attach(rid, d); err != nil {
		t.Fatal(err)
	}
	m.guest = d.Driver().(*vtd.Domain)
	return m
}

// newHost makes the hardware, the memories of host and guest, and the host's driver.
func newHost(t *testing.T, v kernel.Version) (m *machine, below, above *kernel.Env, unit *vtd.Unit) {
	t.Helper()
	m = &machine{eng: sim.NewEngine(), mem: cache.NewMemory()}
	cfg := hwvtd.DefaultConfig()
	cfg.RegBase = realVA
	var err error
	if m.hw, err = hwvtd.New(cfg, m.eng, steady{}, m.mem); err != nil {
		t.Fatal(err)
	}
	env := func(base uint64) *kernel.Env {
		return kernel.NewEnv(kernel.Config{Version: v, CPUs: 4, Coherent: true}, m.mem, base)
	}
	below, above = env(8<<30), env(16<<30)
	if unit, err = vtd.NewUnit(below, m.hw, realVA, &pages{env: below}); err != nil {
		t.Fatal(err)
	}
	return m, below, above, unit
}

func (m *machine) cpu(c int, body func(p *sim.Proc, t *cpu.Thread)) {
	m.eng.Go(fmt.Sprintf("cpu%d", c), func(p *sim.Proc) {
		p.SleepUntil(sim.Microsecond) // the writes that enabled the real unit have arrived
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

// device is what the device gets through the real unit; guest what the guest's own tables say.
func (m *machine) device(t *cpu.Thread, iova uint64) (uint64, bool) {
	t.Sync()
	pa, _, err := m.hw.Translate(rid, iova, true, t.Now())
	return pa, err == nil
}

func (m *machine) table(iova uint64) (uint64, bool) {
	rules := table.NewRules(table.SecondStage, 52, table.Page2M|table.Page1G, false, false)
	t, why := table.Walk(m.mem, &rules, m.guest.Root(), m.guest.Levels(), iova, true)
	return t.PA, why == table.NoFault
}

func unmap(t *cpu.Thread, d *iommucore.Domain, iova, size uint64) uint64 {
	var g iommucore.Gather
	t.Frame(64)
	g.Init(t.SP() + 8)
	n := d.Unmap(t, iova, size, &g)
	d.SyncTLB(t, &g)
	t.Frame(-64)
	return n
}

// Whatever the guest maps and unmaps, on several virtual CPUs at once, the device is translated as the guest's tables say once
// the guest's call has returned: a map is followed by an invalidation because the unit has caching mode, and after a strict
// unmap nothing gets through.
func TestDeviceSeesTheGuestsTables(t *testing.T) {
	for _, v := range versions {
		m := newMachine(t, v)
		calls := uint64(0)
		for c := range 3 {
			m.cpu(c, func(p *sim.Proc, th *cpu.Thread) {
				rng := rand.New(rand.NewPCG(uint64(c), 3))
				for range 60 {
					size := uint64(1+rng.IntN(20)) << 12
					at := uint64(c+1)<<30 + uint64(rng.IntN(100))<<21
					pa := uint64(c+1)<<32 + uint64(rng.IntN(100))<<21
					switch rng.IntN(3) {
					case 0:
						size = 2 << 20
					case 1:
						at += uint64(rng.IntN(480)) << 12
					}
					if err := m.guest.Core.Map(th, at, pa, size, rw); err != nil {
						t.Error(err)
						return
					}
					for off := uint64(0); off < size; off += size/4&^4095 + 4096 {
						if got, ok := m.device(th, at+off); !ok || got != pa+off {
							t.Errorf("%v: %#x is mapped to %#x, the device gets %#x (%v)", v, at+off, pa+off, got, ok)
							return
						}
					}
					unmap(th, m.guest.Core, at, size)
					for off := uint64(0); off < size; off += size/4&^4095 + 4096 {
						if got, ok := m.device(th, at+off); ok {
							t.Errorf("%v: %#x reaches %#x after its unmap", v, at+off, got)
							return
						}
						if _, ok := m.table(at + off); ok {
							t.Errorf("%v: %#x is left in the guest's table", v, at+off)
						}
					}
					calls += 2
				}
			})
		}
		m.run(t)
		// A 2 MiB page over an empty table takes one more: the table goes.
		if m.host.Exits < calls || m.host.Exits > calls+calls/20 || m.host.Invalidations != m.host.Exits || m.host.Maps != m.host.Unmaps {
			t.Errorf("%v: %d calls, %d exits, %d invalidations, %d maps, %d unmaps", v, calls, m.host.Exits, m.host.Invalidations, m.host.Maps, m.host.Unmaps)
		}
	}
}

// The price of an exit has parts that can be taken away one by one: the hardware's, twice half of the platform's value, and the
// wait for the host's own invalidation, which only an unmap has. Without a core instructions take no time.
func TestWhatAnExitWaitsFor(t *testing.T) {
	for _, v := range versions {
		m := newMachine(t, v)
		m.cpu(0, func(p *sim.Proc, th *cpu.Thread) {
			start := p.Now()
			m.guest.Core.Map(th, 1<<30, 1<<32, 4096, rw)
			th.Sync()
			mapped := p.Now()
			if got := mapped - start; got != exit {
				t.Errorf("%v: a map waits %v, want %v", v, got, exit)
			}
			unmap(th, m.guest.Core, 1<<30, 4096)
			th.Sync()
			if got := p.Now() - mapped; got < exit+300*sim.Nanosecond || got > exit+2*sim.Microsecond {
				t.Errorf("%v: an unmap waits %v", v, got)
			}
		})
		m.run(t)
	}
}

// A flush of the whole domain brings a shadow that is behind up to date: what is new is mapped, what is gone unmapped, what is
// the same left alone.
func TestFlushOfEverything(t *testing.T) {
	for _, v := range versions {
		m := newMachine(t, v)
		m.cpu(0, func(p *sim.Proc, th *cpu.Thread) {
			for i := range uint64(5) {
				m.guest.Core.Map(th, 1<<30+i<<21, 1<<32+i<<21, 4096, rw)
			}
			var g iommucore.Gather
			th.Frame(64)
			g.Init(th.SP() + 8)
			g.Queued = true
			m.guest.Core.Unmap(th, 1<<30+2<<21, 4096, &g)
			th.Frame(-64)
			if _, ok := m.device(th, 1<<30+2<<21); !ok {
				t.Errorf("%v: the shadow follows without being told", v)
			}
			maps, unmaps := m.host.Maps, m.host.Unmaps
			m.guest.Core.FlushAll(th)
			for i := range uint64(5) {
				if _, ok := m.device(th, 1<<30+i<<21); ok != (i != 2) {
					t.Errorf("%v: page %d after the flush: %v", v, i, ok)
				}
			}
			if m.host.Maps != maps || m.host.Unmaps != unmaps+1 {
				t.Errorf("%v: %d maps and %d unmaps by the flush", v, m.host.Maps-maps, m.host.Unmaps-unmaps)
			}
		})
		m.run(t)
	}
}

// Virtual CPUs take turns at the device model: the hardware's part of their exits overlaps, the host's own invalidations do not.
func TestExitsSerialise(t *testing.T) {
	took := func(n int) (all sim.Time) {
		m := newMachine(t, kernel.V7_3)
		for c := range n {
			m.cpu(c, func(p *sim.Proc, th *cpu.Thread) {
				at := uint64(c+1) << 30
				m.guest.Core.Map(th, at, 1<<32, 4096, rw)
				th.Sync()
				unmap(th, m.guest.Core, at, 4096)
				all = max(all, p.Now()-sim.Microsecond)
			})
		}
		m.run(t)
		return all
	}
	one := took(1)
	wait := one - 2*exit // of the host's invalidation
	for _, n := range []int{2, 4} {
		if got := took(n); got < 2*exit+sim.Time(n)*wait {
			t.Errorf("%d virtual CPUs take %v, one %v of which it waits %v", n, got, one, wait)
		}
	}
}

// A guest's map and unmap, with all that the host does for them, allocate nothing once the tables are there.
func TestNoAllocations(t *testing.T) {
	for _, v := range versions {
		m := newMachine(t, v)
		m.cpu(0, func(p *sim.Proc, th *cpu.Thread) {
			m.guest.Core.Map(th, 1<<30+1<<20, 1<<33, 4096, rw) // the tables stay
			g := new(iommucore.Gather)
			pair := func() {
				m.guest.Core.Map(th, 1<<30, 1<<32, 4096, rw)
				g.Init(th.SP() - 64)
				m.guest.Core.Unmap(th, 1<<30, 4096, g)
				m.guest.Core.SyncTLB(th, g)
				th.Sync()
			}
			pair()
			if n := testing.AllocsPerRun(50, pair); n != 0 {
				t.Errorf("%v: %v allocations", v, n)
			}
		})
		m.run(t)
	}
}
