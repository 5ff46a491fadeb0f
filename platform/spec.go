package platform

import "dmapath/sim"

// Spec is a machine: every parameter that the simulated hardware and its kernel's boot-time choices need, typed and in
// base units. Tags: key is the name in a platform file, range what is allowed (inclusive), words the allowed words,
// doc the line that Show prints. The zero Spec is not a machine; Load makes one.
type Spec struct {
	// Name is the preset's name or the file's base name; Title one line about the machine. Extends names the preset
	// a user's file started from, empty for a preset.
	Name, Title, Extends string

	CPU          CPU          `key:"cpu"`
	TLB          TLB          `key:"tlb"`
	Cache        Caches       `key:"cache"`
	DRAM         DRAM         `key:"dram"`
	PCIe         PCIe         `key:"pcie"`
	IOMMU        IOMMU        `key:"iommu"`
	Memory       Memory       `key:"memory"`
	Kernel       Kernel       `key:"kernel"`
	Surroundings Surroundings `key:"surroundings"`

	sources map[string]string     // texts behind @names
	prov    map[string]Provenance // by dotted key
	notes   []string              // the file's notes, in order
}

// CPU is one core and how many there are.
type CPU struct {
	Cores         Count  `key:"cores" range:"1..1024" doc:"cores that share the last-level cache"`
	Frequency     Hertz  `key:"frequency" range:"100MHz..10GHz" doc:"core clock, constant during a run"`
	FetchWidth    Count  `key:"fetch_width" range:"1..16" doc:"instructions fetched per cycle"`
	FetchQueue    Count  `key:"fetch_queue" range:"1..512" doc:"instructions fetched ahead of dispatch"`
	FetchAhead    Count  `key:"fetch_ahead" range:"0..7" doc:"code lines requested ahead of need"`
	DispatchWidth Count  `key:"dispatch_width" range:"1..16" doc:"slots renamed per cycle"`
	RetireWidth   Count  `key:"retire_width" range:"1..16" doc:"instructions retired per cycle"`
	FuseBranch    Switch `key:"fuse_branch" doc:"compare and branch share a slot"`
	ROB           Count  `key:"rob" range:"1..512" doc:"reorder buffer entries"`
	LoadQueue     Count  `key:"load_queue" range:"1..256" doc:"loads in flight"`
	StoreQueue    Count  `key:"store_queue" range:"1..128" doc:"stores not yet in L1"`
	CommitWidth   Count  `key:"commit_width" range:"1..4" doc:"stores written to L1 per cycle"`
	WeakStores    Switch `key:"weak_stores" doc:"stores reach L1 out of order (Arm)"`
	AtomicDrains  Switch `key:"atomic_drains" doc:"atomics drain the store queue (x86)"`
	AtomicHolds   Switch `key:"atomic_holds" doc:"it starts with the queue empty, loads wait; off: both overlap"`
	FlushOrdered  Switch `key:"flush_ordered" doc:"line flushes one after the other (clflush)"`

	Ports   Ports   `key:"ports"`
	Latency Latency `key:"latency"`
	Slots   Slots   `key:"slots"`
	Branch  Branch  `key:"branch"`
	String  String  `key:"string"`
}

// Ports is the set of execution ports that can start each sort of operation. The lowest-numbered free port is taken, so
// the ports that serve most sorts have the highest numbers; the numbers are ours and not the vendor's.
type Ports struct {
	ALU    PortSet `key:"alu" doc:"integer operations"`
	Mul    PortSet `key:"mul" doc:"multiplications"`
	Div    PortSet `key:"div" doc:"divisions"`
	Scan   PortSet `key:"bit_scan" doc:"bit scans and counts"`
	Load   PortSet `key:"load" doc:"loads"`
	Store  PortSet `key:"store" doc:"stores"`
	Branch PortSet `key:"branch" doc:"conditional branches"`
	Jump   PortSet `key:"jump" doc:"jumps, calls, returns"`
}

