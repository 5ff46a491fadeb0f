package host

import (
	"fmt"
	"math/rand/v2"

	"dmapath/bench/host/program"
)

// Twin is a piece of kernel code written once and run on both sides, on data of the kernel's shape.
type Twin struct {
	Name  string
	Prog  *program.Program
	Bytes uint64 // of tables and queries
	// Build fills the arena. It returns the registers that stay, what a query may be, and what the lookup must answer: the sum of
	// the results of a list of queries, in plain Go on data of its own.
	Build func(a *program.Arena, r *rand.Rand) (regs program.State, query func() uint64, answer func(queries []uint64) uint64)
}

// State is the cache state of a twin's run.
type State struct {
	Name string
	// Lookups of one run, each with a query of its own.
	Lookups int
	// Lines of foreign data read before each run.
	Lines int
	// Runs natively and simulated, and those before them.
	Runs, SimRuns, Warm int
}

// states are hot (nothing between runs), warm and cold: between runs foreign data are read, as many lines as the platform's surroundings say
// for warm, and twice the last-level cache for cold.
func states(warmLines, llcBytes int) []State {
	return []State{
		{Name: "hot", Lookups: 1024, Runs: 41, SimRuns: 2, Warm: 8},
		{Name: "warm", Lookups: 256, Lines: warmLines, Runs: 41, SimRuns: 20, Warm: 4},
		{Name: "cold", Lookups: 64, Lines: 2 * llcBytes / 64, Runs: 31, SimRuns: 20, Warm: 2},
	}
}

// pool is how many different queries hot runs draw from: few enough for everything to be in L1.
const pool = 64

// probe is the twin in one cache state. The queries of every run are new, so that no predictor can learn them by heart: of hot runs drawn from
// the same few, of others from all.
func (t *Twin) probe(s State) *Probe {
	p := &Probe{Name: t.Name + " " + s.Name, What: t.Name + ", " + s.Name, Prog: t.Prog, Bytes: t.Bytes + uint64(s.Lookups)*8 + 4096, Shift: 21, Touch: true, Units: float64(s.Lookups),
		Warm: s.Warm, Runs: s.Runs, SimRuns: s.SimRuns, Displace: s.Lines}
	p.Setup = func(a *program.Arena, r *rand.Rand) func(st *program.State) {
		queries := a.Alloc(uint64(s.Lookups)*8, 64)
		regs, query, _ := t.Build(a, r)
		regs.R[0], regs.R[1] = queries, uint64(s.Lookups)
		var few [pool]uint64
		for i := range few {
			few[i] = query()
		}
		return func(st *program.State) {
			for i := range uint64(s.Lookups) {
				q := few[r.IntN(pool)]
				if s.Lines > 0 {
					q = query()
				}
				a.Put(queries+i*8, q)
			}
			*st = regs
		}
	}
	return p
}

// Twins lists all twins.
func Twins() []*Twin {
	list := []*Twin{}
	for _, gib := range []uint64{16, 256, 4096} {
		list = append(list, pfnValid(gib, false), pfnValid(gib, true))
	}
	return append(list, pageToPhys(), memblock(24), memblock(512), insert(), magazines(1), magazines(4096))
}

const (
	sectionBytes    = 128 << 20 // SECTION_SIZE_BITS 27 (x86-64)
	sectionsPerRoot = 256       // a page of 16-byte sections
	sectionHasMap   = 2         // SECTION_HAS_MEM_MAP
	sectionEarly    = 8         // SECTION_IS_EARLY
	usageBytes      = 64        // struct mem_section_usage with its bitmaps, in a slab object of its own
)

// pfnValid is lookups over all frames of RAM of gib GiB, a power of two: memory of boot (two dependent loads) or added later (four, the last of
// them the bitmap of subsections).
func pfnValid(gib uint64, later bool) *Twin {
	sections := gib << 30 / sectionBytes
	roots := (sections + sectionsPerRoot - 1) / sectionsPerRoot
	kind := "boot memory"
	if later {
		kind = "later memory"
	}
	return &Twin{Name: fmt.Sprintf("pfn_valid %s, %s", bytesName(gib<<30), kind), Prog: program.PfnValid,
		Bytes: roots*8 + roots*4096 + sections*usageBytes + 3*4096,
		Build: func(a *program.Arena, r *rand.Rand) (regs program.State, query func() uint64, answer func([]uint64) uint64) {
			table := a.Alloc(roots*8, 64)
			bitmap := make([]uint64, sections)
			for root := range roots {
				a.Put(table+root*8, a.Alloc(4096, 4096))
			}
			for s := range sections {
				at := a.Get(table+s/sectionsPerRoot*8) + s%sectionsPerRoot*16
				flags, usage := uint64(sectionHasMap|sectionEarly), uint64(0)
				if later {
					flags = sectionHasMap
				}
				usage = a.Alloc(usageBytes, 64)
				bitmap[s] = ^uint64(0)
				if later && s%5 == 4 { // a device's memory that does not fill its last section
					bitmap[s] = r.Uint64()
				}
				a.Put(at, 0xffff_ea00_0000_0000&^15|flags)
				a.Put(at+8, usage)
				a.Put(usage+16, bitmap[s])
			}
			regs.R[2], regs.R[3] = table, sections
			frames := gib << 30 >> 12
			return regs, func() uint64 { return r.Uint64N(frames) }, func(queries []uint64) (sum uint64) {
				for _, pfn := range queries {
					if s := pfn >> 15; s < sections && (!later || bitmap[s]>>(pfn>>9&63)&1 == 1) {
						sum++
					}
				}
				return sum
			}
		}}
}

