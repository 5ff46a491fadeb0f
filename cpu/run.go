package cpu

import (
	"dmapath/cache"
	"dmapath/sim"
)

// Run times ops, which start at start, charges them to a (nil: to nobody) and returns when the last has retired. A
// start at or before the end of the previous Run continues it with the pipeline full: a sequence of ops takes the
// same time in one Run as in many.
func (c *Core) Run(ops []Op, start sim.Time, a *Account) sim.Time {
	if len(ops) == 0 {
		return start
	}
	if a == nil {
		a = &c.scratch
	}
	if len(a.Fn) < len(funcs) {
		a.grow()
	}
	if start > c.end {
		c.restart(start)
	}
	var (
		fetch, dispatch, retire = c.fetch, c.dispatch, c.retire
		seq                     = c.seq
		fetchW                  = int64(c.cfg.FetchWidth)
		dispW                   = int64(c.cfg.DispatchWidth)
		retW                    = int64(c.cfg.RetireWidth)
		queue                   = int64(c.cfg.FetchQueue)
		rob                     = int64(c.cfg.ROB)
		lqN                     = int64(c.cfg.LoadQueue)
		sqN                     = int64(c.cfg.StoreQueue)
		fuse                    = c.cfg.FuseBranch
		lqFree                  = c.lq[(c.loads-lqN)&queueMask] // when the next load finds an entry
		sqFree                  = c.sq[(c.stores-sqN)&queueMask]
		begin                   = retire >> posShift
		fn                      = ops[0].Fn
		fa                      = &a.Fn[fn]
	)
	c.fn = fn
	for i := range ops {
		op := &ops[i]
		ci := &c.class[op.Class&31]
		if op.Fn != fn {
			fn = op.Fn
			fa = &a.Fn[fn]
			c.fn = fn
		}

		// Fetch.
		if op.PC>>6 != c.line {
			fetch = c.fetchLine(op.PC, fetch, fa)
		}
		fetch = max(fetch, c.disp[(seq+1-queue)&ringMask]<<posShift) + 1
		if fetch&255 > fetchW {
			fetch += 256 - fetchW
		}

		seq++
		slot := seq & ringMask
		f := fetch >> posShift

		if op.Class == ALU { // two ops of five: what follows below, without what an ALU op has no use for
			dispatch = max(dispatch, fetch&^255, (c.ret[(seq-rob)&ringMask]+1)<<posShift) + ci.slots
			for dispatch&255 > dispW {
				dispatch += 256 - dispW
			}
			d := dispatch >> posShift
			c.disp[slot] = d
			d1, d2 := int64(op.Dep1), int64(op.Dep2)
			if d1|d2 >= ringLen {
				d1, d2 = near(d1), near(d2)
			}
			t := max(d+1, c.done[(seq-d1)&ringMask], c.done[(seq-d2)&ringMask])
			e := &c.busy[t&portMask]
			used := *e
			if tag := uint32(t>>portBits) << 16; used&0xffff0000 != tag {
				used = tag
			}
			if free := ci.ports &^ used; free != 0 {
				*e = used | free&-free
			} else {
				t = c.issueLater(ci, t)
			}
			t += ci.lat
			c.lastALU = true
			c.done[slot] = t
			before := retire >> posShift
			retire = max(retire, t<<posShift) + 1
			if retire&255 > retW {
				retire += 256 - retW
			}
			r := retire >> posShift
			c.ret[slot] = r
			fa.Ops[ALU]++
			if delta := r - before; delta > 0 {
				fa.Cycles += delta
				if delta > 1 {
					c.charge(fa, ci, delta-1, d+1-before, d, f, 0, StallExec)
				}
			}
			continue
		}

		// Dispatch.
		queueFree := max(lqFree&ci.loadM, sqFree&ci.strM)
		dispatch = max(dispatch, fetch&^255, (max(c.ret[(seq-rob)&ringMask], queueFree)+1)<<posShift)
		fused := fuse && ci.kind == kBranch && op.Dep1 == 1 && c.lastALU
		if !fused {
			dispatch += ci.slots
			for dispatch&255 > dispW {
				dispatch += 256 - dispW
			}
		}
		d := dispatch >> posShift
		c.disp[slot] = d

		// Sources.
		d1, d2 := int64(op.Dep1), int64(op.Dep2)
		if d1|d2 >= ringLen {
			d1, d2 = near(d1), near(d2)
		}
		// A distance of zero reads the completion of the op ringLen earlier, which has long retired.
		dep1, dep2 := c.done[(seq-d1)&ringMask], c.done[(seq-d2)&ringMask]
		ready := max(d+1, dep1)

		// Take a port; this is Core.issue, here because it is too large to be inlined.
		t := max(ready, dep2&ci.dep2M, c.barrier&ci.memM)
		if ci.start != 0 && !fused {
			e := &c.busy[t&portMask]
			used := *e
			if tag := uint32(t>>portBits) << 16; used&0xffff0000 != tag {
				used = tag
			}
			if free := ci.start &^ used; free != 0 {
				*e = used | free&-free
			} else {
				t = c.issueLater(ci, t)
			}
		}

		// Execute.
		var done int64
		cause := StallExec
		switch ci.kind {
		case kALU:
			done = t + ci.lat
		case kNop:
			done = d
		case kLoad:
			done = c.load(op.Addr, op.Size, op.PC, t, fa)
			cause = c.cause
			if op.Class == LoadOp {
				done = c.issue(&c.class[ALU], max(done, dep2)) + ci.lat
			}
		case kStore:
			x := c.translate(op.Addr, t, fa)
			if x > t {
				cause = StallTLB
			}
			done, c.storePA = max(x+ci.lat, dep2), c.pa
		case kBranch:
			done = t
			if !fused {
				done += ci.lat
			}
			taken := op.Flag&Taken != 0
			if taken {
				fa.Taken++
			}
			if c.pred.conditional(op.PC, taken) {
				fa.Mispredicts++
				fetch = c.mispredicted(done, fetch)
				if taken {
					c.pred.direct(op.PC)
				}
			} else if taken {
				fetch = c.takenDirect(op.PC, fetch, fa)
			}
		case kJmp:
			done = t + ci.lat
			fetch = c.takenDirect(op.PC, fetch, fa)
			if op.Class == Link {
				c.pred.call(op.PC)
			}
		case kCall:
			c.translate(op.Addr, c.issue(&c.class[Store], ready), fa)
			c.storePA = c.pa
			done = t + ci.lat
			fetch = c.takenDirect(op.PC, fetch, fa)
			c.pred.call(op.PC)
		case kRet:
			t = c.issue(&c.class[Load], max(ready, c.barrier))
			done = c.issue(ci, c.load(op.Addr, op.Size, op.PC, t, fa)) + ci.lat
			cause = c.cause
			if to, known := target(ops, i); !known {
				c.pred.pop()
				fetch = fetch&^255 | fetchW
			} else if c.pred.returns(op.PC, to) {
				fa.Mispredicts++
				fetch = c.mispredicted(done, fetch)
			} else {
				fetch = fetch&^255 | fetchW
			}
		default:
			c.fetch, c.dispatch = fetch, dispatch
			done, cause = c.other(ops, i, ci, d, ready, dep2, retire>>posShift, fa)
			fetch, dispatch = c.fetch, c.dispatch
		}
		c.lastALU = false
		c.done[slot] = done

		// Retire.
		before := retire >> posShift
		retire = max(retire, done<<posShift) + 1
		if retire&255 > retW {
			retire += 256 - retW
		}
		r := retire >> posShift
		c.ret[slot] = r
		fa.Ops[op.Class&31]++
		if delta := r - before; delta > 0 {
			fa.Cycles += delta
			if delta > 1 {
				c.charge(fa, ci, delta-1, d+1-before, d, f, queueFree, cause)
			}
		}

		// Leave the queues.
		if ci.loadM != 0 {
			c.lq[c.loads&queueMask] = r
			c.loads++
			lqFree = c.lq[(c.loads-lqN)&queueMask]
		}
		if ci.strM != 0 {
			c.leave(op, done, r, fa)
			sqFree = c.sq[(c.stores-sqN)&queueMask]
		}
	}
	c.fetch, c.dispatch, c.retire, c.seq = fetch, dispatch, retire, seq
	last := retire >> posShift
	a.Cycles += last - begin
	c.end = max(c.end, c.clock.Edge(last))
	return c.end
}

