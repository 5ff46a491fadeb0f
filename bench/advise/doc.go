// Package advise says which setting of a machine and its drivers saves how much for a workload, and what that exposes: strict or deferred
// invalidation, pass-through, bounce buffers, pools of mapped pages, linked pieces instead of scatterlists, larger buffers, a newer kernel.
//
// # What it compares
//
// The baseline is the user's configuration (a Setup). Every Change of it is a run of its own, with everything else as it was: the same seed, hence
// the same arrivals and buffers, so that differences are paired (sim.SecondHalfDifference) and have 95 % intervals. Then the best change of each
// Dimension (protection, call, buffers) are combined, once among those that expose no more than the baseline and once among all. Nothing
// is looked up: what is not run is not said.
//
// Costs are those of all mapping calls of one operation (an I/O, a frame received with its share of those sent, a map and unmap), and
// what a whole driver does around them because of how it maps.
//
// # What exposure means
//
// Each setup runs a second time beside a device that tries to reach more than it should, through the machine's own translation with its
// caches (platform.Device.Reach): random pages of RAM before anything is mapped; the rest of the pages of every buffer that is mapped; and every
// buffer that was unmapped, each 5 us until it is refused. What it reaches is counted in bytes at any time (Exposure): all of RAM, what
// is still reachable after unmaps, what lies beside live buffers, and pools that stay mapped. The device touches every buffer, so that
// translations are there to go stale. Who is told of maps and unmaps is kernel.Env.OnBuffer.
//
// A Trace takes the place of the workload: its calls are performed by workloads/replay, and changes of its Buffers are made of its calls (a
// reshape), with what is left out as a call that is skipped.
//
// # Left out
//
// Exposure is of this device alone; that of a group whose devices share a domain is larger. Rings and other coherent memory are the
// device's own, and not counted. A pool counts whole: when the device may use which of its pages is up to the driver, and how long the CPU has one
// in hand is not known. Bounce pools hold other devices' data while they are in transit, which is not counted. What lies in the rest of a
// page is not looked at: it may be free.
package advise
