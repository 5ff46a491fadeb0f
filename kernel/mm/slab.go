package mm

import (
	"fmt"
	"hash/fnv"
	"math/bits"
	"math/rand/v2"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
)

// Cache is a struct kmem_cache: objects of one size, cut from slabs of 2^order pages. Its state is real, so an object
// that was just freed is the next one handed out, from the line that is still warm; and a cache whose per-CPU
// stock is exhausted goes to the node's list or to the page allocator, as in the kernel.
type Cache struct {
	Name string
	Size uint64 // bytes per object, alignment included

	m        *MM
	objSize  uint64 // bytes that are zeroed (init_on_alloc)
	free     uint64 // offset of the free pointer within an object (6.12: in the middle, against overflows)
	order    int
	perSlab  int
	va       uint64   // struct kmem_cache
	seq      []uint32 // random_seq: the order in which a fresh slab's objects are handed out
	seqVA    uint64   // its words
	cpuOff   uint64   // per-CPU offset of struct kmem_cache_cpu (6.12) or slub_percpu_sheaves (7.3)
	rnd      *rand.Rand
	slabs    map[uint64]*slab // by address of the first object's page
	node     node
	cpus     []cpuSlab  // 6.12
	sheaves  []cpuSheaf // 7.3
	barn     barn       // 7.3
	capacity int        // 7.3: objects per sheaf
	Stats    CacheStats
}

// CacheStats counts which path served a cache's calls.
type CacheStats struct {
	Alloc, Free       uint64 // calls
	AllocSlow         uint64 // of them, left the per-CPU fast path
	FreeSlow          uint64
	NewSlabs, Dropped uint64 // slabs taken from and returned to the page allocator
}

// node is struct kmem_cache_node: the slabs that are partly free, behind one lock.
type node struct {
	lock    cpu.LockWord
	partial []*slab // first is next
}

// slab is the part of struct page that describes a slab.
type slab struct {
	base   uint64   // address of the first object
	page   uint64   // struct page (struct slab) of the first page
	free   []uint64 // free objects that no CPU has taken; last is next
	inuse  int      // objects not in free
	frozen bool     // belongs to a CPU: 6.12 its slab or a partial one, 7.3 while its objects are taken out
	listed bool     // on the node's partial list
}

// Offsets within struct kmem_cache as recorded; cpu_slab (cpu_sheaves) is at 0 and flags at 8 on both versions.
const (
	cacheObjectSize = 28
	cacheOffset     = 40  // 6.12: offset; 7.3: offset, capacity at 44
	cacheCapacity   = 44  // 7.3
	cacheRandom12   = 184 // 6.12: random
	cacheCtor12     = 72  // 6.12: ctor
	cacheCtor73     = 64  // 7.3
	cacheSeq73      = 192 // 7.3: random_seq; node at 208
	cacheNode73     = 216
)

