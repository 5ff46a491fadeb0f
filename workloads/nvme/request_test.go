package nvme

import (
	"fmt"
	"runtime"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/pcie"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// whole is the driver of a kernel with one I/O at a time on fast media.
func whole(t testing.TB, v kernel.Version, size int, l workloads.Layout) Config {
	name := "map_page@" + v.String()
	page, err := dma.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	c := config(page)
	c.Driver, c.Layout, c.Size, c.Depth, c.Media = true, l, size, 1, constant(sim.Microsecond)
	return c
}

// counts is what one I/O makes the kernel do.
type counts struct {
	mempool, dmaPool int // allocations
	sg               int // scatterlist entries filled
	iova             int // allocations of I/O addresses
	tree             int // of them, from the red-black tree
	maps             int // map_pages (6.12), map_range (7.3)
	syncMaps         int // iotlb_sync_map
	ptes             int // entries written by maps
	unmaps           int // unmap_pages, unmap_range
	invalidations    int // requests submitted to the invalidation queue
}

// perIO runs 24 and 48 I/Os and divides the difference: what happens once (tables, magazines) is not in it.
func perIO(t *testing.T, c Config, b platform.Backend) counts {
	t.Helper()
	run := func(n int64) (k counts) {
		m, dev, _ := machine(t, c.Variant.Name(), b, 1)
		at := map[string]*int{"mempool_alloc_noprof": &k.mempool, "dma_pool_alloc": &k.dmaPool, "alloc_iova_fast": &k.iova, "intel_iommu_map_pages": &k.maps,
			"vtdss_map_range": &k.maps, "intel_iommu_iotlb_sync_map": &k.syncMaps, "intel_iommu_unmap_pages": &k.unmaps, "vtdss_unmap_range": &k.unmaps,
			"qi_submit_sync": &k.invalidations}
		tables := map[string]bool{"intel_iommu_map_pages": true, "__map_single_page1.isra.0": true, "__map_range_leaf": true}
		c.IOs = n
		c.tap = func(ops []cpu.Op) {
			for i := range ops {
				o := &ops[i]
				f := cpu.FuncByID(o.Fn)
				if o.PC == f.PC && at[f.Name] != nil {
					*at[f.Name]++
				}
				if f.Name == "__blk_rq_map_sg" && o.Class == cpu.Store && o.Size == 8 && o.Flag == 0 {
					k.sg++
				}
				inRAM := o.Addr >= cpu.DirectMapBase && o.Addr < cpu.DirectMapBase+1<<40
				if tables[f.Name] && (o.Class == cpu.Store || o.Class == cpu.RMW) && o.Size == 8 && inRAM {
					k.ptes++
				}
			}
		}
		c.moved = func(*request, uint64, int) {}
		if _, err := Run(m, dev, c); err != nil {
			t.Fatal(err)
		}
		k.tree = int(dev.Cookie.IOVA.Stats.Tree)
		return k
	}
	a, z := run(24), run(48)
	per := func(x, y int) int {
		if (y-x)%24 != 0 {
			t.Errorf("%d in 24 I/Os and %d in 48: no whole number for each", x, y)
		}
		return (y - x) / 24
	}
	return counts{per(a.mempool, z.mempool), per(a.dmaPool, z.dmaPool), per(a.sg, z.sg), per(a.iova, z.iova), per(a.tree, z.tree), per(a.maps, z.maps), per(a.syncMaps, z.syncMaps),
		per(a.ptes, z.ptes), per(a.unmaps, z.unmaps), per(a.invalidations, z.invalidations)}
}

// What one request does, row by row (linux-dma-paths, section 11.1): 4 KiB pages, coherent, trusted, PRPs unless said otherwise.
func TestOperationsOfARequest(t *testing.T) {
	const v12, v73 = kernel.V6_12, kernel.V7_3
	type row struct {
		size   int
		layout workloads.Layout
		v      kernel.Version
		sgl    bool
		strict counts
		lazy   int // invalidations in lazy mode
		offset int // of the first page
	}
	s, c := workloads.Scattered, workloads.Contiguous
	rows := []row{
		{4096, s, v12, false, counts{iova: 1, maps: 1, syncMaps: 1, ptes: 1, unmaps: 1, invalidations: 1}, 0, 0},
		{4096, s, v73, false, counts{iova: 1, maps: 1, syncMaps: 1, ptes: 1, unmaps: 1, invalidations: 1}, 0, 0},
		{8192, c, v12, false, counts{iova: 1, maps: 1, syncMaps: 1, ptes: 2, unmaps: 1, invalidations: 1}, 0, 0},
		{8192, c, v73, false, counts{iova: 1, maps: 1, syncMaps: 1, ptes: 2, unmaps: 1, invalidations: 1}, 0, 0},
		{16384, s, v12, false, counts{mempool: 1, dmaPool: 1, sg: 4, iova: 1, maps: 4, syncMaps: 1, ptes: 4, unmaps: 1, invalidations: 1}, 0, 0},
		{16384, s, v73, false, counts{dmaPool: 1, iova: 1, maps: 4, syncMaps: 1, ptes: 4, unmaps: 1, invalidations: 1}, 1, 0},
		{65536, s, v12, false, counts{mempool: 1, dmaPool: 1, sg: 16, iova: 1, maps: 16, syncMaps: 1, ptes: 16, unmaps: 1, invalidations: 1}, 0, 0},
		{65536, s, v73, false, counts{dmaPool: 1, iova: 1, maps: 16, syncMaps: 1, ptes: 16, unmaps: 1, invalidations: 1}, 1, 0},
		{65536, c, v12, false, counts{mempool: 1, dmaPool: 1, sg: 1, iova: 1, maps: 1, syncMaps: 1, ptes: 16, unmaps: 1, invalidations: 1}, 0, 0},
		{65536, c, v73, false, counts{dmaPool: 1, iova: 1, maps: 1, syncMaps: 1, ptes: 16, unmaps: 1, invalidations: 1}, 1, 0},
		{65536, c, v12, true, counts{iova: 1, maps: 1, syncMaps: 1, ptes: 16, unmaps: 1, invalidations: 1}, 0, 0},
		{65536, c, v73, true, counts{iova: 1, maps: 1, syncMaps: 1, ptes: 16, unmaps: 1, invalidations: 1}, 0, 0},
		{131072, s, v12, false, counts{mempool: 1, dmaPool: 1, sg: 32, iova: 1, maps: 32, syncMaps: 1, ptes: 32, unmaps: 1, invalidations: 1}, 0, 0},
		{131072, s, v73, false, counts{dmaPool: 1, iova: 1, maps: 32, syncMaps: 1, ptes: 32, unmaps: 1, invalidations: 1}, 1, 0},
		{131072, s, v12, false, counts{mempool: 1, dmaPool: 1, sg: 33, iova: 1, tree: 1, maps: 33, syncMaps: 1, ptes: 33, unmaps: 1, invalidations: 1}, 0, 512},
		{131072, s, v73, false, counts{dmaPool: 1, iova: 1, tree: 1, maps: 33, syncMaps: 1, ptes: 33, unmaps: 1, invalidations: 1}, 1, 512},
	}
	for _, r := range rows {
		t.Run(fmt.Sprintf("%d/%s/%v/sgl=%v", r.size, r.layout, r.v, r.sgl), func(t *testing.T) {
			cfg := whole(t, r.v, r.size, r.layout)
			cfg.SGL, cfg.Offset = r.sgl, r.offset
			if got := perIO(t, cfg, platform.IommuStrict); got != r.strict {
				t.Errorf("strict: %+v\nwant    %+v", got, r.strict)
			}
			if got := perIO(t, cfg, platform.IommuLazy).invalidations; got != r.lazy {
				t.Errorf("lazy: %d invalidations, want %d", got, r.lazy)
			}
		})
	}
}

// PRP lists hold all pages but the first, and only when there are more than two; large segments are lists of segments when the
// controller takes them, and one segment is in the command itself.
func TestListsOfARequest(t *testing.T) {
	for _, c := range []struct {
		size       int
		layout     workloads.Layout
		sgl        bool
		prps, sgl2 int
	}{
		{4096, workloads.Scattered, true, 1, 0},
		{8192, workloads.Scattered, true, 2, 0},
		{16384, workloads.Scattered, true, 4, 0},
		{131072, workloads.Scattered, true, 32, 0},
		{65536, workloads.Contiguous, false, 16, 0},
		{65536, workloads.Contiguous, true, 0, 1},
	} {
		for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
			for _, b := range []platform.Backend{platform.Direct, platform.IommuStrict} {
				cfg := whole(t, v, c.size, c.layout)
				cfg.SGL, cfg.IOs = c.sgl, 64
				m, dev, _ := machine(t, cfg.Variant.Name(), b, 1)
				pieces := map[*request]int{}
				cfg.moved = func(r *request, _ uint64, n int) { pieces[r]++ }
				r, err := Run(m, dev, cfg)
				if err != nil {
					t.Fatal(err)
				}
				got := 0
				for _, n := range pieces {
					got += n
				}
				if want := (c.prps + c.sgl2) * 64; got != want || r.Requests != 64 {
					t.Errorf("%d %s, SGL %v, %v on %s: %d pieces moved in %d requests, want %d in 64", c.size, c.layout, c.sgl, v, b, got, r.Requests, want)
				}
			}
		}
	}
}

