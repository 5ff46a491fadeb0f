package iommucore

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

var (
	fnUnmapFast  = cpu.NewFunc("iommu_unmap_fast", file, 16)
	fnUnmap      = cpu.NewFunc("__iommu_unmap", file, 270)
	fnIovaToPhys = cpu.NewFunc("iommu_iova_to_phys", file, 48)
)

// Unmap removes the mappings of size bytes at iova and adds to g what has to be invalidated before the memory may be
// reused (iommu_unmap_fast). It returns the bytes unmapped: less than size where nothing was mapped, more when a
// larger page covered the end.
func (d *Domain) Unmap(t *cpu.Thread, iova, size uint64, g *Gather) (unmapped uint64) {
	t.Call(fnUnmapFast)
	return d.code.unmapFast(d, t, iova, size, g)
}

// unmapFast is iommu_unmap_fast on x86 after it was entered: a jump to __iommu_unmap.
func (d *Domain) unmapFast(t *cpu.Thread, iova, size uint64, g *Gather) uint64 {
	t.Nop(2)
	t.TailCall(fnUnmap)
	return d.code.unmapping(d, t, iova, size, g)
}

// unmapLoop calls __iommu_unmap.
func (d *Domain) unmapLoop(t *cpu.Thread, iova, size uint64, g *Gather) uint64 {
	t.Call(fnUnmap)
	return d.code.unmapping(d, t, iova, size, g)
}

func (d *Domain) unmap12(t *cpu.Thread, iova, size uint64, g *Gather) uint64 {
	guard := kernel.StackGuard(d.Env.Version, t.CPU)
	t.Nop(1)
	t.Push(6)
	t.Frame(40)
	ops := t.Load(d.At.Ops, 0)
	t.StackStore(16, 0)
	t.StackStore(0, 0)
	t.StackStore(32, t.Load(guard, 0))
	t.ALU(1, 0)
	t.Branch(false, t.Mem(cpu.LoadOp, d.At.Type, 1, 0, 0))
	t.Branch(false, t.LoadOp(d.At.OpUnmap, ops, 0))
	sizes := t.Load(d.At.PgsizeBitmap, 0)
	t.ALU(2, sizes)
	t.Branch(true, sizes)
	t.StackLoad(16)
	t.ALU(2, 0)
	t.Op(cpu.BitScan, sizes)
	t.ALU(6, t.Last())
	minPage := d.PgsizeBitmap & -d.PgsizeBitmap
	bad := (iova|size)&(minPage-1) != 0
	t.Branch(bad, t.Last())
	done := uint64(0)
	if !bad {
		t.Nop(1)
		t.ALU(1, 0)
		t.Branch(size == 0, t.Last())
		left := t.StackLoad(16)
		t.ALU(1, 0)
		t.Jump()
		top := t.Here()
		for done < size {
			bitmap := t.Load(d.At.PgsizeBitmap, 0)
			t.ALU(5, left)
			t.StackStore(24, t.Last())
			pgsize, count := d.pgsize(t, iova+done, iova+done, size-done, 24, bitmap)
			t.ALU(1, 0)
			t.StackLoad(0)
			t.ALU(2, 0)
			t.StackLoad(24)
			op := t.Load(d.At.OpUnmap, ops)
			n := d.driver.UnmapPages(t, op, iova+done, pgsize, count, g)
			t.Nop(1)
			t.ALU(1, 0)
			t.Branch(n != 0, t.Last())
			if n == 0 {
				break
			}
			if d.Env.Version == kernel.V7_3 { // a driver without generic page tables, see UseMapPages
				d.gathered(t, iova+done, n, g)
			}
			done += n
			t.Nop(1)
			t.ALU(3, 0)
			t.Loop(top, done < size, t.Last())
		}
		d.Env.TraceIOMMU(t, true, iova, 0, size, done)
		t.Jump()
	}
	c := t.StackLoad(32)
	t.Branch(false, t.LoadOp(guard, 0, c))
	t.ALU(1, 0)
	t.Frame(-40)
	t.Pop(6)
	t.Ret()
	return done
}

func (d *Domain) unmap73(t *cpu.Thread, iova, size uint64, g *Gather) uint64 {
	guard := kernel.StackGuard(d.Env.Version, t.CPU)
	t.Nop(1)
	t.Push(6)
	t.ALU(3, 0)
	t.Frame(16)
	typ := t.Mem(cpu.Load, d.At.Type, 4, 0, 0)
	t.StackStore(8, t.Load(guard, 0))
	t.ALU(2, typ)
	t.Branch(false, t.Mem(cpu.LoadOp, d.At.IsPT, 1, 0, 0))
	t.ALU(1, typ)
	t.Branch(false, typ)
	sizes := t.Load(d.At.PgsizeBitmap, 0)
	t.ALU(1, sizes)
	t.Branch(false, sizes)
	t.ALU(1, sizes)
	minPage := d.PgsizeBitmap & -d.PgsizeBitmap
	bad := (iova|size)&(minPage-1) != 0
	t.Branch(bad, sizes)
	done := uint64(0)
	if !bad {
		ptops := t.Load(d.At.PTOps, 0)
		t.ALU(1, 0)
		op := t.Load(d.At.OpUnmap, ptops)
		done = d.driver.UnmapRange(t, op, iova, size, g)
		t.ALU(1, 0)
		d.Env.TraceIOMMU(t, true, iova, 0, size, done)
		t.Jump()
	}
	c := t.StackLoad(8)
	t.Branch(false, t.LoadOp(guard, 0, c))
	t.Frame(-16)
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
	return done
}

// IovaToPhys returns the physical address that iova is mapped to, 0 if it is not (iommu_iova_to_phys).
func (d *Domain) IovaToPhys(t *cpu.Thread, iova uint64) uint64 {
	t.Call(fnIovaToPhys)
	return d.code.iovaToPhys(d, t, iova)
}

func (d *Domain) iovaToPhys(t *cpu.Thread, iova uint64) uint64 {
	t.Nop(2)
	typ := t.Mem(cpu.Load, d.At.Type, 4, 0, 0)
	t.ALU(1, typ)
	t.Branch(false, typ) // IOMMU_DOMAIN_IDENTITY
	t.ALU(1, typ)
	t.Branch(false, typ) // IOMMU_DOMAIN_BLOCKED
	ops := t.Load(d.At.Ops, 0)
	op := t.Load(d.At.OpIovaToPhys, ops)
	return d.driver.IovaToPhys(t, op, iova)
}
