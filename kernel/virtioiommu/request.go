package virtioiommu

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu/virtiotable"
	"dmapath/kernel"
	"dmapath/kernel/locking"
)

const fileDriver = "drivers/iommu/virtio-iommu.c"

var (
	fnAddReq    = cpu.NewFunc("viommu_add_req", fileDriver, 110)
	fnAddReqLk  = cpu.NewFunc("__viommu_add_req", fileDriver, 520)
	fnSyncReq   = cpu.NewFunc("viommu_sync_req", fileDriver, 100)
	fnSyncReqLk = cpu.NewFunc("__viommu_sync_req", fileDriver, 240)
	fnSendReq   = cpu.NewFunc("viommu_send_req_sync", fileDriver, 200)
)

// barrier is virtio_wmb: a fence on arm64, where stores may become visible in any order, and nothing on x86.
func barrier(t *cpu.Thread) {
	if t.ISA == cpu.A64 {
		t.Op(cpu.Fence, 0)
	}
}

// kmalloc allocates zeroed memory from one of the driver's sizes; sized says that the size is found at run time (__kmalloc) and not by the
// compiler (kmalloc_trace).
func (u *Unit) kmalloc(t *cpu.Thread, size int, sized bool) uint64 {
	if sized {
		t.ALU(6, 0)
		i := t.Mem(cpu.Load, u.sizeVA, 1, t.Last(), 0) // kmalloc_size_index
		t.ALU(2, i)
	}
	t.Load(u.sizeVA+64+uint64(size)*8, 0)
	return u.kmem[size].Alloc(t)
}

func (u *Unit) kfree(t *cpu.Thread, size int, va uint64) { u.kmem[size].Free(t, va) }

// Layout of struct viommu_request: list, writeback, write_offset, len, buf.
const (
	reqBuf    = 32
	reqBytes  = 96
	reqSmall  = 64
	listNext  = 0
	listPrev  = 8
	reqOffset = 24
)

func sizeOf(typ virtiotable.Type) int {
	if reqBuf+typ.Bytes() > reqSmall {
		return kmalloc96
	}
	return kmalloc64
}

// addReq is viommu_add_req: a request goes into the queue, and nobody is told.
func (u *Unit) addReq(t *cpu.Thread, q *virtiotable.Request) {
	t.Call(fnAddReq)
	t.Nop(2)
	t.Push(4)
	t.ALU(3, 0)
	locking.SpinLockIrqsave(t, u.Env.Version, &u.lock)
	t.ALU(3, 0)
	u.addLocked(t, q, false)
	t.Branch(false, t.ALU(1, 0))
	locking.SpinUnlockIrqrestore(t, u.Env.Version, &u.lock)
	t.ALU(1, 0)
	t.Pop(4)
	t.Ret()
}

// addLocked is __viommu_add_req; the request lock is held.
func (u *Unit) addLocked(t *cpu.Thread, q *virtiotable.Request, writeback bool) (head uint16) {
	t.Call(fnAddReqLk)
	t.Nop(1)
	t.Push(6)
	t.Frame(112)
	t.StackStore(104, t.Load(kernel.StackGuard(u.Env.Version, t.CPU), 0))
	t.Load(u.va+uQueue, 0)
	t.Branch(false, t.ALU(2, 0)) // VIRTIO_IOMMU_T_PROBE
	n := q.Type.Bytes()
	size := sizeOf(q.Type)
	req := u.kmalloc(t, size, true)
	t.Branch(false, t.ALU(1, 0))
	t.Mem(cpu.Store, req+reqOffset+4, 4, 0, 0)
	t.Branch(writeback, t.ALU(1, 0))
	if writeback {
		t.Store(req+16, 0, 0)
		t.Mem(cpu.Store, req+reqOffset, 4, 0, 0)
	}
	for off := uint64(0); off < uint64(n-virtiotable.TailBytes); off += 8 { // memcpy from the caller's stack
		t.Store(req+reqBuf+off, 0, t.StackLoad(int(off)))
	}
	q.Encode(u.Env.Mem, kernel.Phys(req+reqBuf))
	for i := range 2 { // sg_init_one
		t.ALU(8, 0)
		for off := range 3 {
			t.StackStore(i*32+off*8, 0)
		}
		t.StackStore(80+i*8, 0)
	}
	full := !u.vq.room()
	if full {
		u.Full++
		t.ALU(6, 0)
		u.syncLocked(t)
	}
	head = u.add(t, req+reqBuf, n)
	t.Branch(false, t.ALU(1, 0))
	u.heads[head] = pendingRequest{req, q.Type}
	t.Store(u.va+uRequests+listPrev, 0, t.Load(u.va+uRequests+listPrev, 0)) // list_add_tail
	t.Store(req+listNext, 0, 0)
	t.Store(req+listPrev, 0, 0)
	if u.pending > 0 {
		t.Store(u.tail+listNext, 0, 0)
	} else {
		t.Store(u.va+uRequests+listNext, 0, 0)
	}
	u.tail = req
	u.pending++
	u.Requests++
	g := t.StackLoad(104)
	t.Branch(false, t.LoadOp(kernel.StackGuard(u.Env.Version, t.CPU), 0, g))
	t.Frame(-112)
	t.Pop(6)
	t.Ret()
	return head
}

