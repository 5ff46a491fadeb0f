// Package locking holds the spinlock functions of the modelled kernel: _raw_spin_lock and its relatives, as the two
// Debian kernels execute them (kernel/locking/spinlock.c with the queued spinlock), and saving and
// restoring of the interrupt flag.
//
// Each function exists twice. SpinLock and its relatives take a cpu.LockWord that several CPUs may want: taking and
// releasing it end a segment, a CPU that finds it held queues in first-come order, and its wait is charged to the
// caller. LocalLock and its relatives take a word that only the present CPU ever takes (the lock of a per-CPU
// IOVA cache): the same instructions, without a segment boundary, because nobody else can observe or delay them.
//
// An uncontended pair of irqsave and irqrestore is 17 + 11 instructions on 6.12 and 17 + 10 on 7.3: pushf and pop
// of the flags, cli, the preemption count, one locked compare-and-exchange, and the same backwards. 7.3 loses
// one instruction of padding.
//
// On arm64 6.12 inlines an uncontended lock into the caller, 7 instructions with irqsave, and 7.3 calls a function of 22. The slow path
// is the x86-64 one.
//
// Left out: paravirtual locks, lock debugging, PREEMPT_RT (where these are sleeping locks), and the
// reschedule that preempt_enable may cause: the counter never reaches zero with a reschedule pending.
package locking
