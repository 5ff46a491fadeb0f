package iommu

import (
	"dmapath/iommu/table"
	"dmapath/sim"
)

// recentWalks is how many walks back their end is remembered, for merging and draining; far more than can be in flight.
const recentWalks = 256

// walkRecord is a walk of late.
type walkRecord struct {
	page    uint64 // iova >> 12 of the request
	space   uint32
	arrived sim.Time // the request did
	done    sim.Time
	ready   [table.MaxLevels + 1]sim.Time // when the entry of the level was read
}

// Payload of the IOTLB and the paging-structure caches: address in bits 51:12, rights in bits 2:0, number of the walk that
// filled it, modulo recentWalks, in bits 10:3.
const walkShift = 3

func payload(addr uint64, rights table.Rights, walk uint64) uint64 {
	return addr&^0xfff | uint64(rights) | walk%recentWalks<<walkShift
}

// Translate translates the address in a request of requester rid that reaches the unit at now. It returns the physical address and
// when it is known, or a *Fault. It looks at the tables as they are when it is called.
func (v *VTd) Translate(rid uint16, iova uint64, write bool, now sim.Time) (pa uint64, done sim.Time, err error) {
	v.Stats.Requests++
	if v.gsts&CmdTE == 0 {
		v.Stats.Untranslated++
		return iova, now, nil
	}
	t := now + v.lookupTime
	b, t, why, quiet := v.bind(rid, t)
	if why != table.NoFault {
		v.Stats.LookupFaults++
		return 0, t, v.refuse(Fault{Reason: why, RID: rid, IOVA: iova, Write: write, At: t}, !quiet)
	}
	if b.passThrough {
		v.Stats.PassThrough++
		if iova>>v.haw != 0 {
			return 0, t, v.refuse(b.fault(b.beyond(), rid, iova, write, t), !b.quiet)
		}
		return iova, t, nil
	}
	for _, shift := range v.sizes {
		val, ok := v.iotlbs.Lookup(b.space, iova>>shift, shift)
		if !ok {
			continue
		}
		if need := need(write); table.Rights(val)&need != need {
			break // the entry may be older than a grant of more rights: walk again
		}
		pa = val&^0xfff | iova&(1<<shift-1)
		w := &v.recent[val>>walkShift&(recentWalks-1)]
		if w.done > t && w.space == b.space && w.page>>(shift-table.PageShift) == iova>>shift {
			v.Stats.Merges++
			return pa, w.done, nil
		}
		v.Stats.Hits++
		v.Stats.HitsBySize[(shift-table.PageShift)/9]++
		return pa, t, nil
	}
	pa, t, why = v.walk(b, iova, write, now, t)
	if why != table.NoFault {
		return 0, t, v.refuse(b.fault(why, rid, iova, write, t), !b.quiet)
	}
	return pa, t, nil
}

func need(write bool) table.Rights {
	if write {
		return table.Write | table.User
	}
	return table.Read | table.User
}

func (b *binding) fault(why table.Reason, rid uint16, iova uint64, write bool, at sim.Time) Fault {
	return Fault{Reason: why, RID: rid, PASID: b.pasid, HasPASID: b.hasPASID, IOVA: iova, Write: write, At: at}
}

// beyond returns the reason for an address that pass-through cannot pass.
func (b *binding) beyond() table.Reason {
	if b.hasPASID {
		return table.SMBeyondWidth
	}
	return table.BeyondWidth
}

// walk translates iova of a request that arrived some time ago through the page table, on one of the walkers.
func (v *VTd) walk(b *binding, iova uint64, write bool, arrived, now sim.Time) (pa uint64, t sim.Time, why table.Reason) {
	v.Stats.Walks++
	if !b.rules.Covers(iova, b.levels) || b.rules.Format == table.SecondStage && iova>>v.cfg.GuestWidth != 0 {
		return 0, now, b.rules.Beyond()
	}
	server, start := v.walkers.Take(now)
	v.Stats.WalkerWait += start - now
	n := v.walks
	v.walks++
	w := &v.recent[n%recentWalks]
	*w = walkRecord{page: iova >> table.PageShift, space: b.space, arrived: arrived}
	pa, t, why = v.descend(b, iova, write, start+v.walkStart, n, w)
	w.done = t
	v.lastWalk = max(v.lastWalk, t)
	v.walkers.Release(server, start, t)
	v.Stats.WalkTimes.Add(int64(t - now))
	return pa, t, why
}

