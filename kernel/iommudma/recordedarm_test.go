package iommudma

import (
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/mm"
	"dmapath/kernel/recorded"
	"dmapath/kernel/swiotlb"
	"dmapath/kernel/timer"
)

// pageMap stands for the SMMU's driver where only what is above it is tested: a page table without hardware. Every method is one
// indirect call and its return.
type pageMap struct {
	entries map[uint64]uint64
	flushes int
}

var fnStandIn = cpu.NewFunc("stand-in", "test", 16)

func standIn(t *cpu.Thread, target cpu.Val) {
	t.CallInd(fnStandIn, target)
	t.Ret()
}

func (p *pageMap) MapPages(t *cpu.Thread, target cpu.Val, iova, phys, pgsize, count uint64, _ iommucore.Prot) (uint64, error) {
	standIn(t, target)
	for i := range pgsize * count / 4096 {
		p.entries[iova+i*4096] = phys + i*4096
	}
	return pgsize * count, nil
}

func (p *pageMap) UnmapPages(t *cpu.Thread, target cpu.Val, iova, pgsize, count uint64, g *iommucore.Gather) uint64 {
	standIn(t, target)
	for i := range pgsize * count / 4096 {
		delete(p.entries, iova+i*4096)
	}
	if !g.Queued {
		g.Start, g.End, g.PgSize = min(g.Start, iova), max(g.End, iova+pgsize*count-1), pgsize
	}
	return pgsize * count
}

func (p *pageMap) MapRange(*cpu.Thread, cpu.Val, uint64, uint64, uint64, iommucore.Prot) (uint64, error) {
	panic("not on arm64")
}

func (p *pageMap) UnmapRange(*cpu.Thread, cpu.Val, uint64, uint64, *iommucore.Gather) uint64 {
	panic("not on arm64")
}

func (p *pageMap) IovaToPhys(t *cpu.Thread, target cpu.Val, iova uint64) uint64 {
	standIn(t, target)
	pa, ok := p.entries[iova&^4095]
	if !ok {
		return 0
	}
	return pa | iova&4095
}

func (p *pageMap) SyncMap(*cpu.Thread, cpu.Val, bool, uint64, uint64) error { panic("null on arm64") }

func (p *pageMap) SyncTLB(t *cpu.Thread, target cpu.Val, g *iommucore.Gather) {
	standIn(t, target)
	p.flushes++
}

func (p *pageMap) FlushAll(t *cpu.Thread, target cpu.Val) { standIn(t, target); p.flushes++ }

func (p *pageMap) PutPages(t *cpu.Thread, l *iommucore.PageList) {}

// armRig is a device behind a pageMap.
type armRig struct {
	env   *kernel.Env
	dev   *kernel.Device
	layer *Layer
	k     *Cookie
	pages *pageMap
}

func newArmRig(t testing.TB, v kernel.Version, lazy bool) *armRig {
	t.Helper()
	env := kernel.NewEnv(kernel.Config{Version: v, Arch: kernel.ARM64, CPUs: 1, Coherent: true}, cache.NewMemory(), 4<<30)
	m := mm.New(env)
	r := &armRig{env: env, pages: &pageMap{entries: map[uint64]uint64{}}, layer: NewLayer()}
	va := env.Slab(512, 64)
	if v == kernel.V7_3 {
		va += 32
	}
	dom := iommucore.NewDomain(env, va, r.pages, 1<<12|1<<21|1<<30, 1<<48-1)
	pools, err := swiotlb.New(swiotlb.Default(env, 2<<30))
	if err != nil {
		t.Fatal(err)
	}
	r.k, err = New(Config{Env: env, Domain: dom, Lazy: lazy, Nodes: m.NewCache("iommu_iova", 40, 64),
		Magazines: m.NewCache("iommu_iova_magazine", 1024, 1024), Timers: timer.NewWheel(env, nil), Tlb: pools})
	if err != nil {
		t.Fatal(err)
	}
	r.dev = env.NewDevice("0000:00:01.0", 8, ^uint64(0))
	r.layer.Attach(r.dev, r.k)
	return r
}

