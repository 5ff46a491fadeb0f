package smmu

import (
	"dmapath/iommu"
	"dmapath/iommu/smmutable"
	"dmapath/iommu/table"
)

// format is one shape of VMSAv8-64 table as the shared walk takes it. The walk counts levels from 1, the smallest pages, upwards; Arm from
// 3 downwards.
type format struct {
	iommu.Geometry
	arm  smmutable.Geometry
	affd bool // a clear access flag does not fault
	top  int  // level of the root
}

// shape is what formats are told apart by.
type shape struct {
	g    smmutable.Geometry
	affd bool
}

// armLevel turns a level of the walk into Arm's, and back.
func armLevel(level int) int { return smmutable.LastLevel + 1 - level }

// format returns the format of a shape; each is made once.
func (u *Unit) format(g smmutable.Geometry, affd bool) *format {
	f, ok := u.formats[shape{g, affd}]
	if !ok {
		f = &format{Geometry: *iommu.NewGeometry(g.Granule), arm: g, affd: affd, top: armLevel(g.StartLevel())}
		f.Mask[f.top] = 1<<(g.Input-g.Shift(g.StartLevel())) - 1 // a root may be shorter, or several tables side by side
		u.formats[shape{g, affd}] = f
	}
	return f
}

// space returns how requests go through the table at root.
func (f *format) space(root uint64, tag uint32) iommu.Space {
	return iommu.Space{Geometry: &f.Geometry, Format: f, Root: root, Levels: f.top, Tag: tag, Width: f.arm.Input}
}

// kinds are the kinds of entry in the order of package table.
var kinds = [...]iommu.Kind{table.Absent: iommu.Absent, table.Reserved: iommu.Reserved, table.Table: iommu.Table, table.Leaf: iommu.Leaf}

// Decode is iommu.Format's. An entry that would raise an event of its own counts as reserved.
func (f *format) Decode(pte uint64, level int) iommu.Entry {
	arm := armLevel(level)
	k, addr, rights := f.arm.Decode(pte, arm)
	e := iommu.Entry{Kind: kinds[k], Shift: f.Shift[level], Next: uint8(level - 1), Rights: iommu.Rights(rights), Addr: addr}
	if k == table.Absent {
		return e
	}
	if f.event(pte, level) != smmutable.NoEvent {
		return iommu.Entry{Kind: iommu.Reserved}
	}
	if k == table.Leaf && pte&smmutable.PTEContiguous != 0 {
		e.Shift += f.contiguous(level)
		e.Addr &^= 1<<e.Shift - 1
	}
	return e
}

// event returns the event for meeting an entry, NoEvent if it can be used.
func (f *format) event(pte uint64, level int) smmutable.EventCode {
	k, addr, _ := f.arm.Decode(pte, armLevel(level))
	why := f.arm.EntryEvent(pte, k, addr)
	if why == smmutable.FAccess && f.affd {
		return smmutable.NoEvent
	}
	return why
}

// contiguous returns log2 of the entries in a run with the contiguous hint (DDI 0487, D8.6.1): 16 with 4 KiB granule; 128 pages or 32
// blocks with 16 KiB; 32 with 64 KiB.
func (f *format) contiguous(level int) uint8 {
	switch {
	case f.arm.Granule == smmutable.Granule4K:
		return 4
	case f.arm.Granule == smmutable.Granule16K && level == 1:
		return 7
	}
	return 5
}

// Marks returns no bits: updating access and dirty flags in hardware is left out.
func (f *format) Marks(bool) uint64 { return 0 }

// spaces numbers the pairs of VMID and ASID densely, because that is what a cache invalidates in constant time. Number 0 is never given
// out.
type spaces struct {
	key   []spaceKey
	index map[spaceKey]uint32
}

type spaceKey struct {
	vmid, asid uint16
	stage1     bool // else translations of the second stage alone, which have no ASID
}

func (s *spaces) init() { s.key, s.index = make([]spaceKey, 1), map[spaceKey]uint32{} }

func (s *spaces) number(k spaceKey) uint32 {
	n, ok := s.index[k]
	if !ok {
		n = uint32(len(s.key))
		s.key = append(s.key, k)
		s.index[k] = n
	}
	return n
}
