package smmu

import (
	"slices"

	"dmapath/iommu"
	"dmapath/iommu/smmutable"
	"dmapath/sim"
)

// stream is what a stream table entry says about a request.
type stream struct {
	smmutable.STE
	second iommu.Space // of stage 2, alone or under stage 1
}

// context is what a context descriptor says.
type context struct {
	smmutable.CD
	iommu.Space
}

// stream returns the entry of a stream: from the cache, or from the table.
func (u *Unit) stream(sid uint32, t sim.Time) (*stream, sim.Time, smmutable.EventCode) {
	u.Stats.ContextLookups++
	if s, ok := u.streams.Lookup(uint64(sid)); ok {
		u.Stats.ContextHits++
		return s, t, smmutable.NoEvent
	}
	w, start := u.TakeWalker(t)
	s, t, why := u.readStream(sid, start+u.WalkStart)
	u.ReleaseWalker(w, start, t)
	return s, t, why
}

func (u *Unit) readStream(sid uint32, t sim.Time) (*stream, sim.Time, smmutable.EventCode) {
	log2, split, two := smmutable.DecodeStrtabBaseCfg(u.strtabCfg)
	if uint64(sid)>>log2 != 0 {
		return nil, t, smmutable.CBadStreamID
	}
	base := u.strtab &^ 63 & (1<<52 - 1)
	at := smmutable.StreamAddr(base, sid, split, two)
	if two {
		t = u.EntryRead(at, t)
		tab, n, ok := smmutable.DecodeL1Stream(u.Mem.Read64(at))
		if in := sid & (1<<split - 1); ok && in < n {
			at = tab + uint64(in)*smmutable.STESize
		} else {
			return nil, t, smmutable.CBadStreamID
		}
	}
	t = u.EntryRead(at, t)
	var w [smmutable.STEWords]uint64
	for i := range w {
		w[i] = u.Mem.Read64(at + uint64(i)*8)
	}
	s := stream{STE: smmutable.DecodeSTE(w)}
	if !s.Valid {
		return nil, t, smmutable.CBadSTE
	}
	if u.host != nil {
		s.STE = u.underHost(s.STE)
	}
	needs1 := s.Config == smmutable.ConfigS1 || s.Config == smmutable.ConfigNested
	needs2 := s.Config == smmutable.ConfigS2 || s.Config == smmutable.ConfigNested
	if needs1 && !u.cfg.Stage1 || needs2 && !u.cfg.Stage2 {
		return nil, t, smmutable.CBadSTE
	}
	if needs2 {
		g, ok := s.Stage2()
		if !ok || !slices.Contains(u.cfg.Granules, g.Granule) {
			return nil, t, smmutable.CBadSTE
		}
		s.second = u.format(u.clamp(g), false).space(s.TTB, u.spaces.number(spaceKey{vmid: s.VMID}))
	}
	return u.streams.Insert(uint64(sid), s), t, smmutable.NoEvent
}

// clamp limits the output width to what the unit has.
func (u *Unit) clamp(g smmutable.Geometry) smmutable.Geometry {
	g.Output = min(g.Output, uint8(u.cfg.HostWidth))
	return g
}

// context returns the descriptor of a stream's requests without substream: from the cache, or from memory, in a nested configuration
// through stage 2.
func (u *Unit) context(sid uint32, s *stream, t sim.Time) (*context, sim.Time, smmutable.EventCode) {
	u.Stats.PASIDLookups++
	if c, ok := u.contexts.Lookup(uint64(sid)); ok {
		u.Stats.PASIDHits++
		return c, t, smmutable.NoEvent
	}
	w, start := u.TakeWalker(t)
	c, t, why := u.readContext(sid, s, start+u.WalkStart)
	u.ReleaseWalker(w, start, t)
	return c, t, why
}

func (u *Unit) readContext(sid uint32, s *stream, t sim.Time) (*context, sim.Time, smmutable.EventCode) {
	at := s.Context
	if s.CDMax > 0 && s.CDFmt != 0 {
		word, t2, why := u.contextWord(s, at, t)
		if t = t2; why != smmutable.NoEvent {
			return nil, t, why
		}
		var ok bool
		if at, ok = smmutable.DecodeL1CD(u.Mem.Read64(word)); !ok {
			return nil, t, smmutable.CBadSubstreamID
		}
	}
	word, t, why := u.contextWord(s, at, t)
	if why != smmutable.NoEvent {
		return nil, t, why
	}
	var w [smmutable.CDWords]uint64
	for i := range w {
		w[i] = u.Mem.Read64(word + uint64(i)*8)
	}
	c := context{CD: smmutable.DecodeCD(w)}
	g, ok := c.Stage1()
	if !c.Valid || !ok || !slices.Contains(u.cfg.Granules, g.Granule) {
		return nil, t, smmutable.CBadCD
	}
	var vmid uint16
	if s.Config == smmutable.ConfigNested {
		vmid = s.VMID // the output is an intermediate address, limited by stage 2
	} else {
		g = u.clamp(g)
	}
	c.Space = u.format(g, c.AFFD).space(c.TTB0, u.spaces.number(spaceKey{vmid, c.ASID, true}))
	kept := u.contexts.Insert(uint64(sid), c)
	if s.Config == smmutable.ConfigNested {
		// Its own copy, because the cache may give the stream's entry to another configuration.
		under := s.second
		kept.Under = &under
	}
	return kept, t, smmutable.NoEvent
}

// contextWord reads the word at an address of the context descriptor table and returns where it lies.
func (u *Unit) contextWord(s *stream, at uint64, t sim.Time) (uint64, sim.Time, smmutable.EventCode) {
	if s.Config == smmutable.ConfigNested {
		var cause iommu.Cause
		if at, t, cause = u.Second(&s.second, at, iommu.Need(false), t); cause != iommu.Translated {
			return 0, t, u.refusal(&s.second, &s.second)
		}
	}
	return at, u.EntryRead(at, t), smmutable.NoEvent
}

// refusal returns the event for the last walk, through first, or second alone or under it.
func (u *Unit) refusal(first, second *iommu.Space) smmutable.EventCode {
	r := &u.Refused
	s := first
	if r.Second {
		s = second
	}
	switch r.Cause {
	case iommu.Malformed:
		return s.Format.(*format).event(r.Entry, r.Level)
	case iommu.Denied:
		return smmutable.FPermission
	}
	return smmutable.FTranslation
}
