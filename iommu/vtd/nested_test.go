package vtd

import (
	"testing"

	"dmapath/iommu/table"
	"dmapath/sim"
)

// newNestedRig returns a unit in scalable mode whose device goes through both stages. What lies below second, as tables of the first stage do, is mapped
// one to one.
func newNestedRig(t testing.TB, cfg Config) (r *rig, second *table.Builder) {
	t.Helper()
	cfg.Nested = true
	r = newScalableRig(t, cfg, table.FirstStage, 4)
	second = table.NewBuilder(r.mem, table.SecondStage, 4, r.frame)
	for at := uint64(firstFrame); at < firstFrame+2<<20; at += 4096 {
		mapSecond(t, second, at, at)
	}
	r.setPASID(table.PASID{Present: true, Type: table.PGTTNested, Domain: domain, First: r.b.Root, Levels: 4, Second: second.Root, SecondLevels: 4})
	r.invalidate(d(PASIDDesc(GranPCGlobal, 0, 0)))
	return r, second
}

func mapSecond(t testing.TB, b *table.Builder, ipa, pa uint64) {
	t.Helper()
	if err := b.Map(ipa, pa, 12, table.Read|table.Write); err != nil {
		t.Fatal(err)
	}
}

// Every table address of the first stage, and the page's, goes through the second: (4 + 1) reads for each of four tables and 4 for the page,
// when nothing is cached; only what is not cached otherwise.
func TestNestedTranslationWalksTheSecondStageForEveryTable(t *testing.T) {
	cfg := plain()
	for l := range cfg.Paging {
		cfg.Paging[l].Entries = 0
	}
	r, second := newNestedRig(t, cfg)
	r.mapPage(0x1000, 0x7_0000_5000, 12)
	r.mapPage(0x2000, 0x7_0000_6000, 12)
	mapSecond(t, second, 0x7_0000_5000, 0x9_0000_5000)
	mapSecond(t, second, 0x7_0000_6000, 0x9_0000_7000)
	read := 120 * ns
	if pa, took := r.translate(0x1234); pa != 0x9_0000_5234 || took != 2*ns+7*ns+4*read+7*ns+(4*5+4)*read+3*ns {
		t.Errorf("%#x in %v", pa, took) // root, context, PASID directory and entry come before
	}
	r.settle()
	if _, took := r.translate(0x1000); took != 2*ns {
		t.Errorf("hit takes %v", took)
	}
	if pa, took := r.translate(0x2000); pa != 0x9_0000_7000 || took != 2*ns+7*ns+(4+4)*read+3*ns {
		t.Errorf("%#x in %v", pa, took)
	}
	if r.v.Stats.SecondWalks != 6 {
		t.Errorf("%d second-stage walks, want 6: four tables, two pages", r.v.Stats.SecondWalks)
	}
}

// A change of the second stage is seen after a page-selective invalidation of the domain, one of the first stage after one of the PASID.
func TestNestedTranslationsGoWithEitherStage(t *testing.T) {
	r, second := newNestedRig(t, plain())
	r.mapPage(0x1000, 0x7_0000_5000, 12)
	mapSecond(t, second, 0x7_0000_5000, 0x9_0000_5000)
	mapSecond(t, second, 0x7_0000_6000, 0x9_0000_6000)
	r.translate(0x1000)
	r.settle()
	mapSecond(t, second, 0x7_0000_5000, 0xa_0000_0000)
	if pa, _ := r.translate(0x1000); pa != 0x9_0000_5000 {
		t.Errorf("%#x although nothing was invalidated", pa)
	}
	r.invalidate(d(PASIDTLBDesc(GranPASIDPage, domain, 0, 0x1000, 0, true)))
	if pa, _ := r.translate(0x1000); pa != 0x9_0000_5000 {
		t.Errorf("%#x although only the first stage was invalidated", pa)
	}
	r.invalidate(pages(0x7_0000_5000, 0, true))
	if pa, _ := r.translate(0x1000); pa != 0xa_0000_0000 {
		t.Errorf("%#x after the second stage was invalidated", pa)
	}
	r.settle()
	r.mapPage(0x1000, 0x7_0000_6000, 12)
	r.invalidate(d(PASIDTLBDesc(GranPASIDPage, domain, 0, 0x1000, 0, true)))
	if pa, _ := r.translate(0x1000); pa != 0x9_0000_6000 {
		t.Errorf("%#x after the first stage was invalidated", pa)
	}
}

