package iommudma_test

import (
	"slices"
	"strings"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommudma"
	"dmapath/kernel/iova"
	"dmapath/kernel/mm"
	"dmapath/kernel/recorded"
	"dmapath/kernel/swiotlb"
	"dmapath/kernel/timer"
	"dmapath/sim"
)

// tables is a driver whose page table is a Go map. It emits one call and return per operation, so that the functions
// above it can be compared with their recordings.
type tables struct {
	pages      map[uint64]uint64
	flushes    int
	syncs      int
	freed      int
	failMap    bool
	prot       iommucore.Prot // of the last map
	failAfter  int            // map calls that succeed before one fails; 0: no failure
	onFlush    func(t *cpu.Thread)
	listOfPage bool // every unmap leaves a table page to be freed
}

var fnDriver = cpu.NewFunc("test_driver", "iommudma_test.go", 64)

func (d *tables) emit(t *cpu.Thread, target cpu.Val) {
	t.CallInd(fnDriver, target)
	t.Ret()
}

func (d *tables) mapIt(iova, phys, size uint64) (uint64, error) {
	if d.failAfter == 1 {
		return 0, iommucore.ENOMEM
	} else if d.failAfter > 1 {
		d.failAfter--
	}
	if d.failMap {
		return 0, iommucore.ENOMEM
	}
	for o := uint64(0); o < size; o += 4096 {
		if _, ok := d.pages[iova+o]; ok {
			return o, iommucore.EADDRINUSE
		}
		d.pages[iova+o] = phys + o
	}
	return size, nil
}

func (d *tables) unmapIt(iova, size uint64, g *iommucore.Gather) uint64 {
	for o := uint64(0); o < size; o += 4096 {
		if _, ok := d.pages[iova+o]; !ok {
			return o
		}
		delete(d.pages, iova+o)
	}
	if d.listOfPage {
		g.Freelist.Add(0xffff888000001000)
	}
	g.Start, g.End = iova, iova+size-1
	return size
}

func (d *tables) MapPages(t *cpu.Thread, target cpu.Val, iova, phys, pgsize, n uint64, prot iommucore.Prot) (uint64, error) {
	d.prot = prot
	d.emit(t, target)
	return d.mapIt(iova, phys, pgsize*n)
}

func (d *tables) UnmapPages(t *cpu.Thread, target cpu.Val, iova, pgsize, n uint64, g *iommucore.Gather) uint64 {
	d.emit(t, target)
	return d.unmapIt(iova, pgsize*n, g)
}

func (d *tables) MapRange(t *cpu.Thread, target cpu.Val, iova, phys, size uint64, prot iommucore.Prot) (uint64, error) {
	d.prot = prot
	d.emit(t, target)
	return d.mapIt(iova, phys, size)
}

func (d *tables) UnmapRange(t *cpu.Thread, target cpu.Val, iova, size uint64, g *iommucore.Gather) uint64 {
	d.emit(t, target)
	return d.unmapIt(iova, size, g)
}

func (d *tables) IovaToPhys(t *cpu.Thread, target cpu.Val, iova uint64) uint64 {
	if t.ISA == cpu.A64 {
		d.emit(t, target)
	} else {
		t.TailCall(fnDriver)
		t.Ret()
	}
	p, ok := d.pages[iova&^4095]
	if !ok {
		return 0
	}
	return p + iova&4095
}

func (d *tables) SyncMap(t *cpu.Thread, target cpu.Val, tail bool, iova, size uint64) error {
	if tail {
		t.TailCall(fnDriver)
		t.Ret()
	} else {
		d.emit(t, target)
	}
	return nil
}

func (d *tables) SyncTLB(t *cpu.Thread, target cpu.Val, g *iommucore.Gather) {
	d.emit(t, target)
	d.syncs++
	g.Freelist.Pages = g.Freelist.Pages[:0]
}

func (d *tables) FlushAll(t *cpu.Thread, target cpu.Val) {
	d.emit(t, target)
	d.flushes++
	if d.onFlush != nil {
		d.onFlush(t)
	}
}

func (d *tables) PutPages(t *cpu.Thread, l *iommucore.PageList) { d.freed += len(l.Pages) }

