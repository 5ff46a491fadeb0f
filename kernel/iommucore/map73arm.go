package iommucore

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// map73arm is iommu_map of 7.3 on arm64.
func (d *Domain) map73arm(t *cpu.Thread, iova, phys, size uint64, prot Prot) error {
	t.Call(fnMap)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	err := d.MapNosync(t, iova, phys, size, prot)
	t.Branch(err != nil, t.ALU(1, 0))
	if err == nil {
		op := t.Load(d.At.OpSyncMap, t.Load(d.At.Ops, 0))
		t.Branch(!d.syncs, op)
		t.ALU(1, 0)
		if d.syncs {
			t.ALU(2, 0)
			err = d.driver.SyncMap(t, op, false, iova, size)
			t.Branch(err != nil, t.ALU(1, 0))
		}
	}
	t.Pop(6)
	t.Nop(1)
	t.Ret()
	return err
}

// nosync73arm is iommu_map_nosync of 7.3 after it was entered, for a driver without generic page tables: one call of map_pages for each
// run of pages of one size.
func (d *Domain) nosync73arm(t *cpu.Thread, iova, phys, size uint64, prot Prot) error {
	const guard, left, bytes, count, ptr, mapped = 56 + 96, 32 + 96, 8 + 96, 40 + 96, 16 + 96, 48 + 96
	d.typed(t, phys, prot)
	v := d.Env.Version
	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(64)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Reserve(64)
	t.StackStore(guard, t.Load(kernel.TaskGuard(v, t.CPU), task))
	t.ALU(1, 0)
	typ := t.Mem(cpu.Load, d.At.Type, 4, 0, 0)
	t.StackStorePair(bytes, 0)
	t.Branch(false, typ)
	t.StackStorePair(0, 0)
	sizes := t.Load(d.At.PgsizeBitmap, 0)
	t.Branch(false, sizes)
	t.StackStorePair(16, 0)
	t.Branch(size == 0, t.ALU(3, 0))
	t.StackStorePair(32, 0)
	ops := t.Load(d.At.Ops, 0)
	t.StackLoad(ptr)
	t.StackStore(left, 0)
	t.Branch(false, t.Load(d.At.OpMap, ops))
	t.Op(cpu.BitScan, sizes)
	t.ALU(1, 0)
	min := t.Op(cpu.BitScan, sizes)
	t.Branch(false, t.ALU(2, min)) // UBSAN_SHIFT
	t.StackLoad(bytes)
	bad := (iova|phys|size)&(d.minPage()-1) != 0
	t.Branch(bad, t.ALU(7, min))
	var err error
	if bad {
		t.ALU(2, 0)
		err = EINVAL
	} else {
		t.Nop(1)
		t.Branch(false, 0)
		t.ALU(2, 0)
		t.StackLoad(bytes)
		t.ALU(1, 0)
		t.StackLoad(left)
		t.StackStorePair(48, 0)
		t.ALU(2, 0)
		t.Jump()
		var done uint64
		top := t.Here()
		for done < size {
			bitmap := t.Load(d.At.PgsizeBitmap, 0)
			t.ALU(3, bitmap)
			t.StackStorePair(count, 0)
			pgsize, n := d.pgsizeArm(t, iova+done, phys+done, size-done, count, bitmap)
			t.ALU(1, 0)
			t.Nop(1)
			t.StackLoadPair(count)
			t.ALU(1, 0)
			op := t.Load(d.At.OpMap, ops)
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
			rest := t.ALU(3, t.StackLoad(left))
			t.StackStore(left, rest)
			t.Branch(done >= size, rest)
			if done < size {
				t.ALU(3, 0)
				t.Loop(top, true, t.Last())
			}
		}
		t.StackLoadPair(48)
		d.Env.TraceIOMMU(t, false, iova, phys, size, size)
		t.Branch(err != nil, t.Last())
		if err != nil {
			d.undoArm(t, iova, done)
		}
		t.StackLoadPair(32)
		t.ALU(1, 0)
		t.StackLoadPair(16)
		t.StackLoadPair(0)
		t.Jump()
	}
	kernel.CheckGuard(t, v, guard)
	t.Reserve(-64)
	t.Pop(2)
	t.ALU(1, 0)
	t.Pop(2)
	t.Frame(-64)
	t.Nop(1)
	t.Ret()
	return err
}

// syncMapArm is iommu_sync_map of 7.3 on arm64 after it was entered: no hardware's driver there has iotlb_sync_map, virtio-iommu's has.
func (d *Domain) syncMapArm(t *cpu.Thread, iova, size uint64) error {
	t.ALU(1, 0)
	t.Nop(1)
	ops := t.Load(d.At.Ops, 0)
	op := t.Load(d.At.OpSyncMap, ops)
	t.Branch(!d.syncs, op)
	t.ALU(1, 0)
	if d.syncs {
		return d.driver.SyncMap(t, op, true, iova, size)
	}
	t.Ret()
	return nil
}
