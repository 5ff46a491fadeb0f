package hazard

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"dmapath/cpu"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/iommudma"
	"dmapath/kernel/oracle"
	"dmapath/kernel/swiotlb"
	"dmapath/kernel/vtd"
	"dmapath/platform"
	"dmapath/sim"
)

// checks bounds the random sequences of a test. rapid prints the seed of one that fails.
func checks(n int) {
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		f.Value.Set(fmt.Sprint(n))
	}
}

// step is one thing that a driver or a device does; what its numbers choose from depends on the moment.
type step struct {
	Kind, Variant, Dir, CPU, Dev, Which int
	Page, Offset, Size                  uint64
}

func drawSteps(t *rapid.T) []step {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		n := func(hi int, what string) int { return rapid.IntRange(0, hi).Draw(t, what) }
		s := step{Kind: n(9, "kind"), Variant: n(99, "variant"), Dir: n(2, "dir"), CPU: n(1, "cpu"), Dev: n(1, "device"), Which: n(1<<20, "which"),
			Page: rapid.Uint64Range(0, 1<<14).Draw(t, "page"), Offset: rapid.Uint64Range(0, 4095).Draw(t, "offset")}
		s.Size = rapid.OneOf(rapid.Uint64Range(1, 4096), rapid.Uint64Range(1, 64<<10), rapid.Uint64Range(1, 300<<10)).Draw(t, "size")
		return s
	}), 1, 40).Draw(t, "steps")
}

// world is a machine with two devices, each with an oracle of its own, and the mappings that a plain list says are live.
type world struct {
	m        *platform.Machine
	backend  Backend
	dev      [2]*platform.Device
	o        [2]*oracle.Oracle
	cpus     [2]*cpu.Thread
	quiet    *cpu.Thread // executes functionally
	variants []dma.Variant
	base     uint64
	live     []*life
	dead     []*life
	bad      []string
}

// life is one mapping with what undoes it.
type life struct {
	*oracle.Mapping
	v   dma.Variant
	dev int
	b   dma.Buffer
}

func newWorld(s *platform.Spec, b Backend, v kernel.Version) (*world, error) {
	m, err := platform.Build(s, platform.Options{Version: v, Backend: b.platform, CPUs: 2, Seed: 1})
	if err != nil {
		return nil, err
	}
	w := &world{m: m, backend: b, base: uint64(s.Memory.HoleTop)}
	report := func(h kernel.Hazard) { w.fail("%v", h) }
	truth := m.Watch(report)
	for i := range w.dev {
		if w.dev[i], err = m.AddDevice(fmt.Sprintf("0000:0%d:00.0", i+1), uint16(i+1)<<8); err != nil {
			return nil, err
		}
		if b.setUp != nil {
			b.setUp(w.dev[i])
		}
		w.o[i] = oracle.New(oracle.Config{Truth: truth, Bus: w.dev[i], Granule: b.granule, DeviceMemory: m.Env.DeviceMemory,
			Bounced: func(pa uint64) bool { return m.Tlb.Find(pa) != nil }, Peer: w.o[0], Report: report})
	}
	for _, x := range dma.Variants() {
		if _, list := x.(dma.Lister); x.Version() == v && !list && dma.MemoryOf(x) == dma.AnyMemory {
			w.variants = append(w.variants, x)
		}
	}
	return w, nil
}

func (w *world) fail(format string, a ...any) { w.bad = append(w.bad, fmt.Sprintf(format, a...)) }

// play runs body with the threads of both CPUs and returns what was found.
func (w *world) play(body func()) ([]string, error) {
	w.m.Eng.Go("driver", func(p *sim.Proc) {
		w.cpus = [2]*cpu.Thread{w.m.Thread(p, 0), w.m.Thread(p, 1)}
		w.quiet = cpu.NewThread(p, 0, nil, cpu.NewStream(cpu.PerCPUBase+1<<32, cpu.MitNone))
		w.quiet.ISA = w.m.Env.Arch.ISA()
		body()
		w.m.Eng.Stop()
	})
	return w.bad, w.m.Run()
}

