package swiotlb

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
	"dmapath/kernel/locking"
)

var fnBounce = cpu.NewFunc("swiotlb_bounce", "kernel/dma/swiotlb.c", 480)

// way is which way a bounce copies.
type way bool

const (
	toPool   way = true  // DMA_TO_DEVICE
	fromPool way = false // DMA_FROM_DEVICE
)

// bounce emits a call of swiotlb_bounce: size bytes between the pool at tlb and the memory it stands for.
func (m *Mem) bounce(t *cpu.Thread, d *kernel.Device, p *Pool, tlb, size uint64, w way) {
	t.Call(fnBounce)
	m.bounceBody(t, d, p, tlb, size, w)
}

// tailBounce is bounce as the last thing a function does.
func (m *Mem) tailBounce(t *cpu.Thread, d *kernel.Device, p *Pool, tlb, size uint64, w way) {
	t.TailCall(fnBounce)
	m.bounceBody(t, d, p, tlb, size, w)
}

func (m *Mem) bounceBody(t *cpu.Thread, d *kernel.Device, p *Pool, tlb, size uint64, w way) {
	e := m.Env
	i := int((tlb - p.Start) >> SlotShift)
	t.Nop(1)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	rel := t.ALU(1, t.LoadOp(p.va+poolStart, 0, 0))
	host := t.LoadOp(p.va+poolVaddr, 0, rel)
	k := t.Chain(3, rel)
	slots := t.Load(p.va+poolSlotArray, 0)
	va := t.ALU2(slots, k)
	orig := t.Load(p.slotVA(i)+slotOrig, va)
	none := p.slots[i].orig == invalid
	t.Branch(none, t.ALU(1, orig))
	if none {
		t.Pop(6)
		t.Ret()
		return
	}
	parms := t.Load(d.At.DmaParms, 0)
	t.ALU(3, 0)
	t.Branch(false, t.ALU(1, parms))
	t.ALU(4, t.Mem(cpu.Load, d.At.MinAlignMask, 4, parms, 0))
	alloc := t.Load(p.slotVA(i)+slotAlloc, va)
	// The offset in the slot is negative when the mapping was padded within it.
	off := int64(tlb&(SlotSize-1)) - int64(offset(d, 0, p.slots[i].orig))
	from := p.slots[i].orig + uint64(off)
	if left := p.slots[i].alloc - uint64(off); size > left { // dev_WARN_ONCE: the caller gave a size that it did not map
		size = left
	}
	t.Branch(false, t.ALU(3, alloc))
	m.Stats.Copies++
	m.Stats.Bytes += size
	if w == fromPool && e.Version == kernel.V7_3 && coherency.Needed(e, d) {
		coherency.Flush(t, e)
	}
	if e.Highmem(t, from, orig) {
		m.copyPages(t, p, tlb, from, size, w)
		t.Pop(6)
		t.Ret()
		return
	}
	base := t.Load(e.Sym.PageOffsetBase, 0)
	t.ALU(2, host)
	src := t.ALU2(base, orig)
	t.ALU(1, src)
	t.Branch(w == fromPool, t.ALU(1, 0))
	if w == toPool {
		t.ALU(2, src)
	}
	t.ALU(1, 0)
	t.Pop(6)
	e.Copies(t, from, size)
	if !e.Touch(t, from, size) {
		t.Ret()
		return
	}
	m.moved(tlb, from, size, w)
	if w == toPool {
		e.TailMemcpy(t, kernel.Virt(tlb), kernel.Virt(from), int(size), host, src)
	} else {
		e.TailMemcpy(t, kernel.Virt(from), kernel.Virt(tlb), int(size), src, host)
	}
}

// moved tells the oracle of a copy.
func (m *Mem) moved(tlb, from, size uint64, w way) {
	switch u := m.Env.Truth; {
	case u == nil:
	case w == toPool:
		u.Copy(tlb, from, size)
	default:
		u.Copy(from, tlb, size)
	}
}

// copyPages emits the loop over the pages of a buffer in highmem: each is mapped, copied and unmapped with interrupts off.
func (m *Mem) copyPages(t *cpu.Thread, p *Pool, tlb, from, size uint64, w way) {
	e := m.Env
	top := t.Here()
	for size > 0 {
		n := min(size, 4096-from&4095)
		locking.IrqSave(t)
		at := e.Kmap(t, from)
		e.Copies(t, from, n)
		m.moved(tlb, from, n, w)
		if w == toPool {
			e.Memcpy(t, kernel.Virt(tlb), kernel.Virt(from), int(n), 0, at)
		} else {
			e.Memcpy(t, kernel.Virt(from), kernel.Virt(tlb), int(n), at, 0)
		}
		e.Kunmap(t, from)
		t.Op(cpu.IrqFlag, 0)
		size, from, tlb = size-n, from+n, tlb+n
		t.Loop(top, size > 0, t.ALU(5, 0))
	}
}
