package cpu

import "dmapath/cache"

// load returns when the data of a load at addr that starts at t is there; it sets c.cause and c.walk for the
// attribution of waits.
func (c *Core) load(addr uint64, size uint32, pc uint32, t int64, fa *FnCount) int64 {
	start := t
	t = c.translate(addr, t, fa)
	c.walk = t - start
	c.cause = StallMem
	if t < c.strEnd && addr < c.strHi && addr+uint64(size) > c.strLo {
		t = c.strEnd
	}
	if c.lsq.pending(addr, t) || addr&7+uint64(size) > 8 {
		when, hit, blocked := c.lsq.find(addr, size, t)
		if hit {
			fa.Forwarded++
			fa.Level[cache.L1]++
			return max(t, when) + int64(c.cfg.Forward)
		}
		if blocked {
			fa.Blocked++
			t = max(t, when+int64(c.cfg.BlockedPlus))
		}
	}
	ready, ok := c.h.LoadHit(c.id, c.pa)
	lat := t + c.class[Load].lat
	if ok {
		fa.Level[cache.L1]++
		if ready != 0 {
			lat = max(lat, c.cyc(ready))
		}
	} else {
		lat = c.loadMiss(c.pa, pc, t, lat, fa)
	}
	if addr&63+uint64(size) > 64 { // the second line of a split
		walk, cause := c.walk, c.cause
		rest := uint32(addr&63 + uint64(size) - 64)
		second := c.load(addr|63+1, min(rest, 64), pc, t, fa)
		if second <= lat {
			c.walk, c.cause = walk, cause
		}
		lat = max(lat, second) + 1
	}
	return lat
}

func (c *Core) loadMiss(pa uint64, pc uint32, t, lat int64, fa *FnCount) int64 {
	done, lvl := c.h.Load(c.id, pa, pc, c.edge(t))
	fa.Level[lvl]++
	c.cause = levelStall[lvl]
	if c.far {
		c.noteWait()
	}
	return max(lat, c.cyc(done))
}

// noteWait notes the function of an op whose line comes later than it seems, see Thread.settle.
func (c *Core) noteWait() {
	if c.late == nil && c.h.Waits(c.id) {
		c.late = FuncByID(c.fn)
	}
}

// levelStall is the cause charged for a wait on a line from each level.
var levelStall = [NumLevels]Stall{cache.L1: StallMem, cache.L2: StallL2, cache.LLC: StallLLC, cache.Peer: StallPeer,
	cache.DRAM: StallDRAM}

// own returns when the core owns the line of pa, which it asks for at t.
func (c *Core) own(pa uint64, pc uint32, t int64, fa *FnCount) int64 {
	ready, ok := c.h.StoreHit(c.id, pa)
	if ok {
		fa.Level[cache.L1]++
		if ready != 0 {
			return max(t, c.cyc(ready))
		}
		return t
	}
	done, lvl := c.h.Store(c.id, pa, pc, c.edge(t))
	fa.Level[lvl]++
	c.cause = levelStall[lvl]
	if c.far {
		c.noteWait()
	}
	return max(t, c.cyc(done))
}

// commitStore writes a retired store to L1 and frees its queue entry. pa is its physical address, r the cycle of its
// retirement, when its line is asked for; lines are asked for in parallel and written in order (or, with
// weak ordering, as they arrive).
func (c *Core) commitStore(op *Op, pa uint64, data, r int64, fa *FnCount) {
	at := c.own(pa, op.PC, r, fa)
	if op.Addr&63+uint64(op.Size) > 64 {
		at = max(at, c.translate(op.Addr|63+1, r, fa))
		at = max(at, c.own(c.pa, op.PC, r, fa))
	}
	if c.cfg.WeakStores {
		p := max(c.commit, (r+1)<<posShift) + 1
		if p&255 > int64(c.cfg.CommitWidth) {
			p += 256 - int64(c.cfg.CommitWidth)
		}
		c.commit = p
		at = max(at+1, p>>posShift)
		c.weakLast = max(c.weakLast, at)
		c.lsq.add(op.Addr, op.Size, data, at)
		c.sq[c.stores&queueMask] = c.weakLast
		c.stores++
		return
	}
	p := max(c.commit, (at+1)<<posShift) + 1
	if p&255 > int64(c.cfg.CommitWidth) {
		p += 256 - int64(c.cfg.CommitWidth)
	}
	c.commit = p
	at = p >> posShift
	c.lsq.add(op.Addr, op.Size, data, at)
	c.sq[c.stores&queueMask] = at
	c.stores++
}

