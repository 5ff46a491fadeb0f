package iommucore

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// Prot are the IOMMU_* protection bits of include/linux/iommu.h.
type Prot uint32

// Protection bits, with Linux's values.
const (
	Read  Prot = 1 << 0
	Write Prot = 1 << 1
	Cache Prot = 1 << 2
	MMIO  Prot = 1 << 4
)

// Errno is a negative error number as the kernel functions return it.
type Errno int

// Error numbers of the map paths.
const (
	EIO        Errno = 5
	ENOMEM     Errno = 12
	ENODEV     Errno = 19
	EINVAL     Errno = 22
	ERANGE     Errno = 34
	EOPNOTSUPP Errno = 95
	EADDRINUSE Errno = 98
)

func (e Errno) Error() string {
	switch e {
	case EIO:
		return "EIO: a piece that is not the first begins inside of a granule"
	case ENOMEM:
		return "ENOMEM: no page for a table"
	case ENODEV:
		return "ENODEV: the domain cannot map"
	case EINVAL:
		return "EINVAL: address or size is not a multiple of the smallest page, or the range is empty"
	case ERANGE:
		return "ERANGE: the range does not fit the domain"
	case EOPNOTSUPP:
		return "EOPNOTSUPP: the page table cannot express the protection"
	case EADDRINUSE:
		return "EADDRINUSE: part of the range is mapped already"
	}
	return "unknown error number"
}

// PageList is a list of table pages that wait for an invalidation before they are freed: struct list_head of
// struct page on 6.12, struct iommu_pages_list on 7.3. The zero value is empty.
type PageList struct {
	Pages []uint64 // direct-map addresses of the pages
}

// Empty reports whether no page waits.
func (l *PageList) Empty() bool { return len(l.Pages) == 0 }

// Add appends one page.
func (l *PageList) Add(va uint64) { l.Pages = append(l.Pages, va) }

// Splice moves all pages of from to l.
func (l *PageList) Splice(from *PageList) {
	l.Pages = append(l.Pages, from.Pages...)
	from.Pages = from.Pages[:0]
}

// Gather is struct iommu_iotlb_gather, 48 bytes on the stack of the function that unmaps: what has to be invalidated.
type Gather struct {
	VA       uint64 // where it lies
	Start    uint64 // first byte; ^0 when nothing was gathered
	End      uint64 // last byte, inclusive
	PgSize   uint64 // page size of the entries (6.12 only)
	Freelist PageList
	Queued   bool // the flush queue will invalidate: gather nothing
}

// Offsets of the fields of struct iommu_iotlb_gather, the same in both versions.
const (
	GatherStart    = 0
	GatherEnd      = 8
	GatherPgSize   = 16
	GatherFreelist = 24
	GatherQueued   = 40
	GatherBytes    = 48
)

// Init empties g and places it at va (iommu_iotlb_gather_init).
func (g *Gather) Init(va uint64) {
	g.VA, g.Start, g.End, g.PgSize, g.Queued = va, ^uint64(0), 0, 0, false
	g.Freelist.Pages = g.Freelist.Pages[:0]
}

// Driver is what an IOMMU driver gives the core: struct iommu_domain_ops and, on 7.3, struct pt_iommu_ops. Every
// method emits the indirect call through the pointer that target produced, the body and the return. A driver
// implements the methods of the versions it is built for.
type Driver interface {
	// MapPages is map_pages of 6.12, and on arm64 of 7.3: it maps pgcount pages of pgsize bytes and returns the bytes mapped.
	MapPages(t *cpu.Thread, target cpu.Val, iova, phys, pgsize, pgcount uint64, prot Prot) (mapped uint64, err error)
	// UnmapPages is unmap_pages of the same: it returns the bytes unmapped.
	UnmapPages(t *cpu.Thread, target cpu.Val, iova, pgsize, pgcount uint64, g *Gather) uint64
	// MapRange and UnmapRange are map_range and unmap_range of 7.3's generic page tables.
	MapRange(t *cpu.Thread, target cpu.Val, iova, phys, size uint64, prot Prot) (mapped uint64, err error)
	UnmapRange(t *cpu.Thread, target cpu.Val, iova, size uint64, g *Gather) uint64
	// IovaToPhys is reached by a tail jump on x86: it returns to the caller of iommu_iova_to_phys. On arm64 it is called.
	IovaToPhys(t *cpu.Thread, target cpu.Val, iova uint64) uint64
	// SyncMap is iotlb_sync_map; tail says that it is jumped to.
	SyncMap(t *cpu.Thread, target cpu.Val, tail bool, iova, size uint64) error
	SyncTLB(t *cpu.Thread, target cpu.Val, g *Gather)
	FlushAll(t *cpu.Thread, target cpu.Val)
	// PutPages is iommu_put_pages_list, a direct call from the flush queue.
	PutPages(t *cpu.Thread, l *PageList)
}