// Latency is the core's own time for an operation, without the memory system's. A load's is cache.l1d.latency.
type Latency struct {
	ALU          Cycles `key:"alu" range:"1cycle..8cycles" doc:"simple integer operation"`
	Mul          Cycles `key:"mul" range:"1cycle..32cycles" doc:"64-bit multiplication"`
	Div          Cycles `key:"div" range:"1cycle..200cycles" doc:"64-bit division"`
	DivBusy      Cycles `key:"div_busy" range:"1cycle..200cycles" doc:"until the divider takes another"`
	BitScan      Cycles `key:"bit_scan" range:"1cycle..16cycles" doc:"bsf, tzcnt, popcnt, clz"`
	StoreForward Cycles `key:"store_forward" range:"1cycle..32cycles" doc:"load of a queued store's bytes"`
	StoreBlocked Cycles `key:"store_blocked" range:"0cycles..100cycles" doc:"added, load overlaps a store in part"`
	Atomic       Cycles `key:"atomic" range:"1cycle..200cycles" doc:"locked RMW, line owned, queue empty"`
	Fence        Cycles `key:"fence" range:"0cycles..500cycles" doc:"full fence, store queue empty"`
	Serialize    Cycles `key:"serialize" range:"0cycles..500cycles" doc:"lfence, isb: on top of the drain"`
	IrqFlag      Cycles `key:"irq_flag" range:"1cycle..200cycles" doc:"cli, sti, pushf, popf; msr daif"`
	Pause        Cycles `key:"pause" range:"1cycle..1000cycles" doc:"pause, yield in a spin loop"`
	Flush        Cycles `key:"flush" range:"1cycle..1000cycles" doc:"issue of a line clean/invalidate"`
	Sysreg       Cycles `key:"sysreg" range:"1cycle..1000cycles" doc:"system register move, rdtsc"`
	MMIOWrite    Cycles `key:"mmio_write" range:"1cycle..10000cycles" doc:"between posted uncached writes"`
}

// Slots is how many dispatch slots an instruction takes; what is not named takes one.
type Slots struct {
	RMW     Count `key:"rmw" range:"1..64" doc:"read-modify-write of memory"`
	Atomic  Count `key:"atomic" range:"1..64" doc:"locked or exclusive RMW"`
	Div     Count `key:"div" range:"1..64" doc:"64-bit division"`
	Call    Count `key:"call" range:"1..64" doc:"call (push of the return address)"`
	Ret     Count `key:"ret" range:"1..64" doc:"return"`
	IrqFlag Count `key:"irq_flag" range:"1..64" doc:"cli, sti, pushf, popf"`
	Fence   Count `key:"fence" range:"1..64" doc:"fence"`
	String  Count `key:"string" range:"1..64" doc:"rep movs, rep stos"`
	Sysreg  Count `key:"sysreg" range:"1..64" doc:"system register move"`
}

// Branch is the predictor.
type Branch struct {
	Mispredict  Cycles `key:"mispredict" range:"1cycle..100cycles" doc:"resolve to dispatch of right path"`
	BTBMiss     Cycles `key:"btb_miss" range:"0cycles..100cycles" doc:"taken direct branch not in the BTB"`
	History     Count  `key:"history" range:"1..64" doc:"longest global history, bits"`
	Counters    Count  `key:"counters" range:"16..1048576" pow2:"yes" doc:"pattern history counters"`
	BTB         Count  `key:"btb" range:"16..1048576" pow2:"yes" doc:"branch target buffer entries"`
	Indirect    Count  `key:"indirect" range:"16..65536" pow2:"yes" doc:"indirect target table entries"`
	ReturnStack Count  `key:"return_stack" range:"1..256" doc:"return address stack entries"`
}

