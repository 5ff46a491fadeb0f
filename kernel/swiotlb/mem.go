package swiotlb

import (
	"errors"
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
)

// Geometry of a pool.
const (
	SlotShift    = 11
	SlotSize     = 1 << SlotShift // IO_TLB_SIZE, bytes
	SegmentSlots = 128            // IO_TLB_SEGSIZE
	SlotBytes    = 24             // struct io_tlb_slot
	areaBytes    = 16             // struct io_tlb_area: used, index, lock
	poolBytes    = 128            // struct io_tlb_pool and what surrounds it
)

// DefaultBytes is the size of a pool when nothing else is asked for.
const DefaultBytes = 64 << 20

// Offsets in struct io_tlb_mem, which begins with the default pool's struct io_tlb_pool. They are those of both kernels.
const (
	poolStart, poolEnd, poolVaddr, poolAreas    = 0, 8, 16, 36
	poolAreaSlots, poolAreaArray, poolSlotArray = 40, 48, 56
	memSlots, memForce, memShared               = 64, 80, 82
	memTotalUsed, memHiwater                    = 88, 96
	areaUsed, areaIndex, areaLock               = 0, 8, 12
	slotOrig, slotAlloc, slotList, slotPad      = 0, 8, 16, 18
)

// invalid is INVALID_PHYS_ADDR, the original address of a free slot.
const invalid = ^uint64(0)

// Reasons for a mapping to fail; the kernel returns DMA_MAPPING_ERROR for all of them.
var (
	ErrNone       = errors.New("there is no bounce pool")
	ErrFull       = errors.New("the bounce pool has no room")
	ErrTooLarge   = errors.New("the buffer is larger than a segment of the bounce pool")
	ErrNotCapable = errors.New("the device does not reach the bounce pool")
)

// Config is a kernel's bounce pool.
type Config struct {
	Env *kernel.Env
	// Start is the physical address of the default pool, a multiple of 4096. Bytes is its size, a multiple of 256 KiB; 0 is no
	// pool.
	Start, Bytes uint64
	// Areas is how many areas it is divided into, a power of two; 0 is as many as the kernel makes for its CPUs.
	Areas int
	// Force is swiotlb=force: every mapping bounces.
	Force bool
	// Growth is CONFIG_SWIOTLB_DYNAMIC; nil is off.
	Growth *Growth
}

// Default is the pool that a 64-bit kernel makes when there is memory above 4 GiB: 64 MiB at the top of the RAM below 4 GiB, which ends
// at lowTop.
func Default(e *kernel.Env, lowTop uint64) Config {
	return Config{Env: e, Start: lowTop - DefaultBytes, Bytes: DefaultBytes}
}

// Areas returns how many areas a pool of n slots has on a kernel with cpus possible CPUs: as many, rounded up to a power of two,
// as long as each has a segment.
func Areas(cpus, slots int) int {
	n := 1
	for n < cpus {
		n *= 2
	}
	for n > 1 && n*SegmentSlots > slots {
		n /= 2
	}
	return n
}

// Mem is struct io_tlb_mem: the bounce pools of a kernel.
type Mem struct {
	Env   *kernel.Env
	Force bool // force_bounce
	Stats Stats

	va        uint64 // io_tlb_default_mem
	ratelimit uint64 // the warning's struct ratelimit_state
	pools     []*Pool
	grow      *growth
	// total and hiwater are total_used and used_hiwater of 6.12, in slots.
	total, hiwater int
}

// Stats counts what the pools did.
type Stats struct {
	Maps, Unmaps uint64
	Full         uint64 // maps that found no room
	Probes       uint64 // slots looked at by searches
	Filled       uint64 // free counts rewritten before a slot that was taken or given back
	OtherArea    uint64 // maps served by an area that is not the CPU's own
	Copies       uint64 // bounces, in either direction
	Bytes        uint64 // copied by them
	Transient    uint64 // maps that got a pool of their own
	Grown        uint64 // pools added for good
}

// Pool is struct io_tlb_pool: slots in a row in physical memory.
type Pool struct {
	Start, End uint64 // physical addresses [Start, End)

	va        uint64 // struct io_tlb_pool
	areasVA   uint64
	slotsVA   uint64
	areaSlots int // slots of an area
	areas     []area
	slots     []slot
	transient bool
}

// area is struct io_tlb_area.
type area struct {
	used, index int // slots in use; where the next search starts, relative to the area
	lock        cpu.LockWord
}

// slot is struct io_tlb_slot.
type slot struct {
	orig  uint64 // original physical address, invalid when free
	alloc uint64 // bytes of the mapping from here on
	list  uint16 // free slots from here to the end of the segment, 0 when in use
	pad   uint16 // slots in front of this one that belong to it
	low   uint16 // where in the slot the byte at orig lies; follows from orig and the device in the kernel
}

