package amdvi

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu/amdtable"
	"dmapath/kernel"
	"dmapath/kernel/genericpt"
	"dmapath/kernel/iommucore"
)

// startLevels is how deep a new table is: DEFAULT_PGTABLE_LEVEL of 6.12, starting_level + 1 of 7.3. It covers 512 GiB.
const startLevels = 3

// maxDomains is how many domain ids there are (MAX_DOMAIN_ID); 0 is not used, 1 is that of devices that pass through.
const maxDomains = 1 << 16

// Domain is struct protection_domain: a v1 page table and the devices that use it.
type Domain struct {
	// Table is the page table: on 7.3 struct pt_iommu, which does the mapping; 6.12 has code of its own and uses of it only Core, the
	// struct iommu_domain inside, and Tables.
	genericpt.Table

	// Replaced counts present entries that a map of 6.12 wrote over: it does not look, and tells the hardware only when a table went
	// with the entry. 7.3 refuses such a map with EADDRINUSE and does not count here.
	Replaced int
	// Grown counts levels that were added on top of the table.
	Grown int

	env  *kernel.Env
	u    *Unit
	va   uint64
	at   fields
	lock cpu.LockWord // protection_domain.lock
	id   uint16
	devs []attached
	max  int // levels that the table may have

	root    uint64               // 6.12: direct-map address of the top table
	mode    int                  // 6.12: its level
	scratch []iommucore.PageList // per CPU: freelist of iommu_v1_map_pages
}

// attached is struct iommu_dev_data of one device.
type attached struct {
	rid uint16
	va  uint64
	ats bool // the device has a TLB of its own
}

// fields are the addresses of fields of struct protection_domain.
type fields struct {
	pdMode, ops, mode, root, seq uint64 // 6.12
	lock, id, devs, array        uint64
}

// NewDomain allocates a domain whose table may grow to levels, or to what the hardware walks when that is 0. It starts with 3 levels.
func (u *Unit) NewDomain(levels int) (*Domain, error) {
	if levels == 0 {
		levels = u.levels
	}
	if levels < startLevels || levels > u.levels {
		return nil, fmt.Errorf("amd-vi domain with up to %d table levels: possible are %d to %d, what the hardware walks", levels, startLevels, u.levels)
	}
	if int(u.ids)+2 >= maxDomains {
		return nil, fmt.Errorf("all %d domain ids are in use", maxDomains-2)
	}
	u.ids++
	env := u.Env
	d := &Domain{env: env, u: u, va: env.Slab(512, 64), id: u.ids + 1, max: levels, root: env.Page(), mode: startLevels,
		scratch: make([]iommucore.PageList, max(env.CPUs, 1))}
	va := d.va
	core := va
	if env.Version == kernel.V7_3 {
		d.at = fields{devs: va + 184, lock: va + 200, id: va + 204, array: va + 216}
	} else {
		core = va + 16
		d.at = fields{devs: va, ops: va + 256, mode: va + 288, root: va + 296, seq: va + 312, lock: va + 320, id: va + 324, pdMode: va + 328, array: va + 344}
	}
	d.lock.VA, d.lock.Name = d.at.lock, "protection_domain.lock"
	d.Init(genericpt.Config{Env: env, Format: v1{env.Sym.SmeMeMask}, Funcs: fns73, Pages: u.pages, VA: va, Depth: startLevels, Top: d.root, Grow: d})
	d.Core = iommucore.NewDomain(env, core, d, pageSizes(env.Version), aperture(levels))
	return d, nil
}

// pageSizes returns pgsize_bitmap: every power of two from 4 KiB but 512 GiB, which hardware gets wrong. 7.3 stops at what 52 bits of
// physical address allow.
func pageSizes(v kernel.Version) uint64 {
	sizes := ^uint64(0xfff) &^ (1 << 39)
	if v == kernel.V7_3 {
		sizes &= 1<<52 - 1
	}
	return sizes
}

// aperture returns the last address that a table of levels translates.
func aperture(levels int) uint64 {
	if levels >= amdtable.MaxLevels {
		return ^uint64(0)
	}
	return 1<<amdtable.Shift(levels+1) - 1
}

// Root returns the physical address of the top table, Levels the depth of the table.
func (d *Domain) Root() uint64 { va, _ := d.top(); return kernel.Phys(va) }

// Levels returns the depth of the table, 3 to 6.
func (d *Domain) Levels() int { _, n := d.top(); return n }

func (d *Domain) top() (va uint64, levels int) {
	if d.env.Version == kernel.V7_3 {
		return d.Top()
	}
	return d.root, d.mode
}

// dte returns the device table entry of one of the domain's devices.
func (d *Domain) dte(dev attached) amdtable.DTE {
	return amdtable.DTE{Valid: true, Translation: true, Mode: d.Levels(), Root: d.Root(), Rights: amdtable.AllRights, Domain: d.id, IOTLB: dev.ats}
}

func (d *Domain) read(va uint64) uint64     { return d.env.Mem.Read64(kernel.Phys(va)) }
func (d *Domain) write(va uint64, v uint64) { d.env.Mem.Write64(kernel.Phys(va), v) }

// guard returns the address of the stack protector's canary on t's CPU.
func (d *Domain) guard(t *cpu.Thread) uint64 { return kernel.StackGuard(d.env.Version, t.CPU) }

// PutPages is iommu_put_pages_list called directly, as the flush queue does.
func (d *Domain) PutPages(t *cpu.Thread, l *iommucore.PageList) {
	d.u.pages.Put(t, l, t.SP()+8, false)
}

// IovaToPhys is amd_iommu_iova_to_phys of 6.12 and pt_iommu_amdv1_iova_to_phys of 7.3.
func (d *Domain) IovaToPhys(t *cpu.Thread, target cpu.Val, iova uint64) uint64 {
	if d.env.Version == kernel.V7_3 {
		return d.Lookup(t, target, iova)
	}
	return d.iovaToPhys12(t, target, iova)
}

// SyncMap is amd_iommu_iotlb_sync_map. It flushes only where the hardware caches absent entries (NpCache, in guests); elsewhere
// it is a test.
func (d *Domain) SyncMap(t *cpu.Thread, target cpu.Val, tail bool, iova, size uint64) error {
	if tail {
		t.TailCallInd(fnSyncMap, target)
	} else {
		t.CallInd(fnSyncMap, target)
	}
	t.Nop(2)
	if d.env.Version == kernel.V6_12 {
		t.Branch(false, t.LoadOp(d.at.ops, 0, 0)) // ops->map_pages
	}
	t.Branch(false, t.Mem(cpu.LoadOp, d.u.npCache, 1, 0, 0))
	t.ALU(1, 0)
	t.Ret()
	return nil
}

var _ iommucore.Driver = (*Domain)(nil)