// String is rep movs/stos, or the copy loop that stands for it.
type String struct {
	Startup       Cycles `key:"startup" range:"0cycles..500cycles" doc:"first byte of a string copy"`
	BytesPerCycle Count  `key:"bytes_per_cycle" range:"1..64" doc:"copy rate, both sides in L1"`
	FSRM          Switch `key:"fsrm" doc:"memcpy is rep movsb (fast short rep movs)"`
	LinesAhead    Count  `key:"lines_ahead" range:"1..64" doc:"lines kept in flight"`
}

// TLB is the core's translation caches and its page walker.
type TLB struct {
	ITLB4K TLBArray `key:"itlb_4k"`
	ITLB2M TLBArray `key:"itlb_2m"`
	DTLB4K TLBArray `key:"dtlb_4k"`
	DTLB2M TLBArray `key:"dtlb_2m"`
	DTLB1G TLBArray `key:"dtlb_1g"`
	STLB   TLBArray `key:"stlb"`
	STLB1G TLBArray `key:"stlb_1g"`

	STLBLatency Cycles `key:"stlb_latency" range:"0cycles..100cycles" doc:"added by a second-level TLB hit"`
	Walkers     Count  `key:"walkers" range:"1..8" doc:"page walks in parallel"`
	WalkStart   Cycles `key:"walk_start" range:"0cycles..100cycles" doc:"walk overhead beside its loads"`
	PDECache    Count  `key:"pde_cache" range:"0..4096" doc:"page-directory entries cached"`
	PDPTECache  Count  `key:"pdpte_cache" range:"0..1024" doc:"PDPT entries cached"`
	PML4Cache   Count  `key:"pml4_cache" range:"0..1024" doc:"PML4 entries cached"`

	Nested    Word  `key:"nested" words:"off 4KiB 2MiB 1GiB" doc:"pages of the host below a virtual machine; off: bare metal"`
	NestedTLB Count `key:"nested_tlb" range:"0..4096" doc:"host translations kept for pages of tables"`
}

// TLBArray is one translation cache. Entries 0 means that it is not there.
type TLBArray struct {
	Entries Count `key:"entries" range:"0..65536" doc:"entries"`
	Ways    Count `key:"ways" range:"0..65536" doc:"ways; equal to entries: fully assoc."`
	Pages   Pages `key:"pages" doc:"page sizes held"`
}

// Caches is the hierarchy.
type Caches struct {
	L1I      Private  `key:"l1i"`
	L1D      Private  `key:"l1d"`
	L2       Private  `key:"l2"`
	LLC      Shared   `key:"llc"`
	Peer     sim.Time `key:"peer" range:"1ns..10us" doc:"line from another core, load to use"`
	Topology Topology `key:"topology"`
	IO       IO       `key:"io"`
	Prefetch Prefetch `key:"prefetch"`
}

// Topology is how far the cores are from each other, and where atomics are carried out.
type Topology struct {
	Clusters   Count    `key:"clusters" range:"1..32" doc:"groups of cores, each with a part of the LLC"`
	Nodes      Count    `key:"nodes" range:"1..32" doc:"NUMA nodes, each of several clusters"`
	Sockets    Count    `key:"sockets" range:"1..32" doc:"sockets, each of several nodes"`
	HopCluster sim.Time `key:"hop_cluster" range:"0ns..1us" doc:"added to a line from another cluster"`
	HopNode    sim.Time `key:"hop_node" range:"0ns..1us" doc:"added to a line from another node"`
	HopSocket  sim.Time `key:"hop_socket" range:"0ns..10us" doc:"added to a line from another socket"`
	FarAtomics Switch   `key:"far_atomics" doc:"atomics are carried out in the LLC"`
	FarBusy    sim.Time `key:"far_atomic" range:"0ns..1us" doc:"line busy there, per atomic"`
}

// Private is a cache of one core. Lines have 64 bytes at every level.
type Private struct {
	Size        Bytes  `key:"size" range:"1KiB..64MiB" doc:"capacity"`
	Ways        Count  `key:"ways" range:"1..32" doc:"ways"`
	Replacement Word   `key:"replacement" words:"lru tree-plru srrip" doc:"replacement policy"`
	Latency     Cycles `key:"latency" range:"1cycle..1000cycles" doc:"load to use, hit"`
	MSHRs       Count  `key:"mshrs" range:"1..256" doc:"misses in flight"`
}

