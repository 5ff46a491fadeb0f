package nvme

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
	"dmapath/kernel/mm"
	"dmapath/platform"
)

// Sizes of what the driver allocates for a request (drivers/nvme/host/pci.c).
const (
	smallPool = 256  // NVME_SMALL_POOL_SIZE: a list of up to 32 PRPs or 16 SGL descriptors
	pagePool  = 4096 // one page of the controller: up to 512 PRPs
	iodBytes  = 4096 // 6.12: NVME_MAX_SEGS scatterlist entries of 32 bytes
	vecsBytes = 4096 // 7.3: 256 dma_vecs of 16 bytes
)

// block is a piece of memory that driver and device share: where the driver writes and the device reads it.
type block struct{ va, addr uint64 }

// dmaPool is a struct dma_pool (mm/dmapool.c): free blocks in a list through the blocks themselves, behind one lock for all CPUs.
// It is filled while the driver starts, as it is on a machine that has been doing I/O, so a block is always there.
type dmaPool struct {
	v    kernel.Version
	size int
	va   uint64 // struct dma_pool
	lock cpu.LockWord
	free []block // last is next
}

var (
	fnPoolAlloc = cpu.NewFunc("dma_pool_alloc", "mm/dmapool.c", 360)
	fnPoolFree  = cpu.NewFunc("dma_pool_free", "mm/dmapool.c", 160)
)

// newPool returns a pool of n blocks of size bytes.
func newPool(m *platform.Machine, dev *platform.Device, name string, size, n int) (*dmaPool, error) {
	p := &dmaPool{v: m.Env.Version, size: size, va: m.Env.Slab(192, 64)}
	p.lock = cpu.LockWord{VA: p.va + 64}
	p.lock.Name = "lock of dma_pool " + name
	for len(p.free) < n {
		va, addr, err := dev.AllocCoherent(4096)
		if err != nil {
			return nil, err
		}
		for off := 0; off < 4096; off += size {
			p.free = append(p.free, block{va + uint64(off), addr + uint64(off)})
		}
	}
	return p, nil
}

// alloc is dma_pool_alloc: the block is unlinked under the lock and zeroed (init_on_alloc). Instructions outside of the lock
// functions are estimated from the structure of the source.
func (p *dmaPool) alloc(t *cpu.Thread) block {
	t.Call(fnPoolAlloc)
	t.Nop(2)
	t.Push(5)
	t.ALU(6, 0)
	locking.SpinLockIrqsave(t, p.v, &p.lock)
	b := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	first := t.Load(p.va+32, 0) // next_block
	t.Branch(false, t.ALU(1, first))
	next := t.Load(b.va, first)
	t.Store(p.va+32, 0, next)
	t.RMW(p.va+40, 0, 0) // nr_active
	locking.SpinUnlockIrqrestore(t, p.v, &p.lock)
	t.Store(t.SP()+8, 0, t.Load(b.va+8, first)) // the block's device address
	t.ALU(4, 0)
	t.Branch(true, t.Last())
	t.StringSet(b.va, p.size, first)
	t.Pop(5)
	t.Ret()
	return b
}

// release is dma_pool_free.
func (p *dmaPool) release(t *cpu.Thread, b block) {
	t.Call(fnPoolFree)
	t.Nop(2)
	t.Push(3)
	t.ALU(4, 0)
	locking.SpinLockIrqsave(t, p.v, &p.lock)
	t.Store(b.va+8, 0, 0)
	t.Store(b.va, 0, t.Load(p.va+32, 0))
	t.Store(p.va+32, 0, 0)
	t.RMW(p.va+40, 0, 0)
	locking.SpinUnlockIrqrestore(t, p.v, &p.lock)
	t.Pop(3)
	t.Ret()
	p.free = append(p.free, b)
}

// memPool is a mempool_t over a slab cache (mempool_kmalloc): as long as the slab has objects, the reserve is not touched.
type memPool struct {
	va    uint64
	cache *mm.Cache
}

var (
	fnMempoolAlloc   = cpu.NewFunc("mempool_alloc_noprof", "mm/mempool.c", 420)
	fnMempoolFree    = cpu.NewFunc("mempool_free", "mm/mempool.c", 220)
	fnMempoolKmalloc = cpu.NewFunc("mempool_kmalloc", "mm/mempool.c", 48)
	fnMempoolKfree   = cpu.NewFunc("mempool_kfree", "mm/mempool.c", 48)
)

func newMemPool(m *platform.Machine, name string, size int) *memPool {
	return &memPool{va: m.Env.Slab(128, 64), cache: m.MM.NewCache(name, size, size)}
}

// alloc is mempool_alloc: an indirect call of the pool's allocator, which is kmalloc. Estimated around the slab's own path.
func (p *memPool) alloc(t *cpu.Thread) uint64 {
	t.Call(fnMempoolAlloc)
	t.Nop(2)
	t.Push(5)
	t.ALU(7, 0)
	fn := t.Load(p.va+40, 0)
	t.Load(p.va+32, 0) // pool_data: the size
	t.CallInd(fnMempoolKmalloc, fn)
	t.Nop(2)
	t.ALU(4, 0)
	obj := p.cache.Alloc(t)
	t.Ret()
	t.Branch(true, t.ALU(1, 0))
	t.Pop(5)
	t.Ret()
	return obj
}

// free is mempool_free: the reserve is full, so the object goes back to the slab.
func (p *memPool) release(t *cpu.Thread, obj uint64) {
	t.Call(fnMempoolFree)
	t.Nop(2)
	t.Push(2)
	t.Branch(false, t.ALU(1, 0))
	full := t.Mem(cpu.Load, p.va+20, 4, 0, 0) // curr_nr
	t.Branch(false, t.Mem(cpu.LoadOp, p.va+16, 4, 0, full))
	fn := t.Load(p.va+48, 0)
	t.CallInd(fnMempoolKfree, fn)
	t.Nop(2)
	t.ALU(2, 0)
	p.cache.Free(t, obj)
	t.Ret()
	t.Pop(2)
	t.Ret()
}
