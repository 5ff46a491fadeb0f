package virtioiommu

import (
	"dmapath/cpu"
	"dmapath/iommu/virtiotable"
	"dmapath/kernel"
)

const fileRing = "drivers/virtio/virtio_ring.c"

var (
	fnAddSgs   = cpu.NewFunc("virtqueue_add_sgs", fileRing, 180)
	fnAdd      = cpu.NewFunc("virtqueue_add_split", fileRing, 1400)
	fnIndirect = cpu.NewFunc("alloc_indirect_split", fileRing, 140)
	fnKick     = cpu.NewFunc("virtqueue_kick", fileRing, 90)
	fnPrepare  = cpu.NewFunc("virtqueue_kick_prepare", fileRing, 160)
	fnNotify   = cpu.NewFunc("virtqueue_notify", fileRing, 80)
	fnVPNotify = cpu.NewFunc("vp_notify", "drivers/virtio/virtio_pci_common.c", 30)
	fnGetBuf   = cpu.NewFunc("virtqueue_get_buf_ctx_split", fileRing, 420)
	fnDetach   = cpu.NewFunc("detach_buf_split", fileRing, 340)
)

// queue is struct vring_virtqueue of the request queue, split, with indirect descriptors and event indices, as the driver and QEMU
// agree on them.
type queue struct {
	ring  virtiotable.Ring
	va    uint64 // struct vring_virtqueue
	state uint64 // desc_state, 16 bytes each
	extra uint64 // desc_extra, 16 bytes each

	free  []uint16                      // free descriptors; the last is free_head
	table [virtiotable.QueueSize]uint64 // indirect table of a head
	avail uint16                        // avail_idx_shadow
	added uint16                        // num_added
	used  uint16                        // last_used_idx
}

// Offsets in struct vring_virtqueue; estimates.
const (
	vNumFree = 40
	vFlags   = 80 // use_map_api, weak_barriers, broken, indirect, event
	vHead    = 88 // free_head, num_added
	vUsed    = 96
	vAvail   = 136
	vDesc    = 104
	vState   = 152
	vExtra   = 160
	vNotify  = 192
	vBytes   = 256
)

func (q *queue) init(env *kernel.Env) {
	q.ring = virtiotable.NewRing(kernel.Phys(env.Pages(2)))
	q.va = env.Slab(vBytes, 64)
	q.state, q.extra = env.Slab(virtiotable.QueueSize*16, 64), env.Slab(virtiotable.QueueSize*16, 64)
	for i := virtiotable.QueueSize - 1; i >= 0; i-- {
		q.free = append(q.free, uint16(i))
	}
}

// room reports whether a request fits.
func (q *queue) room() bool { return len(q.free) > 0 }

