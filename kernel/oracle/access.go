package oracle

import "dmapath/kernel"

// Verdict is what the contract says about a device's access to a byte.
type Verdict uint8

// Verdicts.
const (
	Allowed   Verdict = iota
	Unmapped          // no mapping contains the byte or ever did
	Beside            // not mapped, but it shares a granule with a live mapping
	Freed             // its mapping was undone, and nothing near it is mapped
	Backwards         // it is mapped for the other direction
	OutOfTurn         // it is mapped, and lent to the CPU
)

func (v Verdict) String() string {
	return [...]string{"allowed", "never mapped", "beside a mapping", "freed", "mapped for the other direction", "lent to the CPU"}[v]
}

// Judge returns what the contract says about an access to the byte at addr, and the mapping that it is about, if any. Where
// mappings overlap, as they do on a bus without translation, one that allows the access is enough.
func (o *Oracle) Judge(addr uint64, write bool) (Verdict, *Mapping) {
	best, of := Unmapped, (*Mapping)(nil)
	for _, m := range o.live {
		off := addr - m.Addr
		switch {
		case off >= m.Size:
			if best == Unmapped && addr&^(o.Granule-1)+o.Granule > m.Addr && addr&^(o.Granule-1) < m.Addr+m.Size {
				best, of = Beside, m
			}
		case !passes(m.Dir, write):
			best, of = Backwards, m
		case m.lent[off]:
			best, of = OutOfTurn, m
		default:
			return Allowed, m
		}
	}
	if best != Unmapped { // of a freed byte beside a live mapping, the live one is what the machine lets through
		return best, of
	}
	for i := len(o.freed) - 1; i >= 0; i-- {
		if m := o.freed[i]; addr-m.Addr < m.Size {
			return Freed, m
		}
	}
	return best, of
}

func passes(d kernel.Direction, write bool) bool {
	return d == kernel.Bidirectional || d == kernel.FromDevice && write || d == kernel.ToDevice && !write
}

// Reached is what a device got out of an access, in bytes.
type Reached struct {
	Allowed   uint64 // performed, as the contract says
	Refused   uint64 // refused, although allowed
	Stopped   uint64 // refused, and not allowed
	Forbidden uint64 // performed, although not allowed
}

// bytesPerPage bounds what one translation is asked for.
const bytesPerPage = 4096

// Access lets the device access n bytes at addr, whether its driver told it to or not, and reports what the contract and the machine
// disagree on: one hazard per run of bytes of one page that share a verdict. It moves no data.
func (o *Oracle) Access(addr, n uint64, write bool) Reached {
	var r Reached
	for end := addr + n; addr < end; {
		v, m := o.Judge(addr, write)
		last := min(end, addr&^(bytesPerPage-1)+bytesPerPage)
		at := o.alike(addr, last)
		for at < last {
			if v2, m2 := o.Judge(at, write); v2 != v || m2 != m {
				break
			}
			at = o.alike(at, last)
		}
		run := at - addr
		pa, _, ok := o.Bus.Reach(addr, write)
		switch {
		case v == Allowed && ok:
			r.Allowed += run
			o.checkFrame(m, addr, pa)
		case v == Allowed:
			r.Refused += run
			o.refused(m, addr, pa, write)
		case ok:
			r.Forbidden += run
			o.exposed(v, m, addr, run, write)
		default:
			r.Stopped += run
		}
		addr += run
	}
	return r
}

// alike returns the end of the bytes from at on, before end, that Judge cannot tell apart: they lie in the same mappings, in one granule,
// and on one side of what is lent.
func (o *Oracle) alike(at, end uint64) uint64 {
	clip := func(edge uint64) {
		if edge > at {
			end = min(end, edge)
		}
	}
	if o.Granule > 1 {
		clip(at&^(o.Granule-1) + o.Granule)
	}
	for _, m := range o.live {
		clip(m.Addr)
		clip(m.Addr + m.Size)
		if off := at - m.Addr; off < m.Size {
			for i := off + 1; m.Addr+i < end && i < m.Size; i++ {
				if m.lent[i] != m.lent[off] {
					end = m.Addr + i
				}
			}
		}
	}
	for _, m := range o.freed {
		clip(m.Addr)
		clip(m.Addr + m.Size)
	}
	return end
}

// checkFrame reports a translation that leads elsewhere than to the buffer or to the pool.
func (o *Oracle) checkFrame(m *Mapping, addr, pa uint64) {
	if want := m.Phys + addr - m.Addr; pa != want && !o.isBounced(pa) {
		o.report(kernel.WrongFrame, m.toDevice, pa, "the device reaches %#x, the buffer is at %#x", pa, want)
	}
}

func (o *Oracle) refused(m *Mapping, addr, pa uint64, write bool) {
	if want := m.Phys + addr - m.Addr; pa != 0 && pa != want {
		o.report(kernel.WrongFrame, m.toDevice, pa, "the device is led to %#x, where nothing answers; the buffer is at %#x", pa, want)
		return
	}
	o.report(kernel.Refused, m.toDevice, addr, "the device's %s of a live mapping is refused", access(write))
}

func access(write bool) string {
	if write {
		return "write"
	}
	return "read"
}

func (o *Oracle) exposed(v Verdict, m *Mapping, addr, run uint64, write bool) {
	kind := kernel.BeyondMapping
	switch v {
	case Freed:
		kind = kernel.UseAfterUnmap
	case OutOfTurn:
		kind = kernel.OutOfTurn
	}
	step := ""
	if m != nil {
		if step = m.toDevice; v == Freed {
			step = m.toCPU
		}
	}
	o.report(kind, step, addr, "a %s of %d bytes is performed: %v", access(write), run, v)
}
