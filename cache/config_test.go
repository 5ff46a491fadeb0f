package cache

import (
	"strings"
	"testing"

	"dmapath/sim"
)

func TestDefaultIsValid(t *testing.T) {
	for _, cores := range []int{1, 2, 64, 65, 1024} {
		if err := Default(cores).Validate(); err != nil {
			t.Errorf("%d cores: %v", cores, err)
		}
	}
}

// Every problem is named in one error.
func TestValidateNamesEveryProblem(t *testing.T) {
	c := Default(2)
	c.Cores = 0
	c.Clock = sim.Clock{}
	c.L1D.Ways = 40
	c.L1I.MSHRs = 0
	c.L2.Bytes = 3 * 64 * 20 // 3 sets
	c.LLC.Policy = 9
	c.LLC.Bytes = 1000
	c.Peer = c.LLC.Latency - 1
	c.DRAM.Banks = 12
	c.DRAM.Burst = 0
	c.DRAM.TREFI, c.DRAM.TRFC = 100, 200
	c.IO.DDIOWays = 13
	c.Prefetch.Stride = 99
	c.Window = -1
	err := c.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"cores is 0", "core clock is not set", "L1D ways is 40", "L1I MSHRs is 0", "L2 has 3 sets",
		"L2 of 3840 bytes cannot include", "LLC policy(9)", "LLC of 1000 bytes is not a whole number", "peer latency of",
		"DRAM banks are 12", "DRAM burst is", "tRFC of", "DDIO ways is 13", "stride prefetch is 99", "displacement window is -1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not reported: %q in\n%v", want, err)
		}
	}
	if _, err := New(c); err == nil {
		t.Error("New accepted it")
	}
}

func TestEachLimit(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"cores 1025":               func(c *Config) { c.Cores = 1025 },
		"L2 below L1":              func(c *Config) { c.L2.Bytes = 16 << 10; c.L2.Ways = 8 },
		"L2 faster than L1":        func(c *Config) { c.L2.Latency = 1 },
		"LLC faster than L2":       func(c *Config) { c.LLC.Latency = 1 },
		"inclusive LLC below L2":   func(c *Config) { c.LLC.Inclusive = true; c.LLC.Bytes = 12 * 64 * 64 },
		"row of 100 bytes":         func(c *Config) { c.DRAM.RowBytes = 100 },
		"65 channels":              func(c *Config) { c.DRAM.Channels = 65 },
		"negative tCL":             func(c *Config) { c.DRAM.TCL = -1 },
		"negative I/O interval":    func(c *Config) { c.IO.Interval = -1 },
		"next-line of 9":           func(c *Config) { c.Prefetch.NextLine = 9 },
		"code prefetch of 9":       func(c *Config) { c.Prefetch.Code = 9 },
		"0 ways":                   func(c *Config) { c.L1D.Ways = 0 },
		"negative size":            func(c *Config) { c.LLC.Bytes = -64 },
		"L1 latency of 0 cycles":   func(c *Config) { c.L1D.Latency = 0 },
		"peer below LLC":           func(c *Config) { c.Peer = 1 },
		"negative row idle time":   func(c *Config) { c.DRAM.RowIdle = -1 },
		"I/O latency of a second":  func(c *Config) { c.IO.Latency = sim.Second },
		"window above 2^30 lines":  func(c *Config) { c.Window = 1<<30 + 1 },
		"257 miss registers in L2": func(c *Config) { c.L2.MSHRs = 257 },
	} {
		c := Default(2)
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPolicyNames(t *testing.T) {
	for _, p := range []Policy{LRU, TreePLRU, SRRIP} {
		if q, err := ParsePolicy(p.String()); err != nil || q != p {
			t.Errorf("%v parses to %v, %v", p, q, err)
		}
	}
	if _, err := ParsePolicy("random"); err == nil {
		t.Error("random accepted")
	}
}