func (v *VTd) descend(b *binding, iova uint64, write bool, t sim.Time, n uint64, w *walkRecord) (uint64, sim.Time, table.Reason) {
	level, at, rights := v.startLevel(b, iova, t)
	for ; ; level-- {
		entry := table.EntryAddr(at, iova, level)
		done, lvl := v.h.DeviceRead(entry, 8, t)
		done += v.pteOverhead
		v.Stats.PTEReads[lvl]++
		v.Stats.PTEReadTime += done - t
		t = done
		pte := v.mem.Read64(entry)
		k, addr, granted := b.rules.Decode(pte, level)
		if why := b.rules.EntryFault(k, write); why != table.NoFault {
			return 0, t + v.walkEnd, why
		}
		rights &= granted
		if k == table.Table {
			if b.updateAD {
				t = v.mark(b.rules.Format, entry, pte, false, t)
			}
			w.ready[level] = t
			if c := v.paging[level]; c != nil {
				c.Insert(b.space, iova>>table.Shift(level), table.Shift(level), payload(addr, rights, n))
			}
			at = addr
			continue
		}
		if why := b.rules.RightsFault(rights, write); why != table.NoFault {
			return 0, t + v.walkEnd, why
		}
		if b.updateAD {
			t = v.mark(b.rules.Format, entry, pte, write, t)
		}
		shift := table.Shift(level)
		pa := addr | iova&(1<<shift-1)
		if pa>>20 == interruptPage {
			if b.rules.Scalable {
				return 0, t + v.walkEnd, table.SMInterruptAddr
			}
			return 0, t + v.walkEnd, table.InterruptAddr
		}
		v.sees(shift)
		v.iotlbs.Insert(b.space, iova>>shift, shift, payload(addr, rights, n))
		return pa, t + v.walkEnd, table.NoFault
	}
}

// interruptPage is the MiB of addresses 0xfeexxxxx, where interrupts go and no page may lie.
const interruptPage = 0xfee

// startLevel returns the lowest table that the paging-structure caches know, and the rights granted on the way to it.
func (v *VTd) startLevel(b *binding, iova uint64, t sim.Time) (level int, at uint64, rights table.Rights) {
	for l := 2; l <= b.levels; l++ {
		c := v.paging[l]
		if c == nil {
			continue
		}
		val, ok := c.Lookup(b.space, iova>>table.Shift(l), table.Shift(l))
		if !ok {
			continue
		}
		w := &v.recent[val>>walkShift&(recentWalks-1)]
		if w.ready[l] > t && w.space == b.space && w.page>>(9*(l-1)) == iova>>table.Shift(l) {
			continue // the walk that fills it has not come so far
		}
		v.Stats.PagingHits[l]++
		return l - 1, val &^ 0xfff, table.Rights(val) & table.AllRights
	}
	v.Stats.FullWalks++
	return b.levels, b.root, table.AllRights
}

// sees notes that translations of the size exist.
func (v *VTd) sees(shift uint8) {
	for _, s := range v.sizes {
		if s == shift {
			return
		}
	}
	v.sizes = append(v.sizes, shift)
}

// mark sets the accessed bit of an entry, and the dirty bit for a write, if they are clear: a locked update of the line.
func (v *VTd) mark(f table.Format, at, pte uint64, dirty bool, t sim.Time) sim.Time {
	bits := table.FSAccessed
	if f == table.SecondStage {
		bits = table.SSAccessed
	}
	if dirty {
		bits |= bits << 1 // both formats have the dirty bit above the accessed bit
	}
	if pte&bits == bits {
		return t
	}
	v.Stats.ADUpdates++
	v.mem.Write64(at, pte|bits)
	return v.h.DeviceWrite(at, 8, t) + v.pteOverhead
}

// Probe returns the translation that the caches hold for a request of rid, whether the tables still say so or not; ok is false if the
// unit would have to walk. It changes nothing.
func (v *VTd) Probe(rid uint16, iova uint64) (pa uint64, ok bool) {
	i, ok := v.contexts.legacy.Probe(0, uint64(rid), 0)
	if ok && v.mode == modeScalable {
		i, ok = v.contexts.pasids.Probe(0, uint64(rid)<<20|uint64(v.contexts.dirs[i].ctx.RIDPASID), 0)
	}
	if !ok {
		return 0, false
	}
	b := &v.contexts.entries[i]
	if b.passThrough {
		return iova, true
	}
	for _, shift := range v.sizes {
		if val, ok := v.iotlbs.Probe(b.space, iova>>shift, shift); ok {
			return val&^0xfff | iova&(1<<shift-1), true
		}
	}
	return 0, false
}
