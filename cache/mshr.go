package cache

import "dmapath/sim"

// mshrs is a set of miss status holding registers: a binary heap of the times at which each becomes free. A miss takes
// the one that is free first and waits for it if it must. Merging needs no search here: a line in flight
// already stands in its array with the time of its arrival.
type mshrs []sim.Time

// next returns when a register is free for a miss that arrives at now.
func (m mshrs) next(now sim.Time) sim.Time { return max(now, m[0]) }

// hold occupies the register that next returned until done.
func (m mshrs) hold(done sim.Time) {
	i, n := 0, len(m)
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && m[c+1] < m[c] {
			c++
		}
		if m[c] >= done {
			break
		}
		m[i] = m[c]
		i = c
	}
	m[i] = done
}
