package table

import (
	"testing"

	"dmapath/sim"
)

// ram is memory by word; what was never written reads as zero.
type ram map[uint64]uint64

func (m ram) Read64(pa uint64) uint64 { return m[pa&^7] }
func (m ram) Write64(pa, v uint64)    { m[pa&^7] = v }

func frames(from uint64) func() uint64 {
	next := from
	return func() uint64 { next += 4096; return next - 4096 }
}

func all(f Format) Rules { return NewRules(f, 46, Page2M|Page1G, true, f == FirstStage) }

func TestWalkFindsWhatTheBuilderMapped(t *testing.T) {
	for _, f := range []Format{SecondStage, FirstStage} {
		for levels := 3; levels <= 5; levels++ {
			if f == FirstStage && levels == 3 {
				continue
			}
			for _, shift := range []uint8{12, 21, 30} {
				m := ram{}
				b := NewBuilder(m, f, levels, frames(0x100000))
				iova := uint64(5)<<30 | 7<<21 | 9<<12
				iova &^= 1<<shift - 1
				pa := uint64(0x3a5a40000000)
				if err := b.Map(iova, pa, shift, Read|Write); err != nil {
					t.Fatal(err)
				}
				r := all(f)
				got, why := Walk(m, &r, b.Root, levels, iova+0x123, true)
				want := Translation{PA: pa + 0x123, Shift: shift, Rights: AllRights, Reads: levels - int(shift-12)/9}
				if why != NoFault || got != want {
					t.Errorf("%v %d levels %s: %+v %v, want %+v", f, levels, SizeName(shift), got, why, want)
				}
			}
		}
	}
}

func TestFaultsOfAWalk(t *testing.T) {
	const iova, pa = 0x40201000, 0x7000_0000
	for _, c := range []struct {
		name   string
		f      Format
		scal   bool
		change func(b *Builder, m ram) uint64 // returns the address asked for
		write  bool
		want   Reason
	}{
		{"mapped", SecondStage, false, func(b *Builder, m ram) uint64 { return iova }, true, NoFault},
		{"not present, read", SecondStage, false, func(b *Builder, m ram) uint64 { b.Unmap(iova); return iova }, false, NoRead},
		{"not present, write", SecondStage, false, func(b *Builder, m ram) uint64 { b.Unmap(iova); return iova }, true, NoWrite},
		{"not present, scalable", SecondStage, true, func(b *Builder, m ram) uint64 { b.Unmap(iova); return iova }, true, SSNotPresent},
		{"not present, first stage", FirstStage, true, func(b *Builder, m ram) uint64 { b.Unmap(iova); return iova }, true, FSNotPresent},
		{"missing table", SecondStage, false, func(b *Builder, m ram) uint64 { return iova + 1<<39 }, false, NoRead},
		{"write to a read-only page", SecondStage, false, func(b *Builder, m ram) uint64 { b.Map(iova, pa, 12, Read); return iova }, true, NoWrite},
		{"read of a read-only page", SecondStage, false, func(b *Builder, m ram) uint64 { b.Map(iova, pa, 12, Read); return iova }, false, NoFault},
		{"read of a write-only page", SecondStage, false, func(b *Builder, m ram) uint64 { b.Map(iova, pa, 12, Write); return iova }, false, NoRead},
		{"write to a read-only page, scalable", SecondStage, true, func(b *Builder, m ram) uint64 { b.Map(iova, pa, 12, Read); return iova }, true, SMNoWrite},
		{"write to a read-only page, first stage", FirstStage, true, func(b *Builder, m ram) uint64 { b.Map(iova, pa, 12, Read); return iova }, true, SMNoWrite},
		{"supervisor page", FirstStage, true, func(b *Builder, m ram) uint64 {
			at, _ := b.Leaf(iova)
			m[at] &^= FSUser
			return iova
		}, false, FSPrivilege},
		{"a table entry without write takes it from all below", SecondStage, false, func(b *Builder, m ram) uint64 { m[b.Root] &^= SSWrite; return iova }, true, NoWrite},
		{"address bit beyond the host width", SecondStage, false, func(b *Builder, m ram) uint64 {
			at, _ := b.Leaf(iova)
			m[at] |= 1 << 46
			return iova
		}, true, PagingReserved},
		{"the same, scalable", SecondStage, true, func(b *Builder, m ram) uint64 { m[b.Root] |= 1 << 51; return iova }, true, SSReserved},
		{"the same, first stage", FirstStage, true, func(b *Builder, m ram) uint64 { m[b.Root] |= 1 << 51; return iova }, true, FSReserved},
		{"page-size bit in the top table", SecondStage, false, func(b *Builder, m ram) uint64 { m[b.Root] |= SSPageSize; return iova }, true, PagingReserved},
		{"superpage with low address bits", SecondStage, false, func(b *Builder, m ram) uint64 {
			b.Map(1<<33, 1<<21, 21, Read|Write)
			at, _ := b.Leaf(1 << 33)
			m[at] |= 1 << 13
			return 1 << 33
		}, true, PagingReserved},
		{"address beyond the table", SecondStage, false, func(b *Builder, m ram) uint64 { return iova | 1<<48 }, true, BeyondWidth},
		{"the same, scalable", SecondStage, true, func(b *Builder, m ram) uint64 { return iova | 1<<48 }, true, SMBeyondWidth},
		{"address not canonical", FirstStage, true, func(b *Builder, m ram) uint64 { return iova | 1<<47 }, true, FSNotCanonical},
	} {
		m := ram{}
		b := NewBuilder(m, c.f, 4, frames(0x100000))
		if err := b.Map(iova, pa, 12, Read|Write); err != nil {
			t.Fatal(err)
		}
		at := c.change(b, m)
		r := NewRules(c.f, 46, Page2M|Page1G, true, c.scal)
		if _, why := Walk(m, &r, b.Root, 4, at, c.write); why != c.want {
			t.Errorf("%s (%v): %v, want %v", c.name, c.f, why, c.want)
		}
	}
}

