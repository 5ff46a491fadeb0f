package vtd

import (
	"dmapath/iommu"
	"dmapath/iommu/table"
	"dmapath/sim"
)

// Translate translates the address in a request of requester rid that reaches the unit at now. It returns the physical address and
// when it is known, or a *Fault. It looks at the tables as they are when it is called.
func (v *Unit) Translate(rid uint16, iova uint64, write bool, now sim.Time) (pa uint64, done sim.Time, err error) {
	v.Stats.Requests++
	if v.gsts&CmdTE == 0 {
		v.Stats.Untranslated++
		return iova, now, nil
	}
	t := now + v.LookupTime
	b, t, why, quiet := v.bind(rid, t)
	if why != table.NoFault {
		v.Stats.LookupFaults++
		return 0, t, v.refuse(iommu.Fault{Reason: why, Code: uint8(why), RID: rid, IOVA: iova, Write: write, At: t}, !quiet)
	}
	if b.passThrough {
		v.Stats.PassThrough++
		if iova>>v.haw != 0 {
			return 0, t, v.refuse(b.fault(b.beyond(), rid, iova, write, t), !b.quiet)
		}
		return iova, t, nil
	}
	if pa, done, ok := v.Lookup(&b.Space, iova, iommu.Need(write), t); ok {
		return pa, done, nil
	}
	pa, t, why = v.walk(b, iova, write, now, t)
	if why != table.NoFault {
		return 0, t, v.refuse(b.fault(why, rid, iova, write, t), !b.quiet)
	}
	return pa, t, nil
}

func (b *binding) fault(why table.Reason, rid uint16, iova uint64, write bool, at sim.Time) iommu.Fault {
	return iommu.Fault{Reason: why, Code: uint8(why), RID: rid, PASID: b.pasid, HasPASID: b.hasPASID, IOVA: iova, Write: write, At: at}
}

// beyond returns the reason for an address that pass-through cannot pass.
func (b *binding) beyond() table.Reason {
	if b.hasPASID {
		return table.SMBeyondWidth
	}
	return table.BeyondWidth
}

// walk translates iova of a request that arrived some time ago through the page table.
func (v *Unit) walk(b *binding, iova uint64, write bool, arrived, now sim.Time) (pa uint64, t sim.Time, why table.Reason) {
	v.Stats.Walks++
	if !v.covers(b, iova) {
		return 0, now, b.rules.Beyond()
	}
	pa, t, cause := v.Walk(&b.Space, iova, iommu.Need(write), arrived, now)
	if cause != iommu.Translated {
		rules := b.rules
		if v.Refused.Second {
			rules = b.second
		}
		why = rules.reason(&v.Refused, write)
	}
	return pa, t, why
}

// covers reports whether the table of b, and the unit, translate addresses as wide as iova.
func (v *Unit) covers(b *binding, iova uint64) bool {
	return b.rules.Covers(iova, b.Levels) && (b.rules.Format == table.FirstStage || iova>>v.cfg.GuestWidth == 0)
}

// Probe returns the translation that the caches hold for a request of rid, whether the tables still say so or not; ok is false if the
// unit would have to walk. It changes nothing.
func (v *Unit) Probe(rid uint16, iova uint64) (pa uint64, ok bool) {
	c := &v.contexts
	b, ok := c.legacy.Probe(uint64(rid))
	if v.mode == modeScalable {
		var ctx *table.SMContext
		if ctx, ok = c.scaled.Probe(uint64(rid)); ok {
			b, ok = c.pasids.Probe(uint64(rid)<<20 | uint64(ctx.RIDPASID))
		}
	}
	if !ok {
		return 0, false
	}
	if b.passThrough {
		return iova, true
	}
	return v.ProbeSpace(&b.Space, iova)
}
