package platform

import (
	"strings"

	"dmapath/sim"
)

// lineBytes is the size of a cache line.
const lineBytes = 64

// Check reports values that contradict each other, which no single value's limits can: all of them, each with the
// position of the value that should change. Load and Parse have called it; call it again after Set.
func (s *Spec) Check() error { return s.impossible().err() }

func (s *Spec) impossible() Problems {
	var ps Problems
	bad := s.reporter(&ps)
	size := func(b Bytes) string { return bytesKind.formatNumber(int64(b)) }
	sets := func(key string, bytes Bytes, ways Count) Bytes {
		if bytes%(Bytes(ways)*lineBytes) != 0 {
			bad(key+".size "+key+".ways", "%s is not a multiple of %d ways x 64B", size(bytes), ways)
			return 0
		}
		return bytes / (Bytes(ways) * lineBytes)
	}
	for _, p := range []struct {
		key string
		Private
	}{{"cache.l1i", s.Cache.L1I}, {"cache.l1d", s.Cache.L1D}, {"cache.l2", s.Cache.L2}} {
		if n := sets(p.key, p.Size, p.Ways); n&(n-1) != 0 {
			bad(p.key+".size "+p.key+".ways", "%s and %d ways make %d sets; a private cache needs a power of two", size(p.Size), p.Ways, n)
		}
	}
	sets("cache.llc", s.Cache.LLC.Size, s.Cache.LLC.Ways)
	if s.Cache.L2.Size < max(s.Cache.L1D.Size, s.Cache.L1I.Size) {
		bad("cache.l2.size cache.l1i.size cache.l1d.size", "%s cannot hold L1I (%s) and L1D (%s)", size(s.Cache.L2.Size), size(s.Cache.L1I.Size), size(s.Cache.L1D.Size))
	}
	if s.Cache.LLC.Inclusive && s.Cache.LLC.Size < s.Cache.L2.Size {
		bad("cache.llc.size cache.llc.inclusive cache.l2.size", "an inclusive LLC of %s cannot hold one L2 of %s", size(s.Cache.LLC.Size), size(s.Cache.L2.Size))
	}
	switch {
	case !bool(s.IOMMU.Trapped) || s.IOMMU.Dialect == "vt-d":
	case s.IOMMU.Dialect != "smmuv3":
		bad("iommu.trapped iommu.dialect", "a guest's emulated unit is a vt-d one or the queue of an smmuv3, and iommu.dialect is %s", s.IOMMU.Dialect)
	case s.IOMMU.SecondStage == "off":
		bad("iommu.trapped iommu.second_stage", "a guest whose SMMU has a trapped queue is translated by two stages, and iommu.second_stage is off")
	}
	if s.IOMMU.SecondStage != "off" && s.IOMMU.Dialect != "smmuv3" {
		bad("iommu.second_stage iommu.dialect", "a guest's tables lie in a first stage, which no driver but that of smmuv3 uses here, and iommu.dialect is %s", s.IOMMU.Dialect)
	}
	if s.Cache.IO.DDIOWays > s.Cache.LLC.Ways {
		bad("cache.io.ddio_ways cache.llc.ways", "%d of %d LLC ways", s.Cache.IO.DDIOWays, s.Cache.LLC.Ways)
	}
	if l1 := max(s.Cache.L1D.Latency, s.Cache.L1I.Latency); s.Cache.L2.Latency <= l1 {
		bad("cache.l2.latency cache.l1d.latency cache.l1i.latency", "an L2 hit takes longer than an L1 hit (%s)", cyclesKind.formatNumber(int64(l1)))
	}
	if s.Cache.Peer < s.Cache.LLC.Latency {
		bad("cache.peer cache.llc.latency", "%s is below cache.llc.latency, which it contains", timeKind.formatNumber(int64(s.Cache.Peer)))
	}
	t := s.Cache.Topology
	if s.CPU.Cores%t.Clusters != 0 {
		bad("cache.topology.clusters cpu.cores", "%d cores do not lie in %d clusters of equal size", s.CPU.Cores, t.Clusters)
	}
	if t.Clusters%t.Nodes != 0 {
		bad("cache.topology.nodes cache.topology.clusters", "%d clusters do not lie in %d nodes of equal size", t.Clusters, t.Nodes)
	}
	if t.Nodes%t.Sockets != 0 {
		bad("cache.topology.sockets cache.topology.nodes", "%d nodes do not lie in %d sockets of equal size", t.Nodes, t.Sockets)
	}
	if d := s.DRAM; d.TREFI > 0 && d.TRFC >= d.TREFI {
		bad("dram.trfc dram.trefi", "leaves nothing of dram.trefi (%s)", timeKind.formatNumber(int64(d.TREFI)))
	}
	if l2 := cycleTime(s.Cache.L2.Latency, s.CPU.Frequency); s.Cache.LLC.Latency <= l2 {
		bad("cache.llc.latency cache.l2.latency cpu.frequency", "an LLC hit takes longer than an L2 hit (%s)", timeKind.formatNumber(int64(l2)))
	}
	table := func(key string, t Table) {
		if t.Entries == 0 {
			return
		}
		if t.Ways == 0 || t.Entries%t.Ways != 0 {
			bad(key+".ways "+key+".entries", "%d ways do not divide %d entries", t.Ways, t.Entries)
		} else if n := t.Entries / t.Ways; n&(n-1) != 0 {
			bad(key+".ways "+key+".entries", "%d entries in %d ways are %d sets; the number of sets must be a power of two", t.Entries, t.Ways, n)
		}
	}
	array := func(key string, a TLBArray) {
		table(key, Table{a.Entries, a.Ways})
		if a.Entries != 0 && a.Pages == 0 {
			bad(key+".pages "+key+".entries", "a TLB with entries needs a page size")
		}
	}
	array("tlb.itlb_4k", s.TLB.ITLB4K)
	array("tlb.itlb_2m", s.TLB.ITLB2M)
	array("tlb.dtlb_4k", s.TLB.DTLB4K)
	array("tlb.dtlb_2m", s.TLB.DTLB2M)
	array("tlb.dtlb_1g", s.TLB.DTLB1G)
	array("tlb.stlb", s.TLB.STLB)
	array("tlb.stlb_1g", s.TLB.STLB1G)
	table("pcie.device_tlb", s.PCIe.DeviceTLB)
	u := &s.IOMMU
	for _, t := range []struct {
		key string
		Table
		need bool
	}{{"iommu.iotlb", u.IOTLB, true}, {"iommu.context", u.Context, true}, {"iommu.pasid", u.PASID, true}, {"iommu.paging.pd", u.Paging.PD, false},
		{"iommu.paging.pdpt", u.Paging.PDPT, false}, {"iommu.paging.pml4", u.Paging.PML4, false}, {"iommu.paging.pml5", u.Paging.PML5, false}} {
		table(t.key, t.Table)
		if t.need && t.Entries == 0 {
			bad(t.key+".entries", "the unit cannot do without")
		}
	}
	if s.IOMMU.Pages&4096 == 0 {
		bad("iommu.pages", "4KiB pages are always there")
	}
	if n := Bytes(s.PCIe.Root.PostedData) * 16; n < s.PCIe.MPS {
		bad("pcie.root.posted_data pcie.mps", "%d credits of 16 bytes do not hold one payload of %s", s.PCIe.Root.PostedData,
			size(s.PCIe.MPS))
	}
	if cs := s.PCIe.CompletionSize; cs != 0 && (cs < s.PCIe.RCB || cs > s.PCIe.MPS || cs&(cs-1) != 0) {
		bad("pcie.completion_size pcie.rcb pcie.mps", "is neither 0B nor a power of two from pcie.rcb to pcie.mps")
	}
	if b := s.PCIe.CompletionBuffer; b != 0 && b < s.PCIe.MRRS {
		bad("pcie.completion_buffer pcie.mrrs", "is neither 0B nor room for one request of %s", size(s.PCIe.MRRS))
	}
	for _, c := range []struct {
		key string
		v   Bytes
	}{{"pcie.ack_interval", s.PCIe.AckInterval}, {"pcie.fc_interval", s.PCIe.FCInterval}} {
		if c.v != 0 && c.v < 16 {
			bad(c.key, "is neither 0B nor 16B or more, two of the packets it spaces")
		}
	}
	if s.Kernel.Arch != "x86-64" && s.Kernel.Mitigation != "none" {
		bad("kernel.mitigation kernel.arch", "%s is x86's; %s has none", s.Kernel.Mitigation, s.Kernel.Arch)
	}
	if s.Kernel.Arch == "arm" && s.Memory.PhysBits > lpaeBits {
		bad("memory.phys_bits kernel.arch", "%d: the page tables of a 32-bit kernel (LPAE) hold %d bits of physical address", s.Memory.PhysBits, lpaeBits)
	}
	if s.Kernel.Arch != "x86-64" && bool(s.Kernel.KMSAN) {
		bad("kernel.kmsan kernel.arch", "KMSAN is x86's; %s has none", s.Kernel.Arch)
	}
	s.checkMemory(bad)
	s.checkBounce(bad)
	h := s.Surroundings
	for _, c := range []struct {
		key       string
		less, now Count
	}{{"surroundings.warm.code_lines", h.Hot.CodeLines, h.Warm.CodeLines}, {"surroundings.warm.data_lines", h.Hot.DataLines, h.Warm.DataLines},
		{"surroundings.cold.code_lines", h.Warm.CodeLines, h.Cold.CodeLines}, {"surroundings.cold.data_lines", h.Warm.DataLines, h.Cold.DataLines}} {
		if c.now < c.less {
			hotter := strings.NewReplacer("warm", "hot", "cold", "warm").Replace(c.key)
			bad(c.key+" "+hotter, "%d lines are fewer than the %d of the hotter case", c.now, c.less)
		}
	}
	return ps
}

