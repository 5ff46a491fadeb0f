package smmutable

import (
	"testing"

	"dmapath/iommu/table"
	"dmapath/sim"
)

// ram is memory by word; what was never written reads as zero.
type ram map[uint64]uint64

func (m ram) Read64(pa uint64) uint64 { return m[pa&^7] }
func (m ram) Write64(pa, v uint64)    { m[pa&^7] = v }

func alloc(from uint64) func(uint64) uint64 {
	next := from
	return func(bytes uint64) uint64 {
		at := (next + bytes - 1) &^ (bytes - 1)
		next = at + bytes
		return at
	}
}

func TestGeometryOfEveryGranule(t *testing.T) {
	for _, c := range []struct {
		g     Geometry
		start int
		root  uint64 // bytes
		sizes uint64
	}{
		{Geometry{Stage1, Granule4K, 48, 48}, 0, 4096, 1<<12 | 1<<21 | 1<<30},
		{Geometry{Stage1, Granule4K, 39, 48}, 1, 4096, 1<<12 | 1<<21 | 1<<30},
		{Geometry{Stage1, Granule4K, 32, 40}, 1, 32, 1<<12 | 1<<21 | 1<<30},
		{Geometry{Stage1, Granule4K, 30, 40}, 2, 4096, 1<<12 | 1<<21},
		{Geometry{Stage1, Granule16K, 48, 48}, 0, 16, 1<<14 | 1<<25},
		{Geometry{Stage1, Granule16K, 47, 48}, 1, 16384, 1<<14 | 1<<25},
		{Geometry{Stage1, Granule64K, 48, 48}, 1, 512, 1<<16 | 1<<29},
		{Geometry{Stage1, Granule64K, 42, 48}, 2, 65536, 1<<16 | 1<<29},
		{Geometry{Stage2, Granule4K, 48, 48}, 0, 4096, 1<<12 | 1<<21 | 1<<30},
		{Geometry{Stage2, Granule4K, 44, 44}, 0, 256, 1<<12 | 1<<21 | 1<<30},
		{Geometry{Stage2, Granule4K, 42, 42}, 1, 8 * 4096, 1<<12 | 1<<21 | 1<<30}, // 8 tables side by side
		{Geometry{Stage2, Granule4K, 40, 40}, 1, 2 * 4096, 1<<12 | 1<<21 | 1<<30},
		{Geometry{Stage2, Granule16K, 48, 48}, 1, 2 * 16384, 1<<14 | 1<<25},
	} {
		if s, r, p := c.g.StartLevel(), c.g.RootBytes(), c.g.PageSizes(); s != c.start || r != c.root || p != c.sizes {
			t.Errorf("%+v: start level %d, root %d bytes, sizes %#x; want %d, %d, %#x", c.g, s, r, p, c.start, c.root, c.sizes)
		}
	}
}

// The bits that Linux composes for coherent mappings in arm_lpae_prot_to_pte and __arm_lpae_init_pte, by hand.
func TestPTEOfAWritablePage(t *testing.T) {
	g := Geometry{Stage1, Granule4K, 48, 48}
	for _, c := range []struct {
		name string
		got  uint64
		want uint64
	}{
		{"page", g.LeafPTE(3, 0x12345000, table.Read|table.Write, false), 0x12345f47},
		{"page, read only", g.LeafPTE(3, 0x12345000, table.Read, false), 0x12345fc7},
		{"2 MiB block", g.LeafPTE(2, 0x12200000, table.Read|table.Write, false), 0x12200f45},
		{"device page", g.LeafPTE(3, 0x12345000, table.Read|table.Write, true), 0x12345e4b},
		{"stage 2", Geometry{Stage2, Granule4K, 48, 48}.LeafPTE(3, 0x12345000, table.Read|table.Write, false), 0x123457ff},
		{"table", TablePTE(0x12345000), 0x12345003},
	} {
		if c.got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, c.got, c.want)
		}
	}
}

func TestWalkFindsWhatTheBuilderMapped(t *testing.T) {
	rng := sim.NewRand(1, "walk")
	for _, stage := range []Stage{Stage1, Stage2} {
		for _, granule := range []uint8{Granule4K, Granule16K, Granule64K} {
			for _, input := range []uint8{48, 44, 42, 39, 36, 32} {
				g := Geometry{stage, granule, input, 48}
				m := ram{}
				b := NewBuilder(m, g, alloc(1<<32))
				for level := g.StartLevel(); level <= LastLevel; level++ {
					if level != LastLevel && !g.BlockLevel(level) {
						continue
					}
					page := uint64(1)<<g.Shift(level) - 1
					addr := rng.Uint64() & (1<<input - 1) &^ page
					pa := rng.Uint64() & (1<<48 - 1) &^ page
					if b.Map(addr, pa, level, table.Read|table.Write, false) != nil {
						continue // a block of an earlier round is there
					}
					off := rng.Uint64() & page
					got, why := Walk(m, g, b.Root, addr|off, true)
					want := table.Translation{PA: pa | off, Shift: g.Shift(level), Rights: table.AllRights, Reads: level - g.StartLevel() + 1}
					if why != NoEvent || got != want {
						t.Errorf("%+v level %d: %+v %v, want %+v", g, level, got, why, want)
					}
					if !b.Unmap(addr) {
						t.Errorf("%+v level %d: nothing to unmap", g, level)
					}
				}
			}
		}
	}
}

