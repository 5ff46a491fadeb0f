package vmm_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/mm"
	"dmapath/kernel/recorded"
	"dmapath/kernel/virtioiommu"
	"dmapath/kernel/vmm"
	"dmapath/kernel/vtd"
	"dmapath/sim"
)

// virtual is a guest with a virtio-iommu on a host with the real model of a VT-d unit.
type virtual struct {
	*machine
	window *vmm.VirtioWindow
	unit   *virtioiommu.Unit
	a      vmm.VirtioAdapter
	doms   []*iommucore.Domain
}

// newVirtual attaches the devices rid, rid+1 ... to domains of their own.
func newVirtual(t *testing.T, v kernel.Version, devices int) *virtual {
	t.Helper()
	host, below, above, unit := newHost(t, v)
	m := &virtual{machine: host}
	var err error
	if m.host, m.window, err = vmm.NewVirtio(vmm.Config{Env: below, Adapter: vtd.Adapter{Unit: unit}, Levels: 4, Exit: exit, Base: guestVA,
		RAM: []vmm.Range{{Start: 0, Bytes: 3 << 30}, {Start: 4 << 30, Bytes: 5<<30 + 1<<21}}}); err != nil {
		t.Fatal(err)
	}
	boot := func(name string, body func(*cpu.Thread)) error {
		m.eng.Go(name, func(p *sim.Proc) {
			p.SleepUntil(max(p.Now(), sim.Microsecond))
			body(cpu.NewThread(p, 0, nil, cpu.NewStream(recorded.StackTop, cpu.MitNone)))
			m.eng.Stop()
		})
		return m.eng.Run(sim.Never)
	}
	if m.unit, err = virtioiommu.NewUnit(virtioiommu.Config{Env: above, HW: m.window, Regs: guestVA, MM: mm.New(above), Boot: boot}); err != nil {
		t.Fatal(err)
	}
	m.a = vmm.VirtioAdapter{Adapter: virtioiommu.Adapter{Unit: m.unit}, Window: m.window}
	m.a.Enable()
	for i := range devices {
		d, err := m.a.NewDomain(0)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.a.Attach(rid+uint16(i), d); err != nil {
			t.Fatal(err)
		}
		m.doms = append(m.doms, d)
	}
	return m
}

func (m *virtual) cpu(c int, body func(p *sim.Proc, t *cpu.Thread)) {
	m.eng.Go(fmt.Sprintf("cpu%d", c), func(p *sim.Proc) {
		body(p, cpu.NewThread(p, c, nil, cpu.NewStream(recorded.StackTop-uint64(c)<<14, cpu.MitNone)))
	})
}

func (m *virtual) reaches(t *cpu.Thread, dev int, iova uint64) (uint64, bool) {
	t.Sync()
	pa, _, err := m.hw.Translate(rid+uint16(dev), iova, true, t.Now())
	return pa, err == nil
}

