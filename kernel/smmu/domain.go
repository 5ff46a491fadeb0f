package smmu

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
)

const (
	fileSMMU = "drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c"
	filePgt  = "drivers/iommu/io-pgtable-arm.c"
)

var (
	fnMapPages   = cpu.NewFunc("arm_smmu_map_pages", fileSMMU, 48)
	fnUnmapPages = cpu.NewFunc("arm_smmu_unmap_pages", fileSMMU, 48)
	fnIovaToPhys = cpu.NewFunc("arm_smmu_iova_to_phys", fileSMMU, 48)
	fnPutPages   = cpu.NewFunc("iommu_put_pages_list", "drivers/iommu/iommu-pages.c", 48)
)

// Domain is struct arm_smmu_domain with its struct arm_lpae_io_pgtable: a stage-1 table of 48 bits and the address space it is known by.
type Domain struct {
	Core *iommucore.Domain // the struct iommu_domain inside

	// Tables is the number of table pages in use, the top one included.
	Tables int
	// AlreadySet counts maps over a present entry: the kernel warns and returns EEXIST.
	AlreadySet int
	// Splits counts blocks that 6.12 replaced by a table because part of them was unmapped.
	Splits int

	env  *kernel.Env
	u    *Unit
	va   uint64
	pgt  pgtable
	invs uint64 // 7.3: struct arm_smmu_invs
	g    smmutable.Geometry
	pgd  uint64 // direct-map address of the top table
	asid uint16

	ats     []atsMaster  // devices with TLBs of their own
	devices cpu.LockWord // 6.12: devices_lock
}

// pgtable is struct arm_lpae_io_pgtable: three lines, of which the first has the configuration, the third what the walks load.
type pgtable struct {
	fmt, cookie, quirks, sizes, ias, oas, coherent, tlb uint64
	opMap, opUnmap, opIova                              uint64
	pgdBits, start, bits, pgd                           uint64
}

func newPgtable(env *kernel.Env) pgtable {
	va := env.Slab(192, 64)
	ops := va + 64 + 56
	own := ops + 32 // pgd_bits
	if env.Version == kernel.V7_3 {
		own += 8
	}
	return pgtable{fmt: va, cookie: va + 8, quirks: va + 16, sizes: va + 24, ias: va + 32, oas: va + 36, coherent: va + 40, tlb: va + 48,
		opMap: ops, opUnmap: ops + 8, opIova: ops + 16, pgdBits: own, start: own + 4, bits: own + 8, pgd: own + 16}
}

// Offsets in struct arm_smmu_domain.
const (
	dom12Smmu   = 0
	dom12PgtOps = 40
	dom12Stage  = 52
	dom12ASID   = 56
	dom12Core   = 64
	dom73PgtOps = 8
	dom73Core   = 32
	dom73Invs   = 192 + 16
)

// NewDomain allocates a paging domain with a stage-1 table of 4 levels (48 bits); levels may be 0 or 4.
func (u *Unit) NewDomain(levels int) (*Domain, error) {
	if levels != 0 && levels != 4 {
		return nil, fmt.Errorf("smmu domain with %d table levels: stage 1 with a 4 KiB granule has 4", levels)
	}
	if u.asids == 1<<16-1 {
		return nil, fmt.Errorf("all %d ASIDs of the unit are in use", u.asids)
	}
	u.asids++
	env := u.Env
	d := &Domain{env: env, u: u, va: env.Slab(512, 64), pgt: newPgtable(env), pgd: env.Page(), Tables: 1, asid: u.asids,
		g: smmutable.Geometry{Stage: smmutable.Stage1, Granule: smmutable.Granule4K, Input: 48, Output: u.caps.oas}}
	core := d.va + dom12Core
	if env.Version == kernel.V7_3 {
		core = d.va + dom73Core
		d.invs = env.Slab(96, 64)
	}
	d.Core = iommucore.NewDomain(env, core, d, d.g.PageSizes(), 1<<48-1)
	return d, nil
}

// Root returns the physical address of the top table.
func (d *Domain) Root() uint64 { return kernel.Phys(d.pgd) }

// Geometry returns the shape of the table.
func (d *Domain) Geometry() smmutable.Geometry { return d.g }

// ASID returns the address space identifier that the hardware's translations are tagged with.
func (d *Domain) ASID() uint16 { return d.asid }

func (d *Domain) read(va uint64) uint64     { return d.env.Mem.Read64(kernel.Phys(va)) }
func (d *Domain) write(va uint64, v uint64) { d.env.Mem.Write64(kernel.Phys(va), v) }

// entry returns the direct-map address of the entry for iova in the table of the level at direct-map address tbl.
func (d *Domain) entry(tbl, iova uint64, lvl int) uint64 { return d.g.EntryAddr(tbl, iova, lvl) }

// virt returns the direct-map address of the table that pte points to (iopte_deref).
func (d *Domain) virt(pte uint64, lvl int) uint64 {
	return kernel.Virt(d.g.Addr(pte, lvl, table.Table))
}

// leaf is iopte_leaf: the entry ends a walk.
func leaf(pte uint64, lvl int) bool {
	if lvl == smmutable.LastLevel {
		return pte&smmutable.PTETypeMask == smmutable.PTETypePage
	}
	return pte&smmutable.PTETypeMask == smmutable.PTETypeBlock
}

