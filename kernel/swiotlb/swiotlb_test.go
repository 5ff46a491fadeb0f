package swiotlb

import (
	"errors"
	"math/rand/v2"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
)

const poolAt = 0x70000000

func newEnv(v kernel.Version, cpus int) *kernel.Env {
	return kernel.NewEnv(kernel.Config{Version: v, CPUs: cpus, MemEncrypt: true}, cache.NewMemory(), 8<<30)
}

func newMem(tb testing.TB, e *kernel.Env, bytes uint64, areas int) *Mem {
	tb.Helper()
	m, err := New(Config{Env: e, Start: poolAt, Bytes: bytes, Areas: areas})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// run executes body on CPU c without timing.
func run(c int, body func(t *cpu.Thread)) []cpu.Op {
	return recorded.Run(func(t *cpu.Thread) {
		t.CPU = c
		body(t)
	})
}

func TestAreas(t *testing.T) {
	for _, c := range []struct{ cpus, slots, want int }{
		{1, 32768, 1}, {2, 32768, 2}, {3, 32768, 4}, {96, 32768, 128}, {1024, 32768, 256}, {64, 128, 1}, {64, 512, 4}, {8, 1024, 8},
	} {
		if got := Areas(c.cpus, c.slots); got != c.want {
			t.Errorf("%d CPUs, %d slots: %d areas, want %d", c.cpus, c.slots, got, c.want)
		}
	}
}

func TestConfigsThatCannotBe(t *testing.T) {
	e := newEnv(kernel.V7_3, 2)
	for _, c := range []struct {
		name string
		Config
	}{
		{"no environment", Config{Bytes: 1 << 20}},
		{"not at a page", Config{Env: e, Start: poolAt + 2048, Bytes: 1 << 20}},
		{"half a segment", Config{Env: e, Start: poolAt, Bytes: 128 << 10}},
		{"beyond the address space", Config{Env: e, Start: ^uint64(0) &^ 4095, Bytes: 1 << 20}},
		{"areas no power of two", Config{Env: e, Start: poolAt, Bytes: 1 << 20, Areas: 3}},
		{"areas smaller than a segment", Config{Env: e, Start: poolAt, Bytes: 1 << 20, Areas: 8}},
	} {
		if _, err := New(c.Config); err == nil {
			t.Errorf("%s: accepted", c.name)
		}
	}
	if m, err := New(Config{Env: e}); err != nil || m.Present() {
		t.Errorf("no pool: %v, present %v", err, m.Present())
	}
}

// twin is the slow and obvious allocator: which slots are taken, and by whom.
type twin struct {
	owner     []int // mapping that holds the slot, 0: free
	areaSlots int
	index     []int
}

// free returns how many slots are free from i to the end of its segment.
func (w *twin) free(i int) (n int) {
	for k := i; k < len(w.owner) && w.owner[k] == 0 && k/SegmentSlots == i/SegmentSlots; k++ {
		n++
	}
	return n
}

// find returns where n slots go: from the area's index on, stride by stride once aligned, the first place with room.
func (w *twin) find(a, n int, ok func(i int) bool, stride int) int {
	index := w.index[a]
	for checked := 0; checked < w.areaSlots; {
		i := a*w.areaSlots + index
		step := 1
		if ok(i) {
			step = stride
			if w.free(i) >= n {
				return i
			}
		}
		if index += step; index >= w.areaSlots {
			index = 0
		}
		checked += step
	}
	return -1
}

type mapping struct {
	id             int
	addr, phys, sz uint64
	dir            kernel.Direction
	first, n       int
	version        cache.Version // the buffer's when it was mapped
	wrote          cache.Version // the device's
	from, to       uint64        // bytes that the device wrote
}

// Random maps, syncs and unmaps on several CPUs, with and without alignment: every slot belongs to one mapping, the place is the twin's, the
// free counts are those of a recount, and every byte arrives where it should.
func TestRandomSequencesAgainstTheTwin(t *testing.T) {
	for seed := range uint64(6) { // every min_align_mask on both versions
		r := rand.New(rand.NewPCG(seed, 5))
		v := kernel.Version(seed % 2)
		e := newEnv(v, 4)
		u := cache.NewTruth()
		e.Truth = u
		m := newMem(t, e, 512<<10, 2)
		p := m.Boot()
		d := e.NewDevice("0000:00:01.0", 8, ^uint64(0))
		d.MinAlign = []uint64{0, 4095, 511}[seed%3]
		w := &twin{owner: make([]int, len(p.slots)), areaSlots: p.areaSlots, index: make([]int, len(p.areas))}
		var live []*mapping
		failures := 0
		for step := 1; step <= 250; step++ {
			switch op := r.IntN(10); {
			case op < 5 || len(live) == 0:
				size := uint64(1 + r.IntN(3000))
				if r.IntN(4) == 0 {
					size = uint64(1 + r.IntN(100<<10))
				}
				k := &mapping{id: step, phys: 1<<30 + uint64(step)<<20 + uint64(r.IntN(8192)), sz: size, dir: kernel.Direction(r.IntN(3))}
				k.version = u.CPUWrite(k.phys, size)
				c := r.IntN(4)
				var err error
				run(c, func(th *cpu.Thread) { k.addr, err = m.Map(th, d, k.phys, size, k.dir, 0) })
				if !w.place(d, k, c) {
					failures++
					if !errors.Is(err, ErrFull) || k.addr != kernel.MappingError {
						t.Fatalf("seed %d step %d: %#x, %v; the twin finds no room", seed, step, k.addr, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("seed %d step %d: %v; the twin finds slot %d", seed, step, err, k.first)
				}
				off := offset(d, 0, k.phys)
				if want := p.slotAddr(k.first) + off; k.addr != want {
					t.Fatalf("seed %d step %d: at %#x, the twin at %#x", seed, step, k.addr, want)
				}
				live = append(live, k)
				for range 4 {
					b := uint64(r.IntN(int(size)))
					if at, ok := m.Original(k.addr + b); !ok || at != k.phys+b {
						t.Fatalf("seed %d step %d: byte %#x of the copy stands for %#x, %v; want %#x", seed, step, b, at, ok, k.phys+b)
					}
				}
				u.DeviceRead(k.addr, size, true, func(at uint64, got cache.Version) { // copied for every direction
					if got != k.version {
						t.Fatalf("seed %d step %d: the device reads version %d at %#x, want %d", seed, step, got, at, k.version)
					}
				})
			case op < 7: // the device writes, and perhaps the CPU looks
				k := live[r.IntN(len(live))]
				if k.dir == kernel.ToDevice || k.wrote != 0 {
					continue
				}
				k.from = uint64(r.IntN(int(k.sz)))
				k.to = k.from + 1 + uint64(r.IntN(int(k.sz-k.from)))
				k.wrote = u.DeviceWrite(k.addr+k.from, k.to-k.from, true)
				if r.IntN(2) == 0 {
					run(0, func(th *cpu.Thread) { m.SyncForCPU(th, d, k.addr, k.sz, k.dir) })
					k.arrived(t, u)
				}
			default:
				i := r.IntN(len(live))
				k := live[i]
				live = append(live[:i], live[i+1:]...)
				run(r.IntN(4), func(th *cpu.Thread) { m.Unmap(th, d, k.addr, k.sz, k.dir, 0) })
				k.arrived(t, u)
				for s := k.first; s < k.first+k.n; s++ {
					if w.owner[s] != k.id {
						t.Fatalf("seed %d step %d: slot %d belongs to %d", seed, step, s, w.owner[s])
					}
					w.owner[s] = 0
				}
			}
			w.compare(t, p)
		}
		for _, k := range live {
			run(0, func(th *cpu.Thread) { m.Unmap(th, d, k.addr, k.sz, k.dir, kernel.AttrSkipCPUSync) })
		}
		if n := p.Used(); n != 0 || m.total != 0 {
			t.Errorf("seed %d: %d slots stay taken, total_used %d", seed, n, m.total)
		}
		if failures == 0 {
			t.Errorf("seed %d: the pool was never full", seed)
		}
		p2 := newMem(t, e, 512<<10, 2).Boot()
		for i := range p.slots {
			if p.slots[i] != p2.slots[i] {
				t.Fatalf("seed %d: slot %d is %+v after everything was freed, at boot %+v", seed, i, p.slots[i], p2.slots[i])
			}
		}
	}
}

// place lets the twin do a map on CPU c.
func (w *twin) place(d *kernel.Device, k *mapping, c int) bool {
	off := offset(d, 0, k.phys)
	k.n = slotsFor(k.sz + off)
	align, stride := uint64(SlotSize-1), 1
	if d.MinAlign == 0 && k.sz >= 4096 {
		align, stride = 4095, 2
	}
	if d.MinAlign > align {
		stride = int(d.MinAlign>>SlotShift) + 1
	}
	ok := func(i int) bool {
		at := poolAt + uint64(i)<<SlotShift
		return at&align == 0 && at&d.MinAlign&^align == k.phys&d.MinAlign&^align
	}
	for i := range w.index {
		a := (c + i) % len(w.index)
		if k.first = w.find(a, k.n, ok, stride); k.first >= 0 {
			for s := range k.n {
				w.owner[k.first+s] = k.id
			}
			if w.index[a] = k.first - a*w.areaSlots + k.n; w.index[a] >= w.areaSlots {
				w.index[a] = 0
			}
			return true
		}
	}
	return false
}

// compare recounts the free slots.
func (w *twin) compare(t *testing.T, p *Pool) {
	used := 0
	for i := range p.slots {
		if got, want := int(p.slots[i].list), w.free(i); got != want {
			t.Fatalf("slot %d: %d free slots follow, recounted %d", i, got, want)
		}
		if w.owner[i] != 0 {
			used++
		} else if p.slots[i].orig != invalid {
			t.Fatalf("slot %d is free and stands for %#x", i, p.slots[i].orig)
		}
	}
	if got := p.Used(); got != used {
		t.Fatalf("%d slots in use, the twin says %d", got, used)
	}
}

// arrived checks the buffer after a sync for the CPU or an unmap: what the device wrote, and elsewhere what it held.
func (k *mapping) arrived(t *testing.T, u *cache.Truth) {
	t.Helper()
	u.CPURead(k.phys, k.sz, func(at uint64, got cache.Version) {
		want := k.version
		if off := at - k.phys; k.wrote != 0 && off >= k.from && off < k.to {
			want = k.wrote
		}
		if got != want {
			t.Fatalf("%v: byte %#x of %#x holds version %d, want %d", k.dir, at-k.phys, k.sz, got, want)
		}
	})
}

// A full pool refuses, and takes mappings again as soon as one is gone; the refusal changes nothing.
func TestFullAndRecovery(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		e := newEnv(v, 2)
		m := newMem(t, e, 1<<20, 2)
		d := e.NewDevice("0000:00:01.0", 8, ^uint64(0))
		run(1, func(th *cpu.Thread) {
			var addrs []uint64
			for {
				a, err := m.Map(th, d, 5<<30, 4096, kernel.ToDevice, 0)
				if err != nil {
					if !errors.Is(err, ErrFull) || len(addrs) != 256 {
						t.Errorf("%v: %v after %d mappings of a 1 MiB pool, want ErrFull after 256", v, err, len(addrs))
					}
					break
				}
				addrs = append(addrs, a)
			}
			if m.Stats.OtherArea != 128 || m.Used() != 512 {
				t.Errorf("%v: %d mappings from the other area, %d slots taken; want 128 and 512", v, m.Stats.OtherArea, m.Used())
			}
			m.Unmap(th, d, addrs[77], 4096, kernel.ToDevice, 0)
			if a, err := m.Map(th, d, 6<<30, 4096, kernel.ToDevice, 0); a != addrs[77] || err != nil {
				t.Errorf("%v: %#x, %v; want the slot that was freed, %#x", v, a, err, addrs[77])
			}
			if th.Depth() != 0 {
				t.Errorf("%v: %d functions did not return", v, th.Depth())
			}
		})
	}
}

// The largest mapping is a segment less the alignment; beyond that the whole pool is searched in vain.
func TestLargestMapping(t *testing.T) {
	for _, c := range []struct{ minAlign, want uint64 }{{0, 256 << 10}, {4095, 252 << 10}, {511, 254 << 10}} {
		e := newEnv(kernel.V7_3, 1)
		m := newMem(t, e, 2<<20, 1)
		d := e.NewDevice("0000:00:01.0", 8, ^uint64(0))
		d.MinAlign = c.minAlign
		if got := MaxMapping(d); got != c.want {
			t.Errorf("min_align_mask %d: %d bytes, want %d", c.minAlign, got, c.want)
		}
		worst := 5<<30 + c.minAlign // the most that alignment can take
		run(0, func(th *cpu.Thread) {
			if _, err := m.Map(th, d, worst, c.want, kernel.ToDevice, 0); err != nil {
				t.Errorf("min_align_mask %d: %d bytes: %v", c.minAlign, c.want, err)
			}
			if _, err := m.Map(th, d, worst, 256<<10+1, kernel.ToDevice, 0); !errors.Is(err, ErrTooLarge) {
				t.Errorf("min_align_mask %d: 256 KiB and a byte: %v, want ErrTooLarge", c.minAlign, err)
			}
		})
		if n := m.Used(); n < 126 || n > 128 {
			t.Errorf("min_align_mask %d: %d slots taken, want about a segment", c.minAlign, n)
		}
	}
}

// The copy of a device that does not reach the pool is undone again.
func TestPoolOutOfReach(t *testing.T) {
	e := newEnv(kernel.V7_3, 1)
	m := newMem(t, e, 1<<20, 1)
	d := e.NewDevice("0000:00:01.0", 8, 1<<24-1)
	run(0, func(th *cpu.Thread) {
		if _, err := m.Map(th, d, 5<<30, 4096, kernel.ToDevice, 0); !errors.Is(err, ErrNotCapable) || m.Used() != 0 {
			t.Errorf("%v with %d slots taken, want ErrNotCapable and none", err, m.Used())
		}
	})
}

// The first bounce ends the skipping of syncs for good.
func TestFirstBounceEndsSkipSync(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		e := newEnv(v, 1)
		m := newMem(t, e, 1<<20, 1)
		d := e.NewDevice("0000:00:01.0", 8, ^uint64(0))
		atomics := func() int {
			return recorded.Measure(run(0, func(th *cpu.Thread) { m.Map(th, d, 5<<30, 100, kernel.ToDevice, 0) })).Atomics
		}
		first, second := atomics(), atomics()
		want := 0
		if v == kernel.V7_3 {
			want = 1 // clear_bit; 6.12 stores
		}
		if !d.NeedSync || v == kernel.V7_3 && first-second != want {
			t.Errorf("%v: NeedSync %v, %d atomics in the first map, %d in the second", v, d.NeedSync, first, second)
		}
	}
}

// What 6.12 pays more per map and unmap: an atomic on one line for the whole pool.
func TestSharedCounterOnlyOn612(t *testing.T) {
	for v, want := range map[kernel.Version]int{kernel.V6_12: 2, kernel.V7_3: 0} {
		e := newEnv(v, 2)
		m := newMem(t, e, 1<<20, 2)
		d := e.NewDevice("0000:00:01.0", 8, ^uint64(0))
		n := 0
		ops := run(0, func(th *cpu.Thread) {
			m.Map(th, d, 5<<30, 4096, kernel.ToDevice, 0)
			a, _ := m.Map(th, d, 6<<30, 4096, kernel.ToDevice, 0)
			m.Unmap(th, d, a, 4096, kernel.ToDevice, 0)
			a, _ = m.Map(th, d, 6<<30, 4096, kernel.ToDevice, 0)
			_ = a
		})
		for _, o := range ops {
			if o.Class == cpu.Atomic && o.Addr == e.Sym.IoTlb+memTotalUsed {
				n++
			}
		}
		if want *= 2; n != want {
			t.Errorf("%v: %d atomic operations on total_used in three maps and an unmap, want %d", v, n, want)
		}
		if (e.Sym.IoTlb+memTotalUsed)>>6 != (e.Sym.IoTlb+memForce)>>6 {
			t.Error("the counter does not share the line of force_bounce")
		}
	}
}

// Highmem is copied page by page through temporary mappings, with interrupts off for each.
func TestHighmemPageByPage(t *testing.T) {
	e := kernel.NewEnv(kernel.Config{Version: kernel.V7_3, Arch: kernel.ARM32, CPUs: 1}, cache.NewMemory(), 1<<29)
	u := cache.NewTruth()
	e.Truth = u
	e.Linear = func(pa uint64) bool { return pa < 768<<20 }
	m, err := New(Config{Env: e, Start: 0x20000000 - 1<<20, Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	d := e.NewDevice("dev", 0, 1<<32-1)
	const phys, size = 5<<30 + 0x800, 10000
	want := u.CPUWrite(phys, size)
	ops := run(0, func(th *cpu.Thread) {
		th.ISA = cpu.A64
		a, err := m.Map(th, d, phys, size, kernel.FromDevice, 0)
		if err != nil {
			t.Fatal(err)
		}
		u.DeviceRead(a, size, true, func(at uint64, v cache.Version) {
			if v != want {
				t.Fatalf("version %d at %#x", v, at)
			}
		})
	})
	if f := recorded.Measure(ops).Function("__kmap_local_pfn_prot"); f == nil || f.Calls != 3 {
		t.Errorf("10000 bytes from the middle of a page: %+v, want 3 mappings", f)
	}
}

// A buffer that the linear map does not contain ends in the memcpy; a device's memory is copied and reported.
func TestHazardsOfTheCopy(t *testing.T) {
	for _, c := range []struct {
		name string
		phys uint64
		want []kernel.HazardKind
	}{{"RAM", 1 << 30, nil}, {"no linear map", 5 << 30, []kernel.HazardKind{kernel.PageFault}}, {"a BAR", 3 << 30, []kernel.HazardKind{kernel.BouncesDevice}}} {
		e := newEnv(kernel.V7_3, 1)
		var got []kernel.HazardKind
		e.OnHazard = func(h kernel.Hazard) {
			got = append(got, h.Kind)
			if h.Step != "swiotlb_bounce" {
				t.Errorf("%s: in %s", c.name, h.Step)
			}
		}
		e.Linear = func(pa uint64) bool { return pa < 4<<30 }
		e.DeviceMemory = func(pa uint64) bool { return pa>>30 == 3 }
		m := newMem(t, e, 1<<20, 1)
		d := e.NewDevice("0000:00:01.0", 8, ^uint64(0))
		run(0, func(th *cpu.Thread) { m.Map(th, d, c.phys, 4096, kernel.FromDevice, 0) })
		if len(got) != len(c.want) || len(got) > 0 && got[0] != c.want[0] {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