func TestEventsOfAWalk(t *testing.T) {
	const addr, pa = 0x40201000, 0x7000_0000
	for _, c := range []struct {
		name   string
		change func(b *Builder, m ram) uint64
		write  bool
		want   EventCode
	}{
		{"mapped", func(b *Builder, m ram) uint64 { return addr }, true, NoEvent},
		{"unmapped", func(b *Builder, m ram) uint64 { b.Unmap(addr); return addr }, false, FTranslation},
		{"no table", func(b *Builder, m ram) uint64 { return addr + 1<<39 }, false, FTranslation},
		{"beyond the input width", func(b *Builder, m ram) uint64 { return addr | 1<<48 }, false, FTranslation},
		{"type 01 at level 3", func(b *Builder, m ram) uint64 { e, _ := b.Leaf(addr); m[e] &^= 2; return addr }, false, FTranslation},
		{"block at level 0", func(b *Builder, m ram) uint64 { m[b.Root] &^= 2; return addr }, false, FTranslation},
		{"access flag clear", func(b *Builder, m ram) uint64 { e, _ := b.Leaf(addr); m[e] &^= PTEAccess; return addr }, false, FAccess},
		{"output too wide", func(b *Builder, m ram) uint64 { e, _ := b.Leaf(addr); m[e] |= 1 << 46; return addr }, false, FAddrSize},
		{"table too far", func(b *Builder, m ram) uint64 { m[b.Root] |= 1 << 46; return addr }, false, FAddrSize},
		{"write to a read-only page", func(b *Builder, m ram) uint64 { b.Map(addr, pa, 3, table.Read, false); return addr }, true, FPermission},
		{"read of a read-only page", func(b *Builder, m ram) uint64 { b.Map(addr, pa, 3, table.Read, false); return addr }, false, NoEvent},
		{"privileged page", func(b *Builder, m ram) uint64 { e, _ := b.Leaf(addr); m[e] &^= PTEUnpriv; return addr }, false, FPermission},
		{"read-only by the table above", func(b *Builder, m ram) uint64 { m[b.Root] |= PTEAPTableRO; return addr }, true, FPermission},
		{"privileged by the table above", func(b *Builder, m ram) uint64 { m[b.Root] |= PTEAPTablePriv; return addr }, false, FPermission},
	} {
		m := ram{}
		b := NewBuilder(m, Geometry{Stage1, Granule4K, 48, 44}, alloc(1<<32))
		if err := b.Map(addr, pa, 3, table.Read|table.Write, false); err != nil {
			t.Fatal(err)
		}
		at := c.change(b, m)
		if _, why := Walk(m, b.G, b.Root, at, c.write); why != c.want {
			t.Errorf("%s: %v, want %v", c.name, why, c.want)
		}
	}
}

// Both stages with 4 levels of 4 KiB: every entry of stage 1 and its result need 4 reads of stage 2, 24 in all.
func TestNestedWalkReads24Entries(t *testing.T) {
	m := ram{}
	second := NewBuilder(m, Geometry{Stage2, Granule4K, 48, 48}, alloc(1<<40))
	ipa := alloc(1 << 30)
	physOf := func(a uint64) uint64 { return a + 1<<35 }
	first := NewBuilder(shifted{m, physOf}, Geometry{Stage1, Granule4K, 48, 48}, func(n uint64) uint64 {
		a := ipa(n)
		if err := second.Map(a, physOf(a), 3, table.Read, false); err != nil {
			t.Fatal(err)
		}
		return a
	})
	const va, page = 0x7f0012345000, 0x51000
	if err := first.Map(va, page, 3, table.Read|table.Write, false); err != nil {
		t.Fatal(err)
	}
	if _, why, in2 := WalkNested(m, first.G, first.Root, second.G, second.Root, va, false); why != FTranslation || !in2 {
		t.Errorf("page without stage 2: %v, stage 2 %v", why, in2)
	}
	if err := second.Map(page, 0x99000, 3, table.Read, false); err != nil {
		t.Fatal(err)
	}
	got, why, _ := WalkNested(m, first.G, first.Root, second.G, second.Root, va|0x123, false)
	if why != NoEvent || got.PA != 0x99123 || got.Reads != 24 || got.Shift != 12 {
		t.Errorf("%+v %v", got, why)
	}
	if _, why, in2 := WalkNested(m, first.G, first.Root, second.G, second.Root, va, true); why != FPermission || !in2 {
		t.Errorf("write through a read-only stage 2: %v, stage 2 %v", why, in2)
	}
}

