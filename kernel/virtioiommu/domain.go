package virtioiommu

import (
	"dmapath/cpu"
	"dmapath/iommu/virtiotable"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/locking"
)

var (
	fnMapPages   = cpu.NewFunc("viommu_map_pages", fileDriver, 480)
	fnUnmapPages = cpu.NewFunc("viommu_unmap_pages", fileDriver, 260)
	fnDelMaps    = cpu.NewFunc("viommu_del_mappings", fileDriver, 240)
	fnToPhys     = cpu.NewFunc("viommu_iova_to_phys", fileDriver, 150)
	fnSyncMap    = cpu.NewFunc("viommu_iotlb_sync_map", fileDriver, 40)
	fnSyncTLB    = cpu.NewFunc("viommu_iotlb_sync", fileDriver, 24)
	fnFlushAll   = cpu.NewFunc("viommu_flush_iotlb_all", fileDriver, 40)
)

// Domain is struct viommu_domain.
type Domain struct {
	*iommucore.Domain
	u         *Unit
	va        uint64
	id        uint32
	endpoints int
	bypass    bool
	lock      cpu.LockWord
	maps      tree
	count     int
}

// Offsets in struct viommu_domain: struct iommu_domain lies first.
const (
	dUnit      = 120
	dID        = 160
	dFlags     = 164
	dLock      = 168
	dMappings  = 176
	dEndpoints = 192
	domainSize = 256
)

// NewDomain makes a paging domain of the device (viommu_domain_alloc, viommu_domain_finalise). There are no levels to choose.
func (u *Unit) NewDomain() *Domain {
	u.ids++
	d := &Domain{u: u, va: u.Env.Slab(domainSize, 64), id: u.ids}
	d.lock.VA, d.lock.Name = d.va+dLock, "viommu_domain.mappings_lock"
	d.maps.va = d.va + dMappings
	d.Domain = iommucore.NewDomain(u.Env, d.va, d, u.sizes, u.last)
	d.UseMapPages()
	return d
}

// Mappings returns how many mappings the domain has.
func (d *Domain) Mappings() int { return d.count }

// MapPages is viommu_map_pages: a node of the tree and a request.
func (d *Domain) MapPages(t *cpu.Thread, target cpu.Val, iova, phys, pgsize, pgcount uint64, prot iommucore.Prot) (mapped uint64, err error) {
	u := d.u
	t.CallInd(fnMapPages, target)
	t.Nop(2)
	t.Push(6)
	t.Frame(64)
	t.ALU(8, t.Op(cpu.Mul, 0)) // size; prot to VIRTIO_IOMMU_MAP_F_*
	flags := uint32(0)
	for _, p := range [...]struct {
		prot iommucore.Prot
		flag uint32
	}{{iommucore.Read, virtiotable.MapRead}, {iommucore.Write, virtiotable.MapWrite}, {iommucore.MMIO, virtiotable.MapMMIO}} {
		if prot&p.prot != 0 {
			flags |= p.flag
		}
	}
	t.Branch(false, t.ALU(2, t.Mem(cpu.Load, d.va+dFlags, 4, 0, 0)))
	size := pgsize * pgcount
	// viommu_add_mapping, inlined.
	n := u.newNode(u.kmalloc(t, kmalloc64, false))
	n.first, n.last, n.phys, n.flags = iova, iova+size-1, phys, flags
	t.Branch(false, t.ALU(1, 0))
	for _, off := range [...]uint64{offPhys, offFirst, offLast, offFlags} {
		t.Store(n.va+off, 0, 0)
	}
	locking.SpinLockIrqsave(t, u.Env.Version, &d.lock)
	d.maps.insert(t, n)
	d.count++
	locking.SpinUnlockIrqrestore(t, u.Env.Version, &d.lock)
	t.Branch(false, t.LoadOp(d.va+dEndpoints, 0, 0))
	id := t.Mem(cpu.Load, d.va+dID, 4, 0, 0)
	for off := 0; off < 40; off += 8 { // the request on the stack
		t.StackStore(off, t.ALU(1, id))
	}
	t.Load(d.va+dUnit, 0)
	u.addReq(t, &virtiotable.Request{Type: virtiotable.Map, Domain: d.id, First: n.first, Last: n.last, Phys: phys, Flags: flags})
	t.Branch(false, t.ALU(1, 0))
	t.Store(t.SP()+64+56, 0, 0) // *mapped
	t.ALU(1, 0)
	t.Frame(-64)
	t.Pop(6)
	t.Ret()
	return size, nil
}

