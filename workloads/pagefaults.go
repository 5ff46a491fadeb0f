package workloads

import "dmapath/sim"

// PageFaults is what a device met that asks for the pages it touches (PRI).
type PageFaults struct {
	Accesses int64          // that found no page, once per attempt
	Requests int64          // page request messages
	Again    int64          // of them: for a page whose request had an answer before
	Latency  *sim.Histogram // ns from the message leaving the device to the answer's arrival
	Queued   uint64         // messages that the unit handed to the kernel
	Dropped  uint64         // messages that found its queue full
	Groups   uint64         // answered by the kernel
	Auto     uint64         // answered by the unit itself
	Made     int64          // pages that the kernel brought
}