// Every function of iommu-dma and of the IOMMU core executes on arm64 what was recorded, in strict and in lazy mode, for pages and
// for MMIO and for the two-step interface; what lies below (the SMMU's driver) is a stand-in.
func TestPathsMatchRecordingsOnArm64(t *testing.T) {
	const phys, mmio = 0x163456000, 0x10000000
	mapCall := func(pa uint64, dir kernel.Direction, attrs kernel.Attrs) func(*armRig, *cpu.Thread) uint64 {
		return func(r *armRig, th *cpu.Thread) uint64 {
			a, err := r.layer.Map(th, r.dev, pa, 4096, dir, attrs)
			if err != nil {
				t.Error(err)
			}
			return a
		}
	}
	unmapCall := func(dir kernel.Direction, attrs kernel.Attrs) func(*armRig, *cpu.Thread, uint64) {
		return func(r *armRig, th *cpu.Thread, a uint64) { r.layer.Unmap(th, r.dev, a, 4096, dir, attrs) }
	}
	for _, c := range []struct {
		v               kernel.Version
		lazy            bool
		mapKey, unmapOf string
		pa              uint64
		dir             kernel.Direction
		attrs           kernel.Attrs
	}{
		{kernel.V6_12, false, "map_page", "unmap_page", phys, kernel.FromDevice, 0},
		{kernel.V6_12, true, "map_page", "unmap_page", phys, kernel.FromDevice, 0},
		{kernel.V6_12, false, "map_single", "unmap_single", phys, kernel.ToDevice, 0},
		{kernel.V6_12, false, "map_resource", "unmap_resource", mmio, kernel.Bidirectional, kernel.AttrMMIO},
		{kernel.V6_12, true, "map_resource", "unmap_resource", mmio, kernel.Bidirectional, kernel.AttrMMIO},
		{kernel.V7_3, false, "map_phys", "unmap_phys", phys, kernel.FromDevice, 0},
		{kernel.V7_3, true, "map_phys", "unmap_phys", phys, kernel.FromDevice, 0},
		{kernel.V7_3, false, "map_single", "unmap_single", phys, kernel.ToDevice, 0},
		{kernel.V7_3, false, "map_phys_mmio", "unmap_phys_mmio", mmio, kernel.Bidirectional, kernel.AttrMMIO},
		{kernel.V7_3, true, "map_phys_mmio", "unmap_phys_mmio", mmio, kernel.Bidirectional, kernel.AttrMMIO},
	} {
		r := newArmRig(t, c.v, c.lazy)
		doMap, doUnmap := mapCall(c.pa, c.dir, c.attrs), unmapCall(c.dir, c.attrs)
		var addr uint64
		// Pairs until the flush queue's timer is armed and the magazines are filled.
		aops := recorded.RunWarmOn(kernel.ARM64, func(th *cpu.Thread) {
			for range 300 {
				doUnmap(r, th, doMap(r, th))
			}
		}, func(th *cpu.Thread) { addr = doMap(r, th) })
		uops := recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) { doUnmap(r, th, addr) })
		backend := map[bool]string{false: "iommu-strict", true: "iommu-lazy"}[c.lazy]
		prefix := c.v.String() + "-arm64/" + backend + "/"
		checkOwn(t, aops, prefix+c.mapKey+"/4096")
		checkOwn(t, uops, prefix+c.unmapOf+"/4096")
	}
	for _, size := range []uint64{4096, 32768, 131072} {
		r := newArmRig(t, kernel.V7_3, false)
		st := &State{VA: recorded.StackTop - 64}
		var ops [4][]cpu.Op
		for i, call := range []func(th *cpu.Thread){
			func(th *cpu.Thread) {
				if !r.layer.TryAlloc(th, r.dev, st, phys, size) {
					t.Error("no range")
				}
			},
			func(th *cpu.Thread) { r.layer.Link(th, r.dev, st, phys, 0, 4096, kernel.FromDevice, 0) },
			func(th *cpu.Thread) { r.layer.Sync(th, r.dev, st, 0, size) },
			func(th *cpu.Thread) { r.layer.Destroy(th, r.dev, st, size, kernel.FromDevice, 0) },
		} {
			warm := func(th *cpu.Thread) {}
			if i == 0 {
				warm = func(th *cpu.Thread) {
					r.layer.TryAlloc(th, r.dev, st, phys, size)
					r.layer.Free(th, r.dev, st)
				}
			}
			ops[i] = recorded.RunWarmOn(kernel.ARM64, warm, call)
		}
		for i, api := range []string{"iova_try_alloc", "iova_link", "iova_sync", "iova_destroy"} {
			checkOwn(t, ops[i], "7.3-arm64/iommu-strict/"+api+"/"+map[uint64]string{4096: "4096", 32768: "32768", 131072: "131072"}[size])
		}
	}
}

// checkOwn compares every function that ops executed, the stand-in apart.
func checkOwn(t *testing.T, ops []cpu.Op, key string) {
	t.Helper()
	want, err := recorded.Load(key)
	if err != nil {
		t.Fatal(err)
	}
	got := recorded.Measure(ops)
	for i := range got.Functions {
		g := &got.Functions[i]
		w := want.Function(g.Name)
		if g.Name == "stand-in" || g.Name == "(none)" {
			continue
		}
		if w == nil || g.Calls != w.Calls || g.Instructions != w.Instructions || g.Loads != w.Loads || g.Stores != w.Stores ||
			w.Branches >= 0 && (g.Branches != w.Branches || g.Atomics != w.Atomics || g.Fences != w.Fences || g.IrqFlags != w.IrqFlags) {
			if w == nil {
				w = &recorded.Function{}
			}
			t.Errorf("%s: %s:\n%+v, recorded\n%+v", key, g.Name, *g, *w)
		}
	}
}
