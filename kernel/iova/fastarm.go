package iova

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

func (e emitter) loadPair(va uint64, a cpu.Val) cpu.Val { return e.t.LoadPair(va, a) }

func (e emitter) storePair(va uint64, a, v cpu.Val) { e.t.StorePair(va, a, v) }

// allocFastArm is alloc_iova_fast on arm64: 54 instructions of its own on 6.12 (the lock is inlined) and 66 on 7.3 for one page from a
// magazine. asked is the size before it was rounded up. What the depot gives and the flush of all caches run the same Go functions
// as on x86.
func (d *Domain) allocFastArm(e emitter, c int, asked, size, limit uint64, flush bool) (pfn uint64, ok bool) {
	v7 := d.v == kernel.V7_3
	o := order(size)
	e.call(fnAllocFast)
	e.alu(1, 0)
	e.nop(2)
	e.push(2)
	e.alu(1, 0)
	e.push(2)
	e.alu(2, 0)
	e.push(4)
	if v7 {
		e.push(4)
	} else {
		e.t.Reserve(16)
		e.t.StackStorePair(0, 0)
	}
	e.alu(1, 0)
	if v7 {
		e.t.Reserve(16)
		e.t.StackStore(8, 0)
		e.alu(1, 0)
	}
	d.orderArm(e, asked, o)
	if o < Orders {
		pfn = d.rcacheGetArm(e, c, &d.rcaches[o], limit+1-size)
		e.branch(pfn == 0, 0)
	}
	ok = pfn != 0
	slow := !ok
	if slow && v7 {
		e.alu(4, 0)
	} else if slow { // the rest of the registers is saved only here
		e.alu(2, 0)
		e.push(6)
	}
	for !ok {
		e.alu(3, 0)
		n := d.allocTree(e, size, limit)
		e.branch(n != nil, 0)
		if n != nil {
			pfn, ok = n.Lo, true
			e.load(n.VA+offLo, 0)
			e.jump()
			break
		}
		e.branch(!flush, 0)
		if !flush {
			d.Stats.Failures++
			break
		}
		flush = false
		d.flushCaches(e)
	}
	if slow && !v7 {
		e.pop(6)
	}
	if v7 {
		e.t.Reserve(-16)
		e.pop(2)
		e.alu(1, 0)
		e.pop(10)
	} else {
		e.t.Reserve(-16)
		e.pop(8)
	}
	e.nop(1)
	e.ret()
	return pfn, ok
}

// orderArm emits the rounding up of the size and its order, up to the address of the order's caches.
func (d *Domain) orderArm(e emitter, asked uint64, o int) {
	v7 := d.v == kernel.V7_3
	small := asked < 1<<(Orders-1)
	e.branch(!small, 0)
	if small {
		e.branch(asked == 1, e.alu(1, 0))
		if asked == 1 {
			e.t.StackLoad(8)
			e.alu(1, 0)
			e.jump()
			d.rcacheArm(e, o)
			return
		}
		up := e.op(cpu.BitScan, e.alu(1, 0))
		if v7 {
			e.branch(false, e.alu(3, up)) // UBSAN_SHIFT
			e.alu(2, up)
		} else {
			e.alu(4, up)
		}
	}
	log := e.alu(2, e.op(cpu.BitScan, e.alu(2, 0)))
	e.branch(o >= Orders, log)
	e.t.StackLoad(8)
	if o >= Orders {
		return
	}
	e.op(cpu.Mul, e.alu(2, log))
	e.alu(1, e.t.Last())
	d.rcacheArm(e, o)
}

// rcacheArm emits the address of the CPU's cache of an order.
func (d *Domain) rcacheArm(e emitter, o int) {
	rc := e.load(d.at.rcaches, 0)
	e.op(cpu.Sysreg, 0)
	per := e.load(d.rcaches[o].VA+offCPURcaches, e.alu(1, rc))
	if d.v == kernel.V7_3 {
		e.alu(1, per)
	}
	e.alu(1, per)
}

// rcacheGetArm is __iova_rcache_get(), inlined.
func (d *Domain) rcacheGetArm(e emitter, c int, r *rcache, limit uint64) uint64 {
	cr := &r.cpus[c]
	v7 := d.v == kernel.V7_3
	d.lockCPU(e, cr)
	if v7 {
		e.alu(1, 0)
	}
	l := e.load(cr.VA+offLoaded, 0)
	if v7 {
		e.branch(cr.loaded == nil, l)
	}
	var n cpu.Val
	if cr.loaded != nil {
		n = e.load(cr.loaded.VA, l)
		e.branch(cr.loaded.size != 0, n)
	}
	found := true
	if cr.loaded.empty() {
		p := e.load(cr.VA+offPrev, 0)
		if v7 {
			e.branch(cr.prev == nil, p)
		}
		if cr.prev != nil {
			e.branch(cr.prev.size == 0, e.load(cr.prev.VA, p))
		}
		if !cr.prev.empty() {
			d.Stats.Swaps++
			e.storePair(cr.VA+offLoaded, 0, p)
			cr.loaded, cr.prev = cr.prev, cr.loaded
			l, n = p, e.load(cr.loaded.VA, p)
		} else {
			found = d.depotGet(e, r, cr)
		}
	} else {
		d.Stats.Hits++
	}
	var pfn uint64
	if found {
		pfn = d.magazinePopArm(e, cr.loaded, limit, l, n)
	} else {
		e.alu(2, 0)
	}
	d.unlockCPU(e, cr)
	return pfn
}

