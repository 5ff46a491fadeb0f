package dmadebug

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
	"dmapath/kernel/mm"
)

const file = "kernel/dma/debug.c"

// Sizes of the option's tables.
const (
	Buckets    = 16384 // HASH_SIZE
	hashShift  = 13    // HASH_FN_SHIFT
	Entries    = 1 << 16
	entryBytes = 128
	bucketLen  = 24 // list head and lock
)

// Kind is the type of an entry.
type Kind uint8

// Kinds of mapping.
const (
	Single   Kind = iota // a page or an address
	SG                   // a segment of a scatterlist
	Resource             // device memory
)

// Stats counts what the option saw.
type Stats struct {
	Maps, Unmaps, Syncs int64
	NotMapped           int64 // unmap or sync of an address that is not mapped
	WrongSize           int64
	WrongKind           int64
	WrongDirection      int64
	Overlaps            int64 // the cache line is mapped already
	RAMAsDevice         int64 // device memory that has pages which are not reserved
	LongSegment         int64 // a DMA segment beyond the device's limits
	OutOfEntries        bool  // the option has disabled itself
}

// entry is struct dma_debug_entry.
type entry struct {
	dev        *kernel.Device
	addr       uint64
	size, phys uint64
	kind       Kind
	dir        kernel.Direction
	nents      int
	line       bool // its cache line is in the tree
	next, prev int32
}

// Debug is the option's state, one per kernel.
type Debug struct {
	Env   *kernel.Env
	MM    *mm.MM
	Stats Stats

	base    uint64 // entries
	entries []entry
	free    []int32 // a stack: the list is used at one end
	table   uint64  // dma_entry_hash
	heads   []int32
	tails   []int32
	locks   []cpu.LockWord
	list    cpu.LockWord // free_entries_lock
	vars    uint64       // global_disable, num_free_entries, free_entries
	orc     uint64       // orc_lookup and what it leads to
	lines   tree
}

// New returns the option's state with all entries free.
func New(e *kernel.Env, m *mm.MM) *Debug {
	d := &Debug{Env: e, MM: m, base: e.Pages(11), table: e.Pages(7), heads: make([]int32, Buckets), tails: make([]int32, Buckets),
		locks: make([]cpu.LockWord, Buckets), vars: e.Data(128), orc: e.Pages(6)}
	d.entries = make([]entry, Entries)
	d.free = make([]int32, Entries)
	for i := range d.free {
		d.free[i] = int32(Entries - 1 - i)
	}
	for i := range Buckets {
		d.heads[i], d.tails[i] = -1, -1
		d.locks[i].VA, d.locks[i].Name = d.bucket(i)+16, "hash_bucket.lock"
	}
	d.list.VA, d.list.Name = d.vars+64, "free_entries_lock"
	d.lines.init(e, m)
	return d
}

// Live returns how many mappings are recorded, and Lines how many cache lines the tree holds.
func (d *Debug) Live() int  { return Entries - len(d.free) }
func (d *Debug) Lines() int { return d.lines.n }

func (d *Debug) va(i int32) uint64   { return d.base + uint64(i)*entryBytes }
func (d *Debug) bucket(b int) uint64 { return d.table + uint64(b)*bucketLen }
func hash(addr uint64) int           { return int(addr >> hashShift & (Buckets - 1)) }
func (d *Debug) disabled(t *cpu.Thread) bool {
	t.Branch(d.Stats.OutOfEntries, t.ALU(1, t.Mem(cpu.Load, d.vars, 1, 0, 0)))
	t.Branch(false, t.ALU(1, t.Mem(cpu.Load, d.vars+1, 1, 0, 0)))
	return d.Stats.OutOfEntries
}

var (
	fnMapPage = cpu.NewFunc("debug_dma_map_page", file, 360)
	fnMapPhys = cpu.NewFunc("debug_dma_map_phys", file, 420)
	fnMapRes  = cpu.NewFunc("debug_dma_map_resource", file, 240)
	fnUnmap   = cpu.NewFunc("debug_dma_unmap", file, 140)
	fnMapErr  = cpu.NewFunc("debug_dma_mapping_error", file, 220)
	fnAlloc   = cpu.NewFunc("dma_entry_alloc", file, 260)
	fnFree    = cpu.NewFunc("dma_entry_free", file, 200)
	fnAdd     = cpu.NewFunc("add_dma_entry", file, 320)
	fnCheck   = cpu.NewFunc("check_unmap", file, 900)
	fnSync    = cpu.NewFunc("check_sync", file, 620)
	fnFind    = cpu.NewFunc("__hash_bucket_find", file, 220)
	fnStack   = cpu.NewFunc("check_for_stack", file, 240)
	fnArea    = cpu.NewFunc("check_for_illegal_area", file, 160)
	fnTrace   = cpu.NewFunc("stack_trace_save", "kernel/stacktrace.c", 120)
	fnWalk    = cpu.NewFunc("arch_stack_walk", "arch/x86/kernel/stacktrace.c", 260)
	fnUnwind  = cpu.NewFunc("unwind_next_frame", "arch/x86/kernel/unwind_orc.c", 1400)
	fnOrc     = cpu.NewFunc("__orc_find", "arch/x86/kernel/unwind_orc.c", 140)
	fnConsume = cpu.NewFunc("stack_trace_consume_entry", "kernel/stacktrace.c", 96)
)

