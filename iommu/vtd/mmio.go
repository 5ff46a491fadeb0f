package vtd

import (
	"dmapath/iommu"
	"dmapath/iommu/table"
	"dmapath/sim"
)

// WriteReg is a register write that left a core at now, which must be the engine's time. Writing the queue tail and
// register-based invalidations take effect when they reach the unit; all else, which only set-up code writes, at once.
func (v *Unit) WriteReg(addr, val uint64, now sim.Time) {
	at := now + v.cfg.RegWrite
	switch off := addr - v.cfg.RegBase; off {
	case table.RegGCMD:
		v.command(uint32(val))
	case table.RegRTADDR:
		v.rtaddr = val
	case table.RegIQA:
		v.setQueue(val)
	case table.RegIQT:
		v.q.Ring(val&0x7fff0, at)
	case table.RegFSTS:
		resume := uint32(val)&v.faults.status&QueueError != 0
		v.faults.status &^= uint32(val) & clearableFSTS
		if resume {
			v.q.errCode = errNone
			v.q.Resume(at) // go on with the descriptor at the head
		}
	case table.RegFECTL:
		v.fectl = uint32(val)
	case table.RegIECTL:
		v.iectl = uint32(val)
	case table.RegICS:
		v.ics &^= uint32(val)
	case table.RegIVA:
		v.iva = val
	case table.RegIOTLB:
		v.iotlb = val
		if val&commandBusy != 0 {
			v.startCommand(table.RegIOTLB, at, v.cfg.IOTLBGlobalTime, v.cfg.IOTLBPageTime, int(val>>60&3) == GranPage)
		}
	case table.RegCCMD:
		v.ccmd = val
		if val&commandBusy != 0 {
			v.startCommand(table.RegCCMD, at, v.cfg.ContextInvTime, 0, false)
		}
	case table.RegPQH:
		v.pages.Head = val & (v.pages.Size - 1)
	case table.RegPQT:
		v.pages.Tail = val & (v.pages.Size - 1)
	case table.RegPQA:
		v.pages.Base, v.pages.Size = val&^0xfff&(1<<v.haw-1), 4096<<(val&7)
	case table.RegPRS:
		v.clearPages(uint32(val))
	default:
		v.writeFault(off, val)
	}
}

// writeFault clears a fault record: writing 1 to the F bit of its high word.
func (v *Unit) writeFault(off, val uint64) {
	if off < table.RegFRCD || off >= table.RegFRCD+uint64(len(v.faults.rec))*16 {
		return // reserved: ignored
	}
	r := &v.faults.rec[(off-table.RegFRCD)/16]
	if off&15 == 12 && val>>31&1 != 0 || off&15 == 8 && val&frcdF != 0 {
		r[1] &^= frcdF
	}
}

// command carries out GCMD: one-shot bits at once, the others follow the value written.
func (v *Unit) command(cmd uint32) {
	const levels = CmdTE | CmdQIE | CmdIRE | CmdCFI
	if cmd&CmdSRTP != 0 {
		v.root, v.mode = v.rtaddr&^0xfff&(1<<v.haw-1), v.rtaddr>>rootModeShift&3
		v.gsts |= CmdSRTP
	}
	if cmd&CmdSIRT != 0 {
		v.gsts |= CmdSIRT
	}
	was := v.gsts
	v.gsts = v.gsts&^levels | cmd&levels
	if (was^cmd)&CmdQIE != 0 {
		v.q.Reset(0, 0)
	}
}

// startCommand starts a register-based invalidation that reaches the unit at the time given.
func (v *Unit) startCommand(reg uint64, at sim.Time, sweep, page iommu.Cycles, paged bool) {
	c := sweep
	if paged {
		c = page
	}
	v.Eng.At(at+v.Span(c), v.q.hCommand, reg)
	v.cmdEnd = sim.Never
}

// onCommand is the end of a register-based invalidation's work in the caches; the busy bit clears when requests in flight are
// drained.
func (v *Unit) onCommand(reg uint64) {
	v.Stats.RegisterInvs++
	now := v.Eng.Now()
	v.cmdEnd = now
	if reg == table.RegCCMD {
		gran := int(v.ccmd >> 61 & 3)
		v.dropContext(gran, uint16(v.ccmd), uint16(v.ccmd>>16), uint8(v.ccmd>>32&3))
		return
	}
	gran := int(v.iotlb >> 60 & 3)
	v.dropTranslations(gran, uint16(v.iotlb>>32), v.iva)
	v.cmdEnd = v.DrainFrom(now, v.iotlb>>48&3 != 0)
}

// ReadReg is a register read that leaves a core at now: its value and when it is back.
func (v *Unit) ReadReg(addr uint64, now sim.Time) (val uint64, done sim.Time) {
	v.Stats.RegisterReads++
	done = now + v.cfg.RegRead
	sampled := now + v.cfg.RegRead/2
	switch off := addr - v.cfg.RegBase; off {
	case table.RegVER:
		val = 0x60
	case table.RegCAP:
		val = v.capReg
	case table.RegECAP:
		val = v.ecap
	case table.RegGSTS:
		val = uint64(v.gsts)
	case table.RegRTADDR:
		val = v.rtaddr
	case table.RegFSTS:
		val = uint64(v.faults.fsts())
	case table.RegFECTL:
		val = uint64(v.fectl)
	case table.RegIECTL:
		val = uint64(v.iectl)
	case table.RegICS:
		val = uint64(v.ics)
	case table.RegIQH:
		val = v.q.Head
	case table.RegIQT:
		val = v.q.Tail
	case table.RegIQA:
		val = v.q.iqa
	case table.RegIQERCD:
		val = v.q.errCode
	case table.RegIVA:
		val = v.iva
	case table.RegIOTLB:
		val = v.busy(v.iotlb, sampled)
	case table.RegCCMD:
		val = v.busy(v.ccmd, sampled)
	case table.RegPQH:
		val = v.pages.Head
	case table.RegPQT:
		val = v.pages.Tail
	case table.RegPRS:
		val = uint64(v.pagesStatus())
	default:
		val = v.readFault(off)
	}
	return val, done
}

// busy returns a command register with its busy bit as it is at t.
func (v *Unit) busy(reg uint64, t sim.Time) uint64 {
	if t < v.cmdEnd {
		return reg
	}
	return reg &^ commandBusy
}

func (v *Unit) readFault(off uint64) uint64 {
	if off < table.RegFRCD || off >= table.RegFRCD+uint64(len(v.faults.rec))*16 {
		return 0
	}
	w := v.faults.rec[(off-table.RegFRCD)/16][off>>3&1]
	if off&4 != 0 {
		w >>= 32
	}
	return w
}