// With dma-direct 6.12 maps and unmaps a scatterlist; 7.3 maps every segment and unmaps nothing, except where one segment is
// the whole request.
func TestDirectCalls(t *testing.T) {
	for _, c := range []struct {
		size int
		v    kernel.Version
		want map[workloads.Call]int64 // for each I/O
	}{
		{4096, kernel.V6_12, map[workloads.Call]int64{workloads.CallMap: 1, workloads.CallUnmap: 1}},
		{4096, kernel.V7_3, map[workloads.Call]int64{workloads.CallMap: 1, workloads.CallUnmap: 1}},
		{65536, kernel.V6_12, map[workloads.Call]int64{workloads.CallMapSG: 1, workloads.CallUnmapSG: 1}},
		{65536, kernel.V7_3, map[workloads.Call]int64{workloads.CallAlloc: 1, workloads.CallMap: 16}},
		{1 << 20, kernel.V6_12, map[workloads.Call]int64{workloads.CallMapSG: 2, workloads.CallUnmapSG: 2}}, // 128 segments to a request
		{1 << 20, kernel.V7_3, map[workloads.Call]int64{workloads.CallAlloc: 1, workloads.CallMap: 256}},
	} {
		cfg := whole(t, c.v, c.size, workloads.Scattered)
		cfg.IOs = 64
		r := run(t, cfg, platform.Direct)
		for k, n := range r.Calls {
			if want := 64 * c.want[workloads.Call(k)]; n != want {
				t.Errorf("%d bytes on %v: %d calls of %v, want %d", c.size, c.v, n, workloads.Call(k), want)
			}
		}
	}
}

