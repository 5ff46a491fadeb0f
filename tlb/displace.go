package tlb

// Displace does what n lookups of distinct pages by somebody else would do, spread evenly over the sets, whose
// translations nobody will ask for again. Under LRU in sets of up to 16 ways it takes constant time: an entry is gone
// once as many entries of its set, foreign ones included, were used after it as the set has ways. Otherwise
// foreign entries are inserted, at most twice the capacity.
func (c *Cache) Displace(n int) {
	if n <= 0 {
		return
	}
	if c.policy == LRU && c.wide == nil {
		c.foreign += uint64(n)
		return
	}
	s := c.Stats
	for range min(n, 2*len(c.keys)) {
		c.foreign++
		c.Insert(foreignDomain, c.foreign*hashFactor>>12, c.cfg.PageShifts[0], 0)
	}
	s.Evictions = c.Stats.Evictions
	c.Stats = s
}

// foreignDomain is the domain of entries inserted by Displace.
const foreignDomain = ^uint32(0)

// displaced reports whether Displace has pushed out slot i, which is alive.
func (c *Cache) displaced(i int) bool {
	m := &c.meta[i]
	if m.seen == c.foreign || c.policy != LRU || c.wide != nil {
		return false
	}
	// The sets take turns in an order that spreads a small n.
	set := uint64(i) / c.ways
	turn := set * 0x9e3779b1 & c.setMask
	younger := (c.foreign+turn)>>c.setShift - (m.seen+turn)>>c.setShift
	if younger >= c.ways {
		return true
	}
	base := int(set * c.ways)
	for j := base; j < base+int(c.ways); j++ {
		if c.keys[j] != noKey && c.meta[j].used > m.used {
			younger++
		}
	}
	return younger >= c.ways
}
