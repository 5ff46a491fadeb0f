package host

import (
	"bytes"
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

// TestProgramsRunAsInterpreted: a program of the calibration leaves the same registers and bytes natively and interpreted.
func TestProgramsRunAsInterpreted(t *testing.T) {
	if err := native.Supported(); err != nil {
		t.Skip(err)
	}
	twins := map[string]bool{}
	for _, tw := range Twins() {
		twins[tw.Prog.Name] = true
	}
	b, err := native.Map(64<<10, 12)
	if err != nil {
		t.Fatal(err)
	}
	defer native.Unmap(b)
	for _, p := range program.All() {
		if twins[p.Name] || !native.Can(p) {
			continue
		}
		prepare := func(a *program.Arena) (s program.State) {
			clear(a.Bytes)
			a.Put(a.Base, a.Base) // a chase of one
			for i := range uint64(64) {
				a.Put(a.Base+4096+i*8, i%2) // bits, and offsets
			}
			for i := range s.R {
				s.R[i] = uint64(i) * 1000003
			}
			s.R[1], s.R[2], s.R[3], s.R[4] = 3, a.Base, a.Base+4096, a.Base+8192
			s.R[6], s.R[7], s.R[8] = 100, a.Base+4096, a.Base+16384
			return s
		}
		a := &program.Arena{Base: b.Base, Bytes: make([]byte, len(b.Bytes))} // the same addresses, other memory
		want, got := prepare(a), prepare(b)
		(&program.Machine{Mem: a}).Run(p, &want)
		native.Run(p, &got)
		if p == program.Counters { // it reads the time
			got.R[0], got.R[3] = want.R[0], want.R[3]
		}
		if got.R != want.R {
			t.Errorf("%s: registers %x, want %x", p.Name, got.R, want.R)
		}
		if !bytes.Equal(a.Bytes, b.Bytes) {
			t.Errorf("%s: memory differs", p.Name)
		}
		if got.Stop < got.Start {
			t.Errorf("%s: the counter went back", p.Name)
		}
	}
}
