package mm

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
)

var models = []Model{SparseVmemmap, SparseExtreme, Sparse, Flat}

func configured(t testing.TB, v kernel.Version, cfg Config) *MM {
	t.Helper()
	e := kernel.NewEnv(kernel.Config{Version: v, CPUs: 1}, cache.NewMemory(), 8<<40)
	m, err := NewConfigured(e, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// validTwin says whether frame pfn has a struct page by going through the ranges of the map, as the documentation of
// each implementation describes it, without tables.
func validTwin(cfg Config, pfn uint64) bool {
	section := func(r Range) bool { // any part of the range in the frame's section
		s := pfn << 12 &^ (SectionSize - 1)
		return r.Start < s+SectionSize && s < r.End()
	}
	subsection := func(r Range) bool {
		s := pfn << 12 &^ (SubsectionSize - 1)
		return r.Start < s+SubsectionSize && s < r.End()
	}
	var end uint64
	bootSection, inBoot, later, window := false, false, false, false
	for _, r := range cfg.Map {
		switch {
		case r.Kind.boot():
			end = max(end, r.End())
			bootSection = bootSection || section(r)
			inBoot = inBoot || pfn<<12-r.Start < r.Size
			w := pfn << 12 &^ (4<<20 - 1)
			window = window || r.Start < w+4<<20 && w < r.End()
		case r.Kind == HotRAM || r.Kind == ZoneDevice:
			if cfg.Model == SparseVmemmap {
				later = later || subsection(r)
			} else {
				later = later || section(r)
			}
		}
	}
	switch {
	case cfg.Lookup == MemblockLinear:
		return window
	case cfg.Model == Flat && cfg.Lookup == MemblockBinary:
		return inBoot
	case cfg.Model == Flat:
		return pfn < end>>12
	case bootSection && cfg.Lookup == MemblockBinary:
		return inBoot
	}
	return bootSection || later
}

// randomMap draws ranges of all kinds with holes between them.
func randomMap(r *rand.Rand, flat bool) MemoryMap {
	m := MemoryMap{{0, 640 << 10, RAM}, {1 << 20, 63 << 20, RAM}}
	at := uint64(64 << 20)
	for range 3 + r.IntN(12) {
		kind := Kind(r.IntN(int(NumKinds)))
		if flat && (kind == HotRAM || kind == ZoneDevice) {
			kind = RAM
		}
		align, unit := uint64(PageSize), uint64(1<<(12+r.IntN(16)))
		switch kind {
		case HotRAM:
			align, unit = SectionSize, SectionSize
		case ZoneDevice:
			align, unit = SubsectionSize, SubsectionSize
		}
		at += uint64(r.IntN(3)) << (12 + r.IntN(20))
		at = (at + align - 1) &^ (align - 1)
		size := (uint64(1+r.IntN(8))*unit + align - 1) &^ (align - 1)
		m = append(m, Range{at, size, kind})
		at += size
	}
	return m
}

// On random maps with all kinds of memory, every model and every implementation agrees with the twin, at random frames
// and at all edges.
func TestPfnValidAgainstTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for trial := range 60 {
		for _, model := range models {
			for lookup := Generic; lookup < numLookups; lookup++ {
				cfg := Config{Model: model, Lookup: lookup, Map: randomMap(r, model == Flat), FiveLevel: trial%2 == 1}
				m := configured(t, kernel.V6_12, cfg)
				var pfns []uint64
				for _, x := range cfg.Map {
					for _, p := range []uint64{x.Start, x.End(), x.Start &^ (SectionSize - 1), x.End() | (SectionSize - 1)} {
						pfns = append(pfns, p>>12, p>>12+1)
						if p > 0 {
							pfns = append(pfns, p>>12-1)
						}
					}
				}
				for range 200 {
					pfns = append(pfns, r.Uint64N(1<<24), r.Uint64N(1<<(cfg.PhysBits()-12)))
				}
				for _, p := range pfns {
					if got, want := m.Valid(p), validTwin(cfg, p); got != want {
						t.Fatalf("%v, %v, map %+v: pfn_valid(%#x) = %v, want %v", model, lookup, cfg.Map, p, got, want)
					}
				}
			}
		}
	}
}

// Emission and result agree, whatever path the lookup takes, and the stack is balanced.
func TestPfnValidEmissionAgreesWithResult(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, model := range models {
			for lookup := Generic; lookup < numLookups; lookup++ {
				cfg := Config{Model: model, Lookup: lookup, Map: randomMap(r, model == Flat)}
				m := configured(t, v, cfg)
				recorded.Run(func(th *cpu.Thread) {
					th.Tap = nil
					for range 500 {
						p := r.Uint64N(1 << 23)
						if r.IntN(10) == 0 {
							p = r.Uint64()
						}
						if m.PfnValid(th, p, 0) != m.Valid(p) {
							t.Fatalf("%v, %v: pfn %#x: emitting changes the result", model, lookup, p)
						}
						if th.Depth() != 0 {
							t.Fatalf("%v, %v: pfn %#x: a function did not return", model, lookup, p)
						}
						th.Sync()
					}
				})
			}
		}
	}
}

