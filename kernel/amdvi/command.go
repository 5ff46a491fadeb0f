package amdvi

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu/amdtable"
	"dmapath/kernel"
	"dmapath/kernel/locking"
)

const (
	ringBytes = commands * amdtable.CommandSize
	// timeout is LOOP_TIMEOUT: how often a wait delays for a microsecond before it gives up.
	timeout = 100000
)

var (
	fnQueue = cpu.NewFunc("iommu_queue_command_sync", fileDriver, 110)
	fnPut   = cpu.NewFunc("__iommu_queue_command_sync", fileDriver, 260)
	fnWait  = cpu.NewFunc("iommu_completion_wait", fileDriver, 240)
	fnSem   = cpu.NewFunc("wait_on_sem", fileDriver, 120)
)

// queueCommand is iommu_queue_command_sync: under the IOMMU's lock, one command into the ring. sync says that a later
// completion wait has to wait for it; from is where the command lies.
func (u *Unit) queueCommand(t *cpu.Thread, c amdtable.Command, sync bool, from uint64) {
	t.Call(fnQueue)
	t.Nop(1)
	t.Push(4)
	t.ALU(4, 0)
	locking.SpinLockIrqsave(t, u.Env.Version, &u.ring.lock)
	t.ALU(3, 0)
	u.put(t, c, sync, from)
	t.ALU(3, 0)
	locking.SpinUnlockIrqrestoreNested(t, u.Env.Version, &u.ring.lock)
	t.ALU(1, 0)
	t.Pop(4)
	t.Ret()
}

// put is __iommu_queue_command_sync with copy_cmd_to_buffer: it waits for room, copies 16 bytes behind the tail and writes the
// tail register. The IOMMU's lock is held.
func (u *Unit) put(t *cpu.Thread, c amdtable.Command, sync bool, from uint64) {
	r := &u.ring
	t.Call(fnPut)
	t.Nop(1)
	t.Push(5)
	t.ALU(2, 0)
	tail := t.Mem(cpu.Load, u.va+uCmdTail, 4, 0, 0)
	next := t.ALU(3, tail)
	free := (r.head - r.tail - amdtable.CommandSize) & (ringBytes - 1)
	for top, looks := t.Here(), 0; ; looks++ {
		h := t.Mem(cpu.Load, u.va+uCmdHead, 4, 0, 0)
		left := t.ALU(3, t.ALU2(h, next))
		full := free <= 0x20
		t.Branch(full, left)
		if !full {
			break
		}
		t.ALU(2, 0)
		t.Branch(looks == 0, t.Last())
		if looks > 0 {
			if looks == timeout {
				panic(fmt.Sprintf("amdvi: the command buffer of the unit at %#x stays full", u.RegVA))
			}
			u.delay.Udelay(t, 1, cpu.StallInv)
		}
		reg := t.Load(u.va+uMMIO, 0)
		val, v := t.MMIORead(u.hw, u.RegVA+amdtable.RegCmdHead, reg)
		t.Mem(cpu.Store, u.va+uCmdHead, 4, 0, v)
		r.head = int(val & amdtable.RingMask)
		free = (r.head - r.tail - amdtable.CommandSize) & (ringBytes - 1)
		t.Back(top)
	}
	buf := t.Load(u.va+uCmdBuf, 0)
	dst := t.ALU(2, max(buf, tail))
	slot := r.base + uint64(r.tail)
	for off := uint64(0); off < amdtable.CommandSize; off += 8 {
		t.Store(slot+off, dst, t.Load(from+off, 0))
	}
	w := c.Encode()
	u.Env.Mem.Write64(kernel.Phys(slot), w[0])
	u.Env.Mem.Write64(kernel.Phys(slot)+8, w[1])
	r.tail = (r.tail + amdtable.CommandSize) % ringBytes
	n := t.ALU(2, tail)
	t.Mem(cpu.Store, u.va+uCmdTail, 4, 0, n)
	reg := t.Load(u.va+uMMIO, 0)
	t.ALU(1, reg)
	t.MMIOWrite(u.hw, u.RegVA+amdtable.RegCmdTail, uint64(r.tail), reg, n)
	r.needSync = sync
	t.Mem(cpu.Store, u.va+uNeedSync, 1, 0, 0)
	t.ALU(1, 0)
	t.Pop(5)
	t.Ret()
}

// completionWait is iommu_completion_wait: it queues a command that stores the next sequence number when all before it are
// done, unless nothing was queued since the last one, and waits for the number without the IOMMU's lock.
func (u *Unit) completionWait(t *cpu.Thread) {
	r := &u.ring
	t.Call(fnWait)
	t.Nop(1)
	t.Push(4)
	t.Frame(32)
	guard := kernel.StackGuard(u.Env.Version, t.CPU)
	t.StackStore(24, t.Load(guard, 0))
	t.ALU(2, 0)
	locking.SpinLockIrqsave(t, u.Env.Version, &r.lock)
	s := t.Mem(cpu.LoadOp, u.va+uNeedSync, 1, 0, 0)
	covered := !r.needSync
	t.Branch(covered, s)
	if covered {
		u.Shared++
		t.Load(u.va+uSemVal, 0)
	} else {
		seq := t.ALU(1, t.Load(u.va+uSemVal, 0))
		t.Store(u.va+uSemVal, 0, seq)
		r.last++
		pa := t.Load(u.va+uSemPaddr, 0)
		t.StackStore(0, t.ALU(3, pa))
		t.StackStore(8, seq)
		t.ALU(6, pa)
		u.put(t, amdtable.Command{Op: amdtable.CompletionWait, Store: kernel.Phys(r.sem), Data: r.last}, false, t.SP())
	}
	seq := r.last
	t.ALU(3, 0)
	locking.SpinUnlockIrqrestoreNested(t, u.Env.Version, &r.lock)
	t.Branch(false, t.ALU(1, 0))
	u.waitOnSem(t, seq)
	g := t.StackLoad(24)
	t.Branch(false, t.LoadOp(guard, 0, g))
	t.Frame(-32)
	t.Pop(4)
	t.Ret()
}

// waitOnSem is wait_on_sem: it looks at the word that the hardware writes, and again after each microsecond, until the number
// there is seq or later.
func (u *Unit) waitOnSem(t *cpu.Thread, seq uint64) {
	u.Waits++
	t.Call(fnSem)
	t.Nop(1)
	t.Push(3)
	t.ALU(3, 0)
	for top, looks := t.Here(), 0; ; looks++ {
		p := t.Load(u.va+uSem, 0)
		w := t.Load(u.ring.sem, p)
		late := t.ALU(2, w)
		t.Sync()
		u.Polls++
		done := int64(u.Env.Mem.Read64(kernel.Phys(u.ring.sem))-seq) >= 0
		t.Branch(done, late)
		if done {
			t.Sees("completion seen", kernel.Phys(u.ring.sem))
			break
		}
		t.Branch(false, t.ALU(1, 0))
		if looks == timeout {
			panic(fmt.Sprintf("amdvi: the unit at %#x has not stored completion %d at %v; it stands at a command it rejects", u.RegVA, seq, t.Now()))
		}
		u.delay.Udelay(t, 1, cpu.StallInv)
		t.ALU(1, 0)
		t.Back(top)
	}
	t.Branch(false, t.ALU(1, 0)) // i == LOOP_TIMEOUT
	t.ALU(1, 0)
	t.Pop(3)
	t.Ret()
}
