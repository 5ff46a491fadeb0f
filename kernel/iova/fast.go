package iova

import (
	"math/bits"

	"dmapath/cpu"
	"dmapath/kernel"
)

var (
	fnAllocFast = cpu.NewFunc("alloc_iova_fast", "drivers/iommu/iova.c", 0x2f0)
	fnFreeFast  = cpu.NewFunc("free_iova_fast", "drivers/iommu/iova.c", 0x190)
)

// AllocFast is alloc_iova_fast(): it returns the first frame of a free range of size pages that ends at or below frame
// limit, from the magazines of CPU c if they hold one, else from the tree. A request below 32 pages is rounded up
// to a power of two. When everything fails and flush is set, the caches of all CPUs are emptied and the tree is
// searched once more. ok is false when there is no room. t may be nil; otherwise it runs on CPU c.
func (d *Domain) AllocFast(t *cpu.Thread, c int, size, limit uint64, flush bool) (pfn uint64, ok bool) {
	if size == 0 {
		panic("iova: allocation of 0 pages")
	}
	e := emitter{t}
	asked := size
	if d.small(size) {
		size = 1 << bits.Len64(size-1)
	}
	if e.arm() {
		return d.allocFastArm(e, c, asked, size, limit, flush)
	}
	o := order(size)
	d.allocEntry(e, asked, o)
	if o < len(d.rcaches) {
		if pfn = d.rcacheGet(e, c, &d.rcaches[o], limit+1-size); pfn != 0 {
			e.alu(1, 0)
			e.frame(-16)
			e.pop(6)
			e.ret()
			return pfn, true
		}
		e.jump()
	}
	e.stackLoad(0)
	for {
		e.alu(3, 0)
		n := d.allocTree(e, size, limit)
		e.branch(n != nil, e.alu(1, 0))
		if n != nil {
			pfn, ok = n.Lo, true
			e.load(n.VA+offLo, 0)
			e.jump()
			break
		}
		e.branch(!flush, e.alu(1, 0))
		if !flush {
			d.Stats.Failures++
			break
		}
		flush = false
		d.flushCaches(e)
	}
	e.alu(1, 0)
	e.frame(-16)
	e.pop(6)
	e.ret()
	return pfn, ok
}

// small reports whether a request is rounded up to a power of two, because the result is cached when it is freed.
func (d *Domain) small(size uint64) bool {
	n := len(d.rcaches)
	return n > 0 && size < 1<<(n-1)
}

// allocEntry emits the entry of alloc_iova_fast up to the rcache lock, or up to alloc_iova for a range too large to be
// cached.
func (d *Domain) allocEntry(e emitter, asked uint64, o int) {
	e.call(fnAllocFast)
	e.nop(2)
	e.push(2)
	e.alu(1, 0)
	e.push(3)
	e.alu(1, 0)
	e.push(1)
	e.alu(1, 0)
	e.frame(16)
	e.stackStore(0, 0)
	small := d.small(asked)
	e.branch(!small, e.alu(1, 0))
	log := e.op(cpu.BitScan, e.alu(2, 0))
	v7 := d.v == kernel.V7_3
	switch {
	case !small:
		log = e.alu(2, log)
		e.branch(o >= len(d.rcaches), log)
		if o >= len(d.rcaches) {
			return
		}
		e.alu(1, log)
		e.stackLoad(0)
		e.alu(5, log)
		e.alu(1, 0)
		e.jump()
	case v7: // the shift is checked (UBSAN_SHIFT)
		log = e.alu(2, log)
		e.branch(false, log)
		e.branch(false, e.alu(1, log))
		e.stackLoad(0)
		e.alu(2, log)
	default:
		log = e.alu(1, log)
		e.branch(false, log)
		e.stackLoad(0)
		e.alu(2, log)
	}
	r := &d.rcaches[o]
	rc := e.loadOp(d.at.rcaches, 0, log)
	e.stackStore(8, 0)
	per := e.load(r.VA+offCPURcaches, rc)
	if e.t != nil {
		per = e.loadOp(kernel.ThisCPUOff(d.v, e.t.CPU), 0, per)
	}
	e.alu(2, per)
}

