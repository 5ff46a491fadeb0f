package tlb

// InvalidatePage drops the translation of one page of one size and reports whether there was one.
func (c *Cache) InvalidatePage(dom uint32, page uint64, shift uint8) bool {
	i := c.find(page<<6|uint64(shift), page, dom)
	if i < 0 {
		return false
	}
	was := c.alive(i) && !c.displaced(i)
	c.drop(i)
	if was {
		c.Stats.Dropped++
	}
	return was
}

// InvalidateRange drops every translation of dom, of any size, whose page overlaps the addresses first to last,
// inclusive, and returns how many there were. It looks each page up or sweeps all entries, whichever is less.
func (c *Cache) InvalidateRange(dom uint32, first, last uint64) (n int) {
	sweep := false
	for _, s := range c.shifts {
		pages := last>>s - first>>s
		if pages >= uint64(len(c.keys))/c.lookupCost() {
			sweep = true
			continue
		}
		for p := first >> s; ; p++ {
			if c.InvalidatePage(dom, p, s) {
				n++
			}
			if p == last>>s {
				break
			}
		}
	}
	if sweep {
		n += c.sweep(dom, first, last)
	}
	return n
}

// lookupCost is about how many slots one find looks at.
func (c *Cache) lookupCost() uint64 { return min(c.ways, 4) }

func (c *Cache) sweep(dom uint32, first, last uint64) (n int) {
	for i, k := range c.keys {
		if k == noKey || c.meta[i].dom != dom {
			continue
		}
		s, p := k&63, k>>6
		if p < first>>s || p > last>>s {
			continue
		}
		if c.alive(i) && !c.displaced(i) {
			n++
		}
		c.drop(i)
	}
	c.Stats.Dropped += uint64(n)
	return n
}

// drop empties slot i.
func (c *Cache) drop(i int) {
	if c.live != nil {
		c.live.loses(c, i)
	}
	if c.wide != nil {
		c.wide.unhash(c, i)
		c.wide.free(i)
	}
	c.keys[i] = noKey
}

// InvalidateDomain drops all translations of dom: in constant time for domains below 4096, by a sweep for others.
func (c *Cache) InvalidateDomain(dom uint32) {
	c.Stats.Flushes++
	if dom < denseDoms {
		if c.domDead == nil {
			c.domDead = make([]uint64, denseDoms)
		}
		if c.live != nil {
			c.live.losesDomain(dom)
		}
		c.domDead[dom] = c.born
		return
	}
	for i, k := range c.keys {
		if k != noKey && c.meta[i].dom == dom {
			c.drop(i)
		}
	}
}

// InvalidateAll drops everything in constant time.
func (c *Cache) InvalidateAll() {
	c.Stats.Flushes++
	c.allDead = c.born
	if c.live != nil {
		*c.live = live{}
	}
}

// Len counts the live entries by looking at all of them; it is for tests and reports.
func (c *Cache) Len() (n int) {
	for i, k := range c.keys {
		if k != noKey && c.alive(i) && !c.displaced(i) {
			n++
		}
	}
	return n
}