// near drops a dependence on an op too far back to be in flight.
func near(d int64) int64 {
	if d >= ringLen {
		return 0
	}
	return d
}

// target returns where the indirect branch or return ops[i] goes, relative to TextBase; without it in the op, the next
// op of the same Run tells.
func target(ops []Op, i int) (pc uint32, known bool) {
	if s := ops[i].Src; s != 0 {
		return uint32(s - TextBase), true
	}
	if i+1 < len(ops) {
		return ops[i+1].PC, true
	}
	return 0, false
}

// mispredicted restarts fetch once the branch that resolves at done has shown the way.
func (c *Core) mispredicted(done, fetch int64) int64 {
	c.redirect, c.feCause = done, StallBranch
	return max(fetch, (done+int64(c.cfg.Mispredict))<<posShift)
}

// takenDirect ends the fetch group behind a taken direct branch, and loses more when the BTB did not know it.
func (c *Core) takenDirect(pc uint32, fetch int64, fa *FnCount) int64 {
	if c.pred.direct(pc) {
		return fetch&^255 | int64(c.cfg.FetchWidth)
	}
	fa.BTBMisses++
	c.feCause = StallBTB
	fetch = (fetch>>posShift + 1 + int64(c.cfg.BTBMiss)) << posShift
	c.redirect = max(c.redirect, fetch>>posShift-int64(c.cfg.Mispredict))
	return fetch
}