// gtmod is the recording's wrapper: one nop and a return around the inlined function.
var gtPfnValid = cpu.NewFunc("gt_pfn_valid", "test", 256)

func wrapped(f *cpu.Func, body func(t *cpu.Thread)) []cpu.Op {
	return recorded.Run(func(t *cpu.Thread) {
		t.Enter(f)
		t.Nop(1)
		body(t)
		t.Ret()
	})
}

// pfn_valid as recorded in both kernels: valid RAM, the VGA hole of an early section, absent sections, an empty root
// entry, and a frame beyond the maximum. Instructions are equal; so are loads, stores, branches and lines.
func TestPfnValidMatchesRecordings(t *testing.T) {
	cfg := Config{Map: PCMap(6 << 30)}
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, c := range []struct {
			key string
			pfn uint64
			ok  bool
		}{
			{"pfn_valid_ram", 5 << 30 >> 12, true},
			{"pfn_valid_earlyhole", 0xa0, true},
			{"pfn_valid_hole", 0xc0000000 >> 12, false},
			{"pfn_valid_mmio", 0xfe000000 >> 12, false},
			{"pfn_valid_highmmio", 1 << 40 >> 12, false},
			{"pfn_valid_toobig", 1 << 47 >> 12, false},
		} {
			t.Run(v.String()+"/"+c.key, func(t *testing.T) {
				m := configured(t, v, cfg)
				ops := wrapped(gtPfnValid, func(th *cpu.Thread) {
					if got := m.PfnValid(th, c.pfn, 0); got != c.ok {
						t.Errorf("pfn_valid(%#x) = %v, want %v", c.pfn, got, c.ok)
					}
				})
				recorded.Check(t, ops, v.String()+"/direct/"+c.key+"/0", recorded.Exact)
			})
		}
	}
}

// The dependence chain is as long as the table is deep: 3 loads for boot memory, 4 for memory that came later (table, root,
// usage, bitmap: the section word is a fifth load, on which only a branch depends).
func TestPfnValidChainLength(t *testing.T) {
	cfg := Config{Map: append(PCMap(4<<30), Range{64 << 30, SectionSize, HotRAM}, Range{128 << 30, SubsectionSize, ZoneDevice})}
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, c := range []struct {
			model Model
			phys  uint64
			want  int
		}{
			{SparseVmemmap, 1 << 30, 3}, {SparseVmemmap, 64 << 30, 4}, {SparseVmemmap, 128 << 30, 4},
			{SparseExtreme, 1 << 30, 3}, {SparseExtreme, 128 << 30, 3}, {Sparse, 1 << 30, 1}, {Sparse, 128 << 30, 1},
		} {
			cfg.Model = c.model
			m := configured(t, v, cfg)
			ops := recorded.Run(func(th *cpu.Thread) { m.PfnValid(th, c.phys>>12, 0) })
			if got := chain(ops); got != c.want {
				t.Errorf("%v %v at %#x: %d dependent loads, want %d", v, c.model, c.phys, got, c.want)
			}
		}
	}
}

// chain returns the largest number of loads on one dependence path.
func chain(ops []cpu.Op) int {
	n := make([]int, len(ops))
	longest := 0
	for i, o := range ops {
		for _, d := range []uint16{o.Dep1, o.Dep2} {
			if d > 0 && int(d) <= i {
				n[i] = max(n[i], n[i-int(d)])
			}
		}
		if o.Class == cpu.Load {
			n[i]++
		}
		longest = max(longest, n[i])
	}
	return longest
}