// Shared is the last-level cache.
type Shared struct {
	Size        Bytes    `key:"size" range:"64KiB..4GiB" doc:"capacity, all slices"`
	Ways        Count    `key:"ways" range:"1..32" doc:"ways"`
	Replacement Word     `key:"replacement" words:"lru tree-plru srrip" doc:"replacement policy"`
	Inclusive   Switch   `key:"inclusive" doc:"off: filled by what L2 evicts"`
	Latency     sim.Time `key:"latency" range:"1ns..1us" doc:"load to use, hit, mean slice"`
	Line        Bytes    `key:"line" range:"64B..128B" pow2:"yes" doc:"line: what is taken for writing together"`
}

// IO is how devices and the IOMMU reach memory behind the root complex.
type IO struct {
	Latency  sim.Time `key:"latency" range:"0ns..10us" doc:"root complex to LLC and back, hit"`
	Interval sim.Time `key:"interval" range:"0ns..1us" doc:"spacing of lines of one access"`
	DDIOWays Count    `key:"ddio_ways" range:"0..32" doc:"LLC ways device writes may allocate"`
	OwnFirst Switch   `key:"own_first" doc:"device writes take ownership, then send data"`
	// KeepTables puts what an IOMMU reads from memory into the LLC.
	KeepTables Switch `key:"keep_tables" doc:"IOMMU table reads stay in the LLC"`
}

// Prefetch is the hardware prefetchers.
type Prefetch struct {
	NextLine   Count  `key:"next_line" range:"0..8" doc:"lines into L2 after an L1D miss"`
	NextLineL1 Switch `key:"next_line_l1" doc:"the first of them also into L1D"`
	Stride     Count  `key:"stride" range:"0..16" doc:"lines ahead of a constant stride"`
	StrideL1   Switch `key:"stride_l1" doc:"those also into L1D"`
	Code       Count  `key:"code" range:"0..8" doc:"lines into L1I after an L1I miss"`
}

// DRAM is the memory behind one socket. A read costs, beyond the LLC latency, overhead + row time + queueing + burst.
type DRAM struct {
	Channels Count    `key:"channels" range:"1..64" doc:"channels"`
	Banks    Count    `key:"banks" range:"1..1024" pow2:"yes" doc:"banks per channel, all ranks"`
	Row      Bytes    `key:"row" range:"512B..64KiB" pow2:"yes" doc:"row (page) of a bank"`
	TCL      sim.Time `key:"tcl" range:"0ns..1us" doc:"column access"`
	TRCD     sim.Time `key:"trcd" range:"0ns..1us" doc:"activate to column access"`
	TRP      sim.Time `key:"trp" range:"0ns..1us" doc:"precharge"`
	Burst    sim.Time `key:"burst" range:"100ps..64ns" doc:"64 bytes on a channel's bus"`
	Overhead sim.Time `key:"overhead" range:"0ns..1us" doc:"controller and fabric beyond the LLC"`
	RowIdle  sim.Time `key:"row_idle" range:"0ns..1s" doc:"idle row is closed; 0ns: stays open"`
	TREFI    sim.Time `key:"trefi" range:"0ns..1s" doc:"refresh interval; 0ns: none"`
	TRFC     sim.Time `key:"trfc" range:"0ns..1ms" doc:"refresh duration"`
}

