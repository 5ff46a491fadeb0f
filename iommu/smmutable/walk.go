package smmutable

import "dmapath/iommu/table"

// Walk translates addr through the table of geometry g at root and says why not if it cannot. Reads is set in either
// case; it is 0 when the address lies outside the table.
func Walk(m table.Memory, g Geometry, root, addr uint64, write bool) (t table.Translation, why EventCode) {
	return walk(m, g, root, addr, write, nil)
}

// WalkNested translates addr through stage 1 at root1, whose tables lie at intermediate addresses and whose result
// stage 2 at root2 translates again. Reads counts the entries of both; Shift is that of the smaller page. inSecond says
// that stage 2 refused.
func WalkNested(m table.Memory, g1 Geometry, root1 uint64, g2 Geometry, root2, addr uint64, write bool) (t table.Translation, why EventCode, inSecond bool) {
	reads := 0
	second := func(ipa uint64, write bool) (table.Translation, EventCode) {
		u, why := Walk(m, g2, root2, ipa, write)
		reads += u.Reads
		inSecond = why != NoEvent
		return u, why
	}
	t, why = walk(m, g1, root1, addr, write, func(ipa uint64) (uint64, EventCode) {
		u, why := second(ipa, false)
		return u.PA, why
	})
	if why == NoEvent {
		var u table.Translation
		u, why = second(t.PA, write)
		t.PA, t.Rights, t.Shift = u.PA, t.Rights&u.Rights, min(t.Shift, u.Shift)
	}
	t.Reads += reads
	return t, why, inSecond
}

// walk follows one stage; under, if given, translates the address of every table.
func walk(m table.Memory, g Geometry, root, addr uint64, write bool, under func(uint64) (uint64, EventCode)) (t table.Translation, why EventCode) {
	if !g.Covers(addr) {
		return t, FTranslation
	}
	t.Rights = table.AllRights
	at := root
	for l := g.StartLevel(); ; l++ {
		entry := g.EntryAddr(at, addr, l)
		if under != nil {
			if entry, why = under(entry); why != NoEvent {
				return t, why
			}
		}
		pte := m.Read64(entry)
		t.Reads++
		k, out, rights := g.Decode(pte, l)
		if why := g.EntryEvent(pte, k, out); why != NoEvent {
			return t, why
		}
		t.Rights &= rights
		if k == table.Table {
			at = out
			continue
		}
		t.Shift = g.Shift(l)
		t.PA = out | addr&(1<<t.Shift-1)
		return t, RightsEvent(t.Rights, write)
	}
}