// New returns the bounce pools that c describes: swiotlb_init.
func New(c Config) (*Mem, error) {
	if c.Env == nil {
		return nil, errors.New("swiotlb: an environment is needed")
	}
	m := &Mem{Env: c.Env, va: c.Env.Sym.IoTlb}
	// 6.12 forces bouncing in an encrypted guest (SWIOTLB_FORCE); 7.3 finds the device not capable there.
	m.Force = c.Force || c.Env.EncryptedGuest && c.Env.Version == kernel.V6_12
	if c.Bytes == 0 {
		return m, nil
	}
	var bad []error
	if c.Start%4096 != 0 {
		bad = append(bad, fmt.Errorf("the pool starts at %#x, not at a page", c.Start))
	}
	if c.Bytes%(SegmentSlots*SlotSize) != 0 || c.Start+c.Bytes < c.Start {
		bad = append(bad, fmt.Errorf("%#x bytes are no multiple of 256KiB that fits behind %#x", c.Bytes, c.Start))
	}
	slots := int(c.Bytes >> SlotShift)
	areas := c.Areas
	if areas == 0 {
		areas = Areas(c.Env.CPUs, slots)
	}
	if areas < 1 || areas&(areas-1) != 0 || areas*SegmentSlots > max(slots, SegmentSlots) {
		bad = append(bad, fmt.Errorf("%d areas: allowed are powers of two up to %d, a segment each", areas, max(slots/SegmentSlots, 1)))
	}
	if err := errors.Join(bad...); err != nil {
		return nil, fmt.Errorf("swiotlb: %w", err)
	}
	m.ratelimit = c.Env.Data(64)
	m.pools = []*Pool{m.newPool(m.va, c.Start, slots, areas)}
	if c.Growth != nil {
		m.grow = newGrowth(m, *c.Growth)
	}
	return m, nil
}

// newPool is swiotlb_init_io_tlb_pool.
func (m *Mem) newPool(va, start uint64, slots, areas int) *Pool {
	e := m.Env
	order := 0
	for 4096<<order < slots*SlotBytes {
		order++
	}
	p := &Pool{Start: start, End: start + uint64(slots)<<SlotShift, va: va, areasVA: e.Slab(areas*areaBytes, 64), slotsVA: e.Pages(order)}
	p.areas, p.slots = make([]area, areas), make([]slot, slots)
	p.init()
	return p
}

// init frees every slot.
func (p *Pool) init() {
	p.areaSlots = len(p.slots) / len(p.areas)
	for i := range p.areas {
		p.areas[i] = area{lock: cpu.LockWord{VA: p.areasVA + uint64(i)*areaBytes + areaLock}}
		p.areas[i].lock.Name = "swiotlb area"
	}
	for i := range p.slots {
		p.slots[i] = slot{orig: invalid, list: uint16(min(SegmentSlots-i%SegmentSlots, len(p.slots)-i))}
	}
}

func (p *Pool) slotVA(i int) uint64   { return p.slotsVA + uint64(i)*SlotBytes }
func (p *Pool) areaVA(i int) uint64   { return p.areasVA + uint64(i)*areaBytes }
func (p *Pool) slotAddr(i int) uint64 { return p.Start + uint64(i)<<SlotShift }

// contains reports whether pa lies in the pool.
func (p *Pool) contains(pa uint64) bool { return pa >= p.Start && pa < p.End }

// Used returns how many slots are taken.
func (p *Pool) Used() (n int) {
	for i := range p.areas {
		n += p.areas[i].used
	}
	return n
}

// Areas returns how many areas the pool has.
func (p *Pool) Areas() int { return len(p.areas) }

// Present reports whether there is a pool (dev->dma_io_tlb_mem is not nil).
func (m *Mem) Present() bool { return m != nil && len(m.pools) > 0 }

// Boot returns the pool made at boot, nil if there is none.
func (m *Mem) Boot() *Pool {
	if !m.Present() {
		return nil
	}
	return m.pools[0]
}

// Used returns how many slots of all pools are taken.
func (m *Mem) Used() (n int) {
	for _, p := range m.pools {
		n += p.Used()
	}
	if m.grow != nil {
		for _, p := range m.grow.transient {
			n += p.Used()
		}
	}
	return n
}

// MaxMapping is swiotlb_max_mapping_size: the largest buffer that can bounce for d, in bytes.
func MaxMapping(d *kernel.Device) uint64 {
	return SegmentSlots*SlotSize - (d.MinAlign+SlotSize-1)&^(SlotSize-1)
}

// Find is swiotlb_find_pool without its instructions: the pool that holds pa, nil for none.
func (m *Mem) Find(pa uint64) *Pool {
	if m == nil {
		return nil
	}
	for _, p := range m.pools {
		if p.contains(pa) {
			return p
		}
	}
	if m.grow != nil {
		for _, p := range m.grow.transient {
			if p.contains(pa) {
				return p
			}
		}
	}
	return nil
}

// Original returns the physical address of the memory that the byte at pa of a pool stands for. false: pa is in no pool, or free.
func (m *Mem) Original(pa uint64) (phys uint64, ok bool) {
	p := m.Find(pa)
	if p == nil {
		return 0, false
	}
	s := &p.slots[(pa-p.Start)>>SlotShift]
	if s.orig == invalid {
		return 0, false
	}
	return s.orig + pa&(SlotSize-1) - uint64(s.low), true
}

// SetIndex moves the place where the next search of every area of the default pool starts to slot i of the area. A recording's counts depend
// on it.
func (m *Mem) SetIndex(i int) {
	for a := range m.pools[0].areas {
		m.pools[0].areas[a].index = i % m.pools[0].areaSlots
	}
}

// slotsFor is nr_slots: how many slots n bytes take.
func slotsFor(n uint64) int { return int((n + SlotSize - 1) >> SlotShift) }

// offset is swiotlb_align_offset: the bits of addr that the bounce address has to share with it, below the alignment align or the slot.
func offset(d *kernel.Device, align, addr uint64) uint64 {
	return addr & d.MinAlign & (align | SlotSize - 1)
}
