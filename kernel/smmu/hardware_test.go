package smmu

import (
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/sim"
)

const regVA = cpu.MMIOBase + 0x10000

// hardware consumes the command queue. Without an engine it does so the moment PROD is written, as the emulator of the recordings did; with one it
// takes a time per command, and completes a CMD_SYNC when everything before it is done.
type hardware struct {
	t        testing.TB
	mem      *cache.Memory
	idr      map[uint64]uint64
	regs     map[uint64]uint64
	log2     uint8
	ring     uint64
	cons     uint32
	eng      *sim.Engine
	perCmd   sim.Time
	read     sim.Time
	step     sim.Handler
	running  bool
	seen     []smmutable.Command
	syncs    int
	order    []smmutable.Opcode
	onInv    func(c smmutable.Command)
	doneSync func(slot uint32)
}

// features of the unit in tests.
type features struct {
	noRange bool
	msi     bool
	ats     bool
	log2    uint8
	aloof   bool // walks do not snoop
	each    bool // kernel.Config.CleanEach
}

func newHardware(t testing.TB, mem *cache.Memory, f features) *hardware {
	h := &hardware{t: t, mem: mem, regs: map[uint64]uint64{}, log2: f.log2}
	id0 := smmutable.IDR0S1P | smmutable.IDR0TTFAArch64 | smmutable.IDR0Coherent | smmutable.IDR0ASID16 | smmutable.IDR0STLevel2
	if f.aloof {
		id0 &^= smmutable.IDR0Coherent
	}
	if f.msi {
		id0 |= smmutable.IDR0MSI
	}
	if f.ats {
		id0 |= smmutable.IDR0ATS
	}
	id3 := smmutable.IDR3RIL
	if f.noRange {
		id3 = 0
	}
	h.idr = map[uint64]uint64{smmutable.RegIDR0: uint64(id0), smmutable.RegIDR1: uint64(f.log2)<<smmutable.IDR1CmdqLog2 | 16,
		smmutable.RegIDR3: uint64(id3), smmutable.RegIDR5: uint64(smmutable.IDR5G4K) | smmutable.OutputCode(44)}
	return h
}

func (h *hardware) ReadReg(addr uint64, now sim.Time) (uint64, sim.Time) {
	off := addr - regVA
	if v, ok := h.idr[off]; ok {
		return v, now
	}
	if off == smmutable.RegCmdqCons {
		return uint64(h.cons), now + h.read
	}
	return h.regs[off], now + h.read
}

func (h *hardware) WriteReg(addr, val uint64, now sim.Time) {
	off := addr - regVA
	h.regs[off] = val
	switch off {
	case smmutable.RegCmdqBase:
		h.ring, _ = smmutable.DecodeQueueBase(val)
	case smmutable.RegCmdqProd:
		if h.eng == nil {
			for h.one() {
			}
			return
		}
		if !h.running {
			h.running = true
			h.eng.At(max(now, h.eng.Now())+h.perCmd, h.step, 0)
		}
	}
}

func (h *hardware) onStep(uint64) {
	h.running = h.one()
	if h.running {
		h.eng.At(h.eng.Now()+h.perCmd, h.step, 0)
	}
}

// one carries out the next command and reports whether there was one.
func (h *hardware) one() bool {
	prod := uint32(h.regs[smmutable.RegCmdqProd])
	if prod == h.cons {
		return false
	}
	slot := h.cons & (1<<h.log2 - 1)
	at := h.ring + uint64(slot)*16
	c := smmutable.Command{h.mem.Read64(at), h.mem.Read64(at + 8)}
	if !c.Known() {
		h.t.Fatalf("slot %d of lap %d: %#x is no command", slot, h.cons>>h.log2, c)
	}
	h.cons = (h.cons + 1) & (2<<h.log2 - 1)
	if c.Op() != smmutable.Sync {
		h.seen = append(h.seen, c)
		h.order = append(h.order, c.Op())
		if h.onInv != nil {
			h.onInv(c)
		}
		return true
	}
	h.syncs++
	h.order = append(h.order, c.Op())
	if cs, pa, data := c.Sync(); cs == smmutable.SignalIRQ {
		if pa != at {
			h.t.Fatalf("slot %d: the message goes to %#x and not to the slot at %#x", slot, pa, at)
		}
		h.mem.Write64(pa, h.mem.Read64(pa)&^0xffffffff|uint64(data))
	}
	if h.doneSync != nil {
		h.doneSync(slot)
	}
	return true
}

// allocator is a page allocator that emits nothing.
type allocator struct {
	env  *kernel.Env
	free []uint64
	left int // pages until it is empty, if not negative
	used int
	slow sim.Time
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
	unit  *Unit
	dom   *Domain
}

func newRig(tb testing.TB, v kernel.Version, f features) *rig {
	tb.Helper()
	if f.log2 == 0 {
		f.log2 = 16
	}
	mem := cache.NewMemory()
	r := &rig{env: kernel.NewEnv(kernel.Config{Version: v, Arch: kernel.ARM64, CPUs: 96, Coherent: !f.aloof, CleanEach: f.each}, mem, 0)}
	r.hw = newHardware(tb, mem, f)
	r.pages = &allocator{env: r.env, left: -1}
	var err error
	if r.unit, err = NewUnit(r.env, r.hw, regVA, r.pages); err != nil {
		tb.Fatal(err)
	}
	if r.dom, err = r.unit.NewDomain(0); err != nil {
		tb.Fatal(err)
	}
	r.unit.Enable()
	if err := r.unit.Attach(0x0100, r.dom); err != nil {
		tb.Fatal(err)
	}
	return r
}

// mapRange maps size bytes in pages of one size.
func (r *rig) mapRange(t *cpu.Thread, iova, phys, pgsize, count uint64, prot iommucore.Prot) (uint64, error) {
	t.Reserve(64)
	defer t.Reserve(-64)
	return r.dom.MapPages(t, 0, iova, phys, pgsize, count, prot)
}

// unmap is what iommu-dma does in strict mode: unmap, then invalidate.
func (r *rig) unmap(t *cpu.Thread, iova, pgsize, count uint64) uint64 {
	var g iommucore.Gather
	t.Reserve(64)
	g.Init(t.SP() + 8)
	n := r.dom.UnmapPages(t, 0, iova, pgsize, count, &g)
	r.dom.SyncTLB(t, 0, &g)
	t.Reserve(-64)
	return n
}

const (
	rw    = iommucore.Read | iommucore.Write | iommucore.Cache
	wr    = iommucore.Write | iommucore.Cache
	rd    = iommucore.Read | iommucore.Cache
	page  = 4096
	block = 2 << 20
	iova  = 0xfffff000
	phys  = 0x123456000
)
