package hazard

import (
	"fmt"
	"math/rand/v2"

	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/mm"
	"dmapath/platform"
)

// Memory is a kind of memory that a driver may want mapped: a row of the matrix.
type Memory struct {
	Name string // short, lower case: p2pdma
	What string // in words
	// Missing says why it cannot be run; empty when it can.
	Missing string

	highmem   bool            // only a 32-bit kernel has it
	encrypted bool            // the kernel runs in an encrypted guest
	route     kernel.P2PRoute // to memory of another device with struct pages
	place     func(l *layout, m *platform.Machine, r *rand.Rand, pages uint64) Buffer
}

// Buffer is what a driver wants mapped.
type Buffer struct {
	dma.Buffer // what it passes
	// Home is the physical address of the bytes that it means; it differs from Phys when the driver converted an address
	// that cannot be converted.
	Home uint64
	// Foreign are ranges of physical memory that share a cache line with the buffer and belong to somebody else.
	Foreign [][2]uint64
}

// Memories lists the kinds of memory in the order of tables.
func Memories() []Memory {
	return []Memory{
		{Name: "ram", What: "4 KiB of RAM from boot, a whole page", place: anywhere},
		{Name: "hotplug", What: "4 KiB of hot-plugged RAM", place: in(mm.HotRAM)},
		{Name: "highmem", What: "a page of RAM outside of the linear map of a 32-bit kernel", highmem: true, place: high},
		{Name: "kmalloc", What: "32 bytes of kmalloc memory that share a cache line with another object", place: kmalloc},
		{Name: "stack", What: "300 bytes on a stack in the linear map (no VMAP_STACK); the CPU uses the lines of both ends", place: stack},
		{Name: "vmalloc", What: "a page of vmalloc memory, or a stack with VMAP_STACK; its address is passed, or converted as if it were the linear map's", place: vmalloc},
		{Name: "p2pdma", What: "a page of another device's BAR with struct pages (ZONE_DEVICE), through the host bridge", route: kernel.P2PHostBridge, place: in(mm.ZoneDevice)},
		{Name: "p2p-switch", What: "the same behind a common PCIe switch", route: kernel.P2PBusAddress, place: in(mm.ZoneDevice)},
		{Name: "mmio", What: "4 KiB of another device's BAR without struct pages", place: in(mm.MMIO)},
		{Name: "mmio-early", What: "MMIO in the hole of a section that boot memory shares: pfn_valid() is true", place: earlyHole},
		{Name: "no-map", What: "4 KiB of RAM that firmware keeps outside of the linear map", place: in(mm.NoMap)},
		{Name: "encrypted", What: "private RAM of an encrypted guest (SEV, TDX)", encrypted: true, place: anywhere},
	}
}

// layout is where the runner puts memory that the platform does not have, on the platform of one backend.
type layout struct {
	spec  *platform.Spec // the platform with room for it
	extra mm.MemoryMap
	early mm.Range // the MMIO inside an early section
}

// Sizes of what the runner adds.
const (
	earlyBytes = 8 << 20
	noMapBytes = 8 << 20
	hotBytes   = 1 << 30
	p2pBytes   = 64 << 20
)

