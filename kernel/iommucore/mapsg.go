package iommucore

import (
	"dmapath/cpu"
	"dmapath/kernel/scatterlist"
)

var fnMapSG = cpu.NewFunc("iommu_map_sg", file, 320)

// Segment is what an entry of a scatterlist occupies: Size bytes of physical memory at Phys, in whole pages. Size 0 is an entry with a
// bus address, which is not mapped.
type Segment struct{ Phys, Size uint64 }

// MapSG maps the segments of scatterlist l one after the other from iova on (iommu_map_sg): physically
// contiguous neighbours are mapped together, and the hardware is told once at the end. Segments must be whole pages.
// On an error nothing stays mapped. No recording contains it: the instructions outside of the map calls are estimated from
// the structure of the source.
func (d *Domain) MapSG(t *cpu.Thread, iova uint64, l *scatterlist.List, sg []Segment, prot Prot) error {
	t.Call(fnMapSG)
	t.Nop(2)
	t.Push(6)
	t.Frame(40)
	t.ALU(6, 0)
	var start, run, done uint64
	var err error
	top := t.Here()
	for i := 0; i <= len(sg); i++ {
		if i < len(sg) {
			if d.Env.P2PDMA {
				t.Branch(sg[i].Size == 0, t.ALU(1, t.Mem(cpu.Load, l.At(i)+scatterlist.DMAFlags, 4, 0, 0)))
			}
			if sg[i].Size == 0 {
				l.Next(t, i, 0)
				t.Loop(top, true, t.ALU(2, 0))
				continue
			}
			p := l.LoadPhys(t, d.Env, i, 0)
			if run > 0 && sg[i].Phys == start+run {
				t.Branch(false, p)
				t.Mem(cpu.LoadOp, l.At(i)+scatterlist.Length, 4, 0, 0)
				run += sg[i].Size
				l.Next(t, i, 0)
				t.ALU(2, 0)
				t.Loop(top, true, t.Last())
				continue
			}
			t.Branch(run > 0, p)
		}
		if run > 0 {
			t.ALU(6, 0)
			err = d.mapLoop(t, iova+done, start, run, prot)
			t.Branch(err != nil, t.ALU(1, 0))
			if err != nil {
				break
			}
			t.ALU(2, 0)
			done += run
			run = 0
		}
		if i < len(sg) {
			start, run = sg[i].Phys, sg[i].Size
			t.ALU(2, t.Mem(cpu.Load, l.At(i)+scatterlist.Length, 4, 0, 0))
			l.Next(t, i, 0)
			t.Loop(top, true, t.Last())
		}
	}
	if err == nil {
		ops := t.Load(d.At.Ops, 0)
		op := t.Load(d.At.OpSyncMap, ops)
		t.Branch(false, t.ALU(1, op))
		t.ALU(3, 0)
		err = d.driver.SyncMap(t, op, false, iova, done)
		t.Branch(err != nil, t.ALU(1, 0))
	}
	if err != nil && done > 0 {
		t.ALU(4, 0)
		g := Gather{}
		g.Init(t.SP())
		d.unmapLoop(t, iova, done, &g)
		d.driver.SyncTLB(t, 0, &g)
	}
	t.Frame(-40)
	t.Pop(6)
	t.Ret()
	return err
}