// PCIe is the root port, the link below it and the part of a device that every device has.
type PCIe struct {
	Generation     Count  `key:"generation" range:"1..5" doc:"PCIe generation"`
	Lanes          Count  `key:"lanes" range:"1..16" pow2:"yes" doc:"lanes"`
	MPS            Bytes  `key:"mps" range:"128B..4KiB" pow2:"yes" doc:"max. payload size"`
	MRRS           Bytes  `key:"mrrs" range:"128B..4KiB" pow2:"yes" doc:"max. read request size"`
	RCB            Bytes  `key:"rcb" range:"64B..128B" pow2:"yes" doc:"read completion boundary"`
	CompletionSize Bytes  `key:"completion_size" range:"0B..4KiB" doc:"payload of a completion; 0B: MPS"`
	Tags           Count  `key:"tags" range:"1..1024" doc:"read requests in flight"`
	ECRC           Switch `key:"ecrc" doc:"end-to-end CRC"`
	Relaxed        Switch `key:"relaxed_ordering" doc:"writes may pass writes"`
	Coherent       Switch `key:"coherent" doc:"device accesses snoop the CPU caches"`

	Root             Credits  `key:"root"`
	Device           Credits  `key:"device"`
	CompletionBuffer Bytes    `key:"completion_buffer" range:"0B..16MiB" doc:"device's read data; 0B: ample"`
	AckInterval      Bytes    `key:"ack_interval" range:"0B..64KiB" doc:"bytes per ACK; 0B: as recommended"`
	FCInterval       Bytes    `key:"fc_interval" range:"0B..64KiB" doc:"bytes per credit update; 0B: same"`
	Endpoint         sim.Time `key:"endpoint" range:"0ns..10us" doc:"DMA engine to link pins, each way"`
	Link             sim.Time `key:"link" range:"0ns..10us" doc:"serdes and wire, each way"`
	RootUp           sim.Time `key:"root_up" range:"0ns..10us" doc:"root port pins to translation agent"`
	RootDown         sim.Time `key:"root_down" range:"0ns..10us" doc:"data at root complex to its pins"`
	Host             sim.Time `key:"host" range:"0ns..10us" doc:"core to root port, each way"`
	RegisterRead     sim.Time `key:"register_read" range:"0ns..10us" doc:"device's register file"`
	Interrupt        sim.Time `key:"interrupt" range:"0ns..100us" doc:"root complex to local APIC / GIC"`
	DeviceTLB        Table    `key:"device_tlb"`
	DeviceLookup     sim.Time `key:"device_tlb_lookup" range:"0ns..1us" doc:"device's TLB, hit or miss"`
	CreditReturn     sim.Time `key:"credit_return" range:"0ns..10us" doc:"buffer freed to credit usable"`
}

// Credits is a receiver's buffers in flow-control units.
type Credits struct {
	PostedHeaders    Count `key:"posted_headers" range:"1..65536" doc:"posted headers"`
	PostedData       Count `key:"posted_data" range:"8..65536" doc:"posted data, units of 16 bytes"`
	NonPostedHeaders Count `key:"nonposted_headers" range:"1..65536" doc:"non-posted headers"`
}