// drained is the cycle from which every store and flush so far is in the caches.
func (c *Core) drained() int64 { return max(c.commit>>posShift, c.weakLast, c.flushDone) }

// freeSQ releases the store queue entry of an op that is not an ordinary store, at cycle t.
func (c *Core) freeSQ(t int64) {
	last := c.sq[(c.stores-1)&queueMask]
	c.sq[c.stores&queueMask] = max(last, t)
	c.stores++
}

// commitFlush starts the cache maintenance of a retired Flush.
func (c *Core) commitFlush(op *Op, pa uint64, r int64) {
	t := max(r, c.commit>>posShift, c.weakLast)
	if c.cfg.FlushOrdered {
		t = max(t, c.flushDone)
	}
	now := c.edge(t)
	switch {
	case op.Flag&KeepLine != 0:
		now = c.h.Clean(c.id, pa, now)
	case op.Flag&Discard != 0:
		now = c.h.Invalidate(c.id, pa, now)
	default:
		now = c.h.CleanInvalidate(c.id, pa, now)
	}
	done := max(t+1, c.cyc(now))
	c.flushDone = max(c.flushDone, done)
	if c.cfg.FlushOrdered {
		c.freeSQ(done)
		return
	}
	c.freeSQ(t + 1)
}

// commitUncached lets a posted write leave.
func (c *Core) commitUncached(r int64) {
	t := max(r+1, c.drained(), c.uncached)
	c.uncached = t + int64(c.cfg.MMIOWrite)
	c.commit = max(c.commit, t<<posShift)
	c.freeSQ(t)
}

// rep times a rep string instruction that starts at t and returns when its last byte is in L1. One instruction moves at a time: the next one
// starts when the last line of this one has been asked for.
func (c *Core) rep(op *Op, t int64, fa *FnCount) int64 {
	n := uint64(op.Size)
	t = max(t, c.strFree) + int64(c.cfg.StringStart)
	c.strFree = t
	if n == 0 {
		return t
	}
	first, last := op.Addr, op.Addr+n-1
	perLine := max(64/int64(c.cfg.StringBytes), 1)
	ahead := int64(c.cfg.StringAhead)
	var fin [64]int64 // when the last lines were written
	prev, walk := t, int64(0)
	i := int64(0)
	for line := first &^ 63; line <= last&^63; line += 64 {
		at := max(t, fin[i%ahead])
		end := at
		lo, hi := max(line, first), min(line+63, last)
		if op.Flag&Copy != 0 {
			src := op.Src + lo - op.Addr
			for l := src &^ 63; l <= (src+hi-lo)&^63; l += 64 {
				x := c.translate(l, at, fa)
				walk += x - at
				x = max(x, c.storesTo(l, x))
				end = max(end, c.readLine(op.PC, x, fa))
			}
		}
		x := c.translate(line, at, fa)
		walk += x - at
		end = max(end, c.own(c.pa, op.PC, x, fa))
		cycles := perLine
		if part := int64(hi - lo + 1); part < 64 {
			cycles = (part + int64(c.cfg.StringBytes) - 1) / int64(c.cfg.StringBytes)
		}
		prev = max(prev+cycles, end)
		fin[i%ahead] = prev
		t += cycles
		i++
	}
	c.walk, c.strFree = walk, t
	c.strLo, c.strHi, c.strEnd = first, last+1, prev
	return prev
}

// storesTo returns when no store to the line of va is on its way to L1 any more, as seen at t.
func (c *Core) storesTo(va uint64, t int64) int64 {
	for w := va; w < va+64; w += 8 {
		if c.lsq.pending(w, t) {
			if when, hit, blocked := c.lsq.find(w, 8, t); hit || blocked {
				t = max(t, when)
			}
		}
	}
	return t
}

// readLine reads the line at c.pa for a string instruction at t.
func (c *Core) readLine(pc uint32, t int64, fa *FnCount) int64 {
	ready, ok := c.h.LoadHit(c.id, c.pa)
	lat := t + c.class[Load].lat
	if !ok {
		return c.loadMiss(c.pa, pc, t, lat, fa)
	}
	fa.Level[cache.L1]++
	if ready != 0 {
		return max(lat, c.cyc(ready))
	}
	return lat
}
