package vtd

import "dmapath/sim"

// queue is the invalidation queue (section 6.5.2). The unit takes one descriptor after the other: reads it (a cache line at a
// time), decodes it, and carries it out. Two things overlap with the descriptors that follow: the drain of requests in flight, and
// a wait descriptor that does not fence.
type queue struct {
	base  uint64
	size  uint64 // bytes
	width uint64 // 16 or 32
	head  uint64 // byte offsets
	tail  uint64
	iqa   uint64

	running bool
	pos     uint64   // descriptor being carried out; head follows when it is
	arrived sim.Time // last tail write reached the unit
	have    uint64   // descriptors up to this offset are fetched, from pos on
	drained sim.Time // all invalidations so far are complete
	errCode uint64   // IQERCD.IQEI

	lo, hi uint64 // descriptor being carried out

	status     [pendingWaits]statusWrite // ring of wait descriptors whose status write is to come
	statusHead int
	statusLen  int

	hTail, hResume, hStep, hEffect, hStatus, hCommand sim.Handler
}

// pendingWaits bounds status writes under way; a queue that does not fence stops at so many.
const pendingWaits = 64

type statusWrite struct {
	pa    uint64
	data  uint32
	write bool
	irq   bool
	fence bool
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

const (
	lineBytes     = 64 // descriptors are fetched so many at once
	queueTypeMask = 15 // bits 3:0 of a descriptor
)

func (v *Unit) initQueue() {
	q := &v.q
	q.hTail = v.Eng.Register("iommu: invalidation queue tail", v.onTail)
	q.hResume = v.Eng.Register("iommu: invalidation queue resumes", func(uint64) { v.kick() })
	q.hStep = v.Eng.Register("iommu: next descriptor", func(uint64) { v.step() })
	q.hEffect = v.Eng.Register("iommu: invalidation", func(uint64) { v.onEffect() })
	q.hStatus = v.Eng.Register("iommu: wait descriptor", func(uint64) { v.onStatus() })
	q.hCommand = v.Eng.Register("iommu: register invalidation", v.onCommand)
	v.setQueue(0)
}

func (v *Unit) setQueue(iqa uint64) {
	q := &v.q
	q.iqa, q.base, q.size, q.width = iqa, iqa&^0xfff&(1<<v.haw-1), 4096<<(iqa&7), 16
	if iqa&iqaWide != 0 {
		q.width = 32
	}
}

// onTail is the tail write reaching the unit.
func (v *Unit) onTail(tail uint64) {
	q := &v.q
	v.Stats.TailWrites++
	if tail >= q.size || tail%q.width != 0 {
		v.queueError(errTail)
		return
	}
	q.tail, q.arrived = tail, v.Eng.Now()
	v.Stats.QueueMax = max(v.Stats.QueueMax, v.depth())
	v.kick()
}

// depth returns how many descriptors are between head and tail.
func (v *Unit) depth() int {
	q := &v.q
	return int((q.tail + q.size - q.head) % q.size / q.width)
}

// QueueDepth returns how many descriptors the unit has not completed.
func (v *Unit) QueueDepth() int { return v.depth() }

// kick starts the queue if it stands still and may run.
func (v *Unit) kick() {
	if !v.q.running && v.gsts&CmdQIE != 0 && v.faults.status&QueueError == 0 {
		v.q.running = true
		v.q.pos = v.q.head
		v.q.have = v.q.pos
		v.step()
	}
}

func (v *Unit) queueError(code uint64) {
	v.faults.status |= QueueError
	v.q.errCode = code
	v.q.running = false
	v.Stats.QueueErrors++
}

// step takes the next descriptor. It runs at the time when the unit is free for it.
func (v *Unit) step() {
	q := &v.q
	q.head = q.pos
	if q.pos == q.tail || v.gsts&CmdQIE == 0 {
		q.running = false
		return
	}
	t := v.Eng.Now()
	if q.have == q.pos {
		done, _ := v.Fabric.DeviceRead((q.base+q.pos)&^(lineBytes-1), lineBytes, t)
		v.Stats.DescFetches++
		t = done + v.Span(v.cfg.FetchOverhead)
		// What lies behind the tail may still be written, so it is not kept.
		end := (q.pos + lineBytes) &^ (lineBytes - 1)
		if q.tail > q.pos && q.tail < end {
			end = q.tail
		}
		q.have = end % q.size
	}
	q.lo, q.hi = v.Mem.Read64(q.base+q.pos), v.Mem.Read64(q.base+q.pos+8)
	t += v.Span(v.cfg.DecodeTime)
	kind := q.lo & queueTypeMask
	if q.lo>>9&7 != 0 || kind == 0 || kind > DescPASIDDev {
		v.queueError(errType)
		return
	}
	if code := v.check(kind); code != errNone {
		v.queueError(code)
		return
	}
	if kind == DescWait {
		v.Stats.Waits++
		v.wait(t)
		return
	}
	v.Stats.Invalidations++
	v.Eng.At(t+v.serviceTime(kind), q.hEffect, 0)
}

// check returns what is wrong with the present descriptor.
func (v *Unit) check(kind uint64) uint64 {
	gran := v.q.lo >> 4 & 3
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
	if kind == DescWait && v.q.hi>>v.haw != 0 {
		return errStatusAddr
	}
	if paged && int(v.q.hi&0x3f) > v.cfg.MaxMask {
		return errAddrMask
	}
	return errNone
}

// serviceTime returns how long carrying out the present descriptor takes after decoding.
func (v *Unit) serviceTime(kind uint64) sim.Time {
	switch kind {
	case DescContext, DescPASID:
		return v.Span(v.cfg.ContextInvTime)
	case DescIOTLB:
		if v.q.lo>>4&3 != GranPage {
			return v.Span(v.cfg.IOTLBGlobalTime)
		}
		return v.Span(v.cfg.IOTLBPageTime)
	case DescPASIDTLB:
		if v.q.lo>>4&3 != GranPASIDPage {
			return v.Span(v.cfg.IOTLBGlobalTime)
		}
		return v.Span(v.cfg.IOTLBPageTime)
	case DescDeviceTLB, DescPASIDDev:
		return v.cfg.DeviceTLBTime
	default:
		return v.Span(v.cfg.InterruptInvTime)
	}
}

// onEffect carries out the present descriptor: from now on nothing that it names is in the caches. It is complete when requests
// with old translations are drained as well.
func (v *Unit) onEffect() {
	q := &v.q
	now := v.Eng.Now()
	complete := now
	lo, hi := q.lo, q.hi
	domain := uint16(lo >> 16)
	switch gran := int(lo >> 4 & 3); lo & queueTypeMask {
	case DescContext:
		v.dropContext(gran, domain, uint16(lo>>32), uint8(lo>>48&3))
	case DescPASID:
		v.dropPASID(gran, domain, uint32(lo>>32)&0xfffff)
	case DescIOTLB:
		v.dropTranslations(gran, domain, hi)
		complete = v.DrainFrom(now, lo>>6&3 != 0)
	case DescPASIDTLB:
		v.dropPASIDTranslations(gran, domain, uint32(lo>>32)&0xfffff, hi)
		complete = v.DrainFrom(now, true)
	}
	q.drained = max(q.drained, complete)
	v.advance(complete)
	v.step()
}

// advance completes the present descriptor at the time given.
func (v *Unit) advance(complete sim.Time) {
	q := &v.q
	v.Stats.QueueTime += complete - q.arrived
	q.pos = (q.pos + q.width) % q.size
}

// wait carries out a wait descriptor decoded at t: its status is written when everything before it is complete.
func (v *Unit) wait(t sim.Time) {
	q := &v.q
	lo := q.lo
	at := max(t, q.drained) + v.Span(v.cfg.StatusTime)
	fence := lo&WaitFence != 0 || q.statusLen == pendingWaits-1
	i := (q.statusHead + q.statusLen) % pendingWaits
	q.status[i] = statusWrite{q.hi &^ 3, uint32(lo >> 32), lo&WaitStatus != 0, lo&WaitInterrupt != 0, fence}
	q.statusLen++
	v.Eng.At(at, q.hStatus, 0)
	v.advance(at)
	if !fence {
		v.Eng.At(t, q.hStep, 0)
	}
}

// onStatus is the status write of the oldest wait descriptor becoming visible to the CPUs: the line leaves their caches, and who reads
// it again finds the new value.
func (v *Unit) onStatus() {
	q := &v.q
	s := q.status[q.statusHead]
	q.statusHead = (q.statusHead + 1) % pendingWaits
	q.statusLen--
	if s.write {
		v.Stats.StatusWrites++
		v.Fabric.DeviceWrite(s.pa, 4, v.Eng.Now())
		shift := s.pa & 4 * 8
		w := v.Mem.Read64(s.pa)
		v.Mem.Write64(s.pa, w&^(0xffffffff<<shift)|uint64(s.data)<<shift)
	}
	if s.irq {
		v.ics |= ircIWC
	}
	if s.fence {
		v.step()
	}
}