// newLayout makes room: RAM below 4 GiB ends 16 MiB before the end of a section, and in the rest of that section lie RAM outside of the
// linear map and MMIO. Hot-plugged RAM follows the highest RAM, a P2PDMA BAR lies before the device window. An
// encrypted machine is a guest whose RAM devices cannot read.
func newLayout(s *platform.Spec, encrypted bool) (*layout, error) {
	c := *s
	low := min(uint64(c.Memory.LowTop), uint64(c.Memory.RAM)) &^ (mm.SectionSize - 1)
	if low < 2*mm.SectionSize {
		return nil, fmt.Errorf("%s has no room below 4 GiB: memory.low_top is %d bytes, at least %d are needed", s.Name, c.Memory.LowTop, 2*mm.SectionSize)
	}
	low -= earlyBytes + noMapBytes
	c.Memory.LowTop = platform.Bytes(low)
	if encrypted {
		c.Kernel.EncryptedGuest, c.Kernel.MemEncrypt = true, true
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	hot := (c.RAMEnd() + mm.SectionSize - 1) &^ (mm.SectionSize - 1)
	p2p := uint64(c.Memory.MMIOBase) - p2pBytes
	early := mm.Range{Start: low + noMapBytes, Size: earlyBytes, Kind: mm.MMIO}
	return &layout{spec: &c, early: early, extra: mm.MemoryMap{
		{Start: low, Size: noMapBytes, Kind: mm.NoMap},
		early,
		{Start: hot, Size: hotBytes, Kind: mm.HotRAM},
		{Start: p2p, Size: p2pBytes, Kind: mm.ZoneDevice},
	}}, nil
}

func page(m *platform.Machine, pa, size uint64) Buffer {
	b := Buffer{Buffer: dma.Buffer{Phys: pa, Size: size}, Home: pa}
	if m.MM.Valid(pa >> 12) {
		b.Page = m.PageOf(pa)
	}
	return b
}

func anywhere(_ *layout, m *platform.Machine, r *rand.Rand, pages uint64) Buffer {
	b := ram(m, r, pages, true)
	return Buffer{Buffer: b, Home: b.Phys}
}

func high(_ *layout, m *platform.Machine, r *rand.Rand, pages uint64) Buffer {
	b := ram(m, r, pages, false)
	return Buffer{Buffer: b, Home: b.Phys}
}

// ram returns pages of RAM that the linear map contains, or does not.
func ram(m *platform.Machine, r *rand.Rand, pages uint64, linear bool) dma.Buffer {
	for range 1 << 16 {
		if b := m.RandomRAM(r, pages<<12); m.Linear(b.Phys) == linear && m.Linear(b.Phys+b.Size-1) == linear {
			return b
		}
	}
	panic("hazard: no such RAM")
}

// in places a page somewhere in the largest range of a kind.
func in(k mm.Kind) func(*layout, *platform.Machine, *rand.Rand, uint64) Buffer {
	return func(_ *layout, m *platform.Machine, r *rand.Rand, pages uint64) Buffer {
		var best mm.Range
		for _, x := range m.Memory() {
			if x.Kind == k && x.Size > best.Size {
				best = x
			}
		}
		b := page(m, best.Start+r.Uint64N(best.Size>>12-pages+1)<<12, pages<<12)
		if !k.Linear() {
			b.Virt = remapped(b.Phys)
		}
		return b
	}
}

func earlyHole(l *layout, m *platform.Machine, r *rand.Rand, pages uint64) Buffer {
	b := page(m, l.early.Start+r.Uint64N(l.early.Size>>12-pages+1)<<12, pages<<12)
	b.Virt = remapped(b.Phys)
	return b
}

// remapped is an address in vmalloc space under which a driver knows a page at pa: ioremap, memremap, vmap.
func remapped(pa uint64) uint64 { return vmallocStart + pa>>12%4096*8192 }

// kmalloc is the second object of a kmalloc-32 slab's line. On 32-bit Arm the smallest object is a line (ARCH_KMALLOC_MINALIGN).
func kmalloc(_ *layout, m *platform.Machine, r *rand.Rand, _ uint64) Buffer {
	pa := ram(m, r, 1, true).Phys + 0x140
	if m.Env.Arch == kernel.ARM32 {
		return page(m, pa, 32)
	}
	b := page(m, pa+32, 32)
	b.Foreign = [][2]uint64{{pa, 32}}
	return b
}

// stack is a local variable with others on both sides. It is larger than what DMA_BOUNCE_UNALIGNED_KMALLOC bounces.
func stack(_ *layout, m *platform.Machine, r *rand.Rand, _ uint64) Buffer {
	pa := ram(m, r, 1, true).Phys + 0x708
	b := page(m, pa, 300)
	b.Foreign = [][2]uint64{{pa - 8, 8}, {pa + 300, 12}}
	return b
}

// vmallocStart is VMALLOC_START of x86-64 with four-level paging and without KASLR.
const vmallocStart = 0xffffc90000000000

// vmalloc is a page of RAM known by an address in vmalloc space. A caller that converts the address gets a frame that is not it.
func vmalloc(_ *layout, m *platform.Machine, r *rand.Rand, pages uint64) Buffer {
	home := ram(m, r, pages, true).Phys
	va := remapped(home)
	b := page(m, kernel.Phys(va), pages<<12)
	b.Home, b.Virt, b.Page = home, va, m.PageOf(b.Phys)
	return b
}
