package amdvi

import (
	"dmapath/cpu"
	"dmapath/iommu/amdtable"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/locking"
)

const fileDriver = "drivers/iommu/amd/iommu.c"

var (
	fnSyncMap    = cpu.NewFunc("amd_iommu_iotlb_sync_map", fileDriver, 110)
	fnSyncTLB    = cpu.NewFunc("amd_iommu_iotlb_sync", fileDriver, 96)
	fnFlushAll   = cpu.NewFunc("amd_iommu_flush_iotlb_all", fileDriver, 80)
	fnFlushPages = cpu.NewFunc("amd_iommu_domain_flush_pages", fileDriver, 230)
	fnInner      = cpu.NewFunc("__domain_flush_pages", fileDriver, 560)
	fnComplete   = cpu.NewFunc("domain_flush_complete", fileDriver, 140)
	fnFind       = cpu.NewFunc("xa_find", "lib/xarray.c", 240)
	fnFindAfter  = cpu.NewFunc("xa_find_after", "lib/xarray.c", 300)
	fnFlushIOTLB = cpu.NewFunc("device_flush_iotlb", fileDriver, 260)
	fnFlushDTE   = cpu.NewFunc("device_flush_dte", fileDriver, 320)
	fnUpdateDTE  = cpu.NewFunc("update_dte256", fileDriver, 620)
)

// SyncTLB is amd_iommu_iotlb_sync: with the domain's lock held and interrupts off, tell the hardware to forget what was
// gathered and wait until it has. 7.3 frees the gathered tables afterwards; 6.12 never takes tables away in an unmap.
func (d *Domain) SyncTLB(t *cpu.Thread, target cpu.Val, g *iommucore.Gather) {
	v := d.env.Version
	t.CallInd(fnSyncTLB, target)
	t.Nop(2)
	t.Push(4)
	t.ALU(3, 0)
	locking.SpinLockIrqsave(t, v, &d.lock)
	s := t.Load(g.VA+iommucore.GatherStart, 0)
	e := t.Load(g.VA+iommucore.GatherEnd, 0)
	t.ALU(3, t.ALU2(s, e))
	tables := v == kernel.V6_12
	if v == kernel.V7_3 {
		l := t.Load(g.VA+iommucore.GatherFreelist, 0)
		tables = !g.Freelist.Empty()
		t.ALU(2, l)
	}
	d.flushPages(t, g.Start, g.End, tables)
	t.ALU(2, 0)
	locking.SpinUnlockIrqrestore(t, v, &d.lock)
	t.ALU(1, 0)
	t.Pop(4)
	if v == kernel.V7_3 {
		d.u.pages.Put(t, &g.Freelist, g.VA+iommucore.GatherFreelist, true)
		return
	}
	t.Ret()
}

// FlushAll is amd_iommu_flush_iotlb_all: forget everything of the domain, which the flush queue asks for.
func (d *Domain) FlushAll(t *cpu.Thread, target cpu.Val) {
	t.CallInd(fnFlushAll, target)
	t.Nop(2)
	t.Push(2)
	t.ALU(2, 0)
	locking.SpinLockIrqsave(t, d.env.Version, &d.lock)
	t.ALU(4, 0)
	d.flushPages(t, 0, ^uint64(0), true)
	t.ALU(2, 0)
	locking.SpinUnlockIrqrestore(t, d.env.Version, &d.lock)
	t.Pop(2)
	t.Ret()
}

// flushPages is amd_iommu_domain_flush_pages: one command for the range to every IOMMU of the domain, then a completion wait
// for each. pde also drops cached page directory entries. The domain's lock is held.
func (d *Domain) flushPages(t *cpu.Thread, first, last uint64, pde bool) {
	t.Call(fnFlushPages)
	t.Nop(2)
	t.Push(3)
	t.ALU(3, 0)
	t.Branch(false, t.Mem(cpu.LoadOp, d.u.npCache, 1, 0, 0))
	d.invalidate(t, first, last, pde)
	t.ALU(1, 0)
	d.complete(t)
	t.Pop(3)
	t.Ret()
}

