package iova

import (
	"errors"
	"fmt"
	"math/bits"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/timer"
	"dmapath/sim"
)

// Constants of drivers/iommu/iova.c, the same in 6.12 and 7.3.
const (
	Orders       = 6                     // IOVA_RANGE_CACHE_MAX_SIZE: ranges of 1, 2, 4, 8, 16 and 32 pages are cached
	MaxOrders    = 10                    // the most that was ever proposed (Garry, 2021)
	MagazineSize = 127                   // IOVA_MAG_SIZE: frames in a magazine, which with its header is 1 KiB
	StartPFN     = 1                     // first frame handed out; frame 0 means "none"
	DepotDelay   = 100 * sim.Millisecond // IOVA_DEPOT_DELAY: pause between two trims of a depot
	anchorPFN    = ^uint64(0)            // IOVA_ANCHOR
)

// Slab is the kmem_cache that struct iova, or magazines, come from. Alloc returns a zeroed object's address, 0 when
// memory is exhausted. Both emit what the slab allocator executes; t may be nil.
type Slab interface {
	Alloc(t *cpu.Thread) (va uint64)
	Free(t *cpu.Thread, va uint64)
}

// tailSlab is a Slab that can also be jumped to as the last thing a function does.
type tailSlab interface {
	TailFree(t *cpu.Thread, va uint64)
}

// Config is what a Domain is built from.
type Config struct {
	Env     *kernel.Env // nil: no addresses are needed (nothing is emitted)
	Version kernel.Version
	CPUs    int    // possible CPUs; all are online
	VA      uint64 // struct iova_domain; 0 lets New allocate it from Env
	// Shift is log2 of the granule: the smallest IOMMU page, 12 to 16.
	Shift uint
	// Nodes and Magazines serve struct iova and magazines; nil lets New make private ones that only count addresses.
	Nodes, Magazines Slab
	// Timers runs the delayed work that trims the depots; nil: depots are not trimmed.
	Timers *timer.Wheel
}

// Domain is a struct iova_domain: the allocator of one IOMMU domain's IOVA space.
type Domain struct {
	v    kernel.Version
	env  *kernel.Env
	cpus int

	shift    uint
	dma32PFN uint64 // first frame above 4 GiB
	max32    uint64 // max32_alloc_size: smallest request known to fail below 4 GiB

	lock     cpu.LockWord // iova_rbtree_lock, one per domain
	tree     tree
	anchor   Node
	cached   *Node // where a search without a 32-bit limit starts
	cached32 *Node // where a search below 4 GiB starts

	rcaches []rcache // by order

	nodes, mags Slab
	freeNodes   *Node // recycled Go objects, chained by parent
	freeMags    *magazine
	timers      *timer.Wheel

	at    layout
	Stats Stats
}

// Stats counts what the allocator did since New.
type Stats struct {
	Hits      uint64 // allocations served from a CPU's loaded magazine
	Swaps     uint64 // allocations that swapped in the previous magazine first
	DepotGets uint64 // allocations that took a magazine from the depot first
	Tree      uint64 // allocations from the tree
	Visited   uint64 // tree nodes looked at by those
	Retries   uint64 // searches that started again from the limit
	Flushes   uint64 // searches that failed and emptied every CPU's caches
	Failures  uint64 // allocations that failed for good
	Frees     uint64 // frees into a magazine
	DepotPuts uint64 // full magazines pushed to a depot
	TreeFrees uint64 // ranges given back to the tree
	Trims     uint64 // magazines a depot worker emptied
}

// layout holds the addresses of the fields that the paths load, by version.
type layout struct {
	lock, root, cached, cached32, granule, start, dma32, max32, rcaches uint64
	nodeCache, magCache                                                 uint64 // iova_cache and iova_magazine_cache pointers
	wq                                                                  uint64 // system_percpu_wq
}

// DomainBytes is sizeof(struct iova_domain).
const DomainBytes = 128

