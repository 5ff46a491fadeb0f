package genericpt

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/locking"
)

// increaseTop is increase_top: it puts a new top table above the present one, whose first entry points to it, and makes the
// hardware use it. It returns again when the caller must look whether the table is large enough now.
func (d *Table) increaseTop(t *cpu.Thread, r *ptRange, m *mapArgs) iommucore.Errno {
	if d.grow == nil || shift(d.depth+1) >= 64 {
		return iommucore.ERANGE
	}
	t.Call(d.fn.increaseTop)
	t.Nop(1)
	t.Push(6)
	t.Frame(64)
	old := d.top
	top := t.Load(d.At.Top, 0)
	t.ALU(20, top) // _pt_top_range, pt_check_range, the next level's size
	t.Branch(false, t.Last())
	t.Mem(cpu.Load, d.At.NID, 4, 0, 0)
	page, ok := d.pages.Alloc(t)
	t.ALU(2, 0)
	t.Branch(!ok, t.Last())
	err := iommucore.Errno(0)
	if !ok {
		err = iommucore.ENOMEM
	} else {
		v := t.ALU(10, t.LoadOp(d.Env.Sym.PageOffsetBase, 0, 0))
		t.Mem(cpu.Atomic, page, 8, 0, v)
		d.write(page, d.fmt.Table(kernel.Phys(old), d.depth))
		lock := d.grow.TopLock(t)
		locking.SpinLockIrqsave(t, d.Env.Version, lock)
		same := t.LoadOp(d.At.Top, 0, top)
		lost := d.top != old
		t.Branch(lost, same)
		if lost {
			err = again
		} else {
			d.grow.ChangeTop(t, kernel.Phys(page), d.depth)
			t.Store(d.At.Top, 0, v)
			d.top = page
			d.depth++
			d.Tables++
		}
		locking.SpinUnlockIrqrestore(t, d.Env.Version, lock)
		if lost {
			d.pages.Free(t, page)
		}
	}
	t.Frame(-64)
	t.Pop(6)
	t.Ret()
	t.ALU(1, 0)
	t.Branch(err != 0, t.Last())
	t.Load(d.At.Top, 0) // pt_make_range once more
	t.ALU(8, t.Last())
	return err
}
