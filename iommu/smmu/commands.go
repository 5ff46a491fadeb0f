package smmu

import (
	"dmapath/iommu"
	"dmapath/iommu/smmutable"
	"dmapath/sim"
)

// setCommands takes a new command queue and empties it.
func (u *Unit) setCommands(base uint64) {
	u.cmdqBase = base
	var log2 uint8
	u.q.Base, log2 = smmutable.DecodeQueueBase(base)
	u.q2 = min(max(log2, 2), uint8(u.cfg.QueueLog2))
	u.q.Size = smmutable.CommandSize << u.q2
	u.q.Wrap = 2 * u.q.Size
	u.q.Reset(0, 0)
}

// offset turns an index with its wrap bit into an offset of the queue, and index back.
func (u *Unit) offset(index uint64) uint64 { return index & (2<<u.q2 - 1) * smmutable.CommandSize }

func (u *Unit) index(offset uint64) uint64 { return offset / smmutable.CommandSize }

// Runs reports whether the queue is enabled and no error stops it.
func (u *Unit) Runs() bool {
	return u.cr0&smmutable.CR0CMDQEN != 0 && (u.gerror^u.gerrorN)&smmutable.GErrorCmdq == 0
}

// Written is PROD reaching the unit.
func (u *Unit) Written(val uint64) (uint64, bool) { return u.offset(val), true }

// Decode says what the unit does with a command.
func (u *Unit) Decode(w [2]uint64) iommu.Action {
	c := smmutable.Command(w)
	takes := iommu.Cycles(0)
	switch op := c.Op(); op {
	case smmutable.Sync:
		// CONS passes it when it is complete.
		a := iommu.Action{Kind: iommu.Wait, Fence: !u.cfg.Overlap, Holds: true, Takes: u.sync}
		switch cs, pa, data := c.Sync(); {
		case cs == smmutable.SignalIRQ && u.cfg.MSI && pa != 0:
			a.Signal, a.Late = iommu.Signal{PA: pa, Data: uint64(data), Bytes: 4}, u.cfg.MessageTime
		case cs == smmutable.SignalSEV && u.cfg.SEV:
			a.Signal.Kind = sendEvent
		case cs > smmutable.SignalSEV:
			return u.illegal()
		}
		return a
	case smmutable.CfgiSTE, smmutable.CfgiSTERange, smmutable.CfgiCD, smmutable.CfgiCDAll:
		takes = u.cfg.ConfigInvTime
	case smmutable.TlbiNHVA, smmutable.TlbiNHVAA, smmutable.TlbiEL2VA, smmutable.TlbiEL2VAA, smmutable.TlbiS2IPA:
		takes = u.cfg.PageInvTime
	case smmutable.TlbiNHAll, smmutable.TlbiNHASID, smmutable.TlbiEL2All, smmutable.TlbiEL2ASID, smmutable.TlbiS12VMAll, smmutable.TlbiNSNHAll:
		takes = u.cfg.SweepTime
	case smmutable.AtcInv:
		if u.HasTLB(uint16(c.StreamID())) {
			break // goes out, and is complete when the device answers
		}
		return iommu.Action{Kind: iommu.Invalidate, Takes: u.cfg.ATCTime}
	case smmutable.PrefetchConfig, smmutable.PrefetchAddr: // a prefetch may be ignored
		return iommu.Action{Kind: iommu.Other}
	default: // unknown, and page responses, whose queue is left out
		return u.illegal()
	}
	return iommu.Action{Kind: iommu.Invalidate, Takes: u.Span(takes)}
}

// sendEvent is the kind of signal that wakes CPUs in wfe.
const sendEvent = 1

// illegal stops the queue at the present command (CERROR_ILL).
func (u *Unit) illegal() iommu.Action {
	u.cmdqErr = smmutable.CmdqErrIll
	u.gerror ^= smmutable.GErrorCmdq
	return iommu.Action{}
}

// Signal is a CMD_SYNC's completion.
func (u *Unit) Signal(s iommu.Signal) {
	if s.Kind == sendEvent && u.Event != nil {
		u.Event()
	}
}

