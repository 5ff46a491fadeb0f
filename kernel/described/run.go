package described

import (
	"fmt"
	"math/bits"
	"sync"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
)

// defined are the descriptions that Define has made known, by name.
var (
	mu      sync.Mutex
	defined = map[string]*Path{}
)

// Define makes the description known as a variant and gives its functions a place in the text of the simulated kernel. The same
// text twice is fine, another with the same name an error. It must be called before machines are built.
func Define(p *Path) error {
	mu.Lock()
	defer mu.Unlock()
	if have := defined[p.name]; have != nil {
		if have.Text == p.Text {
			return nil
		}
		return fmt.Errorf("there are two descriptions of %s, and they differ", p.name)
	}
	for _, f := range p.funcs {
		f.fn = cpu.NewFunc(f.name, f.file, f.size)
	}
	if err := dma.Define(p); err != nil {
		return err
	}
	defined[p.name] = p
	return nil
}

// Name is NAME@KERNEL.
func (p *Path) Name() string { return p.name }

// Version is the kernel whose code the base is.
func (p *Path) Version() kernel.Version { return p.base.Version() }

// Base is the variant that does the mapping.
func (p *Path) Base() dma.Variant { return p.base }

// Maps says what the base maps.
func (p *Path) Maps() dma.Memory { return dma.MemoryOf(p.base) }

// run is what a path keeps with a device: where its objects lie, and which buffer lies behind an address.
type run struct {
	at      map[place]uint64 // virtual addresses of objects
	buffers map[uint64]dma.Buffer
	vals    []cpu.Val
	coin    uint32 // decides unpredictable branches
}

// place tells the copies of an object apart: by CPU, page frame or buffer.
type place struct {
	obj *object
	key uint64
}

// call is one execution.
type call struct {
	*run
	p    *Path
	t    *cpu.Thread
	c    *dma.Ctx
	b    dma.Buffer
	page uint64 // number of the page of the buffer that a loop is at
	line uint64 // the same for lines
	vals []cpu.Val
	base func() error
}

func (p *Path) runOf(c *dma.Ctx) *run {
	if r, ok := c.Described[p].(*run); ok {
		return r
	}
	if c.Described == nil {
		c.Described = map[dma.Variant]any{}
	}
	r := &run{at: map[place]uint64{}, buffers: map[uint64]dma.Buffer{}, coin: 1}
	c.Described[p] = r
	return r
}

// Map executes the map block.
func (p *Path) Map(t *cpu.Thread, c *dma.Ctx, b dma.Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	r := p.runOf(c)
	addr := kernel.MappingError
	x := &call{run: r, p: p, t: t, c: c, b: b}
	x.base = func() (err error) {
		addr, err = p.base.Map(t, c, b, dir, attrs)
		return err
	}
	if err := x.body(p.mapping); err != nil {
		return kernel.MappingError, err
	}
	r.buffers[addr] = b
	return addr, nil
}

// Unmap executes the unmap block.
func (p *Path) Unmap(t *cpu.Thread, c *dma.Ctx, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	r := p.runOf(c)
	b, ok := r.buffers[addr]
	if !ok {
		b = dma.Buffer{Size: size}
	}
	delete(r.buffers, addr)
	x := &call{run: r, p: p, t: t, c: c, b: b}
	x.base = func() error { return p.base.Unmap(t, c, addr, size, dir, attrs) }
	return x.body(p.unmapping)
}

// body executes a block with values of its own.
func (x *call) body(ops []op) error {
	n := len(x.run.vals)
	for range x.p.values + 1 {
		x.run.vals = append(x.run.vals, 0)
	}
	outer := x.vals
	x.vals = x.run.vals[n : n+x.p.values+1]
	err := x.ops(ops)
	x.vals, x.run.vals = outer, x.run.vals[:n]
	return err
}

// pages is the number of pages that the buffer touches, lines of cache lines; at least one of each.
func (x *call) pages() uint64 { return max((x.b.Phys&4095+x.b.Size+4095)>>12, 1) }
func (x *call) lines() uint64 { return max((x.b.Phys&63+x.b.Size+63)>>6, 1) }

// phys is the physical address of the page at hand.
func (x *call) phys() uint64 { return x.b.Phys&^4095 + x.page<<12 }

