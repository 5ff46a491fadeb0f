package debate

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"dmapath/bench"
	"dmapath/cpu"
	"dmapath/results"
	"dmapath/results/figure"
)

// share is what one kernel function contributes to a call, per call.
type share struct{ cycles, instr float64 }

// shares returns the functions of a call of o by name; what the driver itself executes is left out.
func shares(o *bench.Outcome, name string) map[string]share {
	op := call(o, name)
	m := map[string]share{}
	for id := range op.Acct.Fn {
		f := &op.Acct.Fn[id]
		if id == 0 || f.Instructions() == 0 && f.Cycles == 0 {
			continue
		}
		fn := cpu.FuncByID(uint16(id))
		if strings.HasPrefix(fn.File, "drivers/nvme/") {
			continue
		}
		n := fn.Name
		s := m[n]
		s.cycles += float64(f.Cycles) / float64(op.N)
		s.instr += float64(f.Instructions()) / float64(op.N)
		m[n] = s
	}
	return m
}

// moves lists the functions whose share differs most between two outcomes.
func moves(a, b *bench.Outcome, name, title string) *results.Table {
	x, y := shares(a, name), shares(b, name)
	var names []string
	for n := range x {
		names = append(names, n)
	}
	for n := range y {
		if _, both := x[n]; !both {
			names = append(names, n)
		}
	}
	gap := func(n string) float64 { return math.Abs(y[n].cycles - x[n].cycles) }
	sort.Slice(names, func(i, j int) bool {
		if gap(names[i]) != gap(names[j]) {
			return gap(names[i]) > gap(names[j])
		}
		return names[i] < names[j]
	})
	t := &results.Table{ID: "moves", Title: title, Columns: []results.Column{{Name: "function", Text: true}, {Name: "6.12", Unit: "cyc", Decimals: 1}, {Name: "7.3", Unit: "cyc", Decimals: 1},
		{Name: "change", Unit: "cyc", Decimals: 1, Signed: true}, {Name: "6.12", Unit: "instr"}, {Name: "7.3", Unit: "instr"}}}
	const most = 10
	var rest, sum [4]float64
	for i, n := range names {
		v := [4]float64{x[n].cycles, y[n].cycles, x[n].instr, y[n].instr}
		for k := range v {
			sum[k] += v[k]
			if i >= most {
				rest[k] += v[k]
			}
		}
		if i < most {
			t.Add(n, none0(v[0]), none0(v[1]), v[1]-v[0], none0(v[2]), none0(v[3]))
		}
	}
	if len(names) > most {
		t.Add(fmt.Sprintf("(%d others)", len(names)-most), rest[0], rest[1], rest[1]-rest[0], rest[2], rest[3])
	}
	t.Add("sum", sum[0], sum[1], sum[1]-sum[0], sum[2], sum[3])
	return t
}

// none0 is nil for a function that is not there.
func none0(v float64) any {
	if v == 0 {
		return nil
	}
	return v
}

// kernels is what 7.3 gained and lost against 6.12.
func (d *Debate) kernels(p *page) {
	p.head(2, "3. What 7.3 gained and lost against 6.12, and in which step")
	p.para("The same call, dma_map_page(), on both kernels, and map_phys of 7.3 beside it. Between the kernels the compiler, its hardening options and the page-table code changed as well; " +
		"none of the figures of this section is the price of the new interface alone. That is in section 1.")
	for _, name := range calls {
		for _, v := range []string{page73, phys73} {
			t := d.over(name, page612, v)
			p.item("**%s of %s against %s**: %v. %s", name, v, page612, t, t.extremes("it"))
		}
	}
	p.end()
	c := d.main[0]
	for _, b := range []string{"direct", "iommu-strict"} {
		for _, name := range calls {
			p.table(moves(find(c, b, "warm", page612), find(c, b, "warm", page73), name, fmt.Sprintf("%s on %s, %s, warm: functions that changed most, %s to %s", name, c.Platform.Name, b, page612, page73)))
		}
	}
	f, err := stepFigure(c, "iommu-strict")
	p.figure("steps", "cycles by kernel function", f, err)
	p.para("A function that is missing on one side (-) was renamed, inlined, or does not exist there. The calls of real kernels, recorded instruction by instruction and run through the same core, say the same or do not:")
	t := &results.Table{ID: "recorded", Title: "Recorded calls on " + d.recorded.Platform.Name + ": instructions, and cycles of the simulated core", Columns: []results.Column{{Name: "call", Text: true},
		{Name: "6.12 page", Unit: "ins"}, {Name: "7.3 page", Unit: "ins"}, {Name: "7.3 phys", Unit: "ins"}, {Name: "6.12 page", Unit: "cyc"}, {Name: "7.3 page", Unit: "cyc", Text: true}, {Name: "7.3 phys", Unit: "cyc", Text: true}}}
	var page, phys tally
	for _, b := range d.recorded.Exp.Backends {
		for _, state := range d.recorded.Exp.Caches {
			for _, name := range calls {
				row := []any{strings.TrimPrefix(b, "iommu-") + ", " + state + ", " + name}
				for _, v := range []string{page612, page73, phys73} {
					op := call(find(d.recorded, b, state, v), name)
					tot := op.Acct.Total()
					row = append(row, float64(tot.Instructions())/float64(op.N))
				}
				e, f := compare(d.recorded, b, state, name, page612, page73), compare(d.recorded, b, state, name, page612, phys73)
				row = append(row, e.base, e.cell(), f.cell())
				t.Add(row...)
				page.add(e, b+", "+state+", "+name)
				phys.add(f, b+", "+state+", "+name)
			}
		}
	}
	t.Notes = []string{"ins: instructions. cyc of 7.3: difference to map_page of 6.12 with half of its 95 % interval; ~: it contains zero."}
	p.table(t)
	p.para("Of the recorded calls, map_page of 7.3 %v; map_phys of 7.3 %v.", &page, &phys)
}

// stepFigure draws where the cycles of map and unmap go on both kernels, warm.
func stepFigure(c *bench.Comparison, backend string) (*figure.Plot, error) {
	const named = 9
	var groups []string
	var parts []map[string]share
	sums := map[string]float64{}
	var names []string
	for _, name := range calls {
		for _, v := range []string{page612, page73, phys73, derive73} {
			m := shares(find(c, backend, "warm", v), name)
			groups, parts = append(groups, name+" "+strings.TrimPrefix(v, "map_")), append(parts, m)
			for n := range m {
				if _, ok := sums[n]; !ok {
					names = append(names, n)
				}
				sums[n] += m[n].cycles // one addend per name and bar, in the order of the bars
			}
		}
	}
	sort.Slice(names, func(i, j int) bool {
		if sums[names[i]] != sums[names[j]] {
			return sums[names[i]] > sums[names[j]]
		}
		return names[i] < names[j]
	})
	series := make([]figure.Series, 0, named+1)
	for _, n := range names[:min(named, len(names))] {
		s := figure.Series{Name: n}
		for _, m := range parts {
			s.Values = append(s.Values, m[n].cycles)
		}
		series = append(series, s)
	}
	if len(names) > named {
		rest := figure.Series{Name: "others"}
		for _, m := range parts {
			sum := 0.0
			for _, n := range names[named:] {
				sum += m[n].cycles
			}
			rest.Values = append(rest.Values, sum)
		}
		series = append(series, rest)
	}
	return figure.NewStack(figure.Axes{Title: fmt.Sprintf("%s on %s, warm: cycles by kernel function", backend, c.Platform.Name), Note: "simulated; NVMe, 4 KiB", Y: "core cycles", Width: 20}, groups, series)
}
