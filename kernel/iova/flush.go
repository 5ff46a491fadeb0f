package iova

import (
	"dmapath/cpu"
)

var (
	fnFreeCPU    = cpu.NewFunc("free_cpu_cached_iovas", "drivers/iommu/iova.c", 0x110)
	fnFreeGlobal = cpu.NewFunc("free_global_cached_iovas", "drivers/iommu/iova.c", 0xc0)
	fnFreePFNs   = cpu.NewFunc("iova_magazine_free_pfns", "drivers/iommu/iova.c", 0xd0)
	fnDepotWork  = cpu.NewFunc("iova_depot_work_func", "drivers/iommu/iova.c", 0xe0)
)

// flushCaches gives everything that magazines and depots keep back to the tree: the last resort of alloc_iova_fast.
func (d *Domain) flushCaches(e emitter) {
	d.Stats.Flushes++
	for c := 0; c < d.cpus; c++ {
		d.freeCPUCached(e, c)
	}
	d.freeGlobalCached(e)
}

// freeCPUCached is free_cpu_cached_iovas(): the magazines of one CPU, which may be in use there at this moment.
func (d *Domain) freeCPUCached(e emitter, c int) {
	e.call(fnFreeCPU)
	e.nop(2)
	e.push(6)
	e.alu(4, 0)
	for o := range d.rcaches {
		cr := &d.rcaches[o].cpus[c]
		rc := e.load(d.at.rcaches, 0)
		e.alu(3, e.load(d.rcaches[o].VA+offCPURcaches, rc))
		d.lockCPU(e, cr)
		for _, m := range []*magazine{cr.loaded, cr.prev} {
			e.alu(2, e.load(cr.VA+offLoaded, 0))
			d.freePFNs(e, m)
		}
		d.unlockCPU(e, cr)
		e.branch(o < len(d.rcaches)-1, e.alu(2, 0))
	}
	e.pop(6)
	e.ret()
}

// freeGlobalCached is free_global_cached_iovas(): the depots.
func (d *Domain) freeGlobalCached(e emitter) {
	e.call(fnFreeGlobal)
	e.nop(2)
	e.push(5)
	e.alu(4, 0)
	for o := range d.rcaches {
		r := &d.rcaches[o]
		e.alu(2, e.load(d.at.rcaches, 0))
		d.lockDepotIrqsave(e, r)
		for r.depot != nil {
			m := d.popDepot(e, r)
			d.freePFNs(e, m)
			d.freeMagazine(e.t, m)
		}
		e.branch(true, e.loadOp(r.VA+offDepot, 0, 0))
		d.unlockDepotIrqrestore(e, r)
		e.branch(o < len(d.rcaches)-1, e.alu(2, 0))
	}
	e.pop(5)
	e.ret()
}

// popDepot is iova_depot_pop() outside of alloc_iova_fast.
func (d *Domain) popDepot(e emitter, r *rcache) *magazine {
	m := r.depotPop()
	h := e.load(r.VA+offDepot, 0)
	e.branch(false, e.alu(1, h))
	e.store(r.VA+offDepot, 0, e.load(m.VA, h))
	e.store(m.VA, h, 0)
	e.mem(cpu.RMW, r.VA+offDepotSize, 4, 0, 0)
	m.size = MagazineSize
	return m
}

// freePFNs is iova_magazine_free_pfns(): every range of a magazine goes back to the tree under the domain's lock.
func (d *Domain) freePFNs(e emitter, m *magazine) {
	e.call(fnFreePFNs)
	e.nop(2)
	e.push(5)
	e.branch(m == nil, e.alu(2, 0))
	if m != nil {
		d.lockTree(e)
		for i := 0; i < m.size; i++ {
			e.alu(1, e.load(m.pfn(i), 0))
			n, v := d.find(e, m.pfns[i])
			if n == nil {
				panic("iova: a magazine holds a range that is not in the tree")
			}
			d.remove(e, n, v)
			e.load(d.at.nodeCache, 0)
			e.alu(1, 0)
			d.nodes.Free(e.t, n.VA)
			d.recycle(n)
			e.branch(i+1 < m.size, e.loadOp(m.VA, 0, 0))
		}
		d.unlockTree(e)
		m.size = 0
		e.store(m.VA, 0, 0)
	}
	e.pop(5)
	e.ret()
}

// trim is iova_depot_work_func(): while the depot holds more magazines than there are CPUs, one is emptied every
// DepotDelay.
func (d *Domain) trim(t *cpu.Thread, r *rcache) {
	e := emitter{t}
	e.call(fnDepotWork)
	e.nop(2)
	e.push(4)
	e.alu(3, 0)
	d.lockDepotIrqsave(e, r)
	var m *magazine
	more := r.depotSize > d.cpus
	e.branch(!more, e.alu(2, e.mem(cpu.Load, r.VA+offDepotSize, 4, 0, 0)))
	if more {
		m = d.popDepot(e, r)
	}
	e.alu(2, 0)
	d.unlockDepotIrqrestore(e, r)
	e.branch(!more, e.alu(1, 0))
	if more {
		d.Stats.Trims++
		d.freePFNs(e, m)
		e.load(d.at.magCache, 0)
		d.freeMagazine(e.t, m)
		e.alu(3, e.load(d.at.wq, 0))
		d.scheduleTrim(e, r)
	}
	e.pop(4)
	e.ret()
}

// scheduleTrim is schedule_delayed_work() of the depot's trim; it does nothing when the work is pending already.
func (d *Domain) scheduleTrim(e emitter, r *rcache) {
	if d.timers != nil && e.t != nil {
		d.timers.Queue(e.t, &r.work, DepotDelay, func(t *cpu.Thread) { d.trim(t, r) })
	}
}

// Trim runs the depot worker of an order now, as the expiry of its delayed work does.
func (d *Domain) Trim(t *cpu.Thread, order int) { d.trim(t, &d.rcaches[order]) }