func (s *Spec) checkMemory(bad func(keys, format string, args ...any)) {
	m := s.Memory
	size := func(b Bytes) string { return bytesKind.formatNumber(int64(b)) }
	top := Bytes(1) << m.PhysBits
	if m.HoleTop < m.LowTop {
		bad("memory.hole_top memory.low_top", "%s is below memory.low_top (%s)", size(m.HoleTop), size(m.LowTop))
	}
	end := m.RAM
	if m.RAM > m.LowTop {
		end = m.HoleTop + m.RAM - m.LowTop
	}
	if end > top {
		bad("memory.ram memory.phys_bits memory.hole_top memory.low_top", "RAM ends at %s, above the %d address bits (%s)", size(end), m.PhysBits, size(top))
	}
	if m.MMIOBase < end {
		bad("memory.mmio_base memory.ram memory.hole_top memory.low_top", "%s lies inside RAM, which ends at %s", size(m.MMIOBase), size(end))
	}
	if m.MMIOSize > top || m.MMIOBase > top-m.MMIOSize {
		bad("memory.mmio_size memory.mmio_base memory.phys_bits", "the device window ends above the %d address bits", m.PhysBits)
	}
	if end > directMapBytes {
		bad("memory.ram memory.hole_top", "RAM ends at %s, above the %s that the kernel's direct map holds", size(end), size(directMapBytes))
	}
	if m.MMIOSize <= top && m.MMIOBase+m.MMIOSize > vmemmapReach {
		bad("memory.mmio_base memory.mmio_size", "the device window ends above the %s whose struct pages the kernel's address space has room for", size(vmemmapReach))
	}
	for _, c := range []struct {
		key string
		v   Bytes
	}{{"memory.ram", m.RAM}, {"memory.low_top", m.LowTop}, {"memory.hole_top", m.HoleTop}} {
		if c.v%(1<<20) != 0 {
			bad(c.key, "%s is not a whole number of MiB", size(c.v))
		}
	}
}

// cycleTime returns n cycles at f, rounded up to a picosecond.
func cycleTime(n Cycles, f Hertz) sim.Time {
	c, err := sim.NewClock(int64(f))
	if err != nil {
		return 0 // the range of cpu.frequency has been reported
	}
	return c.Edge(int64(n))
}