// shifted is memory at intermediate addresses.
type shifted struct {
	ram
	phys func(uint64) uint64
}

func (s shifted) Read64(a uint64) uint64 { return s.ram.Read64(s.phys(a)) }
func (s shifted) Write64(a, v uint64)    { s.ram.Write64(s.phys(a), v) }

func TestEntriesSurviveEncodingAndDecoding(t *testing.T) {
	rng := sim.NewRand(1, "entries")
	addr := func() uint64 { return rng.Uint64() >> 16 &^ 0xfff }
	granule := func() uint8 { return []uint8{Granule4K, Granule16K, Granule64K}[rng.IntN(3)] }
	for range 2000 {
		g := Geometry{Stage2, granule(), uint8(32 + rng.IntN(17)), []uint8{32, 40, 48}[rng.IntN(3)]}
		s := STE{Valid: true, Config: Config(4 + rng.IntN(4))}
		if s.Config&1 != 0 {
			s.Context, s.CDFmt, s.CDMax, s.DSS, s.NoStall = addr(), uint8(rng.IntN(3)), uint8(rng.IntN(21)), uint8(rng.IntN(3)), rng.IntN(2) == 1
			s.EATS = uint8(rng.IntN(2))
		}
		if s.Config >= ConfigS2 {
			s.VMID, s.TTB, s.Record = uint16(rng.Uint32()), addr(), true
			s.SetGeometry(g)
		}
		got := DecodeSTE(s.Encode())
		if got != s {
			t.Fatalf("STE %+v became %+v", s, got)
		}
		if s.Config >= ConfigS2 {
			if h, ok := got.Stage2(); !ok || h != g {
				t.Fatalf("stage-2 geometry %+v became %+v (%v)", g, h, ok)
			}
		}
		g.Stage = Stage1
		c := CD{Valid: true, ASID: uint16(rng.Uint32()), TTB0: addr(), MAIR: MAIR, Record: rng.IntN(2) == 1, Abort: rng.IntN(2) == 1}
		c.SetGeometry(g)
		d := DecodeCD(c.Encode())
		if d != c {
			t.Fatalf("CD %+v became %+v", c, d)
		}
		if h, ok := d.Stage1(); !ok || h != g {
			t.Fatalf("stage-1 geometry %+v became %+v (%v)", g, h, ok)
		}
		e := Event{Code: FPermission, StreamID: rng.Uint32(), Substream: rng.Uint32() & 0xfffff, HasSSID: true, Read: rng.IntN(2) == 1, Stage2: true,
			Addr: rng.Uint64(), IPA: addr()}
		if got := DecodeEvent(e.Encode()); got != e {
			t.Fatalf("event %+v became %+v", e, got)
		}
		v := TLBI{ASID: uint16(rng.Uint32()), VMID: uint16(rng.Uint32()), Addr: rng.Uint64() &^ 0xfff, Leaf: rng.IntN(2) == 1}
		if rng.IntN(2) == 1 {
			v.Num, v.Scale, v.TTL, v.Granule = uint8(rng.IntN(32)), uint8(rng.IntN(32)), uint8(rng.IntN(4)), granule()
		}
		if got := v.Command(TlbiNHVA); got.TLBI() != v || got.Op() != TlbiNHVA {
			t.Fatalf("TLBI %+v became %+v", v, got.TLBI())
		}
	}
	for _, cfg := range []Config{ConfigAbort, 1, 2, 3} {
		s := STE{Valid: true, Config: cfg}
		w := s.Encode()
		if got := DecodeSTE(w); got.Config != ConfigAbort {
			t.Errorf("config %d is %d, want abort", cfg, got.Config)
		}
	}
}

