package sensitivity

import (
	"fmt"
	"math"
	"strings"

	"dmapath/bench"
	"dmapath/cpu"
	"dmapath/sim"
)

// Kind says what a conclusion is about.
type Kind uint8

// Kinds of conclusions.
const (
	Dearer  Kind = iota // the second variant or backend costs more than the first
	Cheaper             // it costs less
	Alike               // the difference is below Over, whatever its sign
	Half                // more than half of a call's cycles go into Cause
)

var kindNames = [...]string{"dearer", "cheaper", "alike", "half"}

func (k Kind) String() string { return kindNames[k] }

// alike is the relative difference below which two calls whose difference does not show are said to cost the same.
const alike = 0.05

// nothing is the relative difference below which a difference that does show is none that anybody would notice.
const nothing = 0.005

// steps are the relative differences of which the largest that is certain becomes a conclusion of its own.
var steps = []float64{0.1, 0.25, 0.5, 1}

// Conclusion is a statement about one call, and in which samples it holds.
type Conclusion struct {
	Workload, Cache, Call string
	Backend               string // of First; of both, unless Second is a backend
	First, Second         string // two variants, two backends (of Variant), or one variant and a cause
	Variant               string // that both backends ran; empty when variants are compared
	Kind                  Kind
	Over                  float64 // the difference exceeds this, relative to First; Alike: it does not
	Across                bool    // First and Second are of different kernels

	// Nominal is the effect on the platform as it is, Effects those on the samples: of a difference (second - first) / first, of Half the
	// share of the cycles.
	Nominal float64
	Effects []float64
	Judged  int // samples in which the effect could be told: NaN in the others
	Holds   int // samples in which the statement is true of the effect
	Against int // samples in which the opposite is certain: its 95 % interval says so
	// Goes lists the parameters that the effect goes with, most first.
	Goes []Correlation

	first, second int // points
	call          int
	cause         cpu.Stall
}

// Correlation is a parameter with its rank correlation to an effect.
type Correlation struct {
	Key string
	Rho float64 // -1 to 1
}

// Text states the conclusion without its surroundings (workload, cache state, call).
func (c *Conclusion) Text() string {
	first, second := c.First, c.Second
	if !c.Across && c.Variant == "" {
		first, second = call0(first), call0(second)
	}
	switch c.Kind {
	case Alike:
		return fmt.Sprintf("%s ~ %s (%.0f %%)", second, first, 100*c.Over)
	case Half:
		return fmt.Sprintf("%s: over half is %s", call0(c.First), c.Second)
	}
	sign := ">"
	if c.Kind == Cheaper {
		sign = "<"
	}
	s := second + " " + sign + " " + first
	if c.Over > 0 {
		s += fmt.Sprintf(" by %.0f %%", 100*c.Over)
	}
	return s
}

// call0 is the part of a variant's name before the @.
func call0(variant string) string {
	s, _, _ := strings.Cut(variant, "@")
	return s
}

// kernelOf is the part of a variant's name behind the @.
func kernelOf(variant string) string {
	_, k, _ := strings.Cut(variant, "@")
	return k
}

// causes are the words for what cycles go into.
var causes = [cpu.NumStalls]string{cpu.StallNone: "execution", cpu.StallFetch: "code fetch", cpu.StallITLB: "code translation", cpu.StallBranch: "mispredictions",
	cpu.StallBTB: "unknown branch targets", cpu.StallMem: "L1 latency", cpu.StallL2: "L2 latency", cpu.StallLLC: "LLC latency", cpu.StallPeer: "other cores' lines", cpu.StallDRAM: "DRAM latency",
	cpu.StallTLB: "data translation", cpu.StallStore: "stores", cpu.StallLoadQ: "load queue", cpu.StallSerial: "fences and atomics", cpu.StallString: "copying", cpu.StallExec: "dependences",
	cpu.StallMMIO: "device registers", cpu.StallLock: "locks", cpu.StallInv: "invalidation", cpu.StallIdle: "idling"}

// Cause returns the words for what cycles go into.
func Cause(s cpu.Stall) string { return causes[s] }