// invalidate is __domain_flush_pages with domain_flush_pages_v1 inlined. Each device with a TLB of its own (ATS) gets a command too.
func (d *Domain) invalidate(t *cpu.Thread, first, last uint64, pde bool) {
	c := amdtable.Command{Op: amdtable.InvalidateIOMMUPages, Domain: d.id, PDE: pde}
	c.Addr, c.Shift = amdtable.Range(first, last)
	t.Call(fnInner)
	t.Nop(1)
	t.Push(6)
	t.Frame(48)
	t.StackStore(40, t.Load(d.guard(t), 0))
	// build_inv_address: one page, or all ones below the highest bit in which the ends differ.
	t.ALU(6, 0)
	single := c.Shift == amdtable.PageShift
	t.Branch(single, t.Last())
	if !single {
		t.ALU(2, 0)
		b := t.ALU(2, t.Op(cpu.BitScan, t.Last()))
		t.Branch(c.Shift >= 64, b)
		t.ALU(5, b)
	}
	id := t.Mem(cpu.Load, d.at.id, 4, 0, 0)
	t.StackStore(0, 0) // memset of the command
	t.StackStore(8, 0)
	t.ALU(3, id)
	t.Mem(cpu.Store, t.SP()+4, 4, 0, t.Last())
	t.ALU(4, 0)
	t.Mem(cpu.Store, t.SP()+8, 4, 0, t.Last())
	t.Mem(cpu.Store, t.SP()+12, 4, 0, t.Last())
	d.eachUnit(t, func() { d.u.queueCommand(t, c, true, t.SP()) })
	t.ALU(2, 0)
	node := t.Load(d.at.devs, 0)
	for top, i := t.Here(), 0; ; i++ {
		end := i == len(d.devs)
		t.ALU(1, node)
		t.Branch(end, node)
		if end {
			break
		}
		ats := t.Mem(cpu.LoadOp, d.devs[i].va+devATS, 1, node, 0)
		t.Branch(!d.devs[i].ats, ats)
		if d.devs[i].ats {
			t.ALU(3, 0)
			d.flushDevice(t, d.devs[i], c.Addr, c.Shift)
			t.ALU(1, 0)
		}
		node = t.Load(d.devs[i].va, node)
		t.Back(top)
	}
	g := t.StackLoad(40)
	t.Branch(false, t.LoadOp(d.guard(t), 0, g))
	t.Frame(-48)
	t.Pop(6)
	t.Ret()
}

// complete is domain_flush_complete: a completion wait for every IOMMU of the domain.
func (d *Domain) complete(t *cpu.Thread) {
	t.Call(fnComplete)
	t.Nop(1)
	t.Push(3)
	t.Frame(24)
	t.StackStore(16, t.Load(d.guard(t), 0))
	d.eachUnit(t, func() { d.u.completionWait(t) })
	g := t.StackLoad(16)
	t.Branch(false, t.LoadOp(d.guard(t), 0, g))
	t.Frame(-24)
	t.Pop(3)
	t.Ret()
}

// eachUnit is xa_for_each over protection_domain.iommu_array. A machine has one IOMMU here, at index 0, which the array's head
// points to without a node.
func (d *Domain) eachUnit(t *cpu.Thread, body func()) {
	find := func(f *cpu.Func, alu int) cpu.Val {
		t.Call(f)
		t.Nop(2)
		t.Push(4)
		t.Frame(72)
		t.StackStore(64, t.Load(d.guard(t), 0))
		for off := 0; off < 48; off += 8 {
			t.StackStore(off, 0)
		}
		t.ALU(6, 0)
		h := t.Load(d.at.array+8, 0) // xa_head
		t.ALU(alu, h)
		t.Branch(false, t.Last())
		t.ALU(4, h)
		t.Branch(true, t.Last())
		g := t.StackLoad(64)
		t.Branch(false, t.LoadOp(d.guard(t), 0, g))
		t.Frame(-72)
		t.Pop(4)
		t.Ret()
		return h
	}
	t.ALU(5, 0)
	info := find(fnFind, 10)
	t.Branch(false, t.ALU(1, info))
	t.Load(d.va+448, info) // pdom_iommu_info.iommu
	body()
	t.ALU(4, 0)
	info = find(fnFindAfter, 14)
	t.Branch(true, t.ALU(1, info))
}

// Offsets in struct iommu_dev_data; estimates.
const (
	devUnit = 40
	devLock = 64
	devATS  = 80
	devQdep = 84
)

