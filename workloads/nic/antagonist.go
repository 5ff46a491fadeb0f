package nic

import (
	"dmapath/cpu"
	"dmapath/sim"
)

// compete lets the process that competes with the application run for a slice. It computes and touches no memory; interrupts go before
// it, at the next microsecond, and its time is not the transfer's.
func (p *poller) compete(t *cpu.Thread) {
	for left := p.d.cfg.Stream.Slice; left > 0 && !p.d.done && p.err == nil; {
		if p.irq {
			p.softirq(t)
			continue
		}
		step := min(left, sim.Microsecond)
		t.WaitUntil(cpu.StallIdle, t.Now()+step)
		p.idle += step
		left -= step
	}
}

// streamLines is how many lines an antagonist of memory touches between two looks at the clock.
const streamLines = 128

// antagonize streams through a window of memory on a CPU of its own until the run is over, line by line and around again: every line
// is read and, with writes, written. The loads do not depend on each other, so as many are under way as the core allows.
func (d *driver) antagonize(t *cpu.Thread, base uint64) {
	lines := uint64(d.cfg.Stream.MemoryWindow / 64)
	top := t.Here()
	for at := uint64(0); !d.done; {
		t.Back(top)
		for range streamLines {
			v := t.Load(base+at*64, 0)
			if d.cfg.Stream.MemoryWrites {
				t.Store(base+at*64, 0, v)
			}
			t.ALU(1, 0)
			if at++; at == lines {
				at = 0
			}
		}
		t.Sync()
		d.antagonized += streamLines * 64
	}
}
