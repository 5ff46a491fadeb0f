package advise

import (
	"fmt"
	"strings"

	"dmapath/kernel"
	"dmapath/sim"
	"dmapath/workloads/replay"
)

// reshape makes the calls of a driver that maps otherwise out of a trace's. What is left out stays in the list as a call that is skipped, so that
// both lists are in step.
type reshape func(calls []*replay.Call) []*replay.Call

// Found is what a trace shows about how its memory is used.
type Found struct {
	Maps   int64 // single mappings looked at
	Again  int64 // of these, maps of the same memory for the same device and direction as one before: what a pool could keep
	Pool   uint64
	Joined int64 // maps that could have been part of the one before or behind them
	Lists  int64 // scatterlists that could be links
}

// skip is c left out.
func skip(c *replay.Call) *replay.Call {
	s := *c
	s.Skip = true
	return &s
}

// memory names what a call maps: the device, the direction and every piece.
func memory(c *replay.Call) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %d %d", c.Device, c.Dir, c.Attrs)
	for _, r := range c.Runs {
		fmt.Fprintf(&b, " %x+%x", r.Phys, r.Size)
	}
	return b.String()
}

// recurring counts how often each piece of memory is mapped by a single call.
func recurring(calls []*replay.Call) map[string]int {
	n := map[string]int{}
	for _, c := range calls {
		if !c.Unmap && !c.Unmeasured && c.How == replay.Single {
			n[memory(c)]++
		}
	}
	return n
}

// pool keeps memory that is mapped more than once mapped from its first map to the end, as page_pool does: no map and no unmap of it but the first map.
// The syncs in their place are two inlined tests per use on a device that snoops, and are not performed.
func pool(calls []*replay.Call) (out []*replay.Call) {
	uses, there, kept := recurring(calls), map[string]bool{}, map[uint64]bool{}
	for _, c := range calls {
		switch {
		case !c.Unmap && c.How == replay.Single && uses[memory(c)] > 1:
			kept[c.ID] = true
			if m := memory(c); there[m] {
				c = skip(c)
			} else {
				there[m] = true
			}
		case c.Unmap && kept[c.ID]:
			c = skip(c)
		}
		out = append(out, c)
	}
	return out
}

// near is how long after the last one a map can still be part of the same request.
const near = 20 * sim.Microsecond

// batch are maps that could be one.
type batch struct {
	members []int  // indexes of their calls
	phys    uint64 // where they begin
	size    uint64
	last    sim.Time
	ends    int // members whose unmap the calls have
	waiting int // members that are not unmapped yet
}

// join maps neighbours at once: memory that one CPU maps for one device and direction in maps that follow each other within 20 us, piece behind
// piece, up to 128 KiB, all of which is mapped at the same time. The one map stands in the place of the last, and so does the one unmap.
func join(calls []*replay.Call) (out []*replay.Call) {
	type stream struct {
		dev, cpu int
		dir      kernel.Direction
		attrs    kernel.Attrs
	}
	open, of := map[stream]*batch{}, map[uint64]*batch{}
	var all []*batch
	for i, c := range calls {
		if c.How != replay.Single || c.Unmeasured {
			if b := of[c.ID]; c.Unmap && b != nil { // the sample ends its life: it cannot be told how long it was
				b.members = b.members[:0]
			}
			continue
		}
		s := stream{c.Device, c.CPU, c.Dir, c.Attrs}
		if c.Unmap {
			if b := of[c.ID]; b != nil {
				b.ends++
				for k, o := range open { // nothing joins what is being unmapped
					if o == b {
						delete(open, k)
					}
				}
			}
			continue
		}
		b := open[s]
		if b == nil || c.At-b.last > near || b.size+c.Size > larger || !extends(b, c) {
			b = &batch{phys: c.Runs[0].Phys}
			open[s], all = b, append(all, b)
		}
		b.members, b.size, b.last = append(b.members, i), b.size+c.Size, c.At
		of[c.ID] = b
	}
	out = append(out, calls...)
	for _, b := range all {
		if b.ends < len(b.members) { // one stays mapped
			b.members = b.members[:0]
		}
		if len(b.members) < 2 {
			continue
		}
		last := b.members[len(b.members)-1]
		for _, i := range b.members[:len(b.members)-1] {
			out[i] = skip(calls[i])
		}
		whole := *calls[last]
		whole.Size, whole.Runs, whole.Recorded = b.size, []replay.Piece{{Phys: b.phys, Size: b.size}}, nil
		out[last] = &whole
		b.waiting = len(b.members)
	}
	for i, c := range calls {
		b := of[c.ID]
		if !c.Unmap || b == nil || len(b.members) < 2 {
			continue
		}
		if b.waiting--; b.waiting > 0 {
			out[i] = skip(c)
			continue
		}
		whole := *c
		whole.ID, whole.Size, whole.Recorded = calls[b.members[len(b.members)-1]].ID, b.size, nil
		out[i] = &whole
	}
	return out
}

// extends reports whether the memory of c lies behind or before that of b, and moves the beginning of b in the latter case.
func extends(b *batch, c *replay.Call) bool {
	if len(c.Runs) != 1 {
		return false
	}
	r := c.Runs[0]
	if r.Phys+r.Size == b.phys {
		b.phys = r.Phys
		return true
	}
	return b.phys+b.size == r.Phys
}

// links maps scatterlists by the two-step interface.
func links(calls []*replay.Call) (out []*replay.Call) {
	linked := map[uint64]bool{}
	for _, c := range calls {
		if c.How == replay.List && (c.Unmap && linked[c.ID] || !c.Unmap && linkable(c.Runs)) {
			l := *c
			l.How, c = replay.Link, &l
			linked[c.ID] = true
		}
		out = append(out, c)
	}
	return out
}

// linkable reports whether pieces leave no gap in a range of I/O addresses: all but the first begin, and all but the last end with a page.
func linkable(runs []replay.Piece) bool {
	for i, r := range runs {
		if i > 0 && r.Phys&4095 != 0 || i+1 < len(runs) && (r.Phys+r.Size)&4095 != 0 {
			return false
		}
	}
	return true
}

// find counts what the reshaped calls leave out.
func find(calls []*replay.Call) (f Found) {
	for _, c := range calls {
		if !c.Unmap && !c.Unmeasured && c.How == replay.Single {
			f.Maps++
		}
		if !c.Unmap && !c.Unmeasured && c.How == replay.List && linkable(c.Runs) {
			f.Lists++
		}
	}
	skipped := func(list []*replay.Call) (n int64) {
		for _, c := range list {
			if c.Skip && !c.Unmap && !c.Unmeasured {
				n++
			}
		}
		return n
	}
	f.Again, f.Joined = skipped(pool(calls)), skipped(join(calls))
	seen := map[string]bool{}
	uses := recurring(calls)
	for _, c := range calls {
		if m := memory(c); !c.Unmap && uses[m] > 1 && !seen[m] {
			seen[m] = true
			f.Pool += c.Size
		}
	}
	return f
}
