package nvme

import (
	"errors"
	"fmt"
	"testing"

	"dmapath/kernel"
	"dmapath/kernel/mm"
	"dmapath/kernel/scatterlist"
	"dmapath/platform"
	"dmapath/workloads"
)

// peers is a drive and a second device, whose BAR of the given kind takes the place of RAM.
func peers(t *testing.T, v kernel.Version, b platform.Backend, kind mm.Kind, route kernel.P2PRoute) (*platform.Machine, *platform.Device, *platform.Peer) {
	t.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	bar, err := s.PeerRange(kind)
	if err != nil {
		t.Fatal(err)
	}
	m, err := platform.Build(s, platform.Options{Version: v, Backend: b, CPUs: 1, Seed: 1, P2PDMA: true, Extra: mm.MemoryMap{bar}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	d, err := m.AddDevice("0000:01:00.0", 0x0100)
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.AddPeer("0000:02:00.0", 0x0200, bar)
	if err != nil {
		t.Fatal(err)
	}
	d.Reaches(p, route)
	return m, d, p
}

// Data goes from drive to device and from device to drive, and what the kernel does for it depends on kind of memory, route and version.
func TestPeerToPeer(t *testing.T) {
	type calls = map[workloads.Call]int64
	const n = 32 // I/Os of 16 KiB in four pieces
	for _, c := range []struct {
		kind  mm.Kind
		route kernel.P2PRoute
		v     kernel.Version
		b     platform.Backend
		want  calls  // for each I/O
		iova  uint64 // allocations of I/O addresses for each I/O
	}{
		// With struct pages 6.12 maps a scatterlist and learns the route on the way; 7.3 asks once for a request.
		{mm.ZoneDevice, kernel.P2PHostBridge, kernel.V6_12, platform.Direct, calls{workloads.CallMapSG: 1, workloads.CallUnmapSG: 1}, 0},
		{mm.ZoneDevice, kernel.P2PHostBridge, kernel.V6_12, platform.IommuStrict, calls{workloads.CallMapSG: 1, workloads.CallUnmapSG: 1}, 1},
		{mm.ZoneDevice, kernel.P2PBusAddress, kernel.V6_12, platform.IommuStrict, calls{workloads.CallMapSG: 1, workloads.CallUnmapSG: 1}, 0},
		{mm.ZoneDevice, kernel.P2PHostBridge, kernel.V7_3, platform.Direct, calls{workloads.CallAlloc: 1, workloads.CallMap: 4}, 0},
		{mm.ZoneDevice, kernel.P2PHostBridge, kernel.V7_3, platform.IommuStrict, calls{workloads.CallAlloc: 1, workloads.CallLink: 4, workloads.CallSyncIOVA: 1, workloads.CallDestroy: 1}, 1},
		{mm.ZoneDevice, kernel.P2PBusAddress, kernel.V7_3, platform.IommuStrict, calls{}, 0},
		// Without struct pages 6.12 has dma_map_resource for every piece and no bus addresses, 7.3 the same as with them.
		{mm.MMIO, kernel.P2PHostBridge, kernel.V6_12, platform.IommuStrict, calls{workloads.CallMap: 4, workloads.CallUnmap: 4}, 4},
		{mm.MMIO, kernel.P2PHostBridge, kernel.V6_12, platform.Direct, calls{workloads.CallMap: 4, workloads.CallUnmap: 4}, 0},
		{mm.MMIO, kernel.P2PHostBridge, kernel.V7_3, platform.IommuStrict, calls{workloads.CallAlloc: 1, workloads.CallLink: 4, workloads.CallSyncIOVA: 1, workloads.CallDestroy: 1}, 1},
		{mm.MMIO, kernel.P2PBusAddress, kernel.V7_3, platform.IommuLazy, calls{}, 0},
	} {
		where := fmt.Sprintf("%v, route %d, %v on %s", c.kind, c.route, c.v, c.b)
		m, dev, peer := peers(t, c.v, c.b, c.kind, c.route)
		cfg := whole(t, c.v, 16<<10, workloads.Scattered)
		cfg.IOs, cfg.WritePercent, cfg.Peer = n, 50, peer
		allocs := func() uint64 {
			if dev.Cookie == nil {
				return 0
			}
			s := dev.Cookie.IOVA.Stats
			return s.Hits + s.Swaps + s.DepotGets + s.Tree
		}
		before := allocs()
		r, err := Run(m, dev, cfg)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		for k, got := range r.Calls {
			if want := n * c.want[workloads.Call(k)]; got != want {
				t.Errorf("%s: %d calls of %v, want %d", where, got, workloads.Call(k), want)
			}
		}
		s := peer.Port.Stats()
		if s.WindowBytesIn == 0 || s.WindowBytesOut == 0 || s.WindowBytesIn+s.WindowBytesOut != n*16<<10 {
			t.Errorf("%s: %d bytes into the peer and %d out of it, want %d together", where, s.WindowBytesIn, s.WindowBytesOut, n*16<<10)
		}
		if sw := dev.Port.Stats().PeerWrites > 0; sw != (c.route == kernel.P2PBusAddress) {
			t.Errorf("%s: through the switch %v", where, sw)
		}
		const rings = 3 // two rings and the pool of lists
		if got := allocs() - before; got < n*c.iova || got > n*c.iova+2*rings {
			t.Errorf("%s: %d allocations of I/O addresses, want %d for each I/O", where, got, c.iova)
		}
	}
}

// Where no route is known the kernel refuses (-EREMOTEIO), on both versions.
func TestNoRouteBetweenPeers(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		m, dev, peer := peers(t, v, platform.IommuStrict, mm.ZoneDevice, kernel.P2PUnsupported)
		cfg := whole(t, v, 16<<10, workloads.Scattered)
		cfg.Peer = peer
		if _, err := Run(m, dev, cfg); !errors.Is(err, scatterlist.ErrUnsupported) {
			t.Errorf("%v: %v, want EREMOTEIO", v, err)
		}
	}
}
