package scatterlist

import (
	"errors"

	"dmapath/cpu"
	"dmapath/kernel"
)

// Route is how one device reaches memory of another (enum pci_p2pdma_map_type).
type Route uint8

// Routes of a piece of memory.
const (
	Memory      Route = iota // PCI_P2PDMA_MAP_NONE: ordinary memory
	BusAddress               // below a common switch: the bus address of the other device
	HostBridge               // through the host bridge: mapped like memory
	Unsupported              // -EREMOTEIO
)

// ErrUnsupported is -EREMOTEIO: the host bridge between the two devices is not known to pass their transactions on.
var ErrUnsupported = errors.New("EREMOTEIO: no route between the two devices")

var (
	p2pState   = cpu.NewFunc("__pci_p2pdma_update_state", "drivers/pci/p2pdma.c", 240)
	p2pSegment = cpu.NewFunc("pci_p2pdma_map_segment", "drivers/pci/p2pdma.c", 260)
	xaLoad     = cpu.NewFunc("xa_load", "lib/xarray.c", 200)
)

// Walk is struct pci_p2pdma_map_state: the provider that the last entry of peer memory belonged to.
type Walk struct {
	known bool
	route Route
}

// Classify finds how dev reaches entry i, and emits the test. Without CONFIG_PCI_P2PDMA there is no test and everything is
// memory. With it the struct page is read: its flags on 6.12, on 7.3 first the head of its folio. Only the first entry of peer
// memory asks for the route (an xarray of the provider). No recording has it: estimated from the structure of the source.
func (w *Walk) Classify(t *cpu.Thread, e *kernel.Env, d *kernel.Device, l *List, i int, a cpu.Val) Route {
	if !e.P2PDMA {
		return Memory
	}
	x := &l.Entries[i]
	page := t.ALU(1, t.Load(l.At(i)+PageLink, a))
	if e.Version == kernel.V7_3 { // page_folio
		head := t.Load(x.Page+8, page)
		t.Branch(false, t.ALU(1, head))
		page = t.ALU(1, head)
	}
	zone := t.Chain(2, t.Load(x.Page, page))
	t.Branch(x.P2P, t.ALU(1, zone)) // page_zonenum == ZONE_DEVICE
	if !x.P2P {
		return Memory
	}
	pgmap := t.Load(x.Page+8, page)
	t.Branch(false, t.ALU(1, t.Mem(cpu.Load, d.P2P.Provider+40, 4, pgmap, 0))) // pgmap->type
	t.Branch(w.known, t.ALU(1, pgmap))
	if !w.known {
		w.known, w.route = true, route(d.P2P.Route)
		w.lookUp(t, e, d)
	}
	t.Branch(w.route == BusAddress, t.ALU(1, 0))
	return w.route
}

func route(r kernel.P2PRoute) Route {
	switch r {
	case kernel.P2PBusAddress:
		return BusAddress
	case kernel.P2PHostBridge:
		return HostBridge
	}
	return Unsupported
}

// lookUp emits pci_p2pdma_map_type: provider, its p2pdma structure, and the client's entry in the xarray of routes.
func (w *Walk) lookUp(t *cpu.Thread, e *kernel.Env, d *kernel.Device) {
	if e.Version == kernel.V7_3 {
		t.Call(p2pState)
	} else {
		t.Call(p2pSegment)
	}
	t.Nop(2)
	t.Push(4)
	t.ALU(4, 0)
	provider := t.Load(d.P2P.Provider+48, 0)
	p2p := t.Load(d.P2P.Provider+56, provider)
	t.Branch(false, t.ALU(1, p2p))
	t.ALU(6, t.Mem(cpu.Load, d.Pdev+16, 4, 0, 0)) // map_types_idx: domain, bus and devfn of the client
	t.Call(xaLoad)
	t.Nop(2)
	t.Push(3)
	t.ALU(3, 0)
	head := t.Load(d.P2P.Provider+64, p2p)
	t.Branch(false, t.ALU(2, head))
	node := t.Mem(cpu.Load, d.P2P.Provider+128, 1, head, 0) // node->shift
	slot := t.Load(d.P2P.Provider+192, t.Chain(3, node))
	t.Branch(false, t.ALU(2, slot))
	t.Pop(3)
	t.Ret()
	t.ALU(3, slot)
	t.Load(d.P2P.Provider+72, provider) // bus_offset
	t.Pop(4)
	t.Ret()
}
