package kernel

import (
	"fmt"
	"strings"
)

// attrNames are the attributes by the names that users type, in the order of their bits.
var attrNames = []struct {
	name string
	bit  Attrs
}{
	{"weak-ordering", AttrWeakOrdering}, {"skip-cpu-sync", AttrSkipCPUSync}, {"no-warn", AttrNoWarn}, {"mmio", AttrMMIO},
	{"require-coherent", AttrRequireCoherent}, {"cc-shared", AttrCCShared},
}

// AttrNames lists the names of the attributes.
func AttrNames() (names []string) {
	for _, a := range attrNames {
		names = append(names, a.name)
	}
	return names
}

// ParseAttrs returns the union of the attributes called names, such as mmio for DMA_ATTR_MMIO.
func ParseAttrs(names []string) (Attrs, error) {
	var all Attrs
next:
	for _, n := range names {
		for _, a := range attrNames {
			if a.name == n {
				all |= a.bit
				continue next
			}
		}
		return 0, fmt.Errorf("attribute %q: allowed are %s", n, strings.Join(AttrNames(), ", "))
	}
	return all, nil
}

func (a Attrs) String() string {
	var set []string
	for _, n := range attrNames {
		if a&n.bit != 0 {
			set = append(set, n.name)
		}
	}
	return strings.Join(set, ",")
}
