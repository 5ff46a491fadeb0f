package debate

import (
	"fmt"
	"math"
	"strings"

	"dmapath/bench"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/results"
	"dmapath/results/figure"
)

// executes reports whether a function whose name begins so was executed in a call of o.
func executes(o *bench.Outcome, name, function string) bool {
	acct := call(o, name).Acct
	for id := range acct.Fn {
		if acct.Fn[id].Instructions() > 0 && strings.HasPrefix(cpu.FuncByID(uint16(id)).Name, function) {
			return true
		}
	}
	return false
}

// callers counts the points of all platforms in which a variant executes pfn_valid, of how many.
func (d *Debate) callers(variant string) (with, of int) {
	for _, c := range d.main {
		for _, o := range c.Outcomes {
			if o.Variant == variant {
				of++
				if executes(o, "map", "pfn_valid") || executes(o, "unmap", "pfn_valid") {
					with++
				}
			}
		}
	}
	return with, of
}

// lookup is what pfn_valid costs and when.
func (d *Debate) lookup(p *page) {
	p.head(2, "2. What pfn_valid() costs, and when")
	with, of := d.callers(phys73)
	if with == 0 {
		p.para("The streaming path of 7.3 does not call it: in none of the %d runs of map_phys does the function appear, neither in the map nor in the unmap. What follows is the price of "+
			"a design that would.", of)
	} else {
		p.para("In %d of %d runs of map_phys the function is executed on the streaming path, so what follows is a price that is paid there.", with, of)
	}
	p.para("The lookup by itself, from its first to its last instruction. hot: the same frame again and again; cold: another frame of RAM each time, after the caches were displaced.")
	t := &results.Table{ID: "lookup", Title: "pfn_valid() of Linux 7.3, a boot section: cycles", Columns: []results.Column{{Name: "memory model", Text: true}}}
	type key struct{ name, section string }
	values := map[key][]any{}
	var order []key
	for _, c := range d.main {
		t.Columns = append(t.Columns, results.Column{Name: short(c.Platform.Name) + " hot", Unit: "cyc"}, results.Column{Name: short(c.Platform.Name) + " cold", Unit: "cyc"})
		for _, v := range c.PfnValid {
			if v.Kernel != kernel.V7_3 {
				continue
			}
			k := key{v.Name, v.Section}
			if values[k] == nil {
				order = append(order, k)
			}
			values[k] = append(values[k], v.Hot.Series.SecondHalf().Mean, v.Cold.Series.SecondHalf().Mean)
		}
	}
	for _, k := range order {
		if k.section == "boot" {
			t.Add(append([]any{k.name}, values[k]...)...)
		}
	}
	t.Notes = []string{"The memblock lookup is the one arm64 had before 5.16; the debate quotes it. Here it runs on each platform's own core."}
	p.table(t)
	p.para("And on the path, as the difference between rederive and map_phys on %s without an IOMMU, by memory model and by how much RAM is installed: the table that is looked up "+
		"(a mem_section per 128 MiB) grows with RAM, and what does not stay in the caches between two calls is what costs.", d.main[0].Platform.Name)
	t = &results.Table{ID: "lookup_on_path", Title: "What deriving the page again adds to map_phys: " + d.main[0].Platform.Name + ", direct", Keys: 1, Columns: []results.Column{{Name: "memory", Text: true},
		{Name: "warm", Unit: "cyc", Text: true}, {Name: "", Unit: "%"}, {Name: "cold", Unit: "cyc", Text: true}, {Name: "", Unit: "%"}}}
	var models, sizes tally
	for _, m := range d.memory {
		name := m.model
		if name == "" {
			name = string(m.Platform.Memory.Model) + ", " + m.ram
		}
		warm, cold := compare(m.Comparison, "direct", "warm", "map", phys73, derive73), compare(m.Comparison, "direct", "cold", "map", phys73, derive73)
		t.Add(name, warm.cell(), warm.percent(), cold.cell(), cold.percent())
		if m.model != "" {
			models.add(warm, m.model)
		} else {
			sizes.add(warm, m.ram)
		}
	}
	t.Notes = []string{"Installed RAM where none is named: the platform's. In brackets half of the 95 % interval; ~: it contains zero."}
	p.table(t)
	if models.total > 0 {
		p.para("With warm caches the dearest memory model for it is %s, where rederive %v; the cheapest is %s, where it %v.", models.mostWhere, models.most, models.leastWhere, models.least)
	}
	if sizes.total > 0 {
		p.para("By size the extremes are %s, where it %v, and %s, where it %v.", sizes.mostWhere, sizes.most, sizes.leastWhere, sizes.least)
	}
	f, err := d.lookupFigure()
	p.figure("lookup_by_ram", "rederive, by installed RAM", f, err)
}

// lookupFigure draws the price of the lookup on the path against installed RAM.
func (d *Debate) lookupFigure() (*figure.Plot, error) {
	series := []figure.Series{{Name: "warm"}, {Name: "cold"}}
	var groups []string
	for _, m := range d.memory {
		if m.ram == "" {
			continue
		}
		groups = append(groups, m.ram)
		for i, state := range []string{"warm", "cold"} {
			e := compare(m.Comparison, "direct", state, "map", phys73, derive73)
			half := e.half
			if !e.ok {
				half = math.NaN()
			}
			series[i].Values, series[i].CI = append(series[i].Values, e.mean), append(series[i].CI, half)
		}
	}
	return figure.NewBars(figure.Axes{Title: fmt.Sprintf("%s, direct: what deriving the page again adds to a map", d.main[0].Platform.Name), Note: "simulated; SPARSEMEM_VMEMMAP; error bars: 95 % interval", X: "installed RAM", Y: "core cycles"}, groups, series)
}