// NewCache creates a slab cache as kmem_cache_create does: size bytes per object, at multiples of align. CPUs that
// never use the cache cost nothing.
func (m *MM) NewCache(name string, size, align int) *Cache {
	if size <= 0 || align <= 0 || align&(align-1) != 0 || size > 8192 {
		panic(fmt.Sprintf("mm: cache %s with objects of %d bytes aligned to %d", name, size, align))
	}
	if align < 8 {
		align = 8
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	c := &Cache{Name: name, m: m, Size: uint64(size+align-1) &^ uint64(align-1),
		slabs: map[uint64]*slab{}, va: m.Env.Slab(256, 64), rnd: rand.New(rand.NewPCG(h.Sum64(), 0x51ab))}
	// Caches of equal slots are merged, and the merged cache zeroes as much as its largest user needs: the whole slot.
	c.objSize = c.Size
	c.free = uint64(size/2) &^ 7
	c.order, c.perSlab = slabOrder(c.Size, m.Env.CPUs)
	c.seq = make([]uint32, c.perSlab)
	for i, p := range c.rnd.Perm(c.perSlab) {
		c.seq[i] = uint32(p)
	}
	c.seqVA = m.Env.Slab(4*c.perSlab, 64)
	c.node.lock = cpu.LockWord{VA: m.Env.Slab(128, 64)}
	c.node.lock.Name = "list_lock of " + name
	c.cpuOff = m.Env.PerCPU(64, 64)
	n := max(m.Env.CPUs, 1)
	if m.Env.Version == kernel.V7_3 {
		c.capacity = sheafCapacity(c.Size)
		c.sheaves = make([]cpuSheaf, n)
		for i := range c.sheaves {
			c.sheaves[i].main = c.newSheaf()
		}
		c.barn.lock = cpu.LockWord{VA: m.Env.Slab(64, 64)}
		c.barn.lock.Name = "barn lock of " + name
		return c
	}
	c.cpus = make([]cpuSlab, n)
	return c
}

// slabOrder is calculate_order: the smallest order that wastes at most a sixteenth and holds enough objects for the
// number of CPUs, at most slub_max_order 3 unless the object needs more.
func slabOrder(size uint64, cpus int) (order, objects int) {
	want := uint64(4 * (bits.Len(uint(max(cpus, 1))) + 1))
	if most := uint64(4096<<3) / size; want > most {
		want = max(most, 1)
	}
	for fraction := uint64(16); fraction >= 2; fraction /= 2 {
		for o := 0; o <= 3; o++ {
			bytes := uint64(4096) << o
			if bytes/size >= want && bytes%size <= bytes/fraction {
				return o, int(bytes / size)
			}
		}
	}
	for o := 0; ; o++ {
		if bytes := uint64(4096) << o; bytes >= size {
			return o, int(bytes / size)
		}
	}
}

// Alloc emits kmem_cache_alloc_noprof on t and returns a zeroed object (both kernels are configured with
// INIT_ON_ALLOC_DEFAULT_ON).
func (c *Cache) Alloc(t *cpu.Thread) uint64 {
	c.Stats.Alloc++
	return c.m.code().alloc(c, t)
}

// Free emits kmem_cache_free of an object that Alloc returned.
func (c *Cache) Free(t *cpu.Thread, obj uint64) {
	t.Call(c.freeFunc())
	c.put(t, obj)
}

// TailFree is Free as the last thing a function does: kmem_cache_free is jumped to and returns to that function's caller.
func (c *Cache) TailFree(t *cpu.Thread, obj uint64) {
	t.TailCall(c.freeFunc())
	c.put(t, obj)
}

func (c *Cache) freeFunc() *cpu.Func { return c.m.code().freeFunc }

func (c *Cache) put(t *cpu.Thread, obj uint64) {
	c.Stats.Free++
	c.m.code().free(c, t, obj)
}

// slabOf returns the slab that obj lies in.
func (c *Cache) slabOf(obj uint64) *slab {
	s := c.slabs[obj&^(4096<<c.order-1)]
	if s == nil || (obj-s.base)%c.Size != 0 {
		panic(fmt.Sprintf("mm: %#x is not an object of cache %s", obj, c.Name))
	}
	return s
}

// newSlab takes pages for a slab and threads its free list through the objects in random order, starting at a random
// place of the cache's sequence (shuffle_freelist). Emission is the caller's.
func (c *Cache) newSlab(t *cpu.Thread) *slab {
	base := c.m.AllocPages(t, c.order)
	s := &slab{base: base, page: c.m.pageOfVirt(base), inuse: 0}
	start := c.rnd.IntN(c.perSlab)
	s.free = make([]uint64, c.perSlab)
	for i := range s.free {
		s.free[c.perSlab-1-i] = base + uint64(c.seq[(start+i)%c.perSlab])*c.Size
	}
	c.slabs[base] = s
	c.Stats.NewSlabs++
	return s
}

// dropSlab returns an empty slab's pages.
func (c *Cache) dropSlab(t *cpu.Thread, s *slab) {
	delete(c.slabs, s.base)
	c.Stats.Dropped++
	c.m.FreePages(t, s.base, c.order)
}

// dropIfEmpty takes an empty slab off the node's list, under its lock, and returns its pages.
func (c *Cache) dropIfEmpty(t *cpu.Thread, s *slab) {
	v := c.m.Env.Version
	locking.SpinLockIrqsave(t, v, &c.node.lock)
	gone := s.inuse == 0 && !s.frozen && c.slabs[s.base] == s // still, after waiting for the lock
	if gone {
		if s.listed {
			c.node.unlist(s)
			t.Store(s.page+16, 0, 0)
			t.Store(s.page+24, 0, 0)
			t.RMW(c.node.lock.VA+8, 0, 0)
		}
		delete(c.slabs, s.base)
	}
	locking.SpinUnlockIrqrestore(t, v, &c.node.lock)
	if gone {
		c.dropSlab(t, s)
	}
}

// minPartial is how many empty slabs a node keeps: ilog2(size)/2, between 5 and 10.
func (c *Cache) minPartial() int { return min(max((bits.Len64(c.Size)-1)/2, 5), 10) }

// unlist removes s from the node's partial list.
func (n *node) unlist(s *slab) {
	for i, p := range n.partial {
		if p == s {
			n.partial = append(n.partial[:i], n.partial[i+1:]...)
			s.listed = false
			return
		}
	}
}

// Slabs returns how many slabs the cache holds.
func (c *Cache) Slabs() int { return len(c.slabs) }
