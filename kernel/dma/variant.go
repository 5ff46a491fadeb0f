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

var (
	registry []entry
	aliases  []aliased
)

type aliased struct {
	name string
	v    Variant
}

// register adds a variant; it runs while the package initialises. rank orders the tables: the older call first, and a
// counterfactual after what it is compared with.
func register(rank int, v Variant) struct{} {
	registry = append(registry, entry{rank, v})
	return struct{}{}
}

// Define adds a variant that is not part of this package: one that a user describes. It is called before machines are built. A name
// that exists is an error.
func Define(v Variant) error {
	if _, err := Lookup(v.Name()); err == nil {
		return fmt.Errorf("there is a variant %s already", v.Name())
	}
	register(100, v)
	return nil
}

// alias registers a second name of a variant, which Lookup accepts and tables do not show.
func alias(name string, v Variant) struct{} {
	aliases = append(aliases, aliased{name, v})
	return struct{}{}
}

// Aliases returns the second names, in the order of their definition, and the name of the variant that each means.
func Aliases() (names, meanings []string) {
	for _, a := range aliases {
		names, meanings = append(names, a.name), append(meanings, a.v.Name())
	}
	return names, meanings
}

// Memory is what a variant can map.
type Memory uint8

// Kinds of memory that variants map.
const (
	AnyMemory    Memory = iota // what the workload has
	DeviceMemory               // MMIO: mapping RAM with it would be an error of the caller
	OwnMemory                  // buffers that belong to the driver and stay the same
)

// MemoryOf returns what v is meant for.
func MemoryOf(v Variant) Memory {
	if x, ok := v.(interface{ Maps() Memory }); ok {
		return x.Maps()
	}
	return AnyMemory
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

// Lookup returns the variant called name, by either of its names.
func Lookup(name string) (Variant, error) {
	var names []string
	for _, v := range Variants() {
		if v.Name() == name {
			return v, nil
		}
		names = append(names, v.Name())
	}
	for _, a := range aliases {
		if a.name == name {
			return a.v, nil
		}
	}
	return nil, fmt.Errorf("no API variant %q; there are %s%s", name, strings.Join(names, ", "), kernel.DidYouMean(name, names))
}
