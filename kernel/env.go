package kernel

import (
	"dmapath/cache"
	"dmapath/cpu"
)

// Version is a kernel release whose paths are modelled.
type Version uint8

// Kernel versions.
const (
	V6_12 Version = iota // read and recorded from 6.12.117, gcc 12.2
	V7_3                 // read and recorded from 7.3.4, gcc 14.2
)

func (v Version) String() string { return [...]string{"6.12", "7.3"}[v] }

// Arch is the architecture that the kernel is built for.
type Arch uint8

// Architectures.
const (
	X86_64 Arch = iota
	ARM64       // arm64, 4 KiB pages, 48 bits of virtual address
	ARM32       // arm with LPAE: 40 bits of physical address, highmem
)

func (a Arch) String() string { return [...]string{"x86-64", "arm64", "arm"}[a] }

// ISA returns the instruction set of the kernel's code; 32-bit Arm code is shaped like A64 code here.
func (a Arch) ISA() cpu.ISA {
	if a == X86_64 {
		return cpu.X86
	}
	return cpu.A64
}

// Debug are options that cost something on every call, off in the recorded kernels.
type Debug struct {
	DMAAPI bool // CONFIG_DMA_API_DEBUG
	Trace  bool // the dma:* and iommu:* trace events are on
	KMSAN  bool // CONFIG_KMSAN
}

// Config is the part of the kernel configuration and command line that changes the modelled paths.
type Config struct {
	Version    Version
	Arch       Arch
	Debug      Debug
	CPUs       int            // possible CPUs, 1 to 1024
	Mitigation cpu.Mitigation // how indirect calls are compiled or patched
	// MemEncrypt is CONFIG_X86_MEM_ENCRYPT: 7.3 dma-direct then asks cc_platform_has() on every map.
	MemEncrypt bool
	// EncryptedGuest says that the kernel runs in an SEV or TDX guest: devices reach only memory that is shared with the host.
	EncryptedGuest bool
	// FSRM says that the CPU has fast short rep movs, with which memcpy is one instruction on x86-64.
	FSRM bool
	// IOVAOrders is IOVA_RANGE_CACHE_MAX_SIZE: how many sizes of I/O address range the per-CPU caches keep, 1, 2, 4 ... pages. 0
	// is 6, what both kernels have; a negative number is none, as before 4.7.
	IOVAOrders int
	Coherent   bool // page-table walks of the IOMMU snoop the caches (ECAP.C); otherwise tables are flushed
	// CleanEach lets io-pgtable-arm clean every entry that it clears on its own where walks do not snoop, as it did before 6.12, instead of
	// all lines of an unmap at once.
	CleanEach bool
	// P2PDMA is CONFIG_PCI_P2PDMA: scatterlists and block requests then look into struct pages for memory of other devices.
	P2PDMA bool
}

// Env is one booted kernel's shared state: its configuration and its memory.
type Env struct {
	Config
	Mem *cache.Memory // contents of simulated physical memory, by 8-byte word
	Sym Symbols       // addresses of the static variables that several parts load

	// Tracer records trace events; nil while they are off.
	Tracer Tracer

	// Truth, OnHazard and Linear are set by who looks for hazards, and nil otherwise: the contents of watched memory, what is
	// called with every hazard, and whether the linear map contains a physical address.
	Truth    *cache.Truth
	OnHazard func(Hazard)
	Linear   func(pa uint64) bool
	// OnIOMMU gets what iommu:map and iommu:unmap record, nil otherwise.
	OnIOMMU func(IOMMUEvent)
	// OnBuffer gets every range of I/O addresses when the call of iommu-dma that maps or unmaps it returns, nil otherwise. A scatterlist is a range
	// per DMA segment, linked pieces are one range when they are synchronised.
	OnBuffer func(BufferEvent)
	// DeviceMemory says whether pa is a device's memory (a BAR) and not RAM; nil: nothing is.
	DeviceMemory func(pa uint64) bool
	// HasPage says whether pa has a struct page; nil: everything does. Highmem asks it (PhysHighMem of 32-bit kernels).
	HasPage func(pa uint64) bool

	data   uint64 // next free static data address
	heap   uint64 // next free slab address
	pages  uint64 // next free page
	percpu uint64 // next free offset in the per-CPU chunk
}

// Sizes of the areas that Layout hands out.
const (
	PerCPUStride = 1 << 18 // bytes of per-CPU chunk per CPU (the first chunk of a Debian kernel is about 256 KiB)
	StackBytes   = 16 << 10
)

// NewEnv returns the environment of a kernel whose static data, slab objects and pages are carved from the direct map
// starting at physical address base.
func NewEnv(cfg Config, mem *cache.Memory, base uint64) *Env {
	va := cpu.DirectMapBase + base
	e := &Env{Config: cfg, Mem: mem, data: va, heap: va + 64<<20, pages: va + 256<<20, percpu: perCPUDynamic}
	e.Sym = newSymbols(e)
	return e
}

// Data returns the address of a static variable of n bytes, aligned to its own cache line unless small data is wanted
// together: one call is one symbol or one group of symbols that share lines.
func (e *Env) Data(n int) uint64 { return bump(&e.data, n, 64) }

// Slab returns the address of a slab object of n bytes aligned to align.
func (e *Env) Slab(n, align int) uint64 { return bump(&e.heap, n, align) }

// Page returns the address of a fresh zeroed page in the direct map.
func (e *Env) Page() uint64 { return bump(&e.pages, 4096, 4096) }

// Pages returns the address of 2^order fresh zeroed pages, naturally aligned as the buddy allocator aligns them.
func (e *Env) Pages(order int) uint64 { return bump(&e.pages, 4096<<order, 4096<<order) }

// PerCPU reserves n bytes in every CPU's area and returns the offset; Env.Cpu adds the CPU's base.
func (e *Env) PerCPU(n, align int) uint64 { return bump(&e.percpu, n, align) }

// Cpu returns the address of per-CPU offset off on CPU c.
func (e *Env) Cpu(off uint64, c int) uint64 { return perCPU(off, c) }

func perCPU(off uint64, c int) uint64 {
	return cpu.PerCPUBase + 1<<20 + uint64(c)*PerCPUStride + off
}

func bump(p *uint64, n, align int) uint64 {
	a := (*p + uint64(align) - 1) &^ (uint64(align) - 1)
	*p = a + uint64(n)
	return a
}

// Phys returns the physical address behind a direct-map address.
func Phys(va uint64) uint64 { return va - cpu.DirectMapBase }

// Virt returns the direct-map address of pa.
func Virt(pa uint64) uint64 { return pa + cpu.DirectMapBase }

// Direction is enum dma_data_direction.
type Direction uint8

// DMA directions.
const (
	Bidirectional Direction = iota
	ToDevice
	FromDevice
	NoDirection
)

func (d Direction) String() string {
	return [...]string{"BIDIRECTIONAL", "TO_DEVICE", "FROM_DEVICE", "NONE"}[d]
}

// Attrs are DMA_ATTR_* bits, with Linux's values.
type Attrs uint32

// Attributes that change a modelled path.
const (
	AttrWeakOrdering    Attrs = 1 << 1
	AttrSkipCPUSync     Attrs = 1 << 5
	AttrNoWarn          Attrs = 1 << 8
	AttrMMIO            Attrs = 1 << 10
	AttrRequireCoherent Attrs = 1 << 12
	AttrCCShared        Attrs = 1 << 13
)

// MappingError is DMA_MAPPING_ERROR.
const MappingError = ^uint64(0)
