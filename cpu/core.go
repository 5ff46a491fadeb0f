package cpu

import "dmapath/sim"

// Core times ops.
type Core struct {
	cfg   Config
	clock sim.Clock
}

// NewCore returns core id of a machine.
func NewCore(id int, cfg Config, h any, sp *Space) (*Core, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	clock, err := sim.NewClock(cfg.Hz)
	return &Core{cfg: cfg, clock: clock}, err
}

// Cycles returns the whole core cycles in d.
func (c *Core) Cycles(d sim.Time) int64 { return c.clock.FloorCycle(d) }

// Run times ops.
func (c *Core) Run(ops []Op, start sim.Time, a *Account) sim.Time {
	if a != nil {
		a.grow()
		for i := range ops {
			f := &a.Fn[ops[i].Fn]
			f.Ops[ops[i].Class]++
			f.Cycles++
		}
		a.Cycles += int64(len(ops))
	}
	return start + c.clock.Edge(int64(len(ops)))
}
