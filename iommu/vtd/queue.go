package vtd

import (
	"dmapath/iommu"
	"dmapath/pcie"
	"dmapath/sim"
)

// queue is the invalidation queue (section 6.5.2).
type queue struct {
	iommu.Queue
	iqa     uint64
	errCode uint64 // IQERCD.IQEI

	hCommand sim.Handler
}

// Queue error codes (IQERCD.IQEI).
const (
	errNone       = 0
	errTail       = 2 // tail beyond the queue or not on a descriptor
	errType       = 4
	errGran       = 5
	errAddrMask   = 6
	errStatusAddr = 7
)

const queueTypeMask = 15 // bits 3:0 of a descriptor

func (v *Unit) initQueue() {
	q := &v.q
	q.Init(&v.Core, v, "invalidation queue")
	q.FetchOverhead, q.DecodeTime = v.Span(v.cfg.FetchOverhead), v.Span(v.cfg.DecodeTime)
	q.hCommand = v.Eng.Register("iommu: register invalidation", v.onCommand)
	v.setQueue(0)
}

func (v *Unit) setQueue(iqa uint64) {
	q := &v.q
	q.iqa, q.Base, q.Size, q.Width = iqa, iqa&^0xfff&(1<<v.haw-1), 4096<<(iqa&7), 16
	if iqa&iqaWide != 0 {
		q.Width = 32
	}
	q.Wrap = q.Size
}

// QueueDepth returns how many descriptors the head has not passed.
func (v *Unit) QueueDepth() int { return v.q.Depth() }

// Runs reports whether the queue is enabled and not stopped by an error.
func (v *Unit) Runs() bool { return v.gsts&CmdQIE != 0 && v.faults.status&QueueError == 0 }

// Written checks the tail that reaches the unit.
func (v *Unit) Written(tail uint64) (uint64, bool) {
	if tail >= v.q.Size || tail%v.q.Width != 0 {
		v.queueError(errTail)
		v.Stats.QueueErrors++
		return 0, false
	}
	return tail, true
}

func (v *Unit) queueError(code uint64) {
	v.faults.status |= QueueError
	v.q.errCode = code
}

// Decode checks a descriptor and says how long carrying it out takes.
func (v *Unit) Decode(desc [2]uint64) iommu.Action {
	lo, hi := desc[0], desc[1]
	kind := lo & queueTypeMask
	code := uint64(errNone)
	if lo>>9&7 != 0 || kind == 0 || kind > DescPageResp {
		code = errType
	} else {
		code = v.check(kind, lo, hi)
	}
	if code != errNone {
		v.queueError(code)
		return iommu.Action{}
	}
	if kind == DescPageResp {
		return iommu.Action{Kind: iommu.Other}
	}
	if kind != DescWait {
		return iommu.Action{Kind: iommu.Invalidate, Takes: v.serviceTime(kind, lo)}
	}
	a := iommu.Action{Kind: iommu.Wait, Fence: lo&WaitFence != 0, Takes: v.Span(v.cfg.StatusTime)}
	if lo&WaitStatus != 0 {
		a.Signal = iommu.Signal{PA: hi &^ 3, Data: lo >> 32, Bytes: 4}
	}
	if lo&WaitInterrupt != 0 {
		a.Signal.Kind = waitInterrupt
	}
	return a
}

// waitInterrupt is the kind of signal that also raises an interrupt.
const waitInterrupt = 1

// Signal notes the interrupt of a wait descriptor.
func (v *Unit) Signal(s iommu.Signal) {
	if s.Kind == waitInterrupt {
		v.ics |= ircIWC
	}
}

// check returns what is wrong with a descriptor.
func (v *Unit) check(kind, lo, hi uint64) uint64 {
	gran := lo >> 4 & 3
	paged := false
	switch kind {
	case DescContext:
		if gran == 0 {
			return errGran
		}
	case DescIOTLB:
		if gran == 0 || gran == GranPage && !v.cfg.PageSelective {
			return errGran
		}
		paged = gran == GranPage
	case DescPASIDTLB:
		if gran < GranPASIDAll {
			return errGran
		}
		paged = gran == GranPASIDPage
	case DescPASID:
		if gran == 2 {
			return errGran
		}
	}
	if kind == DescWait && hi>>v.haw != 0 {
		return errStatusAddr
	}
	if paged && int(hi&0x3f) > v.cfg.MaxMask {
		return errAddrMask
	}
	return errNone
}

// serviceTime returns how long carrying out a descriptor takes after decoding.
func (v *Unit) serviceTime(kind, lo uint64) sim.Time {
	switch kind {
	case DescContext, DescPASID:
		return v.Span(v.cfg.ContextInvTime)
	case DescIOTLB:
		if lo>>4&3 != GranPage {
			return v.Span(v.cfg.IOTLBGlobalTime)
		}
		return v.Span(v.cfg.IOTLBPageTime)
	case DescPASIDTLB:
		if lo>>4&3 != GranPASIDPage {
			return v.Span(v.cfg.IOTLBGlobalTime)
		}
		return v.Span(v.cfg.IOTLBPageTime)
	case DescDeviceTLB, DescPASIDDev:
		if kind == DescDeviceTLB && v.HasTLB(uint16(lo>>32)) {
			return 0 // goes out, and is complete when the device answers
		}
		return v.cfg.DeviceTLBTime
	default:
		return v.Span(v.cfg.InterruptInvTime)
	}
}

// Effect carries out a descriptor.
func (v *Unit) Effect(desc [2]uint64) (complete sim.Time) {
	now := v.Eng.Now()
	lo, hi := desc[0], desc[1]
	domain := uint16(lo >> 16)
	switch gran := int(lo >> 4 & 3); lo & queueTypeMask {
	case DescContext:
		v.dropContext(gran, domain, uint16(lo>>32), uint8(lo>>48&3))
	case DescPASID:
		v.dropPASID(gran, domain, uint32(lo>>32)&0xfffff)
	case DescPageResp:
		v.pages.Respond(uint16(lo>>16), uint16(hi>>3&0x1ff), pcie.Response(lo>>12&15), now)
	case DescDeviceTLB:
		first, last := deviceRange(hi)
		return v.InvalidateTLB(uint16(lo>>32), first, last, now)
	case DescIOTLB:
		v.dropTranslations(gran, domain, hi)
		return v.DrainFrom(now, lo>>6&3 != 0)
	case DescPASIDTLB:
		v.dropPASIDTranslations(gran, domain, uint32(lo>>32)&0xfffff, hi)
		return v.DrainFrom(now, true)
	}
	return now
}