func TestUpperHalfOfTheFirstStageIsCanonical(t *testing.T) {
	m := ram{}
	b := NewBuilder(m, FirstStage, 4, frames(0x100000))
	iova := ^uint64(0) &^ 0xfff
	if err := b.Map(iova, 0x5000, 12, Read); err != nil {
		t.Fatal(err)
	}
	r := all(FirstStage)
	if got, why := Walk(m, &r, b.Root, 4, iova|5, false); why != NoFault || got.PA != 0x5005 {
		t.Errorf("%+v %v", got, why)
	}
}

// Without superpages the page-size bit is reserved at every level, with 2 MiB only at level 3 and above.
func TestSuperpageSupportDecidesWhatThePageSizeBitMeans(t *testing.T) {
	for _, c := range []struct {
		super uint8
		level int
		want  Kind
	}{{0, 2, Reserved}, {0, 3, Reserved}, {Page2M, 2, Leaf}, {Page2M, 3, Reserved}, {Page2M | Page1G, 3, Leaf}, {Page2M | Page1G, 4, Reserved}, {0, 1, Leaf}} {
		r := NewRules(SecondStage, 46, c.super, true, false)
		if k, _, _ := r.Decode(SSRead|SSPageSize, c.level); k != c.want {
			t.Errorf("superpages %02b level %d: %v, want %v", c.super, c.level, k, c.want)
		}
	}
}

func TestSnoopBitIsReservedWithoutSnoopControl(t *testing.T) {
	for _, sc := range []bool{false, true} {
		r := NewRules(SecondStage, 46, 0, sc, false)
		k, _, _ := r.Decode(SSRead|SSSnoop|0x5000, 1)
		if (k == Leaf) != sc {
			t.Errorf("snoop control %v: %v", sc, k)
		}
	}
}