// pageToPhys is the arithmetic from a struct page of a terabyte to the physical address.
func pageToPhys() *Twin {
	const base = 0xffffea0000000000
	return &Twin{Name: "page_to_phys", Prog: program.PageToPhys, Bytes: 4096,
		Build: func(_ *program.Arena, r *rand.Rand) (regs program.State, query func() uint64, answer func([]uint64) uint64) {
			regs.R[2] = base
			return regs, func() uint64 { return base + r.Uint64N(1<<28)*64 }, func(queries []uint64) (sum uint64) {
				for _, page := range queries {
					sum += (page - base) / 64 * 4096
				}
				return sum
			}
		}}
}

// memblock is searches over n regions with holes between them, for addresses of which one in eight lies in a hole.
func memblock(n uint64) *Twin {
	return &Twin{Name: fmt.Sprintf("memblock_search, %d regions", n), Prog: program.Memblock, Bytes: n*24 + 128,
		Build: func(a *program.Arena, r *rand.Rand) (regs program.State, query func() uint64, answer func([]uint64) uint64) {
			const step, hole = 1 << 27, 1 << 24
			table := a.Alloc(n*24, 64)
			for i := range n {
				a.Put(table+i*24, i*step)
				a.Put(table+i*24+8, step-hole)
			}
			regs.R[2], regs.R[3] = table, n
			return regs, func() uint64 { return r.Uint64N(n*step) &^ 4095 }, func(queries []uint64) (sum uint64) {
				for _, pa := range queries {
					if pa%step < step-hole {
						sum += pa/step + 1
					}
				}
				return sum
			}
		}}
}

// insert is leaves written into a four-level table that maps 512 MiB of I/O addresses below 2^48: 256 tables of leaves, all there.
func insert() *Twin {
	const leaves, top = 256, 0xffff_8000_0000 // the last 512 MiB of it
	return &Twin{Name: "four-level table insert", Prog: program.Insert, Bytes: (leaves+3)*4096 + 4096,
		Build: func(a *program.Arena, r *rand.Rand) (regs program.State, query func() uint64, answer func([]uint64) uint64) {
			const mask, present = 0x000f_ffff_ffff_f000, 3
			const base = uint64(top) &^ (1<<30 - 1)
			table := a.Alloc(4096, 4096)
			at := table
			for _, shift := range []uint64{39, 30} {
				next := a.Alloc(4096, 4096)
				a.Put(at+base>>shift&511*8, next|present)
				at = next
			}
			for i := range uint64(leaves) {
				a.Put(at+(base>>21&511+i)*8, a.Alloc(4096, 4096)|present)
			}
			// A second build of the same arena must find empty leaves.
			for i := range uint64(leaves) {
				leaf := a.Get(at+(base>>21&511+i)*8) & mask
				for j := range uint64(512) {
					a.Put(leaf+j*8, 0)
				}
			}
			regs.R[2], regs.R[3], regs.R[5] = table, mask, present
			old := map[uint64]uint64{}
			return regs, func() uint64 { return base + r.Uint64N(leaves*512)<<12 }, func(queries []uint64) (sum uint64) {
				for _, iova := range queries {
					sum += old[iova] + 1
					old[iova] = iova | present
				}
				return sum
			}
		}}
}

// magazines is a pop and a push on one of n CPUs' caches of IOVA ranges, each with a magazine of 127 entries, half full.
func magazines(n uint64) *Twin {
	const capacity, cacheBytes, magBytes = 127, 64, 1024
	name := "rcache pop and push, own CPU"
	if n > 1 {
		name = fmt.Sprintf("rcache pop and push, %d caches", n)
	}
	return &Twin{Name: name, Prog: program.Magazine, Bytes: n*(cacheBytes+magBytes) + 8192,
		Build: func(a *program.Arena, r *rand.Rand) (regs program.State, query func() uint64, answer func([]uint64) uint64) {
			caches := a.Alloc(n*cacheBytes, 64)
			top := make([]uint64, n)
			for i := range n {
				mag := a.Alloc(magBytes, 1024)
				a.Put(caches+i*cacheBytes, 0)
				a.Put(caches+i*cacheBytes+8, mag)
				a.Put(mag, capacity/2)
				for j := range uint64(capacity) {
					a.Put(mag+8+j*8, i<<20|j<<4)
				}
				top[i] = i<<20 | (capacity/2-1)<<4
			}
			return regs, func() uint64 { return caches + r.Uint64N(n)*cacheBytes }, func(queries []uint64) (sum uint64) {
				for _, c := range queries {
					sum += top[(c-caches)/cacheBytes]
				}
				return sum
			}
		}}
}
