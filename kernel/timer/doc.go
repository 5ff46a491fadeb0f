// Package timer is as much of the kernel's timer wheel as the mapping paths use: mod_timer of the flush queue's timer
// and the delayed work of the IOVA depots (kernel/time/timer.c and kernel/workqueue.c, 6.12 and 7.3).
//
// Arming emits what the two Debian kernels execute for a timer that is not pending, from mod_timer or
// queue_delayed_work_on down to enqueue_timer, with the timer base of the CPU that arms. Expiry is an engine
// event: the wheel never fires early, so a timer of n jiffies runs at the first tick that is at least n+1 jiffies after
// the last one; with HZ=250 a 10 ms timer (3 jiffies) runs 12 to 16 ms after it was armed.
//
// Left out: the softirq's own walk over the wheel, cascading (the delays here fit the first level), moving a timer to
// another CPU while idle CPUs sleep (it runs on the CPU that armed it), and re-arming a pending timer, which neither
// user does.
package timer
