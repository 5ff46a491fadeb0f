package vtd

import (
	"dmapath/iommu"
	"dmapath/iommu/table"
	"dmapath/sim"
)

// binding is what a context or PASID entry says about a request: how to translate it.
type binding struct {
	iommu.Space
	rules       *format // of Space
	second      *format // of Space.Under
	domain      uint16
	passThrough bool
	quiet       bool // fault processing disabled
	ats         bool // the device may ask for translations, and use them
	hasPASID    bool
	pasid       uint32
}

// through makes b translate through the table of levels at root; what it caches is tagged with tag.
func (b *binding) through(f *format, root uint64, levels int, tag uint32) {
	b.rules = f
	b.Space = iommu.Space{Geometry: geometry, Format: f, Root: root, Levels: levels, Tag: tag}
}

// nest makes b translate through both stages of a PASID entry.
func (b *binding) nest(v *Unit, p *table.PASID, pasid uint32) {
	var under binding
	under.through(&v.second[1], p.Second, p.SecondLevels, v.spaces.number(spaceKey{domain: p.Domain}))
	under.Marks = p.SSAccessed
	under.Width = uint8(min(int(table.Shift(p.SecondLevels+1)), v.cfg.GuestWidth))
	b.through(&v.first, p.First, p.Levels, v.spaces.number(spaceKey{p.Domain, pasid, true, true}))
	b.Marks, b.Under, b.second = true, &under.Space, under.rules
}

// contexts are the caches of decoded entries.
type contexts struct {
	legacy iommu.Entries[binding]         // context entries by requester
	scaled iommu.Entries[table.SMContext] // scalable context entries by requester
	pasids iommu.Entries[binding]         // PASID entries by requester << 20 | PASID
}

// spaces numbers the pairs of domain and PASID densely, because that is what tlb.Cache invalidates in constant time. Number 0
// is never given out.
type spaces struct {
	key   []spaceKey
	index map[spaceKey]uint32
}

type spaceKey struct {
	domain   uint16
	pasid    uint32
	hasPASID bool // first stage: translations belong to one PASID of the domain
	nested   bool // of both stages
}

func (s *spaces) init() { s.key, s.index = make([]spaceKey, 1), map[spaceKey]uint32{} }

func (s *spaces) number(k spaceKey) uint32 {
	n, ok := s.index[k]
	if !ok {
		n = uint32(len(s.key))
		s.key = append(s.key, k)
		s.index[k] = n
	}
	return n
}

// bind finds out how to translate requests of rid: from the context cache, or from the tables. A walker reads them.
func (v *Unit) bind(rid uint16, now sim.Time) (b *binding, t sim.Time, why table.Reason, quiet bool) {
	if v.mode == modeScalable {
		return v.bindScalable(rid, now)
	}
	if v.mode != modeLegacy {
		return nil, now, table.TTMInvalid, false
	}
	c := &v.contexts
	v.Stats.ContextLookups++
	if b, ok := c.legacy.Lookup(uint64(rid)); ok {
		v.Stats.ContextHits++
		return b, now, 0, false
	}
	w, start := v.TakeWalker(now)
	b, t, why, quiet = v.readContext(rid, start+v.WalkStart)
	v.ReleaseWalker(w, start, t)
	return b, t, why, quiet
}

func (v *Unit) readContext(rid uint16, t sim.Time) (*binding, sim.Time, table.Reason, bool) {
	at := table.RootEntryAddr(v.root, rid)
	t = v.EntryRead(at, t)
	ctxTable, present, reserved := table.DecodeRoot(v.Mem.Read64(at), v.haw)
	switch {
	case !present:
		return nil, t, table.RootNotPresent, false
	case reserved:
		return nil, t, table.RootReserved, false
	}
	at = table.ContextAddr(ctxTable, rid)
	t = v.EntryRead(at, t)
	ctx, reserved := table.DecodeContext(v.Mem.Read64(at), v.Mem.Read64(at+8), v.haw)
	switch {
	case !ctx.Present:
		return nil, t, table.ContextNotPresent, ctx.FaultDisable
	case reserved:
		return nil, t, table.ContextReserved, ctx.FaultDisable
	case ctx.Type > table.TTPassThrough || ctx.Type != table.TTPassThrough && (ctx.Levels > table.MaxLevels || !v.levels[ctx.Levels]):
		return nil, t, table.ContextInvalid, ctx.FaultDisable
	}
	b := binding{domain: ctx.Domain, passThrough: ctx.Type == table.TTPassThrough, ats: ctx.Type == table.TTDeviceTLB, quiet: ctx.FaultDisable}
	b.through(&v.second[0], ctx.Root, ctx.Levels, v.spaces.number(spaceKey{domain: ctx.Domain}))
	return v.contexts.legacy.Insert(uint64(rid), b), t, 0, false
}

