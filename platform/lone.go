package platform

import (
	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/sim"
)

// LoneCore is one core of the machine with its caches and memory, and no kernel: what runs on it is the caller's, in the address space
// given. Its errors are Unfit.
func (s *Spec) LoneCore(space *cpu.Space) (*cpu.Core, *cache.Hierarchy, error) {
	cc := s.coreConfig()
	clock, err := sim.NewClock(cc.Hz)
	if err != nil {
		return nil, nil, unfit(err)
	}
	hc, err := s.cacheConfig(1, clock)
	if err != nil {
		return nil, nil, unfit(err)
	}
	h, err := cache.New(hc)
	if err != nil {
		return nil, nil, unfit(err)
	}
	c, err := cpu.NewCore(0, cc, h, space)
	return c, h, unfit(err)
}
