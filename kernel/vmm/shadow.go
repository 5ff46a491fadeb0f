package vmm

import (
	"fmt"
	"sort"

	"dmapath/cpu"
	"dmapath/iommu/table"
	"dmapath/kernel/iommucore"
)

// page is one mapping that the device model has told VFIO: struct DMAMap of QEMU's iova_tree.
type page struct {
	iova, size, pa uint64
	prot           iommucore.Prot
}

// shadow is the address space of one device: what the host has mapped for it, in the order of addresses.
type shadow struct {
	h     *Host
	rid   uint16
	dom   *iommucore.Domain
	pages []page
}

// rules are those of the virtual unit: second-stage tables with both superpages.
var rules = table.NewRules(table.SecondStage, 52, table.Page2M|table.Page1G, true, false)

// sync makes the shadow equal to the guest's table at root between first and last (vtd_page_walk with vtd_page_walk_one).
func (s *shadow) sync(t *cpu.Thread, root uint64, levels int, first, last uint64) {
	s.h.code(t, &stages[stWalk])
	s.walk(t, root, levels, 0, first, last)
}

// walk visits the entries of one table of the level, which translates from base on, that cover first to last (vtd_page_walk_level).
func (s *shadow) walk(t *cpu.Thread, tbl uint64, level int, base, first, last uint64) {
	h := s.h
	step := uint64(1) << table.Shift(level)
	t.Call(fnWalkLevel)
	t.Nop(2)
	t.Push(6)
	t.ALU(8, 0)
	for top, at := t.Here(), max(first, base)&^(step-1); ; at += step {
		end := at + step - 1
		pte := h.load(t, table.EntryAddr(tbl, at, level))
		t.ALU(12, t.Last())
		kind, pa, rights := rules.Decode(pte, level)
		t.Branch(kind == table.Table, t.Last())
		if kind == table.Table {
			s.walk(t, pa, level-1, at, max(first, at), min(last, end))
		} else {
			h.code(t, &stages[stOne])
			s.compare(t, at, step, kind, pa, rights, max(first, at), min(last, end))
		}
		t.ALU(3, 0)
		more := end < last && end < base+512*step-1
		t.Loop(top, more, t.Last())
		if !more {
			break
		}
	}
	t.Pop(6)
	t.Ret()
}

// compare looks at what one entry of the guest's says of its step bytes from at on and tells VFIO what is different.
func (s *shadow) compare(t *cpu.Thread, at, step uint64, kind table.Kind, pa uint64, rights table.Rights, first, last uint64) {
	if kind != table.Leaf {
		s.drop(t, first, last)
		return
	}
	p := page{at, step, pa, iommucore.Prot(rights & (table.Read | table.Write))}
	i := sort.Search(len(s.pages), func(i int) bool { return s.pages[i].iova+s.pages[i].size > at })
	if i < len(s.pages) && s.pages[i] == p {
		return
	}
	s.drop(t, at, at+step-1)
	s.add(t, p)
}

// add maps a page for the device: VFIO_IOMMU_MAP_DMA.
func (s *shadow) add(t *cpu.Thread, p page) {
	h := s.h
	h.Maps++
	h.code(t, &stages[stMapNotify])
	h.code(t, &stages[stSyscall])
	h.code(t, &stages[stVFIOMap])
	for off := uint64(0); off < p.size && t.Core != nil; off += 4096 * pinBatch { // vaddr_get_pfns: pinning in batches; at boot it takes no time
		h.code(t, &stages[stPin])
	}
	if err := s.dom.Map(t, p.iova, p.pa, p.size, p.prot); err != nil {
		panic(fmt.Sprintf("vmm: the host cannot map %#x, %#x bytes for device %04x: %v", p.iova, p.size, s.rid, err))
	}
	h.code(t, &stages[stSysret])
	i := sort.Search(len(s.pages), func(i int) bool { return s.pages[i].iova > p.iova })
	s.pages = append(s.pages, page{})
	copy(s.pages[i+1:], s.pages[i:])
	s.pages[i] = p
}

// drop unmaps every page of the shadow that has a byte in first to last: VFIO_IOMMU_UNMAP_DMA, which ends with the host's own
// strict invalidation.
func (s *shadow) drop(t *cpu.Thread, first, last uint64) {
	h := s.h
	i := sort.Search(len(s.pages), func(i int) bool { return s.pages[i].iova+s.pages[i].size > first })
	for i < len(s.pages) && s.pages[i].iova <= last {
		p := s.pages[i]
		s.pages = append(s.pages[:i], s.pages[i+1:]...)
		h.Unmaps++
		h.code(t, &stages[stUnmapNotify])
		h.code(t, &stages[stSyscall])
		h.code(t, &stages[stVFIOUnmap])
		if got := s.dom.IovaToPhys(t, p.iova); got != p.pa {
			panic(fmt.Sprintf("vmm: the host has %#x at %#x of device %04x, the shadow %#x", got, p.iova, s.rid, p.pa))
		}
		g := h.gather(t)
		t.Frame(64)
		g.Init(t.SP() + 8)
		s.dom.Unmap(t, p.iova, p.size, g)
		s.dom.SyncTLB(t, g)
		t.Frame(-64)
		for off := uint64(0); off < p.size; off += 4096 * pinBatch {
			h.code(t, &stages[stUnpin])
		}
		h.code(t, &stages[stSysret])
	}
}

var fnWalkLevel = cpu.NewFunc("vtd_page_walk_level", fileQEMU, 900)

// pinBatch is how many pages one pass of vfio_pin_pages_remote covers: a page of page pointers.
const pinBatch = 512
