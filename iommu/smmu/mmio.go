package smmu

import (
	"dmapath/iommu/smmutable"
	"dmapath/sim"
)

// events is the event queue: a ring in memory that the unit writes and software reads.
type events struct {
	base       uint64 // register
	at         uint64
	log2       uint8
	prod, cons uint32 // indexes with wrap bit; bit 31: overflow, and software's answer to it
}

const overflow = 1 << 31

func (q *events) set(base uint64) {
	q.base = base
	q.at, q.log2 = smmutable.DecodeQueueBase(base)
}

// record writes an event at t, unless the queue is off; when it is full, the event is lost and the overflow flag is other than
// software's.
func (u *Unit) record(e smmutable.Event, t sim.Time) {
	q := &u.events
	if u.cr0&smmutable.CR0EVENTQEN == 0 {
		return
	}
	if smmutable.Full(q.prod, q.cons, q.log2) {
		q.prod = q.prod&^overflow | ^q.cons&overflow
		return
	}
	at := q.at + uint64(q.prod&(1<<q.log2-1))*smmutable.EventSize
	u.Fabric.DeviceWrite(at, smmutable.EventSize, t)
	for i, w := range e.Encode() {
		u.Mem.Write64(at+uint64(i)*8, w)
	}
	q.prod = q.prod&overflow | (q.prod+1)&(2<<q.log2-1)
	u.Stats.FaultsRecorded++
}

// WriteReg is iommu.Unit's. The command queue's PROD takes effect when it reaches the unit; all else, which only set-up code writes, at
// once.
func (u *Unit) WriteReg(addr, val uint64, now sim.Time) {
	at, v := now+u.cfg.RegWrite, uint32(val)
	switch addr - u.cfg.RegBase {
	case smmutable.RegCR0:
		rises := v &^ u.cr0
		u.cr0 = v
		if rises&smmutable.CR0CMDQEN != 0 {
			u.q.Resume(at)
		}
	case smmutable.RegCR1:
		u.cr1 = v
	case smmutable.RegCR2:
		u.cr2 = v
	case smmutable.RegGBPA:
		u.gbpa = v &^ overflow // UPDATE is done
	case smmutable.RegIRQCtrl:
		u.irqCtrl = v
	case smmutable.RegGErrorN:
		acked := (u.gerror ^ u.gerrorN) &^ (u.gerror ^ v)
		u.gerrorN = v
		if acked&smmutable.GErrorCmdq != 0 {
			u.cmdqErr = smmutable.CmdqErrNone
			u.q.Resume(at) // with the command at CONS
		}
	case smmutable.RegStrtabBase:
		u.strtab = val
	case smmutable.RegStrtabBaseCfg:
		u.strtabCfg = v
	case smmutable.RegCmdqBase:
		u.setCommands(val)
	case smmutable.RegCmdqProd:
		u.q.Ring(val, at)
	case smmutable.RegCmdqCons:
		u.q.Reset(u.offset(val), u.q.Tail)
	case smmutable.RegEventqBase:
		u.events.set(val)
	case smmutable.RegEventqProd:
		u.events.prod = v
	case smmutable.RegEventqCons:
		u.events.cons = v
	}
}

// ReadReg is iommu.Unit's.
func (u *Unit) ReadReg(addr uint64, now sim.Time) (val uint64, done sim.Time) {
	u.Stats.RegisterReads++
	var v uint32
	switch addr - u.cfg.RegBase {
	case smmutable.RegIDR0:
		v = u.idr0
	case smmutable.RegIDR1:
		v = u.idr1
	case smmutable.RegIDR3:
		v = u.idr3
	case smmutable.RegIDR5:
		v = u.idr5
	case smmutable.RegCR0, smmutable.RegCR0ACK:
		v = u.cr0
	case smmutable.RegCR1:
		v = u.cr1
	case smmutable.RegCR2:
		v = u.cr2
	case smmutable.RegGBPA:
		v = u.gbpa
	case smmutable.RegIRQCtrl, smmutable.RegIRQCtrlAck:
		v = u.irqCtrl
	case smmutable.RegGError:
		v = u.gerror
	case smmutable.RegGErrorN:
		v = u.gerrorN
	case smmutable.RegStrtabBase:
		val = u.strtab
	case smmutable.RegStrtabBaseCfg:
		v = u.strtabCfg
	case smmutable.RegCmdqBase:
		val = u.cmdqBase
	case smmutable.RegCmdqProd:
		v = uint32(u.index(u.q.Tail))
	case smmutable.RegCmdqCons:
		v = uint32(u.index(u.q.HeadAt(now+u.cfg.RegRead/2))) | u.cmdqErr<<smmutable.CmdqErrShift
	case smmutable.RegEventqBase:
		val = u.events.base
	case smmutable.RegEventqProd:
		v = u.events.prod
	case smmutable.RegEventqCons:
		v = u.events.cons
	}
	return val | uint64(v), now + u.cfg.RegRead
}
