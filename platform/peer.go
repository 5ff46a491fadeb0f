package platform

import (
	"fmt"

	"dmapath/cache"
	"dmapath/kernel"
	"dmapath/kernel/mm"
	"dmapath/pcie"
	"dmapath/sim"
)

// peerBytes is the size of a peer's BAR.
const peerBytes = 256 << 20

// PeerRange is where the BAR of a second device lies on s: below the window of device memory. With struct pages (kind mm.ZoneDevice)
// or without (mm.MMIO) it is given to Build as Options.Extra.
func (s *Spec) PeerRange(kind mm.Kind) (mm.Range, error) {
	base := uint64(s.Memory.MMIOBase)&^(mm.SectionSize-1) - peerBytes
	if base < s.RAMEnd() {
		return mm.Range{}, fmt.Errorf("no room for a BAR of %d MiB between the RAM, which ends at %#x, and memory.mmio_base %#x", peerBytes>>20, s.RAMEnd(), uint64(s.Memory.MMIOBase))
	}
	return mm.Range{Start: base, Size: peerBytes, Kind: kind}, nil
}

// Peer is a device whose memory, a BAR, other devices read and write.
type Peer struct {
	*Device
	BAR mm.Range
}

// AddPeer plugs in a device whose BAR answers at r, a range of Options.Extra that is device memory.
func (m *Machine) AddPeer(name string, rid uint16, r mm.Range) (*Peer, error) {
	if got, ok := m.memory.Find(r.Start); !ok || got != r || !r.Kind.Device() {
		return nil, fmt.Errorf("%s: its BAR at %#x, %d bytes, is no device memory of this machine's memory map", name, r.Start, r.Size)
	}
	dev, err := m.AddDevice(name, rid)
	if err != nil {
		return nil, err
	}
	m.routes.windows = append(m.routes.windows, pcie.Window{Base: r.Start, Size: r.Size, Port: dev.Port})
	return &Peer{Device: dev, BAR: r}, nil
}

// Reaches tells the device's kernel how it reaches the memory of p, and for P2PBusAddress puts both below one switch.
func (d *Device) Reaches(p *Peer, route kernel.P2PRoute) {
	d.Ctx.Dev.P2P = kernel.P2P{Route: route, Provider: d.m.Env.Slab(256, 64)}
	if route == kernel.P2PBusAddress {
		d.Port.Below(pcie.Window{Base: p.BAR.Start, Size: p.BAR.Size, Port: p.Port})
	}
}

// rootComplex routes the requests of devices by physical address: to memory, or down to the device that a window belongs to.
type rootComplex struct {
	memory  pcie.Memory
	windows []pcie.Window
}

// host is what a root port sees: memory alone, unless the memory map has device memory that peers may be given.
func (m *Machine) host() pcie.Memory {
	if m.routes == nil {
		for _, r := range m.Opt.Extra {
			if r.Kind.Device() {
				m.routes = &rootComplex{memory: m.io()}
			}
		}
	}
	if m.routes == nil {
		return m.io()
	}
	return m.routes
}

func (r *rootComplex) find(pa uint64) *pcie.Window {
	for i := range r.windows {
		if r.windows[i].Contains(pa) {
			return &r.windows[i]
		}
	}
	return nil
}

// DeviceRead is pcie.Memory. What comes from a device has passed no cache.
func (r *rootComplex) DeviceRead(pa uint64, n int, now sim.Time) (sim.Time, cache.Level) {
	if w := r.find(pa); w != nil {
		return w.Port.PeerRead(n, now), cache.DRAM
	}
	return r.memory.DeviceRead(pa, n, now)
}

// DeviceWrite is pcie.Memory: a write to a window is done when the other device has it.
func (r *rootComplex) DeviceWrite(pa uint64, n int, now sim.Time) sim.Time {
	if w := r.find(pa); w != nil {
		return w.Port.PeerWrite(n, now)
	}
	return r.memory.DeviceWrite(pa, n, now)
}

var _ pcie.Memory = (*rootComplex)(nil)
