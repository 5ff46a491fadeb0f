package cache

import "dmapath/sim"

// mshrs is a set of miss status holding registers: when each becomes free. A miss takes a free one or, if all are busy,
// the one that is free first. Merging needs no search here: a line in flight already stands in its array with the time
// of its arrival.
type mshrs struct {
	free []sim.Time
	at   int // the register that the next miss looks at first: in order of use, so most likely free
}

// inUse returns how many registers are occupied at t.
func (m *mshrs) inUse(t sim.Time) (n int) {
	for _, f := range m.free {
		if f > t {
			n++
		}
	}
	return n
}

// next returns when a register is free for a miss that arrives at now. hold then occupies it.
func (m *mshrs) next(now sim.Time) sim.Time {
	if m.free[m.at] > now {
		m.search(now)
	}
	return max(now, m.free[m.at])
}

// search turns to the first register that is free at now, or else to the one that is free first.
func (m *mshrs) search(now sim.Time) {
	best := m.at
	for i, t := range m.free {
		if t < m.free[best] {
			best = i
			if t <= now {
				break
			}
		}
	}
	m.at = best
}

// hold occupies the register that next found until done.
func (m *mshrs) hold(done sim.Time) {
	m.free[m.at] = done
	if m.at++; m.at == len(m.free) {
		m.at = 0
	}
}
