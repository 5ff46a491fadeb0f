package relations

import (
	"reflect"
	"strings"
	"testing"

	"dmapath/bench/evidence"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// A bounded number of random configurations holds every statement. A failure prints the case, made small, and the command that repeats it;
// dmapath validate relations runs thousands.
func TestRandomConfigurations(t *testing.T) {
	configs := 5
	if testing.Short() {
		configs = 3
	}
	report, findings, err := Run(t.Context(), Options{Configs: configs, Seed: 2}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Errorf("%v\n    again: dmapath validate relations --seed 2 --first %d --configs 1", f, f.Trial)
	}
	if report.Err() != nil && findings == nil {
		t.Error("a row misses and no finding says why")
	}
}

// A trial is the same alone and among others, and with any number of jobs.
func TestTrialsAreRepeatable(t *testing.T) {
	run := func(first, n, jobs int) *evidence.Report {
		r, _, err := Run(t.Context(), Options{Configs: n, First: first, Seed: 3}, jobs)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if a, b := run(0, 2, 1), run(0, 2, 2); !reflect.DeepEqual(a, b) {
		t.Errorf("one job:\n%+v\ntwo:\n%+v", a, b)
	}
	if a, b := Draw(3, 17), Draw(3, 17); !reflect.DeepEqual(a, b) {
		t.Errorf("%v\n%v", a, b)
	}
	if a, b := Draw(3, 17), Draw(4, 17); reflect.DeepEqual(a, b) {
		t.Errorf("two seeds have one case: %v", a)
	}
}

// What is drawn reaches all of the space.
func TestDrawsReachEverything(t *testing.T) {
	seen := map[string]int{}
	for i := range 500 {
		c := Draw(1, i)
		for _, w := range []string{c.Platform, c.Workload, c.Backend, c.Cache, c.Variant} {
			seen[w]++
		}
		for _, s := range c.Set {
			seen[strings.SplitN(s.Key, ".", 2)[0]]++
		}
	}
	for _, w := range []string{"icelake-sp", "genoa", "neoverse-n1", "cortex-a15", "nvme", "nic", "map-benchmark", "dma-probe", "netperf-rx", "direct", "iommu-strict", "iommu-lazy", "iommu-passthrough", "swiotlb-force",
		"ops-gart", "hot", "warm", "cold", "map_page@6.12", "map_phys@7.3", "iova_link@7.3", "map_sg@7.3", "driver@6.12", "driver@7.3", "cpu", "tlb", "cache", "dram", "pcie", "iommu", "memory", "kernel", "surroundings"} {
		if seen[w] == 0 {
			t.Errorf("%s never came up", w)
		}
	}
}

func sample() Case {
	c := Case{Platform: "icelake-sp"}
	c.Workload, c.Backend, c.Cache, c.Variant = "nvme", "iommu-strict", "hot", "map_phys@7.3"
	return c.With("workload.operations", "80")
}

func TestCaseIsACommand(t *testing.T) {
	got := sample().With("iommu.walkers", "2").With("workload.nvme.queue_depth", "4").With("iommu.walkers", "3").String()
	want := "dmapath compare --platform icelake-sp --workload nvme --backend iommu-strict --cache hot --variant map_phys@7.3 --operations 80 --set iommu.walkers=3 --set workload.nvme.queue_depth=4"
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// What shrinking keeps is what the failure needs.
func TestShrinkKeepsWhatMatters(t *testing.T) {
	c := sample().With("iommu.walkers", "2").With("pcie.tags", "7").With("workload.nvme.queue_depth", "4")
	c.Cache = "cold"
	fails := func(c Case) bool { return c.get("pcie.tags") == "7" && c.Cache == "cold" }
	c = shrink(c, fails)
	want := []Setting{{"workload.operations", "64"}, {"pcie.tags", "7"}, {"workload.seed", "1"}}
	if !reflect.DeepEqual(c.Set, want) || c.Cache != "cold" {
		t.Errorf("%v", c)
	}
}

// The books catch what they are there for: one count too many or too few, anywhere.
func TestBooksCatchMistakes(t *testing.T) {
	type wrong = func(m *platform.Machine, d *platform.Device, r *workloads.Result)
	for _, c := range []struct {
		law string
		do  wrong
	}{
		{"", func(*platform.Machine, *platform.Device, *workloads.Result) {}},
		{"cycles", func(_ *platform.Machine, _ *platform.Device, r *workloads.Result) { r.Map.Acct.Fn[3].Cycles++ }},
		{"cycles", func(_ *platform.Machine, _ *platform.Device, r *workloads.Result) { r.Unmap.Cycles.Add(1) }},
		{"cycles", func(_ *platform.Machine, _ *platform.Device, r *workloads.Result) {
			r.Map.Acct.Fn[0].Stall[3] = 1 << 40
		}},
		{"instructions", func(_ *platform.Machine, _ *platform.Device, r *workloads.Result) { r.Unmap.Instr++ }},
		{"faults", func(_ *platform.Machine, _ *platform.Device, r *workloads.Result) { r.Faults++ }},
		{"bytes", func(_ *platform.Machine, _ *platform.Device, r *workloads.Result) { r.Bytes-- }},
		{"calls", func(_ *platform.Machine, _ *platform.Device, r *workloads.Result) { r.Calls[workloads.CallUnmap]-- }},
		{"packets", func(_ *platform.Machine, d *platform.Device, _ *workloads.Result) { d.Port.Down.Packets++ }},
		{"payload", func(_ *platform.Machine, d *platform.Device, _ *workloads.Result) { d.Port.Up.Payload -= 4 }},
		{"translations", func(m *platform.Machine, _ *platform.Device, _ *workloads.Result) { m.Unit.Statistics().Hits++ }},
		{"iova", func(m *platform.Machine, d *platform.Device, _ *workloads.Result) {
			if err := m.Do("leak", func(t *cpu.Thread) { d.Cookie.Map(t, d.Ctx.Dev, 1<<33, 4096, kernel.Bidirectional, 0) }); err != nil {
				t.Error(err)
			}
		}},
		{"events", func(m *platform.Machine, _ *platform.Device, _ *workloads.Result) {
			m.Eng.Go("forgotten", func(p *sim.Proc) { new(sim.Signal).Wait(p) })
		}},
	} {
		r, err := tampered(sample(), c.do)
		if err != nil || r.Refused != "" {
			t.Fatalf("%v %+v", err, r)
		}
		if c.law == "" && len(r.Books) > 0 || c.law != "" && mistake(r, c.law) == "" {
			t.Errorf("%q: the books say %v", c.law, r.Books)
		}
	}
}

// A relation notices what it is about: the machine is changed against the statement.
func TestRelationsNotice(t *testing.T) {
	run := func(c Case) *Ran {
		r, err := perform(c)
		if err != nil || r.Refused != "" {
			t.Fatal(err, r)
		}
		return r
	}
	base := run(sample())
	worse := run(sample().With("iommu.inv_iotlb_page", "900cycles").With("pcie.link", "300ns"))
	for _, rel := range All() {
		switch rel.Name {
		case "unused key", "unused credits", "scaled clocks", "longer queues", "retpolines", "debug options":
			a, b := base, worse
			if strings.HasPrefix(rel.Says, "retpolines") || rel.Name == "debug options" {
				a, b = worse, base
			}
			if rel.Differ(a, b, rel.Margin) == "" {
				t.Errorf("%s: nothing noticed", rel.Name)
			}
		}
		if rel.Name != "scaled clocks" && rel.Differ(base, base, rel.Margin) != "" {
			t.Errorf("%s: a run differs from itself: %s", rel.Name, rel.Differ(base, base, rel.Margin))
		}
	}
}

func TestDifferFindsEveryPlace(t *testing.T) {
	type inner struct {
		list []int
		m    map[string]float64
	}
	mk := func() *struct {
		A *inner
		b bool
		f func()
	} {
		return &struct {
			A *inner
			b bool
			f func()
		}{A: &inner{list: []int{1, 2}, m: map[string]float64{"x": 1, "y": 2}}}
	}
	if d := differ(mk(), mk()); d != "" {
		t.Error(d)
	}
	x := mk()
	x.A.list[1] = 3
	if d := differ(mk(), x); d != ".A.list[1]: 2 and 3" {
		t.Error(d)
	}
	x = mk()
	x.A.m["y"] = 5
	if d := differ(mk(), x); d != ".A.m[y]: 2 and 5" {
		t.Error(d)
	}
	x = mk()
	x.A = nil
	if d := differ(mk(), x); d == "" {
		t.Error("nil is nothing")
	}
}

// What leads back to itself is followed once, and what a run happened on is not looked into.
func TestDifferEnds(t *testing.T) {
	type ring struct {
		n    int
		next *ring
		eng  *sim.Engine
	}
	mk := func(n int) *ring {
		r := &ring{n: 1, eng: sim.NewEngine(), next: &ring{n: n}}
		r.next.next = r
		return r
	}
	x := mk(2)
	x.eng.At(5, x.eng.Register("tick", func(uint64) {}), 0)
	if d := differ(mk(2), x); d != "" {
		t.Error(d)
	}
	if d := differ(mk(2), mk(3)); d != ".next.n: 2 and 3" {
		t.Error(d)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{}, {Configs: -1}, {Configs: 2_000_000}, {Configs: 1, First: -1}} {
		if _, _, err := Run(t.Context(), o, 1); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
