package cpu

import (
	"testing"

	"dmapath/cache"
	"dmapath/sim"
	"dmapath/tlb"
)

// testConfig is an Ice Lake-SP class core with round numbers; presets of real machines live in platform.
func testConfig() Config {
	c := Config{
		Hz: 3_000_000_000, FetchWidth: 6, DispatchWidth: 5, RetireWidth: 8, FetchQueue: 64, FetchAhead: 4, FuseBranch: true,
		ROB: 352, LoadQueue: 128, StoreQueue: 72, CommitWidth: 1,
		DivBusy: 6, Forward: 5, BlockedPlus: 2, Lfence: 6, AtomicDrains: true, AtomicHolds: true, MMIOWrite: 200,
		StringStart: 30, StringBytes: 32, StringAhead: 12, PauseDispatch: 140, Mispredict: 17, BTBMiss: 8,
		Predictor: PredictorConfig{Bimodal: 13, Tables: 3, Tagged: 10, History: [4]int{8, 20, 50}, BTB: 12, Indirect: 9, Returns: 16},
		DTLB: []tlb.Config{{Entries: 64, Ways: 4, PageShifts: []uint8{12}}, {Entries: 32, Ways: 4, PageShifts: []uint8{21}},
			{Entries: 8, Ways: 8, PageShifts: []uint8{30}}},
		ITLB: []tlb.Config{{Entries: 128, Ways: 8, PageShifts: []uint8{12}}, {Entries: 16, PageShifts: []uint8{21}}},
		STLB: []tlb.Config{{Entries: 1024, Ways: 8, PageShifts: []uint8{12, 21}}, {Entries: 16, Ways: 4, PageShifts: []uint8{30}}},
		WalkCaches: [3]tlb.Config{{Entries: 32, Ways: 4, PageShifts: []uint8{21}}, {Entries: 4, PageShifts: []uint8{30}},
			{Entries: 2, PageShifts: []uint8{39}}},
		STLBLatency: 7, Walkers: 2, WalkStart: 2, TextPhys: 16 << 20, TextShift: 21, TablePhys: 1 << 50,
	}
	const alu, ld, st, br = 0xf, 0x30, 0xc0, 0xc
	for k := range c.Ports {
		c.Ports[k], c.Latency[k] = alu, 1
	}
	for _, k := range []Class{Load, LoadOp, RMW, Ret, Atomic, String, MMIORead} {
		c.Ports[k] = ld
	}
	for _, k := range []Class{Store, Flush, MMIOWrite} {
		c.Ports[k] = st
	}
	for _, k := range []Class{Branch, Jmp, JmpInd, Call, CallInd} {
		c.Ports[k] = br
	}
	c.Ports[Mul], c.Ports[BitScan], c.Ports[Div] = 1, 1, 4
	c.Latency[Mul], c.Latency[BitScan], c.Latency[Div] = 3, 3, 15
	c.Latency[Load] = 5
	c.Latency[Atomic], c.Latency[Fence], c.Latency[IrqFlag], c.Latency[Sysreg] = 18, 33, 6, 20
	c.Slots[Atomic], c.Slots[RMW], c.Slots[Call] = 8, 2, 2
	return c
}

// testSpace maps 64 GiB of RAM in 1 GiB pages, its struct pages in 2 MiB pages, and per-CPU areas and stacks in 4 KiB pages.
func testSpace() *Space {
	return NewSpace([]Region{
		{Name: "direct map", VBase: DirectMapBase, Size: 64 << 30, PBase: 0, PageShift: 30},
		{Name: "vmemmap", VBase: VmemmapBase, Size: 1 << 30, PBase: 62 << 30, PageShift: 21},
		{Name: "per-CPU", VBase: PerCPUBase, Size: 64 << 20, PBase: 61 << 30, PageShift: 12},
		{Name: "MMIO", VBase: MMIOBase, Size: 1 << 30, PBase: 1 << 45, PageShift: 12, Uncached: true},
	})
}

// rig is a core with its own caches and a stream that feeds it.
type rig struct {
	*Stream
	tb   testing.TB
	c    *Core
	h    *cache.Hierarchy
	now  sim.Time
	acct *Account
}

const testStack = PerCPUBase + 0x8000

func newRig(tb testing.TB, tune ...func(*Config)) *rig { return newRigMit(tb, MitNone, tune...) }

func newRigMit(tb testing.TB, mit Mitigation, tune ...func(*Config)) *rig {
	tb.Helper()
	cfg := testConfig()
	for _, f := range tune {
		f(&cfg)
	}
	hc := cache.Default(2)
	hc.Clock, _ = sim.NewClock(cfg.Hz)
	hc.L1D.Latency = cfg.Latency[Load]
	h, err := cache.New(hc)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := NewCore(0, cfg, h, testSpace())
	if err != nil {
		tb.Fatal(err)
	}
	return &rig{Stream: NewStream(testStack, mit), tb: tb, c: c, h: h, acct: NewAccount(), now: sim.Microsecond}
}

// run times what was emitted and returns the cycles it took.
func (r *rig) run() int64 {
	end := r.c.Run(r.Ops, r.now, r.acct)
	n := r.c.clock.CeilCycle(end) - r.c.clock.CeilCycle(r.now)
	r.Ops = r.Ops[:0]
	r.now = end
	return n
}

// idle lets the pipeline drain.
func (r *rig) idle() { r.now = r.c.Drained() + 10*sim.Microsecond }

// cost returns the cycles of what body emits, everything warm: it runs it three times from an idle core and returns
// the last. Each repetition runs from the same code addresses.
func (r *rig) cost(body func()) (n int64) {
	pc := r.pc
	for range 3 {
		r.idle()
		r.pc = pc
		body()
		n = r.run()
	}
	return n
}
