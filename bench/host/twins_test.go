package host

import (
	"testing"

	"dmapath/bench/host/native"
	"dmapath/bench/host/program"
	"dmapath/sim"
)

// TestTwinsAnswerRight holds every twin against plain Go, interpreted and, where that is possible, native; the two leave the same bytes.
func TestTwinsAnswerRight(t *testing.T) {
	const queries = 3000
	for _, tw := range Twins() {
		t.Run(tw.Name, func(t *testing.T) {
			var want uint64
			run := func(a *program.Arena, do func(p *program.Program, s *program.State)) program.State {
				r := sim.NewRand(7, tw.Name)
				at := a.Alloc(queries*8, 64)
				regs, query, answer := tw.Build(a, r)
				var list []uint64
				for i := range uint64(queries) {
					list = append(list, query())
					a.Put(at+i*8, list[i])
				}
				regs.R[0], regs.R[1] = at, queries
				do(tw.Prog, &regs)
				want = answer(list)
				return regs
			}
			size := tw.Bytes + queries*8 + 4096
			a := newArena(simBase, size, 21)
			s := run(a, func(p *program.Program, s *program.State) { (&program.Machine{Mem: a}).Run(p, s) })
			if got := s.R[12]; got != want {
				t.Errorf("interpreted: sum %d, want %d", got, want)
			}
			if err := native.Supported(); err != nil {
				t.Skip(err)
			}
			b, err := native.Map(size, 12)
			if err != nil {
				t.Fatal(err)
			}
			defer native.Unmap(b)
			s = run(b, native.Run)
			if got := s.R[12]; got != want {
				t.Errorf("native: sum %d, want %d", got, want)
			}
		})
	}
}
