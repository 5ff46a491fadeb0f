package iommucore

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// unmapFastArm is iommu_unmap_fast on arm64 after it was entered.
func (d *Domain) unmapFastArm(t *cpu.Thread, iova, size uint64, g *Gather) uint64 {
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	n := d.unmapLoop(t, iova, size, g)
	t.Pop(2)
	t.Nop(1)
	t.Ret()
	return n
}

// unmap12arm is __iommu_unmap of 6.12 on arm64 after it was entered.
func (d *Domain) unmap12arm(t *cpu.Thread, iova, size uint64, g *Gather) uint64 {
	const guard, count = 24 + 96, 16 + 96
	v := d.Env.Version
	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(32)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(4)
	t.Reserve(32)
	t.StackStore(guard, t.Load(kernel.TaskGuard(v, t.CPU), task))
	t.ALU(1, 0)
	typ := t.Mem(cpu.Load, d.At.Type, 4, 0, 0)
	ops := t.Load(d.At.Ops, 0)
	t.Branch(false, typ)
	t.Branch(false, t.Load(d.At.OpUnmap, ops))
	t.StackStorePair(0, 0)
	sizes := t.Load(d.At.PgsizeBitmap, 0)
	t.Branch(false, sizes)
	t.Op(cpu.BitScan, sizes)
	t.ALU(1, 0)
	min := t.Op(cpu.BitScan, sizes)
	bad := (iova|size)&(d.minPage()-1) != 0
	t.Branch(bad, t.ALU(8, min))
	done := uint64(0)
	if !bad {
		t.Nop(1)
		t.Branch(size == 0, 0)
		t.ALU(5, 0)
		t.StackStorePair(16, 0)
		t.ALU(1, 0)
		t.Jump()
		top := t.Here()
		for done < size {
			bitmap := t.Load(d.At.PgsizeBitmap, 0)
			t.StackStore(count, t.ALU(4, bitmap))
			pgsize, n := d.pgsizeArm(t, iova+done, iova+done, size-done, count, bitmap)
			t.ALU(1, 0)
			t.StackLoad(count)
			t.ALU(1, 0)
			op := t.Load(d.At.OpUnmap, ops)
			t.ALU(2, 0)
			got := d.driver.UnmapPages(t, op, iova+done, pgsize, n, g)
			t.Branch(got != 0, t.ALU(1, 0))
			if got == 0 {
				break
			}
			done += got
			t.Nop(1)
			t.Branch(done >= size, t.ALU(3, 0))
			if done < size {
				t.ALU(1, 0)
				t.Loop(top, true, t.Last())
			}
		}
		t.StackLoadPair(0)
		d.Env.TraceIOMMU(t, true, iova, 0, size, done)
		t.StackLoadPair(16)
		t.Jump()
	}
	kernel.CheckGuard(t, v, guard)
	t.Reserve(-32)
	t.Pop(2)
	t.ALU(1, 0)
	t.Pop(6)
	t.Frame(-32)
	t.Nop(1)
	t.Ret()
	return done
}

