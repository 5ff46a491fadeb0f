package bench

import (
	"fmt"
	"strings"

	"dmapath/kernel/iommudma"
	"dmapath/platform"
)

// lazySteady is how many unmaps a CPU makes until a flush queue is steady: it fills up for the first time after 255, the addresses come back into the
// caches from then on, and the second half of the calls, which figures are of, should see whole rounds.
const lazySteady = 4 * iommudma.QueueEntries

// lazyWarnings names the runs behind a flush queue that are too short for it.
func (c *Comparison) lazyWarnings() (w []string) {
	for _, o := range c.Outcomes {
		b := platform.Backend(o.Backend)
		if !b.Lazy() || o.Unmap == nil || o.Unmap.N == 0 || strings.HasPrefix(o.Variant, "iova_link") || !b.Virtio() && bool(c.Platform.IOMMU.Trapped) && c.Platform.IOMMU.Dialect == "vt-d" {
			continue // the two-step interface invalidates at once, and so does a guest whose unit has caching mode
		}
		if per := 2 * o.Unmap.N / int64(max(o.CPUs, 1)); per < lazySteady { // N counts the second half
			w = append(w, fmt.Sprintf("%v: %d unmaps a CPU do not bring the flush queue into its steady state, which takes about %d: addresses come from the tree and not from the caches, and few flushes are in the figures; --operations gives more",
				o.Point, per, lazySteady))
		}
	}
	return w
}
