package cpu

// Virtual address regions of the simulated kernel (Documentation/arch/x86/x86_64/mm.rst, 4-level, no KASLR). Each is a
// linear window on physical memory, so translating is an addition; what the TLBs and page walks cost follows
// from the page size of the region.
const (
	DirectMapBase = 0xffff888000000000
	MMIOBase      = 0xffffc90000000000 // ioremap space: never cached
	VmemmapBase   = 0xffffea0000000000
	PerCPUBase    = 0xffffed0000000000 // first chunk of per-CPU areas and CPU stacks
)

// Region is one linear window of virtual memory.
type Region struct {
	Name      string
	VBase     uint64
	Size      uint64
	PBase     uint64
	PageShift uint8 // 12, 21 or 30: the page size that maps it
	Uncached  bool
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
	return va - r.VBase + r.PBase, true
}
