package hazard

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
)

// Likeness says which cells cost the same: those with the same machine, kernel and device whose calls emitted the same instructions,
// on the same addresses and with the same outcomes of branches, in every life of a buffer that was watched. A cost run adds nothing but
// the surroundings, which do not depend on the cell. A wrong call can leave entries behind that later calls meet, at a distance that no
// watched life shows: it is like another one only on the same kind of memory.
type Likeness struct {
	backend string
	version kernel.Version
	memory  struct { // what of the memory changes the machine
		encrypted bool
		route     kernel.P2PRoute
		name      string // of a wrong call
	}
	list, keeps bool
	size        uint64
	dir         kernel.Direction
	emitted     digest
}

// Likeness returns what identifies the cost of a cell that was observed; ok is false when it has none, because the calls do not return.
func (r *Result) Likeness() (l Likeness, ok bool) {
	l = Likeness{backend: r.Backend.Name, version: r.Call.Version, list: r.Call.list, keeps: r.Call.keeps, size: r.Size, dir: r.Call.timed(), emitted: r.emitted}
	l.memory.encrypted, l.memory.route = r.Memory.encrypted, r.Memory.route
	if r.Call.Wrong {
		l.memory.name = r.Memory.Name
	}
	return l, r.Status == OK || r.Status == Hazardous
}

// Measure takes the cost of a cell that was observed.
func (r *Result) Measure(cfg Config) error {
	if err := r.measure(r.layout, cfg); err != nil {
		return fmt.Errorf("%v: %w", r.Cell, err)
	}
	return nil
}

// timed is the direction in which the call is measured.
func (c *Call) timed() kernel.Direction {
	if len(c.dirs) == 1 {
		return c.dirs[0]
	}
	return kernel.FromDevice
}

// digest is a hash of instructions.
type digest struct{ a, b uint64 }

func (d *digest) add(ops []cpu.Op) {
	for i := range ops {
		o := &ops[i]
		d.word(o.Addr)
		d.word(o.Src)
		d.word(uint64(o.PC) | uint64(o.Size)<<32)
		d.word(uint64(o.Dep1) | uint64(o.Dep2)<<16 | uint64(o.Fn)<<32 | uint64(o.Class)<<48 | uint64(o.Flag)<<56)
	}
}

// word mixes x in, by two different odd multipliers (golden ratio, and that of MurmurHash3's finalizer).
func (d *digest) word(x uint64) {
	d.a = (d.a ^ x) * 0x9e3779b97f4a7c15
	d.a ^= d.a >> 32
	d.b = (d.b + x) * 0xff51afd7ed558ccd
	d.b ^= d.b >> 33
}
