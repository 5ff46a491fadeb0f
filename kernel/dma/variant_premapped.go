package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// premapped is how page_pool treats its pages: a page is mapped once, when it comes into the pool, and its address stored in the
// struct page. After that a use of the page is a sync: for the device when it is handed out (Map), for the CPU when the device is done
// (Unmap). On a coherent device that never bounced both are an inlined test.
//
// The first Map of a buffer maps it, with DMA_ATTR_SKIP_CPU_SYNC; Ctx.DrainPool unmaps all of them, as page_pool_destroy does. The
// xarray in which page_pool registers its pages is left out.
type premapped struct{ v kernel.Version }

var (
	_ = register(80, premapped{kernel.V6_12})
	_ = register(81, premapped{kernel.V7_3})
)

func (m premapped) Name() string            { return "premapped@" + m.v.String() }
func (m premapped) Version() kernel.Version { return m.v }
func (m premapped) Maps() Memory            { return OwnMemory }

// pooled is a page of the pool.
type pooled struct{ page, addr, size uint64 }

// pageDMA is the offset of page_pool's dma_addr in struct page.
const pageDMA = 32

func (m premapped) Map(t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	if b.Page == 0 {
		return c.fail(b, ErrNoPage)
	}
	i, ok := c.poolAt[b.Phys]
	if !ok {
		addr, err := m.fill(t, c, b, dir, attrs)
		if err != nil {
			return kernel.MappingError, err
		}
		return addr, c.SyncSingleForDevice(t, addr, b.Size, dir)
	}
	p := &c.pool[i]
	t.Load(p.page+pageDMA, 0) // page_pool_get_dma_addr
	return p.addr, c.SyncSingleForDevice(t, p.addr, b.Size, dir)
}

// fill is page_pool_dma_map.
func (m premapped) fill(t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (addr uint64, err error) {
	attrs |= kernel.AttrSkipCPUSync | kernel.AttrWeakOrdering
	addr, err = c.code().mapPage(c, t, b, dir, attrs)
	t.Branch(err != nil, t.ALU(1, 0))
	if err != nil {
		return addr, err
	}
	if !c.Env.Deref(t, b.Phys) {
		return c.fail(b, ErrNoPage)
	}
	t.Store(b.Page+pageDMA, 0, t.ALU(1, 0))
	if c.poolAt == nil {
		c.poolAt = map[uint64]int{}
	}
	c.poolAt[b.Phys] = len(c.pool)
	c.pool = append(c.pool, pooled{b.Page, addr, b.Size})
	return addr, nil
}

func (m premapped) Unmap(t *cpu.Thread, c *Ctx, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	return c.SyncSingleForCPU(t, addr, size, dir)
}

// DrainPool unmaps every buffer that a premapped variant has mapped for the device.
func (c *Ctx) DrainPool(t *cpu.Thread, dir kernel.Direction) error {
	var first error
	attrs := kernel.AttrSkipCPUSync | kernel.AttrWeakOrdering
	for _, p := range c.pool {
		t.Load(p.page+pageDMA, 0)
		err := c.code().unmapPage(c, t, p.addr, p.size, dir, attrs)
		t.Store(p.page+pageDMA, 0, 0)
		if err != nil && first == nil {
			first = err
		}
	}
	clear(c.poolAt)
	c.pool = c.pool[:0]
	return first
}