// Words as chapter 4 of the specification lays them out.
func TestCommandWords(t *testing.T) {
	for _, c := range []struct {
		name string
		got  Command
		want Command
	}{
		{"CFGI_STE", STECommand(0x1234, true), Command{0x1234_0000_0003, 1}},
		{"CFGI_ALL", CfgiAll(), Command{4, 31}},
		{"CFGI_CD", CDCommand(0x10, 5, true), Command{0x10_0000_5005, 1}},
		{"TLBI_NH_VA", TLBI{ASID: 3, VMID: 0, Addr: 0xfffff000, Leaf: true}.Command(TlbiNHVA), Command{0x0003_0000_0000_0012, 0xfffff001}},
		{"TLBI_NH_VA, 6 pages of 4 KiB", TLBI{ASID: 3, Addr: 0x10000, Leaf: true, Num: 2, Scale: 1, TTL: 3, Granule: Granule4K}.Command(TlbiNHVA),
			Command{0x0003_0000_0010_2012, 0x10000 | 1<<10 | 3<<8 | 1}},
		{"TLBI_S2_IPA", TLBI{VMID: 7, Addr: 0x123000}.Command(TlbiS2IPA), Command{0x0000_0007_0000_002a, 0x123000}},
		{"TLBI_NH_ASID", ASIDCommand(TlbiNHASID, 0, 9), Command{0x0009_0000_0000_0011, 0}},
		{"TLBI_S12_VMALL", AllCommand(TlbiS12VMAll, 9), Command{0x9_0000_0028, 0}},
		{"TLBI_NSNH_ALL", AllCommand(TlbiNSNHAll, 0), Command{0x30, 0}},
		{"ATC_INV", ATCCommand(0x10, 0, false, 0x5000, 3), Command{0x10_0000_0040, 0x5003}},
		{"CMD_SYNC", SyncCommand(SignalNone, 0, 0), Command{0x46, 0}},
		{"CMD_SYNC, event", SyncCommand(SignalSEV, 0, 0), Command{0x2046, 0}},
		{"CMD_SYNC, message", SyncCommand(SignalIRQ, 0x8000, 0), Command{0x0fc0_1046, 0x8000}},
	} {
		if c.got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, c.got, c.want)
		}
		if !c.got.Known() {
			t.Errorf("%s: unknown", c.name)
		}
	}
	if (Command{0xff}).Known() {
		t.Error("opcode 0xff is known")
	}
	if v := (TLBI{Num: 30, Scale: 2, Granule: Granule4K}); v.Pages() != 124 {
		t.Errorf("%d pages, want 31 * 4", v.Pages())
	}
}

func TestStreamTableOfTwoLevels(t *testing.T) {
	pa, n, ok := DecodeL1Stream(L1Stream(0x40000, StreamSplit))
	if pa != 0x40000 || n != 256 || !ok {
		t.Errorf("%#x, %d entries, %v", pa, n, ok)
	}
	if _, _, ok := DecodeL1Stream(L1Stream(0, StreamSplit)); ok {
		t.Error("an empty descriptor has a table")
	}
	if a := StreamAddr(0x1000, 0x310, StreamSplit, true); a != 0x1000+3*8 {
		t.Errorf("descriptor at %#x", a)
	}
	if a := StreamAddr(0x1000, 3, 0, false); a != 0x1000+3*64 {
		t.Errorf("entry at %#x", a)
	}
	if l, s, two := DecodeStrtabBaseCfg(StrtabBaseCfg(16, StreamSplit, true)); l != 16 || s != 8 || !two {
		t.Errorf("%d %d %v", l, s, two)
	}
}

func TestQueueIndexesWrap(t *testing.T) {
	const log2 = 3
	for _, c := range []struct {
		prod, cons  uint32
		empty, full bool
		used        uint32
	}{{0, 0, true, false, 0}, {8, 0, false, true, 8}, {0, 8, false, true, 8}, {8, 8, true, false, 0}, {9, 7, false, false, 2}, {1, 15, false, false, 2}} {
		if e, f, u := Empty(c.prod, c.cons, log2), Full(c.prod, c.cons, log2), Used(c.prod, c.cons, log2); e != c.empty || f != c.full || u != c.used {
			t.Errorf("prod %d cons %d: empty %v full %v used %d", c.prod, c.cons, e, f, u)
		}
	}
}

// noise is memory full of it.
type noise uint64

func (s noise) Read64(pa uint64) uint64 {
	x := (pa ^ uint64(s)) * 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>29
}

// Whatever is in memory, a walk ends after at most four reads, within the output width, and grants what was asked for.
func FuzzWalk(f *testing.F) {
	f.Add(uint64(1), uint64(0x1000), uint64(0x2000), uint8(0), uint8(48), true)
	f.Add(uint64(2), ^uint64(0), uint64(0x2000), uint8(1), uint8(40), false)
	f.Fuzz(func(t *testing.T, seed, root, addr uint64, granule, input uint8, write bool) {
		g := Geometry{Stage1 + Stage(seed&1), Granule4K + granule%3*2, 25 + input%24, 48}
		got, why := Walk(noise(seed), g, root&(1<<48-1)&^0xfff, addr, write)
		if got.Reads > 4 {
			t.Fatalf("%d reads", got.Reads)
		}
		if why == NoEvent {
			if got.PA>>48 != 0 || got.PA&0xfff != addr&0xfff {
				t.Fatalf("%#x became %#x", addr, got.PA)
			}
			if write && got.Rights&table.Write == 0 || !write && got.Rights&table.Read == 0 {
				t.Fatalf("granted %v, write %v", got.Rights, write)
			}
		}
	})
}
