package direct

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
	"dmapath/kernel/mm"
	"dmapath/kernel/scatterlist"
)

var (
	mapSG   = cpu.NewFunc("dma_direct_map_sg", "kernel/dma/direct.c", 1100)
	unmapSG = cpu.NewFunc("dma_direct_unmap_sg", "kernel/dma/direct.c", 760)
)

// MapSG is dma_direct_map_sg: entry by entry what a map of a page (6.12, inlined) or of a physical address (7.3, a call each) is. It
// never merges: as many DMA segments as entries. On an error nothing stays mapped. No recording contains it: what it emits for
// an entry is the recorded code of a single map, the loop around it is estimated from the structure of the source.
func (x *Direct) MapSG(t *cpu.Thread, m *mm.MM, d *kernel.Device, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error {
	t.Call(mapSG)
	t.Nop(2)
	t.Push(6)
	t.Frame(56)
	t.StackStore(32, 0) // struct pci_p2pdma_map_state
	t.StackStore(40, 0)
	dev := t.ALU(4, 0)
	var w scatterlist.Walk
	var err error
	done := 0
	top := t.Here()
	sg := t.ALU(1, 0)
	for i := range l.Entries {
		e := &l.Entries[i]
		e.Bus = false
		way := w.Classify(t, x.Env, d, l, i, sg)
		var addr uint64
		switch {
		case way == scatterlist.Unsupported:
			err = scatterlist.ErrUnsupported
		case way == scatterlist.BusAddress:
			addr, e.Bus = e.Phys+d.P2P.BusOffset, true
			l.LoadPhys(t, x.Env, i, sg)
			t.Mem(cpu.Store, l.At(i)+scatterlist.DMAFlags, 4, sg, 0)
		case x.Env.Version == kernel.V7_3:
			pa := l.LoadPhys(t, x.Env, i, sg)
			t.Mem(cpu.Load, l.At(i)+scatterlist.Length, 4, sg, 0)
			t.ALU(3, pa)
			addr, err = x.MapPhys(t, d, e.Phys, e.Size, dir, attrs, false)
		default:
			page := t.ALU(1, t.Load(l.At(i)+scatterlist.PageLink, sg))
			t.Mem(cpu.Load, l.At(i)+scatterlist.Offset, 4, sg, 0)
			size := t.Mem(cpu.Load, l.At(i)+scatterlist.Length, 4, sg, 0)
			mask := t.Load(d.At.DmaMask, dev)
			addr, _, err = x.MapPage12(t, m, d, e.Page, e.Phys, e.Size, dir, attrs, Regs{Dev: dev, Mask: mask, Arg: page, Size: size})
		}
		if way != scatterlist.BusAddress {
			t.Branch(err != nil, t.ALU(1, 0))
		}
		if err != nil {
			break
		}
		l.StoreDMA(t, i, addr, e.Size, sg, 0, t.Mem(cpu.Load, l.At(i)+scatterlist.Length, 4, sg, 0))
		done++
		sg = l.Next(t, i, sg)
		t.Loop(top, i+1 < len(l.Entries), t.ALU(2, 0))
	}
	l.Nents = done
	if err != nil { // out_unmap
		t.ALU(5, 0)
		x.UnmapSG(t, d, l, dir, attrs|kernel.AttrSkipCPUSync)
	} else if coherency.Needed(x.Env, d) && attrs&kernel.AttrSkipCPUSync == 0 {
		coherency.Flush(t, x.Env)
	}
	t.ALU(1, 0)
	t.Frame(-56)
	t.Pop(6)
	t.Ret()
	return err
}

// UnmapSG is dma_direct_unmap_sg: the inlined unmap of every DMA segment.
func (x *Direct) UnmapSG(t *cpu.Thread, d *kernel.Device, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) {
	t.Call(unmapSG)
	t.Nop(2)
	t.Push(6)
	t.Frame(24)
	dev := t.ALU(4, 0)
	top := t.Here()
	sg := t.ALU(1, 0)
	for i := range l.Nents {
		e := &l.Entries[i]
		if x.Env.P2PDMA {
			t.Branch(e.Bus, t.ALU(1, t.Mem(cpu.Load, l.At(i)+scatterlist.DMAFlags, 4, sg, 0)))
		}
		if e.Bus {
			e.Bus = false
			t.Mem(cpu.Store, l.At(i)+scatterlist.DMAFlags, 4, sg, 0)
		} else {
			size := t.Mem(cpu.Load, l.At(i)+scatterlist.DMALength, 4, sg, 0)
			addr := t.Load(l.At(i)+scatterlist.DMAAddr, sg)
			r := Regs{Dev: dev, Arg: addr, Size: size}
			if x.Env.Version == kernel.V7_3 {
				x.UnmapPhys73(t, d, e.Addr, e.Len, dir, attrs, r)
			} else {
				x.UnmapPage12(t, d, e.Addr, e.Len, dir, attrs, r)
			}
		}
		sg = l.Next(t, i, sg)
		t.Loop(top, i+1 < l.Nents, t.ALU(2, 0))
	}
	l.Nents = 0
	t.Frame(-24)
	t.Pop(6)
	t.Ret()
}
