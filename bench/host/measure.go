package host

import (
	"context"
	"fmt"
	"math"

	"dmapath/bench/host/native"
	"dmapath/bench/host/program"
)

// Meter measures probes natively on one pinned thread.
type Meter struct {
	// Scale is core cycles per tick of the counter, as the chain of additions last showed; Hz the rate of the counter.
	Scale, Hz float64
	// Step is the smallest difference that the counter shows, in ticks.
	Step      float64
	overhead  float64 // ticks of an empty program
	first     float64 // Scale at the start
	drift     float64 // largest relative change of Scale since
	lost, all int
	release   func()
	arenas    map[arenaKey]*program.Arena
}

type arenaKey struct {
	bytes uint64
	shift uint8
	away  bool
}

// chainRounds is the length of one look at the core clock: 12,800 cycles.
const chainRounds = 200

// NewMeter pins the calling goroutine. The error wraps native.ErrUnsupported where nothing can be measured. Close gives everything back.
func NewMeter() (*Meter, error) {
	if err := native.Supported(); err != nil {
		return nil, err
	}
	m := &Meter{Hz: native.CounterHz(), arenas: map[arenaKey]*program.Arena{}}
	// Processor 0 has the interrupts of most systems, so the second one is better; where there is one, or none may be chosen, it is
	// the switches that show.
	release, err := native.Pin(1)
	if err != nil {
		release()
		release, _ = native.Pin(0)
	}
	m.release = release
	m.overhead = m.times(program.Empty, new(program.State), 300, func(*program.State) {}).Median()
	m.Step = counterStep()
	m.clock()
	m.first = m.Scale
	return m, nil
}

// counterStep looks for the greatest common divisor of many short spans.
func counterStep() float64 {
	gcd := uint64(0)
	for i := range 200 {
		var s program.State
		s.R[1] = uint64(i%7 + 1)
		native.Run(program.Chain, &s)
		a, b := s.Stop-s.Start, gcd
		for b != 0 {
			a, b = b, a%b
		}
		gcd = a
	}
	return float64(max(gcd, 1))
}

// Close unpins the goroutine and gives the memory back.
func (m *Meter) Close() {
	m.free(0)
	m.release()
}

// free gives arenas of at least so many bytes back.
func (m *Meter) free(bytes uint64) {
	for k, a := range m.arenas {
		if k.bytes >= bytes {
			native.Unmap(a)
			delete(m.arenas, k)
		}
	}
}

// times runs p on s until so many runs were undisturbed, at most four times as often, and returns their ticks.
func (m *Meter) times(p *program.Program, s *program.State, runs int, each func(s *program.State)) Sample {
	var v []float64
	lost := 0
	for len(v) < runs && len(v)+lost < 4*runs {
		each(s)
		before := native.Switches()
		native.Run(p, s)
		m.all++
		if native.Switches() != before {
			lost++
			m.lost++
			continue
		}
		v = append(v, float64(s.Stop-s.Start)-m.overhead)
	}
	return NewSample(v, lost)
}

// clock looks at the core clock: a chain of dependent additions takes one cycle each on every core there is.
func (m *Meter) clock() {
	t := m.times(program.Chain, new(program.State), 9, func(s *program.State) { s.R[1] = chainRounds })
	m.Scale = chainRounds * 64 / t.Min()
	if m.first != 0 {
		m.drift = math.Max(m.drift, math.Abs(m.Scale/m.first-1))
	}
}

// CoreHz is the core clock.
func (m *Meter) CoreHz() float64 { return m.Scale * m.Hz }

// Drift is the largest relative change of the core clock since the start.
func (m *Meter) Drift() float64 { return m.drift }

// LostShare is the share of runs in which the processor was taken away.
func (m *Meter) LostShare() float64 { return float64(m.lost) / math.Max(float64(m.all), 1) }

// arena returns touched memory, of which there is one per size and kind: probes build what they need anew.
func (m *Meter) arena(bytes uint64, shift uint8, away bool) (*program.Arena, error) {
	k := arenaKey{bytes, shift, away}
	if a := m.arenas[k]; a != nil {
		a.Reset()
		return a, nil
	}
	a, err := native.Map(max(bytes, 1), shift)
	if err != nil {
		return nil, err
	}
	m.arenas[k] = a
	return a, nil
}

// Measure runs p and returns core cycles per unit.
func (m *Meter) Measure(ctx context.Context, p *Probe) (Sample, error) {
	s, _, err := m.measure(ctx, p)
	return s, err
}

// Attempts at a measurement that neighbours disturb, and the noise that is undisturbed enough.
const (
	attempts = 4
	calm     = 0.05
)

// settled repeats a measurement until the noise is low, and returns the least disturbed of the attempts: the one with the smallest figure.
func (m *Meter) settled(ctx context.Context, p *Probe) (best Sample, err error) {
	n := attempts
	if p.Bytes > 512<<20 { // building the data takes a second
		n = 1
	}
	for range n {
		s, err := m.Measure(ctx, p)
		if err != nil {
			return best, err
		}
		if v := figure(s); best.N() == 0 || v < figure(best) {
			best = s
		}
		if best.Noise() < calm {
			break
		}
	}
	return best, nil
}

func (m *Meter) measure(ctx context.Context, p *Probe) (Sample, program.State, error) {
	var last program.State
	if err := ctx.Err(); err != nil {
		return Sample{}, last, err
	}
	if !native.Can(p.Prog) {
		return Sample{}, last, fmt.Errorf("%s: this processor has no such instruction", p.Name)
	}
	a, err := m.arena(p.Bytes, p.Shift, false)
	if err != nil {
		return Sample{}, last, fmt.Errorf("%s: %w", p.Name, err)
	}
	var away *program.Arena
	if p.Displace > 0 {
		if away, err = m.arena(p.displaceBytes(), 21, true); err != nil {
			return Sample{}, last, fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	m.clock()
	before := m.Scale
	a.Reset()
	prepare := p.Setup(a, p.random(simSeed))
	if p.Touch {
		var st program.State
		st.R[1], st.R[2] = (a.Used()+511)/512, a.Base
		native.Run(program.LoadStream, &st)
	}
	var d displacer
	each := func(s *program.State) {
		prepare(s)
		if away != nil {
			var st program.State
			d.next(away, p.Displace, &st)
			native.Run(program.LoadStream, &st)
		}
	}
	for range p.Warm {
		each(&last)
		native.Run(p.Prog, &last)
	}
	t := m.times(p.Prog, &last, p.Runs, each)
	m.clock()
	return t.Scale((before + m.Scale) / 2 / p.Units), last, ctx.Err()
}
