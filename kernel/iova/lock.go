package iova

import (
	"dmapath/cpu"
	"dmapath/kernel/locking"
)

// lockTree takes iova_rbtree_lock, for which all CPUs that use the domain compete.
func (d *Domain) lockTree(e emitter) {
	if e.t != nil {
		locking.SpinLockIrqsave(e.t, d.v, &d.lock)
	}
}

func (d *Domain) unlockTree(e emitter) {
	if e.t != nil {
		locking.SpinUnlockIrqrestore(e.t, d.v, &d.lock)
	}
}

// lockDepot and unlockDepot take an order's depot lock, with interrupts off already.
func (d *Domain) lockDepot(e emitter, r *rcache) {
	if e.t != nil {
		locking.SpinLock(e.t, d.v, &r.lock)
	}
}

func (d *Domain) unlockDepot(e emitter, r *rcache) {
	if e.t != nil {
		locking.SpinUnlock(e.t, d.v, &r.lock)
	}
}

func (d *Domain) lockDepotIrqsave(e emitter, r *rcache) {
	if e.t != nil {
		locking.SpinLockIrqsave(e.t, d.v, &r.lock)
	}
}

func (d *Domain) unlockDepotIrqrestore(e emitter, r *rcache) {
	if e.t != nil {
		locking.SpinUnlockIrqrestore(e.t, d.v, &r.lock)
	}
}

// lockCPU takes a CPU's rcache lock from that CPU. Nobody else takes it except a flush of all caches, so it ends no
// segment; hold makes the rare flush wait for real.
func (d *Domain) lockCPU(e emitter, r *cpuRcache) {
	if e.t != nil {
		locking.LocalLockIrqsave(e.t, d.v, r.VA)
		hold(e.t, &r.lock)
	}
}

func (d *Domain) unlockCPU(e emitter, r *cpuRcache) {
	if e.t != nil {
		locking.LocalUnlockIrqrestore(e.t, d.v, r.VA)
		r.lock.Unlock(e.t.Proc)
	}
}

func hold(t *cpu.Thread, l *cpu.LockWord) {
	if !l.TryLock(t.Proc) {
		t.Sync()
		l.Wait(t.Proc)
	}
}

// tailUnlockCPU is unlockCPU as the last thing a function does: a jump instead of a call.
func (d *Domain) tailUnlockCPU(e emitter, r *cpuRcache) {
	if e.t != nil {
		locking.TailLocalUnlockIrqrestore(e.t, d.v, r.VA)
		r.lock.Unlock(e.t.Proc)
	}
}
