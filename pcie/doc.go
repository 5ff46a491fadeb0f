// Package pcie models the link between one device and its root port: how long a device's reads and writes, its
// interrupts, and the CPU's doorbells and register reads take.
//
// A transfer is cut into transaction-layer packets (TLPs) by maximum payload, maximum read request and 4 KiB boundaries.
// Each packet pays for its header, framing and CRC, waits for flow-control credits, for a tag if it wants an answer,
// and for its direction of the link, and crosses the physical layer. At the root complex a DMA packet is translated (by
// whatever implements Translator), then read from or written to memory; the data of a read comes back as completions
// split at the read completion boundary. Posted writes become visible in the order in which they were sent, an interrupt
// pushes the writes before it, and so does the answer to a register read: that is why a driver that sees the interrupt
// sees the data.
//
// The cast:
//
//	Config      what can be read from a device's and a root port's configuration space, and latencies
//	Link        one direction: packets in free slots, one after the other
//	Port        a device below its root port; all operations
//	Translator  the IOMMU as seen from here
//	Memory      the cache hierarchy as seen from here
//
// Everything is computed ahead: a call returns when its transfer will be over and books what it used until then. A later
// call may use link time that earlier calls left unused, so a doorbell is not held up by completions that are
// still in memory. Tags and credits are handed out in the order of the calls.
//
// A worked example, Gen3 x8, 256 B payload, write of 512 B to an address above 4 GiB: two packets of 256 + 24 B. The link
// carries 8 lanes x 8 GT/s x 128/130 = 63.0 Gb/s, of which acknowledgements (8 B in 203), credit updates (8 in 203) and
// skip ordered sets (4 in 1538) take 8.1 %, so a packet takes 38.7 ns and the device can write at most 52.9 Gb/s.
//
// Left out: switches and more than one device per link, flit mode (Gen6), virtual channels, retries after bit errors,
// power states, page requests. A device may have a TLB of its own and ask for translations (Agent). The share of acknowledgements is the recommended limit of the
// specification read as bytes, as the published pcie-bench model does and as its measured write rates (53.0 Gb/s for the
// example) confirm; wide links that acknowledge less often do up to 7 % better, see Config.AckInterval.
package pcie