// alloc is dma_entry_alloc: the first free entry, cleared, with the call stack in it. false when there is none.
func (d *Debug) alloc(t *cpu.Thread) (int32, bool) {
	v := d.Env.Version
	t.Call(fnAlloc)
	t.Nop(1)
	t.Push(3)
	locking.SpinLockIrqsave(t, v, &d.list)
	ok := len(d.free) > 0
	t.Branch(!ok, t.ALU(1, t.Mem(cpu.Load, d.vars+8, 4, 0, 0)))
	i := int32(-1)
	if ok {
		i = d.free[len(d.free)-1]
		d.free = d.free[:len(d.free)-1]
		e := t.Load(d.vars+16, 0)
		next := t.Load(d.va(i), e) // list_del
		t.Store(d.vars+16, 0, next)
		if n := len(d.free); n > 0 {
			t.Store(d.va(d.free[n-1])+8, next, 0)
		}
		t.StringSet(d.va(i), entryBytes, e)
		t.Mem(cpu.RMW, d.vars+8, 4, 0, 0)
		t.Branch(false, t.LoadOp(d.vars+12, 0, 0)) // min_free_entries
	} else {
		d.Stats.OutOfEntries = true
		t.Mem(cpu.Store, d.vars, 1, 0, 0)
	}
	locking.SpinUnlockIrqrestore(t, v, &d.list)
	if ok {
		d.saveStack(t, d.va(i)+80)
	}
	t.Pop(3)
	t.Ret()
	return i, ok
}

// stackDepth is DMA_DEBUG_STACKTRACE_ENTRIES.
const stackDepth = 5

// saveStack is stack_trace_save of five frames with the ORC unwinder: for each, a block of the lookup table, a binary search in the
// addresses of the block, the entry that says where the frame is, and the words of the frame. Which lines of the tables are
// touched follows from the function and the frame; where they lie is made up.
func (d *Debug) saveStack(t *cpu.Thread, to uint64) {
	t.Call(fnTrace)
	t.Nop(1)
	t.ALU(6, 0)
	t.Call(fnWalk)
	t.Nop(1)
	t.Push(5)
	t.Frame(112)
	t.ALU(24, 0) // __unwind_start
	place := uint64(t.Fn().Base().ID)
	arm := d.Env.Arch != kernel.X86_64 // frame pointers instead of ORC
	for i := range min(stackDepth+1, t.Depth()) {
		t.Call(fnUnwind)
		t.Push(4)
		t.ALU(10, 0)
		if arm {
			x := t.LoadPair(t.SP()+uint64(64+i*64), 0)
			t.Branch(false, t.ALU(12, x))
			t.Pop(4)
			t.Ret()
			t.Call(fnConsume)
			if i > 0 {
				t.Store(to+uint64(i-1)*8, 0, t.ALU(5, x))
			}
			t.Ret()
			continue
		}
		t.Call(fnOrc)
		block := (place*7 + uint64(i)*131) & 1023
		v := t.Mem(cpu.Load, d.orc+block*4, 4, t.ALU(4, 0), 0)
		t.Mem(cpu.Load, d.orc+block*4+4, 4, v, 0)
		top := t.Here()
		for k := range 4 {
			v = t.Mem(cpu.Load, d.orc+8192+block*64+uint64(k^2)*16, 4, t.ALU(3, v), 0)
			t.Loop(top, k < 3, t.ALU(2, v))
		}
		t.Ret()
		x := t.Mem(cpu.Load, d.orc+8192+1024*64+block*48, 4, v, 0)
		t.Branch(false, t.ALU(4, x))
		t.ALU(8, x)
		t.Load(t.SP()+uint64(64+i*64), x)
		t.Load(t.SP()+uint64(72+i*64), x)
		t.Branch(false, t.ALU(14, x))
		t.Pop(4)
		t.Ret()
		t.Call(fnConsume)
		if i > 0 {
			t.Store(to+uint64(i-1)*8, 0, t.ALU(5, x))
		}
		t.Ret()
	}
	t.Frame(-112)
	t.Pop(5)
	t.Ret()
	t.Ret()
}