// IOMMU is the translation hardware of one root complex. Cycles are of its own clock. Physical address width is Memory's.
type IOMMU struct {
	Dialect       Word   `key:"dialect" words:"@dialects" doc:"register and table format"`
	Clock         Hertz  `key:"clock" range:"10MHz..10GHz" doc:"clock of the unit"`
	Levels        Count  `key:"levels" range:"3..6" doc:"page-table levels; amd-vi: at most"`
	Pages         Pages  `key:"pages" doc:"leaf sizes"`
	Coherent      Switch `key:"coherent" doc:"table walks snoop the CPU caches"`
	SnoopControl  Switch `key:"snoop_control" doc:"can force snooped DMA"`
	PageSelective Switch `key:"page_selective" doc:"page-selective invalidation"`
	MaxMask       Count  `key:"max_mask" range:"0..63" doc:"log2 of the pages it may cover"`
	FaultRecords  Count  `key:"fault_records" range:"1..256" doc:"fault recording registers"`

	CommandQueue Count  `key:"command_queue" range:"8..524288" pow2:"yes" doc:"largest command queue, SMMUv3"`
	RangeInv     Switch `key:"range_invalidation" doc:"TLBI of ranges (RIL), SMMUv3"`
	SyncMessage  Switch `key:"sync_message" doc:"CMD_SYNC by message (MSI), SMMUv3"`
	SyncOverlap  Switch `key:"sync_overlap" doc:"commands behind a CMD_SYNC start while it waits, SMMUv3"`
	SecondStage  Word   `key:"second_stage" words:"off 2MiB 1GiB" doc:"pages of the host below a guest, SMMUv3"`

	IOTLB   Table  `key:"iotlb"`
	Context Table  `key:"context"`
	PASID   Table  `key:"pasid"`
	Paging  Paging `key:"paging"`

	Walkers     Count  `key:"walkers" range:"1..64" doc:"page walks in parallel"`
	Lookup      Cycles `key:"lookup" range:"0cycles..1000000cycles" doc:"context cache and IOTLB"`
	WalkStart   Cycles `key:"walk_start" range:"0cycles..1000000cycles" doc:"miss to first table read"`
	PTEOverhead Cycles `key:"pte_overhead" range:"0cycles..1000000cycles" doc:"added to every table read"`
	WalkEnd     Cycles `key:"walk_end" range:"0cycles..1000000cycles" doc:"last table read to the answer"`

	RegisterWrite sim.Time `key:"register_write" range:"0ns..1ms" doc:"write left the core to write seen"`
	RegisterRead  sim.Time `key:"register_read" range:"0ns..1ms" doc:"read, there and back"`

	Trapped Switch   `key:"trapped" doc:"the kernel is a guest with an emulated unit (vt-d) or queue (smmuv3)"`
	Exit    sim.Time `key:"exit" range:"0ns..1ms" doc:"VM exit and entry, the hardware's part"`
	// TrapAccess and TrapCommand are taken under the device model's lock, on top of what is modelled.
	TrapAccess  sim.Time `key:"trap_access" range:"0ns..1ms" doc:"host's own time per trapped access, SMMUv3"`
	TrapCommand sim.Time `key:"trap_command" range:"0ns..1ms" doc:"host's own time per forwarded command, SMMUv3"`

	Fetch          Cycles   `key:"fetch" range:"0cycles..1000000cycles" doc:"added to reading descriptors"`
	Decode         Cycles   `key:"decode" range:"0cycles..1000000cycles" doc:"per descriptor"`
	InvContext     Cycles   `key:"inv_context" range:"0cycles..1000000cycles" doc:"context or PASID cache"`
	InvIOTLBGlobal Cycles   `key:"inv_iotlb_global" range:"0cycles..1000000cycles" doc:"IOTLB by domain or all"`
	InvIOTLBPage   Cycles   `key:"inv_iotlb_page" range:"0cycles..1000000cycles" doc:"IOTLB by page and mask"`
	InvInterrupt   Cycles   `key:"inv_interrupt" range:"0cycles..1000000cycles" doc:"interrupt-entry cache"`
	InvDeviceTLB   sim.Time `key:"inv_device_tlb" range:"0ns..1ms" doc:"device's TLB (ATS), link included"`
	Drain          Cycles   `key:"drain" range:"0cycles..1000000cycles" doc:"no old translation in flight, least"`
	Message        sim.Time `key:"message" range:"0ns..1ms" doc:"CMD_SYNC's message under way, SMMUv3"`
	Status         Cycles   `key:"status" range:"0cycles..1000000cycles" doc:"wait descriptor to visible status"`
}

// Paging is the paging-structure caches, by the level of the entries they hold.
type Paging struct {
	PD   Table `key:"pd"`
	PDPT Table `key:"pdpt"`
	PML4 Table `key:"pml4"`
	PML5 Table `key:"pml5"`
}

// Table is a cache of translation structures. Entries 0 means that it is not there.
type Table struct {
	Entries Count `key:"entries" range:"0..65536" doc:"entries"`
	Ways    Count `key:"ways" range:"0..65536" doc:"ways; equal to entries: fully assoc."`
}

