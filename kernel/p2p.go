package kernel

// P2PRoute is how a device reaches the memory of another device on PCIe (enum pci_p2pdma_map_type).
type P2PRoute uint8

// Routes between two devices.
const (
	P2PUnsupported P2PRoute = iota // through a host bridge that is not known to pass it on: -EREMOTEIO
	P2PBusAddress                  // below one switch: by the address on the bus
	P2PHostBridge                  // through the host bridge, by physical address
)

// P2P is what a device knows about the peer whose memory it uses.
type P2P struct {
	Route P2PRoute
	// BusOffset is added to a physical address of the peer's memory to get its address on the bus.
	BusOffset uint64
	// Provider is where struct pci_p2pdma_pagemap and what hangs off it lie (256 bytes); 0 without a peer.
	Provider uint64
}
