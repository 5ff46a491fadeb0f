package trace

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
)

// Geometry of a ring.
const (
	pageBytes   = 4096
	headerBytes = 16         // struct buffer_data_page: time stamp and commit
	RingBytes   = 1408 << 10 // per CPU, what buffer_size_kb says once an event was enabled (TRACE_BUF_SIZE_DEFAULT)
)

// Ring is the trace buffer of a kernel.
type Ring struct {
	Env   *kernel.Env
	cpus  []perCPU
	event uint64 // struct trace_event_file, trace_event_call, trace_array: one line each
	mask  uint64 // __cpu_online_mask and the other masks

	Records, Bytes, Pages int64 // written, with headers; pages begun
}

// perCPU is struct ring_buffer_per_cpu.
type perCPU struct {
	va    uint64
	desc  uint64 // struct buffer_page of each page, 64 bytes
	data  uint64
	pages int
	tail  int // page being written
	at    int // next byte in it
}

// New returns an empty buffer of n bytes per CPU, in whole pages.
func New(e *kernel.Env, n int) (*Ring, error) {
	if n < 2*pageBytes || n%pageBytes != 0 {
		return nil, fmt.Errorf("trace: a ring of %d bytes: want at least two whole pages of %d", n, pageBytes)
	}
	r := &Ring{Env: e, event: e.Slab(192, 64), mask: e.Data(64)}
	order := 0
	for pageBytes<<order < n {
		order++
	}
	for range e.CPUs {
		r.cpus = append(r.cpus, perCPU{va: e.Slab(512, 64), desc: e.Slab(n/pageBytes*64, 64), data: e.Pages(order), pages: n / pageBytes, at: headerBytes})
	}
	return r, nil
}

const ringFile = "kernel/trace/ring_buffer.c"

var (
	fnEvent   = cpu.NewFunc("trace_event_raw_event", "include/trace/trace_events.h", 400)
	fnReserve = cpu.NewFunc("trace_event_buffer_reserve", "kernel/trace/trace_events.c", 160)
	fnLockRes = cpu.NewFunc("trace_event_buffer_lock_reserve", "kernel/trace/trace.c", 420)
	fnRing    = cpu.NewFunc("ring_buffer_lock_reserve", ringFile, 900)
	fnNext    = cpu.NewFunc("__rb_reserve_next", ringFile, 780)
	fnMove    = cpu.NewFunc("rb_move_tail", ringFile, 520)
	fnClock   = cpu.NewFunc("trace_clock_local", "kernel/trace/trace_clock.c", 48)
	fnSched   = cpu.NewFunc("native_sched_clock", "arch/x86/kernel/tsc.c", 140)
	fnCommit  = cpu.NewFunc("trace_event_buffer_commit", "kernel/trace/trace.c", 360)
	fnUnlock  = cpu.NewFunc("ring_buffer_unlock_commit", ringFile, 420)
	fnStrlen  = cpu.NewFunc("strlen", "lib/string.c", 32)
	fnMemcpy  = cpu.NewFunc("__memcpy", "arch/x86/lib/memcpy_64.S", 48)
)

// recordBytes is the length of a record with its header in the ring.
func recordBytes(fixed, n int, dev *kernel.Device) int {
	b := fixed + n
	if dev != nil {
		b += len(dev.Name) + 1
	}
	b = 4 + (b+3)&^3
	if b > 4+28*4 { // longer than RB_MAX_SMALL_DATA: the length takes a word of its own
		b += 4
	}
	return b
}

// Record writes one event.
func (r *Ring) Record(t *cpu.Thread, fixed, n int, dev *kernel.Device) {
	v := r.Env.Version
	p := &r.cpus[t.CPU]
	count := kernel.PreemptCount(v, t.CPU)
	// The trace point: is the CPU online, and the only function that is registered, through a patched call.
	t.Branch(false, t.ALU(1, t.Load(r.mask, t.Mem(cpu.Load, kernel.NumaNode(t.CPU), 4, 0, 0))))
	t.Mem(cpu.RMW, count, 4, 0, 0)
	t.Branch(false, t.ALU(1, t.Load(r.event, 0)))
	t.ALU(5, 0)
	t.Call(fnEvent)
	t.Nop(1)
	t.Push(6)
	t.Frame(72)
	t.StackStore(64, t.Load(kernel.StackGuard(v, t.CPU), 0))
	t.Branch(false, t.ALU(2, t.Load(r.event+64, 0))) // trigger or soft-disabled
	name := 0
	if dev != nil {
		name = len(dev.Name) + 1
		t.Branch(true, t.ALU(1, t.Load(dev.VA+80, 0))) // init_name, or the kobject's
		s := t.Load(dev.VA, 0)
		t.Call(fnStrlen)
		t.Nop(1)
		top := t.Here()
		for i := range name {
			t.Loop(top, i+1 < name, t.ALU(2, t.Mem(cpu.Load, dev.VA+0x1000+uint64(i), 1, s, 0)))
		}
		t.Ret()
	}
	t.ALU(6, 0)
	length := recordBytes(fixed, n, dev)
	at := r.reserve(t, p, length, count)
	r.fill(t, at, fixed, n, name, dev)
	r.commit(t, p, count)
	w := t.StackLoad(64)
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, w))
	t.Frame(-72)
	t.Pop(6)
	t.Ret()
	t.Branch(false, t.Mem(cpu.RMW, count, 4, 0, 0))
	r.Records++
	r.Bytes += int64(length)
}