func (v *Unit) bindScalable(rid uint16, now sim.Time) (b *binding, t sim.Time, why table.Reason, quiet bool) {
	c := &v.contexts
	v.Stats.ContextLookups++
	var ctx table.SMContext
	cached, known := c.scaled.Lookup(uint64(rid))
	if known {
		v.Stats.ContextHits++
		ctx = *cached
		v.Stats.PASIDLookups++
		if b, ok := c.pasids.Lookup(uint64(rid)<<20 | uint64(ctx.RIDPASID)); ok {
			v.Stats.PASIDHits++
			return b, now, 0, false
		}
	}
	w, start := v.TakeWalker(now)
	t = start + v.WalkStart
	if !known {
		ctx, t, why, quiet = v.readSMContext(rid, t)
	}
	if why == table.NoFault {
		b, t, why, quiet = v.readPASID(rid, ctx, t)
	}
	v.ReleaseWalker(w, start, t)
	return b, t, why, quiet
}

func (v *Unit) readSMContext(rid uint16, t sim.Time) (table.SMContext, sim.Time, table.Reason, bool) {
	at := table.RootEntryAddr(v.root, rid)
	t = v.EntryRead(at, t)
	if rid&0x80 != 0 {
		at += 8 // upper half of the bus
	}
	ctxTable, present, reserved := table.DecodeRoot(v.Mem.Read64(at), v.haw)
	switch {
	case !present:
		return table.SMContext{}, t, table.SMRootNotPresent, false
	case reserved:
		return table.SMContext{}, t, table.SMRootReserved, false
	}
	at = table.SMContextAddr(ctxTable, rid)
	t = v.EntryRead(at, t)
	ctx, reserved := table.DecodeSMContext(v.Mem.Read64(at), v.Mem.Read64(at+8), v.haw)
	switch {
	case !ctx.Present:
		return ctx, t, table.SMContextNotPresent, ctx.FaultDisable
	case reserved:
		return ctx, t, table.SMContextReserved, ctx.FaultDisable
	}
	return *v.contexts.scaled.Insert(uint64(rid), ctx), t, 0, false
}

func (v *Unit) readPASID(rid uint16, ctx table.SMContext, t sim.Time) (*binding, sim.Time, table.Reason, bool) {
	pasid := ctx.RIDPASID
	if pasid>>6 >= 1<<(ctx.DirSize+7) {
		return nil, t, table.PASIDTooLarge, ctx.FaultDisable
	}
	at := table.PASIDDirAddr(ctx.Dir, pasid)
	t = v.EntryRead(at, t)
	tab, present, reserved := table.DecodeRoot(v.Mem.Read64(at)&^2, v.haw) // the same layout, with FPD in bit 1
	switch {
	case !present:
		return nil, t, table.PASIDDirNotPresent, ctx.FaultDisable
	case reserved:
		return nil, t, table.PASIDDirReserved, ctx.FaultDisable
	}
	at = table.PASIDAddr(tab, pasid)
	t = v.EntryRead(at, t)
	p, reserved := table.DecodePASID([3]uint64{v.Mem.Read64(at), v.Mem.Read64(at + 8), v.Mem.Read64(at + 16)}, v.haw)
	quiet := ctx.FaultDisable || p.FaultDisable
	switch {
	case !p.Present:
		return nil, t, table.PASIDNotPresent, quiet
	case reserved:
		return nil, t, table.PASIDReserved, quiet
	}
	b := binding{domain: p.Domain, ats: ctx.DeviceTLB, quiet: quiet, pasid: pasid, hasPASID: true}
	valid := true
	switch p.Type {
	case table.PGTTFirst:
		b.through(&v.first, p.First, p.Levels, v.spaces.number(spaceKey{domain: p.Domain, pasid: pasid, hasPASID: true}))
		b.Marks = true
		valid = p.Levels == 4 || p.Levels == 5 && v.cfg.FirstLevel5
	case table.PGTTSecond:
		b.through(&v.second[1], p.Second, p.Levels, v.spaces.number(spaceKey{domain: p.Domain}))
		b.Marks = p.SSAccessed
		valid = p.Levels <= table.MaxLevels && v.levels[p.Levels]
	case table.PGTTPassThrough:
		b.passThrough = true
	case table.PGTTNested:
		b.nest(v, &p, pasid)
		valid = v.cfg.Nested && (p.Levels == 4 || p.Levels == 5 && v.cfg.FirstLevel5) && p.SecondLevels <= table.MaxLevels && v.levels[p.SecondLevels]
	default:
		valid = false
	}
	if !valid {
		return nil, t, table.PASIDInvalid, quiet
	}
	return v.contexts.pasids.Insert(uint64(rid)<<20|uint64(pasid), b), t, 0, false
}
