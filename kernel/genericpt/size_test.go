package genericpt

import (
	"math/rand/v2"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/recorded"
)

// The sizes that pt_compute_best_pgsize and pt_pgsz_count choose, run after run, are those of the obvious way: at every address
// the largest page that alignment and the rest of the range allow.
func TestSizesAreGreedy(t *testing.T) {
	env := kernel.NewEnv(kernel.Config{Version: kernel.V7_3, CPUs: 1, Coherent: true}, cache.NewMemory(), 0)
	rng := rand.New(rand.NewPCG(5, 5))
	for name, bitmap := range map[string]uint64{"vtdss": 1<<12 | 1<<21 | 1<<30, "amdv1": (1<<52 - 1) &^ 0xfff &^ (1 << 39), "4 KiB": 1 << 12} {
		d := &Table{Env: env, At: FieldsAt(env.Slab(256, 64)), fn: testFuncs, depth: 6, Core: &iommucore.Domain{PgsizeBitmap: bitmap}}
		recorded.Run(func(th *cpu.Thread) {
			for range 1500 {
				pages := uint64(1 + rng.IntN(1<<rng.IntN(13)))
				va := uint64(rng.IntN(1<<20)) << 12 << rng.IntN(12)
				oa := uint64(rng.IntN(1<<20)) << 12 << rng.IntN(12)
				if rng.IntN(2) == 0 {
					oa = va ^ 1<<(35+rng.IntN(8)) // aligned alike up to a large size
				}
				r := ptRange{va: va, last: va + pages<<12 - 1}
				m := mapArgs{oa: oa}
				for r.va <= r.last {
					th.Frame(64)
					d.bestSize(th, &r, &m)
					d.sizeToArgs(th, &r, &m)
					th.Frame(-64)
					n := uint64(0)
					for at := r.va; n < m.leaves; n++ {
						if want := greedy(bitmap, at, m.oa+at-r.va, r.last); want != m.lg2 {
							t.Fatalf("%s: page %d of %d at %#x to %#x, last %#x: 2^%d, want 2^%d", name, n, m.leaves, at, m.oa+at-r.va, r.last, m.lg2, want)
						}
						at += 1 << m.lg2
					}
					if n == 0 || m.level != int(m.lg2-12)/9 {
						t.Fatalf("%s: %d pages of 2^%d at level %d", name, n, m.lg2, m.level)
					}
					r.va += n << m.lg2
					m.oa += n << m.lg2
					if r.va <= r.last && greedy(bitmap, r.va, m.oa, r.last) == m.lg2 {
						t.Fatalf("%s: the run of 2^%d ends at %#x for no reason", name, m.lg2, r.va)
					}
					th.Sync()
				}
			}
		})
	}
}

// greedy returns log2 of the largest page at va to oa that ends no later than last.
func greedy(bitmap, va, oa, last uint64) (lg2 uint) {
	for s := uint(12); s < 52; s++ {
		if bitmap>>s&1 != 0 && (va|oa)&(1<<s-1) == 0 && va+1<<s-1 <= last {
			lg2 = s
		}
	}
	return lg2
}

var testFuncs = NewFuncs("test")
