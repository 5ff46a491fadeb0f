// Package workloads holds what the devices and drivers have in common: how a call is measured, what surrounds it, and
// the result of a run. The workloads themselves are the packages below it: nvme, nic (and the receiver of netperf-rx),
// mapbench, probe, hazard (the cells of the matrix), recorded, and replay (which reads traces with ftrace).
//
// A workload is a driver and a device. The driver's part runs in a process per CPU and emits instructions: its own
// functions, then the call being measured, which the modelled kernel emits. The device's part is events: it fetches
// descriptors, moves data and interrupts through its PCIe port and so through the IOMMU.
//
// # What surrounds a call
//
// A mapping call is never alone: between two calls the rest of the driver, the block or network stack and the
// application run and displace the call's code and data from the caches. Surroundings say how many lines of each, and
// how many instructions. The lines are really inserted into the caches; the instructions are timed at the rate that
// the same core reaches on a sample of such code, run once before the measurement, because simulating every one of
// the ten thousand instructions around each call would say nothing more about the call.
//
// # Interrupts
//
// An interrupt is taken when the CPU's process is between two driver operations, not in the middle of one. That
// delays a completion by at most one submission and keeps a call's cost free of foreign work; the kernel's irq-off
// sections have the same effect on most of the path.
package workloads
