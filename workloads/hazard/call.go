package hazard

import (
	"math/rand/v2"
	"strings"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/platform"
)

// Call is a way in which a driver uses the API, right or wrong: a row of the matrix.
type Call struct {
	Name    string // without the kernel
	Version kernel.Version
	What    string // in words, for what is not plain
	// Wrong says that the API forbids this use whatever the memory is.
	Wrong bool

	mapFn, unmapFn string // kernel function that the driver calls
	do             func(t *cpu.Thread, c *dma.Ctx, b *Buffer, dir kernel.Direction) (uint64, error)
	undo           func(t *cpu.Thread, c *dma.Ctx, b *Buffer, addr uint64, dir kernel.Direction) error
	synced         bool               // the buffer is lent to the CPU in between
	skips          bool               // the driver calls dma_sync at both ends
	dirs           []kernel.Direction // nil: all three
	pages          uint64             // of the buffer, where it is made of pages; 0: one
	list           bool               // the driver passes a list of pieces
	keeps          bool               // undo only gives the buffer to the CPU; it stays mapped
}

// buffer places a buffer for the call in memory m and makes it a list, which is l, if the call takes one.
func (c *Cell) buffer(l *layout, m *platform.Machine, ctx *dma.Ctx, list *dma.List, r *rand.Rand) Buffer {
	b := c.Memory.place(l, m, r, max(c.Call.pages, 1))
	if c.Call.list {
		list.Reset()
		ctx.AddPiece(&list.List, b.Phys, b.Size)
		list.Entries[0].Page = b.Page
		b.List = list
	}
	return b
}

// String names the call with its kernel.
func (c *Call) String() string { return c.Name + "@" + c.Version.String() }

// Calls lists the calls in the order of tables: every variant of the API as its name says, then uses of it with attributes, with dma_sync,
// and wrong ones.
func Calls() []Call {
	var list []Call
	for _, v := range dma.Variants() {
		list = append(list, with(v, call(v), "", 0, 0))
	}
	for _, name := range []string{"map_page@6.12", "map_phys@7.3"} {
		v, err := dma.Lookup(name)
		if err != nil {
			panic("hazard: " + err.Error())
		}
		if v.Version() == kernel.V7_3 {
			list = append(list,
				with(v, "map_phys+coherent", "DMA_ATTR_REQUIRE_COHERENT", kernel.AttrRequireCoherent, kernel.AttrRequireCoherent))
		}
		list = append(list,
			with(v, call(v)+"+skip", "DMA_ATTR_SKIP_CPU_SYNC at both ends, and dma_sync in its place", kernel.AttrSkipCPUSync, kernel.AttrSkipCPUSync).skipping(),
			with(v, call(v)+" sync", "dma_sync_single for the CPU and back while mapped", 0, 0).lent(),
			with(v, call(v)+" skip/-", "SKIP_CPU_SYNC at the map and not at the unmap", kernel.AttrSkipCPUSync, 0).wrong(),
			with(v, call(v)+" -/skip", "SKIP_CPU_SYNC at the unmap and not at the map", 0, kernel.AttrSkipCPUSync).wrong(),
			with(v, call(v)+" dir", "unmapped with the other direction", 0, 0).undoing(func(t *cpu.Thread, c *dma.Ctx, b *Buffer, addr uint64, dir kernel.Direction) error {
				return v.Unmap(t, c, addr, b.Size, kernel.ToDevice+kernel.FromDevice-dir, 0)
			}).only(kernel.ToDevice, kernel.FromDevice),
			with(v, call(v)+" short", "16 KiB, unmapped with half of the size", 0, 0).sized(4).undoing(func(t *cpu.Thread, c *dma.Ctx, b *Buffer, addr uint64, dir kernel.Direction) error {
				return v.Unmap(t, c, addr, b.Size/2, dir, 0)
			}),
			with(v, call(v)+" long", "unmapped with 4 KiB more than the size", 0, 0).undoing(func(t *cpu.Thread, c *dma.Ctx, b *Buffer, addr uint64, dir kernel.Direction) error {
				return v.Unmap(t, c, addr, b.Size+4096, dir, 0)
			}))
		if v.Version() == kernel.V7_3 {
			page, err := dma.Lookup("map_page@7.3")
			if err != nil {
				panic("hazard: " + err.Error())
			}
			undoPage := func(attrs kernel.Attrs) func(t *cpu.Thread, c *dma.Ctx, b *Buffer, addr uint64, dir kernel.Direction) error {
				return func(t *cpu.Thread, c *dma.Ctx, b *Buffer, addr uint64, dir kernel.Direction) error {
					return page.Unmap(t, c, addr, b.Size, dir, attrs)
				}
			}
			list = append(list,
				with(v, "map_phys_mmio sync", "dma_sync_single on a mapping with DMA_ATTR_MMIO", kernel.AttrMMIO, kernel.AttrMMIO).lent().wrong(),
				with(v, "mmio/unmap_page", "map_phys with DMA_ATTR_MMIO, undone by dma_unmap_page", kernel.AttrMMIO, 0).undoing(undoPage(0)).named("dma_unmap_page_attrs"),
				with(v, "mmio/unmap_page+mmio", "map_phys with DMA_ATTR_MMIO, undone by dma_unmap_page with it", kernel.AttrMMIO, 0).undoing(undoPage(kernel.AttrMMIO)).named("dma_unmap_page_attrs"))
		}
	}
	return list
}

