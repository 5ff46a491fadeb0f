package host

import (
	"dmapath/bench/host/program"
	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/platform"
	"dmapath/sim"
)

// simSeed is the seed of every random stream of the probes.
const simSeed = 1

// simulation is a lone core of a machine with the memory of one probe.
type simulation struct {
	core *cpu.Core
	hier *cache.Hierarchy
	mem  *program.Arena
	away *program.Arena // foreign data, nil when nothing displaces
	now  sim.Time
}

// newArena is memory of a simulated machine.
func newArena(base, size uint64, shift uint8) *program.Arena {
	size = (size + 1<<21 - 1) &^ (1<<21 - 1)
	return &program.Arena{Base: base, Bytes: make([]byte, size), PageShift: shift}
}

// newSimulation assembles the machine.
func newSimulation(s *platform.Spec, p *Probe) (*simulation, error) {
	m := &simulation{mem: newArena(simBase, max(p.Bytes, 1), p.Shift), now: sim.Microsecond}
	regions := []cpu.Region{{Name: "data", VBase: simBase, Size: uint64(len(m.mem.Bytes)), PBase: simPhys, PageShift: p.Shift, Scattered: scattered(s, p.Shift)}}
	if p.Displace > 0 && p.Displace <= displaceByLoads {
		m.away = newArena(simAwayBase, p.displaceBytes(), 21)
		regions = append(regions, cpu.Region{Name: "foreign data", VBase: simAwayBase, Size: uint64(len(m.away.Bytes)), PBase: simAwayPhys, PageShift: 21, Scattered: scattered(s, 21)})
	}
	var err error
	m.core, m.hier, err = s.LoneCore(newSpace(regions))
	return m, err
}

// scattered reports whether memory in pages of that size lies anywhere, 4 KiB by 4 KiB: small pages of a user program do, and so does all
// memory of a virtual machine whose host maps it by small pages.
func scattered(s *platform.Spec, shift uint8) bool { return shift == 12 || s.TLB.Nested == "4KiB" }

// run executes a program from an idle core and returns the cycles from its first fetch to its last retirement.
func (m *simulation) run(p *program.Program, a *program.Arena, st *program.State, acct *cpu.Account) int64 {
	// Later than the end of the run before, or the window would still be full of it: the native programs begin behind fences.
	start := max(m.now, m.core.Drained()) + 100*sim.Nanosecond
	m.now = start
	x := program.Machine{Mem: a, Sink: func(ops []cpu.Op) { m.now = m.core.Run(ops, m.now, acct) }}
	x.Run(p, st)
	return m.core.Cycles(m.now - start)
}

// displaceByLoads is up to how many lines the simulation reads foreign data load by load, as the native side does. More are displaced
// by the hierarchy's and the core's own means (cache.Hierarchy.Displace, cpu.Core.DisturbBy), which is what stands for the surroundings of a
// call everywhere else: all levels, and a page of 4 KiB per 64 lines.
const displaceByLoads = 1 << 14

// displace lets n lines of foreign data pass.
func (m *simulation) displace(n int, d *displacer) {
	switch {
	case n == 0:
	case n <= displaceByLoads:
		var st program.State
		d.next(m.away, n, &st)
		m.run(program.LoadStream, m.away, &st, nil)
	default:
		m.hier.Displace(0, 0, n)
		m.core.DisturbBy(0, 0, n/64)
	}
}

// Simulate returns what p takes on the machine, in cycles per unit: the mean of its runs.
func Simulate(s *platform.Spec, p *Probe) (float64, error) {
	v, _, err := simulate(s, p, nil)
	return v, err
}

// simulate is Simulate; acct receives what the counted runs did. It returns the final state too.
func simulate(s *platform.Spec, p *Probe, acct *cpu.Account) (float64, program.State, error) {
	var st program.State
	m, err := newSimulation(s, p)
	if err != nil {
		return 0, st, err
	}
	each := p.Setup(m.mem, p.random(simSeed))
	if p.Touch {
		st = program.State{}
		st.R[1], st.R[2] = (m.mem.Used()+511)/512, m.mem.Base
		m.run(program.LoadStream, m.mem, &st, nil)
		st = program.State{}
	}
	var d displacer
	runs := p.SimRuns
	if runs == 0 {
		runs = 3
	}
	warm := p.Warm
	if p.SimWarm > 0 {
		warm = p.SimWarm
	}
	total := int64(0)
	for i := range warm + runs {
		each(&st)
		m.displace(p.Displace, &d)
		var to *cpu.Account
		if i >= warm {
			to = acct
		}
		n := m.run(p.Prog, m.mem, &st, to)
		if i >= warm {
			total += n
		}
	}
	return float64(total) / float64(runs) / p.Units, st, nil
}

// newSpace is the address space of a user program.
func newSpace(regions []cpu.Region) *cpu.Space { return cpu.NewSpace(regions) }