// Whatever several virtual CPUs map and unmap for two devices, a device gets what was mapped for it once the map has returned, nothing of the
// other's, and nothing after a strict unmap has. The driver's tree, asked for the physical address, says the same.
func TestVirtioDeviceSeesWhatIsMapped(t *testing.T) {
	for _, v := range versions {
		m := newVirtual(t, v, 2)
		start := m.host.Exits
		calls := uint64(0)
		for c := range 3 {
			m.cpu(c, func(p *sim.Proc, th *cpu.Thread) {
				rng := rand.New(rand.NewPCG(uint64(c), 5))
				dev := c % 2
				d := m.doms[dev]
				type live struct{ at, pa, size uint64 }
				var maps []live
				for range 150 {
					if len(maps) > 0 && rng.IntN(2) == 0 {
						i := rng.IntN(len(maps))
						l := maps[i]
						maps = append(maps[:i], maps[i+1:]...)
						if n := unmap(th, d, l.at, l.size); n != l.size {
							t.Errorf("%v: unmap of %#x bytes at %#x: %#x", v, l.size, l.at, n)
						}
						if pa, ok := m.reaches(th, dev, l.at); ok {
							t.Errorf("%v: %#x reaches %#x after its unmap", v, l.at, pa)
						}
						calls++
						continue
					}
					l := live{uint64(c+1)<<32 + uint64(rng.IntN(1<<10))<<22, uint64(c+1)<<34 + uint64(rng.IntN(1<<12))<<21, uint64(1+rng.IntN(40)) << 12}
					if rng.IntN(3) == 0 { // not aligned alike: runs of one size only
						l.pa += uint64(1+rng.IntN(100)) << 12
						l.at += uint64(1+rng.IntN(100)) << 12
					} else if rng.IntN(4) == 0 {
						l.size = 2 << 20
					}
					taken := false
					for _, o := range maps {
						taken = taken || o.at>>22 == l.at>>22
					}
					if taken {
						continue
					}
					if err := d.Map(th, l.at, l.pa, l.size, rw); err != nil {
						t.Errorf("%v: %v", v, err)
						return
					}
					calls++
					maps = append(maps, l)
					for _, l := range maps {
						off := uint64(rng.IntN(int(l.size)))
						if pa, ok := m.reaches(th, dev, l.at+off); !ok || pa != l.pa+off {
							t.Errorf("%v: %#x is mapped to %#x, the device gets %#x (%v)", v, l.at+off, l.pa+off, pa, ok)
							return
						}
						if pa, ok := m.reaches(th, 1-dev, l.at+off); ok {
							t.Errorf("%v: the other device reaches %#x", v, pa)
						}
						if pa := d.IovaToPhys(th, l.at+off); pa != l.pa+off {
							t.Errorf("%v: the driver finds %#x at %#x, want %#x", v, pa, l.at+off, l.pa+off)
						}
					}
				}
				for _, l := range maps {
					unmap(th, d, l.at, l.size)
					calls++
				}
			})
		}
		m.run(t)
		// A notification by one CPU carries out the requests of all, and finds the other's own queue empty: fewer exits than calls, never more.
		if got := m.host.Exits - start; got > calls || got < calls/3 {
			t.Errorf("%v: %d calls, %d exits", v, calls, got)
		}
		if m.host.Maps != m.host.Unmaps || m.doms[0].Driver().(*virtioiommu.Domain).Mappings() != 0 || m.window.Requests[3] == 0 {
			t.Errorf("%v: %d maps, %d unmaps of the host, %d mappings left", v, m.host.Maps, m.host.Unmaps, m.doms[0].Driver().(*virtioiommu.Domain).Mappings())
		}
	}
}

// In lazy mode an unmap's request waits in the queue: the device goes on reaching the buffer until anybody notifies, be it a map in another
// domain or the flush. A queue that is full is worked off by the next request.
func TestVirtioDeferredUnmaps(t *testing.T) {
	for _, v := range versions {
		m := newVirtual(t, v, 2)
		m.cpu(0, func(p *sim.Proc, th *cpu.Thread) {
			d := m.doms[0]
			lazy := func(at uint64) {
				g := iommucore.Gather{}
				g.Init(th.SP() - 64)
				g.Queued = true
				if n := d.Unmap(th, at, 4096, &g); n != 4096 {
					t.Errorf("%v: unmapped %d bytes", v, n)
				}
			}
			for _, end := range []struct {
				name string
				call func()
			}{{"a map of another domain", func() { m.doms[1].Map(th, 1<<40, 1<<32, 4096, rw) }}, {"the flush", func() { d.FlushAll(th) }}} {
				d.Map(th, 1<<30, 1<<32, 4096, rw)
				exits := m.host.Exits
				lazy(1 << 30)
				if _, ok := m.reaches(th, 0, 1<<30); !ok || m.host.Exits != exits {
					t.Errorf("%v: before %s the buffer is reached: %v, after %d exits", v, end.name, ok, m.host.Exits-exits)
				}
				end.call()
				if _, ok := m.reaches(th, 0, 1<<30); ok || m.host.Exits != exits+1 {
					t.Errorf("%v: after %s the buffer is reached: %v, after %d exits", v, end.name, ok, m.host.Exits-exits)
				}
			}
			const n = 300
			for i := range uint64(n) {
				d.Map(th, 1<<31+i<<12, 1<<33+i<<12, 4096, rw)
			}
			exits := m.host.Exits
			for i := range uint64(n) {
				lazy(1<<31 + i<<12)
			}
			if m.unit.Full != 1 || m.host.Exits != exits+1 {
				t.Errorf("%v: %d unmaps found the queue of 256 full %d times, with %d exits", v, n, m.unit.Full, m.host.Exits-exits)
			}
			for i := range uint64(n) {
				if _, ok := m.reaches(th, 0, 1<<31+i<<12); ok != (i >= 256) {
					t.Errorf("%v: buffer %d is reached: %v", v, i, ok)
				}
			}
			d.FlushAll(th)
		})
		m.run(t)
	}
}