// rcacheGet is __iova_rcache_get(), inlined: take a range at or below limit from the loaded magazine, after swapping in
// the previous one or a full one from the depot if the loaded one is empty. 0: none.
func (d *Domain) rcacheGet(e emitter, c int, r *rcache, limit uint64) uint64 {
	cr := &r.cpus[c]
	v7 := d.v == kernel.V7_3
	d.lockCPU(e, cr)
	l := e.load(cr.VA+offLoaded, 0)
	e.stackLoad(8)
	if v7 {
		e.alu(1, 0)
		e.branch(cr.loaded == nil, e.alu(1, l))
	} else {
		e.alu(1, 0)
	}
	if cr.loaded != nil {
		n := e.load(cr.loaded.VA, l)
		e.branch(cr.loaded.size != 0, e.alu(1, n))
	}
	found := true
	switch {
	case !cr.loaded.empty():
		d.Stats.Hits++
	default:
		p := e.load(cr.VA+offPrev, 0)
		if v7 {
			e.branch(cr.prev == nil, e.alu(1, p))
		}
		if cr.prev != nil {
			e.branch(cr.prev.size == 0, e.loadOp(cr.prev.VA, p, 0))
		}
		if !cr.prev.empty() {
			d.Stats.Swaps++
			e.store(cr.VA+offLoaded, 0, p)
			e.store(cr.VA+offPrev, 0, l)
			e.alu(1, p)
			cr.loaded, cr.prev = cr.prev, cr.loaded
			e.load(cr.loaded.VA, p)
			l = p
			break
		}
		found = d.depotGet(e, r, cr)
	}
	var pfn uint64
	if found {
		pfn = d.magazinePop(e, cr.loaded, limit, l)
	} else {
		e.alu(2, 0)
	}
	d.unlockCPU(e, cr)
	if found {
		e.branch(pfn == 0, e.alu(1, 0))
	}
	return pfn
}

// depotGet replaces the empty loaded magazine by a full one from the depot.
func (d *Domain) depotGet(e emitter, r *rcache, cr *cpuRcache) bool {
	v7 := d.v == kernel.V7_3
	e.alu(1, 0)
	e.stackStore(8, 0)
	d.lockDepot(e, r)
	if v7 {
		e.branch(r.depot == nil, e.alu(1, e.load(r.VA+offDepot, 0)))
	} else {
		e.branch(r.depot == nil, e.loadOp(r.VA+offDepot, 0, 0))
	}
	if r.depot == nil {
		e.alu(1, 0)
		d.unlockDepot(e, r)
		return false
	}
	d.Stats.DepotGets++
	l := e.load(cr.VA+offLoaded, 0)
	if v7 {
		e.stackLoad(8)
		e.branch(cr.loaded == nil, e.alu(1, l))
	}
	if cr.loaded != nil {
		e.load(d.at.magCache, 0)
		d.freeMagazine(e.t, cr.loaded)
	}
	m := r.depotPop()
	h := e.load(r.VA+offDepot, 0)
	e.stackLoad(8)
	nx := e.load(m.VA, h)
	e.alu(1, 0)
	e.stackStore(8, h)
	e.store(r.VA+offDepot, 0, nx)
	e.store(m.VA, h, 0)
	e.mem(cpu.RMW, r.VA+offDepotSize, 4, 0, 0)
	e.store(cr.VA+offLoaded, 0, h)
	m.size = MagazineSize
	cr.loaded = m
	d.unlockDepot(e, r)
	l = e.load(cr.VA+offLoaded, 0)
	e.stackLoad(8)
	e.load(m.VA, l)
	e.jump()
	return true
}

