package genericpt

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommupages"
)

// Table is struct pt_iommu with the struct pt_common that follows it: a page table of one format.
type Table struct {
	Env  *kernel.Env
	Core *iommucore.Domain // the struct iommu_domain that the struct begins with
	At   Fields
	// Tables is the number of table pages in use, the top one included.
	Tables int

	fmt     Format
	fn      *Funcs
	pages   *iommupages.Pages
	grow    Growing // nil: the top never changes
	depth   int     // levels of the table
	top     uint64  // direct-map address of the top table
	scratch []scratch
}

// scratch is what a map or unmap keeps on its stack and would otherwise allocate.
type scratch struct {
	gather   iommucore.Gather   // of map_range
	detached iommucore.PageList // tables detached by the present unmap
}

// Fields are the addresses of the fields of struct pt_iommu and struct pt_common.
type Fields struct{ NID, Top, OASize, VASize, Features uint64 }

// FieldsAt returns the fields of a struct pt_iommu at va, at their recorded places.
func FieldsAt(va uint64) Fields {
	return Fields{NID: va + 128, Top: va + 144, OASize: va + 152, VASize: va + 153, Features: va + 156}
}

// Config says what a table is made of.
type Config struct {
	Env    *kernel.Env
	Format Format
	Funcs  *Funcs
	Pages  *iommupages.Pages
	// VA is the address of the struct pt_iommu.
	VA uint64
	// Depth is the number of levels, Top the direct-map address of the top table, zeroed.
	Depth int
	Top   uint64
	// Grow lets the table grow beyond Depth, up to what the domain's aperture needs; nil: it does not.
	Grow Growing
}

// Init makes d an empty table; Core is set by the caller, who makes the domain.
func (d *Table) Init(c Config) {
	*d = Table{Env: c.Env, At: FieldsAt(c.VA), Tables: 1, fmt: c.Format, fn: c.Funcs, pages: c.Pages, grow: c.Grow, depth: c.Depth, top: c.Top,
		scratch: make([]scratch, max(c.Env.CPUs, 1))}
}

// Top returns the direct-map address of the top table and how many levels the table has.
func (d *Table) Top() (va uint64, depth int) { return d.top, d.depth }

// limit returns the first address that the table does not translate at its present depth; 0 for 64 bits.
func (d *Table) limit() uint64 {
	if s := shift(d.depth + 1); s < 64 {
		return 1 << s
	}
	return ^uint64(0)
}

func (d *Table) read(va uint64) uint64     { return d.Env.Mem.Read64(kernel.Phys(va)) }
func (d *Table) write(va uint64, v uint64) { d.Env.Mem.Write64(kernel.Phys(va), v) }

// guard returns the address of the stack protector's canary on t's CPU.
func (d *Table) guard(t *cpu.Thread) uint64 { return kernel.StackGuard(d.Env.Version, t.CPU) }

// child returns the direct-map address of the table that an entry points to.
func (d *Table) child(val uint64) uint64 { return kernel.Virt(d.fmt.Addr(val)) }

// entries returns how many entries the page takes that entry val of the level maps.
func (d *Table) entries(val uint64, level int) uint64 {
	return 1 << (d.fmt.PageShift(val, level) - shift(level+1))
}

// exact returns the physical address behind va in the page that entry val of the level maps.
func (d *Table) exact(val uint64, level int, va uint64) uint64 {
	in := uint64(1)<<d.fmt.PageShift(val, level) - 1
	return d.fmt.Addr(val)&^in | va&in
}

// mustFlush reports whether walks do not snoop the caches, so that what is written must be flushed. Formats that always snoop are
// compiled without the test; for the others it is emitted, taken when the table must be flushed (jump) or need not be.
func (d *Table) mustFlush(t *cpu.Thread, a cpu.Val, jump bool) bool {
	if d.fmt.Synced() == 0 {
		return false
	}
	t.Branch(d.Env.Coherent != jump, t.Mem(cpu.LoadOp, d.At.Features, 1, a, 0))
	return !d.Env.Coherent
}

// shift returns log2 of the bytes that one entry of the level covers, counting levels from 1.
func shift(level int) uint { return uint(12 + 9*(level-1)) }

// entry returns the direct-map address of the entry for iova in the table at direct-map address tbl, counting levels from 1.
func entry(tbl, iova uint64, level int) uint64 { return tbl + iova>>shift(level)&511*8 }

// split ends the segment when a loop has made it long.
func split(t *cpu.Thread) {
	if len(t.Ops) > cpu.SegmentOps {
		t.Sync()
	}
}