func TestNestedFaultsSayWhichStage(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *rig, second *table.Builder)
		want   table.Reason
	}{
		{"page of the first stage", func(r *rig, second *table.Builder) { r.b.Unmap(0x1000) }, table.FSNotPresent},
		{"page of the second stage", func(r *rig, second *table.Builder) { second.Unmap(0x5000) }, table.SSNotPresent},
		{"table not in the second stage", func(r *rig, second *table.Builder) { second.Unmap(r.b.Root) }, table.SSNotPresent},
		{"address beyond the host width", func(r *rig, second *table.Builder) { r.b.Map(0x1000, 1<<51, 12, table.Read|table.Write) }, table.FSReserved},
		{"second stage read-only", func(r *rig, second *table.Builder) { second.Map(0x5000, 0x6000, 12, table.Read) }, table.SMNoWrite},
		{"second stage reserved bit", func(r *rig, second *table.Builder) {
			at, _ := second.Leaf(0x5000)
			r.mem.Write64(at, r.mem.Read64(at)|1<<50)
		}, table.SSReserved},
		{"first stage read-only", func(r *rig, second *table.Builder) { r.b.Map(0x1000, 0x5000, 12, table.Read) }, table.SMNoWrite},
	} {
		r, second := newNestedRig(t, plain())
		r.mapPage(0x1000, 0x5000, 12)
		mapSecond(t, second, 0x5000, 0x9_0000_0000)
		c.change(r, second)
		if _, _, err := r.v.Translate(rid, 0x1000, true, r.eng.Now()); reason(err) != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// walkNested is the slow, obvious translation through both stages.
func walkNested(r *rig, first, second *table.Rules, root2, iova uint64, write bool) (uint64, table.Reason) {
	if !first.Covers(iova, 4) {
		return 0, first.Beyond()
	}
	rights, at := table.AllRights, r.b.Root
	for l := 4; ; l-- {
		e, why := table.Walk(r.mem, second, root2, 4, table.EntryAddr(at, iova, l), false)
		if why != table.NoFault {
			return 0, why
		}
		k, addr, granted := first.Decode(r.mem.Read64(e.PA), l)
		if why := first.EntryFault(k, write); why != table.NoFault {
			return 0, why
		}
		rights &= granted
		if at = addr; k == table.Table {
			continue
		}
		if why := first.RightsFault(rights, write); why != table.NoFault {
			return 0, why
		}
		e, why = table.Walk(r.mem, second, root2, 4, addr|iova&(1<<table.Shift(l)-1), write)
		return e.PA, why
	}
}

func TestNestedUnitAgreesWithTheFunctionalWalk(t *testing.T) {
	seen := map[table.Reason]int{}
	large := 0
	for seed := range uint64(8) {
		rng := sim.NewRand(seed, "nested")
		cfg := plain()
		cfg.IOTLB.Entries, cfg.IOTLB.Ways = 64, 4
		r, second := newNestedRig(t, cfg)
		r1 := table.NewRules(table.FirstStage, uint8(cfg.HostWidth), table.Page2M|table.Page1G, true, true)
		r2 := table.NewRules(table.SecondStage, uint8(cfg.HostWidth), table.Page2M|table.Page1G, true, true)
		address := func() uint64 { return uint64(rng.IntN(4))<<30 | uint64(rng.IntN(4))<<21 | uint64(rng.IntN(4))<<12 }
		middle := func() uint64 {
			return 1<<32 | uint64(rng.IntN(4))<<30 | uint64(rng.IntN(4))<<21 | uint64(rng.IntN(8))<<12
		}
		size := func(a uint64) uint8 { // one size for each address, so that no page replaces a table
			if a>>21&3 == 3 {
				return 21
			}
			return 12
		}
		for range 150 {
			a := address()
			s := size(a)
			r.b.Map(a&^(1<<s-1), middle()&^(1<<s-1), s, table.Rights(1+rng.IntN(3)))
			a = middle()
			s = size(a)
			second.Map(a&^(1<<s-1), rng.Uint64()>>18&^(1<<s-1), s, table.Rights(1+rng.IntN(3)))
		}
		for i := range 3000 {
			a, write := address()|uint64(rng.IntN(4096)), rng.IntN(2) == 0
			pa, _, err := r.v.Translate(rid, a, write, r.eng.Now())
			want, why := walkNested(r, &r1, &r2, second.Root, a, write)
			if reason(err) != why || why == table.NoFault && pa != want {
				t.Fatalf("seed %d request %d for %#x, write %v: %#x (%v), functional walk %#x (%v)", seed, i, a, write, pa, err, want, why)
			}
			seen[why]++
			if rng.IntN(8) == 0 {
				r.settle()
			}
		}
		large += int(r.v.Stats.HitsBySize[1])
	}
	for _, why := range []table.Reason{table.NoFault, table.FSNotPresent, table.SSNotPresent, table.SMNoWrite, table.SMNoRead} {
		if seen[why] < 20 {
			t.Errorf("%v was seen %d times only", why, seen[why])
		}
	}
	if large == 0 {
		t.Error("no hit of a page of 2 MiB in both stages")
	}
}
