package vtd

import "dmapath/iommu/table"

// dropContext removes context-cache entries: all, of a domain, or of requester rid with the function bits that fm masks ignored. In
// scalable mode a context entry has no domain of its own, and a domain-selective invalidation drops all of them.
func (v *Unit) dropContext(gran int, domain, rid uint16, fm uint8) {
	c := &v.contexts
	switch gran {
	case GranDomain:
		c.legacy.DropIf(func(_ uint64, b *binding) bool { return b.domain == domain })
		c.scaled.DropAll()
	case GranDevice:
		mask := [...]uint16{0, 4, 6, 7}[fm]
		for f := uint16(0); f < 8; f++ {
			if f&^mask == 0 {
				c.legacy.Drop(uint64(rid&^mask | f))
				c.scaled.Drop(uint64(rid&^mask | f))
			}
		}
	default:
		c.legacy.DropAll()
		c.scaled.DropAll()
	}
}

// dropPASID removes PASID-cache entries: all, of a domain, or of one PASID of a domain.
func (v *Unit) dropPASID(gran int, domain uint16, pasid uint32) {
	c := &v.contexts
	if gran == GranPCGlobal {
		c.pasids.DropAll()
		return
	}
	c.pasids.DropIf(func(_ uint64, b *binding) bool {
		return b.domain == domain && (gran == GranPCDomain || b.pasid == pasid)
	})
}

// dropTranslations removes translations and paging-structure entries: all, of a domain, or of the pages and hint in hi.
func (v *Unit) dropTranslations(gran int, domain uint16, hi uint64) {
	if gran == GranGlobal {
		v.DropAll()
		return
	}
	for s := 1; s < len(v.spaces.key); s++ {
		k := v.spaces.key[s]
		switch {
		case k.domain != domain:
		case gran == GranDomain:
			v.DropSpace(uint32(s))
		case !k.hasPASID: // page-selective names second-stage addresses
			v.dropPages(uint32(s), hi)
		case k.nested: // which of these go through the pages is not known
			v.DropSpace(uint32(s))
		}
	}
}

// dropPASIDTranslations removes first-stage translations of one PASID of a domain: all, or of the pages and hint in hi.
func (v *Unit) dropPASIDTranslations(gran int, domain uint16, pasid uint32, hi uint64) {
	for _, nested := range [...]bool{false, true} {
		s, ok := v.spaces.index[spaceKey{domain, pasid, true, nested}]
		switch {
		case !ok:
		case gran == GranPASIDPage:
			v.dropPages(s, hi)
		default:
			v.DropSpace(s)
		}
	}
}

// dropPages removes what translates any byte of the 2^AM pages around the address in hi; with the hint, paging-structure
// caches stay as they are.
func (v *Unit) dropPages(s uint32, hi uint64) {
	size := uint64(1) << (table.PageShift + hi&0x3f) // 0 when AM covers all addresses
	first := hi &^ 0xfff &^ (size - 1)
	last := first + size - 1
	v.DropPages(s, first, last, hi&invalidateHint != 0)
}
