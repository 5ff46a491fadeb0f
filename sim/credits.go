package sim

import "fmt"

// Credits is a pool of equal units, such as tags or flow-control credits. Processes that want more than there are wait,
// and are served strictly in the order in which they came, however few units a later one wants.
type Credits struct {
	Name string
	// Owner names who gives units back, for the report of who waits for whom; may be empty.
	Owner string

	Taken     uint64 // units taken
	Waits     uint64 // takes that had to wait or were refused by TryTake
	Waited    Time   // total time that processes waited
	MinUnused int64  // fewest units that were left

	total, unused int64
	queue         waitList
}

// NewCredits returns a pool of n >= 1 units.
func NewCredits(name string, n int64) *Credits {
	if n < 1 {
		panic(fmt.Sprintf("sim: %d credits %s: at least 1", n, name))
	}
	return &Credits{Name: name, total: n, unused: n, MinUnused: n}
}

// Total returns the size of the pool.
func (c *Credits) Total() int64 { return c.total }

// Unused returns how many units can be taken now.
func (c *Credits) Unused() int64 { return c.unused }

// TryTake takes n units and returns true if there are as many and nobody waits.
func (c *Credits) TryTake(n int64) bool {
	c.check(n)
	if c.unused < n || c.queue.n > 0 {
		c.Waits++
		return false
	}
	c.take(n)
	return true
}

// Take takes n units for p, after waiting until there are as many and all who came earlier have theirs.
func (c *Credits) Take(p *Proc, n int64) {
	c.check(n)
	if c.unused >= n && c.queue.n == 0 {
		c.take(n)
		return
	}
	c.Waits++
	c.queue.park(p, c, n)
	c.Waited += p.e.now - p.since
}

// Give returns n units at the present time now and wakes those whose turn it is.
func (c *Credits) Give(n int64, now Time) {
	c.unused += n
	if c.unused > c.total {
		panic(fmt.Sprintf("sim: %d of %d credits %s: more returned than taken", c.unused, c.total, named(c.Name)))
	}
	for c.queue.n > 0 && c.queue.head.want <= c.unused {
		p := c.queue.take()
		c.take(p.want)
		p.Wake(now)
	}
}

// Describe says how many units are left and who has to return some.
func (c *Credits) Describe() string {
	return fmt.Sprintf("credits %s (%d of %d unused%s)", named(c.Name), c.unused, c.total, c.wanted()) + by(c.Owner)
}

func (c *Credits) wanted() string {
	if c.queue.n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d wanted", c.queue.head.want)
}

func (c *Credits) take(n int64) {
	c.unused -= n
	c.Taken += uint64(n)
	c.MinUnused = min(c.MinUnused, c.unused)
}

func (c *Credits) check(n int64) {
	if n < 0 || n > c.total {
		panic(fmt.Sprintf("sim: take of %d from %d credits %s can never succeed", n, c.total, named(c.Name)))
	}
}
