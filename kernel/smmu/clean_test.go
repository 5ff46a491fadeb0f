package smmu

import (
	"testing"

	"dmapath/cpu"
	"dmapath/kernel/iommucore"
)

// cleanings counts the lines cleaned and the barriers behind them while body runs.
func cleanings(body func(t *cpu.Thread)) (lines, barriers int) {
	s := cpu.NewStream(kernelStack(0), cpu.MitNone)
	s.ISA = cpu.A64
	t := cpu.NewThread(nil, 0, nil, s)
	flushed := false
	t.Tap = func(ops []cpu.Op) {
		for i := range ops {
			switch ops[i].Class {
			case cpu.Flush:
				lines++
				flushed = true
			case cpu.Fence:
				if flushed {
					barriers++
				}
				flushed = false
			}
		}
	}
	body(t)
	t.Sync()
	return lines, barriers
}

// TestCleaningOfEntries: where walks do not snoop, a map and an unmap of n neighbouring entries clean their lines, 8 entries each, with one
// barrier; before 6.12 an unmap cleaned each entry with a barrier of its own. Where walks snoop nothing is cleaned.
func TestCleaningOfEntries(t *testing.T) {
	const base, phys = 0x40000000, 0x80000000
	for _, v := range versions {
		for _, n := range []uint64{1, 2, 8, 64} {
			for _, f := range []features{{}, {aloof: true}, {aloof: true, each: true}} {
				r := newRig(t, v, f)
				mapping := func(th *cpu.Thread) {
					if got, err := r.mapRange(th, base, phys, page, n, rw); err != nil || got != n*page {
						t.Fatalf("%s: %d bytes mapped, %v", v, got, err)
					}
				}
				unmapping := func(th *cpu.Thread) {
					var g iommucore.Gather
					th.Reserve(64)
					g.Init(th.SP() + 8)
					if got := r.dom.UnmapPages(th, 0, base, page, n, &g); got != n*page {
						t.Fatalf("%s: %d bytes unmapped", v, got)
					}
					th.Reserve(-64)
				}
				tables, _ := cleanings(mapping) // the first map also makes three tables
				cleanings(unmapping)
				ml, mb := cleanings(mapping)
				ul, ub := cleanings(unmapping)
				lines := int(n+7) / 8
				want := [4]int{lines, 1, lines, 1}
				switch {
				case !f.aloof:
					want = [4]int{}
				case f.each:
					want[2], want[3] = int(n), int(n)
				}
				if got := [4]int{ml, mb, ul, ub}; got != want {
					t.Errorf("%s, %d entries, %+v: map cleans %d lines with %d barriers, unmap %d with %d; want %v", v, n, f, ml, mb, ul, ub, want)
				}
				if more := tables - ml; f.aloof && more != 3*(4096/64+1) {
					t.Errorf("%s: three new tables clean %d lines, want each its 64 and the entry that points to it", v, more)
				}
				for i := range n {
					if _, ok := r.walk(base + i*page); ok {
						t.Errorf("%s: page %d is still there", v, i)
					}
				}
			}
		}
	}
}
