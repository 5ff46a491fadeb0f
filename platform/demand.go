package platform

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu"
	"dmapath/kernel"
	"dmapath/kernel/iopf"
	"dmapath/kernel/vtd"
	"dmapath/pcie"
	"dmapath/sim"
)

// Demand is memory of a process that a device uses and nobody has touched: the device asks for each page (PRI) and the kernel's fault
// handling brings it.
type Demand struct {
	First, Last uint64 // device addresses, equal to the process's
	Handler     *iopf.Handler

	m     *Machine
	d     *Device
	unit  *vtd.Unit
	prq   iommu.PageRequests
	busy  []bool // by CPU: a worker runs there
	entry []uint64
}

// Functions on the way from the interrupt to the thread that handles it; guessed counts.
var (
	fnInterrupt = cpu.NewFunc("common_interrupt", "arch/x86/kernel/irq.c", 900)
	fnWakeIRQ   = cpu.NewFunc("__irq_wake_thread", "kernel/irq/handle.c", 400)
	fnIRQThread = cpu.NewFunc("irq_thread", "kernel/irq/manage.c", 900)
)

const (
	nInterrupt = 420
	nWakeIRQ   = 340
	nIRQThread = 560 // a switch to the thread included
)

// NewDemand gives device d memory of so many bytes that is populated on demand; a is told the answers to its page requests. order is log2 of the
// pages of the request queue, vtd.PRQOrder in Linux.
//
// The domain is the one that the device's requests without PASID use, see package iopf. Its memory lies in the upper half of the addresses,
// where the DMA API gives out none.
func (m *Machine) NewDemand(d *Device, a iommu.Asker, bytes uint64, order int) (*Demand, error) {
	u, err := m.faultingUnit(d)
	if err != nil {
		return nil, unfit(err)
	}
	dom := d.Cookie.Domain()
	x := &Demand{First: dom.ApertureEnd/2 + 1, m: m, d: d, unit: u, prq: m.Unit.(iommu.PageRequests), busy: make([]bool, m.Opt.CPUs)}
	x.Last = x.First + (bytes+4095)&^4095 - 1
	for range 4 {
		x.entry = append(x.entry, m.Env.Slab(64, 64))
	}
	if x.Handler, err = iopf.New(iopf.Config{Env: m.Env, MM: m.MM, Driver: u, Domain: dom, First: x.First, Last: x.Last}); err != nil {
		return nil, unfit(err)
	}
	u.EnablePRQ(order)
	x.prq.AttachPRI(d.RID, a)
	x.prq.OnPageRequest(x.interrupt)
	return x, nil
}

// faultingUnit returns the driver of the unit that takes d's page requests, or why there can be none.
func (m *Machine) faultingUnit(d *Device) (*vtd.Unit, error) {
	switch a := m.Driver.(type) {
	case nil:
		return nil, fmt.Errorf("backend %s has no IOMMU: a device's page requests (PRI) need one", m.Opt.Backend)
	case vtd.Adapter:
		if d.Cookie == nil {
			return nil, fmt.Errorf("backend %s: a device that is passed through has no pages to ask for", m.Opt.Backend)
		}
		if m.Spec.PCIe.DeviceTLB.Entries == 0 {
			return nil, fmt.Errorf("pcie.device_tlb.entries is 0: page requests (PRI) are for devices that translate themselves; set it and pcie.device_tlb.ways")
		}
		return a.Unit, nil
	}
	return nil, fmt.Errorf("backend %s on iommu.dialect %s: page requests (PRI) are modelled for a vt-d unit on the metal", m.Opt.Backend, m.Spec.IOMMU.Dialect)
}

// Ask sends a page request message of the device that it has ready at now.
func (x *Demand) Ask(r pcie.PageRequest, now sim.Time) {
	x.prq.RequestPage(r, x.d.Port.PageRequest(now))
}

// interrupt is the queue's interrupt at CPU 0: its handler wakes the thread, which empties the queue.
func (x *Demand) interrupt() {
	m := x.m
	m.Eng.Go("page request interrupt", func(p *sim.Proc) {
		if l := &m.timerRuns[0]; !l.TryLock(p) {
			l.Wait(p)
		}
		defer m.timerRuns[0].Unlock(p)
		x.run(p, 0, func(t *cpu.Thread) {
			kernel.Code(t, fnInterrupt, nInterrupt, x.entry[:2]...)
			kernel.Code(t, fnWakeIRQ, nWakeIRQ, x.entry...)
			kernel.Code(t, fnIRQThread, nIRQThread, x.entry...)
			x.unit.PRQThread(t, func(t *cpu.Thread, r pcie.PageRequest) {
				if x.Handler.Report(t, r) && m.Opt.CPUs > 1 {
					t.Sync()
					x.wake()
				}
			})
			if m.Opt.CPUs == 1 && !x.Handler.Idle() {
				x.Handler.Work(t)
			}
		})
	})
}

// wake starts a worker on a CPU that has none, if there is one.
func (x *Demand) wake() {
	for c := 1; c < len(x.busy); c++ {
		if x.busy[c] {
			continue
		}
		x.busy[c] = true
		x.m.Eng.Go(fmt.Sprintf("cpu %d fault worker", c), func(p *sim.Proc) {
			x.run(p, c, x.Handler.Work)
			x.busy[c] = false
			if !x.Handler.Idle() {
				x.wake()
			}
		})
		return
	}
}

func (x *Demand) run(p *sim.Proc, c int, body func(t *cpu.Thread)) {
	s := x.m.takeStream(c)
	t := cpu.NewThread(p, c, x.m.Cores[c], s)
	body(t)
	t.Sync()
	x.m.softirqs[c] = append(x.m.softirqs[c], s)
}
