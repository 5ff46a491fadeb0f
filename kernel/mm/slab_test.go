package mm

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
	"dmapath/sim"
)

func newMM(t testing.TB, v kernel.Version, cpus int) *MM {
	t.Helper()
	e := kernel.NewEnv(kernel.Config{Version: v, CPUs: cpus, MemEncrypt: true, Coherent: true}, cache.NewMemory(), 1<<30)
	return New(e)
}

// The fast paths cost what the recordings say, instruction for instruction.
func TestSlabFastPathsMatchRecordings(t *testing.T) {
	for _, c := range []struct {
		v      kernel.Version
		symbol string
		key    string
		free   bool
		size   int
	}{
		{kernel.V6_12, "kmem_cache_alloc_noprof", "6.12/iommu-strict/map_page/2097152", false, 64},
		{kernel.V6_12, "memset_orig", "6.12/iommu-strict/map_page/2097152", false, 64},
		{kernel.V6_12, "memset_orig", "6.12/iommu-strict/burst_unmap_page/4096/variant1", false, 1024},
		{kernel.V6_12, "kmem_cache_free", "6.12/iommu-strict/unmap_page/2097152", true, 64},
		{kernel.V7_3, "kmem_cache_alloc_noprof", "7.3/iommu-strict/map_phys/2097152", false, 64},
		{kernel.V7_3, "memset_orig", "7.3/iommu-strict/map_phys/2097152", false, 64},
		{kernel.V7_3, "kmem_cache_free", "7.3/iommu-strict/unmap_phys/2097152", true, 64},
	} {
		t.Run(c.v.String()+"/"+c.symbol, func(t *testing.T) {
			m := newMM(t, c.v, 1)
			k := m.NewCache("iommu_iova", c.size, 64)
			var obj uint64
			warm := func(th *cpu.Thread) {
				k.Free(th, k.Alloc(th))
				if c.free {
					obj = k.Alloc(th)
				}
			}
			ops := recorded.RunWarm(warm, func(th *cpu.Thread) {
				if c.free {
					k.Free(th, obj)
				} else {
					k.Alloc(th)
				}
			})
			recorded.CheckFunction(t, ops, c.key, c.symbol, recorded.Exact)
		})
	}
}

// The slow path of 6.12 that was recorded: the CPU's slab is exhausted and one of its partial slabs takes its place.
func TestSlabSlowPath612MatchesRecording(t *testing.T) {
	m := newMM(t, kernel.V6_12, 1)
	k := m.NewCache("iommu_iova", 64, 64)
	var last []uint64
	warm := func(th *cpu.Thread) {
		// two full slabs, one of which gets a free object and so becomes a per-CPU partial slab
		for range 2 * k.perSlab {
			last = append(last, k.Alloc(th))
		}
		k.Free(th, last[0])
	}
	ops := recorded.RunWarm(warm, func(th *cpu.Thread) { k.Alloc(th) })
	recorded.CheckFunction(t, ops, "6.12/iommu-lazy/burst_map_page/4096/variant2", "___slab_alloc", recorded.Exact)
	recorded.CheckFunction(t, ops, "6.12/iommu-lazy/burst_map_page/4096/variant2", "kmem_cache_alloc_noprof", recorded.Exact)
}

// The slow path of 7.3 that was recorded: main and spare sheaf are empty, the barn has none, one slab gives its last
// four objects and a new slab the other 56.
func TestSlabSlowPath73NearRecording(t *testing.T) {
	m := newMM(t, kernel.V7_3, 1)
	k := m.NewCache("iommu_iova", 64, 64)
	n := 0
	th := func(t *cpu.Thread) {
		for range 60 {
			k.Alloc(t)
			n++
		}
	}
	ops := recorded.RunWarm(th, func(t *cpu.Thread) { k.Alloc(t) })
	key := "7.3/iommu-lazy/cold_map_page/4096/variant1"
	for _, f := range []string{"__pcs_replace_empty_main", "barn_replace_empty_sheaf", "refill_objects", "__refill_objects_node",
		"slab_update_freelist", "__list_del_entry_valid_or_report", "mempolicy_slab_node", "allocate_slab",
		"get_page_from_freelist", "__rmqueue_pcplist", "post_alloc_hook", "clear_highpages_kasan_tagged",
		"mod_node_page_state", "__get_random_u32_below", "get_random_u32", "alloc_from_new_slab", "build_slab_freelist", "next_slab_obj", "__list_add_valid_or_report"} {
		recorded.CheckFunction(t, ops, key, f, recorded.Tolerance{Function: 0.05})
	}
	if t.Failed() {
		c, _ := recorded.Load(key)
		t.Log("\n" + recorded.Table(recorded.Measure(ops), c))
	}
}

// Page allocation of both kernels, as recorded when the IOMMU driver allocates a page-table page.
func TestPageAllocationNearRecordings(t *testing.T) {
	for _, c := range []struct {
		v   kernel.Version
		key string
		fns []string
	}{
		{kernel.V6_12, "6.12/iommu-strict/cold_map_page/4096/variant1", []string{"__alloc_pages_noprof", "get_page_from_freelist",
			"cond_accept_memory", "__rmqueue_pcplist", "__list_del_entry_valid_or_report", "clear_page_erms"}},
		{kernel.V7_3, "7.3/iommu-strict/cold_map_page/4096/variant1", []string{"__alloc_frozen_pages_noprof", "get_page_from_freelist",
			"__rmqueue_pcplist", "__list_del_entry_valid_or_report", "post_alloc_hook", "clear_highpages_kasan_tagged"}},
	} {
		m := newMM(t, c.v, 1)
		ops := recorded.RunWarm(func(th *cpu.Thread) { m.AllocPages(th, 0) }, func(th *cpu.Thread) { m.AllocPages(th, 0) })
		for _, f := range c.fns {
			recorded.CheckFunction(t, ops, c.key, f, recorded.Tolerance{Function: 0.03})
		}
		ops = recorded.Run(func(th *cpu.Thread) { m.ModNodePageState(th) })
		if c.v == kernel.V6_12 {
			recorded.CheckFunction(t, ops, c.key, "mod_node_page_state", recorded.Exact)
		}
	}
}