// fill stores the fields, the name and the arrays.
func (r *Ring) fill(t *cpu.Thread, at uint64, fixed, n, name int, dev *kernel.Device) {
	e := at + 4
	for o := 8; o < fixed; o += 8 {
		t.Store(e+uint64(o), 0, 0)
	}
	if dev != nil {
		t.ALU(4, 0)
		t.Call(fnMemcpy)
		t.Nop(1)
		t.ALU(3, 0)
		for o := 0; o < name; o += 8 {
			k := min(8, name-o)
			t.Mem(cpu.Store, e+uint64(fixed+o), k, 0, t.Mem(cpu.Load, dev.VA+0x1000+uint64(o), k, 0, 0))
		}
		t.Ret()
	}
	top := t.Here()
	for o := 0; o < n; o += 8 { // one element of a list at a time
		t.Store(e+uint64(fixed+name+o), 0, t.ALU(3, 0))
		t.Loop(top, o+8 < n, t.ALU(2, 0))
	}
}

// reserve is the way to the ring and rb_reserve_next_event: where the record begins.
func (r *Ring) reserve(t *cpu.Thread, p *perCPU, length int, count uint64) uint64 {
	t.Call(fnReserve)
	t.Nop(1)
	t.Push(3)
	t.Branch(false, t.ALU(3, t.Load(r.event+64, 0)))
	t.Mem(cpu.Load, count, 4, 0, 0) // tracing_gen_ctx
	t.Op(cpu.IrqFlag, 0)
	t.ALU(8, 0)
	t.Call(fnLockRes)
	t.Nop(1)
	t.Push(5)
	t.Load(r.event+128, t.ALU(4, 0))
	t.Branch(false, t.ALU(2, t.Load(r.event+72, 0)))
	t.Call(fnRing)
	t.Nop(1)
	t.Push(6)
	t.Frame(56)
	t.Mem(cpu.RMW, count, 4, 0, 0)
	t.Branch(false, t.ALU(1, t.Mem(cpu.Load, p.va+8, 4, 0, 0))) // record_disabled of the buffer, then of the CPU
	t.Branch(false, t.ALU(1, t.Load(r.mask+8, 0)))
	b := t.Load(r.event+136, 0)
	t.Branch(false, t.ALU(1, t.Mem(cpu.Load, p.va, 4, b, 0)))
	t.Branch(false, t.ALU(2, t.Mem(cpu.Load, p.va+12, 4, b, 0)))
	t.ALU(5, t.Mem(cpu.Load, count, 4, 0, 0)) // trace_recursive_lock: which context this is
	t.Branch(false, t.ALU(2, t.Mem(cpu.RMW, p.va+16, 4, 0, 0)))
	t.Mem(cpu.RMW, p.va+24, 8, 0, 0) // committing, commits
	t.Mem(cpu.RMW, p.va+32, 8, 0, 0)
	t.ALU(6, 0)
	at := r.next(t, p, length)
	t.Frame(-56)
	t.Pop(6)
	t.Ret()
	t.Branch(false, t.ALU(1, 0))
	t.ALU(3, 0)
	t.Mem(cpu.Store, at+4, 8, 0, 0) // type, flags, preemption count, pid
	t.Pop(5)
	t.Ret()
	t.ALU(4, 0)
	t.Pop(3)
	t.Ret()
	return at
}