// machine is a booted kernel with one device on one domain.
type machine struct {
	env   *kernel.Env
	drv   *tables
	dev   *kernel.Device
	k     *iommudma.Cookie
	l     *iommudma.Layer
	pools *swiotlb.Mem
	run   func(at sim.Time, fn func(t *cpu.Thread))
}

func boot(tb testing.TB, v kernel.Version, cpus int, lazy bool) *machine {
	tb.Helper()
	return bootArch(tb, v, kernel.X86_64, cpus, lazy)
}

func bootArch(tb testing.TB, v kernel.Version, a kernel.Arch, cpus int, lazy bool) *machine {
	tb.Helper()
	m := &machine{drv: &tables{pages: map[uint64]uint64{}}, l: iommudma.NewLayer()}
	m.env = kernel.NewEnv(kernel.Config{Version: v, Arch: a, CPUs: cpus, Coherent: true}, cache.NewMemory(), 1<<32)
	mem := mm.New(m.env)
	dom := iommucore.NewDomain(m.env, m.env.Slab(512, 64)+160, m.drv, 4096|1<<21|1<<30, 1<<48-1)
	w := timer.NewWheel(m.env, func(c int, at sim.Time, fn func(t *cpu.Thread)) {
		if m.run != nil {
			m.run(at, fn)
		}
	})
	m.pools = pools(m.env)
	k, err := iommudma.New(iommudma.Config{Env: m.env, Domain: dom, Lazy: lazy, Timers: w,
		Nodes: mem.NewCache("iommu_iova", 40, 64), Magazines: mem.NewCache("iommu_iova_magazine", 1024, 1024),
		Reserved: [][2]uint64{{0xfee00000, 0xfeefffff}}, Tlb: m.pools})
	if err != nil {
		tb.Fatal(err)
	}
	var _ iova.Slab = mem.NewCache("x", 64, 64)
	m.k = k
	m.dev = m.env.NewDevice("0000:00:01.0", 8, 1<<64-1)
	m.l.Attach(m.dev, k)
	return m
}

// compare reports the functions of this package, of iova and of timer that differ from the recording.
func compare(t *testing.T, ops []cpu.Op, key string, names ...string) {
	t.Helper()
	want, err := recorded.Load(key)
	if err != nil {
		t.Fatal(err)
	}
	got := recorded.Measure(ops)
	if testing.Verbose() {
		t.Log(key + "\n" + recorded.Table(got, want))
	}
	for _, n := range names {
		if want.Function(n) == nil {
			continue
		}
		recorded.CheckFunction(t, ops, key, n, recorded.Exact)
	}
}

var ours = strings.Fields(`iommu_dma_map_page iommu_dma_map_phys iommu_dma_map_resource __iommu_dma_map iommu_dma_alloc_iova
	iommu_get_dma_domain alloc_iova_fast alloc_iova rb_prev rb_insert_color free_iova_fast free_iova remove_iova rb_next rb_erase
	iommu_dma_unmap_page iommu_dma_unmap_phys iommu_dma_unmap_resource __iommu_dma_unmap iommu_dma_free_iova fq_ring_free_locked
	mod_timer __mod_timer lock_timer_base detach_if_pending calc_wheel_index enqueue_timer __msecs_to_jiffies
	queue_delayed_work_on __queue_delayed_work clear_pending_if_disabled housekeeping_enabled add_timer_global
	dma_iova_try_alloc dma_iova_link dma_iova_sync dma_iova_unlink dma_iova_free dma_iova_destroy`)

// shaped are functions whose path follows the shape of the tree; package iova compares them on the recorded shape.
const shaped = "alloc_iova free_iova rb_prev rb_next rb_insert_color rb_erase remove_iova"

const page = 0x123456000

func version(key string) kernel.Version {
	if strings.HasPrefix(key, "7.3") {
		return kernel.V7_3
	}
	return kernel.V6_12
}

