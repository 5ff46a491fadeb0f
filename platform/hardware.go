package platform

import (
	"math/bits"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/iommu"
	"dmapath/kernel"
	"dmapath/pcie"
	"dmapath/sim"
	"dmapath/tlb"
)

// textPhys is where the kernel is loaded (CONFIG_PHYSICAL_START). The windows above everything installed, one per 2^48 bytes,
// hold what the memory map has no place for; the caches treat them as memory (but for the registers) and no device
// reaches them.
const (
	textPhys    = 16 << 20
	regsPhys    = 4 << 48 // registers of the IOMMU, behind cpu.MMIOBase
	percpuPhys  = 5 << 48 // per-CPU areas and stacks
	vmemmapPhys = 6 << 48 // struct pages
	tablesPhys  = 7 << 48 // the kernel's own page tables
)

func log2(n Count) int { return bits.Len64(uint64(n)) - 1 }

func shiftOf(b Bytes) uint8 {
	switch {
	case b >= 1<<30:
		return 30
	case b >= 2<<20:
		return 21
	}
	return 12
}

// coreConfig is the core as package cpu takes it.
func (s *Spec) coreConfig() cpu.Config {
	c, t := &s.CPU, &s.TLB
	cfg := cpu.Config{
		Hz: int64(c.Frequency), FetchWidth: int(c.FetchWidth), DispatchWidth: int(c.DispatchWidth), RetireWidth: int(c.RetireWidth),
		FetchQueue: int(c.FetchQueue), FetchAhead: int(c.FetchAhead), FuseBranch: bool(c.FuseBranch), ROB: int(c.ROB), LoadQueue: int(c.LoadQueue),
		StoreQueue: int(c.StoreQueue), CommitWidth: int(c.CommitWidth), WeakStores: bool(c.WeakStores), AtomicDrains: bool(c.AtomicDrains), AtomicHolds: bool(c.AtomicHolds),
		FlushOrdered: bool(c.FlushOrdered), DivBusy: int(c.Latency.DivBusy), Forward: int(c.Latency.StoreForward),
		BlockedPlus: int(c.Latency.StoreBlocked), MMIOWrite: int(c.Latency.MMIOWrite), StringStart: int(c.String.Startup),
		StringBytes: int(c.String.BytesPerCycle), StringAhead: int(c.String.LinesAhead), PauseDispatch: int(c.Latency.Pause),
		Lfence: int(c.Latency.Serialize), Mispredict: int(c.Branch.Mispredict), BTBMiss: int(c.Branch.BTBMiss),
		Predictor: predictorConfig(&c.Branch), STLBLatency: int(t.STLBLatency), Walkers: int(t.Walkers), WalkStart: int(t.WalkStart),
		NestedShift: nestedShifts[t.Nested], NestedTLB: int(t.NestedTLB),
		TextPhys: textPhys, TextShift: shiftOf(s.Memory.Text), TablePhys: tablesPhys,
	}
	p, l, n := &c.Ports, &c.Latency, &c.Slots
	load := int(s.Cache.L1D.Latency)
	for _, k := range []struct {
		class   cpu.Class
		ports   PortSet
		latency Cycles
		slots   Count
	}{
		{cpu.ALU, p.ALU, l.ALU, 1}, {cpu.Mul, p.Mul, l.Mul, 1}, {cpu.Div, p.Div, l.Div, n.Div}, {cpu.BitScan, p.Scan, l.BitScan, 1},
		{cpu.Load, p.Load, Cycles(load), 1}, {cpu.LoadOp, p.Load, l.ALU, 1}, {cpu.Store, p.Store, 1, 1}, {cpu.RMW, p.Load, l.ALU, n.RMW},
		{cpu.Atomic, p.Load, l.Atomic, n.Atomic}, {cpu.Fence, p.Store, l.Fence, n.Fence}, {cpu.Flush, p.Store, l.Flush, 1},
		{cpu.String, p.Store, 1, n.String}, {cpu.Branch, p.Branch, l.ALU, 1}, {cpu.Jmp, p.Jump, l.ALU, 1}, {cpu.JmpInd, p.Jump, l.ALU, 1},
		{cpu.Call, p.Jump, l.ALU, n.Call}, {cpu.CallInd, p.Jump, l.ALU, n.Call}, {cpu.Ret, p.Jump, l.ALU, n.Ret}, {cpu.Nop, p.ALU, 0, 1},
		{cpu.Pause, p.ALU, l.Pause, 1}, {cpu.IrqFlag, p.ALU, l.IrqFlag, n.IrqFlag}, {cpu.MMIORead, p.Load, 1, 1}, {cpu.MMIOWrite, p.Store, 1, 1},
		{cpu.Sysreg, p.ALU, l.Sysreg, n.Sysreg}, {cpu.Link, p.Jump, l.ALU, n.Call}, {cpu.LinkInd, p.Jump, l.ALU, n.Call},
		{cpu.LinkRet, p.Jump, l.ALU, n.Ret},
	} {
		cfg.Ports[k.class], cfg.Latency[k.class], cfg.Slots[k.class] = uint16(k.ports), int(k.latency), int(k.slots)
	}
	for _, a := range []TLBArray{t.DTLB4K, t.DTLB2M, t.DTLB1G} {
		cfg.DTLB = appendTLB(cfg.DTLB, a)
	}
	for _, a := range []TLBArray{t.ITLB4K, t.ITLB2M} {
		cfg.ITLB = appendTLB(cfg.ITLB, a)
	}
	for _, a := range []TLBArray{t.STLB, t.STLB1G} {
		cfg.STLB = appendTLB(cfg.STLB, a)
	}
	for i, e := range []Count{t.PDECache, t.PDPTECache, t.PML4Cache} {
		if e > 0 {
			cfg.WalkCaches[i] = tlb.Config{Entries: int(e), PageShifts: []uint8{uint8(21 + 9*i)}}
		}
	}
	return cfg
}