// mapOne maps, and returns nil when the kernel refuses for a reason that expected accepts.
func (w *world) mapOne(s step, expected func(error) bool) *life {
	pa := w.base + s.Page<<12 + s.Offset
	b := dma.Buffer{Phys: pa, Page: w.m.PageOf(pa), Size: s.Size}
	v := w.variants[s.Variant%len(w.variants)]
	dir := kernel.Direction(s.Dir)
	t := w.cpus[s.CPU]
	if w.m.Env.Truth != nil {
		w.o[s.Dev].CPUWrite(pa, s.Size)
	}
	addr, err := v.Map(t, w.dev[s.Dev].Ctx, b, dir, 0)
	t.Sync()
	if err != nil {
		if !expected(err) {
			w.fail("%s of %d bytes: %v", v.Name(), s.Size, err)
		}
		return nil
	}
	l := &life{w.o[s.Dev].Map(v.Name(), addr, pa, s.Size, dir), v, s.Dev, b}
	w.live = append(w.live, l)
	return l
}

func (w *world) unmap(i, c int) {
	l, t := w.live[i], w.cpus[c]
	w.live = slices.Delete(w.live, i, i+1)
	if err := l.v.Unmap(t, w.dev[l.dev].Ctx, l.Addr, l.Size, l.Dir, 0); err != nil {
		w.fail("unmap of %#x: %v", l.Addr, err)
	}
	t.Sync()
	w.o[l.dev].Unmap("unmap", l.Mapping)
	w.dead = append(w.dead, l)
}

// shared reports whether a buffer shares a page with one that is mapped, as those of two drivers would not.
func (w *world) shared(s step) bool {
	first := w.base + s.Page<<12
	end := (first + s.Offset + s.Size + 4095) &^ 4095
	return slices.ContainsFunc(w.live, func(x *life) bool { return x.Phys < end && first < (x.Phys+x.Size+4095)&^4095 })
}

// transfer lets the device use the first and the last bytes of a mapping.
func (w *world) transfer(l *life) {
	o := w.o[l.dev]
	for _, off := range []uint64{0, l.Size - min(l.Size, 64)} {
		n := min(l.Size-off, 64)
		if l.Dir != kernel.FromDevice {
			o.DeviceRead(l.Mapping, off, n)
		}
		if l.Dir != kernel.ToDevice {
			o.DeviceWrite(l.Mapping, off, n)
		}
	}
}

// checkTables compares the page tables with the list of live mappings: every page of a mapping leads to its memory, no two mappings of a
// device share a page, what was unmapped is gone, and (VT-d) the tables contain nothing else.
func (w *world) checkTables() {
	for d, dev := range w.dev {
		if dev.Cookie == nil {
			continue
		}
		want := map[uint64]uint64{}
		for _, l := range w.live {
			if l.dev != d {
				continue
			}
			for a := l.Addr &^ 4095; a < l.Addr+l.Size; a += 4096 {
				if _, twice := want[a]; twice {
					w.fail("two live mappings of device %d share the page at %#x", d, a)
				}
				want[a] = l.Phys - l.Addr + a
			}
		}
		dom := dev.Cookie.Domain()
		for a, pa := range want {
			if got := dom.IovaToPhys(w.quiet, a); got != pa && w.m.Tlb.Find(got) == nil {
				w.fail("device %d: %#x leads to %#x, want %#x", d, a, got, pa)
			}
			w.quiet.Sync()
		}
		for _, l := range w.dead {
			for a := l.Addr &^ 4095; l.dev == d && a < l.Addr+l.Size; a += 4096 {
				if _, again := want[a]; !again && dom.IovaToPhys(w.quiet, a) != 0 {
					w.fail("device %d: %#x is unmapped and leads to %#x", d, a, dom.IovaToPhys(w.quiet, a))
				}
				w.quiet.Sync()
			}
		}
		if x, ok := dom.Driver().(*vtd.Domain); ok {
			got := map[uint64]bool{}
			w.leaves(x.Root(), 0, x.Levels(), got)
			for a := range got {
				if _, ok := want[a]; !ok {
					w.fail("device %d: the table has an entry for %#x, which is not mapped", d, a)
				}
			}
			if len(got) != len(want) {
				w.fail("device %d: %d pages in the table, %d are mapped", d, len(got), len(want))
			}
		}
	}
}

