package debate

import (
	"fmt"
	"slices"
	"strings"

	"dmapath/bench"
	"dmapath/kernel"
	"dmapath/results"
	"dmapath/workloads/hazard"
)

// unit is the effect of the mapping cost of one I/O of driver@7.3 against driver@6.12, all calls and what the driver does around them.
func unit(c *bench.Comparison, backend string) (calls, around effect, made [2]float64) {
	a, b := find(c, backend, "warm", "driver@6.12"), find(c, backend, "warm", "driver@7.3")
	x, y := a.Units[0], b.Units[0]
	return between(&x.Cycles, &y.Cycles), between(&x.Around, &y.Around), [2]float64{x.Calls.SecondHalf().Mean, y.Calls.SecondHalf().Mean}
}

// where are the words for targets.
var where = map[string]string{"memory": "RAM", "p2p-pages": "another device, with struct pages", "p2p-mmio": "another device, without struct pages"}

// devices is about memory that is not RAM, and what a whole driver gains.
func (d *Debate) devices(p *page) {
	p.head(2, "4. Device memory: P2P and MMIO")
	p.para("One side says that a struct page is what the core needs to know about memory; the other that the memory of another device has none. Each call was run on memory of another device, with struct pages " +
		"(p2pdma) and without (mmio), on every sort of backend, and an oracle watched which bytes went where. A number is the cycles of map and unmap together with warm caches.")
	r := d.hazards.Record()
	for _, memory := range []string{"mmio", "p2pdma"} {
		for _, v := range []string{"6.12", "7.3"} {
			for _, t := range r.Tables {
				if t.ID == "hazards_"+v+"_"+memory {
					p.table(t)
				}
			}
		}
		p.para("%s", d.memoryStory(memory))
	}
	p.para("ERR: the kernel returns an error. n/a: the call cannot be made, because there is no page to pass. Two capital letters: something goes wrong (section 5 says what); a star: read in the source that nothing prevents it, seen by nobody.")
	p.para("What it comes to for a whole NVMe driver on %s, I/Os of 128 KiB in scattered pages: 6.12 builds a scatterlist, 7.3 links pieces of one I/O address range (iova_link). Cycles of all mapping calls of one I/O and of what the driver does around them:", d.main[0].Platform.Name)
	t := &results.Table{ID: "drivers", Title: "One I/O of 128 KiB: mapping calls and driver, 6.12 and 7.3, warm", Keys: 2, Columns: []results.Column{{Name: "data in", Text: true}, {Name: "backend", Text: true},
		{Name: "6.12 calls"}, {Name: "7.3 calls"}, {Name: "6.12", Unit: "cyc"}, {Name: "7.3 less 6.12", Unit: "cyc", Text: true}, {Name: "", Unit: "%", Signed: true}, {Name: "around", Unit: "cyc", Text: true}}}
	var all tally
	for i, c := range d.drivers {
		for _, b := range c.Exp.Backends {
			e, around, n := unit(c, b)
			t.Add(targets[i], strings.TrimPrefix(b, "iommu-"), n[0], n[1], e.base, e.cell(), e.percent(), around.cell())
			all.add(e, where[targets[i]]+" on "+b)
		}
	}
	t.Notes = []string{"around: what the driver does because of how it maps (scatterlists, descriptor lists), 7.3 less 6.12; estimated from the source, not recorded."}
	p.table(t)
	p.para("The driver of 7.3 %v. %s", &all, all.extremes("it"))
}

// memoryStory says of one kind of memory which calls work where.
func (d *Debate) memoryStory(memory string) string {
	var s []string
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, name := range designs {
			c := d.count(v, name, memory)
			if c.of() > 0 {
				s = append(s, fmt.Sprintf("%s of %v %v", name, v, c))
			}
		}
	}
	return strings.Join(s, "; ") + "."
}

// census counts what became of cells.
type census struct {
	works, wrong, fatal, fails, impossible int
	kinds                                  []kernel.HazardKind
}

func (c *census) of() int { return c.works + c.wrong + c.fails + c.impossible }

// String tells a census in words.
func (c *census) String() string {
	switch n := c.of(); {
	case c.works == n:
		return fmt.Sprintf("works on all %d backends", n)
	case c.impossible == n:
		return "cannot be called: there is no page"
	case c.fails == n:
		return fmt.Sprintf("is refused on all %d backends", n)
	case c.wrong == n:
		return fmt.Sprintf("goes wrong on all %d backends", n)
	default:
		var s []string
		for _, x := range []struct {
			n    int
			what string
		}{{c.works, "works on"}, {c.fails, "is refused on"}, {c.wrong, "goes wrong on"}, {c.impossible, "cannot be called on"}} {
			if x.n > 0 {
				s = append(s, fmt.Sprintf("%s %d", x.what, x.n))
			}
		}
		return fmt.Sprintf("%s of %d", strings.Join(s, ", "), n)
	}
}

// count is the census of a call on a kind of memory (empty: on all) over the backends.
func (d *Debate) count(v kernel.Version, name, memory string) *census {
	c := &census{}
	for _, r := range d.hazards.Results {
		if r.Call.Version != v || r.Call.Name != name || memory != "" && r.Memory.Name != memory {
			continue
		}
		switch r.Status {
		case hazard.OK:
			c.works++
		case hazard.Hazardous, hazard.Fatal:
			c.wrong++
		case hazard.Failed:
			c.fails++
		case hazard.Impossible:
			c.impossible++
		}
		for _, f := range r.Hazards {
			if !slices.Contains(c.kinds, f.Kind) {
				c.kinds = append(c.kinds, f.Kind)
			}
		}
		if r.Status == hazard.Fatal {
			c.fatal++
		}
	}
	return c
}

// breaks is where each call breaks.
func (d *Debate) breaks(p *page) {
	p.head(2, "5. Where each breaks")
	p.para("The same calls on every kind of memory and one backend of each sort. refused: an error that the driver can act on. wrong: something happens that must not; fatal: the kernel does not survive it.")
	t := &results.Table{ID: "census", Title: "Cells by call: what happens", Keys: 2, Columns: []results.Column{{Name: "call", Text: true}, {Name: "kernel", Text: true}, {Name: "works"}, {Name: "refused"}, {Name: "no page to pass"}, {Name: "wrong"}, {Name: "of them fatal"}, {Name: "how", Text: true}}}
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, name := range designs {
			c := d.count(v, name, "")
			if c.of() == 0 {
				continue
			}
			slices.Sort(c.kinds)
			var codes []string
			for _, k := range c.kinds {
				codes = append(codes, hazard.Code(k))
			}
			t.Add(name, v.String(), c.works, c.fails, c.impossible, c.wrong, c.fatal, strings.Join(codes, " "))
		}
	}
	p.table(t)
	for _, t := range d.hazards.Record().Tables {
		if t.ID == "hazards_found" {
			p.table(t)
		}
	}
	old, now, again := d.count(kernel.V6_12, "map_page", "mmio"), d.count(kernel.V7_3, "map_phys", "mmio"), d.count(kernel.V7_3, "map_phys_rederive", "mmio")
	buys := ""
	if again.fails == again.of() && now.fails < now.of() {
		buys = "; that is what its lookup buys"
	}
	p.para("Memory without a struct page shows what a page, or its absence, is worth as a check: map_page of 6.12 %v. map_phys of 7.3 without the attribute %v. The design that derives the page again %v%s. "+
		"With the attribute (map_phys_mmio) 7.3 %v.", old, now, again, buys, d.count(kernel.V7_3, "map_phys_mmio", "mmio"))
}