// Effect carries out an invalidation.
func (u *Unit) Effect(w [2]uint64) (complete sim.Time) {
	c := smmutable.Command(w)
	now := u.Eng.Now()
	switch c.Op() {
	case smmutable.CfgiSTE:
		u.dropStreams(uint64(c.StreamID()), 0)
		return u.DrainFrom(now, false)
	case smmutable.CfgiSTERange:
		u.dropStreams(uint64(c.StreamID()), c.ConfigRange())
		return u.DrainFrom(now, false)
	case smmutable.CfgiCD:
		if ssid, _ := c.SubstreamID(); ssid == 0 { // no other is ever cached
			u.contexts.Drop(uint64(c.StreamID()))
		}
		return u.DrainFrom(now, false)
	case smmutable.CfgiCDAll:
		u.contexts.Drop(uint64(c.StreamID()))
		return u.DrainFrom(now, false)
	case smmutable.AtcInv:
		first, last := atcRange(c)
		return u.InvalidateTLB(uint16(c.StreamID()), first, last, now)
	case smmutable.PrefetchConfig, smmutable.PrefetchAddr:
		return now
	}
	u.dropTranslations(c)
	return u.DrainFrom(now, true)
}

// dropStreams forgets the configuration of the 2^log2 streams around sid, descriptors included.
func (u *Unit) dropStreams(sid uint64, log2 uint8) {
	switch {
	case log2 == 0:
		u.streams.Drop(sid)
		u.contexts.Drop(sid)
	case log2 >= 32:
		u.streams.DropAll()
		u.contexts.DropAll()
	default:
		u.streams.DropIf(func(key uint64, _ *stream) bool { return key>>log2 == sid>>log2 })
		u.contexts.DropIf(func(key uint64, _ *context) bool { return key>>log2 == sid>>log2 })
	}
}

// dropTranslations carries out a TLB invalidation.
func (u *Unit) dropTranslations(c smmutable.Command) {
	t := c.TLBI()
	el2 := uint16(0) // VMID of EL2's address spaces
	if u.host != nil {
		t.VMID, el2 = u.host.VMID, u.host.VMID
	}
	var match func(k spaceKey) bool
	paged := false
	switch op := c.Op(); op {
	case smmutable.TlbiNSNHAll:
		u.DropAll()
		return
	case smmutable.TlbiNHVA, smmutable.TlbiEL2VA:
		// The one that a strict unmap sends is worth a look-up.
		vmid := t.VMID
		if op == smmutable.TlbiEL2VA {
			vmid = el2
		}
		if n, ok := u.spaces.index[spaceKey{vmid, t.ASID, true}]; ok {
			u.dropRange(n, &t)
		}
		return
	case smmutable.TlbiNHASID:
		match = func(k spaceKey) bool { return k.stage1 && k.vmid == t.VMID && k.asid == t.ASID }
	case smmutable.TlbiEL2ASID:
		match = func(k spaceKey) bool { return k.stage1 && k.vmid == el2 && k.asid == t.ASID }
	case smmutable.TlbiNHAll:
		match = func(k spaceKey) bool { return k.stage1 && k.vmid == t.VMID }
	case smmutable.TlbiEL2All:
		match = func(k spaceKey) bool { return k.stage1 && k.vmid == el2 }
	case smmutable.TlbiNHVAA:
		match, paged = func(k spaceKey) bool { return k.stage1 && k.vmid == t.VMID }, true
	case smmutable.TlbiEL2VAA:
		match, paged = func(k spaceKey) bool { return k.stage1 && k.vmid == el2 }, true
	case smmutable.TlbiS12VMAll:
		match = func(k spaceKey) bool { return k.vmid == t.VMID }
	case smmutable.TlbiS2IPA: // what stage 1 made of it stays, and needs a command of its own
		match, paged = func(k spaceKey) bool { return !k.stage1 && k.vmid == t.VMID }, true
	}
	for n := 1; n < len(u.spaces.key); n++ {
		switch {
		case !match(u.spaces.key[n]):
		case paged:
			u.dropRange(uint32(n), &t)
		default:
			u.DropSpace(uint32(n))
		}
	}
}

// dropRange removes what translates any byte of the range: without one, of the smallest page there is, which a larger one covers.
func (u *Unit) dropRange(tag uint32, t *smmutable.TLBI) {
	first, last := t.Addr, t.Addr|(1<<smmutable.Granule4K-1)
	if t.Granule != 0 && u.cfg.Range {
		first &^= 1<<t.Granule - 1
		last = first + t.Pages()<<t.Granule - 1
		if last < first {
			last = ^uint64(0)
		}
	}
	u.DropPages(tag, first, last, t.Leaf)
}
