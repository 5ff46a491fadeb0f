package iommucore

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// map12arm is iommu_map of 6.12 on arm64. The SMMU's driver has no iotlb_sync_map: the core finds a null pointer.
func (d *Domain) map12arm(t *cpu.Thread, iova, phys, size uint64, prot Prot) error {
	t.Call(fnMap)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(1)
	ops := t.Load(d.At.Ops, 0)
	t.Branch(false, 0) // gfp & (__GFP_COMP | ...)
	t.ALU(2, 0)
	t.Branch(false, t.Last())
	t.ALU(3, 0)
	t.Call(fnMap12)
	err := d.map12armLoop(t, iova, phys, size, prot)
	t.Branch(err != nil, t.ALU(1, 0))
	if err == nil {
		op := t.Load(d.At.OpSyncMap, ops)
		t.Branch(!d.syncs, op)
		if d.syncs {
			t.ALU(3, 0)
			err = d.driver.SyncMap(t, op, false, iova, size)
			t.Branch(err != nil, t.ALU(1, 0))
		}
	}
	t.Pop(2)
	t.ALU(1, 0)
	t.Pop(2)
	t.Pop(1)
	t.Pop(2)
	t.Nop(1)
	t.Ret()
	return err
}

// map12armLoop is __iommu_map of 6.12 on arm64 after it was entered: one call of map_pages for each run of pages of one size.
func (d *Domain) map12armLoop(t *cpu.Thread, iova, phys, size uint64, prot Prot) error {
	const guard, left, at, count, mapped = 56 + 96, 40 + 96, 16 + 96, 24 + 96, 0 + 96
	d.typed(t, phys, prot)
	v := d.Env.Version
	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(64)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Reserve(64) // the other registers are saved below
	t.StackStore(left, 0)
	t.StackStorePair(0, 0)
	t.StackStore(guard, t.Load(kernel.TaskGuard(v, t.CPU), task))
	t.ALU(1, 0)
	typ := t.Mem(cpu.Load, d.At.Type, 4, 0, 0)
	t.StackStorePair(16, 0)
	ops := t.Load(d.At.Ops, 0)
	t.Branch(false, typ) // type & __IOMMU_DOMAIN_PAGING
	t.Branch(false, t.Load(d.At.OpMap, ops))
	for off := 32; off < 64; off += 16 {
		t.StackStorePair(off, 0)
	}
	t.StackStorePair(at, 0)
	sizes := t.Load(d.At.PgsizeBitmap, 0)
	t.Branch(false, sizes)
	t.ALU(1, 0)
	t.Op(cpu.BitScan, sizes)
	t.StackLoadPair(at)
	min := t.Op(cpu.BitScan, sizes)
	bad := (iova|phys|size)&(d.minPage()-1) != 0
	t.Branch(bad, t.ALU(9, min))
	var err error
	if bad {
		t.ALU(2, 0)
		err = EINVAL
	} else {
		t.Nop(1)
		t.Branch(size == 0, 0)
		t.ALU(2, 0)
		t.StackLoad(count)
		t.ALU(1, 0)
		t.StackLoad(left)
		t.ALU(3, 0)
		t.StackStore(at, 0)
		t.Jump()
		var done uint64
		top := t.Here()
		for done < size {
			bitmap := t.Load(d.At.PgsizeBitmap, 0)
			t.ALU(3, bitmap)
			t.StackStorePair(mapped, 0)
			pgsize, n := d.pgsizeArm(t, iova+done, phys+done, size-done, count, bitmap)
			t.ALU(1, 0)
			t.Nop(1)
			t.StackLoad(count)
			t.ALU(1, 0)
			op := t.Load(d.At.OpMap, ops)
			t.ALU(1, 0)
			t.StackLoad(left)
			t.ALU(5, 0)
			var got uint64
			got, err = d.driver.MapPages(t, op, iova+done, phys+done, pgsize, n, prot)
			done += got
			t.ALU(1, 0)
			t.StackLoad(mapped)
			t.Branch(err == nil, t.ALU(1, 0))
			if err != nil {
				break
			}
			rest := t.ALU(2, t.StackLoad(left))
			t.StackStore(left, rest)
			t.Branch(done >= size, rest)
			if done < size {
				t.ALU(3, 0)
				t.Loop(top, true, t.Last())
			}
		}
		if err != nil {
			d.undoArm(t, iova, done)
		} else {
			d.Env.TraceIOMMU(t, false, iova, phys, size, size)
		}
		t.StackLoadPair(16)
		t.ALU(1, 0)
		t.StackLoadPair(32)
		t.StackLoadPair(48)
		t.Jump()
	}
	kernel.CheckGuard(t, v, guard)
	t.StackLoadPair(0)
	t.Reserve(-64)
	t.ALU(1, 0)
	t.Pop(4)
	t.Frame(-64)
	t.Nop(1)
	t.Ret()
	return err
}

// undoArm unmaps what was mapped before an error.
func (d *Domain) undoArm(t *cpu.Thread, iova, done uint64) {
	t.ALU(4, 0)
	if done > 0 {
		g := Gather{}
		g.Init(t.SP())
		d.unmapLoop(t, iova, done, &g)
		d.driver.SyncTLB(t, 0, &g)
	}
}

// minPage is the smallest page size of the domain.
func (d *Domain) minPage() uint64 { return d.PgsizeBitmap & -d.PgsizeBitmap }