// call is the variant's name without the kernel.
func call(v dma.Variant) string {
	name, _, _ := strings.Cut(v.Name(), "@")
	return name
}

// functions are the kernel functions that a driver calls.
func functions(call string) (mapFn, unmapFn string) {
	switch call {
	case "map_page":
		return "dma_map_page_attrs", "dma_unmap_page_attrs"
	case "map_single":
		return "dma_map_single_attrs", "dma_unmap_single_attrs"
	case "map_sg":
		return "dma_map_sgtable", "dma_unmap_sgtable"
	case "iova_link":
		return "dma_iova_link", "dma_iova_destroy"
	case "premapped":
		return "dma_sync_single_for_device", "dma_sync_single_for_cpu"
	case "map_resource":
		return "dma_map_resource", "dma_unmap_resource"
	}
	return "dma_map_phys", "dma_unmap_phys"
}

// with is variant v with attributes.
func with(v dma.Variant, name, what string, atMap, atUnmap kernel.Attrs) Call {
	mapFn, unmapFn := functions(call(v))
	_, list := v.(dma.Lister)
	return Call{Name: name, Version: v.Version(), What: what, list: list, keeps: dma.MemoryOf(v) == dma.OwnMemory, mapFn: mapFn, unmapFn: unmapFn,
		do: func(t *cpu.Thread, c *dma.Ctx, b *Buffer, dir kernel.Direction) (uint64, error) {
			return dma.MapBuffer(v, t, c, b.Buffer, dir, atMap)
		},
		undo: func(t *cpu.Thread, c *dma.Ctx, b *Buffer, addr uint64, dir kernel.Direction) error {
			return dma.UnmapBuffer(v, t, c, b.Buffer, addr, dir, atUnmap)
		}}
}

func (c Call) lent() Call     { c.synced = true; return c }
func (c Call) skipping() Call { c.skips = true; return c }
func (c Call) wrong() Call    { c.Wrong = true; return c }

func (c Call) undoing(f func(t *cpu.Thread, c *dma.Ctx, b *Buffer, addr uint64, dir kernel.Direction) error) Call {
	c.undo, c.Wrong = f, true
	return c
}

func (c Call) sized(pages uint64) Call            { c.pages = pages; return c }
func (c Call) named(unmapFn string) Call          { c.unmapFn = unmapFn; return c }
func (c Call) only(dirs ...kernel.Direction) Call { c.dirs = dirs; return c }