// nestedShifts is the key tlb.nested as package cpu takes it.
var nestedShifts = map[Word]uint8{"off": 0, "4KiB": 12, "2MiB": 21, "1GiB": 30}

// predictorConfig spreads the counters of the preset over a bimodal table and tagged tables whose histories grow
// geometrically up to the preset's length.
func predictorConfig(b *Branch) cpu.PredictorConfig {
	p := cpu.PredictorConfig{Bimodal: min(max(log2(b.Counters)-1, 6), 20), Tables: 4, Tagged: min(max(log2(b.Counters)-3, 6), 16),
		BTB: min(max(log2(b.BTB), 6), 16), Indirect: min(max(log2(b.Indirect), 4), 14), Returns: min(int(b.ReturnStack), 64)}
	for i, h := 3, int(b.History); i >= 0; i-- {
		p.History[i] = max(h, i+1)
		h = h * 2 / 5
	}
	return p
}

func appendTLB(list []tlb.Config, a TLBArray) []tlb.Config {
	if a.Entries == 0 {
		return list
	}
	return append(list, tlb.Config{Entries: int(a.Entries), Ways: int(a.Ways), PageShifts: a.Pages.Shifts()})
}

// cacheConfig is the hierarchy as package cache takes it, for the cores that a run uses.
func (s *Spec) cacheConfig(cores int, clock sim.Clock) (cache.Config, error) {
	c, d := &s.Cache, &s.DRAM
	cfg := cache.Config{Cores: cores, Clock: clock, Peer: c.Peer,
		IO: cache.IOConfig{Latency: c.IO.Latency, Interval: c.IO.Interval, DDIOWays: int(c.IO.DDIOWays), OwnFirst: bool(c.IO.OwnFirst)},
		DRAM: cache.DRAMConfig{Channels: int(d.Channels), Banks: int(d.Banks), RowBytes: int(d.Row), TCL: d.TCL, TRCD: d.TRCD, TRP: d.TRP,
			Burst: d.Burst, Overhead: d.Overhead, RowIdle: d.RowIdle, TREFI: d.TREFI, TRFC: d.TRFC},
		Prefetch: cache.PrefetchConfig{NextLine: int(c.Prefetch.NextLine), NextLineL1: bool(c.Prefetch.NextLineL1),
			Stride: int(c.Prefetch.Stride), StrideL1: bool(c.Prefetch.StrideL1), Code: int(c.Prefetch.Code)}}
	t := &c.Topology
	cfg.Topology = cache.Topology{Clusters: int(t.Clusters), Nodes: int(t.Nodes), Sockets: int(t.Sockets), ClusterCores: int(s.CPU.Cores / t.Clusters),
		HopCluster: t.HopCluster, HopNode: t.HopNode, HopSocket: t.HopSocket}
	cfg.FarAtomics, cfg.FarBusy = bool(t.FarAtomics), t.FarBusy
	var err error
	private := func(p *Private) cache.PrivateConfig {
		pol, e := cache.ParsePolicy(string(p.Replacement))
		if e != nil {
			err = e
		}
		return cache.PrivateConfig{Bytes: int(p.Size), Ways: int(p.Ways), Policy: pol, Latency: int(p.Latency), MSHRs: int(p.MSHRs)}
	}
	cfg.L1I, cfg.L1D, cfg.L2 = private(&c.L1I), private(&c.L1D), private(&c.L2)
	pol, e := cache.ParsePolicy(string(c.LLC.Replacement))
	if e != nil {
		err = e
	}
	cfg.LLC = cache.LLCConfig{Bytes: int(c.LLC.Size), Ways: int(c.LLC.Ways), Policy: pol, Inclusive: bool(c.LLC.Inclusive), Latency: c.LLC.Latency, LineBytes: int(c.LLC.Line)}
	return cfg, err
}

