package amdvi_test

import (
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/iommu/amdtable"
	"dmapath/kernel"
	"dmapath/kernel/amdvi"
	"dmapath/kernel/iommucore"
	"dmapath/sim"
)

const regVA = cpu.MMIOBase + 0x10000

// hardware executes the command buffer, at once when the tail is written or after a delay, and remembers what it was told.
type hardware struct {
	mem      *cache.Memory
	features uint64
	regs     map[uint64]uint64
	seen     []amdtable.Command
	reads    int // of CMD_HEAD
	// With an engine, commands are executed so long after the write of the tail.
	eng     *sim.Engine
	handler sim.Handler
	after   sim.Time
	// halted makes the hardware stand still until run is called.
	halted bool
}

func newHardware(mem *cache.Memory, levels int) *hardware {
	return &hardware{mem: mem, features: amdtable.FeatureHATS(levels) | amdtable.FeatureIA, regs: map[uint64]uint64{}}
}

func (h *hardware) ReadReg(addr uint64, now sim.Time) (uint64, sim.Time) {
	switch addr - regVA {
	case amdtable.RegExtFeatures:
		return h.features, now
	case amdtable.RegCmdHead:
		h.reads++
	}
	return h.regs[addr-regVA], now
}

func (h *hardware) WriteReg(addr, val uint64, now sim.Time) {
	h.regs[addr-regVA] = val
	switch {
	case addr-regVA != amdtable.RegCmdTail || h.halted:
	case h.eng != nil:
		h.eng.At(now+h.after, h.handler, val)
	default:
		h.run(val)
	}
}

// run executes the commands up to the tail.
func (h *hardware) run(tail uint64) {
	base, log2 := amdtable.DecodeBase(h.regs[amdtable.RegCmdBase])
	for head := h.regs[amdtable.RegCmdHead]; head != tail; {
		c, illegal := amdtable.DecodeCommand([2]uint64{h.mem.Read64(base + head), h.mem.Read64(base + head + 8)})
		if illegal {
			panic("illegal command")
		}
		h.seen = append(h.seen, c)
		if c.Op == amdtable.CompletionWait {
			h.mem.Write64(c.Store, c.Data)
		}
		head = (head + amdtable.CommandSize) % (amdtable.CommandSize << log2)
		h.regs[amdtable.RegCmdHead] = head
	}
}

// take returns what was seen since the last call.
func (h *hardware) take() []amdtable.Command { s := h.seen; h.seen = nil; return s }

// allocator is a page allocator that emits nothing.
type allocator struct {
	env  *kernel.Env
	free []uint64
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
	unit  *amdvi.Unit
	dom   *amdvi.Domain
}

const rid = 0x0100

func newRig(tb testing.TB, v kernel.Version, levels int) *rig {
	tb.Helper()
	mem := cache.NewMemory()
	r := &rig{env: kernel.NewEnv(kernel.Config{Version: v, CPUs: 4, Coherent: true}, mem, 0)}
	r.hw = newHardware(mem, 6)
	r.pages = &allocator{env: r.env, left: -1}
	r.attach(tb, r.hw, levels)
	return r
}

func (r *rig) attach(tb testing.TB, hw cpu.MMIO, levels int) {
	tb.Helper()
	var err error
	if r.unit, err = amdvi.NewUnit(r.env, hw, regVA, r.pages); err != nil {
		tb.Fatal(err)
	}
	r.unit.Enable()
	r.dom = r.domain(tb, rid, levels)
}

func (r *rig) domain(tb testing.TB, rid uint16, levels int) *amdvi.Domain {
	tb.Helper()
	d, err := r.unit.NewDomain(levels)
	if err != nil {
		tb.Fatal(err)
	}
	if err := r.unit.Attach(rid, d); err != nil {
		tb.Fatal(err)
	}
	return d
}

// dte returns the device table entry of a device as the hardware sees it.
func (r *rig) dte(rid uint16) amdtable.DTE {
	base, _ := amdtable.DecodeDevTable(r.hw.regs[amdtable.RegDevTableBase])
	at := amdtable.DTEAddr(base, rid)
	d, _ := amdtable.DecodeDTE([2]uint64{r.env.Mem.Read64(at), r.env.Mem.Read64(at + 8)}, 6)
	return d
}

// translate walks as the hardware does, from the device table entry on.
func (r *rig) translate(iova uint64) (pa uint64, shift uint8, ok bool) {
	d := r.dte(rid)
	t, why := amdtable.Walk(r.env.Mem, d.Root, d.Mode, iova, true)
	return t.PA, t.Shift, why == amdtable.NoFault
}

// unmap is what iommu-dma does in strict mode: unmap, then invalidate and free.
func unmap(t *cpu.Thread, d *amdvi.Domain, iova, size uint64) uint64 {
	var g iommucore.Gather
	t.Frame(64)
	g.Init(t.SP() + 8)
	n := d.Core.Unmap(t, iova, size, &g)
	d.Core.SyncTLB(t, &g)
	t.Frame(-64)
	return n
}

const (
	rw   = iommucore.Read | iommucore.Write
	iova = 0xfffff000
	phys = 0x123456000
)

var versions = []kernel.Version{kernel.V6_12, kernel.V7_3}
