package tlb

import "math/bits"

// Stats counts what happened to a Cache since it was made or since the last ResetStats.
type Stats struct {
	Lookups   uint64 // calls of Lookup
	Hits      uint64 // lookups that found a live entry; the rest missed
	Inserts   uint64 // calls of Insert
	Evictions uint64 // live entries of another key that an Insert replaced
	Dropped   uint64 // live entries that InvalidatePage and InvalidateRange removed
	Flushes   uint64 // calls of InvalidateAll and InvalidateDomain
}

// Misses returns the lookups that found nothing.
func (s Stats) Misses() uint64 { return s.Lookups - s.Hits }

const (
	noKey      = ^uint64(0) // key of a slot that holds nothing: no page shift is 63
	smallWays  = 16         // sets up to this size are searched way by way, larger ones through a hash
	denseDoms  = 4096       // domains below this number are invalidated in constant time
	hashFactor = 0x9e3779b97f4a7c15
)

// Cache is a translation cache. It is not safe for concurrent use.
type Cache struct {
	Stats Stats

	keys []uint64 // page<<6 | shift, noKey when empty
	meta []slot

	ways, setMask uint64
	mru           int // slot of the last hit
	tick          uint64

	born    uint64   // number of the last insertion
	allDead uint64   // entries born at or before this are dead
	domDead []uint64 // the same by domain, nil until the first InvalidateDomain of a small domain

	policy Policy
	tree   []uint64 // PLRU bits by set
	rng    uint64

	foreign  uint64 // foreign entries of Displace so far
	setShift uint8  // log2 of the number of sets

	wide   *wide   // hash and recency list, for sets of more than smallWays
	live   *live   // nil unless CountLive was called
	shifts []uint8 // page sizes ever inserted, in that order, and as a set
	seen   uint64
	cfg    Config
}

type slot struct {
	val  uint64
	born uint64
	used uint64 // tick of the last use (LRU)
	seen uint64 // Cache.foreign at the last use (LRU)
	dom  uint32
}

// New returns an empty cache.
func New(cfg Config) (*Cache, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.PageShifts = append([]uint8(nil), cfg.PageShifts...)
	w := cfg.ways()
	c := &Cache{
		keys: make([]uint64, cfg.Entries), meta: make([]slot, cfg.Entries),
		ways: uint64(w), setMask: uint64(cfg.Entries/w) - 1,
		policy: cfg.Policy, setShift: uint8(bits.TrailingZeros(uint(cfg.Entries / w))), rng: (cfg.Seed+1)*hashFactor | 1, cfg: cfg,
	}
	for i := range c.keys {
		c.keys[i] = noKey
	}
	if cfg.Policy == PLRU {
		c.tree = make([]uint64, cfg.Entries/w)
	}
	if w > smallWays {
		c.wide = newWide(cfg.Entries, w)
	}
	return c, nil
}

// Config returns the geometry.
func (c *Cache) Config() Config { return c.cfg }

// ResetStats sets the counters to zero.
func (c *Cache) ResetStats() { c.Stats = Stats{} }

func (c *Cache) set(page uint64, dom uint32) uint64 {
	return (page ^ uint64(dom)*hashFactor>>40) & c.setMask
}

// alive reports whether slot i, whose key is not noKey, still counts.
func (c *Cache) alive(i int) bool {
	m := &c.meta[i]
	return m.born > c.allDead && (uint64(m.dom) >= uint64(len(c.domDead)) || m.born > c.domDead[m.dom])
}

// find returns the slot of a key, dead or alive, or -1.
func (c *Cache) find(key uint64, page uint64, dom uint32) int {
	if c.wide != nil {
		return c.wide.find(c, key, dom)
	}
	base := int(c.set(page, dom) * c.ways)
	for i, k := range c.keys[base : base+int(c.ways)] {
		if k == key && c.meta[base+i].dom == dom {
			return base + i
		}
	}
	return -1
}