// pcieConfig is the root port, the link and the device's interface as package pcie takes them.
func (s *Spec) pcieConfig() pcie.Config {
	p := &s.PCIe
	credits := func(c *Credits) pcie.Credits {
		return pcie.Credits{PostedHeaders: int(c.PostedHeaders), PostedData: int(c.PostedData), NonPostedHeaders: int(c.NonPostedHeaders)}
	}
	return pcie.Config{Gen: int(p.Generation), Lanes: int(p.Lanes), MPS: int(p.MPS), MRRS: int(p.MRRS), RCB: int(p.RCB),
		CompletionSize: int(p.CompletionSize), Tags: int(p.Tags), ECRC: bool(p.ECRC), Root: credits(&p.Root), Device: credits(&p.Device),
		CompletionBuffer: int(p.CompletionBuffer), AckInterval: int(p.AckInterval), FCInterval: int(p.FCInterval),
		EndpointLatency: p.Endpoint, LinkLatency: p.Link, RootUp: p.RootUp, RootDown: p.RootDown, HostLatency: p.Host,
		RegisterRead: p.RegisterRead, Interrupt: p.Interrupt, CreditReturn: p.CreditReturn, DeviceTLB: p.DeviceTLB.config(), DeviceTLBLookup: p.DeviceLookup, RelaxedOrdering: bool(p.Relaxed)}
}

// unitConfig is what units of all dialects have, as package iommu takes it.
func (s *Spec) unitConfig() iommu.Config {
	u := &s.IOMMU
	return iommu.Config{RegBase: cpu.MMIOBase, ClockHz: int64(u.Clock), HostWidth: int(s.Memory.PhysBits), IOTLB: u.IOTLB.config(),
		Paging:  [iommu.MaxLevels + 1]tlb.Config{2: u.Paging.PD.config(), 3: u.Paging.PDPT.config(), 4: u.Paging.PML4.config(), 5: u.Paging.PML5.config()},
		Walkers: int(u.Walkers), LookupTime: iommu.Cycles(u.Lookup), WalkStart: iommu.Cycles(u.WalkStart),
		PTEOverhead: iommu.Cycles(u.PTEOverhead), WalkEnd: iommu.Cycles(u.WalkEnd), DrainTime: iommu.Cycles(u.Drain),
		RegWrite: u.RegisterWrite, RegRead: u.RegisterRead}
}

// Arch is the architecture that the kernel is built for.
func (s *Spec) Arch() kernel.Arch { return arches[s.Kernel.Arch] }

var arches = map[Word]kernel.Arch{"x86-64": kernel.X86_64, "arm64": kernel.ARM64, "arm": kernel.ARM32}

var mitigations = map[Word]cpu.Mitigation{"none": cpu.MitNone, "ibrs": cpu.MitIBRS, "lfence": cpu.MitLFENCE, "retpoline": cpu.MitRetpoline}
