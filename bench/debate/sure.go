package debate

import (
	"fmt"
	"strings"

	"dmapath/bench/sensitivity"
	"dmapath/platform"
	"dmapath/results"
)

// conclusions returns those of u that are about a difference between variants of one kernel, or between its kernels.
func conclusions(u *sensitivity.Uncertainty, across bool) []*sensitivity.Conclusion {
	var list []*sensitivity.Conclusion
	for _, c := range u.Conclusions {
		if c.Variant == "" && c.Kind != sensitivity.Half && c.Across == across && !(c.Over > 0 && c.Kind != sensitivity.Alike) {
			list = append(list, c)
		}
	}
	return list
}

// order finds the conclusion about two variants; nil when none could be drawn.
func order(u *sensitivity.Uncertainty, backend, cache, name, a, b string) *sensitivity.Conclusion {
	for _, across := range []bool{false, true} {
		for _, c := range conclusions(u, across) {
			if c.Backend == backend && c.Cache == cache && c.Call == name && c.First == a && c.Second == b {
				return c
			}
		}
	}
	return nil
}

// sure is how much of all this leans on values that nobody knows.
func (d *Debate) sure(p *page) {
	p.head(2, "6. How sure we are")
	p.para("Intervals so far are about the randomness of the workload: which buffers, when. They say nothing about whether the simulated machine is like a real one. Many of its values are not published, and every one of them " +
		"that is a guess or inferred was varied over a plausible range, all at once, and the question asked again (dmapath compare --uncertainty; dmapath platform show prints the ranges).")
	t := &results.Table{ID: "guesses", Title: "What the platforms rest on", Columns: []results.Column{{Name: "platform", Text: true}, {Name: "values"}, {Name: "guesses"}, {Name: "varied"}, {Name: "samples"}}}
	for _, u := range d.uncertain {
		t.Add(u.Platform.Name, len(platform.Keys()), len(u.Platform.Guesses()), len(u.Keys), len(u.Samples))
	}
	p.table(t)
	t = &results.Table{ID: "survives", Title: "Share of the samples in which the order of two calls is what it is on the unvaried platform; warm", Columns: []results.Column{{Name: "platform", Text: true},
		{Name: "direct", Unit: "%", Text: true}, {Name: "strict", Unit: "%", Text: true}}}
	for _, s := range []struct{ title, name, a, b string }{{"map: map_phys against map_page", "map", page73, phys73}, {"map: rederive against map_phys", "map", phys73, derive73},
		{"unmap: map_phys against map_page", "unmap", page73, phys73}, {"map: map_page 7.3 against 6.12", "map", page612, page73}, {"unmap: map_page 7.3 against 6.12", "unmap", page612, page73}} {
		t.Add("["+s.title+"]", "", "")
		for _, u := range d.uncertain {
			row := []any{u.Platform.Name}
			for _, b := range []string{"direct", "iommu-strict"} {
				row = append(row, shareOf(order(u, b, "warm", s.name, s.a, s.b)))
			}
			t.Add(row...)
		}
	}
	t.Notes = []string{"more, less: the second call's cost against the first's on the unvaried platform; alike: a difference below 5 %. Then the share of the samples in which that is so, with its 95 % interval (Wilson). undecided: the unvaried platform shows no clear difference."}
	p.table(t)
	for _, u := range d.uncertain[:1] {
		for _, across := range []bool{false, true} {
			var n, all, most int
			var weak []string
			for _, c := range conclusions(u, across) {
				share, _, _ := c.Share()
				n++
				switch {
				case share == 1:
					all++
				case share >= 0.95:
					most++
				default:
					weak = append(weak, fmt.Sprintf("%s, %s, %s: %s (%.0f %%)", c.Backend, c.Cache, c.Call, c.Text(), 100*share))
				}
			}
			where := "within 7.3"
			if across {
				where = "across the kernels"
			}
			p.para("On %s, of %d orders of two calls %s (backends direct and strict, all cache states), %d hold in all samples, %d more in 95 %% or more, and %d in fewer.", u.Platform.Name, n, where, all, most, len(weak))
			if len(weak) > 0 {
				p.para("These do not survive what is not known:")
				for _, w := range weak {
					p.item("%s", w)
				}
				p.end()
			}
		}
	}
	f, err := d.uncertain[0].Figure("nvme", "map")
	p.figure("uncertainty_map", "spread over the samples", f, err)
	p.para("What a strict unmap costs at all depends on how long the hardware takes to answer. %s", d.leans())
	p.table(d.strict.Table(1, 10))
	p.para("Not varied, because no range describes it: whether the mechanisms are the right ones. Instructions of the calls are held against recordings of real kernels (dmapath validate kernel-traces), except AMD's driver, debug options and others that the documentation names, which were read from the source. " +
		"Cycles are those of a model of the core; how far they agree with published measurements and with a real machine is in docs/validation.md, and nothing on this page was fitted to it.")
}

// shareOf writes the share of samples in which a conclusion holds.
func shareOf(c *sensitivity.Conclusion) string {
	if c == nil {
		return "undecided"
	}
	word := map[sensitivity.Kind]string{sensitivity.Dearer: "more", sensitivity.Cheaper: "less", sensitivity.Alike: "alike"}[c.Kind]
	share, low, high := c.Share()
	return fmt.Sprintf("%s %.0f (%.0f-%.0f)", word, 100*share, 100*low, 100*high)
}

// leans names the guesses that the strict unmap depends on most.
func (d *Debate) leans() string {
	var s []string
	for _, el := range d.strict.Guesses(1, 5) {
		s = append(s, fmt.Sprintf("%s (1 %% more of it makes %+.2f %%)", el.Key, el.By[1]))
	}
	if len(s) == 0 {
		return "None of the values that it depends on most is a guess."
	}
	return fmt.Sprintf("On %s it depends on guesses: %s.", d.main[0].Platform.Name, strings.Join(s, ", "))
}