// UnmapPages is viommu_unmap_pages: the nodes leave the tree, a request asks the device for the same.
func (d *Domain) UnmapPages(t *cpu.Thread, target cpu.Val, iova, pgsize, pgcount uint64, _ *iommucore.Gather) uint64 {
	u := d.u
	t.CallInd(fnUnmapPages, target)
	t.Nop(2)
	t.Push(5)
	t.Frame(48)
	size := pgsize * pgcount
	t.ALU(3, t.Op(cpu.Mul, 0))
	n := d.delMappings(t, iova, iova+size-1)
	t.Branch(n < size, t.ALU(1, 0))
	if n < size {
		n = 0
	} else {
		t.Branch(false, t.LoadOp(d.va+dEndpoints, 0, 0))
		id := t.Mem(cpu.Load, d.va+dID, 4, 0, 0)
		for off := 0; off < 32; off += 8 {
			t.StackStore(off, t.ALU(1, id))
		}
		t.Load(d.va+dUnit, 0)
		u.addReq(t, &virtiotable.Request{Type: virtiotable.Unmap, Domain: d.id, First: iova, Last: iova + n - 1})
		t.ALU(2, 0)
	}
	t.Frame(-48)
	t.Pop(5)
	t.Ret()
	return n
}

// delMappings is viommu_del_mappings. A mapping is removed as a whole or not at all.
func (d *Domain) delMappings(t *cpu.Thread, first, last uint64) (bytes uint64) {
	u := d.u
	t.Call(fnDelMaps)
	t.Nop(1)
	t.Push(6)
	t.ALU(3, 0)
	locking.SpinLockIrqsave(t, u.Env.Version, &d.lock)
	n := d.maps.find(t, first, last)
	for top := t.Here(); ; {
		t.Branch(n == nil, t.ALU(1, 0))
		if n == nil {
			break
		}
		next := d.maps.next(t, n, first, last)
		s := t.Load(n.va+offFirst, 0)
		t.Branch(n.first < first, t.ALU(1, s))
		if n.first < first {
			break
		}
		bytes += n.last - n.first + 1
		t.ALU(3, t.Load(n.va+offLast, 0))
		d.maps.remove(t, n)
		d.count--
		u.kfree(t, kmalloc64, n.va)
		u.free = append(u.free, n)
		n = next
		t.Back(top)
	}
	locking.SpinUnlockIrqrestore(t, u.Env.Version, &d.lock)
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
	return bytes
}

// newNode returns a node for the object at va; nodes are used again, so that a call allocates nothing.
func (u *Unit) newNode(va uint64) *node {
	var n *node
	if l := len(u.free); l > 0 {
		n, u.free = u.free[l-1], u.free[:l-1]
	} else {
		n = new(node)
	}
	n.va = va
	return n
}

// IovaToPhys is viommu_iova_to_phys.
func (d *Domain) IovaToPhys(t *cpu.Thread, target cpu.Val, iova uint64) (pa uint64) {
	if t.ISA == cpu.A64 {
		t.CallInd(fnToPhys, target)
	} else {
		t.TailCallInd(fnToPhys, target)
	}
	t.Nop(2)
	t.Push(4)
	locking.SpinLockIrqsave(t, d.u.Env.Version, &d.lock)
	n := d.maps.find(t, iova, iova)
	t.Branch(n == nil, t.ALU(1, 0))
	if n != nil {
		pa = n.phys + iova - n.first
		t.ALU(2, t.Load(n.va+offPhys, t.Load(n.va+offFirst, 0)))
	}
	locking.SpinUnlockIrqrestore(t, d.u.Env.Version, &d.lock)
	t.ALU(1, 0)
	t.Pop(4)
	t.Ret()
	return pa
}

// SyncMap is viommu_iotlb_sync_map: the device carries out what is queued, by whomever.
func (d *Domain) SyncMap(t *cpu.Thread, target cpu.Val, tail bool, _, _ uint64) error {
	if tail {
		t.TailCallInd(fnSyncMap, target)
	} else {
		t.CallInd(fnSyncMap, target)
	}
	d.sync(t)
	return nil
}

// FlushAll is viommu_flush_iotlb_all, by which the flush queue ends.
func (d *Domain) FlushAll(t *cpu.Thread, target cpu.Val) {
	t.CallInd(fnFlushAll, target)
	d.sync(t)
}

func (d *Domain) sync(t *cpu.Thread) {
	t.Nop(2)
	t.Branch(false, t.LoadOp(d.va+dEndpoints, 0, 0))
	t.Load(d.va+dUnit, 0)
	d.u.syncReq(t)
	t.Ret()
}

// SyncTLB is viommu_iotlb_sync.
func (d *Domain) SyncTLB(t *cpu.Thread, target cpu.Val, _ *iommucore.Gather) {
	t.CallInd(fnSyncTLB, target)
	t.Nop(2)
	t.Load(d.va+dUnit, 0)
	d.u.syncReq(t)
	t.Ret()
}

// PutPages has nothing to free: there are no tables.
func (d *Domain) PutPages(*cpu.Thread, *iommucore.PageList) {}

// MapRange and UnmapRange are those of generic page tables, which this driver has none of.
func (d *Domain) MapRange(*cpu.Thread, cpu.Val, uint64, uint64, uint64, iommucore.Prot) (uint64, error) {
	panic("virtioiommu: map_range of a domain without generic page tables")
}

// UnmapRange is not called; see MapRange.
func (d *Domain) UnmapRange(*cpu.Thread, cpu.Val, uint64, uint64, *iommucore.Gather) uint64 {
	panic("virtioiommu: unmap_range of a domain without generic page tables")
}

var _ iommucore.Driver = (*Domain)(nil)
