package vmm

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu/table"
	"dmapath/sim"
)

const (
	regBytes  = table.RegIQA + 8 // the virtual unit has no registers behind the queue's
	ringBytes = 4096             // 256 descriptors of 16 bytes
	capCM     = 1 << 7           // caching mode, of the capability register
)

// Descriptors (specification 6.5.2).
const (
	descIOTLB = 2
	descWait  = 5
	granPage  = 3 // granularity in bits 5:4 of an IOTLB descriptor
)

// Window is the register window of the virtual unit. It starts as the real unit reports itself, with caching mode.
type Window struct {
	host *Host
	base uint64
	regs [regBytes / 4]uint32
	head uint64
}

var _ cpu.Exiter = (*Window)(nil)

func (w *Window) get(off uint64) uint64 { return uint64(w.regs[off/4]) | uint64(w.regs[off/4+1])<<32 }

func (w *Window) set(off, val uint64) {
	w.regs[off/4], w.regs[off/4+1] = uint32(val), uint32(val>>32)
}

// ReadReg and WriteReg are accesses at boot, which cost nothing; afterwards accesses come through Exit.
func (w *Window) ReadReg(addr uint64, now sim.Time) (uint64, sim.Time) {
	switch off := addr - w.base; off {
	case table.RegGSTS, table.RegFSTS:
		return uint64(w.regs[off/4]), now
	case table.RegCAP, table.RegECAP, table.RegRTADDR, table.RegIQH, table.RegIQT, table.RegIQA:
		return w.get(off), now
	default:
		panic(fmt.Sprintf("vmm: read of register %#x of the virtual unit, which it does not have", off))
	}
}

// WriteReg is a write at boot.
func (w *Window) WriteReg(addr, val uint64, _ sim.Time) {
	switch off := addr - w.base; off {
	case table.RegGCMD:
		w.regs[table.RegGSTS/4] = uint32(val)
	case table.RegRTADDR, table.RegIQT, table.RegIQA:
		w.set(off, val)
	default:
		panic(fmt.Sprintf("vmm: write of register %#x of the virtual unit, which it does not have", off))
	}
}

// vtdHandler is the virtual unit's own.
var vtdHandler = []stage{{cpu.NewFunc("vtd_mem_write", fileQEMU, 1600), 90, onDevice}}

// Exit is one access of the running guest: everything from the exit of the guest to its entry.
func (w *Window) Exit(t *cpu.Thread, va, val uint64, write bool) uint64 {
	w.host.handle(t, vtdHandler, func() {
		if !write {
			val, _ = w.ReadReg(va, 0)
			return
		}
		w.WriteReg(va, val, 0)
		if va-w.base == table.RegIQT {
			w.process(t)
		}
	})
	return val
}

// process carries out the descriptors up to the tail (vtd_handle_iqt_write, vtd_fetch_inv_desc).
func (w *Window) process(t *cpu.Thread) {
	h := w.host
	ring := w.get(table.RegIQA) &^ 0xfff
	for tail := w.get(table.RegIQT); w.head != tail; w.head = (w.head + 16) % ringBytes {
		h.code(t, &stages[stDesc])
		at := ring + w.head
		lo, hi := h.load(t, at), h.load(t, at+8)
		switch lo & 15 {
		case descIOTLB:
			h.Invalidations++
			h.code(t, &stages[stIOTLB])
			first, last := uint64(0), ^uint64(0)
			if lo>>4&3 == granPage {
				first = hi &^ 0xfff
				last = first + 4096<<(hi&63) - 1
			}
			w.invalidate(t, uint16(lo>>16), first, last)
		case descWait:
			h.code(t, &stages[stWait])
			h.store32(t, hi&^3, uint32(lo>>32))
		default:
			panic(fmt.Sprintf("vmm: descriptor %#x in the guest's invalidation queue", lo))
		}
		w.set(table.RegIQH, (w.head+16)%ringBytes)
	}
}

// invalidate synchronises the shadows of the devices whose guest domain is did (vtd_iotlb_page_invalidate_notify).
func (w *Window) invalidate(t *cpu.Thread, did uint16, first, last uint64) {
	h := w.host
	for _, s := range h.shadows {
		h.code(t, &stages[stContext])
		root := w.get(table.RegRTADDR) &^ 0xfff
		at := table.RootEntryAddr(root, s.rid)
		e := h.load(t, at)
		if e&1 == 0 {
			continue
		}
		at = table.ContextAddr(e&^0xfff, s.rid)
		c, _ := table.DecodeContext(h.load(t, at), h.load(t, at+8), 52)
		if !c.Present || c.Domain != did {
			continue
		}
		if top := uint64(1)<<table.Shift(c.Levels+1) - 1; last > top {
			last = top
		}
		if first <= last {
			s.sync(t, c.Root, c.Levels, first, last)
		}
	}
}