// New initialises a domain (init_iova_domain and iova_domain_init_rcaches).
func New(c Config) (*Domain, error) {
	var bad []error
	if c.CPUs < 1 || c.CPUs > 1024 {
		bad = append(bad, fmt.Errorf("%d CPUs: allowed are 1 to 1024", c.CPUs))
	}
	if c.Shift < 12 || c.Shift > 16 {
		bad = append(bad, fmt.Errorf("granule of 2^%d bytes: allowed are 2^12 to 2^16", c.Shift))
	}
	if len(bad) > 0 {
		return nil, fmt.Errorf("iova domain: %w", errors.Join(bad...))
	}
	d := &Domain{v: c.Version, env: c.Env, cpus: c.CPUs, shift: c.Shift, dma32PFN: 1 << (32 - c.Shift), nodes: c.Nodes,
		mags: c.Magazines, timers: c.Timers}
	d.max32 = d.dma32PFN
	if d.nodes == nil {
		d.nodes = &counter{size: 64}
	}
	if d.mags == nil {
		d.mags = &counter{size: 1024}
	}
	va := c.VA
	if c.Env != nil {
		if va == 0 {
			va = c.Env.Slab(DomainBytes, 64)
		}
		d.at.nodeCache = c.Env.Data(64)
		d.at.magCache = d.at.nodeCache
		if c.Version == kernel.V6_12 {
			d.at.magCache += 48
		} else {
			d.at.nodeCache += 48
		}
		d.at.wq = c.Env.Data(64) + 40
	}
	d.at.lock, d.at.root, d.at.cached, d.at.cached32 = va, va+8, va+16, va+24
	d.at.granule, d.at.start, d.at.dma32, d.at.max32, d.at.rcaches = va+32, va+40, va+48, va+56, va+104
	d.lock.VA, d.lock.Name = d.at.lock, "iova_rbtree_lock"
	d.tree.VA, d.tree.v7 = d.at.root, c.Version == kernel.V7_3
	d.anchor = Node{VA: va + 64, Lo: anchorPFN, Hi: anchorPFN}
	d.tree.root, d.cached, d.cached32 = &d.anchor, &d.anchor, &d.anchor
	boot(c.Nodes != nil || c.Magazines != nil, d.initRcaches)
	return d, nil
}

// PFN returns the frame of an IOVA, Addr the IOVA of a frame.
func (d *Domain) PFN(iova uint64) uint64 { return iova >> d.shift }

// Addr returns the IOVA of a page frame.
func (d *Domain) Addr(pfn uint64) uint64 { return pfn << d.shift }

// Shift returns log2 of the granule.
func (d *Domain) Shift() uint { return d.shift }

// GranuleVA returns the address of iovad->granule, which iommu-dma loads itself.
func (d *Domain) GranuleVA() uint64 { return d.at.granule }

// Reserve is reserve_iova() at boot: frames lo to hi, both included, are never handed out. It emits nothing. The
// ranges must not overlap an earlier one.
func (d *Domain) Reserve(lo, hi uint64) error {
	if lo > hi {
		return fmt.Errorf("reserve IOVA frames %#x to %#x: empty range", lo, hi)
	}
	for n := d.first(); n != &d.anchor; n = next(emitter{}, n, 0) {
		if lo <= n.Hi && hi >= n.Lo {
			return fmt.Errorf("reserve IOVA frames %#x to %#x: overlaps %#x to %#x", lo, hi, n.Lo, n.Hi)
		}
	}
	_, private := d.nodes.(*counter)
	boot(!private, func(t *cpu.Thread) {
		n := d.newNode(t)
		n.Lo, n.Hi = lo, hi
		d.insert(emitter{}, n, d.tree.root, 0)
	})
	return nil
}

// boot runs fn at boot time: on a thread of its own without a core when a slab needs one, so that the slab's state is
// real and nothing is timed.
func boot(thread bool, fn func(t *cpu.Thread)) {
	if !thread {
		fn(nil)
		return
	}
	e := sim.NewEngine()
	e.Go("boot", func(p *sim.Proc) { fn(cpu.NewThread(p, 0, nil, cpu.NewStream(cpu.PerCPUBase+0x8000, cpu.MitNone))) })
	if err := e.Run(sim.Never); err != nil {
		panic("iova: boot: " + err.Error())
	}
	e.Close()
}

func (d *Domain) first() *Node {
	n := d.tree.root
	for n.child[left] != nil {
		n = n.child[left]
	}
	return n
}

// Allocated calls f for every range in the tree, in ascending order: live allocations, reservations, and what the
// magazines and depots keep.
func (d *Domain) Allocated(f func(lo, hi uint64)) {
	for n := d.first(); n != &d.anchor; n = next(emitter{}, n, 0) {
		f(n.Lo, n.Hi)
	}
}

// newNode takes a struct iova from the slab; nil when memory is exhausted.
func (d *Domain) newNode(t *cpu.Thread) *Node {
	va := d.nodes.Alloc(t)
	if va == 0 {
		return nil
	}
	n := d.freeNodes
	if n == nil {
		n = new(Node)
	} else {
		d.freeNodes = n.parent
	}
	*n = Node{VA: va}
	return n
}

// recycle keeps the Go object of a freed struct iova for the next one.
func (d *Domain) recycle(n *Node) {
	n.parent = d.freeNodes
	d.freeNodes = n
}

// order returns the rcache order of a range of n > 0 pages: ceil(log2(n)).
func order(n uint64) int { return bits.Len64(n - 1) }

// counter is a Slab that only makes up distinct addresses; freed ones are reused last in, first out.
type counter struct {
	size, next uint64
	free       []uint64
}

func (c *counter) Alloc(*cpu.Thread) uint64 {
	if n := len(c.free); n > 0 {
		va := c.free[n-1]
		c.free = c.free[:n-1]
		return va
	}
	c.next += c.size
	return cpu.DirectMapBase + c.next
}

func (c *counter) Free(_ *cpu.Thread, va uint64) { c.free = append(c.free, va) }