func TestEntriesSurviveEncodingAndDecoding(t *testing.T) {
	rng := sim.NewRand(1, "entries")
	page := func() uint64 { return rng.Uint64() >> 18 &^ 0xfff }
	for range 2000 {
		c := Context{rng.IntN(2) == 1, rng.IntN(2) == 1, uint8(rng.IntN(3)), page(), 3 + rng.IntN(3), uint16(rng.Uint32())}
		lo, hi := c.Encode()
		if got, bad := DecodeContext(lo, hi, 46); got != c || bad {
			t.Fatalf("context %+v became %+v (%v)", c, got, bad)
		}
		s := SMContext{true, rng.IntN(2) == 1, rng.IntN(2) == 1, rng.IntN(2) == 1, page(), uint8(rng.IntN(8)), rng.Uint32() & 0xfffff}
		w0, w1 := s.Encode()
		if got, bad := DecodeSMContext(w0, w1, 46); got != s || bad {
			t.Fatalf("scalable context %+v became %+v (%v)", s, got, bad)
		}
		p := PASID{Present: true, Type: uint8(1 + rng.IntN(2)), Domain: uint16(rng.Uint32()), Levels: 4 + rng.IntN(2)}
		if p.Type == PGTTFirst {
			p.First = page()
		} else {
			p.Second, p.SSAccessed = page(), rng.IntN(2) == 1
		}
		if got, bad := DecodePASID(p.Encode(), 46); got != p || bad {
			t.Fatalf("PASID %+v became %+v (%v)", p, got, bad)
		}
	}
}

func TestReservedBitsOfDeviceEntries(t *testing.T) {
	if _, bad := DecodeContext(1|1<<46, 2, 46); !bad {
		t.Error("context table pointer beyond the host width accepted")
	}
	if _, bad := DecodeContext(1, 2|1<<24, 46); !bad {
		t.Error("reserved high bit of a context entry accepted")
	}
	if _, _, bad := DecodeRoot(1|2, 46); !bad {
		t.Error("reserved bit of a root entry accepted")
	}
}

func TestUnmapRemovesOneLeaf(t *testing.T) {
	m := ram{}
	b := NewBuilder(m, SecondStage, 4, frames(0x100000))
	b.Map(0x1000, 0x5000, 12, Read)
	b.Map(0x2000, 0x6000, 12, Read)
	if !b.Unmap(0x1000) || b.Unmap(0x1000) {
		t.Error("first unmap must find a page, second must not")
	}
	r := all(SecondStage)
	if _, why := Walk(m, &r, b.Root, 4, 0x2000, false); why != NoFault {
		t.Errorf("neighbour gone: %v", why)
	}
	if err := b.Map(0x1001, 0, 12, Read); err == nil {
		t.Error("misaligned map accepted")
	}
}

// scramble is memory full of noise.
type scramble uint64

func (s scramble) Read64(pa uint64) uint64 {
	x := pa ^ uint64(s)
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>29
}

// Whatever is in memory, a walk ends after at most levels reads, within the host's width, and grants what was asked for.
func FuzzWalk(f *testing.F) {
	f.Add(uint64(1), uint64(0x1000), uint64(0x2000), uint8(4), false, true, uint8(46))
	f.Add(uint64(2), ^uint64(0), uint64(0x2000), uint8(5), true, false, uint8(52))
	f.Fuzz(func(t *testing.T, seed, root, iova uint64, levels uint8, first, write bool, haw uint8) {
		levels = 3 + levels%3
		haw = 32 + haw%21
		format := SecondStage
		if first {
			format = FirstStage
		}
		r := NewRules(format, haw, Page2M|Page1G, seed&1 == 0, first || seed&2 == 0)
		got, why := Walk(scramble(seed), &r, root&^0xfff, int(levels), iova, write)
		if got.Reads > int(levels) {
			t.Fatalf("%d reads in %d levels", got.Reads, levels)
		}
		if why == NoFault {
			if got.PA>>haw != 0 || got.PA&0xfff != iova&0xfff {
				t.Fatalf("iova %#x became %#x with host width %d", iova, got.PA, haw)
			}
			if write && got.Rights&Write == 0 || !write && got.Rights&Read == 0 {
				t.Fatalf("rights %v do not allow write=%v", got.Rights, write)
			}
		}
	})
}
