package tlb

import (
	"errors"
	"fmt"
	"math/bits"
)

// Policy says which entry of a full set makes room.
type Policy uint8

// Replacement policies.
const (
	LRU    Policy = iota // least recently used
	PLRU                 // tree of bits that point away from recent use; ways a power of two up to 64
	Random               // seeded pseudo-random
)

func (p Policy) String() string {
	if p <= Random {
		return [...]string{"lru", "plru", "random"}[p]
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// Config is the geometry of a Cache.
type Config struct {
	Entries    int     // 1 to 1 Mi
	Ways       int     // entries per set; 0 or Entries: fully associative. Entries/Ways must be a power of two
	PageShifts []uint8 // log2 of the page sizes held, 0 to 57 (0: keys are not addresses, e.g. requester ids)
	Policy     Policy
	Seed       uint64 // of the random policy
}

// Validate reports every problem of the configuration at once.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("tlb: "+format, a...)) }
	if c.Entries < 1 || c.Entries > 1<<20 {
		bad("Entries is %d: allowed are 1 to %d", c.Entries, 1<<20)
	} else {
		w := c.ways()
		switch {
		case w < 1 || w > c.Entries || c.Entries%w != 0:
			bad("Ways is %d: it must divide Entries, %d", c.Ways, c.Entries)
		case bits.OnesCount(uint(c.Entries/w)) != 1:
			bad("%d entries in %d ways are %d sets: it must be a power of two", c.Entries, w, c.Entries/w)
		case c.Policy == PLRU && (w > 64 || bits.OnesCount(uint(w)) != 1):
			bad("Ways is %d: tree-PLRU needs a power of two up to 64", w)
		}
	}
	if len(c.PageShifts) == 0 {
		bad("PageShifts is empty: at least one page size is needed")
	}
	var seen uint64
	for _, s := range c.PageShifts {
		if s > 57 {
			bad("PageShifts contains %d: allowed are 0 to 57", s)
			continue
		}
		if seen>>s&1 != 0 {
			bad("PageShifts contains %d twice", s)
		}
		seen |= 1 << s
	}
	if c.Policy > Random {
		bad("Policy is %d: allowed are lru, plru, random", uint8(c.Policy))
	}
	return errors.Join(errs...)
}

func (c *Config) ways() int {
	if c.Ways == 0 {
		return c.Entries
	}
	return c.Ways
}