// A large I/O is split into requests of 128 KiB behind an IOMMU (dma_opt_mapping_size), and into as many as segments demand
// without.
func TestSplitting(t *testing.T) {
	for _, c := range []struct {
		v        kernel.Version
		b        platform.Backend
		layout   workloads.Layout
		requests int64
	}{
		{kernel.V6_12, platform.IommuStrict, workloads.Scattered, 8},
		{kernel.V7_3, platform.IommuStrict, workloads.Scattered, 8},
		{kernel.V6_12, platform.IommuLazy, workloads.Contiguous, 8},
		{kernel.V6_12, platform.Direct, workloads.Scattered, 2},
		{kernel.V7_3, platform.Direct, workloads.Scattered, 1},
		{kernel.V6_12, platform.Direct, workloads.Contiguous, 1},
		{kernel.V7_3, platform.SwiotlbForce, workloads.Contiguous, 5}, // 252 KiB bounce at once with min_align_mask 4095
	} {
		cfg := whole(t, c.v, 1<<20, c.layout)
		cfg.IOs, cfg.Depth = 24, 4
		r := run(t, cfg, c.b)
		if r.IOs != 24 || r.Bytes != 24<<20 || r.Requests != 24*c.requests {
			t.Errorf("%v %s %s: %d I/Os of %d bytes in %d requests, want %d requests", c.v, c.b, c.layout, r.IOs, r.Bytes, r.Requests, 24*c.requests)
		}
		if u := r.Units[0]; u.Cycles.N != 24 || u.Calls.N != 24 {
			t.Errorf("%v %s: costs of %d I/Os", c.v, c.b, u.Cycles.N)
		}
	}
}

// seen is memory that remembers which physical addresses a device touched.
type seen struct {
	*cache.Hierarchy
	at []uint64 // physical pieces: address, length
}

func (s *seen) DeviceRead(pa uint64, n int, now sim.Time) (sim.Time, cache.Level) {
	s.at = append(s.at, pa, uint64(n))
	return s.Hierarchy.DeviceRead(pa, n, now)
}

func (s *seen) DeviceWrite(pa uint64, n int, now sim.Time) sim.Time {
	s.at = append(s.at, pa, uint64(n))
	return s.Hierarchy.DeviceWrite(pa, n, now)
}

// Every byte of every I/O reaches its place: what the device moves, after translation by the simulated unit, are the physical
// addresses of the request's segments, in order, whatever the driver, the backend, the layout and the kind of list.
func TestDataReachesEverySegment(t *testing.T) {
	n := 0
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, b := range []platform.Backend{platform.Direct, platform.IommuStrict, platform.IommuLazy} {
			for _, l := range workloads.Layouts {
				for _, size := range []int{512, 12288, 1 << 20} {
					reach(t, v, b, workloads.Layout(l), size, n%2 == 0) // every layout and size with and without SGLs and offset
					n++
				}
			}
		}
	}
}