// magazinePop is iova_magazine_pop(): the topmost frame at or below limit; the top takes its place.
func (d *Domain) magazinePop(e emitter, m *magazine, limit uint64, l cpu.Val) uint64 {
	v7 := d.v == kernel.V7_3
	i := m.size - 1
	if v7 {
		e.branch(true, e.alu(3, 0))
	} else {
		e.alu(2, 0)
	}
	top := e.here()
	v := e.alu(1, e.load(m.pfn(i), l))
	for m.pfns[i] > limit {
		e.branch(true, v)
		e.branch(i == 0, e.alu(1, 0))
		if i == 0 {
			return 0
		}
		i--
		e.alu(1, 0)
		v = e.alu(1, e.load(m.pfn(i), l))
	}
	_ = top
	e.branch(false, v)
	pfn := m.pfns[i]
	m.size--
	m.pfns[i] = m.pfns[m.size]
	if v7 { // both indices are checked (UBSAN_BOUNDS)
		e.branch(false, e.alu(1, 0))
		e.alu(1, 0)
		e.store(m.VA, l, 0)
		e.branch(false, e.alu(1, 0))
		e.branch(false, e.alu(1, 0))
		last := e.load(m.pfn(m.size), l)
		e.alu(2, last)
		e.store(m.pfn(i), l, last)
	} else {
		e.jump()
		e.alu(2, 0)
		e.store(m.VA, l, 0)
		last := e.load(m.pfn(m.size), l)
		e.alu(1, 0)
		e.store(m.pfn(i), l, last)
	}
	return pfn
}

// FreeFast is free_iova_fast(): gives back the range of size pages from frame pfn, into the magazines of CPU c or, when
// it is too large or no magazine can be had, into the tree.
func (d *Domain) FreeFast(t *cpu.Thread, c int, pfn, size uint64) {
	emitter{t}.call(fnFreeFast)
	d.freeFast(t, c, pfn, size)
}

// TailFreeFast is FreeFast as the last thing a function does: it is jumped to and returns to that function's caller.
func (d *Domain) TailFreeFast(t *cpu.Thread, c int, pfn, size uint64) {
	emitter{t}.tail(fnFreeFast)
	d.freeFast(t, c, pfn, size)
}

func (d *Domain) freeFast(t *cpu.Thread, c int, pfn, size uint64) {
	if size == 0 {
		panic("iova: free of 0 pages")
	}
	e := emitter{t}
	if e.arm() {
		d.freeFastArm(e, c, pfn, size)
		return
	}
	v7 := d.v == kernel.V7_3
	e.nop(2)
	e.push(3)
	if v7 {
		e.push(1)
	}
	e.alu(1, 0)
	e.push(1)
	e.alu(1, 0)
	e.push(1)
	if v7 {
		e.frame(8)
	} else {
		e.push(1)
	}
	o := order(size)
	e.branch(size == 1, e.alu(1, 0))
	if size == 1 && len(d.rcaches) > 0 {
		e.alu(1, 0)
		e.jump()
	} else {
		log := e.alu(2, e.op(cpu.BitScan, e.alu(2, 0)))
		e.branch(o >= len(d.rcaches), log)
		if o >= len(d.rcaches) {
			d.freeFastEnd(e)
			e.tail(fnFree)
			d.freeTree(e, pfn)
			return
		}
		e.alu(5, log)
	}
	r := &d.rcaches[o]
	rc := e.loadOp(d.at.rcaches, 0, 0)
	per := e.load(r.VA+offCPURcaches, rc)
	if e.t != nil {
		per = e.loadOp(kernel.ThisCPUOff(d.v, e.t.CPU), 0, per)
	}
	e.alu(1, per)
	if !d.rcachePut(e, c, r, pfn) {
		d.freeFastEnd(e)
		e.tail(fnFree)
		d.freeTree(e, pfn)
	}
}

// freeFastEnd emits the epilogue of free_iova_fast before its tail calls.
func (d *Domain) freeFastEnd(e emitter) {
	if d.v == kernel.V7_3 {
		e.alu(2, 0)
		e.frame(-8)
	} else {
		e.alu(2, 0)
	}
	e.pop(6)
}

