package iova

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/timer"
)

// magazine is a struct iova_magazine: a stack of up to 127 free ranges of one size. In a depot its size field is the
// link to the next magazine.
type magazine struct {
	VA   uint64
	size int
	next *magazine
	pfns [MagazineSize]uint64
}

// pfn returns the address of slot i.
func (m *magazine) pfn(i int) uint64 { return m.VA + 8 + 8*uint64(i) }

func (m *magazine) empty() bool { return m == nil || m.size == 0 }

// cpuRcache is a struct iova_cpu_rcache: one CPU's two magazines of one order.
type cpuRcache struct {
	VA           uint64
	lock         cpu.LockWord // its own CPU takes it always, another one only to flush the caches
	loaded, prev *magazine
}

// rcache is a struct iova_rcache: the caches of one order.
type rcache struct {
	VA        uint64
	lock      cpu.LockWord // the depot's
	depot     *magazine
	depotSize int
	cpus      []cpuRcache
	work      timer.Work // trims the depot
	order     int
}

// Offsets in struct iova_rcache (120 bytes) and struct iova_cpu_rcache (24 bytes, line aligned).
const (
	offDepotSize  = 4
	offDepot      = 8
	offCPURcaches = 16
	offWork       = 32
	rcacheBytes   = 120
	offLoaded     = 8
	offPrev       = 16
)

func (d *Domain) initRcaches(t *cpu.Thread) {
	var arr, per uint64
	orders := Orders
	if d.env != nil && d.env.IOVAOrders != 0 {
		orders = max(d.env.IOVAOrders, 0)
	}
	d.rcaches = make([]rcache, orders)
	if d.env != nil {
		arr = d.env.Slab(max(1024, orders*rcacheBytes), 64)
	}
	for i := range d.rcaches {
		r := &d.rcaches[i]
		r.order = i
		r.VA = arr + uint64(i)*rcacheBytes
		r.lock.VA, r.lock.Name = r.VA, "iova depot lock"
		r.work = timer.WorkAt(r.VA + offWork)
		r.cpus = make([]cpuRcache, d.cpus)
		if d.env != nil {
			per = d.env.PerCPU(64, 64)
		}
		for c := range r.cpus {
			cr := &r.cpus[c]
			if d.env != nil {
				cr.VA = d.env.Cpu(per, c)
			}
			cr.lock.VA, cr.lock.Name = cr.VA, "iova cpu rcache lock"
			if d.v == kernel.V6_12 { // 7.3 allocates magazines when the first range is freed
				cr.loaded, cr.prev = d.newMagazine(t), d.newMagazine(t)
			}
		}
	}
}

func (d *Domain) newMagazine(t *cpu.Thread) *magazine {
	va := d.mags.Alloc(t)
	if va == 0 {
		return nil
	}
	m := d.freeMags
	if m == nil {
		m = new(magazine)
	} else {
		d.freeMags = m.next
	}
	m.VA, m.size, m.next = va, 0, nil
	return m
}

func (d *Domain) freeMagazine(t *cpu.Thread, m *magazine) {
	if m == nil {
		return
	}
	d.mags.Free(t, m.VA)
	m.next = d.freeMags
	d.freeMags = m
}

// Cached returns how many ranges of 2^order pages the magazines of one CPU hold, and how many full magazines the depot.
func (d *Domain) Cached(cpu, order int) (ranges, depot int) {
	r := &d.rcaches[order]
	for _, m := range []*magazine{r.cpus[cpu].loaded, r.cpus[cpu].prev} {
		if m != nil {
			ranges += m.size
		}
	}
	return ranges, r.depotSize
}

// EachCached calls f for every range that waits in a magazine or depot.
func (d *Domain) EachCached(f func(order int, pfn uint64)) {
	each := func(o int, m *magazine) {
		if m != nil {
			for _, p := range m.pfns[:m.size] {
				f(o, p)
			}
		}
	}
	for o := range d.rcaches {
		r := &d.rcaches[o]
		for c := range r.cpus {
			each(o, r.cpus[c].loaded)
			each(o, r.cpus[c].prev)
		}
		for m := r.depot; m != nil; m = m.next {
			each(o, m)
		}
	}
}

// depotPush and depotPop change the list; the caller holds the lock and emits.
func (r *rcache) depotPush(m *magazine) {
	m.next = r.depot
	r.depot = m
	r.depotSize++
}

func (r *rcache) depotPop() *magazine {
	m := r.depot
	r.depot = m.next
	m.next = nil
	r.depotSize--
	return m
}
