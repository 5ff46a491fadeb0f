package tlb

// live counts live entries as they come and go.
type live struct {
	n      int
	domain [denseDoms]int32 // of them, by domain, of those that are invalidated in constant time
}

// CountLive makes Live work from now on; the cache must be empty. It does not see what Displace does.
func (c *Cache) CountLive() { c.live = new(live) }

// Live returns how many entries are live, in constant time, after CountLive. Len counts them.
func (c *Cache) Live() int { return c.live.n }

// inserts counts an insertion into slot i, which holds the key already, or into another one when i is negative.
func (l *live) inserts(c *Cache, i int, dom uint32) {
	if i >= 0 && c.alive(i) {
		return
	}
	l.n++
	if dom < denseDoms {
		l.domain[dom]++
	}
}

// loses counts that slot i is emptied or given to another key.
func (l *live) loses(c *Cache, i int) {
	if c.keys[i] == noKey || !c.alive(i) {
		return
	}
	l.n--
	if d := c.meta[i].dom; d < denseDoms {
		l.domain[d]--
	}
}

func (l *live) losesDomain(dom uint32) {
	l.n -= int(l.domain[dom])
	l.domain[dom] = 0
}
