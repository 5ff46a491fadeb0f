package cpu

import "math/bits"

// Virtual address regions of the simulated kernel (Documentation/arch/x86/x86_64/mm.rst, 4-level, no KASLR). Each is a
// linear window on physical memory, so translating is an addition; what the TLBs and page walks cost follows
// from the page size of the region.
const (
	DirectMapBase = 0xffff888000000000
	MMIOBase      = 0xffffc90000000000 // ioremap space: never cached
	VmemmapBase   = 0xffffea0000000000
	PerCPUBase    = 0xffffed0000000000 // first chunk of per-CPU areas and CPU stacks
)

// Region is one window of virtual memory, linear unless it is scattered.
type Region struct {
	Name      string
	VBase     uint64
	Size      uint64
	PBase     uint64
	PageShift uint8 // 12, 21 or 30: the page size that maps it
	Uncached  bool
	// Scattered says that pieces of 4 KiB lie anywhere in physical memory from PBase on, in up to twice Size, as user memory and that
	// of virtual machines does: what lies in one page shares no order with what lies in the next.
	Scattered bool
}

// phys returns where va, an address of the region, lies.
func (r *Region) phys(va uint64) uint64 {
	off := va - r.VBase
	if r.Scattered {
		n := bits.Len64((r.Size - 1) >> 12)
		off = permute(off>>12, n)<<12 | off&4095
	}
	return r.PBase + off
}

// permute maps the numbers of n bits to themselves, one to one and without any order: rounds of multiplication by an odd number and
// of folding the upper half down, each of which can be undone.
func permute(x uint64, n int) uint64 {
	mask, half := uint64(1)<<n-1, (n+1)/2
	for range 3 {
		x = (x*mixA + 0x2545f4914f6cdd1d) & mask
		x ^= x >> half
	}
	return x
}

// Space is the address space of the simulated kernel: at most eight regions, looked up by the top bits.
type Space struct {
	Regions []Region
	index   [512]uint8 // (va>>39)&511 -> region + 1
}

// NewSpace builds a space; regions must not share a 512 GiB slot of the address space.
func NewSpace(regions []Region) *Space {
	s := &Space{Regions: regions}
	for i, r := range regions {
		for slot := r.VBase >> 39; slot <= (r.VBase+r.Size-1)>>39; slot++ {
			if s.index[slot&511] != 0 {
				panic("cpu: regions " + r.Name + " and " + regions[s.index[slot&511]-1].Name + " share a slot")
			}
			s.index[slot&511] = uint8(i + 1)
		}
	}
	return s
}

// Find returns the region of va, nil if none.
func (s *Space) Find(va uint64) *Region {
	i := s.index[va>>39&511]
	if i == 0 {
		return nil
	}
	return &s.Regions[i-1]
}

// Phys translates va; ok is false for an address that no region maps (the access would fault).
func (s *Space) Phys(va uint64) (pa uint64, ok bool) {
	r := s.Find(va)
	if r == nil || va-r.VBase >= r.Size {
		return 0, false
	}
	return r.phys(va), true
}
