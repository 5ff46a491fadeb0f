package dma

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"dmapath/cpu"
	"dmapath/kernel"
)

// Variant is one way of mapping a buffer: an API call of a kernel version, or a design that no kernel has. Both calls
// emit everything from the first instruction that the caller spends on the mapping itself (conversions included) to the
// return of the call.
type Variant interface {
	Name() string // CALL@KERNEL, map_phys@7.3
	Version() kernel.Version
	// Map returns the address that the device uses. On failure it returns kernel.MappingError and why.
	Map(t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error)
	Unmap(t *cpu.Thread, c *Ctx, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error
}

type entry struct {
	rank int
	v    Variant
}

var registry []entry

// register adds a variant; it runs while the package initialises. rank orders the tables: the older call first, and a
// counterfactual after what it is compared with.
func register(rank int, v Variant) struct{} {
	registry = append(registry, entry{rank, v})
	return struct{}{}
}

// Variants returns all variants, by rank and then by name.
func Variants() []Variant {
	sorted := slices.SortedFunc(slices.Values(registry), func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), strings.Compare(a.v.Name(), b.v.Name()))
	})
	vs := make([]Variant, len(sorted))
	for i, e := range sorted {
		vs[i] = e.v
	}
	return vs
}

// Lookup returns the variant called name.
func Lookup(name string) (Variant, error) {
	var names []string
	for _, v := range Variants() {
		if v.Name() == name {
			return v, nil
		}
		names = append(names, v.Name())
	}
	return nil, fmt.Errorf("no API variant %q; there are %s", name, strings.Join(names, ", "))
}
