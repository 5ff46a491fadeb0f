package dma

import (
	"errors"

	"dmapath/kernel"
	"dmapath/kernel/coherency"
)

// Errors of attributes. The kernel returns DMA_MAPPING_ERROR.
var (
	ErrNotCoherent = errors.New("DMA_ATTR_REQUIRE_COHERENT, and the device does not snoop the caches")
	ErrCCShared    = errors.New("DMA_ATTR_CC_SHARED, and addresses are translated")
)

// known12 drops the attributes that 6.12 does not know: bits that nobody there looks at.
func known12(attrs kernel.Attrs) kernel.Attrs {
	return attrs &^ (kernel.AttrMMIO | kernel.AttrRequireCoherent | kernel.AttrCCShared)
}

// mustNotSnoop reports whether attrs demand coherence that the device does not have. x86 devices are coherent by definition.
func (c *Ctx) mustNotSnoop(attrs kernel.Attrs) bool {
	return attrs&kernel.AttrRequireCoherent != 0 && coherency.Needed(c.Env, c.Dev)
}
