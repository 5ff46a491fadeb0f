package locking_test

import (
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
	"dmapath/kernel/recorded"
)

var versions = []kernel.Version{kernel.V6_12, kernel.V7_3}

// Every function costs what the recordings say, whether the lock is shared or local.
func TestInstructionsOfLockFunctions(t *testing.T) {
	l := &cpu.LockWord{VA: 0xffff888000001000}
	const va = 0xffffed0000100040
	type fn struct {
		name   string
		v      kernel.Version
		key    string
		symbol string
		body   func(t *cpu.Thread, v kernel.Version)
	}
	tests := []fn{}
	both := func(name, symbol string, key12, key73 string, body func(t *cpu.Thread, v kernel.Version)) {
		tests = append(tests, fn{name, kernel.V6_12, "6.12/" + key12, symbol, body}, fn{name, kernel.V7_3, "7.3/" + key73, symbol, body})
	}
	const burst12, burst73 = "iommu-strict/burst_map_page/4096/variant0", "iommu-strict/burst_map_page/4096/variant0"
	both("irqsave", "_raw_spin_lock_irqsave", "iommu-strict/map_page/4096", "iommu-strict/map_page/4096",
		func(t *cpu.Thread, v kernel.Version) {
			locking.SpinLockIrqsave(t, v, l)
			locking.SpinUnlockIrqrestore(t, v, l)
		})
	both("local irqsave", "_raw_spin_lock_irqsave", "iommu-strict/map_page/4096", "iommu-strict/map_page/4096",
		func(t *cpu.Thread, v kernel.Version) { locking.LocalLockIrqsave(t, v, va) })
	both("local irqrestore", "_raw_spin_unlock_irqrestore", burst12, "iommu-strict/map_page/4096",
		func(t *cpu.Thread, v kernel.Version) { locking.LocalUnlockIrqrestore(t, v, va) })
	both("lock", "_raw_spin_lock", burst12, burst73, func(t *cpu.Thread, v kernel.Version) { locking.LocalLock(t, v, va) })
	both("unlock", "_raw_spin_unlock", burst12, burst73, func(t *cpu.Thread, v kernel.Version) { locking.LocalUnlock(t, v, va) })
	both("trylock", "_raw_spin_trylock", "iommu-strict/cold_map_page/4096/variant1", "iommu-strict/cold_map_page/4096/variant1",
		func(t *cpu.Thread, v kernel.Version) { locking.LocalTrylock(t, v, va) })
	for _, c := range tests {
		t.Run(c.name+"@"+c.v.String(), func(t *testing.T) {
			ops := recorded.Run(func(th *cpu.Thread) { c.body(th, c.v) })
			// recordings mix nested and outermost unlocks and pending reschedules: one instruction per call either way
			tol := recorded.Exact
			if c.symbol == "_raw_spin_unlock_irqrestore" {
				tol.Function = 0.01
			}
			recorded.CheckFunction(t, ops, c.key, c.symbol, tol)
		})
	}
}

// The stack is balanced and the lock is free again after each pair.
func TestPairsLeaveTheLockFree(t *testing.T) {
	for _, v := range versions {
		l := &cpu.LockWord{VA: 0xffff888000001000}
		recorded.Run(func(th *cpu.Thread) {
			locking.SpinLockIrqsave(th, v, l)
			if l.Holder() != th.Proc {
				t.Errorf("%v: lock is not held between lock and unlock", v)
			}
			locking.SpinUnlockIrqrestore(th, v, l)
			locking.SpinLock(th, v, l)
			locking.SpinUnlock(th, v, l)
			if l.Holder() != nil {
				t.Errorf("%v: lock is held after unlock", v)
			}
			if th.Depth() != 0 {
				t.Errorf("%v: %d functions did not return", v, th.Depth())
			}
		})
		if l.Acquired != 2 || l.Contended != 0 {
			t.Errorf("%v: taken %d times, %d contended; want 2 and 0", v, l.Acquired, l.Contended)
		}
	}
}