// leaves collects the 4 KiB pages that a second-stage table maps.
func (w *world) leaves(at, iova uint64, level int, got map[uint64]bool) {
	rules := table.NewRules(table.SecondStage, 46, table.Page2M|table.Page1G, true, false)
	for i := range uint64(512) {
		k, next, _ := rules.Decode(w.m.Mem.Read64(at+i*8), level)
		a := iova | i<<table.Shift(level)
		switch {
		case k == table.Table:
			w.leaves(next, a, level-1, got)
		case k == table.Leaf:
			for off := uint64(0); off < 1<<table.Shift(level); off += 4096 {
				got[a+off] = true
			}
		}
	}
}

// checkDead lets the devices try the last n buffers that were unmapped: the first byte, the last, and one between.
func (w *world) checkDead(n int, why string) {
	for _, l := range w.dead[max(len(w.dead)-n, 0):] {
		for _, off := range []uint64{0, l.Size / 2, l.Size - 1} {
			if v, _ := w.o[l.dev].Judge(l.Addr+off, false); v != oracle.Freed {
				continue // mapped again, or beside what is
			}
			w.o[l.dev].Access(l.Addr+off, 1, false)
			w.o[l.dev].Access(l.Addr+off, 1, true)
		}
	}
	if len(w.bad) > 0 {
		w.fail("that was %s", why)
	}
}

// inUse counts I/O address ranges and bounce slots in use.
func (w *world) inUse() (ranges, slots int) {
	for _, dev := range w.dev {
		x := &observer{dev: dev}
		ranges += x.inUse()
	}
	return ranges, w.m.Tlb.Used()
}

// Random sequences of maps, unmaps in any order and on either CPU, and transfers, with every variant of either kernel: no hazard, no
// two live mappings overlap, the tables equal a plain list of what is mapped, after a strict unmap the device gets nowhere, and in
// the end nothing is left in tables, allocator and pool.
func TestRandomSequences(t *testing.T) {
	checks(15)
	s := icelake(t)
	for _, name := range []string{"direct", "direct-nc", "swiotlb", "strict", "lazy", "ats", "untrusted", "amd", "amd-lazy", "smmu", "smmu-lazy", "strict-nc",
		"ops-gart", "ops-grant", "arm32-nc", "arm32-tlb"} {
		for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
			b := backendNamed(t, name)
			spec, err := b.machine(s)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(name+" "+v.String(), func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) {
					steps := drawSteps(t)
					w, err := newWorld(spec, b, v)
					if err != nil {
						t.Fatal(err)
					}
					defer w.m.Close()
					bad, err := w.play(func() { w.random(steps) })
					if err != nil {
						t.Fatal(err)
					}
					if len(bad) > 0 {
						t.Fatalf("%s", bad[0])
					}
				})
			})
		}
	}
}

func backendNamed(t *testing.T, name string) Backend {
	t.Helper()
	for _, b := range Backends() {
		if b.Name == name {
			return b
		}
	}
	t.Fatalf("no backend %s", name)
	return Backend{}
}

func (w *world) random(steps []step) {
	ranges, slots := w.inUse()
	tooLarge := func(err error) bool { return errors.Is(err, swiotlb.ErrTooLarge) }
	for _, s := range steps {
		if w.backend.platform.Provider() {
			s.Dev = 0 // all devices share the aperture or the grants
		}
		switch {
		case s.Kind < 5 || len(w.live) == 0:
			if !w.shared(s) {
				w.mapOne(s, tooLarge)
			}
		case s.Kind < 8:
			w.unmap(s.Which%len(w.live), s.CPU)
			if w.backend.granule > 0 && w.backend.platform != platform.IommuLazy {
				w.checkDead(4, "right after a strict unmap")
			}
		default:
			w.transfer(w.live[s.Which%len(w.live)])
		}
		if len(w.bad) > 0 {
			return
		}
	}
	w.checkTables()
	for len(w.live) > 0 {
		w.unmap(0, 0)
	}
	w.cpus[0].WaitUntil(cpu.StallIdle, w.cpus[0].Now()+settling)
	w.cpus[0].Sync()
	w.checkTables()
	if w.backend.granule > 0 {
		w.checkDead(len(w.dead), "after everything was flushed")
	}
	if r, n := w.inUse(); w.backend.granule > 0 && r > ranges || n != slots {
		w.fail("%d ranges of I/O addresses and %d slots in use, before there were %d and %d", r, n, ranges, slots)
	}
}

