package direct

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/mm"
)

var (
	mapSG   = cpu.NewFunc("dma_direct_map_sg", "kernel/dma/direct.c", 640)
	unmapSG = cpu.NewFunc("dma_direct_unmap_sg", "kernel/dma/direct.c", 420)
	sgNext  = cpu.NewFunc("sg_next", "lib/scatterlist.c", 48)
)

// SGNext emits sg_next: the end marker and the chain bit of page_link. 11 instructions, estimated from the source.
func SGNext(t *cpu.Thread, entry uint64) {
	t.Call(sgNext)
	t.Nop(2)
	end := t.Mem(cpu.LoadOp, entry+iommucore.SegPageLink, 1, 0, 0)
	t.Branch(false, end)
	next := t.Load(entry+iommucore.SegBytes+iommucore.SegPageLink, 0)
	t.ALU(3, next)
	t.Branch(false, t.Last())
	t.Ret()
}

// MapSG emits dma_direct_map_sg for the entries of a scatterlist at list and stores their bus addresses in out, which has
// room for all: entry by entry, 6.12 with dma_direct_map_page inlined, 7.3 with a call of dma_direct_map_phys. Nothing is
// merged. Built with CONFIG_PCI_P2PDMA both look into the struct page of every entry first. On an error nothing is mapped. No
// recording contains it: what is around the mapping of an entry is estimated from the structure of the source.
func (x *Direct) MapSG(t *cpu.Thread, m *mm.MM, d *kernel.Device, list uint64, sg []iommucore.Segment, out []uint64, attrs kernel.Attrs) error {
	t.Call(mapSG)
	t.Nop(2)
	t.Push(6)
	t.Frame(40)
	dev := t.ALU(6, 0)
	top := t.Here()
	var err error
	for i, s := range sg {
		e := list + iommucore.SegBytes*uint64(i)
		link := t.Load(e+iommucore.SegPageLink, 0)
		page := t.ALU(1, link)
		x.p2pTest(t, m, s.Phys, page)
		off := t.Mem(cpu.Load, e+iommucore.SegOffset, 4, 0, 0)
		size := t.Mem(cpu.Load, e+iommucore.SegLength, 4, 0, 0)
		var dma cpu.Val
		if x.Env.Version == kernel.V7_3 {
			_, pa := m.PageToPhys(t, x.page(m, s.Phys), page) // sg_phys
			t.ALU(2, t.ALU2(pa, off))
			out[i], err = x.MapPhys(t, d, s.Phys, s.Size, attrs)
			dma = t.Last()
		} else {
			mask := t.Load(d.At.DmaMask, dev)
			out[i], dma, err = x.MapPage12(t, m, d, x.page(m, s.Phys), s.Phys, s.Size, Regs{Dev: dev, Mask: mask, Arg: page, Size: size})
		}
		t.Store(e+iommucore.SegDMAAddr, 0, dma)
		t.Branch(err != nil, t.ALU(1, dma))
		if err != nil {
			x.emitUnmapSG(t, d, list, sg[:i], out, attrs|kernel.AttrSkipCPUSync)
			break
		}
		t.Mem(cpu.Store, e+iommucore.SegDMALength, 4, 0, t.Mem(cpu.Load, e+iommucore.SegLength, 4, 0, 0))
		SGNext(t, e)
		t.Loop(top, i+1 < len(sg), t.ALU(2, 0))
	}
	t.Frame(-40)
	t.Pop(6)
	t.Ret()
	return err
}

// UnmapSG emits dma_direct_unmap_sg: a loop over the entries with the unmap of each inlined.
func (x *Direct) UnmapSG(t *cpu.Thread, d *kernel.Device, list uint64, sg []iommucore.Segment, addrs []uint64, attrs kernel.Attrs) error {
	t.Call(unmapSG)
	err := x.emitUnmapSG(t, d, list, sg, addrs, attrs)
	t.Ret()
	return err
}

func (x *Direct) emitUnmapSG(t *cpu.Thread, d *kernel.Device, list uint64, sg []iommucore.Segment, addrs []uint64, attrs kernel.Attrs) error {
	t.Nop(2)
	t.Push(6)
	t.Frame(24)
	dev := t.ALU(4, 0)
	var err error
	top := t.Here()
	for i, s := range sg {
		e := list + iommucore.SegBytes*uint64(i)
		t.Branch(false, t.Mem(cpu.LoadOp, e+28, 1, 0, 0)) // dma_flags: a bus address is not unmapped
		size := t.Mem(cpu.Load, e+iommucore.SegDMALength, 4, 0, 0)
		addr := t.Load(e+iommucore.SegDMAAddr, 0)
		r := Regs{Dev: dev, Arg: addr, Size: size}
		var e1 error
		if x.Env.Version == kernel.V7_3 {
			e1 = x.UnmapPhys73(t, d, addrs[i], s.Size, attrs, r)
		} else {
			e1 = x.UnmapPage12(t, d, addrs[i], s.Size, attrs, r)
		}
		if err == nil {
			err = e1
		}
		SGNext(t, e)
		t.Loop(top, i+1 < len(sg), t.ALU(2, 0))
	}
	t.Frame(-24)
	t.Pop(6)
	return err
}

func (x *Direct) page(m *mm.MM, phys uint64) uint64 {
	page, _ := m.PfnToPage(nil, phys>>12, 0)
	return page
}

// p2pTest emits is_pci_p2pdma_page: the zone in the flags of the struct page. Without CONFIG_PCI_P2PDMA it is nothing.
func (x *Direct) p2pTest(t *cpu.Thread, m *mm.MM, phys uint64, page cpu.Val) {
	if x.Env.P2PDMA {
		t.Branch(false, t.ALU(2, t.Load(x.page(m, phys), page)))
	}
}
