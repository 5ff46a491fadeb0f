package amd

import (
	"dmapath/iommu/amdtable"
	"dmapath/sim"
)

// events is the event log (section 2.5): a ring in memory that the unit writes and software reads.
type events struct {
	reg        uint64 // EventBase as written
	base, size uint64
	head, tail uint64          // byte offsets
	seen       map[uint16]bool // devices with SE whose first page fault is logged
}

func (l *events) set(reg uint64) {
	var log2 uint8
	l.reg = reg
	l.base, log2 = amdtable.DecodeBase(reg)
	l.size, l.head, l.tail = amdtable.EventSize<<max(log2, 8), 0, 0
	l.seen = map[uint16]bool{}
}

// record logs an event at t, unless the log is off or full.
func (u *Unit) record(e amdtable.Event, t sim.Time) {
	l := &u.log
	if u.control&amdtable.ControlEventLogEn == 0 || u.status&amdtable.StatusEventOverflow != 0 {
		return
	}
	next := (l.tail + amdtable.EventSize) % l.size
	if next == l.head {
		u.status = u.status&^amdtable.StatusEventLogRun | amdtable.StatusEventOverflow
		return
	}
	w := e.Encode()
	u.Fabric.DeviceWrite(l.base+l.tail, amdtable.EventSize, t)
	u.Mem.Write64(l.base+l.tail, w[0])
	u.Mem.Write64(l.base+l.tail+8, w[1])
	l.tail = next
	u.status |= amdtable.StatusEventLogInt
	u.Stats.FaultsRecorded++
}

// WriteReg is iommu.Unit's. The command tail takes effect when it reaches the unit; all else, which only set-up code writes, at once.
func (u *Unit) WriteReg(addr, val uint64, now sim.Time) {
	switch addr - u.cfg.RegBase {
	case amdtable.RegDevTableBase:
		u.devTable = val
	case amdtable.RegCmdBase:
		u.setCommands(val)
	case amdtable.RegEventBase:
		u.log.set(val)
	case amdtable.RegControl:
		u.setControl(val, now)
	case amdtable.RegCmdHead:
		u.q.Reset(val&amdtable.RingMask&(u.q.Size-1), u.q.Tail)
	case amdtable.RegCmdTail:
		u.q.Ring(val, now+u.cfg.RegWrite)
	case amdtable.RegEventHead:
		u.log.head = val & amdtable.RingMask & (u.log.size - 1)
	case amdtable.RegEventTail:
		u.log.tail = val & amdtable.RingMask & (u.log.size - 1)
	case amdtable.RegStatus: // write 1 to clear
		u.status &^= val & (amdtable.StatusEventOverflow | amdtable.StatusEventLogInt | amdtable.StatusComWaitInt)
	}
}

// setControl starts and stops the rings when their enable bits change; a command buffer that an illegal command stopped starts again.
func (u *Unit) setControl(val uint64, now sim.Time) {
	rises := val &^ u.control
	u.control = val
	for _, b := range [...]struct{ enable, runs uint64 }{{amdtable.ControlCmdBufEn, amdtable.StatusCmdBufRun}, {amdtable.ControlEventLogEn, amdtable.StatusEventLogRun}} {
		switch {
		case val&b.enable == 0:
			u.status &^= b.runs
		case rises&b.enable != 0:
			u.status |= b.runs
		}
	}
	if rises&amdtable.ControlCmdBufEn != 0 {
		u.q.Resume(now + u.cfg.RegWrite)
	}
}

// ReadReg is iommu.Unit's.
func (u *Unit) ReadReg(addr uint64, now sim.Time) (val uint64, done sim.Time) {
	u.Stats.RegisterReads++
	switch addr - u.cfg.RegBase {
	case amdtable.RegDevTableBase:
		val = u.devTable
	case amdtable.RegCmdBase:
		val = u.cmdBase
	case amdtable.RegEventBase:
		val = u.log.reg
	case amdtable.RegControl:
		val = u.control
	case amdtable.RegExtFeatures:
		val = amdtable.FeatureIA | amdtable.FeaturePreF | amdtable.FeatureHATS(u.cfg.Levels)
	case amdtable.RegCmdHead:
		val = u.q.HeadAt(now + u.cfg.RegRead/2)
	case amdtable.RegCmdTail:
		val = u.q.Tail
	case amdtable.RegEventHead:
		val = u.log.head
	case amdtable.RegEventTail:
		val = u.log.tail
	case amdtable.RegStatus:
		val = u.status
	}
	return val, now + u.cfg.RegRead
}