// fill maps until the kernel refuses, and checks that the refusal has the reason that the kernel has, that nothing that is mapped suffered,
// and that one unmap makes room for one map.
func fill(t *testing.T, backend string, v kernel.Version, size uint64, mask uint64, reason func(error) bool) (mapped int) {
	t.Helper()
	b := backendNamed(t, backend)
	w, err := newWorld(icelake(t), b, v)
	if err != nil {
		t.Fatal(err)
	}
	defer w.m.Close()
	for i := range w.dev {
		w.dev[i].Ctx.Dev.Mask = mask
	}
	w.m.Env.Truth = nil // 64 MiB byte by byte would take long; where the device gets is looked at, not what it finds
	bad, err := w.play(func() {
		if backend == "swiotlb" {
			w.cpus[0].Core, w.cpus[1].Core = nil, nil // nor through the caches
		}
		full := false
		at := func(i int) step {
			return step{Page: uint64(i) * (size + 4095) >> 12, Size: size, Dir: int(kernel.ToDevice)}
		}
		for i := 0; !full && i < 100_000; i++ {
			before := len(w.live)
			full = w.mapOne(at(i), reason) == nil && len(w.live) == before
		}
		if !full {
			w.fail("never full")
		}
		mapped = len(w.live)
		w.checkTables()
		for _, i := range []int{0, mapped / 2, mapped - 1} {
			l := w.live[i]
			if got := w.o[0].Access(l.Addr, l.Size, false); got.Allowed != l.Size {
				w.fail("%+v of mapping %d of %d", got, i, mapped)
			}
		}
		w.unmap(mapped/2, 1)
		w.cpus[0].WaitUntil(cpu.StallIdle, w.cpus[0].Now()+settling)
		if w.mapOne(at(200_000), func(error) bool { return false }) == nil {
			w.fail("no room after an unmap")
		}
		w.checkTables()
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(bad) > 0 {
		t.Fatalf("%s, %v: %s", backend, v, bad[0])
	}
	return mapped
}

// I/O addresses run out: a device that reaches 16 MiB has room for 255 buffers of 64 KiB, one page being kept from page 0.
func TestIOVAsRunOut(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, b := range []string{"strict", "lazy"} {
			n := fill(t, b, v, 64<<10, 16<<20-1, func(err error) bool { return errors.Is(err, iommudma.ErrNoIOVA) })
			if n < 250 || n > 255 {
				t.Errorf("%s, %v: %d buffers of 64 KiB in 16 MiB of I/O addresses", b, v, n)
			}
		}
	}
}

// The bounce pool fills up: 64 MiB are 1024 buffers of 64 KiB.
func TestPoolFillsUp(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		n := fill(t, "swiotlb", v, 64<<10, ^uint64(0), func(err error) bool { return errors.Is(err, swiotlb.ErrFull) })
		if n != 1024 {
			t.Errorf("%v: %d buffers of 64 KiB in a pool of 64 MiB", v, n)
		}
	}
}

// A full flush queue flushes on the spot: 255 unmapped buffers wait in it within reach of the device, and the 256th unmap ends that for all
// of them, itself included, long before the timer would.
func TestFlushQueueFillsUp(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		w, err := newWorld(icelake(t), backendNamed(t, "lazy"), v)
		if err != nil {
			t.Fatal(err)
		}
		bad, err := w.play(func() {
			for i := range 256 {
				w.mapOne(step{Page: uint64(i), Size: 4096, Dir: int(kernel.ToDevice)}, func(error) bool { return false })
			}
			w.transfer(w.live[254]) // the one that is tried below: it has the IOTLB's entry
			for range 255 {
				w.unmap(0, 0)
			}
			last := w.dead[254].Addr
			flushes := func() uint64 { return w.dev[0].Cookie.Stats.Flushes }
			if _, _, ok := w.dev[0].Reach(last, false); !ok || flushes() != 0 {
				w.fail("after 255 unmaps: the device reaches the last buffer: %v, %d flushes", ok, flushes())
			}
			w.unmap(0, 0)
			if _, _, ok := w.dev[0].Reach(last, false); ok || flushes() != 1 {
				w.fail("after 256 unmaps: the device reaches the buffer before: %v, %d flushes", ok, flushes())
			}
			w.checkDead(256, "after the flush")
			w.checkTables()
		})
		w.m.Close()
		if err != nil || len(bad) > 0 {
			t.Fatal(err, bad)
		}
	}
}