// fetchLine moves fetch to another code line. The line is asked for when fetch gets there or, since branch prediction
// runs ahead of fetch, FetchAhead lines earlier, but not before the front end was last redirected. A pipeline
// depth of Mispredict cycles lies between the L1I and dispatch.
func (c *Core) fetchLine(pc uint32, fetch int64, fa *FnCount) int64 {
	c.line = pc >> 6
	f := fetch >> posShift
	depth := int64(c.cfg.Mispredict)
	at := f
	if n := int64(c.cfg.FetchAhead); n > 0 {
		at = min(f, c.lineAt[(c.lines-n)&7])
	}
	at = max(at-depth, c.redirect, 0)
	arrive, cause := int64(0), StallFetch
	va := TextBase + uint64(pc)
	if page := va >> c.mmu.textShift; page != c.codePage {
		c.codePage = page
		m := &c.mmu
		if _, ok := m.text.Lookup(0, page, m.textShift); !ok {
			at = c.second(va, m.textPhys+uint64(pc), m.textSize, at, fa)
			m.text.Insert(0, page, m.textShift, 0)
			arrive, cause = at, StallITLB
		}
	}
	pa := c.mmu.textPhys + uint64(pc)
	ready, ok := c.h.FetchHit(c.id, pa)
	if !ok {
		done, lvl := c.h.Fetch(c.id, pa, c.edge(at))
		if lvl != cache.L1 {
			fa.FetchMisses++
		}
		// An L1I hit is part of the pipeline depth.
		if t := c.cyc(done) - c.codeHit; t > max(at, arrive) {
			arrive, cause = t, StallFetch
		}
	} else if ready != 0 {
		arrive = max(arrive, c.cyc(ready))
	}
	if arrive+depth > f && arrive > 0 {
		fetch, c.feCause = (arrive+depth)<<posShift, cause
	}
	c.lineAt[c.lines&7] = fetch >> posShift
	c.lines++
	return fetch
}

// hold keeps younger ops from dispatching before t.
func (c *Core) hold(t int64) {
	if t<<posShift > c.dispatch {
		c.dispatch = t << posShift
	}
}

// other times the classes that are rare. d is the cycle of dispatch, ready the earliest start by the first source, before
// the retirement of the previous op.
func (c *Core) other(ops []Op, i int, ci *classInfo, d, ready, dep2, before int64, fa *FnCount) (done int64, cause Stall) {
	op := &ops[i]
	cause = StallExec
	switch op.Class {
	case Div:
		t := c.issue(ci, max(ready, dep2, c.divFree))
		c.divFree = t + int64(c.cfg.DivBusy)
		done = t + ci.lat
	case RMW:
		t := c.issue(ci, max(ready, c.barrier))
		done = c.load(op.Addr, op.Size, op.PC, t, fa)
		cause = c.cause
		c.translate(op.Addr, done, fa)
		c.storePA = c.pa
		done = c.issue(&c.class[ALU], max(done, dep2)) + ci.lat
		c.issue(&c.class[Store], done)
	case Atomic:
		done = c.atomic(op, ci, max(ready, dep2, c.barrier), before, fa)
		cause = c.cause
	case Fence:
		cause = StallSerial
		if op.Flag&Serialize != 0 {
			done = max(ready, dep2, before) + int64(c.cfg.Lfence)
			c.hold(done)
			break
		}
		done = max(ready, dep2, before, c.drained()) + ci.lat
		if op.Flag&Stack != 0 { // a locked add
			done = c.atomic(op, &c.class[Atomic], max(ready, dep2, c.barrier), before, fa)
		}
		c.barrier = max(c.barrier, done)
	case Sysreg:
		t := max(ready, dep2)
		if op.Flag&Serialize != 0 {
			t = max(t, before)
		}
		done = c.issue(ci, t) + ci.lat
		if op.Flag&Serialize != 0 {
			c.hold(done)
			cause = StallSerial
		}
	case Flush:
		t := c.issue(ci, ready)
		done = c.translate(op.Addr, t, fa) + ci.lat
		c.storePA = c.pa
	case String:
		t := c.issue(ci, max(ready, dep2, c.barrier))
		done = c.rep(op, t, fa)
		cause = StallString
		c.commit = max(c.commit, done<<posShift)
	case LinkRet:
		done = c.issue(ci, max(ready, dep2)) + ci.lat
		to, known := target(ops, i)
		switch {
		case !known:
			c.pred.pop()
			c.fetch = c.fetch&^255 | int64(c.cfg.FetchWidth)
		case c.pred.returns(op.PC, to):
			fa.Mispredicts++
			c.fetch = c.mispredicted(done, c.fetch)
		default:
			c.fetch = c.fetch&^255 | int64(c.cfg.FetchWidth)
		}
	case JmpInd, CallInd, LinkInd:
		done = c.issue(ci, max(ready, dep2)) + ci.lat
		if op.Class == CallInd {
			c.translate(op.Addr, c.issue(&c.class[Store], d+1), fa)
			c.storePA = c.pa
		}
		to, known := target(ops, i)
		if known && c.pred.indirect(op.PC, to) {
			fa.Mispredicts++
			c.fetch = c.mispredicted(done, c.fetch)
		} else {
			c.fetch = c.fetch&^255 | int64(c.cfg.FetchWidth)
		}
		if op.Class != JmpInd {
			c.pred.call(op.PC)
		}
	case Pause:
		done = d + ci.lat
		c.hold(d + int64(c.cfg.PauseDispatch))
		cause = StallSerial
	case MMIORead:
		done = max(ready, dep2, before, c.drained()) + ci.lat
		c.hold(done)
		c.barrier = max(c.barrier, done)
		cause = StallMMIO
	case MMIOWrite:
		done = max(c.issue(ci, ready)+ci.lat, dep2)
	default:
		panic("cpu: op of no class")
	}
	return done, cause
}

