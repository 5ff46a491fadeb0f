package cpu

import (
	"errors"
	"fmt"

	"dmapath/tlb"
)

// Config describes a core. Latencies are in core cycles.
type Config struct {
	Hz int64 // core frequency while the path runs, 100 MHz to 10 GHz

	FetchWidth    int  // instructions fetched per cycle, 1 to 16; a taken branch ends a fetch group
	DispatchWidth int  // slots renamed and dispatched per cycle, 1 to 16
	RetireWidth   int  // instructions retired per cycle, 1 to 16
	FetchQueue    int  // instructions the front end runs ahead of dispatch, 1 to 512
	FetchAhead    int  // code lines the front end requests before it needs them, 0 to 7 (decoupled branch prediction)
	FuseBranch    bool // an ALU op and the conditional branch that tests it share one slot and one cycle

	ROB         int  // instructions in flight, 1 to 512
	LoadQueue   int  // loads in flight, 1 to 256
	StoreQueue  int  // stores dispatched and not yet in L1, 1 to 128
	CommitWidth int  // stores written to L1 per cycle, 1 to 4
	WeakStores  bool // stores reach L1 out of order (Arm); false: in order (x86 TSO)

	// Ports holds for each class the set of execution ports that can start it; the lowest-numbered free port
	// is taken, so number the ports that serve most classes last. Nop needs none. LoadOp and RMW start on the ports
	// given for them and again on those of ALU, RMW, Call and CallInd also on those of Store, Ret loads
	// on those of Load and then jumps on its own.
	Ports [NumClasses]uint16
	// Latency holds for each class the cycles from start to result: for Load an L1 hit (load to use), for LoadOp,
	// RMW and Ret what comes on top of the load, for Atomic and Fence what comes on top of
	// draining and of owning the line.
	Latency [NumClasses]int
	// Slots holds for each class the dispatch slots it takes (micro-ops after fusion); 0 means 1.
	Slots   [NumClasses]int
	DivBusy int // cycles until the divider accepts the next Div

	Forward       int  // store-to-load forwarding: cycles from both address known and data ready to result
	BlockedPlus   int  // extra cycles when a load must wait until a partly overlapping store is in L1
	Lfence        int  // cycles that a serialising op takes once everything older has retired, 0 to 1000
	AtomicDrains  bool // an atomic waits for the store queue (x86)
	AtomicHolds   bool // it starts only then and younger loads wait for it; without AtomicDrains nothing does
	FlushOrdered  bool // flushes take effect one after the other (clflush); false: overlap (clflushopt, dc civac)
	MMIOWrite     int  // cycles between consecutive posted writes to uncached space
	StringStart   int  // cycles before a rep string instruction moves its first byte
	StringBytes   int  // bytes per cycle it moves then, 1 to 64
	StringAhead   int  // lines it keeps in flight, 1 to 64
	PauseDispatch int  // cycles that pause holds dispatch

	Mispredict int // cycles from the resolution of a mispredicted branch to the dispatch of its true successor
	BTBMiss    int // cycles lost when the decoder finds a taken direct branch that the BTB did not know
	Predictor  PredictorConfig

	DTLB        []tlb.Config  // first-level data TLBs; each holds one or more page sizes
	ITLB        []tlb.Config  // first-level instruction TLBs
	STLB        []tlb.Config  // second-level TLBs, shared
	STLBLatency int           // cycles added by a first-level miss that hits the second level
	WalkCaches  [3]tlb.Config // caches of directory entries that map 2 MiB, 1 GiB and 512 GiB; Entries 0: none
	Walkers     int           // concurrent page walks, 1 to 8
	WalkStart   int           // cycles before the first entry is read
	NestedShift uint8         // page size, log2, by which a hypervisor maps the machine's memory: 12, 21 or 30; 0: no hypervisor
	NestedTLB   int           // translations of the hypervisor kept for pages that hold tables, 0 to 4096; see nestedWalk
	TextPhys    uint64        // physical address of TextBase, when no region maps it
	TextShift   uint8         // page size that maps kernel text, log2: 12, 21 or 30
	TablePhys   uint64        // physical window, 2^40 bytes, of the kernel's own page tables
}

