package debate

import (
	"fmt"
	"slices"
	"strings"

	"dmapath/bench"
	"dmapath/bench/sensitivity"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/results"
)

// sides states the question and both positions.
func (d *Debate) sides(p *page) {
	p.head(1, "What does it cost to map a physical address for DMA?")
	var names []string
	for _, c := range d.main {
		names = append(names, c.Platform.Name)
	}
	p.para("This page is written by `dmapath debate`. Every number on it comes from runs of that command, and every sentence that states a result is chosen by the numbers. All of it is simulated: kernels 6.12 and 7.3 executing their own algorithms "+
		"on modelled machines (%s). dmapath explain, compare, hazards and whatif show each figure in detail.", strings.Join(names, ", "))
	p.para("Linux moved its DMA API from dma_map_page(), which takes a struct page, to dma_map_phys(), which takes a physical address.")
	p.item("**One side says** that the move throws information away: whoever has a page knows that the memory has one, and below an API of bare addresses it has to be derived again, with pfn_valid() and phys_to_page().")
	p.item("**The other side says** that conversions disappear, because drivers and the IOMMU code deal in addresses anyway, and that the memory of another device (P2P, MMIO) has no page to give.")
	p.item("**A third proposal** is to take the virtual address as the input (map_single_virt). It exists here as a call (dmapath compare --variant map_single_virt@7.3) and is not part of the argument below.")
	p.end()
	p.para("Both can be right about different things, so the question is taken apart: what each call costs beside the other (1), what the lookup would cost that was feared (2), what really changed between the kernels (3), what happens with " +
		"memory that has no page (4), where each call breaks (5), and how much of the answer rests on guesses (6).")
}

// answers is the summary: each claim, what the runs say, and in how many samples.
func (d *Debate) answers(p *page) {
	p.head(2, "The short answers")
	type claim struct {
		text, verdict string
	}
	map73, unmap73 := d.over("map", page73, phys73), d.over("unmap", page73, phys73)
	again := d.over("map", phys73, derive73)
	with, of := d.callers(phys73)
	calls := fmt.Sprintf("No: it appears in none of %d runs of map_phys.", of)
	if with > 0 {
		calls = fmt.Sprintf("Yes: in %d of %d runs of map_phys.", with, of)
	}
	wrapper := d.instructions(page73, phys73)
	conv := fmt.Sprintf("map_phys executes %s than map_page of the same kernel, which wraps it.", fewer(wrapper, "fewer", "more", "as many instructions"))
	if wrapper == 0 {
		conv = "map_phys executes as many instructions as map_page of the same kernel."
	}
	old, now, mmio, derive := d.count(kernel.V6_12, "map_page", "mmio"), d.count(kernel.V7_3, "map_phys", "mmio"), d.count(kernel.V7_3, "map_phys_mmio", "mmio"), d.count(kernel.V7_3, "map_phys_rederive", "mmio")
	m, u := d.over("map", page612, phys73), d.over("unmap", page612, phys73)
	for _, c := range []claim{
		{"Does map_phys cost more than map_page?", fmt.Sprintf("Within 7.3 a map by map_phys %s (%v), an unmap %s (%v).", map73.verdict(), map73, unmap73.verdict(), unmap73)},
		{"Is pfn_valid() called on the streaming path?", calls},
		{"What if it were?", fmt.Sprintf("A map that derives the page again %s: it %v. %s %s", again.verdict(), again, again.extremes("it"), d.survival("map", phys73, derive73))},
		{"Does it matter behind an IOMMU?", d.matter()},
		{"Do conversions disappear?", conv + " " + d.survival("map", page73, phys73)},
		{"Did 7.3 get dearer?", fmt.Sprintf("map_phys of 7.3 against map_page of 6.12: the map %s (%v), the unmap %s (%v). Compiler and page-table code differ too. %s", m.verdict(), m, u.verdict(), u, d.survival("map", page612, phys73))},
		{"Memory without a page?", fmt.Sprintf("map_page of 6.12 %v; map_phys with the MMIO attribute %v; map_phys without it %v; deriving the page again %v.", old, mmio, now, derive)},
	} {
		p.item("**%s** %s", c.text, c.verdict)
	}
	p.end()
	t := &results.Table{ID: "answer", Title: "Warm caches, what an NVMe driver sees: cycles of map and unmap, and rederive", Keys: 2, Columns: []results.Column{{Name: "platform", Text: true}, {Name: "backend", Text: true},
		{Name: "6.12 page", Unit: "cyc"}, {Name: "7.3 page", Unit: "cyc"}, {Name: "7.3 phys", Unit: "cyc"}, {Name: "7.3 rederive", Unit: "cyc"}, {Name: "phys less page", Unit: "%", Decimals: 1, Signed: true}, {Name: "rederive less phys", Unit: "%", Decimals: 1, Signed: true}}}
	for _, c := range d.main {
		for _, b := range c.Exp.Backends {
			var v [4]float64
			for i, name := range []string{page612, page73, phys73, derive73} {
				o := find(c, b, "warm", name)
				v[i] = o.Map.Series.SecondHalf().Mean + o.Unmap.Series.SecondHalf().Mean
			}
			t.Add(c.Platform.Name, strings.TrimPrefix(b, "iommu-"), v[0], v[1], v[2], v[3], 100*(v[2]/v[1]-1), 100*(v[3]/v[2]-1))
		}
	}
	t.Notes = []string{"Map and unmap together; sections 1 and 3 have them apart and with intervals."}
	p.table(t)
}