// syncReq is viommu_sync_req: the device is told, and every request that was queued by anybody is waited for.
func (u *Unit) syncReq(t *cpu.Thread) {
	t.Call(fnSyncReq)
	t.Nop(2)
	t.Push(3)
	t.ALU(2, 0)
	locking.SpinLockIrqsave(t, u.Env.Version, &u.lock)
	t.ALU(2, 0)
	u.syncLocked(t)
	t.Branch(false, t.ALU(1, 0))
	locking.SpinUnlockIrqrestore(t, u.Env.Version, &u.lock)
	t.ALU(1, 0)
	t.Pop(3)
	t.Ret()
}

// syncLocked is __viommu_sync_req. The lock is held.
func (u *Unit) syncLocked(t *cpu.Thread) {
	t.Call(fnSyncReqLk)
	t.Nop(1)
	t.Push(5)
	t.Load(u.va+uQueue, 0)
	u.kick(t)
	looks := 0
	for top := t.Here(); ; {
		l := t.Load(u.va+uRequests, 0)
		t.Branch(u.pending == 0, t.ALU(1, l))
		if u.pending == 0 {
			break
		}
		t.ALU(2, 0)
		t.Mem(cpu.Store, t.SP(), 4, 0, 0)
		head, ok := u.getBuf(t)
		t.Branch(!ok, t.ALU(1, 0))
		if !ok {
			if looks++; looks > 1000 {
				panic(fmt.Sprintf("virtioiommu: the device at %#x leaves %d requests unused after a notification", u.regVA, u.pending))
			}
			t.Back(top)
			continue
		}
		req := u.heads[head]
		t.Branch(false, t.Mem(cpu.LoadOp, t.SP(), 4, 0, 0)) // nothing written: IOERR
		t.Mem(cpu.Load, req.va+reqOffset, 8, 0, 0)
		t.Branch(true, t.Load(req.va+16, 0)) // no writeback
		nx, pv := t.Load(req.va+listNext, 0), t.Load(req.va+listPrev, 0)
		t.Store(u.va+uRequests+listPrev, nx, pv) // list_del: requests are used in order
		t.Store(u.va+uRequests+listNext, pv, nx)
		t.Store(req.va+listNext, 0, 0)
		t.Store(req.va+listPrev, 0, 0)
		u.pending--
		status := virtiotable.StatusOf(u.Env.Mem, kernel.Phys(req.va+reqBuf), req.typ.Bytes())
		if status != virtiotable.OK && req.typ != virtiotable.Attach {
			// The kernel does not look at what it did not ask to be written back.
			panic(fmt.Sprintf("virtioiommu: the device at %#x answers %v to a request of type %d", u.regVA, status, req.typ))
		}
		u.kfree(t, sizeOf(req.typ), req.va)
		t.Back(top)
	}
	t.ALU(1, 0)
	t.Pop(5)
	t.Ret()
}

// send is viommu_send_req_sync: a request whose answer is wanted.
func (u *Unit) send(t *cpu.Thread, q *virtiotable.Request) virtiotable.Status {
	t.Call(fnSendReq)
	t.Nop(2)
	t.Push(4)
	locking.SpinLockIrqsave(t, u.Env.Version, &u.lock)
	head := u.addLocked(t, q, true)
	req := u.heads[head]
	t.Branch(false, t.ALU(1, 0))
	u.syncLocked(t)
	t.ALU(2, 0)
	status := virtiotable.StatusOf(u.Env.Mem, kernel.Phys(req.va+reqBuf), q.Type.Bytes())
	t.JumpInd(8, t.ALU(2, 0))
	locking.SpinUnlockIrqrestore(t, u.Env.Version, &u.lock)
	t.Pop(4)
	t.Ret()
	return status
}
