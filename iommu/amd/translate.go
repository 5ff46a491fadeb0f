package amd

import (
	"fmt"

	"dmapath/iommu"
	"dmapath/iommu/amdtable"
	"dmapath/sim"
)

// device is what a device table entry says about a request.
type device struct {
	iommu.Space
	amdtable.DTE
}

// format is the v1 page-table format as the shared walk takes it.
type format struct{}

var (
	v1       format
	geometry = iommu.NewGeometry(amdtable.PageShift)
	// kinds are the kinds of entry in the order of package amdtable.
	kinds = [...]iommu.Kind{amdtable.Absent: iommu.Absent, amdtable.Illegal: iommu.Reserved, amdtable.Table: iommu.Table, amdtable.Leaf: iommu.Leaf}
)

func (*format) Decode(pte uint64, level int) iommu.Entry {
	e := amdtable.Decode(pte, level)
	return iommu.Entry{Kind: kinds[e.Kind], Shift: e.Shift, Next: uint8(e.Level), Rights: iommu.Rights(e.Rights) | iommu.User, Addr: e.Addr}
}

// Marks returns no bits: a host page table has accessed and dirty bits only where the driver enables them, which is left out.
func (*format) Marks(bool) uint64 { return 0 }

// reasons are the fates of a walk in the words of the specification.
var reasons = [...]amdtable.Reason{iommu.NotPresent: amdtable.NotPresent, iommu.Malformed: amdtable.IllegalPTE,
	iommu.Denied: amdtable.Denied, iommu.Skipped: amdtable.NotPresent}

// tag is what a domain's cached translations are tagged with.
func tag(domain uint16) uint32 { return uint32(domain) + 1 }

// bind finds out how to translate requests of rid: from the cache of device entries, or from the table. A walker reads it.
func (u *Unit) bind(rid uint16, now sim.Time) (*device, sim.Time, bool) {
	u.Stats.ContextLookups++
	if d, ok := u.devices.Lookup(uint64(rid)); ok {
		u.Stats.ContextHits++
		return d, now, true
	}
	base, bytes := amdtable.DecodeDevTable(u.devTable)
	at := amdtable.DTEAddr(base, rid)
	if at+amdtable.DTESize > base+bytes {
		return nil, now, false
	}
	w, start := u.TakeWalker(now)
	t := u.EntryRead(at, start+u.WalkStart)
	u.ReleaseWalker(w, start, t)
	e, illegal := amdtable.DecodeDTE([2]uint64{u.Mem.Read64(at), u.Mem.Read64(at + 8)}, u.cfg.Levels)
	if illegal {
		return nil, t, false
	}
	return u.devices.Insert(uint64(rid), device{iommu.Space{Geometry: geometry, Format: &v1, Root: e.Root, Levels: e.Mode, Tag: tag(e.Domain)}, e}), t, true
}

// Translate is iommu.Unit's.
func (u *Unit) Translate(rid uint16, iova uint64, write bool, now sim.Time) (pa uint64, done sim.Time, err error) {
	u.Stats.Requests++
	if u.control&amdtable.ControlIommuEn == 0 {
		u.Stats.Untranslated++
		return iova, now, nil
	}
	d, t, ok := u.bind(rid, now+u.LookupTime)
	if !ok {
		u.Stats.LookupFaults++
		return 0, t, u.refuse(amdtable.Event{Code: amdtable.IllegalDevTableEntry, Device: rid, Addr: iova, Flags: amdtable.NoFault.Flags(write)},
			amdtable.IllegalDevTableEntry, t)
	}
	if d.Valid && (!d.Translation || d.Rights&right(write) == 0) {
		u.Stats.LookupFaults++
		return 0, t, u.pageFault(d, rid, iova, write, amdtable.Denied, t)
	}
	if !d.Valid || d.Mode == 0 {
		u.Stats.PassThrough++
		return iova, t, nil
	}
	if pa, done, ok := u.Lookup(&d.Space, iova, iommu.Need(write), t); ok {
		return pa, done, nil
	}
	u.Stats.Walks++
	if !amdtable.Covers(iova, d.Mode) {
		return 0, t, u.pageFault(d, rid, iova, write, amdtable.BeyondWidth, t)
	}
	pa, t, cause := u.Walk(&d.Space, iova, iommu.Need(write), now, t)
	if cause != iommu.Translated {
		return 0, t, u.pageFault(d, rid, iova, write, reasons[cause], t)
	}
	return pa, t, nil
}

func right(write bool) amdtable.Rights {
	if write {
		return amdtable.Write
	}
	return amdtable.Read
}

// Probe is iommu.Unit's.
func (u *Unit) Probe(rid uint16, iova uint64) (pa uint64, ok bool) {
	d, ok := u.devices.Probe(uint64(rid))
	switch {
	case !ok || d.Valid && !d.Translation:
		return 0, false
	case !d.Valid || d.Mode == 0:
		return iova, true
	}
	return u.ProbeSpace(&d.Space, iova)
}

// pageFault refuses a request with IO_PAGE_FAULT, which the device entry may keep out of the log.
func (u *Unit) pageFault(d *device, rid uint16, iova uint64, write bool, why amdtable.Reason, t sim.Time) error {
	if d.SuppressAll || d.Suppress && u.log.seen[rid] {
		return u.fault(amdtable.Event{Code: amdtable.IOPageFault, Device: rid, Addr: iova}, why, write, t)
	}
	if d.Suppress {
		u.log.seen[rid] = true
	}
	e := amdtable.Event{Code: amdtable.IOPageFault, Device: rid, Domain: d.Domain, Addr: iova, Flags: why.Flags(write)}
	u.record(e, t)
	return u.fault(e, why, write, t)
}

// refuse refuses a request and logs why.
func (u *Unit) refuse(e amdtable.Event, why fmt.Stringer, t sim.Time) error {
	u.record(e, t)
	return u.fault(e, why, e.Flags&amdtable.FaultRW != 0, t)
}

func (u *Unit) fault(e amdtable.Event, why fmt.Stringer, write bool, t sim.Time) error {
	u.Stats.Faults++
	return &iommu.Fault{Reason: why, Code: uint8(e.Code), RID: e.Device, IOVA: e.Addr, Write: write, At: t}
}
