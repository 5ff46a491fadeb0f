package iommudma_test

import (
	"slices"
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommudma"
	"dmapath/kernel/recorded"
)

// many maps n pages and returns their addresses.
func (m *machine) many(tb testing.TB, th *cpu.Thread, n int) []uint64 {
	a := make([]uint64, n)
	for i := range a {
		var err error
		if a[i], err = m.l.Map(th, m.dev, page+uint64(i)<<12, 4096, kernel.FromDevice, 0); err != nil {
			tb.Fatal(err)
		}
	}
	return a
}

func (m *machine) unmapAll(th *cpu.Thread, a []uint64) {
	for _, x := range a {
		m.l.Unmap(th, m.dev, x, 4096, kernel.FromDevice, 0)
	}
}

// The slow variants of the recordings: magazines that run empty or full, the depot and its work, the flush timer.
func TestSlowVariantsAgreeWithTheRecordings(t *testing.T) {
	const notShaped = "alloc_iova_fast alloc_iova free_iova_fast __iommu_dma_unmap iommu_dma_free_iova fq_ring_free_locked mod_timer " +
		"__mod_timer lock_timer_base detach_if_pending calc_wheel_index enqueue_timer __msecs_to_jiffies queue_delayed_work_on " +
		"__queue_delayed_work clear_pending_if_disabled housekeeping_enabled add_timer_global _raw_spin_lock _raw_spin_unlock"
	for _, c := range []struct {
		key  string
		warm func(m *machine, th *cpu.Thread) func(th *cpu.Thread)
	}{
		// 400 maps without an unmap: both magazines and the depot are empty.
		{"6.12/iommu-strict/burst_map_page/4096/variant0", burstMap(50)},
		{"7.3/iommu-strict/burst_map_page/4096/variant0", burstMap(50)},
		// 400 unmaps after that: the 255th finds both magazines full.
		{"6.12/iommu-strict/burst_unmap_page/4096/variant1", burstUnmap(254)},
		// 7.3 allocates a magazine when the first is full and keeps that one.
		{"7.3/iommu-strict/burst_unmap_page/4096/variant1", burstUnmap(127)},
		{"7.3/iommu-strict/cold_unmap_page/4096/variant1", burstUnmap(0)},
		// The first entry of a flush queue arms the timer.
		{"6.12/iommu-lazy/burst_unmap_page/4096/variant1", burstUnmap(0)},
		{"6.12/iommu-lazy/run_unmap_page/4096/variant1", burstUnmap(0)},
		{"7.3/iommu-lazy/burst_unmap_page/4096/variant1", burstUnmap(0)},
		{"7.3/iommu-lazy/run_unmap_page/4096/variant1", burstUnmap(0)},
	} {
		t.Run(strings.ReplaceAll(c.key, "/", " "), func(t *testing.T) {
			m := boot(t, version(c.key), 2, strings.Contains(c.key, "lazy"))
			var body func(th *cpu.Thread)
			ops := recorded.RunWarm(func(th *cpu.Thread) { body = c.warm(m, th) }, func(th *cpu.Thread) { body(th) })
			names := strings.Fields(notShaped)
			// What arming costs follows from the other timers of the machine: whether the wheel must be turned first, and
			// whether one of them is due earlier. Here there are none.
			if strings.Contains(c.key, "burst") {
				names = slices.DeleteFunc(names, func(n string) bool { return n == "__mod_timer" })
			}
			if strings.Contains(c.key, "6.12/iommu-strict/burst") || strings.Contains(c.key, "7.3/iommu-lazy/run") {
				names = slices.DeleteFunc(names, func(n string) bool { return n == "enqueue_timer" })
			}
			compare(t, ops, c.key, names...)
		})
	}
}

func burstMap(n int) func(*machine, *cpu.Thread) func(*cpu.Thread) {
	return func(m *machine, th *cpu.Thread) func(*cpu.Thread) {
		a := m.many(nil, th, 1)
		m.unmapAll(th, a) // there is a magazine, and it is empty again
		for i := 0; i < n; i++ {
			m.l.Map(th, m.dev, page, 4096, kernel.FromDevice, 0)
		}
		return func(th *cpu.Thread) { m.l.Map(th, m.dev, page, 4096, kernel.FromDevice, 0) }
	}
}

func burstUnmap(n int) func(*machine, *cpu.Thread) func(*cpu.Thread) {
	return func(m *machine, th *cpu.Thread) func(*cpu.Thread) {
		var a []uint64
		for i := 0; i <= n; i++ {
			x, _ := m.l.Map(th, m.dev, page, 4096, kernel.FromDevice, 0)
			a = append(a, x)
		}
		m.unmapAll(th, a[:n])
		return func(th *cpu.Thread) { m.unmapAll(th, a[n:]) }
	}
}

// The two-step interface executes what was recorded, call by call.
func TestTwoStepInterfaceAgreesWithTheRecordings(t *testing.T) {
	for _, size := range []uint64{4096, 131072} {
		m := boot(t, kernel.V7_3, 2, false)
		st := &iommudma.State{VA: m.env.Slab(64, 64) + 32}
		alloc := func(th *cpu.Thread) {
			if !m.l.TryAlloc(th, m.dev, st, page, size) {
				t.Fatal("no addresses")
			}
		}
		link := func(th *cpu.Thread) {
			if err := m.l.Link(th, m.dev, st, page, 0, 4096, kernel.FromDevice, 0); err != nil {
				t.Fatal(err)
			}
		}
		sync := func(th *cpu.Thread) {
			if err := m.l.Sync(th, m.dev, st, 0, size); err != nil {
				t.Fatal(err)
			}
		}
		rest := func(th *cpu.Thread) {
			for o := uint64(4096); o < size; o += 4096 {
				if err := m.l.Link(th, m.dev, st, page+o, o, 4096, kernel.FromDevice, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		destroy := func(th *cpu.Thread) { m.l.Destroy(th, m.dev, st, size, kernel.FromDevice, 0) }
		all := func(th *cpu.Thread) {
			for i := 0; i < 3; i++ {
				alloc(th)
				link(th)
				rest(th)
				destroy(th)
			}
		}
		key := func(api string, n uint64) string {
			return "7.3/iommu-strict/" + api + "/" + map[uint64]string{4096: "4096", 131072: "131072"}[n]
		}
		compare(t, recorded.RunWarm(all, alloc), key("iova_try_alloc", size), ours...)
		compare(t, recorded.Run(link), key("iova_link", 4096), ours...)
		recorded.Run(rest)
		compare(t, recorded.Run(sync), key("iova_sync", size), ours...)
		compare(t, recorded.Run(destroy), key("iova_destroy", size), ours...)
		if st.Size != size || len(m.drv.pages) != 0 {
			t.Errorf("%d bytes: %d pages stay mapped", size, len(m.drv.pages))
		}
	}
}

// Without an IOMMU the two-step interface declines, and callers map piece by piece.
func TestTryAllocDeclinesWithoutIOMMU(t *testing.T) {
	m := boot(t, kernel.V7_3, 1, false)
	dev := m.env.NewDevice("0000:00:02.0", 16, 1<<64-1)
	st := &iommudma.State{VA: m.env.Slab(64, 64)}
	ops := recorded.Run(func(th *cpu.Thread) {
		if m.l.TryAlloc(th, dev, st, page, 4096) {
			t.Error("a device on dma-direct got I/O addresses")
		}
	})
	recorded.CheckFunction(t, ops, "7.3/direct/iova_try_alloc/4096", "dma_iova_try_alloc", recorded.Tolerance{Function: 0.05})
}