// rcachePut is __iova_rcache_insert(), inlined: push onto the loaded magazine; if it is full onto the previous one,
// swapped; if both are full onto a new one, the old one going to the depot. On success it has emitted the end of
// free_iova_fast. false: no magazine could be had.
func (d *Domain) rcachePut(e emitter, c int, r *rcache, pfn uint64) bool {
	cr := &r.cpus[c]
	v7 := d.v == kernel.V7_3
	d.lockCPU(e, cr)
	l := e.load(cr.VA+offLoaded, 0)
	e.alu(1, 0)
	if v7 {
		e.branch(cr.loaded == nil, e.alu(1, l))
	}
	full := cr.loaded == nil
	var n cpu.Val
	if cr.loaded != nil {
		full = cr.loaded.size == MagazineSize
		n = e.load(cr.loaded.VA, l)
		e.branch(full, e.alu(1, n))
	}
	if full {
		// 7.3 with nothing loaded goes straight to the allocation when there is no previous one either.
		p := e.load(cr.VA+offPrev, 0)
		prevFull := cr.prev == nil
		if v7 {
			e.branch(cr.prev == nil, e.alu(1, p))
		}
		if cr.prev != nil {
			prevFull = cr.prev.size == MagazineSize
			e.branch(prevFull, e.loadOp(cr.prev.VA, p, 0))
		}
		if !prevFull {
			e.store(cr.VA+offPrev, 0, l)
			e.store(cr.VA+offLoaded, 0, p)
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
	s := e.alu(1, n)
	if v7 {
		e.store(m.VA, l, s)
		e.branch(false, e.alu(1, n))
		e.store(m.pfn(m.size-1), l, 0)
		e.alu(2, 0)
		e.frame(-8)
	} else {
		e.alu(2, 0)
		e.store(m.VA, l, s)
		e.store(m.pfn(m.size-1), l, 0)
	}
	e.pop(6)
	d.tailUnlockCPU(e, cr)
	return true
}

// newLoaded allocates a magazine to load and pushes the full one to the depot, whose trim work it starts. On 7.3
// a first full magazine becomes the previous one instead.
func (d *Domain) newLoaded(e emitter, r *rcache, cr *cpuRcache) (l, n cpu.Val) {
	v7 := d.v == kernel.V7_3
	e.load(d.at.magCache, 0)
	e.alu(1, 0)
	if v7 {
		e.stackStore(0, 0)
	}
	m := d.newMagazine(e.t)
	if v7 {
		e.stackLoad(0)
	}
	v := e.alu(2, 0)
	e.branch(m == nil, v)
	if m == nil {
		return 0, 0
	}
	e.store(m.VA, v, 0)
	toDepot := true
	if v7 {
		old := e.load(cr.VA+offLoaded, 0)
		e.branch(cr.loaded == nil, e.alu(1, old))
		toDepot = cr.loaded != nil
		if toDepot {
			noPrev := cr.prev == nil
			e.branch(noPrev, e.loadOp(cr.VA+offPrev, 0, 0))
			if noPrev {
				cr.prev = cr.loaded
				e.store(cr.VA+offPrev, 0, old)
				e.jump()
				toDepot = false
			}
		}
	}
	if toDepot {
		e.alu(1, 0)
		d.lockDepot(e, r)
		old := cr.loaded
		r.depotPush(old)
		d.Stats.DepotPuts++
		lv := e.load(cr.VA+offLoaded, 0)
		h := e.load(r.VA+offDepot, 0)
		e.alu(1, 0)
		e.store(old.VA, lv, h)
		e.mem(cpu.RMW, r.VA+offDepotSize, 4, 0, 0)
		e.store(r.VA+offDepot, 0, lv)
		d.unlockDepot(e, r)
		wq := e.load(d.at.wq, 0)
		e.alu(3, wq)
		d.scheduleTrim(e, r)
	}
	cr.loaded = m
	e.store(cr.VA+offLoaded, 0, v)
	n = e.load(m.VA, v)
	e.jump()
	return v, n
}
