package amd

import (
	"dmapath/iommu"
	"dmapath/iommu/amdtable"
	"dmapath/sim"
)

// setCommands takes a new command buffer and empties it.
func (u *Unit) setCommands(base uint64) {
	u.cmdBase = base
	at, log2 := amdtable.DecodeBase(base)
	u.q.Base, u.q.Size = at, amdtable.CommandSize<<max(log2, 8)
	u.q.Wrap = u.q.Size
	u.q.Reset(0, 0)
}

// Runs reports whether the command buffer is enabled and no illegal command has stopped it.
func (u *Unit) Runs() bool {
	return u.control&amdtable.ControlCmdBufEn != 0 && u.status&amdtable.StatusCmdBufRun != 0
}

// Written is the tail reaching the unit; bits beyond the ring are reserved.
func (u *Unit) Written(val uint64) (uint64, bool) {
	return val & amdtable.RingMask & (u.q.Size - 1), true
}

// Decode says what the unit does with a command.
func (u *Unit) Decode(w [2]uint64) iommu.Action {
	c, illegal := amdtable.DecodeCommand(w)
	if illegal {
		u.status &^= amdtable.StatusCmdBufRun
		u.record(amdtable.Event{Code: amdtable.IllegalCommandError, Addr: u.q.Base + u.q.Head}, u.Eng.Now())
		return iommu.Action{}
	}
	switch c.Op {
	case amdtable.CompletionWait:
		a := iommu.Action{Kind: iommu.Wait, Fence: c.Flush, Takes: u.wait}
		if c.Store != 0 {
			a.Signal = iommu.Signal{PA: c.Store, Data: c.Data, Bytes: 8}
		}
		if c.Interrupt {
			a.Signal.Kind = waitInterrupt
		}
		return a
	case amdtable.InvalidateDevtabEntry:
		return iommu.Action{Kind: iommu.Invalidate, Takes: u.Span(u.cfg.DeviceInvTime)}
	case amdtable.InvalidateIOMMUPages:
		if c.Shift < 64 {
			return iommu.Action{Kind: iommu.Invalidate, Takes: u.Span(u.cfg.PageInvTime)}
		}
		return iommu.Action{Kind: iommu.Invalidate, Takes: u.Span(u.cfg.SweepTime)}
	case amdtable.InvalidateIOMMUAll:
		return iommu.Action{Kind: iommu.Invalidate, Takes: u.Span(u.cfg.SweepTime)}
	case amdtable.InvalidateIOTLBPages:
		if u.HasTLB(c.Device) {
			return iommu.Action{Kind: iommu.Invalidate} // goes out, and is complete when the device answers
		}
		return iommu.Action{Kind: iommu.Invalidate, Takes: u.cfg.DeviceTLBTime}
	case amdtable.InvalidateInterruptTab:
		return iommu.Action{Kind: iommu.Invalidate, Takes: u.Span(u.cfg.InterruptTime)}
	}
	return iommu.Action{Kind: iommu.Other} // a prefetch may be ignored; the rest has no meaning without what is left out
}

// waitInterrupt is the kind of signal that also raises an interrupt.
const waitInterrupt = 1

// Signal notes the interrupt of COMPLETION_WAIT.
func (u *Unit) Signal(s iommu.Signal) {
	if s.Kind == waitInterrupt && u.control&amdtable.ControlComWaitIntEn != 0 {
		u.status |= amdtable.StatusComWaitInt
	}
}

// Effect carries out an invalidation.
func (u *Unit) Effect(w [2]uint64) (complete sim.Time) {
	now := u.Eng.Now()
	switch c, _ := amdtable.DecodeCommand(w); c.Op {
	case amdtable.InvalidateDevtabEntry:
		u.devices.Drop(uint64(c.Device))
		return u.DrainFrom(now, false) // an entry that a walker is just reading is not kept
	case amdtable.InvalidateIOTLBPages:
		return u.InvalidateTLB(c.Device, c.Addr, lastOf(&c), now)
	case amdtable.InvalidateIOMMUPages:
		last := lastOf(&c)
		if c.Shift >= 64 && c.PDE {
			u.DropSpace(tag(c.Domain))
		} else {
			u.DropPages(tag(c.Domain), c.Addr, last, !c.PDE)
		}
		return u.DrainFrom(now, true)
	case amdtable.InvalidateIOMMUAll:
		u.devices.DropAll()
		u.DropAll()
		return u.DrainFrom(now, true)
	}
	return now
}

// lastOf returns the last byte that an invalidation of pages names.
func lastOf(c *amdtable.Command) uint64 {
	if c.Shift >= 64 {
		return ^uint64(0)
	}
	return c.Addr + 1<<c.Shift - 1
}
