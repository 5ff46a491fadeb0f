package vtd

import (
	"dmapath/iommu"
	"dmapath/sim"
)

// WriteReg is a register write that left a core at now, which must be the engine's time. Writing the queue tail and
// register-based invalidations take effect when they reach the unit; all else, which only set-up code writes, at once.
func (v *Unit) WriteReg(addr, val uint64, now sim.Time) {
	at := now + v.cfg.RegWrite
	switch off := addr - v.cfg.RegBase; off {
	case RegGCMD:
		v.command(uint32(val))
	case RegRTADDR:
		v.rtaddr = val
	case RegIQA:
		v.setQueue(val)
	case RegIQT:
		v.q.Ring(val&0x7fff0, at)
	case RegFSTS:
		resume := uint32(val)&v.faults.status&QueueError != 0
		v.faults.status &^= uint32(val) & clearableFSTS
		if resume {
			v.q.errCode = errNone
			v.q.Resume(at) // go on with the descriptor at the head
		}
	case RegFECTL:
		v.fectl = uint32(val)
	case RegIECTL:
		v.iectl = uint32(val)
	case RegICS:
		v.ics &^= uint32(val)
	case RegIVA:
		v.iva = val
	case RegIOTLB:
		v.iotlb = val
		if val&commandBusy != 0 {
			v.startCommand(RegIOTLB, at, v.cfg.IOTLBGlobalTime, v.cfg.IOTLBPageTime, int(val>>60&3) == GranPage)
		}
	case RegCCMD:
		v.ccmd = val
		if val&commandBusy != 0 {
			v.startCommand(RegCCMD, at, v.cfg.ContextInvTime, 0, false)
		}
	case RegPQH:
		v.pages.Head = val & (v.pages.Size - 1)
	case RegPQT:
		v.pages.Tail = val & (v.pages.Size - 1)
	case RegPQA:
		v.pages.Base, v.pages.Size = val&^0xfff&(1<<v.haw-1), 4096<<(val&7)
	case RegPRS:
		v.clearPages(uint32(val))
	default:
		v.writeFault(off, val)
	}
}

// writeFault clears a fault record: writing 1 to the F bit of its high word.
func (v *Unit) writeFault(off, val uint64) {
	if off < RegFRCD || off >= RegFRCD+uint64(len(v.faults.rec))*16 {
		return // reserved: ignored
	}
	r := &v.faults.rec[(off-RegFRCD)/16]
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
	if reg == RegCCMD {
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
	case RegVER:
		val = 0x60
	case RegCAP:
		val = v.capReg
	case RegECAP:
		val = v.ecap
	case RegGSTS:
		val = uint64(v.gsts)
	case RegRTADDR:
		val = v.rtaddr
	case RegFSTS:
		val = uint64(v.faults.fsts())
	case RegFECTL:
		val = uint64(v.fectl)
	case RegIECTL:
		val = uint64(v.iectl)
	case RegICS:
		val = uint64(v.ics)
	case RegIQH:
		val = v.q.Head
	case RegIQT:
		val = v.q.Tail
	case RegIQA:
		val = v.q.iqa
	case RegIQERCD:
		val = v.q.errCode
	case RegIVA:
		val = v.iva
	case RegIOTLB:
		val = v.busy(v.iotlb, sampled)
	case RegCCMD:
		val = v.busy(v.ccmd, sampled)
	case RegPQH:
		val = v.pages.Head
	case RegPQT:
		val = v.pages.Tail
	case RegPRS:
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
	if off < RegFRCD || off >= RegFRCD+uint64(len(v.faults.rec))*16 {
		return 0
	}
	w := v.faults.rec[(off-RegFRCD)/16][off>>3&1]
	if off&4 != 0 {
		w >>= 32
	}
	return w
}