// queueDepth is how many invalidations a device takes at a time (ats_qdep): what PCI calls 32 and encodes as 0.
const queueDepth = 32

// flushDevice is device_flush_iotlb: a device forgets 1<<shift bytes around addr.
func (d *Domain) flushDevice(t *cpu.Thread, dev attached, addr uint64, shift uint8) {
	t.Call(fnFlushIOTLB)
	t.Nop(1)
	t.Push(4)
	t.Frame(32)
	t.StackStore(24, t.Load(d.guard(t), 0))
	t.Load(dev.va+devUnit, 0)
	q := t.Mem(cpu.Load, dev.va+devQdep, 4, 0, 0)
	t.ALU(8, q)
	single := shift == amdtable.PageShift
	t.Branch(single, t.Last())
	if !single { // build_inv_address
		b := t.ALU(2, t.Op(cpu.BitScan, t.ALU(2, 0)))
		t.Branch(shift >= 64, b)
		t.ALU(5, b)
	}
	for off := 0; off < 16; off += 4 {
		t.Mem(cpu.Store, t.SP()+uint64(off), 4, 0, t.ALU(2, q))
	}
	d.u.queueCommand(t, amdtable.Command{Op: amdtable.InvalidateIOTLBPages, Device: dev.rid, Queue: dev.rid, MaxPend: queueDepth, Addr: addr, Shift: shift},
		true, t.SP())
	g := t.StackLoad(24)
	t.Branch(false, t.LoadOp(d.guard(t), 0, g))
	t.Frame(-32)
	t.Pop(4)
	t.Ret()
}

// updateDevices makes all devices of the domain use the table at root with so many levels and waits until the hardware does:
// set_dte_entry, device_flush_dte. The domain's lock is held.
func (d *Domain) updateDevices(t *cpu.Thread, root uint64, levels int) {
	u := d.u
	node := t.Load(d.at.devs, 0)
	for _, dev := range d.devs {
		at := kernel.Virt(amdtable.DTEAddr(u.table, dev.rid))
		t.Call(fnUpdateDTE)
		t.Nop(2)
		t.Push(6)
		t.ALU(30, node)
		t.Mem(cpu.Atomic, dev.va+devLock, 4, node, 0) // dte_lock
		t.Load(at, node)
		t.Load(at+16, node)
		t.ALU(20, t.Last())
		t.Mem(cpu.Atomic, at+16, 16, node, t.Last())
		t.Mem(cpu.Atomic, at, 16, node, t.Last())
		e := d.dte(dev)
		e.Root, e.Mode = root, levels
		u.writeDTE(dev.rid, e)
		t.Mem(cpu.Store, dev.va+devLock, 1, node, 0)
		t.ALU(4, 0)
		t.Pop(6)
		t.Ret()
		d.flushDTE(t, dev)
		u.completionWait(t)
		// The entry had a domain id: everything of that domain is forgotten too (amd_iommu_flush_tlb_domid).
		t.ALU(8, 0)
		u.queueCommand(t, amdtable.Command{Op: amdtable.InvalidateIOMMUPages, Domain: d.id, PDE: true, Shift: 64}, true, t.SP()-64)
		u.completionWait(t)
		node = t.Load(dev.va, node)
	}
	for _, dev := range d.devs {
		d.flushDTE(t, dev)
	}
	d.complete(t)
}

// flushDTE is device_flush_dte: the hardware forgets the device's table entry.
func (d *Domain) flushDTE(t *cpu.Thread, dev attached) {
	t.Call(fnFlushDTE)
	t.Nop(1)
	t.Push(4)
	t.Load(dev.va+devUnit, 0)
	t.ALU(24, t.Last()) // aliases of the requester id
	t.Branch(false, t.Last())
	d.u.queueCommand(t, amdtable.Command{Op: amdtable.InvalidateDevtabEntry, Device: dev.rid}, true, t.SP()-64)
	t.ALU(6, 0)
	t.Branch(!dev.ats, t.Mem(cpu.LoadOp, dev.va+devATS, 1, 0, 0))
	if dev.ats {
		d.flushDevice(t, dev, 0, 64)
	}
	t.Pop(4)
	t.Ret()
}
