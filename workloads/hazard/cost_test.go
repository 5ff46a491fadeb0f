package hazard

import (
	"reflect"
	"testing"
)

// Cells that are alike cost the same, call by call, when each is measured by itself; cells that are not do not pass for it.
func TestAlikeCellsCostTheSame(t *testing.T) {
	type name struct{ version, call, memory, backend string }
	for _, c := range []struct {
		a, b  name
		alike bool
	}{
		{name{"6.12", "map_page", "ram", "strict"}, name{"6.12", "map_page", "hotplug", "strict"}, true},
		{name{"7.3", "map_phys", "ram", "lazy"}, name{"7.3", "map_phys", "mmio-early", "lazy"}, true},
		{name{"7.3", "map_phys", "ram", "swiotlb"}, name{"7.3", "map_phys", "hotplug", "swiotlb"}, false}, // other bytes are copied
		{name{"6.12", "map_page", "ram", "direct"}, name{"6.12", "map_page+skip", "ram", "direct"}, false},
		{name{"7.3", "map_phys", "ram", "strict"}, name{"7.3", "map_phys", "p2pdma", "strict"}, false},
		{name{"7.3", "map_phys short", "ram", "strict"}, name{"7.3", "map_phys short", "hotplug", "strict"}, false}, // what is left behind
		{name{"7.3", "map_phys", "ram", "strict"}, name{"7.3", "map_phys", "ram", "lazy"}, false},
	} {
		x, y := run(t, c.a.version, c.a.call, c.a.memory, c.a.backend, 32), run(t, c.b.version, c.b.call, c.b.memory, c.b.backend, 32)
		lx, okx := x.Likeness()
		ly, oky := y.Likeness()
		if !okx || !oky || lx == ly != c.alike {
			t.Errorf("%v and %v: alike %v, want %v", x.Cell, y.Cell, lx == ly, c.alike)
		}
		if c.alike && !(reflect.DeepEqual(x.Map, y.Map) && reflect.DeepEqual(x.Unmap, y.Unmap)) {
			t.Errorf("%v and %v are alike and cost %.1f and %.1f cycles", x.Cell, y.Cell, x.Cycles(), y.Cycles())
		}
	}
}