// pgtOps is the address of smmu_domain->pgtbl_ops.
func (d *Domain) pgtOps() uint64 {
	if d.env.Version == kernel.V7_3 {
		return d.va + dom73PgtOps
	}
	return d.va + dom12PgtOps
}

// forward emits one of the driver's operations that only pass on to io-pgtable-arm: 12 instructions around body, which gets the pointer that
// it is called through.
func (d *Domain) forward(t *cpu.Thread, f *cpu.Func, target cpu.Val, op uint64) cpu.Val {
	enterInd(t, f, target, true)
	ops := t.Load(d.pgtOps(), 0)
	t.Branch(false, ops)
	t.Nop(1)
	open(t, 16, 1)
	t.ALU(1, 0)
	return t.Load(op, ops)
}

// MapPages is arm_smmu_map_pages: pgcount pages of pgsize bytes. An error is that of io-pgtable-arm.
func (d *Domain) MapPages(t *cpu.Thread, target cpu.Val, iova, phys, pgsize, pgcount uint64, prot iommucore.Prot) (mapped uint64, err error) {
	op := d.forward(t, fnMapPages, target, d.pgt.opMap)
	if d.env.Version == kernel.V7_3 {
		mapped, err = d.mapPages73(t, op, iova, phys, pgsize, pgcount, prot)
	} else {
		mapped, err = d.mapPages12(t, op, iova, phys, pgsize, pgcount, prot)
	}
	shut(t, 16, 1)
	return mapped, err
}

// UnmapPages is arm_smmu_unmap_pages. It returns the bytes unmapped.
func (d *Domain) UnmapPages(t *cpu.Thread, target cpu.Val, iova, pgsize, pgcount uint64, g *iommucore.Gather) (unmapped uint64) {
	op := d.forward(t, fnUnmapPages, target, d.pgt.opUnmap)
	if d.env.Version == kernel.V7_3 {
		unmapped = d.unmapPages73(t, op, iova, pgsize, pgcount, g)
	} else {
		unmapped = d.unmapPages12(t, op, iova, pgsize, pgcount, g)
	}
	shut(t, 16, 1)
	return unmapped
}

// IovaToPhys is arm_smmu_iova_to_phys, reached by a call.
func (d *Domain) IovaToPhys(t *cpu.Thread, target cpu.Val, iova uint64) (phys uint64) {
	op := d.forward(t, fnIovaToPhys, target, d.pgt.opIova)
	if d.env.Version == kernel.V7_3 {
		phys = d.iovaToPhys73(t, op, iova)
	} else {
		phys = d.iovaToPhys12(t, op, iova)
	}
	shut(t, 16, 1)
	return phys
}

// MapRange and UnmapRange are not reached: the driver is not on generic page tables in any version.
func (d *Domain) MapRange(*cpu.Thread, cpu.Val, uint64, uint64, uint64, iommucore.Prot) (uint64, error) {
	panic("smmu: map_range of a driver without generic page tables")
}

// UnmapRange is like MapRange.
func (d *Domain) UnmapRange(*cpu.Thread, cpu.Val, uint64, uint64, *iommucore.Gather) uint64 {
	panic("smmu: unmap_range of a driver without generic page tables")
}

// SyncMap emits nothing: the driver has no iotlb_sync_map, and the core finds a null pointer.
func (d *Domain) SyncMap(*cpu.Thread, cpu.Val, bool, uint64, uint64) error { return nil }

// PutPages is iommu_put_pages_list: io-pgtable-arm never defers the freeing of a table, so the list is empty.
func (d *Domain) PutPages(t *cpu.Thread, l *iommucore.PageList) {
	enter(t, fnPutPages, true)
	t.ALU(1, t.Load(t.SP(), 0))
	t.Branch(true, t.Last())
	t.Ret()
	if !l.Empty() {
		panic("smmu: table pages wait for an invalidation that io-pgtable-arm does not know")
	}
}

// prot turns IOMMU_* bits into those of an entry (arm_lpae_prot_to_pte, stage 1).
func (d *Domain) prot(p iommucore.Prot) (pte uint64, ok bool) {
	if p&(iommucore.Read|iommucore.Write) == 0 {
		return 0, false
	}
	pte = smmutable.PTENotGlobal | smmutable.PTEUnpriv | smmutable.PTEAccess
	if p&iommucore.Write == 0 {
		pte |= smmutable.PTEReadOnly
	}
	switch {
	case p&iommucore.MMIO != 0:
		pte |= smmutable.AttrDevice << smmutable.PTEAttrShift
	case p&iommucore.Cache != 0:
		pte |= smmutable.AttrCacheable << smmutable.PTEAttrShift
	}
	if p&iommucore.Cache != 0 {
		return pte | smmutable.PTEShareInner, true
	}
	return pte | smmutable.PTEShareOuter, true
}

// block returns the bytes that one entry of the level maps.
func (d *Domain) block(lvl int) uint64 { return 1 << d.g.Shift(lvl) }

// entriesAt returns how many entries of the level's table lie from that of iova to the table's end.
func (d *Domain) entriesAt(iova uint64, lvl int) uint64 { return 512 - d.g.Index(iova, lvl) }

// guard returns the address of the stack protector's canary on t's CPU.
func (d *Domain) guard(t *cpu.Thread) uint64 { return kernel.TaskGuard(d.env.Version, t.CPU) }
