package platform

import (
	"math/rand/v2"
	"testing"
)

// What Schema says a key may be is what Set takes, and what Get and Number say of it afterwards.
func TestSchemaSaysWhatSetTakes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, k := range Schema() {
		s, err := Load(Default)
		if err != nil {
			t.Fatal(err)
		}
		if k.Doc == "" || k.Number && k.Words != nil {
			t.Errorf("%+v", k)
		}
		for _, w := range k.Words {
			if err := s.Set(k.Name, w); err != nil {
				t.Error(err)
			}
			if got, err := s.Get(k.Name); err != nil || got != w {
				t.Errorf("%s=%s: %v, %s", k.Name, w, err, got)
			}
		}
		if _, ok := s.Number(k.Name); ok != k.Number {
			t.Errorf("%s: a number %v, Number says %v", k.Name, k.Number, ok)
		}
		if !k.Number {
			continue
		}
		for i := range 40 {
			v := k.Min + rnd.Int64N(k.Max-k.Min+1)>>(i%20)
			text := k.Format(max(v, k.Min))
			if err := s.Set(k.Name, text); err != nil {
				t.Errorf("%s: %v", k.Name, err)
			}
			got, _ := s.Number(k.Name)
			if got != v && !(k.Pow2 && got <= max(v, k.Min) && 2*got > v) && v >= k.Min {
				t.Errorf("%s: %d became %s, %d", k.Name, v, text, got)
			}
		}
		for _, v := range []int64{k.Min - 1, k.Max + 1} { // out of range is brought into it
			if err := s.Set(k.Name, k.Format(v)); err != nil {
				t.Errorf("%s: %v", k.Name, err)
			}
		}
	}
	if s, err := Load(Default); err != nil {
		t.Error(err)
	} else if _, ok := s.Number("cache.llc.replacement"); ok {
		t.Error("a word is a number")
	}
}