// atomic times a locked read-modify-write. On x86 it waits for the head of the window and for an empty store queue. With
// AtomicHolds it starts when both are so, and younger memory ops wait for it; without, the queue drains while it executes, and younger
// loads are done early (they would be done again if their line were lost meanwhile, which nobody simulates). With AtomicDrains
// off (Armv8.1 atomics without ordering) it starts when its sources are ready.
func (c *Core) atomic(op *Op, ci *classInfo, t, before int64, fa *FnCount) int64 {
	c.cause = StallSerial
	drained := int64(0)
	if c.cfg.AtomicDrains {
		drained = c.drained()
		t = max(t, before)
		if c.cfg.AtomicHolds {
			t = max(t, drained)
		}
	}
	start := t
	t = c.translate(op.Addr, c.issue(ci, t), fa)
	c.walk = t - start
	done := c.ownAtomic(op.PC, t, fa) + ci.lat
	if c.cfg.AtomicDrains {
		if c.cfg.AtomicHolds {
			c.barrier = max(c.barrier, done)
		}
		c.commit = max(c.commit, done<<posShift)
	}
	c.lsq.add(op.Addr, op.Size, done, done)
	return done
}

// ownAtomic returns when the atomic of the line of c.pa that starts at t is done: once the core owns the line, or in the LLC.
func (c *Core) ownAtomic(pc uint32, t int64, fa *FnCount) int64 {
	if !c.far {
		return c.own(c.pa, pc, t, fa)
	}
	done, lvl := c.h.Atomic(c.id, c.pa, c.edge(t))
	fa.Level[lvl]++
	c.cause = levelStall[lvl]
	c.noteWait()
	return max(t, c.cyc(done))
}

// leave sends a retired op that holds a store queue entry to the caches.
func (c *Core) leave(op *Op, done, r int64, fa *FnCount) {
	switch op.Class {
	case Atomic:
		c.freeSQ(done)
	case Flush:
		c.commitFlush(op, c.storePA, r)
	case MMIOWrite:
		c.commitUncached(r)
	default:
		c.commitStore(op, c.storePA, done, r, fa)
	}
}

// charge attributes the cycles in which nothing retired: first what passed before the op was dispatched, by what held
// dispatch, then the rest by what the op waited for.
func (c *Core) charge(fa *FnCount, ci *classInfo, stall, front, d, f, queueFree int64, cause Stall) {
	if front = min(front, stall); front > 0 {
		why := StallSerial
		switch {
		case queueFree+1 == d && ci.strM != 0 && c.sq[(c.stores-int64(c.cfg.StoreQueue))&queueMask] == queueFree:
			why = StallStore
		case queueFree+1 == d && queueFree != 0:
			why = StallLoadQ
		case f == d:
			why = c.feCause
		}
		fa.Stall[why] += front
		stall -= front
	}
	if stall > 0 {
		if cause >= StallMem && cause <= StallDRAM && c.walk > 0 {
			w := min(stall, c.walk)
			fa.Stall[StallTLB] += w
			stall -= w
		}
		fa.Stall[cause] += stall
	}
}
