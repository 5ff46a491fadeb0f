package bench

import (
	"bytes"
	"context"
	"testing"

	"github.com/google/pprof/profile"
)

// A profile holds exactly the cycles and instructions of the tables, function by function, and running it again gives the same bytes.
func TestProfileAgreesWithTables(t *testing.T) {
	s, x := load(t, "icelake-sp"), Default()
	x.Workloads, x.Backends, x.Caches, x.Operations = []string{"nvme"}, []string{"iommu-strict"}, []string{"warm"}, 128
	x.Variants = []string{"map_page@6.12", "map_phys@7.3"}
	if err := x.Validate(s); err != nil {
		t.Fatal(err)
	}
	write := func() []byte {
		runs, err := x.Again(s, "")
		if err != nil {
			t.Fatal(err)
		}
		p, err := Profile(context.Background(), runs, nil)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	first := write()
	if !bytes.Equal(first, write()) {
		t.Error("the profile differs from run to run")
	}
	p, err := profile.ParseData(first)
	if err != nil {
		t.Fatal(err)
	}
	type key struct{ variant, call, function string }
	got := map[key][2]int64{}
	deepest := 0
	for _, smp := range p.Sample {
		k := key{smp.Label["variant"][0], smp.Label["call"][0], smp.Location[0].Line[0].Function.Name}
		v := got[k]
		got[k] = [2]int64{v[0] + smp.Value[0], v[1] + smp.Value[1]}
		deepest = max(deepest, len(smp.Location))
		if top := smp.Location[len(smp.Location)-1].Line[0].Function.Name; top != k.call {
			t.Fatalf("the outermost function is %s, want %s", top, k.call)
		}
	}
	if deepest < 6 {
		t.Errorf("the deepest stack has %d functions", deepest)
	}
	for _, pt := range x.Points() {
		o, err := x.Run(s, pt)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range o.ops() {
			for _, st := range steps(op.Op) {
				if st.name == "(caller)" {
					continue
				}
				var instr, cycles int64
				for _, id := range st.ids {
					instr += op.Acct.Fn[id].Instructions()
					cycles += op.Acct.Fn[id].Cycles
				}
				if v := got[key{pt.Variant, op.name, st.name}]; v != [2]int64{cycles, instr} {
					t.Errorf("%s %s %s: %d cycles and %d instructions in the profile, %d and %d in the table", pt.Variant, op.name, st.name, v[0], v[1], cycles, instr)
				}
			}
		}
	}
}