// Random allocations and frees on random CPUs never hand out an object twice, never lose one, and reuse memory: the
// cache ends with the slabs that its peak needed.
func TestSlabAgainstSetOfObjects(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, size := range []int{64, 1024} {
			const cpus = 3
			m := newMM(t, v, cpus)
			k := m.NewCache("test", size, 64)
			r := rand.New(rand.NewPCG(uint64(size), uint64(v)))
			live := map[uint64]bool{}
			var order []uint64
			peak := 0
			recorded.Run(func(th *cpu.Thread) {
				th.Tap = nil
				for i := range 10000 {
					th.Sync()
					th.CPU = r.IntN(cpus)
					up := i/2000%2 == 0 // alternately growing and shrinking
					if len(order) == 0 || r.IntN(10) < 3 != up {
						o := k.Alloc(th)
						if live[o] {
							t.Fatalf("%v, %d bytes: object %#x handed out twice", v, size, o)
						}
						if o%64 != 0 {
							t.Fatalf("%v: object %#x is not aligned", v, o)
						}
						live[o] = true
						order = append(order, o)
						peak = max(peak, len(order))
					} else {
						j := r.IntN(len(order))
						o := order[j]
						order[j] = order[len(order)-1]
						order = order[:len(order)-1]
						delete(live, o)
						k.Free(th, o)
					}
				}
			})
			// per CPU a slab and partial ones (6.12) or two sheaves (7.3) and the barn's ten may lie unused
			spare := cpus*(2+k.cpuPartialSlabsOf(v)) + 25
			if got, limit := k.Slabs(), 3*peak/k.perSlab+spare; got > limit {
				t.Errorf("%v, %d bytes: %d slabs for a peak of %d objects (%d per slab), limit %d", v, size, got, peak, k.perSlab, limit)
			}
			if th := k.Stats; th.Alloc-th.Free != uint64(len(live)) {
				t.Errorf("%v: %d allocated - %d freed, %d live", v, th.Alloc, th.Free, len(live))
			}
		}
	}
}

// Four CPUs allocate and free, also each other's objects, with time passing between any two segments: objects stay
// unique, and locks of the node are really contended.
func TestSlabUnderContention(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, size := range []int{64, 1024} {
			m := newMM(t, v, 4)
			k := m.NewCache("test", size, 64)
			live := map[uint64]bool{}
			var pool []uint64
			e := sim.NewEngine()
			for c := range 4 {
				r := rand.New(rand.NewPCG(uint64(c), uint64(size)))
				e.Go(fmt.Sprint("cpu", c), func(p *sim.Proc) {
					th := cpu.NewThread(p, c, nil, cpu.NewStream(recorded.StackTop+uint64(c)<<16, cpu.MitNone))
					th.Tap = func([]cpu.Op) { p.SleepUntil(p.Now() + 1 + sim.Time(r.IntN(100))) }
					for i := range 6000 {
						if grow := i/300%2 == 0; len(pool) == 0 || r.IntN(10) < 2 != grow {
							o := k.Alloc(th)
							if live[o] {
								panic(fmt.Sprintf("%v, %d bytes: object %#x handed out twice", v, size, o))
							}
							live[o] = true
							pool = append(pool, o)
						} else {
							j := r.IntN(len(pool))
							o := pool[j]
							pool[j] = pool[len(pool)-1]
							pool = pool[:len(pool)-1]
							delete(live, o)
							k.Free(th, o)
						}
						th.Sync()
					}
				})
			}
			if err := e.Run(sim.Never); err != nil {
				t.Fatal(err)
			}
			e.Close()
			if k.Stats.Alloc-k.Stats.Free != uint64(len(live)) {
				t.Errorf("%v: %+v with %d live", v, k.Stats, len(live))
			}
			t.Logf("%v, %d bytes: list lock taken %d times, contended %d", v, size, k.node.lock.Acquired, k.node.lock.Contended)
			if k.node.lock.Acquired == 0 {
				t.Errorf("%v, %d bytes: the list lock was never taken", v, size)
			}
		}
	}
}

func (c *Cache) cpuPartialSlabsOf(v kernel.Version) int {
	if v == kernel.V6_12 {
		return c.cpuPartialSlabs()
	}
	return 10
}

// The object freed last is the one allocated next, on both versions: its line is still warm.
func TestSlabReusesLastFreedObject(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		m := newMM(t, v, 1)
		k := m.NewCache("test", 64, 64)
		recorded.Run(func(th *cpu.Thread) {
			k.Alloc(th)
			a := k.Alloc(th)
			k.Free(th, a)
			if b := k.Alloc(th); a != b {
				t.Errorf("%v: freed %#x, then got %#x", v, a, b)
			}
		})
	}
}

// TestSteadyStateAllocatesNothing on the host: a warm pair of calls.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		m := newMM(t, v, 1)
		k := m.NewCache("test", 64, 64)
		recorded.Run(func(th *cpu.Thread) {
			th.Tap = nil
			for range 200 {
				k.Free(th, k.Alloc(th))
				th.Sync()
			}
			if n := testing.AllocsPerRun(1000, func() { k.Free(th, k.Alloc(th)); th.Sync() }); n != 0 {
				t.Errorf("%v: %v host allocations per pair", v, n)
			}
		})
	}
}