// Lookup returns the payload of a page and marks the entry as used.
func (c *Cache) Lookup(dom uint32, page uint64, shift uint8) (val uint64, ok bool) {
	c.Stats.Lookups++
	key := page<<6 | uint64(shift)
	i := c.mru
	if c.keys[i] != key || c.meta[i].dom != dom {
		if i = c.find(key, page, dom); i < 0 {
			return 0, false
		}
		if !c.alive(i) || c.meta[i].seen != c.foreign && c.displaced(i) {
			return 0, false
		}
		c.mru = i
		c.touch(i)
	} else if !c.alive(i) {
		return 0, false
	} else if c.meta[i].seen != c.foreign { // otherwise it is the most recent of its set already
		if c.displaced(i) {
			return 0, false
		}
		c.touch(i)
	}
	c.Stats.Hits++
	return c.meta[i].val, true
}

// Probe is Lookup without any trace: neither counters nor recency change.
func (c *Cache) Probe(dom uint32, page uint64, shift uint8) (val uint64, ok bool) {
	i := c.find(page<<6|uint64(shift), page, dom)
	if i < 0 || !c.alive(i) || c.meta[i].seen != c.foreign && c.displaced(i) {
		return 0, false
	}
	return c.meta[i].val, true
}

// touch marks slot i as most recently used.
func (c *Cache) touch(i int) {
	switch c.policy {
	case LRU:
		if c.wide != nil {
			c.wide.front(i)
			return
		}
		c.tick++
		c.meta[i].used, c.meta[i].seen = c.tick, c.foreign
	case PLRU:
		set, way := uint64(i)/c.ways, uint64(i)%c.ways
		t, node := c.tree[set], uint64(1)
		for half := c.ways >> 1; half > 0; half >>= 1 {
			if way&half != 0 {
				t &^= 1 << node // bit 0: the colder half is the lower one
				node = node*2 + 1
			} else {
				t |= 1 << node
				node *= 2
			}
		}
		c.tree[set] = t
	}
}

// Insert adds a translation or replaces the payload of the one that is there. It reports whether a live translation
// of another page made room.
func (c *Cache) Insert(dom uint32, page uint64, shift uint8, val uint64) (evicted bool) {
	if shift > 57 {
		panic("tlb: page shift out of range")
	}
	c.Stats.Inserts++
	if c.seen>>shift&1 == 0 {
		c.seen |= 1 << shift
		c.shifts = append(c.shifts, shift)
	}
	key := page<<6 | uint64(shift)
	i := c.find(key, page, dom)
	if c.live != nil {
		c.live.inserts(c, i, dom)
	}
	if i < 0 {
		i = c.victim(c.set(page, dom))
		if c.keys[i] != noKey {
			if c.live != nil {
				c.live.loses(c, i)
			}
			evicted = c.alive(i) && !c.displaced(i)
			if evicted {
				c.Stats.Evictions++
			}
			if c.wide != nil {
				c.wide.unhash(c, i)
			}
		}
		c.keys[i] = key
		c.meta[i].dom = dom
		if c.wide != nil {
			c.wide.hash(c, i)
		}
	}
	c.born++
	c.meta[i].born, c.meta[i].val = c.born, val
	c.touch(i)
	c.mru = i
	return evicted
}

// victim returns the slot of a set that a new entry takes.
func (c *Cache) victim(set uint64) int {
	base := int(set * c.ways)
	if c.wide == nil {
		oldest, at := ^uint64(0), base
		for i := base; i < base+int(c.ways); i++ {
			if c.keys[i] == noKey || !c.alive(i) {
				return i
			}
			if c.meta[i].used < oldest {
				oldest, at = c.meta[i].used, i
			}
		}
		if c.policy == LRU {
			return at
		}
	} else if i := c.wide.vacant(int(set)); i >= 0 {
		return i
	}
	switch c.policy {
	case LRU:
		return c.wide.back(int(set))
	case PLRU:
		t, node := c.tree[set], uint64(1)
		for half := c.ways >> 1; half > 0; half >>= 1 {
			node = node*2 + t>>node&1
		}
		return base + int(node-c.ways)
	default:
		c.rng ^= c.rng << 13
		c.rng ^= c.rng >> 7
		c.rng ^= c.rng << 17
		hi, _ := bits.Mul64(c.rng, c.ways)
		return base + int(hi)
	}
}