// matter compares the difference between the two calls with what a strict IOMMU costs anyway.
func (d *Debate) matter() string {
	var diff, wait, again []float64
	for _, c := range d.main {
		a, b, r := find(c, "iommu-strict", "warm", page73), find(c, "iommu-strict", "warm", phys73), find(c, "iommu-strict", "warm", derive73)
		if a == nil || b == nil || r == nil {
			continue
		}
		cost := func(o *bench.Outcome) float64 {
			return o.Map.Series.SecondHalf().Mean + o.Unmap.Series.SecondHalf().Mean
		}
		diff, again = append(diff, 100*(cost(b)/cost(a)-1)), append(again, 100*(cost(r)/cost(b)-1))
		t := b.Unmap.Acct.Total()
		wait = append(wait, 100*float64(t.Stall[cpu.StallInv])/float64(max(1, t.Cycles)))
	}
	if len(diff) == 0 {
		return "Not run."
	}
	return fmt.Sprintf("With warm caches and strict invalidation map_phys changes the cost of map and unmap together by %+.1f to %+.1f %% against map_page, depending on the platform, and deriving the page again by %+.1f to %+.1f %% against map_phys; waiting for the invalidation is %.0f to %.0f %% of the unmap.",
		slices.Min(diff), slices.Max(diff), slices.Min(again), slices.Max(again), slices.Min(wait), slices.Max(wait))
}

// instructions is how many instructions per map b executes less than a, on average over everything that was run.
func (d *Debate) instructions(a, b string) float64 {
	var sum float64
	n := 0
	for _, c := range d.main {
		for _, o := range c.Outcomes {
			if o.Variant != a {
				continue
			}
			x, y := o.Map, find(c, o.Backend, o.Cache, b).Map
			tx, ty := x.Acct.Total(), y.Acct.Total()
			sum += float64(tx.Instructions())/float64(x.N) - float64(ty.Instructions())/float64(y.N)
			n++
		}
	}
	return sum / float64(n)
}

// fewer says a number of instructions with its direction.
func fewer(v float64, less, more, same string) string {
	switch {
	case v > 0:
		return fmt.Sprintf("%.1f %s instructions per map", v, less)
	case v < 0:
		return fmt.Sprintf("%.1f %s instructions per map", -v, more)
	}
	return same
}

// survival says in how many of the uncertain machines the order of two calls stays what it is, warm, over the platforms and both backends.
func (d *Debate) survival(name, a, b string) string {
	lowest, drawn, undecided, where := 1.0, 0, 0, ""
	flips := 0
	for _, u := range d.uncertain {
		for _, backend := range []string{"direct", "iommu-strict"} {
			c := order(u, backend, "warm", name, a, b)
			if c == nil || c.Kind == sensitivity.Alike {
				undecided++ // no order: whether two calls are within 5 % of each other is another question
				continue
			}
			drawn++
			share, _, _ := c.Share()
			if share < 0.95 {
				flips++
			}
			if share < lowest || where == "" {
				lowest, where = share, fmt.Sprintf("%s, %s", u.Platform.Name, backend)
			}
		}
	}
	switch {
	case drawn == 0:
		return "No order is clear with warm caches."
	case lowest == 1 && undecided == 0:
		return "With warm caches that order holds on every machine that was drawn from the plausible values."
	case lowest == 1:
		return fmt.Sprintf("With warm caches the order holds on every machine that was drawn from the plausible values, wherever it is clear (%d of %d cases).", drawn, drawn+undecided)
	case flips == 0:
		return fmt.Sprintf("With warm caches the order holds on at least %.0f %% of the machines drawn from plausible values, wherever it is clear (%d of %d cases).", 100*lowest, drawn, drawn+undecided)
	}
	return fmt.Sprintf("With warm caches the order rests on guesses in %d of %d cases: least on %s, where it holds on %.0f %% of the machines drawn from plausible values.", flips, drawn, where, 100*lowest)
}
