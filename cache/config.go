package cache

import (
	"errors"
	"fmt"

	"dmapath/sim"
)

// LineBytes is the size of a cache line at every level.
const LineBytes = 64

// PABits bounds physical addresses: 52 bits (Intel SDM vol. 3A 4.1.4, MAXPHYADDR at most 52; Armv8.2 LPA 52).
const PABits = 52

// Policy is a replacement policy.
type Policy uint8

// Replacement policies.
const (
	LRU      Policy = iota // least recently used, exact
	TreePLRU               // binary tree of "which half was used last" bits; ways need not be a power of two
	SRRIP                  // static re-reference interval prediction, 2 bits, hit priority (Jaleel et al., ISCA 2010)
)

var policyNames = [...]string{"lru", "tree-plru", "srrip"}

func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// ParsePolicy returns the policy named s.
func ParsePolicy(s string) (Policy, error) {
	for i, n := range policyNames {
		if n == s {
			return Policy(i), nil
		}
	}
	return 0, fmt.Errorf("replacement policy %q: allowed are lru, tree-plru, srrip", s)
}

// PrivateConfig describes a cache that belongs to one core.
type PrivateConfig struct {
	Bytes   int    // capacity; Bytes/(64*Ways) sets must be a power of two
	Ways    int    // 1 to 32
	Policy  Policy //
	Latency int    // load-to-use latency of a hit in core cycles, counted from the access to the first level
	MSHRs   int    // misses in flight, 1 to 256 (fill buffers of L1, super queue of L2)
}

// LLCConfig describes the cache that all cores share.
type LLCConfig struct {
	Bytes     int      // capacity over all slices; any whole number of sets
	Ways      int      // 1 to 32
	Policy    Policy   //
	Inclusive bool     // true: holds every line of every private cache. false: filled by what L2 evicts
	Latency   sim.Time // load-to-use latency of a hit as a core sees it, L1 and L2 lookups included
	LineBytes int      // 64, or 128: two lines of the private caches, which are taken for writing together; 0 stands for 64
}

// DRAMConfig describes memory. A read costs, beyond the LLC latency, Overhead + row time + queueing + Burst, where row
// time is TCL when the row is open, TRCD+TCL when no row is open, and TRP+TRCD+TCL when another row is.
type DRAMConfig struct {
	Channels int      // independent channels, 1 to 64 (any number; consecutive lines go to consecutive channels)
	Banks    int      // banks per channel over all ranks and bank groups, power of two, 1 to 1024
	RowBytes int      // bytes of one row of one bank (page size of the rank), power of two, 512 to 65536
	TCL      sim.Time // column access
	TRCD     sim.Time // activate to column access
	TRP      sim.Time // precharge
	Burst    sim.Time // data bus occupancy of one line: 64 bytes / channel bandwidth; at least 100 ps
	Overhead sim.Time // memory controller and fabric beyond the LLC, both directions
	RowIdle  sim.Time // a row idle for this long is closed; 0: rows stay open until a conflict
	TREFI    sim.Time // interval between refreshes; 0: no refresh
	TRFC     sim.Time // how long a refresh blocks the channel
}

// IOConfig describes how devices reach memory behind the root complex.
type IOConfig struct {
	Latency  sim.Time // root complex to LLC and back for a line that the LLC holds
	Interval sim.Time // spacing of the lines of one access: 64 bytes / bandwidth of the I/O port into the fabric
	DDIOWays int      // LLC ways that device writes may allocate, 0 to LLC.Ways; 0: device writes go to DRAM
	// OwnFirst makes a device write two trips of Latency: one for the ownership of its lines, one with the data.
	OwnFirst bool
}

// PrefetchConfig describes the hardware prefetchers of each core. None of them crosses a 4 KiB page.
type PrefetchConfig struct {
	NextLine   int  // lines fetched into L2 after an L1D miss or the first use of a prefetched line in a page just used; 0 to 8
	NextLineL1 bool // the first of them also goes into L1D
	Stride     int  // lines fetched ahead per PC with a constant stride; 0: off, at most 16
	StrideL1   bool // stride prefetches also go into L1D
	Code       int  // lines fetched into L1I after an L1I miss; 0 to 8
}

// Config is a cache hierarchy.
type Config struct {
	Cores    int       // 1 to 1024
	Clock    sim.Clock // core clock: unit of the private latencies
	L1I      PrivateConfig
	L1D      PrivateConfig
	L2       PrivateConfig // inclusive of both L1
	LLC      LLCConfig
	Peer     sim.Time // load-to-use latency of a line in another core's cache: LLC lookup, snoop and transfer
	DRAM     DRAMConfig
	IO       IOConfig
	Prefetch PrefetchConfig
	Topology Topology
	// FarAtomics: atomic operations are carried out in the LLC (see Hierarchy.Atomic), not on a line that the core owns. FarBusy is how
	// long one of them keeps its line busy there.
	FarAtomics bool
	FarBusy    sim.Time
	// Window is how many distinct lines Displace cycles through per core: the size of the rest of the driver's and
	// application's working set. 0: it streams and never touches a line twice.
	Window int
}