// Memory is what is installed and how the kernel describes it.
type Memory struct {
	RAM       Bytes `key:"ram" range:"4GiB..64TiB" doc:"installed RAM"`
	LowTop    Bytes `key:"low_top" range:"16MiB..4GiB" doc:"end of RAM below the 32-bit hole"`
	HoleTop   Bytes `key:"hole_top" range:"16MiB..64TiB" doc:"start of RAM above the hole"`
	Model     Word  `key:"model" words:"flatmem sparsemem sparsemem-extreme sparsemem-vmemmap" doc:"memory model"`
	Map       Word  `key:"map" words:"contiguous holes" doc:"RAM as one range, or with firmware holes"`
	MMIOBase  Bytes `key:"mmio_base" range:"1GiB..4096TiB" doc:"first 64-bit device window"`
	MMIOSize  Bytes `key:"mmio_size" range:"1MiB..64TiB" doc:"its size"`
	PhysBits  Count `key:"phys_bits" range:"36..52" doc:"physical address bits"`
	DirectMap Bytes `key:"direct_map" range:"4KiB..1GiB" pow2:"yes" doc:"page size of the direct map"`
	VMemmap   Bytes `key:"vmemmap" range:"4KiB..1GiB" pow2:"yes" doc:"page size of the struct page array"`
	Text      Bytes `key:"text" range:"4KiB..1GiB" pow2:"yes" doc:"page size of kernel text"`
}

// Kernel is the boot-time and configuration choices that change the modelled paths.
type Kernel struct {
	Arch       Word   `key:"arch" words:"x86-64 arm64 arm" doc:"architecture the kernel is built for; arm is 32-bit with LPAE and highmem"`
	Mitigation Word   `key:"mitigation" words:"none ibrs lfence retpoline" doc:"indirect branch mitigation"`
	MemEncrypt Switch `key:"mem_encrypt" doc:"CONFIG_X86_MEM_ENCRYPT"`

	EncryptedGuest Switch `key:"encrypted_guest" doc:"SEV or TDX guest: devices reach shared memory only"`
	SwiotlbMB      Count  `key:"swiotlb_mb" range:"0..1024" doc:"bounce pool, MiB; 0: as the kernel computes"`
	SwiotlbAreas   Count  `key:"swiotlb_areas" range:"0..1024" doc:"areas of the pool; 0: as the kernel computes"`
	SwiotlbDynamic Switch `key:"swiotlb_dynamic" doc:"CONFIG_SWIOTLB_DYNAMIC"`

	IOVAOrders Count `key:"iova_cache_orders" range:"0..10" doc:"IOVA_RANGE_CACHE_MAX_SIZE: sizes of IOVA range that are cached per CPU (1, 2, 4 ... pages)"`

	PTECleaning Word `key:"pte_cleaning" words:"unmap entry" doc:"cleared SMMU table entries are cleaned per unmap (6.12 on) or one by one; walks that do not snoop"`

	DebugDMA Switch `key:"debug_dma_api" doc:"CONFIG_DMA_API_DEBUG: every mapping is recorded and checked"`
	TraceDMA Switch `key:"trace_dma" doc:"the dma:* and iommu:* trace events are on"`
	KMSAN    Switch `key:"kmsan" doc:"CONFIG_KMSAN: what it does with mapped buffers"`
}

// Surroundings is what driver, block or network layer and application displace from the caches between two mapping calls.
type Surroundings struct {
	Hot  Footprint `key:"hot"`
	Warm Footprint `key:"warm"`
	Cold Footprint `key:"cold"`
}

// Footprint is distinct cache lines touched between two calls.
type Footprint struct {
	CodeLines Count `key:"code_lines" range:"0..100000000" doc:"lines of code between two calls"`
	DataLines Count `key:"data_lines" range:"0..100000000" doc:"lines of data between two calls"`
}