// add is virtqueue_add_sgs with virtqueue_add_split: n bytes at va of which the device writes the last TailBytes, by an indirect table.
// There is room.
func (u *Unit) add(t *cpu.Thread, va uint64, n int) (head uint16) {
	q, m := &u.vq, u.Env.Mem
	t.Call(fnAddSgs)
	t.Nop(2)
	t.Push(5)
	for range 2 { // the entries are counted
		t.ALU(6, 0)
		t.Branch(true, t.Last())
	}
	t.Call(fnAdd)
	t.Nop(1)
	t.Push(6)
	t.Frame(72)
	t.StackStore(64, t.Load(kernel.StackGuard(u.Env.Version, t.CPU), 0))
	t.Branch(false, t.Mem(cpu.LoadOp, q.va+vFlags, 1, 0, 0)) // broken
	t.ALU(3, 0)
	h := t.Mem(cpu.Load, q.va+vHead, 4, 0, 0)
	t.Branch(true, t.Mem(cpu.LoadOp, q.va+vFlags, 1, 0, 0)) // indirect
	t.Branch(true, t.Mem(cpu.LoadOp, q.va+vNumFree, 4, 0, 0))
	head = q.free[len(q.free)-1]
	q.free = q.free[:len(q.free)-1]
	t.Call(fnIndirect)
	t.Nop(1)
	t.Push(3)
	t.ALU(5, 0)
	table := u.kmalloc(t, kmalloc32, true)
	for i := range 2 { // desc[i].next
		t.Mem(cpu.Store, table+uint64(i)*16+14, 2, 0, 0)
	}
	t.ALU(4, 0)
	t.Pop(3)
	t.Ret()
	t.Branch(false, t.ALU(1, 0))
	split := uint64(n - virtiotable.TailBytes)
	pa, tpa := kernel.Phys(va), kernel.Phys(table)
	virtiotable.WriteDesc(m, tpa, 0, virtiotable.Desc{Addr: pa, Len: uint32(split), Flags: virtiotable.DescNext, Next: 1})
	virtiotable.WriteDesc(m, tpa, 1, virtiotable.Desc{Addr: pa + split, Len: virtiotable.TailBytes, Flags: virtiotable.DescWrite})
	for i := range uint64(2) {
		t.ALU(4, 0)
		t.Branch(false, t.Mem(cpu.LoadOp, q.va+vFlags, 1, 0, 0)) // vring_map_one_sg: no DMA API
		sg := t.StackLoad(int(i) * 32)                           // sg_phys
		t.ALU(6, sg)
		t.Store(table+i*16, t.Last(), 0)
		t.Mem(cpu.Store, table+i*16+8, 4, 0, 0)
		t.Mem(cpu.Store, table+i*16+12, 2, 0, 0)
		t.Mem(cpu.Load, table+i*16+14, 2, 0, 0)
		t.ALU(5, 0)
		t.Loop(t.Here(), false, t.Last())
	}
	// The indirect table itself: a descriptor of the ring with what the driver keeps of it.
	desc := kernel.Virt(q.ring.Desc) + uint64(head)*16
	base := t.Load(q.va+vDesc, h)
	virtiotable.WriteDesc(m, q.ring.Desc, int(head), virtiotable.Desc{Addr: tpa, Len: 2 * virtiotable.DescBytes, Flags: virtiotable.DescIndirect})
	t.ALU(4, base)
	t.Store(desc, base, 0)
	t.Mem(cpu.Store, desc+8, 4, base, 0)
	t.Mem(cpu.Store, desc+12, 2, base, 0)
	x := t.Load(q.va+vExtra, 0)
	t.Store(q.extra+uint64(head)*16, x, 0)
	t.Mem(cpu.Store, q.extra+uint64(head)*16+8, 4, x, 0)
	t.Mem(cpu.Store, q.extra+uint64(head)*16+12, 2, x, 0)
	next := t.Mem(cpu.Load, q.extra+uint64(head)*16+14, 2, x, 0)
	t.Mem(cpu.RMW, q.va+vNumFree, 4, 0, 0)
	t.Mem(cpu.Store, q.va+vHead, 4, 0, next)
	t.ALU(3, 0)
	t.Store(q.state+uint64(head)*16, t.Load(q.va+vState, 0), 0)
	t.Store(q.state+uint64(head)*16+8, 0, 0)
	q.table[head] = table
	// Into the available ring, then the index.
	a := t.Mem(cpu.Load, q.va+vAvail, 2, 0, 0)
	t.Mem(cpu.Store, kernel.Virt(q.ring.AvailAt(q.avail)), 2, t.ALU(3, a), h)
	virtiotable.Write16(m, q.ring.AvailAt(q.avail), head)
	barrier(t)
	q.avail++
	t.Mem(cpu.RMW, q.va+vAvail, 2, 0, 0)
	t.Mem(cpu.Store, kernel.Virt(q.ring.AvailIdx()), 2, 0, t.Last())
	virtiotable.Write16(m, q.ring.AvailIdx(), q.avail)
	q.added++
	t.Mem(cpu.RMW, q.va+vHead+4, 4, 0, 0)
	t.Branch(false, t.ALU(2, t.Last()))
	g := t.StackLoad(64)
	t.Branch(false, t.LoadOp(kernel.StackGuard(u.Env.Version, t.CPU), 0, g))
	t.Frame(-72)
	t.Pop(6)
	t.Ret()
	t.ALU(2, 0)
	t.Pop(5)
	t.Ret()
	return head
}