// derive lists the conclusions that the facts of the unvaried platform support. points and list are in the same order.
func derive(x *bench.Experiment, points []bench.Point, list []*facts) []*Conclusion {
	index := map[bench.Point]int{}
	for i, p := range points {
		index[p] = i
	}
	var cs []*Conclusion
	for _, w := range x.Workloads {
		for _, b := range x.Backends {
			for k, name := range Calls {
				for _, state := range x.Caches {
					at := func(v string) int { return index[bench.Point{Workload: w, Backend: b, Cache: state, Variant: v}] }
					for j, v2 := range x.Variants {
						for _, v1 := range x.Variants[:j] {
							c := Conclusion{Workload: w, Backend: b, Cache: state, Call: name, First: v1, Second: v2, Across: kernelOf(v1) != kernelOf(v2), call: k, first: at(v1), second: at(v2)}
							cs = append(cs, c.compare(list)...)
						}
					}
					causes := map[string]cpu.Stall{} // of the first variant of a kernel; the others are told when theirs differ
					for _, v := range x.Variants {
						c := Conclusion{Workload: w, Backend: b, Cache: state, Call: name, First: v, Kind: Half, call: k, first: at(v), second: at(v)}
						if h := c.half(list); h != nil {
							if first, ok := causes[kernelOf(v)]; !ok || first != h[0].cause {
								cs = append(cs, h...)
							}
							if _, ok := causes[kernelOf(v)]; !ok {
								causes[kernelOf(v)] = h[0].cause
							}
						}
					}
				}
			}
		}
		for _, v := range firsts(x.Variants) {
			for k, name := range Calls {
				for _, state := range x.Caches {
					for j, b2 := range x.Backends {
						for _, b1 := range x.Backends[:j] {
							at := func(b string) int { return index[bench.Point{Workload: w, Backend: b, Cache: state, Variant: v}] }
							c := Conclusion{Workload: w, Backend: b1, Cache: state, Call: name, First: b1, Second: b2, Variant: v, call: k, first: at(b1), second: at(b2)}
							cs = append(cs, c.compare(list)...)
						}
					}
				}
			}
		}
	}
	return cs
}

// firsts returns the first variant of each kernel.
func firsts(variants []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, v := range variants {
		if k := kernelOf(v); !seen[k] {
			seen[k] = true
			out = append(out, v)
		}
	}
	return out
}

// compare returns what the facts say of the two points of c: an order, the order by a margin, that they are alike, or nothing.
func (c Conclusion) compare(list []*facts) []*Conclusion {
	effect, half, ok := c.effect(list)
	if !ok {
		return nil
	}
	c.Nominal = effect
	switch near := math.Abs(effect) - half; {
	case near > 0 && math.Abs(effect)+half >= nothing:
		c.Kind = Dearer
		if effect < 0 {
			c.Kind = Cheaper
		}
		order := c
		out := []*Conclusion{&order}
		for _, s := range steps {
			if near > s {
				c.Over = s
			}
		}
		if c.Over > 0 {
			out = append(out, &c)
		}
		return out
	case math.Abs(effect)+half < alike:
		c.Kind, c.Over = Alike, alike
		return []*Conclusion{&c}
	}
	return nil
}

// half returns what takes more than half of the call of c.
func (c Conclusion) half(list []*facts) []*Conclusion {
	op := &list[c.first].calls[c.call]
	for k, share := range op.share {
		if op.made && share > 0.5 {
			c.cause, c.Second, c.Nominal = cpu.Stall(k), causes[k], share
			return []*Conclusion{&c}
		}
	}
	return nil
}

// effect returns the effect of c in one list of facts, and half of its 95 % interval; false when one of the calls was not made or was too short
// to tell.
func (c *Conclusion) effect(list []*facts) (effect, half float64, ok bool) {
	a, b := &list[c.first].calls[c.call], &list[c.second].calls[c.call]
	if !a.made || !b.made {
		return 0, 0, false
	}
	if c.Kind == Half {
		return a.share[c.cause], 0, true
	}
	d, base := sim.SecondHalfDifference(&a.series, &b.series), a.mean()
	if math.IsInf(d.HalfWidth, 0) || math.IsNaN(d.Mean) || base == 0 {
		return 0, 0, false
	}
	return d.Mean / base, d.HalfWidth / base, true
}

// judge asks c of the facts of one sample.
func (c *Conclusion) judge(list []*facts) {
	effect, half, ok := c.effect(list)
	if !ok {
		c.Effects = append(c.Effects, math.NaN())
		return
	}
	c.Effects = append(c.Effects, effect)
	c.Judged++
	holds, against := false, false
	switch c.Kind {
	case Dearer:
		holds, against = effect > c.Over, effect+half < c.Over
	case Cheaper:
		holds, against = effect < -c.Over, effect-half > -c.Over
	case Alike:
		holds, against = math.Abs(effect) <= c.Over, math.Abs(effect)-half > c.Over
	case Half:
		holds = effect > 0.5
		against = !holds
	}
	if holds {
		c.Holds++
	}
	if against {
		c.Against++
	}
}