// release is dma_entry_free.
func (d *Debug) release(t *cpu.Thread, i int32) {
	v := d.Env.Version
	t.Call(fnFree)
	t.Nop(1)
	t.Push(2)
	e := &d.entries[i]
	t.Branch(!e.line, t.ALU(1, t.Mem(cpu.Load, d.va(i)+52, 4, 0, 0)))
	if e.line {
		d.lines.remove(t, v, e.phys>>6)
		e.line = false
	}
	locking.SpinLockIrqsave(t, v, &d.list)
	first := t.Load(d.vars+16, 0)
	if n := len(d.free); n > 0 {
		t.Store(d.va(d.free[n-1])+8, first, 0)
	}
	t.Store(d.va(i), 0, first)
	t.Store(d.va(i)+8, 0, 0)
	t.Store(d.vars+16, 0, 0)
	t.Mem(cpu.RMW, d.vars+8, 4, 0, 0)
	d.free = append(d.free, i)
	locking.SpinUnlockIrqrestore(t, v, &d.list)
	t.Pop(2)
	t.Ret()
}

// add is add_dma_entry: into the bucket's list, at its end, and the cache line into the tree.
func (d *Debug) add(t *cpu.Thread, i int32) {
	v := d.Env.Version
	e := &d.entries[i]
	t.Call(fnAdd)
	t.Nop(1)
	t.Push(4)
	b := hash(e.addr)
	t.ALU(5, t.Load(d.va(i)+24, 0))
	locking.SpinLockIrqsave(t, v, &d.locks[b])
	last := t.Load(d.bucket(b)+8, 0)
	t.Store(d.bucket(b)+8, 0, 0)
	t.Store(d.va(i), 0, 0)
	t.Store(d.va(i)+8, 0, last)
	if d.tails[b] >= 0 {
		t.Store(d.va(d.tails[b]), last, 0)
	} else {
		t.Store(d.bucket(b), last, 0)
	}
	e.next, e.prev = -1, d.tails[b]
	if e.prev >= 0 {
		d.entries[e.prev].next = i
	} else {
		d.heads[b] = i
	}
	d.tails[b] = i
	locking.SpinUnlockIrqrestore(t, v, &d.locks[b])
	t.Branch(e.dir == kernel.ToDevice, t.ALU(1, t.Mem(cpu.Load, d.va(i)+52, 4, 0, 0)))
	if e.dir != kernel.ToDevice {
		e.line = true
		if !d.lines.insert(t, v, e.phys>>6) {
			d.Stats.Overlaps++
		}
	}
	t.Branch(false, t.ALU(2, 0))
	t.Pop(4)
	t.Ret()
}

func (d *Debug) del(t *cpu.Thread, b int, i int32) {
	e := &d.entries[i]
	n, p := t.Load(d.va(i), 0), t.Load(d.va(i)+8, 0)
	if e.next >= 0 {
		t.Store(d.va(e.next)+8, n, p)
		d.entries[e.next].prev = e.prev
	} else {
		t.Store(d.bucket(b)+8, n, p)
		d.tails[b] = e.prev
	}
	if e.prev >= 0 {
		t.Store(d.va(e.prev), p, n)
		d.entries[e.prev].next = e.next
	} else {
		t.Store(d.bucket(b), p, n)
		d.heads[b] = e.next
	}
	t.Store(d.va(i), 0, 0)
	t.Store(d.va(i)+8, 0, 0)
}

// find is __hash_bucket_find: the entry that fits best among those of the same device and address (or, with within, that contain the
// address), -1 when there is none. The bucket is locked.
func (d *Debug) find(t *cpu.Thread, b int, ref *entry, within bool) int32 {
	t.Call(fnFind)
	t.Nop(1)
	t.Push(4)
	best, level := int32(-1), -1
	top := t.Here()
	p := t.Load(d.bucket(b), 0)
	for i := d.heads[b]; i >= 0; {
		e := &d.entries[i]
		dev := t.Load(d.va(i)+16, p)
		a := t.Load(d.va(i)+24, p)
		match := e.dev == ref.dev && e.addr == ref.addr
		if within {
			match = e.dev == ref.dev && e.addr <= ref.addr && ref.addr+ref.size <= e.addr+e.size
			t.LoadOp(d.va(i)+32, p, a)
		}
		t.Branch(!match, t.ALU2(dev, a))
		if match {
			t.ALU(4, t.Load(d.va(i)+32, p))
			t.Mem(cpu.LoadOp, d.va(i)+48, 4, p, 0)
			t.Mem(cpu.LoadOp, d.va(i)+52, 4, p, 0)
			n := 0
			for _, same := range []bool{e.size == ref.size, e.kind == ref.kind, e.dir == ref.dir, e.nents == ref.nents} {
				if same {
					n++
				}
			}
			t.Branch(n == 4, t.Last())
			if n > level {
				best, level = i, n
			}
			if n == 4 {
				break
			}
		}
		i = e.next
		p = t.Load(d.va(max(i, 0)), p)
		t.Loop(top, i >= 0, t.ALU(1, p))
	}
	t.Pop(4)
	t.Ret()
	return best
}
