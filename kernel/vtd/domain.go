package vtd

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/genericpt"
	"dmapath/kernel/iommucore"
)

// Domain is struct dmar_domain: a second-stage page table and the list of caches that may hold its entries.
type Domain struct {
	// Table is the page table: on 7.3 struct pt_iommu, which does the mapping; 6.12 has code of its own and uses of it only Core, the
	// struct iommu_domain inside, and Tables.
	genericpt.Table

	// AlreadySet counts maps over a present entry: 6.12 prints "PTE for vPFN already set", keeps the old entry and
	// goes on; 7.3 refuses the map with EADDRINUSE and does not count here.
	AlreadySet int
	// EarlyFrees counts table pages that 6.12 freed before the hardware was told to forget them, see gatherAddPage.
	EarlyFrees int

	env    *kernel.Env
	u      *Unit // the unit whose limits the domain was made for
	va     uint64
	at     fields
	levels int
	pgd    uint64 // direct-map address of the top table
	tags   []*cacheTag
	lock   cpu.LockWord // cache_lock
	batch  batch

	maxAddr uint64
	syncMap bool // iotlb_sync_map: the hardware caches absent entries
}

// fields are the addresses of fields of struct dmar_domain outside of the struct pt_iommu of 7.3.
type fields struct {
	nid, flags, super, pgd, gaw, agaw, maxAddr uint64 // 6.12
	syncMap, lock, tags, batch                 uint64
}

// NewDomain allocates a paging domain for devices behind u, of the deepest table up to 4 levels (48 bits) that the
// unit walks, or of exactly levels when that is not 0.
func (u *Unit) NewDomain(levels int) (*Domain, error) {
	if levels == 0 {
		for levels = 4; u.caps.sagaw>>(levels-2)&1 == 0; {
			if levels--; levels < 3 {
				levels = 5
			}
		}
	}
	if levels < 3 || levels > 5 || u.caps.sagaw>>(levels-2)&1 == 0 {
		return nil, badLevels(levels, u.caps.sagaw)
	}
	env := u.Env
	d := &Domain{env: env, u: u, va: env.Slab(512, 64), levels: levels, pgd: env.Page()}
	va := d.va
	core := va
	if env.Version == kernel.V7_3 {
		d.at = fields{syncMap: va + 176,
			lock: va + 216, tags: va + 224, batch: va + 240}
	} else {
		core = va + 160
		d.at = fields{nid: va, flags: va + 24, lock: va + 64, tags: va + 72, batch: va + 88, super: va + 96, pgd: va + 104,
			gaw: va + 112, agaw: va + 116, maxAddr: va + 120, syncMap: va + 24}
	}
	d.lock.VA, d.lock.Name = d.at.lock, "cache_lock"
	d.batch.va = env.Slab(1024, 64)
	d.Init(genericpt.Config{Env: env, Format: secondStage{}, Funcs: fns73, Pages: u.pages, VA: va, Depth: levels, Top: d.pgd})
	d.syncMap = u.caps.caching
	d.Core = iommucore.NewDomain(env, core, d, u.caps.super, d.limit()-1)
	return d, nil
}

// limit returns the first address that the table does not translate.
func (d *Domain) limit() uint64 { return 1 << (12 + 9*d.levels) }

// Root returns the physical address of the top table.
func (d *Domain) Root() uint64 { return kernel.Phys(d.pgd) }

// Levels returns the depth of the table.
func (d *Domain) Levels() int { return d.levels }

func (d *Domain) read(va uint64) uint64     { return d.env.Mem.Read64(kernel.Phys(va)) }
func (d *Domain) write(va uint64, v uint64) { d.env.Mem.Write64(kernel.Phys(va), v) }

// PutPages is iommu_put_pages_list called directly, as the flush queue does.
func (d *Domain) PutPages(t *cpu.Thread, l *iommucore.PageList) { d.u.pages.Put(t, l, t.SP()+8, false) }

// guard returns the address of the stack protector's canary on t's CPU.
func (d *Domain) guard(t *cpu.Thread) uint64 { return kernel.StackGuard(d.env.Version, t.CPU) }

// Bits and fields of a second-stage entry as the driver sees them.
const (
	pteRead   = 1 << 0
	pteWrite  = 1 << 1
	ptePS     = 1 << 7  // superpage
	pteSynced = 1 << 10 // ignored by hardware; 7.3 marks a table entry whose line was flushed
	pteAddr   = 1<<52 - 1<<12
)

func present(pte uint64) bool { return pte&(pteRead|pteWrite) != 0 }

// shift returns log2 of the bytes that one entry of the level covers; 1 is the lowest level.
func shift(level int) uint { return uint(12 + 9*(level-1)) }

// entry returns the direct-map address of the entry for iova in the table at direct-map address tbl.
func entry(tbl, iova uint64, level int) uint64 { return tbl + iova>>shift(level)&511*8 }

// virt returns the direct-map address of the table that pte points to.
func virt(pte uint64) uint64 { return kernel.Virt(pte & pteAddr) }

// split ends the segment when a loop has made it long.
func split(t *cpu.Thread) {
	if len(t.Ops) > cpu.SegmentOps {
		t.Sync()
	}
}
