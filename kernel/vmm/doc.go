// Package vmm is the host below a guest that has a virtual IOMMU and a device of its own: KVM, the device model in user
// space (QEMU) and VFIO. The guest's driver writes to registers that nobody has; each access leaves the guest, and what the host
// does for it runs on the same core before the guest goes on.
//
// # What happens at an exit
//
//	hardware   the exit itself, a time of the platform (iommu.exit covers exit and entry)
//	KVM        saving the guest's registers, reading why, decoding the instruction (on arm64 the syndrome says it), finding no device in
//	           the kernel, leaving to user space
//	QEMU       the big lock, the memory region, the virtual device's handler
//	VFIO       one ioctl for each page or range that is new or gone: pinning or unpinning, and the host's own iommu_map or iommu_unmap with a
//	           strict invalidation on the real unit, all of which is modelled code of this program, tables and wait included
//	           and back the same way
//
// Virtual CPUs take turns at the big lock. The device is translated by the real unit through the host's tables (shadow), never through
// the guest's.
//
// # Three virtual devices
//
// Window is a VT-d unit (QEMU's intel-iommu; the guest's driver is kernel/vtd). It reports caching mode, so the guest's kernel
// invalidates after every map as well as after every unmap, and never defers (lazy mode becomes strict). The write of the
// queue's tail exits; the device model takes the descriptors one by one, walks the guest's tables over the invalidated range and compares
// them with what it has told the host to map. A wait descriptor's status is written before the guest runs again, so the guest's
// first look succeeds.
//
// VirtioWindow is a virtio-iommu (QEMU's virtio-iommu-pci; the guest's driver is kernel/virtioiommu). The notification exits; there is no
// ioeventfd, so the virtual CPU itself pops the requests, keeps the domain's mappings in a balanced tree and tells VFIO of each aligned
// power of two. The host may be on any real unit. A domain that bypasses has all the guest's memory mapped at once.
//
// SMMUWindow is the command queue of an SMMUv3 (QEMU's smmuv3 with accel=on; the guest's driver is kernel/smmu). Translation is nested in
// hardware, so only invalidations exit: the write of CMDQ_PROD, upon which the commands are forwarded to the host's driver through
// iommufd, and every look at CMDQ_CONS.
//
// # What is real and what is guessed
//
// Real: the guest's driver, its tables, tree and queue in memory; the walk of the guest's tables, entry by entry; the requests and
// the rings; the shadow, which tests compare with what the guest has mapped; the host's IOMMU code and hardware. Guessed: the
// instruction counts of the functions of KVM, QEMU and VFIO (plain from reading, nothing recorded) and which lines of their objects they
// touch. Their code competes for the caches like all code.
//
// # The cast
//
//	Window         the register window of the virtual VT-d unit; cpu.Exiter
//	SMMUWindow     the register window of the virtual SMMU; cpu.Exiter
//	VirtioWindow   the register window of the virtio-iommu and the device behind it; cpu.Exiter
//	Host           what runs when the guest has exited
//	road           the way from the guest to the device model and back: Intel's, AMD's, arm64's
//	Adapter, VirtioAdapter, SMMUAdapter   the guest's driver and the host together, as platform boots them
//
// # Left out
//
// Second-stage translation of the CPU's own accesses (EPT); interrupts and preemption of the host; the sleep of a contended big
// lock (waiters spin here); stacks of their own for host kernel and user space; physical memory of the guest at other addresses
// than the host's; pass-through domains of a guest with a VT-d unit; devices with a TLB of their own; virtual AMD units; faults
// and configuration commands of a guest with a virtual SMMU, whose devices are attached at boot.
package vmm
