// Package vmm is the host below a guest that has a virtual VT-d unit and a device of its own: KVM, the device model in user
// space (QEMU's intel-iommu) and VFIO. The guest's driver (kernel/vtd) writes to registers that nobody has; each access leaves
// the guest, and what the host does for it runs on the same core before the guest goes on.
//
// # What happens
//
// The virtual unit reports caching mode, so the guest's kernel invalidates after every map as well as after every unmap, and
// never defers (lazy mode becomes strict). The write of the queue's tail exits:
//
//	hardware   the exit itself, a time of the platform (iommu.exit covers exit and entry)
//	KVM        saving the guest's registers, reading why, decoding the instruction, finding no device in the kernel, leaving to user space
//	QEMU       the big lock, the memory region, the descriptors one by one: it walks the guest's tables over the invalidated range and compares
//	           them with what it has told the host to map
//	VFIO       one ioctl for each page that is new or gone: pinning or unpinning, and the host's own iommu_map or iommu_unmap with a
//	           strict invalidation on the real unit, all of which is modelled code of this program, tables and wait included
//	           and back the same way
//
// A wait descriptor's status is written before the guest runs again, so the guest's first look succeeds. Virtual CPUs take
// turns at the big lock. The device is translated by the real unit through the host's tables (shadow), never through the
// guest's.
//
// # What is real and what is guessed
//
// Real: the guest's driver, its tables and queue in memory; the walk of the guest's tables, entry by entry; the shadow, which
// tests compare with the guest's tables; the host's IOMMU code and hardware. Guessed: the instruction counts of the functions
// of KVM, QEMU and VFIO (plain from reading, nothing recorded) and which lines of their objects they touch. Their code competes
// for the caches like all code.
//
// # The cast
//
//	Window   the register window of the virtual unit; cpu.Exiter
//	Host     what runs when the guest has exited
//	Adapter  the guest's driver and the host together, as platform boots them
//
// # Left out
//
// Second-stage translation of the CPU's own accesses (EPT); interrupts and preemption of the host; the sleep of a contended big
// lock (waiters spin here); stacks of their own for host kernel and user space; physical memory of the guest at other addresses
// than the host's; pass-through domains of the guest; virtio-iommu; virtual AMD and Arm units.
package vmm