// A large machine touches more of the section table than a small one when frames are spread: 64 lines of section words
// per 32 GiB, one root page per 32 GiB, one line of root pointers per 256 GiB.
func TestFootprintGrowsWithMemory(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	lines := func(ram uint64) int {
		m := configured(t, kernel.V7_3, Config{Map: PCMap(ram)})
		ops := recorded.Run(func(th *cpu.Thread) {
			for range 20000 {
				m.PfnValid(th, (4<<30+r.Uint64N(ram-2<<30))>>12, 0)
			}
		})
		return recorded.Measure(ops).LinesNoStack
	}
	small, large := lines(16<<30), lines(1<<40)
	// 14 GiB from 4 GiB on: 28 lines of section words, one of roots; 1022 GiB: 2044 and 5 (4 GiB to 1026 GiB)
	if want := 28 + 1 + 2; small != want {
		t.Errorf("16 GiB: %d lines, want %d", small, want)
	}
	if want := 2044 + 5 + 2; large != want {
		t.Errorf("1 TiB: %d lines, want %d", large, want)
	}
}

// The binary search takes at most ceil(log2(n))+1 steps, each with a load that depends on the step before; the linear scan
// reads regions up to the hit.
func TestMemblockSearchCost(t *testing.T) {
	var mm MemoryMap
	for i := range uint64(60) {
		mm = append(mm, Range{i * 64 << 20, 32 << 20, RAM})
	}
	bin := configured(t, kernel.V6_12, Config{Map: mm, Lookup: MemblockBinary})
	lin := configured(t, kernel.V6_12, Config{Map: mm, Lookup: MemblockLinear})
	for i := range uint64(60) {
		pfn := (i*64<<20 + 1<<20) >> 12
		b := recorded.Run(func(th *cpu.Thread) { bin.PfnValid(th, pfn, 0) })
		l := recorded.Run(func(th *cpu.Thread) { lin.PfnValid(th, pfn, 0) })
		if got := loadsIn(b, bin.tab.block, 24*60); got > 2*7 {
			t.Errorf("region %d: binary search reads %d words of the table, want at most 14", i, got)
		}
		if got := loadsIn(l, lin.tab.block, 24*60); got != 2*int(i+1) {
			t.Errorf("region %d: linear scan reads %d words of the table, want %d", i, got, 2*(i+1))
		}
	}
}

func loadsIn(ops []cpu.Op, va, n uint64) int {
	c := 0
	for _, o := range ops {
		if o.Class == cpu.Load && o.Addr-va < n {
			c++
		}
	}
	return c
}

var conversionFuncs = map[string]*cpu.Func{
	"page_to_pfn":  cpu.NewFunc("gt_page_to_pfn", "test", 64),
	"page_to_phys": cpu.NewFunc("gt_page_to_phys", "test", 64),
	"phys_to_page": cpu.NewFunc("gt_phys_to_page", "test", 64),
	"virt_to_page": cpu.NewFunc("gt_virt_to_page", "test", 64),
	"page_address": cpu.NewFunc("gt_page_address", "test", 64),
}

func TestConversionsMatchRecordings(t *testing.T) {
	const phys = 5<<30 + 0x3000
	page := cpu.VmemmapBase + uint64(phys)>>12*64
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		m := configured(t, v, Config{Map: PCMap(6 << 30)})
		for _, c := range []struct {
			name string
			want uint64
			call func(t *cpu.Thread) (uint64, cpu.Val)
		}{
			{"page_to_pfn", phys >> 12, func(t *cpu.Thread) (uint64, cpu.Val) { return m.PageToPfn(t, page, 0) }},
			{"page_to_phys", phys, func(t *cpu.Thread) (uint64, cpu.Val) { return m.PageToPhys(t, page, 0) }},
			{"phys_to_page", page, func(t *cpu.Thread) (uint64, cpu.Val) { return m.PhysToPage(t, phys, 0) }},
			{"virt_to_page", page, func(t *cpu.Thread) (uint64, cpu.Val) { return m.VirtToPage(t, kernel.Virt(phys), 0) }},
			{"page_address", kernel.Virt(phys), func(t *cpu.Thread) (uint64, cpu.Val) { return m.PageAddress(t, page, 0) }},
		} {
			t.Run(v.String()+"/"+c.name, func(t *testing.T) {
				ops := wrapped(conversionFuncs[c.name], func(th *cpu.Thread) {
					if got, _ := c.call(th); got != c.want {
						t.Errorf("%s = %#x, want %#x", c.name, got, c.want)
					}
				})
				recorded.Check(t, ops, v.String()+"/direct/"+c.name+"/0", recorded.Exact)
			})
		}
	}
}