// A device whose domain bypasses reaches all memory of the guest at its own addresses, and nothing beside it.
func TestVirtioBypass(t *testing.T) {
	for _, v := range versions {
		m := newVirtual(t, v, 0)
		if err := m.a.AttachPassthrough(rid); err != nil {
			t.Fatal(err)
		}
		if err := m.a.AttachPassthrough(rid); err == nil {
			t.Error("a second attachment is not refused")
		}
		m.cpu(0, func(p *sim.Proc, th *cpu.Thread) {
			for _, c := range []struct {
				pa uint64
				ok bool
			}{{0, true}, {3<<30 - 1, true}, {3 << 30, false}, {4<<30 - 1, false}, {4 << 30, true}, {9<<30 + 1<<21 - 1, true}, {9<<30 + 1<<21, false}} {
				if pa, ok := m.reaches(th, 0, c.pa); ok != c.ok || ok && pa != c.pa {
					t.Errorf("%v: %#x is reached at %#x: %v, want %v", v, c.pa, pa, ok, c.ok)
				}
			}
		})
		m.run(t)
	}
}

// The lock of the request queue is held over the exit: two virtual CPUs take the time of both exits, where two with VT-d units of their own
// overlap the hardware's part.
func TestVirtioExitsSerialise(t *testing.T) {
	took := func(n int) (all sim.Time) {
		m := newVirtual(t, kernel.V7_3, 1)
		var begin sim.Time
		for c := range n {
			m.cpu(c, func(p *sim.Proc, th *cpu.Thread) {
				begin = p.Now()
				m.doms[0].Map(th, uint64(c+1)<<30, 1<<32, 4096, rw)
				th.Sync()
				all = max(all, p.Now()-begin)
			})
		}
		m.run(t)
		return all
	}
	// The first notifies for itself; those that wait find their requests done by whoever notifies next.
	if one, two := took(1), took(2); one < exit || two < 2*exit || two > 2*one+sim.Microsecond {
		t.Errorf("one map takes %v, two at once %v", one, two)
	}
}

// A map and an unmap with all that the host does allocate nothing once there are nodes to use again.
func TestVirtioNoAllocations(t *testing.T) {
	for _, v := range versions {
		m := newVirtual(t, v, 1)
		m.cpu(0, func(p *sim.Proc, th *cpu.Thread) {
			m.doms[0].Map(th, 1<<30+1<<20, 1<<33, 4096, rw)
			g := new(iommucore.Gather)
			pair := func() {
				m.doms[0].Map(th, 1<<30, 1<<32, 4096, rw)
				g.Init(th.SP() - 64)
				m.doms[0].Unmap(th, 1<<30, 4096, g)
				m.doms[0].SyncTLB(th, g)
				th.Sync()
			}
			pair()
			if n := testing.AllocsPerRun(200, pair); n >= 1 {
				t.Errorf("%v: %v allocations", v, n)
			}
		})
		m.run(t)
	}
}
