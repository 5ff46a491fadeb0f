package vtd_test

import (
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/vtd"
	"dmapath/sim"
)

const regVA = cpu.MMIOBase + 0x10000

// hardware executes the invalidation queue the moment its tail is written, as the emulator of the recordings did, and
// remembers what it was told.
type hardware struct {
	mem       *cache.Memory
	cap, ecap uint64
	regs      map[uint64]uint64
	head      uint64
	seen      [][2]uint64 // IOTLB descriptors
	waits     int
	// lazy makes the queue stand still until run is called.
	lazy bool
	// onInvalidate is called for each IOTLB descriptor before it completes.
	onInvalidate func()
}

func newHardware(mem *cache.Memory, coherent bool) *hardware {
	h := &hardware{mem: mem, regs: map[uint64]uint64{}}
	// SAGAW 3, 4 and 5 levels; 2M and 1G; PSI with up to 2^18 pages; 16-bit domain ids; both drains.
	h.cap = 0xe<<8 | 3<<34 | 1<<39 | 18<<48 | 6 | 3<<54
	h.ecap = 1<<1 | 1<<6
	if coherent {
		h.ecap |= 1
	}
	return h
}

func (h *hardware) ReadReg(addr uint64, now sim.Time) (uint64, sim.Time) {
	switch addr - regVA {
	case table.RegCAP:
		return h.cap, now
	case table.RegECAP:
		return h.ecap, now
	case table.RegFSTS:
		if h.lazy {
			h.run()
		}
		return 0, now + 200*sim.Nanosecond
	}
	return h.regs[addr-regVA], now
}

func (h *hardware) WriteReg(addr, val uint64, now sim.Time) {
	h.regs[addr-regVA] = val
	if addr-regVA == table.RegIQT && !h.lazy {
		h.run()
	}
}

func (h *hardware) run() {
	for ring := h.regs[table.RegIQA]; h.head != h.regs[table.RegIQT]; h.head = (h.head + 16) % 4096 {
		lo, hi := h.mem.Read64(ring+h.head), h.mem.Read64(ring+h.head+8)
		switch lo & 15 {
		case 2:
			h.seen = append(h.seen, [2]uint64{lo, hi})
			if h.onInvalidate != nil {
				h.onInvalidate()
			}
		case 5:
			h.waits++
			w := h.mem.Read64(hi &^ 7)
			sh := hi & 4 * 8
			h.mem.Write64(hi&^7, w&^(0xffffffff<<sh)|lo>>32<<sh)
		default:
			panic("unknown descriptor")
		}
	}
}

// allocator is a page allocator that emits nothing.
type allocator struct {
	env  *kernel.Env
	free []uint64
	all  map[uint64]bool
	used int
	slow sim.Time // how long an allocation takes
	left int      // pages until the allocator is empty, if not negative
}

func (a *allocator) AllocPages(t *cpu.Thread, order int) uint64 {
	if a.left == 0 {
		return 0
	}
	a.left--
	if a.slow > 0 {
		t.WaitUntil(cpu.StallMem, t.Now()+a.slow)
	}
	a.used++
	if n := len(a.free); n > 0 {
		va := a.free[n-1]
		a.free = a.free[:n-1]
		return va
	}
	va := a.env.Page()
	a.all[va] = true
	return va
}

func (a *allocator) FreePages(t *cpu.Thread, va uint64, order int) {
	a.used--
	a.free = append(a.free, va)
}

// owns reports whether va lies in a page that was handed out, now or before.
func (a *allocator) owns(va uint64) bool { return a.all[va&^4095] }

type rig struct {
	env   *kernel.Env
	hw    *hardware
	pages *allocator
	unit  *vtd.Unit
	dom   *vtd.Domain

	levels int
}

func newRig(tb testing.TB, v kernel.Version, coherent bool, levels int) *rig {
	tb.Helper()
	mem := cache.NewMemory()
	r := &rig{env: kernel.NewEnv(kernel.Config{Version: v, CPUs: 4, Coherent: coherent}, mem, 0)}
	r.hw = newHardware(mem, coherent)
	r.pages = &allocator{env: r.env, all: map[uint64]bool{}, left: -1}
	r.levels = levels
	r.attach(tb, r.hw)
	return r
}

// attach builds the driver's unit on hw, with one domain for device 01:00.0.
func (r *rig) attach(tb testing.TB, hw cpu.MMIO) {
	tb.Helper()
	if err := r.tryAttach(hw); err != nil {
		tb.Fatal(err)
	}
}

func (r *rig) tryAttach(hw cpu.MMIO) (err error) {
	if r.unit, err = vtd.NewUnit(r.env, hw, regVA, r.pages); err != nil {
		return err
	}
	if r.dom, err = r.unit.NewDomain(r.levels); err != nil {
		return err
	}
	r.unit.Enable()
	return r.unit.Attach(0x0100, r.dom)
}

// unmap is what iommu-dma does in strict mode: unmap, then invalidate and free.
func (r *rig) unmap(t *cpu.Thread, iova, size uint64) uint64 {
	var g iommucore.Gather
	t.Frame(64)
	g.Init(t.SP() + 8)
	n := r.dom.Core.Unmap(t, iova, size, &g)
	r.dom.Core.SyncTLB(t, &g)
	t.Frame(-64)
	return n
}

const (
	rw   = iommucore.Read | iommucore.Write
	iova = 0xfffff000
	phys = 0x123456000
)