// magazinePopArm is iova_magazine_pop().
func (d *Domain) magazinePopArm(e emitter, m *magazine, limit uint64, l, n cpu.Val) uint64 {
	v7 := d.v == kernel.V7_3
	i := m.size - 1
	e.alu(3, n)
	if v7 {
		e.branch(true, n)
		e.alu(1, l)
	}
	top := e.here()
	v := e.load(m.pfn(i), n)
	for m.pfns[i] > limit {
		e.branch(false, e.alu(1, v))
		e.branch(i == 0, e.alu(1, n))
		if i == 0 {
			return 0
		}
		i--
		e.loop(top, true, e.alu(1, n))
		v = e.load(m.pfn(i), n)
	}
	e.branch(!v7, e.alu(1, v))
	pfn := m.pfns[i]
	m.size--
	m.pfns[i] = m.pfns[m.size]
	if v7 { // both indices are checked (UBSAN_BOUNDS)
		e.branch(false, e.alu(1, n))
	}
	e.alu(1, n)
	e.store(m.VA, l, n)
	if v7 {
		e.branch(false, e.alu(1, n))
		e.branch(false, e.alu(1, n))
		e.alu(4, l)
	} else {
		e.alu(2, n)
	}
	last := e.load(m.pfn(m.size), n)
	e.store(m.pfn(i), n, last)
	return pfn
}

// freeFastArm is free_iova_fast on arm64 after it was entered: 42 instructions on 6.12 and 44 on 7.3 for one page into a magazine.
func (d *Domain) freeFastArm(e emitter, c int, pfn, size uint64) {
	v7 := d.v == kernel.V7_3
	o := order(size)
	e.alu(1, 0)
	e.nop(2)
	e.push(2)
	e.alu(1, 0)
	e.push(2)
	e.alu(1, 0)
	e.push(2)
	e.branch(size == 1, e.alu(2, 0))
	saved, extra := 8, 0
	if v7 {
		extra = 1
	}
	if size == 1 {
		e.alu(1, 0)
		e.push(2)
		e.push(extra)
		e.jump()
	} else {
		log := e.op(cpu.BitScan, e.alu(2, 0))
		e.branch(o >= Orders, e.alu(1, log))
		if o >= Orders {
			e.alu(3, 0)
			e.call(fnFree)
			d.freeTreeArm(e, pfn)
			e.pop(6)
			e.nop(1)
			e.ret()
			return
		}
		e.alu(2, log)
		e.push(2)
		e.push(extra)
		e.op(cpu.Mul, log)
	}
	d.rcacheArm(e, o)
	put := d.rcachePutArm(e, c, &d.rcaches[o], pfn)
	if !put {
		e.alu(2, 0)
		e.call(fnFree)
		d.freeTreeArm(e, pfn)
	}
	e.pop(extra)
	e.pop(saved)
	e.nop(1)
	e.ret()
}

// rcachePutArm is __iova_rcache_insert(), inlined. false: no magazine could be had.
func (d *Domain) rcachePutArm(e emitter, c int, r *rcache, pfn uint64) bool {
	cr := &r.cpus[c]
	v7 := d.v == kernel.V7_3
	d.lockCPU(e, cr)
	if v7 {
		e.alu(1, 0)
	}
	l := e.load(cr.VA+offLoaded, 0)
	if v7 {
		e.branch(cr.loaded == nil, l)
	}
	full := cr.loaded == nil
	var n cpu.Val
	if cr.loaded != nil {
		full = cr.loaded.size == MagazineSize
		n = e.load(cr.loaded.VA, l)
		e.branch(full, e.alu(1, n))
	}
	if full {
		p := e.load(cr.VA+offPrev, 0)
		prevFull := cr.prev == nil
		if v7 {
			e.branch(cr.prev == nil, p)
		}
		if cr.prev != nil {
			prevFull = cr.prev.size == MagazineSize
			e.branch(prevFull, e.alu(1, e.load(cr.prev.VA, p)))
		}
		if !prevFull {
			e.storePair(cr.VA+offLoaded, 0, p)
			l, n = p, e.load(cr.prev.VA, p)
			e.jump()
			cr.loaded, cr.prev = cr.prev, cr.loaded
		} else if l, n = d.newLoaded(e, r, cr); cr.loaded == nil || cr.loaded.size == MagazineSize {
			d.unlockCPU(e, cr)
			return false
		}
	}
	m := cr.loaded
	d.Stats.Frees++
	m.pfns[m.size] = pfn
	m.size++
	if v7 {
		e.store(m.VA, l, e.alu(1, n))
		e.branch(false, e.alu(1, n)) // UBSAN_BOUNDS
		e.alu(3, l)
	} else {
		e.store(m.VA, l, e.alu(2, n))
	}
	e.store(m.pfn(m.size-1), n, 0)
	d.unlockCPU(e, cr)
	return true
}