func reach(t *testing.T, v kernel.Version, b platform.Backend, l workloads.Layout, size int, sgl bool) {
	cfg := whole(t, v, size, l)
	cfg.SGL, cfg.IOs, cfg.Depth, cfg.WritePercent = sgl, 3, 3, 50
	if sgl {
		cfg.Offset = 1536
	}
	m, dev, _ := machine(t, cfg.Variant.Name(), b, 1)
	mem := &seen{Hierarchy: m.Hier}
	var tr pcie.Translator
	if m.Unit != nil {
		tr = m.Unit
	}
	port, err := pcie.NewPort(dev.Port.Config(), tr, mem)
	if err != nil {
		t.Fatal(err)
	}
	if m.Unit != nil {
		m.Unit.Drain(port)
	}
	dev.Port = port
	where := fmt.Sprintf("%v %s %s %d SGL %v", v, b, l, size, sgl)
	done := map[*request]uint64{}
	var total int
	cfg.moved = func(r *request, addr uint64, n int) {
		total += n
		// The pieces that memory saw for this move are the last ones, n bytes of them.
		i, got := len(mem.at), 0
		for got < n {
			i -= 2
			got += int(mem.at[i+1])
		}
		off := done[r]
		for ; i < len(mem.at); i += 2 {
			at, left := off, mem.at[i+1]
			if phys, ok := m.Tlb.Original(mem.at[i]); ok { // bounced
				mem.at[i] = phys
			}
			for _, run := range r.runs {
				if at < run.Size {
					if mem.at[i] != run.Phys+at || left > run.Size-at {
						t.Fatalf("%s: byte %d of the request was moved at %#x, it lies at %#x", where, off, mem.at[i], run.Phys+at)
					}
					break
				}
				at -= run.Size
			}
			off += left
		}
		if done[r] = off; off == r.size {
			done[r] = 0
		}
		mem.at = mem.at[:0]
	}
	r, err := Run(m, dev, cfg)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if total != 3*size || r.Faults != 0 {
		t.Errorf("%s: %d bytes moved, want %d; %d faults", where, total, 3*size, r.Faults)
	}
}

// Nothing stays behind: every pool has its blocks back, and with strict invalidation nothing stays mapped but the rings and pools.
func TestDriversMemoryDoesNotGrow(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		frames := func(ios int64) int {
			cfg := whole(t, v, 128<<10, workloads.Mixed)
			cfg.IOs, cfg.Depth = ios, 8
			m, dev, _ := machine(t, cfg.Variant.Name(), platform.IommuStrict, 1)
			if _, err := Run(m, dev, cfg); err != nil {
				t.Fatal(err)
			}
			if s := dev.Cookie.Stats; s.NotMapped != 0 || s.Failures != 0 {
				t.Errorf("%v: %+v", v, s)
			}
			return m.Mem.Frames()
		}
		if few, many := frames(60), frames(400); many > few+few/20 {
			t.Errorf("%v: %d frames of memory after 60 I/Os, %d after 400", v, few, many)
		}
	}
}

// Pages that are neighbours by chance are one segment on 6.12, which maps it as a page; 7.3 counts pages and joins them in its iterator,
// as the event traces of both kernels show.
func TestNeighboursAreOneSegmentOn612(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		cfg := whole(t, v, 8192, workloads.Mixed)
		cfg.SGL, cfg.IOs = true, 100
		one := 0
		cfg.moved = func(r *request, _ uint64, n int) {
			if len(r.runs) == 1 && r.runs[0].Phys&4095 == 0 && n == 4096 && r.size == 8192 {
				one++
			}
		}
		r := run(t, cfg, platform.IommuStrict)
		joined := int64(one / 2) // two PRPs for each
		if joined == 0 || joined == 100 {
			t.Fatalf("%v: %d of 100 I/Os are one run", v, joined)
		}
		want := [workloads.NumCalls]int64{workloads.CallMap: joined, workloads.CallUnmap: joined, workloads.CallMapSG: 100 - joined, workloads.CallUnmapSG: 100 - joined}
		if v == kernel.V7_3 {
			want = [workloads.NumCalls]int64{workloads.CallAlloc: 100, workloads.CallLink: 200 - joined, workloads.CallSyncIOVA: 100, workloads.CallDestroy: 100}
		}
		if r.Calls != want {
			t.Errorf("%v: calls %v, want %v", v, r.Calls, want)
		}
	}
}

// The host allocates nothing for an I/O: twelve hundred more of them cost next to nothing.
func TestDriversAllocateNothing(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		mallocs := func(ios int64) uint64 {
			cfg := whole(t, v, 32<<10, workloads.Scattered)
			cfg.IOs, cfg.Depth = ios, 4
			m, dev, _ := machine(t, cfg.Variant.Name(), platform.IommuStrict, 1)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := Run(m, dev, cfg); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			return after.Mallocs - before.Mallocs
		}
		few, many := mallocs(300), mallocs(1500)
		if many > few+300 { // maps of simulated memory and histograms still grow a little
			t.Errorf("%v: %d host allocations for 300 I/Os, %d for 1500", v, few, many)
		}
	}
}
