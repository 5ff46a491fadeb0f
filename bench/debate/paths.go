package debate

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"dmapath/bench"
	"dmapath/bench/sensitivity"
	"dmapath/cpu"
	"dmapath/results"
	"dmapath/results/figure"
)

// calls are the two halves of a mapping.
var calls = []string{"map", "unmap"}

// over tallies an effect over every platform, backend and cache state.
func (d *Debate) over(name, a, b string) *tally {
	t := &tally{}
	for _, c := range d.main {
		for _, backend := range c.Exp.Backends {
			for _, state := range c.Exp.Caches {
				t.add(compare(c, backend, state, name, a, b), fmt.Sprintf("%s, %s, %s", c.Platform.Name, backend, state))
			}
		}
	}
	return t
}

// extremes says where an effect is largest and smallest.
func (t *tally) extremes(what string) string {
	if t.total == 0 {
		return ""
	}
	return fmt.Sprintf("Most: on %s, %s %v. Least: on %s, it %v.", t.mostWhere, what, t.most, t.leastWhere, t.least)
}

// paths is the first question: what the calls cost beside each other, everywhere.
func (d *Debate) paths(p *page) {
	p.head(2, "1. map_phys against map_page, and against deriving the page again")
	p.para("All three on Linux 7.3, 4 KiB buffers of an NVMe drive, one CPU. map_page of 7.3 is a wrapper that turns its page into an address and calls map_phys; " +
		"map_phys is that call itself; rederive is map_phys with the lookup that was feared: pfn_valid() and the way back to the page, on every call. No kernel has it.")
	for _, x := range []struct{ name, a, b, what string }{
		{"map", page73, phys73, "map_phys"}, {"unmap", page73, phys73, "unmap_phys"},
		{"map", phys73, derive73, "rederive"}, {"unmap", phys73, derive73, "unmap after rederive"}} {
		t := d.over(x.name, x.a, x.b)
		against := "map_page"
		switch {
		case x.a == phys73 && x.name == "map":
			against = "map_phys"
		case x.a == phys73:
			against = "unmap_phys"
		case x.name == "unmap":
			against = "unmap_page"
		}
		p.item("**%s against %s**: %v. %s", x.what, against, t, t.extremes("it"))
	}
	p.end()
	d.exceptions(p)
	for _, c := range d.main {
		for _, name := range calls {
			p.table(costs(c, name))
		}
	}
	for _, backend := range []string{"direct", "iommu-strict"} {
		f, err := d.costFigure(backend)
		p.figure("map_"+strings.ReplaceAll(backend, "-", "_"), "added to map_page, "+backend, f, err)
	}
	p.para("How to read the three cache states: hot is a loop that does nothing else; warm is what a 4 KiB I/O of a real driver displaces between two calls; " +
		"cold is after enough other work to empty the caches. Warm is the ordinary case.")
}

// exceptions says of each case in which map_phys costs more than its wrapper, although it executes less, where the cycles go.
func (d *Debate) exceptions(p *page) {
	said := false
	for _, c := range d.main {
		for _, b := range c.Exp.Backends {
			for _, state := range c.Exp.Caches {
				for _, name := range calls {
					e := compare(c, b, state, name, page73, phys73)
					if e.sign() != more {
						continue
					}
					if !said {
						p.para("Cases in which map_phys or unmap_phys costs more than the wrapper around it, and what the additional cycles go into.")
						if d.instructions(page73, phys73) > 0 {
							p.para("The wrapper executes the same code and more, so this is not what the interface does: it is where the code lies, what was fetched ahead of it, and what else is in the caches.")
						}
						said = true
					}
					p.item("%s, %s, %s, %s: %s cycles; %s.", c.Platform.Name, b, state, name, e.cell(), shifts(find(c, b, state, page73), find(c, b, state, phys73), name))
				}
			}
		}
	}
	if said {
		p.end()
	}
}

// shifts names the two causes whose cycles per call grow most from a to b.
func shifts(a, b *bench.Outcome, name string) string {
	x, y := call(a, name), call(b, name)
	tx, ty := x.Acct.Total(), y.Acct.Total()
	grow := func(s cpu.Stall) float64 {
		if s == cpu.StallNone {
			return float64(ty.Retiring())/float64(y.N) - float64(tx.Retiring())/float64(x.N)
		}
		return float64(ty.Stall[s])/float64(y.N) - float64(tx.Stall[s])/float64(x.N)
	}
	var list []cpu.Stall
	for s := range cpu.NumStalls {
		list = append(list, s)
	}
	sort.SliceStable(list, func(i, j int) bool { return grow(list[i]) > grow(list[j]) })
	var words []string
	for _, s := range list[:2] {
		if g := grow(s); g > 0 {
			words = append(words, fmt.Sprintf("%s %+.1f", sensitivity.Cause(s), g))
		}
	}
	return strings.Join(words, ", ")
}

// costs is a table of one platform: the calls of 7.3 with their differences.
func costs(c *bench.Comparison, name string) *results.Table {
	t := &results.Table{ID: "costs_" + name, Title: fmt.Sprintf("%s (%s): cycles per %s, Linux 7.3", c.Platform.Name, c.Platform.IOMMU.Dialect, name), Keys: 1,
		Columns: []results.Column{{Name: "backend, caches", Text: true}, {Name: "map_page", Unit: "cyc"}, {Name: "map_phys less map_page", Unit: "cyc", Text: true},
			{Name: "", Unit: "%", Decimals: 1, Signed: true}, {Name: "rederive less map_phys", Unit: "cyc", Text: true}, {Name: "", Unit: "%", Decimals: 1, Signed: true}}}
	for _, b := range c.Exp.Backends {
		for _, state := range c.Exp.Caches {
			o := find(c, b, state, page73)
			phys, again := compare(c, b, state, name, page73, phys73), compare(c, b, state, name, phys73, derive73)
			t.Add(strings.TrimPrefix(b, "iommu-")+", "+state, call(o, name).Series.SecondHalf().Mean, phys.cell(), phys.percent(), again.cell(), again.percent())
		}
	}
	t.Notes = []string{"In brackets half of the 95 % interval; ~: it contains zero."}
	return t
}

// costFigure draws what map_phys and the re-deriving design add to map_page, by platform and cache state.
func (d *Debate) costFigure(backend string) (*figure.Plot, error) {
	series := []figure.Series{{Name: "map_phys@7.3"}, {Name: "map_phys_rederive@7.3"}, {Name: "map_page@6.12"}}
	var groups []string
	for _, c := range d.main {
		for _, state := range c.Exp.Caches {
			groups = append(groups, short(c.Platform.Name)+" "+state)
			for i := range series {
				v := series[i].Name
				e := compare(c, backend, state, "map", page73, v)
				value, half := math.NaN(), math.NaN()
				if e.ok {
					value, half = e.percent(), 100*e.half/e.base
				}
				series[i].Values, series[i].CI = append(series[i].Values, value), append(series[i].CI, half)
			}
		}
	}
	return figure.NewBars(figure.Axes{Title: "map on " + backend + ": difference to map_page@7.3", Note: "simulated, NVMe, 4 KiB, one CPU; error bars: 95 % interval", Y: "% of map_page@7.3", Width: 24}, groups, series)
}

// short is a platform's name where there is little room.
func short(name string) string {
	return map[string]string{"icelake-sp": "ICX", "sapphire-rapids": "SPR", "genoa": "Genoa", "neoverse-n1": "N1"}[name]
}
