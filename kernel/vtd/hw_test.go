package vtd_test

import (
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/internal/recorded"
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
	case 0x08:
		return h.cap, now
	case 0x10:
		return h.ecap, now
	case 0x34:
		if h.lazy {
			h.run()
		}
		return 0, now + 200*sim.Nanosecond
	}
	return h.regs[addr-regVA], now
}

func (h *hardware) WriteReg(addr, val uint64, now sim.Time) {
	h.regs[addr-regVA] = val
	if addr-regVA == 0x88 && !h.lazy {
		h.run()
	}
}

func (h *hardware) run() {
	for ring := h.regs[0x90]; h.head != h.regs[0x88]; h.head = (h.head + 16) % 4096 {
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
	used int
	left int // pages until the allocator is empty, if not negative
}

func (a *allocator) AllocPages(t *cpu.Thread, order int) uint64 {
	if a.left == 0 {
		return 0
	}
	a.left--
	a.used++
	if n := len(a.free); n > 0 {
		va := a.free[n-1]
		a.free = a.free[:n-1]
		return va
	}
	return a.env.Page()
}

func (a *allocator) FreePages(t *cpu.Thread, va uint64, order int) {
	a.used--
	a.free = append(a.free, va)
}

type rig struct {
	env   *kernel.Env
	hw    *hardware
	pages *allocator
	unit  *vtd.Unit
	dom   *vtd.Domain
}

func newRig(tb testing.TB, v kernel.Version, coherent bool, levels int) *rig {
	tb.Helper()
	mem := cache.NewMemory()
	r := &rig{env: kernel.NewEnv(kernel.Config{Version: v, CPUs: 4, Coherent: coherent}, mem, 0)}
	r.hw = newHardware(mem, coherent)
	r.pages = &allocator{env: r.env, left: -1}
	var err error
	if r.unit, err = vtd.NewUnit(r.env, r.hw, regVA, r.pages); err != nil {
		tb.Fatal(err)
	}
	if r.dom, err = r.unit.NewDomain(levels); err != nil {
		tb.Fatal(err)
	}
	if err := r.unit.Attach(0x0100, r.dom); err != nil {
		tb.Fatal(err)
	}
	r.unit.Enable()
	return r
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

func own(tb testing.TB, ops []cpu.Op, key string, skip ...string) {
	want, err := recorded.Load(key)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Log(key + "\n" + recorded.Table(recorded.Measure(ops), want))
}

func TestShow(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, co := range []bool{true, false} {
			be := "iommu-strict"
			if !co {
				be += "-nc"
			}
			m, u := "/map_page/", "/unmap_page/"
			if v == kernel.V7_3 {
				m, u = "/map_phys/", "/unmap_phys/"
			}
			for _, size := range []uint64{4096, 2 << 20} {
				r := newRig(t, v, co, 4)
				at, pa := uint64(iova), uint64(phys)
				sz := "4096"
				if size > 4096 {
					at, pa = 0xffc00000, 0x123400000
					sz = "2097152"
				}
				ops := recorded.RunWarm(func(th *cpu.Thread) {
					if size > 4096 {
						r.dom.Core.Map(th, at+size, pa, size, rw)
					}
					if err := r.dom.Core.Map(th, at, pa, size, rw); err != nil {
						t.Fatal(err)
					}
					r.unmap(th, at, size)
				}, func(th *cpu.Thread) {
					r.dom.Core.Map(th, at, pa, size, rw)
				})
				if co || size == 4096 {
					own(t, ops, v.String()+"/"+be+m+sz)
				}
				ops = recorded.Run(func(th *cpu.Thread) {
					r.dom.Core.IovaToPhys(th, at)
					r.unmap(th, at, size)
				})
				if co || size == 4096 {
					own(t, ops, v.String()+"/"+be+u+sz)
				}
			}
		}
	}
}