// unmap73arm is __iommu_unmap of 7.3 on arm64 after it was entered, for a driver without generic page tables. A flush queue's gather
// is given the range here.
func (d *Domain) unmap73arm(t *cpu.Thread, iova, size uint64, g *Gather) uint64 {
	const guard, count = 24 + 96, 16 + 96
	v := d.Env.Version
	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(32)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(4)
	t.ALU(1, 0)
	t.Reserve(48)
	t.StackStore(guard, t.Load(kernel.TaskGuard(v, t.CPU), task))
	t.ALU(1, 0)
	t.Branch(false, t.Mem(cpu.Load, d.At.Type, 4, 0, 0))
	t.StackStorePair(0, 0)
	t.ALU(1, 0)
	sizes := t.Load(d.At.PgsizeBitmap, 0)
	t.Branch(true, sizes)
	t.StackStorePair(16, 0)
	t.StackStorePair(32, 0)
	t.ALU(1, 0)
	ops := t.Load(d.At.Ops, 0)
	t.Branch(false, t.Load(d.At.OpUnmap, ops))
	t.Op(cpu.BitScan, sizes)
	t.ALU(1, 0)
	min := t.Op(cpu.BitScan, sizes)
	t.Branch(false, t.ALU(1, min)) // UBSAN_SHIFT
	bad := (iova|size)&(d.minPage()-1) != 0
	t.Branch(bad, t.ALU(6, min))
	done := uint64(0)
	if !bad {
		t.Nop(1)
		t.Branch(size == 0, 0)
		t.ALU(6, 0)
		t.Jump()
		top := t.Here()
		for done < size {
			bitmap := t.Load(d.At.PgsizeBitmap, 0)
			t.StackStore(count, t.ALU(4, bitmap))
			pgsize, n := d.pgsizeArm(t, iova+done, iova+done, size-done, count, bitmap)
			t.ALU(1, 0)
			t.StackLoad(count)
			t.ALU(1, 0)
			op := t.Load(d.At.OpUnmap, ops)
			t.ALU(2, 0)
			got := d.driver.UnmapPages(t, op, iova+done, pgsize, n, g)
			t.Branch(got != 0, t.ALU(1, 0))
			if got == 0 {
				break
			}
			t.Nop(1)
			d.gathered(t, iova+done, got, g)
			done += got
			t.Branch(done >= size, t.ALU(3, 0))
			if done < size {
				t.Loop(top, true, t.Last())
			}
		}
		d.Env.TraceIOMMU(t, true, iova, 0, size, done)
		t.StackLoadPair(0)
		t.StackLoadPair(16)
		t.StackLoadPair(32)
		t.Jump()
	}
	kernel.CheckGuard(t, v, guard)
	t.Reserve(-48)
	t.Pop(2)
	t.ALU(1, 0)
	t.Pop(4)
	t.Frame(-32)
	t.Nop(1)
	t.Ret()
	return done
}

// gathered puts the range into a gather that the driver has left empty, so that iotlb_sync is called (7.3).
func (d *Domain) gathered(t *cpu.Thread, iova, size uint64, g *Gather) {
	var start cpu.Val
	if t.ISA == cpu.A64 {
		start = t.LoadPair(g.VA+GatherStart, 0)
	} else {
		start = t.LoadOp(g.VA+GatherStart, 0, t.Load(g.VA+GatherEnd, 0))
	}
	empty := g.Start >= g.End
	t.Branch(!empty, t.ALU(1, start))
	if !empty {
		return
	}
	t.Branch(g.Start <= iova, t.ALU(3, start))
	if g.Start > iova {
		t.Store(g.VA+GatherStart, 0, 0)
		g.Start = iova
	}
	end := iova + size - 1
	t.Branch(g.End >= end, t.ALU(1, start))
	if g.End < end {
		t.Store(g.VA+GatherEnd, 0, 0)
		g.End = end
	}
}

// iovaToPhysArm is iommu_iova_to_phys on arm64 after it was entered. Unlike on x86 the driver is called, not jumped to.
func (d *Domain) iovaToPhysArm(t *cpu.Thread, iova uint64) uint64 {
	t.ALU(1, 0)
	t.Nop(1)
	typ := t.Mem(cpu.Load, d.At.Type, 4, 0, 0)
	t.Branch(false, t.ALU(2, typ)) // IOMMU_DOMAIN_IDENTITY
	t.Branch(false, t.ALU(1, typ)) // IOMMU_DOMAIN_BLOCKED
	t.Nop(1)
	t.Push(2)
	t.ALU(1, 0)
	ops := t.Load(d.At.Ops, 0)
	op := t.Load(d.At.OpIovaToPhys, ops)
	phys := d.driver.IovaToPhys(t, op, iova)
	t.Pop(2)
	t.Nop(1)
	t.Ret()
	return phys
}