// Default returns an Ice Lake-SP class hierarchy for tests and examples. The sizes and latencies are the
// priors of the row CAL-Ice-Lake-SP of the project's published numbers (recalled, unverified); DDR4-3200 CL22 timings are JEDEC JESD79-4.
// Presets of real machines live in platform.
func Default(cores int) Config {
	clk, err := sim.NewClock(3_000_000_000)
	if err != nil {
		panic("cache: " + err.Error())
	}
	return Config{
		Cores: cores,
		Clock: clk,
		L1I:   PrivateConfig{Bytes: 32 << 10, Ways: 8, Policy: TreePLRU, Latency: 5, MSHRs: 8},
		L1D:   PrivateConfig{Bytes: 48 << 10, Ways: 12, Policy: LRU, Latency: 5, MSHRs: 12},
		L2:    PrivateConfig{Bytes: 1280 << 10, Ways: 20, Policy: LRU, Latency: 14, MSHRs: 48},
		LLC:   LLCConfig{Bytes: 24 << 20, Ways: 12, Policy: LRU, Latency: 24 * sim.Nanosecond},
		Peer:  50 * sim.Nanosecond,
		DRAM: DRAMConfig{Channels: 8, Banks: 32, RowBytes: 8192, TCL: 13750, TRCD: 13750, TRP: 13750, Burst: 2500,
			Overhead: 36 * sim.Nanosecond},
		IO:       IOConfig{Latency: 24 * sim.Nanosecond, Interval: 1 * sim.Nanosecond, DDIOWays: 2},
		Prefetch: PrefetchConfig{NextLine: 1, Stride: 2, StrideL1: true, Code: 1},
	}
}

// RowTimes returns the unloaded load-to-use latencies of DRAM: row open, no row open, another row open.
func (c Config) RowTimes() (hit, miss, conflict sim.Time) {
	base := c.LLC.Latency + c.DRAM.Overhead + c.DRAM.Burst + c.DRAM.TCL
	return base, base + c.DRAM.TRCD, base + c.DRAM.TRP + c.DRAM.TRCD
}

// Bandwidth returns the peak bandwidth of DRAM in bytes per second.
func (c Config) Bandwidth() float64 {
	return float64(c.DRAM.Channels) * LineBytes / (float64(c.DRAM.Burst) / float64(sim.Second))
}