// A warm map and unmap execute what the recorded kernel executed, function by function.
func TestWarmPairAgreesWithTheRecordings(t *testing.T) {
	for _, c := range []struct {
		key   string
		dir   kernel.Direction
		attrs kernel.Attrs
		unmap bool
		size  uint64
		live  int // mappings of the same size that stay
	}{
		{"6.12/iommu-strict/map_page/4096", kernel.FromDevice, 0, false, 4096, 0},
		{"6.12/iommu-strict/unmap_page/4096", kernel.FromDevice, 0, true, 4096, 0},
		{"6.12/iommu-strict/map_page/2097152", kernel.FromDevice, 0, false, 2 << 20, 0},
		{"6.12/iommu-strict/unmap_page/2097152", kernel.FromDevice, 0, true, 2 << 20, 0},
		{"6.12/iommu-strict/map_resource/4096", kernel.Bidirectional, kernel.AttrMMIO, false, 4096, 0},
		{"6.12/iommu-strict/unmap_resource/4096", kernel.Bidirectional, kernel.AttrMMIO, true, 4096, 0},
		{"6.12/iommu-lazy/map_page/4096", kernel.FromDevice, 0, false, 4096, 0},
		{"6.12/iommu-lazy/unmap_page/4096", kernel.FromDevice, 0, true, 4096, 0},
		{"6.12/iommu-lazy/unmap_page/2097152", kernel.FromDevice, 0, true, 2 << 20, 0},
		{"7.3/iommu-strict/map_phys/4096", kernel.FromDevice, 0, false, 4096, 0},
		{"7.3/iommu-strict/unmap_phys/4096", kernel.FromDevice, 0, true, 4096, 0},
		{"7.3/iommu-strict/map_phys/2097152", kernel.FromDevice, 0, false, 2 << 20, 0},
		{"7.3/iommu-strict/unmap_phys/2097152", kernel.FromDevice, 0, true, 2 << 20, 0},
		{"7.3/iommu-strict/map_phys_mmio/4096", kernel.Bidirectional, kernel.AttrMMIO, false, 4096, 0},
		{"7.3/iommu-strict/unmap_phys_mmio/4096", kernel.Bidirectional, kernel.AttrMMIO, true, 4096, 0},
		{"7.3/iommu-lazy/map_phys/4096", kernel.FromDevice, 0, false, 4096, 0},
		{"7.3/iommu-lazy/unmap_phys/4096", kernel.FromDevice, 0, true, 4096, 0},
		{"7.3/iommu-lazy/unmap_phys/2097152", kernel.FromDevice, 0, true, 2 << 20, 0},
	} {
		t.Run(strings.ReplaceAll(c.key, "/", " "), func(t *testing.T) {
			m := boot(t, version(c.key), 2, strings.Contains(c.key, "lazy"))
			var a uint64
			doMap := func(th *cpu.Thread) {
				var err error
				if a, err = m.l.Map(th, m.dev, page, c.size, c.dir, c.attrs); err != nil {
					t.Fatal(err)
				}
			}
			doUnmap := func(th *cpu.Thread) { m.l.Unmap(th, m.dev, a, c.size, c.dir, c.attrs) }
			ops := recorded.RunWarm(func(th *cpu.Thread) {
				// The recorder's own buffers keep two ranges allocated; a 2 MiB range goes next to them.
				for i := 0; i < 2; i++ {
					if _, err := m.l.Map(th, m.dev, page+uint64(i+1)<<24, 33*4096, c.dir, 0); err != nil {
						t.Fatal(err)
					}
				}
				pairs := 30
				if m.k.Lazy() {
					pairs = 400 // fills the flush queue once, so that ranges come back
				}
				for i := 0; i < pairs; i++ {
					doMap(th)
					doUnmap(th)
				}
				if c.unmap {
					doMap(th)
				}
			}, func(th *cpu.Thread) {
				if c.unmap {
					doUnmap(th)
				} else {
					doMap(th)
				}
			})
			names := ours
			if c.size > 32*4096 {
				names = slices.DeleteFunc(slices.Clone(ours), func(n string) bool { return strings.Contains(shaped, n) })
			}
			compare(t, ops, c.key, names...)
		})
	}
}

// pools are the 64 MiB of bounce buffers of the recorded machine.
func pools(e *kernel.Env) *swiotlb.Mem {
	m, err := swiotlb.New(swiotlb.Default(e, 0xb4000000))
	if err != nil {
		panic(err)
	}
	return m
}