// Domain is struct iommu_domain: an I/O address space. The addresses in At are what callers outside of this package
// load (iommu-dma reads the cookie, the geometry and the operations itself).
type Domain struct {
	Env    *kernel.Env
	VA     uint64 // struct iommu_domain
	Cookie uint64 // what iova_cookie points to; iommu-dma sets it
	At     DomainFields

	// PgsizeBitmap has a bit set for each page size that the hardware supports.
	PgsizeBitmap uint64
	// ApertureEnd is the last I/O virtual address of the domain (geometry.aperture_end).
	ApertureEnd uint64

	driver Driver
	code   *code
	syncs  bool // the driver has iotlb_sync_map on arm64
}

// Driver returns the page-table code behind the domain.
func (d *Domain) Driver() Driver { return d.driver }

// DomainFields are the addresses of the fields of struct iommu_domain and of its operations.
type DomainFields struct {
	Type         uint64 // type (4 bytes)
	IsPT         uint64 // 7.3: is_iommupt (1 byte)
	Ops          uint64 // ops, a pointer
	PgsizeBitmap uint64
	ApertureEnd  uint64 // geometry.aperture_end
	Force        uint64 // geometry.force_aperture (1 byte)
	Cookie       uint64 // iova_cookie, a pointer
	PTOps        uint64 // 7.3: struct pt_iommu.ops, a pointer

	OpIovaToPhys uint64 // ops->iova_to_phys
	OpMap        uint64 // 6.12: ops->map_pages; 7.3: pt ops->map_range
	OpUnmap      uint64 // 6.12: ops->unmap_pages; 7.3: pt ops->unmap_range
	OpSyncMap    uint64 // ops->iotlb_sync_map
	OpSyncTLB    uint64 // ops->iotlb_sync
	OpFlushAll   uint64 // ops->flush_iotlb_all
}

// NewDomain returns a domain whose struct iommu_domain lies at va, embedded in the driver's structure. Field offsets
// and their bytes within cache lines are those of the recorded kernels.
func NewDomain(env *kernel.Env, va uint64, drv Driver, pgsizes, end uint64) *Domain {
	d := &Domain{Env: env, VA: va, PgsizeBitmap: pgsizes, ApertureEnd: end, driver: drv, code: codeOf(env)}
	if env.Arch.ISA() == cpu.A64 {
		d.layArm64()
		return d
	}
	if env.Version == kernel.V7_3 {
		ops, pt := env.Data(128), env.Data(64)
		d.At = DomainFields{Type: va, IsPT: va + 8, Ops: va + 16, PgsizeBitmap: va + 40, ApertureEnd: va + 56, Force: va + 64,
			Cookie: va + 80, PTOps: va + 112, OpIovaToPhys: ops + 64, OpSyncMap: ops + 40, OpSyncTLB: ops + 48,
			OpFlushAll: ops + 32, OpMap: pt + 32, OpUnmap: pt + 40}
		return d
	}
	ops := env.Data(128)
	d.At = DomainFields{Type: va, Ops: va + 8, PgsizeBitmap: va + 32, ApertureEnd: va + 48, Force: va + 56, Cookie: va + 64,
		OpMap: ops + 16, OpUnmap: ops + 24, OpFlushAll: ops + 32, OpSyncMap: ops + 40, OpSyncTLB: ops + 48, OpIovaToPhys: ops + 64}
	return d
}

// layArm64 sets the fields of a domain on arm64: those of x86 without generic page tables, and the operations at the bytes of their
// lines that were recorded.
func (d *Domain) layArm64() {
	va := d.VA
	ops := d.Env.Data(192) + 8
	d.At = DomainFields{Type: va, Ops: va + 8, PgsizeBitmap: va + 32, ApertureEnd: va + 48, Force: va + 56, Cookie: va + 64}
	if d.Env.Version == kernel.V7_3 {
		ops += 40
		d.At = DomainFields{Type: va, IsPT: va + 8, Ops: va + 16, PgsizeBitmap: va + 40, ApertureEnd: va + 56, Force: va + 64, Cookie: va + 80}
	}
	d.At.OpMap, d.At.OpUnmap, d.At.OpFlushAll = ops+16, ops+24, ops+32
	d.At.OpSyncMap, d.At.OpSyncTLB, d.At.OpIovaToPhys = ops+40, ops+48, ops+64
}

// SyncTLB emits the indirect call of ops->iotlb_sync and what it does; the loads of the pointer and the test that
// it is set are inlined into the caller (iommu_iotlb_sync), which emits them.
func (d *Domain) SyncTLB(t *cpu.Thread, g *Gather) { d.driver.SyncTLB(t, t.Last(), g) }

// FlushAll emits the indirect call of ops->flush_iotlb_all; the loads are inlined into the caller.
func (d *Domain) FlushAll(t *cpu.Thread) { d.driver.FlushAll(t, t.Last()) }

// PutPages frees the table pages of l, which no hardware can reach any more (iommu_put_pages_list).
func (d *Domain) PutPages(t *cpu.Thread, l *PageList) { d.driver.PutPages(t, l) }