// Conversions are inverse to each other in every model; only models without VMEMMAP read section words, and only
// page_to_pfn reads the struct page.
func TestConversionsInEveryModel(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, model := range models {
		m := configured(t, kernel.V7_3, Config{Model: model, Map: PCMap(64 << 30)})
		for range 200 {
			phys := 4<<30 + r.Uint64N(60<<30)&^4095
			var page uint64
			to := recorded.Run(func(th *cpu.Thread) { page, _ = m.PhysToPage(th, phys, 0) })
			from := recorded.Run(func(th *cpu.Thread) {
				if got, _ := m.PageToPhys(th, page, 0); got != phys {
					t.Fatalf("%v: %#x -> page %#x -> %#x", model, phys, page, got)
				}
			})
			section := model == Sparse || model == SparseExtreme
			if got := loadsIn(from, page, 64) > 0; got != section {
				t.Fatalf("%v: page_to_phys reads the struct page: %v, want %v", model, got, section)
			}
			if loadsIn(to, page, 64) > 0 {
				t.Fatalf("%v: phys_to_page reads the struct page", model)
			}
			want := map[Model]int{SparseVmemmap: 0, Flat: 0, Sparse: 1, SparseExtreme: 3}[model]
			if got := chain(to); got != want {
				t.Fatalf("%v: phys_to_page has %d dependent loads, want %d", model, got, want)
			}
		}
	}
}

func TestMapErrorsAreAllReported(t *testing.T) {
	_, err := NewConfigured(kernel.NewEnv(kernel.Config{}, cache.NewMemory(), 0), Config{Model: Flat, Map: MemoryMap{
		{0, 1 << 20, RAM}, {1 << 19, 1 << 20, Reserved}, {1 << 47, 4096, RAM}, {3 << 20, SubsectionSize, ZoneDevice}, {1 << 30, 0, MMIO},
		{5 << 27, 4096, HotRAM}, {100, 4096, RAM},
	}})
	for _, want := range []string{"overlaps", "46 physical address bits", "ZONE_DEVICE at 0x300000", "is empty", "hot-plugged RAM", "FLATMEM cannot", "0x64..0x1064"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not mention %q:\n%v", want, err)
		}
	}
	if _, err := NewConfigured(kernel.NewEnv(kernel.Config{}, cache.NewMemory(), 0), Config{}); err == nil || !strings.Contains(err.Error(), "no RAM") {
		t.Errorf("empty map: %v", err)
	}
}

func TestParseModel(t *testing.T) {
	for _, m := range models {
		for _, s := range []string{m.String(), strings.ToLower(m.String())} {
			if got, err := ParseModel(s); err != nil || got != m {
				t.Errorf("ParseModel(%q) = %v, %v", s, got, err)
			}
		}
	}
	if _, err := ParseModel("DISCONTIGMEM"); err == nil || !strings.Contains(err.Error(), "FLATMEM") {
		t.Error("an unknown model is not answered with the list")
	}
}

func BenchmarkPfnValid(b *testing.B) {
	for _, model := range models {
		b.Run(fmt.Sprint(model), func(b *testing.B) {
			m := configured(b, kernel.V7_3, Config{Model: model, Map: PCMap(64 << 30)})
			th := cpu.NewThread(nil, 0, nil, cpu.NewStream(recorded.StackTop, cpu.MitNone))
			b.ReportAllocs()
			for i := range b.N {
				m.PfnValid(th, 1<<20+uint64(i)&0xfffff, 0)
				th.Ops = th.Ops[:0]
			}
		})
	}
}
