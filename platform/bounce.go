package platform

import "dmapath/kernel/swiotlb"

// pool is the bounce pool that the kernel makes at boot, at the top of the RAM below the 32-bit hole. It makes one when there is memory that
// a 32-bit device cannot reach, in an encrypted guest, and when bouncing is forced (pci_swiotlb_detect, swiotlb_init_remap).
func (m *Machine) pool() swiotlb.Config {
	s := m.Spec
	c := swiotlb.Config{Env: m.Env, Areas: int(s.Kernel.SwiotlbAreas), Force: m.Opt.Backend == SwiotlbForce}
	if uint64(s.Memory.RAM) <= uint64(s.Memory.LowTop) && !c.Force && !bool(s.Kernel.EncryptedGuest) {
		return swiotlb.Config{Env: m.Env}
	}
	c.Bytes = s.swiotlbBytes()
	c.Start = s.poolTop() - c.Bytes
	if bool(s.Kernel.SwiotlbDynamic) {
		// Pools that are added later lie below the first one.
		c.Growth = &swiotlb.Growth{Memory: [2]uint64{c.Start - growthBytes, c.Start}, Worker: m.softirq}
	}
	return c
}

// poolTop is where the pool ends: with the RAM below the 32-bit hole, or with the linear map of a 32-bit kernel.
func (s *Spec) poolTop() uint64 {
	if s.Kernel.Arch == "arm" {
		return min(uint64(s.Memory.LowTop), lowmem)
	}
	return uint64(s.Memory.LowTop)
}

// growthBytes is how much memory below the default pool dynamic pools may take.
const growthBytes = 128 << 20

// swiotlbBytes is the size of the pool: kernel.swiotlb_mb, or what the kernel computes: 64 MiB, in an encrypted guest 6 % of RAM up to
// 1 GiB (sev_setup_arch, tdx_early_init's mem_encrypt_setup_arch).
func (s *Spec) swiotlbBytes() uint64 {
	const segment = swiotlb.SegmentSlots * swiotlb.SlotSize
	if n := uint64(s.Kernel.SwiotlbMB) << 20; n != 0 {
		return n
	}
	if !bool(s.Kernel.EncryptedGuest) {
		return swiotlb.DefaultBytes
	}
	return min(max(uint64(s.Memory.RAM)*6/100, swiotlb.DefaultBytes), 1<<30) &^ (segment - 1)
}

// lowest is where bounce pools may begin: what lies below belongs to firmware, the kernel's image and early data.
const lowest = 256 << 20

func (s *Spec) checkBounce(bad func(keys, format string, args ...any)) {
	k := &s.Kernel
	n := s.swiotlbBytes()
	if room := int64(s.poolTop()) - lowest - growthBytes; int64(n) > room {
		bad("kernel.swiotlb_mb memory.low_top", "a bounce pool of %d MiB does not fit below memory.low_top", n>>20)
	}
	if a := int(k.SwiotlbAreas); a&(a-1) != 0 || a > int(n>>swiotlb.SlotShift)/swiotlb.SegmentSlots {
		bad("kernel.swiotlb_areas kernel.swiotlb_mb", "%d areas: allowed are powers of two up to %d, 256KiB each", a, int(n>>swiotlb.SlotShift)/swiotlb.SegmentSlots)
	}
	if bool(k.EncryptedGuest) && (!bool(k.MemEncrypt) || k.Arch != "x86-64") {
		bad("kernel.encrypted_guest kernel.mem_encrypt kernel.arch", "needs kernel.mem_encrypt on x86-64")
	}
}
