// Package kernel holds what the parts of the modelled Linux share: the version, the configuration, where things lie in
// simulated memory, and the device a driver maps for. The parts themselves are the packages below it.
//
// # How a path is written
//
// Every part runs the real algorithm on real state and, while it does so, emits the instructions that the compiled
// function executes: one Go function per kernel function (and per version and architecture where they differ), named after it.
// Loads and stores carry the addresses they touch, so a path that walks four page-table levels touches four lines and
// one that finds its object in a per-CPU list touches the list's. What is emitted is checked against recordings of
// the two Debian kernels on x86-64 and on arm64, function by function; kernel/recorded is the tool for that.
//
// # Who is who
//
//   - Version: 6.12 (the dma_map_page world) or 7.3 (the dma_map_phys world). Arch: x86-64 or arm64. Config: what of the configuration and
//     command line changes a path.
//   - Env: one booted kernel. It hands out addresses: static data (Data), slab objects (Slab), pages (Page, Pages)
//     and per-CPU offsets (PerCPU, Cpu), all inside the regions of cpu.Space; Mem holds the contents of those that
//     hardware or an algorithm reads back.
//   - Symbols: addresses of static variables that many paths load (vmemmap_base, dma_ops, sme_me_mask), sharing
//     cache lines as they do in the recorded kernels. PreemptCount, StackGuard, ThisCPUOff: the same for per-CPU variables;
//     TaskPreempt, TaskGuard: for what arm64 keeps in the running task.
//   - Memcpy (copy.go), Kmap and Highmem (highmem.go), PlatformHas and ForceUnencrypted (encryption.go), BusAddress and WalkRanges
//     (busaddress.go): functions of other parts of the kernel that several of the DMA paths call.
//   - Device: one struct device inside its struct pci_dev, with the addresses of the fields that the paths load (At).
//
// # What is left out
//
// KASLR (addresses are those of nokaslr), struct layouts of other configurations, and everything outside of
// mapping: the rest of the driver and of the kernel appears only as what it displaces from the caches. A
// Device has one set of field offsets per version and architecture, that of the Debian kernels; another configuration moves fields by
// lines and would change the number of device lines touched by at most one.
package kernel