func (x *call) ops(ops []op) error {
	t := x.t
	for i := range ops {
		o := &ops[i]
		on := x.vals[o.on]
		if o.on == 0 {
			on = 0
		}
		var v cpu.Val
		switch o.verb {
		case vALU:
			v = t.ALU(o.n, on)
		case vChain:
			v = t.Chain(o.n, on)
		case vMul:
			v = t.Op(cpu.Mul, on)
		case vDiv:
			v = t.Op(cpu.Div, on)
		case vBitScan:
			v = t.Op(cpu.BitScan, on)
		case vNop:
			t.Nop(o.n)
		case vPush:
			t.Push(o.n)
		case vPop:
			t.Pop(o.n)
		case vLoad:
			v = t.Load(x.address(o), on)
		case vStore:
			t.Store(x.address(o), 0, on)
		case vRMW:
			v = t.RMW(x.address(o), 0, on)
		case vAtomic:
			v = t.Atomic(x.address(o), 0, on)
		case vFlush:
			t.FlushLine(x.address(o), cpu.Flag(0), on)
		case vFence:
			t.FenceLockAdd()
		case vSerialize:
			t.Serialize()
		case vBranch:
			t.Branch(x.taken(o.how), on)
		case vCall, vIndirect:
			if o.verb == vIndirect {
				t.CallInd(o.fn.fn, on)
			} else {
				t.Call(o.fn.fn)
			}
			if err := x.body(o.fn.body); err != nil {
				return err
			}
			t.Ret()
		case vLoop:
			if err := x.loop(o); err != nil {
				return err
			}
		case vBase:
			if err := x.base(); err != nil {
				return err
			}
		case vPfnValid:
			pfn := x.phys() >> 12
			ok := x.c.MM.PfnValid(t, pfn, on)
			t.Branch(!ok, t.Last())
			if !ok {
				return fmt.Errorf("%s: pfn_valid(%#x) is false: %w", x.p.name, pfn, dma.ErrNoPage)
			}
		case vPhysToPage:
			_, v = x.c.MM.PhysToPage(t, x.phys(), on)
		case vPageToPhys:
			page, _ := x.pageStruct()
			_, v = x.c.MM.PageToPhys(t, page, on)
		case vVirtToPage:
			_, v = x.c.MM.VirtToPage(t, kernel.Virt(x.phys()), on)
		case vVirtToPhys:
			_, v = x.c.MM.VirtToPhys(t, kernel.Virt(x.phys()), on)
		case vPageAddress:
			page, _ := x.pageStruct()
			_, v = x.c.MM.PageAddress(t, page, on)
		}
		if o.to != 0 {
			x.vals[o.to] = v
		}
	}
	return nil
}

// loop executes a loop: a counter, a comparison and a branch back for every iteration.
func (x *call) loop(o *op) error {
	n := uint64(o.n)
	page, line := x.page, x.line
	switch o.how {
	case "pages":
		n = x.pages()
	case "lines":
		n = x.lines()
	}
	top := x.t.Here()
	for i := range n {
		switch o.how {
		case "pages":
			x.page, x.line = i, 0
		case "lines":
			x.line = i
			x.page = (x.b.Phys&4095&^63 + i<<6) >> 12
		}
		if err := x.ops(o.body); err != nil {
			return err
		}
		x.t.Loop(top, i+1 < n, x.t.ALU(1, 0))
	}
	x.page, x.line = page, line
	return nil
}

// taken decides a branch. Unpredictable ones follow a shift register of 32 bits, the same in every run.
func (x *call) taken(how string) bool {
	switch how {
	case "taken":
		return true
	case "not-taken":
		return false
	}
	bit := x.coin ^ x.coin>>1 ^ x.coin>>21 ^ x.coin>>31 // x^32 + x^22 + x^2 + x + 1
	x.coin = x.coin<<1 | bit&1
	return x.coin&1 != 0
}

// pageStruct is the address of the struct page of the page at hand, and whether there is one.
func (x *call) pageStruct() (uint64, bool) {
	if x.b.Page == 0 {
		return cpu.VmemmapBase + x.phys()>>12*64, x.c.MM.Valid(x.phys() >> 12)
	}
	return x.b.Page + x.page<<6, true
}

// address is where an op's operand lies.
func (x *call) address(o *op) uint64 {
	switch o.obj.per {
	case theDevice:
		return x.c.Dev.VA + uint64(o.off)
	case thePage:
		at, _ := x.pageStruct()
		x.c.Env.Deref(x.t, x.phys())
		return at + uint64(o.off)
	case theBuffer:
		x.c.Env.Touch(x.t, x.phys(), 64)
		if x.line != 0 {
			return kernel.Virt(x.b.Phys&^63 + x.line<<6 + uint64(o.off)&63)
		}
		return kernel.Virt(x.phys() + uint64(o.off))
	case theStack:
		return x.t.SP() + uint64(o.off)
	}
	key := uint64(0)
	switch o.obj.per {
	case perCPU:
		key = uint64(x.t.CPU)
	case perPage:
		key = x.phys() >> 12
	case perBuffer:
		key = x.b.Phys
	}
	pl := place{o.obj, key}
	at, ok := x.at[pl]
	if !ok {
		at = x.c.Env.Slab(o.obj.bytes, min(64, 1<<bits.Len(uint(o.obj.bytes-1))))
		x.at[pl] = at
	}
	return at + uint64(o.off)
}
