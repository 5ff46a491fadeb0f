package bench

import (
	"fmt"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/platform"
	"dmapath/results"
)

// Explain runs the one point of x and returns every step of its map and of its unmap.
func Explain(s *platform.Spec, x Experiment) (*results.Record, error) {
	if err := x.Validate(s); err != nil {
		return nil, err
	}
	o, err := x.Run(s, x.Points()[0])
	if err != nil {
		return nil, err
	}
	c := &Comparison{Platform: s, Exp: x, Outcomes: []*Outcome{o}}
	r := &results.Record{Name: "Explain", Version: results.Version(), Seed: x.Seed, ConfigHash: c.Manifest().Hash()}
	r.Warnings = c.lazyWarnings()
	o.measure(r, c)
	for _, p := range o.ops() {
		t := stepTable(p, fmt.Sprintf("%s, %s, %s, %s on %s: one %s", o.Variant, o.Backend, x.Size, o.Cache, s.Name, p.name))
		r.Tables = append(r.Tables, t, stallTable(o, p))
	}
	return r, nil
}

// stepTable lists the kernel functions of a call.
func stepTable(p op, title string) *results.Table {
	t := &results.Table{ID: p.name, Title: title,
		Columns: []results.Column{{Name: "function", Text: true}, {Name: "instr", Decimals: 0}, {Name: "cycles", Decimals: 1}, {Name: "wait", Unit: "cyc", Decimals: 1},
			{Name: "L1", Decimals: 1}, {Name: "L2", Decimals: 1}, {Name: "LLC", Decimals: 1}, {Name: "peer", Decimals: 1}, {Name: "DRAM", Decimals: 1}}}
	for _, st := range steps(p.Op) {
		t.Add(st.name, st.instr, st.cycles, st.wait, st.level[cache.L1], st.level[cache.L2], st.level[cache.LLC], st.level[cache.Peer], st.level[cache.DRAM])
	}
	tot, n := p.Acct.Total(), float64(p.N)
	t.Add("sum", float64(tot.Instructions())/n, float64(tot.Cycles)/n, float64(tot.Stall[cpu.StallMMIO]+tot.Stall[cpu.StallLock]+tot.Stall[cpu.StallInv])/n,
		float64(tot.Level[cache.L1])/n, float64(tot.Level[cache.L2])/n, float64(tot.Level[cache.LLC])/n, float64(tot.Level[cache.Peer])/n, float64(tot.Level[cache.DRAM])/n)
	t.Notes = []string{"cycles: between the retirement of the function's instructions and of those before them; wait: of these, cycles spent waiting for a register, a lock or an invalidation. " +
		"L1 to DRAM: loads and stores by the level that served them."}
	return t
}

// stallTable says what the cycles of a call went into, over all functions.
func stallTable(o *Outcome, p op) *results.Table {
	t := &results.Table{ID: p.name + "_stalls", Title: fmt.Sprintf("%s, %s, %s: what the cycles of one %s went into", o.Variant, o.Backend, o.Cache, p.name),
		Columns: []results.Column{{Name: "cause", Text: true}, {Name: "cycles", Decimals: 1}, {Name: "share", Unit: "%", Decimals: 1}}}
	tot, n := p.Acct.Total(), float64(p.N)
	add := func(name string, v int64) {
		if v > 0 {
			t.Add(name, float64(v)/n, 100*float64(v)/float64(tot.Cycles))
		}
	}
	add(cpu.StallNone.String(), tot.Retiring())
	for s := cpu.StallFetch; s < cpu.NumStalls; s++ {
		add(s.String(), tot.Stall[s])
	}
	return t
}