// kick is virtqueue_kick: a notification, unless the device says that it is still looking.
func (u *Unit) kick(t *cpu.Thread) {
	q := &u.vq
	t.Call(fnKick)
	t.Nop(1)
	t.Push(2)
	t.Call(fnPrepare)
	t.Nop(2)
	t.Push(2)
	if t.ISA == cpu.A64 {
		t.Op(cpu.Fence, 0) // virtio_mb
	} else {
		t.FenceLockAdd()
	}
	t.Mem(cpu.Load, q.va+vAvail, 2, 0, 0)
	t.Mem(cpu.RMW, q.va+vHead+4, 4, 0, 0)
	t.Branch(true, t.Mem(cpu.LoadOp, q.va+vFlags, 1, 0, 0)) // event
	e := t.Mem(cpu.Load, kernel.Virt(q.ring.AvailEvent()), 2, 0, 0)
	t.ALU(5, e)
	need := virtiotable.NeedsEvent(virtiotable.Read16(u.Env.Mem, q.ring.AvailEvent()), q.avail, q.avail-q.added)
	q.added = 0
	t.Pop(2)
	t.Ret()
	t.Branch(!need, t.ALU(1, 0))
	if need {
		u.Notifies++
		t.Call(fnNotify)
		t.Nop(1)
		t.Push(1)
		t.Branch(false, t.Mem(cpu.LoadOp, q.va+vFlags, 1, 0, 0))
		f := t.Load(q.va+vNotify, 0)
		t.CallInd(fnVPNotify, f)
		t.Nop(1)
		r := t.Load(q.va+vNotify+8, 0)
		t.MMIOWrite(u.hw, u.regVA+virtiotable.RegNotify, 0, r, t.ALU(1, 0))
		t.ALU(1, 0)
		t.Ret()
		t.Branch(false, t.ALU(1, 0))
		t.Pop(1)
		t.Ret()
	}
	t.Pop(2)
	t.Ret()
}

// getBuf is virtqueue_get_buf_ctx_split: the next request that the device has used; ok is false when there is none.
func (u *Unit) getBuf(t *cpu.Thread) (head uint16, ok bool) {
	q, m := &u.vq, u.Env.Mem
	t.Call(fnGetBuf)
	t.Nop(2)
	t.Push(5)
	t.Branch(false, t.Mem(cpu.LoadOp, q.va+vFlags, 1, 0, 0))
	l := t.Mem(cpu.Load, q.va+vUsed, 2, 0, 0)
	i := t.Mem(cpu.LoadOp, kernel.Virt(q.ring.UsedIdx()), 2, 0, l)
	t.Sync() // what the device has written by now
	ok = virtiotable.Read16(m, q.ring.UsedIdx()) != q.used
	t.Branch(!ok, i)
	if !ok {
		t.ALU(1, 0)
		t.Pop(5)
		t.Ret()
		return 0, false
	}
	t.Sees("completion seen", q.ring.UsedIdx())
	if t.ISA == cpu.A64 {
		t.Op(cpu.Fence, 0) // virtio_rmb
	}
	at := q.ring.UsedAt(q.used)
	head = uint16(virtiotable.Read32(m, at))
	id := t.Mem(cpu.Load, kernel.Virt(at), 4, t.ALU(2, l), 0)
	t.Mem(cpu.Load, kernel.Virt(at)+4, 4, l, 0)
	t.Branch(false, t.ALU(1, id))
	st := t.Load(q.state+uint64(head)*16, t.ALU(2, id))
	t.Branch(false, t.ALU(1, st))
	u.detach(t, head)
	q.used++
	t.Mem(cpu.RMW, q.va+vUsed, 2, 0, 0)
	t.Branch(true, t.Mem(cpu.LoadOp, q.va+vAvail+2, 2, 0, 0)) // no interrupts wanted
	t.ALU(2, 0)
	t.Pop(5)
	t.Ret()
	return head, true
}

// detach is detach_buf_split: the descriptor and its indirect table are free again.
func (u *Unit) detach(t *cpu.Thread, head uint16) {
	q := &u.vq
	x := q.extra + uint64(head)*16
	t.Call(fnDetach)
	t.Nop(1)
	t.Push(6)
	t.Store(q.state+uint64(head)*16, 0, 0)
	f := t.Mem(cpu.Load, x+12, 2, 0, 0)
	t.Branch(false, t.ALU(2, f)) // VRING_DESC_F_NEXT
	t.Branch(true, t.Mem(cpu.LoadOp, q.va+vFlags, 1, 0, 0))
	t.Mem(cpu.Store, x+14, 2, 0, t.Mem(cpu.Load, q.va+vHead, 4, 0, 0))
	t.Mem(cpu.Store, q.va+vHead, 4, 0, 0)
	t.Mem(cpu.RMW, q.va+vNumFree, 4, 0, 0)
	q.free = append(q.free, head)
	d := t.Load(q.state+uint64(head)*16+8, 0)
	t.Branch(false, t.ALU(1, d))
	t.Mem(cpu.Load, x+8, 4, 0, 0)
	for i := range uint64(2) { // BUG_ONs and vring_unmap_one_split_indirect
		t.Mem(cpu.Load, q.table[head]+i*16+12, 2, d, 0)
		t.Branch(false, t.ALU(2, t.Last()))
	}
	t.ALU(1, 0)
	u.kfree(t, kmalloc32, q.table[head])
	t.Store(q.state+uint64(head)*16+8, 0, 0)
	t.Pop(6)
	t.Ret()
}