// Validate reports every problem of the configuration at once.
func (c *Config) Validate() error {
	var errs []error
	in := func(name string, v, lo, hi int) {
		if v < lo || v > hi {
			errs = append(errs, fmt.Errorf("cpu: %s is %d: allowed are %d to %d", name, v, lo, hi))
		}
	}
	if c.Hz < 100e6 || c.Hz > 10e9 {
		errs = append(errs, fmt.Errorf("cpu: Hz is %d: allowed are 100 MHz to 10 GHz", c.Hz))
	}
	in("FetchWidth", c.FetchWidth, 1, 16)
	in("DispatchWidth", c.DispatchWidth, 1, 16)
	in("RetireWidth", c.RetireWidth, 1, 16)
	in("FetchQueue", c.FetchQueue, 1, 512)
	in("FetchAhead", c.FetchAhead, 0, 7)
	in("ROB", c.ROB, 1, ringLen)
	in("LoadQueue", c.LoadQueue, 1, queueLen)
	in("StoreQueue", c.StoreQueue, 1, nodeMask/2+1)
	in("CommitWidth", c.CommitWidth, 1, 4)
	for k := Class(0); k < NumClasses; k++ {
		if c.Ports[k] == 0 && k != Nop {
			errs = append(errs, fmt.Errorf("cpu: Ports[%v] is empty: no port can start the class", k))
		}
		in(fmt.Sprintf("Latency[%v]", k), c.Latency[k], 0, 1000)
		in(fmt.Sprintf("Slots[%v]", k), c.Slots[k], 0, 64)
	}
	in("DivBusy", c.DivBusy, 0, 200)
	in("Forward", c.Forward, 0, 100)
	in("Lfence", c.Lfence, 0, 1000)
	in("BlockedPlus", c.BlockedPlus, 0, 100)
	in("MMIOWrite", c.MMIOWrite, 1, 10000)
	in("StringStart", c.StringStart, 0, 1000)
	in("StringBytes", c.StringBytes, 1, 64)
	in("StringAhead", c.StringAhead, 1, 64)
	in("PauseDispatch", c.PauseDispatch, 0, 1000)
	in("Mispredict", c.Mispredict, 1, 100)
	in("BTBMiss", c.BTBMiss, 0, 100)
	errs = append(errs, c.Predictor.validate()...)
	for _, l := range []struct {
		name string
		list []tlb.Config
		need bool
	}{{"DTLB", c.DTLB, true}, {"ITLB", c.ITLB, true}, {"STLB", c.STLB, false}} {
		if l.need && len(l.list) == 0 {
			errs = append(errs, fmt.Errorf("cpu: %s is empty: at least one first-level TLB is needed", l.name))
		}
		var seen [64]bool
		for i := range l.list {
			if err := l.list[i].Validate(); err != nil {
				errs = append(errs, fmt.Errorf("cpu: %s[%d]: %w", l.name, i, err))
			}
			for _, s := range l.list[i].PageShifts {
				if s < 64 && seen[s] {
					errs = append(errs, fmt.Errorf("cpu: %s[%d]: page shift %d is held by an earlier TLB of the list", l.name, i, s))
				}
				seen[s&63] = true
			}
		}
	}
	for i := range c.WalkCaches {
		if c.WalkCaches[i].Entries != 0 {
			if err := c.WalkCaches[i].Validate(); err != nil {
				errs = append(errs, fmt.Errorf("cpu: WalkCaches[%d]: %w", i, err))
			}
		}
	}
	in("STLBLatency", c.STLBLatency, 0, 100)
	in("Walkers", c.Walkers, 1, 8)
	in("WalkStart", c.WalkStart, 0, 100)
	if s := c.TextShift; s != 12 && s != 21 && s != 30 {
		errs = append(errs, fmt.Errorf("cpu: TextShift is %d: allowed are 12, 21 and 30", s))
	}
	if s := c.NestedShift; s != 0 && s != 12 && s != 21 && s != 30 {
		errs = append(errs, fmt.Errorf("cpu: NestedShift is %d: allowed are 0, 12, 21 and 30", s))
	}
	in("NestedTLB", c.NestedTLB, 0, 4096)
	if c.TextPhys&4095 != 0 {
		errs = append(errs, fmt.Errorf("cpu: TextPhys is %#x: it must be page-aligned", c.TextPhys))
	}
	if c.TablePhys&(1<<40-1) != 0 {
		errs = append(errs, fmt.Errorf("cpu: TablePhys is %#x: it must be aligned to 2^40", c.TablePhys))
	}
	return errors.Join(errs...)
}