// next is __rb_reserve_next: time, an addition to the page's length, and the next page when that is too much.
func (r *Ring) next(t *cpu.Thread, p *perCPU, length int) uint64 {
	t.Call(fnNext)
	t.Nop(1)
	t.Push(5)
	page := t.Load(p.va+40, 0)
	t.Load(p.desc+uint64(p.tail)*64+8, page)
	t.Load(p.va+64, 0) // before_stamp, write_stamp
	t.Load(p.va+72, 0)
	t.Call(fnClock)
	t.Nop(1)
	t.Call(fnSched)
	t.Nop(1)
	ts := t.Op(cpu.Sysreg, 0) // rdtsc, not ordered
	ts = t.ALU(4, t.Op(cpu.Mul, t.ALU2(t.Load(r.mask+16, 0), ts)))
	t.Ret()
	t.Ret()
	t.Store(p.va+64, 0, ts)
	t.Branch(false, t.ALU(4, ts))
	t.Mem(cpu.RMW, p.desc+uint64(p.tail)*64+8, 8, page, t.ALU(1, 0))
	full := p.at+length > pageBytes
	t.Branch(full, t.ALU(3, t.Last()))
	if full {
		r.move(t, p)
	}
	at := p.data + uint64(p.tail)*pageBytes + uint64(p.at)
	p.at += length
	t.Store(p.va+72, 0, ts)
	t.Branch(false, t.ALU(2, 0))
	t.ALU(6, 0)
	t.Mem(cpu.Store, at, 4, page, 0) // length and time since the last event
	t.Mem(cpu.RMW, p.desc+uint64(p.tail)*64+16, 8, 0, 0)
	t.Pop(5)
	t.Ret()
	return at
}

// move is rb_move_tail: the next page becomes the tail; when it is the oldest one the head moves on first, by a locked exchange of the pointer
// that leads to it.
func (r *Ring) move(t *cpu.Thread, p *perCPU) {
	t.Call(fnMove)
	t.Nop(1)
	t.Push(6)
	t.ALU(6, 0)
	r.Pages++
	next := (p.tail + 1) % p.pages
	d := t.Load(p.desc+uint64(p.tail)*64, 0)
	t.Branch(false, t.ALU(3, d))
	if r.Pages >= int64(p.pages) { // overwrite
		t.ALU(8, 0)
		t.Mem(cpu.Atomic, p.desc+uint64(p.tail)*64, 8, d, 0)
		t.Mem(cpu.Atomic, p.desc+uint64(next)*64, 8, d, 0)
		t.Mem(cpu.RMW, p.va+96, 8, 0, t.Load(p.desc+uint64(next)*64+16, d)) // overrun
	}
	t.Store(p.data+uint64(p.tail)*pageBytes+8, 0, t.ALU(2, 0)) // commit of the page that is full
	t.Mem(cpu.RMW, p.desc+uint64(next)*64+8, 8, d, 0)
	t.Store(p.data+uint64(next)*pageBytes, d, 0)
	t.Mem(cpu.Atomic, p.va+40, 8, 0, d) // tail_page
	t.ALU(4, 0)
	t.Pop(6)
	t.Ret()
	p.tail, p.at = next, headerBytes
}

// commit is trace_event_buffer_commit and ring_buffer_unlock_commit.
func (r *Ring) commit(t *cpu.Thread, p *perCPU, count uint64) {
	t.Call(fnCommit)
	t.Nop(3) // three static keys
	t.Push(3)
	t.Branch(false, t.ALU(2, t.Load(r.event+64, 0)))
	t.Call(fnUnlock)
	t.Nop(1)
	t.Push(3)
	t.Mem(cpu.RMW, p.va+48, 8, 0, 0) // entries
	t.Load(p.va+32, 0)
	t.Branch(false, t.ALU(2, t.Load(p.va+24, 0)))
	page := t.Load(p.va+56, 0)
	t.Branch(false, t.ALU(1, t.LoadOp(p.va+40, 0, page)))
	w := t.Load(p.desc+uint64(p.tail)*64+8, page)
	t.Store(p.data+uint64(p.tail)*pageBytes+8, page, w) // the page's commit
	t.Mem(cpu.RMW, p.va+24, 8, 0, 0)
	t.Branch(false, t.ALU(1, t.Load(p.va+32, 0)))
	t.Branch(false, t.ALU(1, t.Load(p.va+128, 0))) // waiters
	t.Branch(false, t.ALU(1, t.Load(p.va+136, 0)))
	t.Mem(cpu.RMW, p.va+16, 4, 0, 0)
	t.Branch(false, t.Mem(cpu.RMW, count, 4, 0, 0))
	t.Pop(3)
	t.Ret()
	t.Branch(false, t.ALU(2, t.Load(r.event+128, 0))) // stack traces wanted?
	t.Pop(3)
	t.Ret()
}