// Validate returns one error that names every problem of c, or nil.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	inRange := func(name string, v, lo, hi int) {
		if v < lo || v > hi {
			bad("%s is %d: allowed are %d to %d", name, v, lo, hi)
		}
	}
	span := func(name string, v, lo, hi sim.Time) {
		if v < lo || v > hi {
			bad("%s is %v: allowed are %v to %v", name, v, lo, hi)
		}
	}
	inRange("cores", c.Cores, 1, 1024)
	if c.Clock.Hz() == 0 {
		bad("core clock is not set")
	}
	geometry := func(name string, bytes, ways int, p Policy) int {
		inRange(name+" ways", ways, 1, 32)
		if p > SRRIP {
			bad("%s %v: unknown replacement policy", name, p)
		}
		if bytes <= 0 || bytes > 1<<30 {
			bad("%s is %d bytes: allowed are 64 bytes to 1 GiB", name, bytes)
			return 0
		}
		if ways < 1 || ways > 32 {
			return 0
		}
		if bytes%(LineBytes*ways) != 0 {
			bad("%s of %d bytes is not a whole number of sets of %d ways of 64 bytes", name, bytes, ways)
			return 0
		}
		return bytes / (LineBytes * ways)
	}
	private := func(name string, p PrivateConfig) {
		if s := geometry(name, p.Bytes, p.Ways, p.Policy); s&(s-1) != 0 {
			bad("%s has %d sets: a private cache needs a power of two", name, s)
		}
		inRange(name+" latency in cycles", p.Latency, 1, 1000)
		inRange(name+" MSHRs", p.MSHRs, 1, 256)
	}
	private("L1I", c.L1I)
	private("L1D", c.L1D)
	private("L2", c.L2)
	geometry("LLC", c.LLC.Bytes, c.LLC.Ways, c.LLC.Policy)
	if l := c.LLC.LineBytes; l != 0 && l != LineBytes && l != 2*LineBytes {
		bad("lines of the LLC have %d bytes: allowed are 64 and 128", l)
	}
	if c.LLC.Inclusive && c.Cores >= 1 && c.LLC.Bytes < c.L2.Bytes {
		bad("inclusive LLC of %d bytes is smaller than one L2 of %d bytes", c.LLC.Bytes, c.L2.Bytes)
	}
	if c.L2.Bytes < c.L1D.Bytes || c.L2.Bytes < c.L1I.Bytes {
		bad("L2 of %d bytes cannot include L1I of %d and L1D of %d bytes", c.L2.Bytes, c.L1I.Bytes, c.L1D.Bytes)
	}
	if c.L2.Latency < c.L1D.Latency || c.L2.Latency < c.L1I.Latency {
		bad("L2 latency of %d cycles is below that of L1 (%d, %d)", c.L2.Latency, c.L1I.Latency, c.L1D.Latency)
	}
	span("LLC latency", c.LLC.Latency, 1, sim.Microsecond)
	if c.Clock.Hz() != 0 && c.L2.Latency >= 1 && c.L2.Latency <= 1000 && c.LLC.Latency < c.Clock.Edge(int64(c.L2.Latency)) {
		bad("LLC latency of %v is below the L2 latency of %v", c.LLC.Latency, c.Clock.Edge(int64(c.L2.Latency)))
	}
	span("peer latency", c.Peer, 1, 10*sim.Microsecond)
	if c.Peer < c.LLC.Latency {
		bad("peer latency of %v is below the LLC latency of %v it contains", c.Peer, c.LLC.Latency)
	}
	d := c.DRAM
	inRange("DRAM channels", d.Channels, 1, 64)
	inRange("DRAM banks", d.Banks, 1, 1024)
	if d.Banks > 0 && d.Banks&(d.Banks-1) != 0 {
		bad("DRAM banks are %d: must be a power of two", d.Banks)
	}
	inRange("DRAM row bytes", d.RowBytes, 512, 65536)
	if d.RowBytes > 0 && d.RowBytes&(d.RowBytes-1) != 0 {
		bad("DRAM row bytes are %d: must be a power of two", d.RowBytes)
	}
	span("DRAM tCL", d.TCL, 0, sim.Microsecond)
	span("DRAM tRCD", d.TRCD, 0, sim.Microsecond)
	span("DRAM tRP", d.TRP, 0, sim.Microsecond)
	span("DRAM burst", d.Burst, 100, 64*sim.Nanosecond)
	span("DRAM overhead", d.Overhead, 0, sim.Microsecond)
	span("DRAM row idle", d.RowIdle, 0, sim.Second)
	span("DRAM tREFI", d.TREFI, 0, sim.Second)
	span("DRAM tRFC", d.TRFC, 0, sim.Millisecond)
	if d.TREFI > 0 && d.TRFC >= d.TREFI {
		bad("DRAM tRFC of %v leaves nothing of a tREFI of %v", d.TRFC, d.TREFI)
	}
	span("I/O latency", c.IO.Latency, 0, 10*sim.Microsecond)
	span("I/O interval", c.IO.Interval, 0, sim.Microsecond)
	inRange("DDIO ways", c.IO.DDIOWays, 0, max(c.LLC.Ways, 0))
	inRange("next-line prefetch", c.Prefetch.NextLine, 0, 8)
	inRange("stride prefetch", c.Prefetch.Stride, 0, 16)
	inRange("code prefetch", c.Prefetch.Code, 0, 8)
	t := c.Topology
	inRange("clusters", t.Clusters, 0, MaxClusters)
	inRange("nodes", t.Nodes, 0, MaxClusters)
	inRange("sockets", t.Sockets, 0, MaxClusters)
	if n, s := max(t.Clusters, 1), max(t.Nodes, 1); n%s != 0 || s%max(t.Sockets, 1) != 0 {
		bad("%d clusters do not lie in %d nodes of %d sockets in equal parts", n, s, max(t.Sockets, 1))
	}
	if t.Clusters > 1 && t.ClusterCores < 1 {
		bad("cores of a cluster are %d: with several clusters at least 1", t.ClusterCores)
	}
	span("hop between clusters", t.HopCluster, 0, sim.Microsecond)
	span("hop between nodes", t.HopNode, 0, sim.Microsecond)
	span("hop between sockets", t.HopSocket, 0, 10*sim.Microsecond)
	span("busy time of an atomic", c.FarBusy, 0, sim.Microsecond)
	inRange("displacement window", c.Window, 0, 1<<30)
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("cache hierarchy: %w", errors.Join(errs...))
}
