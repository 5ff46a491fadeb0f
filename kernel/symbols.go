package kernel

// Symbols are the virtual addresses of static variables that more than one part of the kernel loads. Which of them
// share a cache line, and at which byte of it they lie, is as recorded in the two Debian kernels (System.map
// order; kernel-traces, column mem).
type Symbols struct {
	VmemmapBase    uint64 // vmemmap_base
	VmallocBase    uint64 // vmalloc_base, same line
	PageOffsetBase uint64 // page_offset_base, same line
	PhysBase       uint64 // phys_base; on arm64 memstart_addr, which every conversion of an address loads
	DmaOps         uint64 // dma_ops, the architecture's fallback
	SmeMeMask      uint64 // sme_me_mask
	CcVendor       uint64 // cc_vendor
	IoTlb          uint64 // io_tlb_default_mem: defpool.start 0, defpool.end 8, force_bounce 80
	GfpAllowedMask uint64 // gfp_allowed_mask
	KfencePool     uint64 // __kfence_pool
	MemSection     uint64 // mem_section: pointer to the root array (SPARSEMEM_EXTREME) or the table itself
}

// newSymbols lays the symbols out. Only the byte within the line depends on the version.
func newSymbols(e *Env) Symbols {
	base := e.Data(64)
	s := Symbols{VmemmapBase: base + 24, VmallocBase: base + 32, PageOffsetBase: base + 40,
		PhysBase: e.Data(64) + 16, DmaOps: e.Data(64) + 8, SmeMeMask: e.Data(64) + 24, CcVendor: e.Data(64) + 56,
		IoTlb: e.Data(128), GfpAllowedMask: e.Data(64) + 48, KfencePool: e.Data(64) + 56, MemSection: e.Data(64) + 24}
	if e.Arch != X86_64 {
		s.layArm64(e.Version)
		return s
	}
	if e.Version == V7_3 {
		s.DmaOps += 24
		s.SmeMeMask += 24
		s.MemSection += 32
	}
	return s
}

// layArm64 moves the symbols to the bytes of their lines that were recorded on arm64.
func (s *Symbols) layArm64(v Version) {
	s.PhysBase += 16 // 32
	s.MemSection += 8
	if v == V7_3 {
		s.PhysBase -= 8
		s.MemSection += 24
		s.IoTlb += 8
	}
}

// Per-CPU variables that generic code touches. 6.12 spreads them over three lines (fixed_percpu_data, pcpu_hot and
// this_cpu_off); 7.3 gathers them in one hot line.
const (
	percpuGuard12  = 0x0000 + 40
	percpuHot12    = 0x1000
	percpuOff12    = 0x1040 + 24
	percpuHot73    = 0x1000
	percpuNumaNode = 0x1080
	percpuKmap     = 0x1100 // kmap_ctrl of the running task and its line of fixmap entries
	perCPUDynamic  = 0x2000 // Env.PerCPU hands out from here on
)

// PreemptCount returns the address of the preemption counter of CPU c: pcpu_hot.preempt_count on 6.12,
// __preempt_count on 7.3. It is 4 bytes.
func PreemptCount(v Version, c int) uint64 {
	if v == V7_3 {
		return perCPU(percpuHot73+40, c)
	}
	return perCPU(percpuHot12+8, c)
}

// StackGuard returns the address of the stack protector's canary of CPU c: fixed_percpu_data on 6.12,
// __stack_chk_guard on 7.3.
func StackGuard(v Version, c int) uint64 {
	if v == V7_3 {
		return perCPU(percpuHot73+8, c)
	}
	return perCPU(percpuGuard12, c)
}

// ThisCPUOff returns the address of this_cpu_off, which turns a per-CPU pointer into an address.
func ThisCPUOff(v Version, c int) uint64 {
	if v == V7_3 {
		return perCPU(percpuHot73+48, c)
	}
	return perCPU(percpuOff12, c)
}

// CPUNumber returns the address of cpu_number of CPU c (4 bytes).
func CPUNumber(v Version, c int) uint64 {
	if v == V7_3 {
		return perCPU(percpuHot73+56, c)
	}
	return perCPU(percpuHot12+12, c)
}

// CurrentTask returns the address of the per-CPU pointer to the running task.
func CurrentTask(v Version, c int) uint64 {
	if v == V7_3 {
		return perCPU(percpuHot73+24, c)
	}
	return perCPU(percpuHot12, c)
}

// NumaNode returns the address of the per-CPU numa_node.
func NumaNode(c int) uint64 { return perCPU(percpuNumaNode, c) }
