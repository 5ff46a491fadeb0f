package amdtable

import (
	"math/bits"
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

// TestWalkFindsWhatTheBuilderMapped: every page size a table can have, at every depth; the neighbours on both sides stay unmapped.
func TestWalkFindsWhatTheBuilderMapped(t *testing.T) {
	for levels := 1; levels <= MaxLevels; levels++ {
		for shift := uint8(PageShift); shift < 52 && Covers(3<<shift-1, levels) && LeafLevel(shift) <= levels; shift++ {
			m := ram{}
			b := NewBuilder(m, levels, frames(0x100000))
			iova, pa := uint64(1)<<shift, uint64(0)
			if shift < 51 {
				pa = 1 << (shift + 1)
			}
			if err := b.Map(iova, pa, shift, Read); err != nil {
				t.Fatal(err)
			}
			for _, off := range []uint64{0, 1, 1<<shift - 1, 1 << (shift - 1)} {
				got, why := Walk(m, b.Root, levels, iova+off, false)
				want := Translation{PA: pa + off, Shift: shift, Rights: Read, Reads: levels - LeafLevel(shift) + 1}
				if why != NoFault || got != want {
					t.Fatalf("%d levels, 2^%d at +%#x: %+v (%v), want %+v", levels, shift, off, got, why, want)
				}
			}
			for _, beside := range []uint64{iova - 1, iova + 1<<shift} {
				if _, why := Walk(m, b.Root, levels, beside, false); why != NotPresent {
					t.Errorf("%d levels, 2^%d: %#x beside the page is %v", levels, shift, beside, why)
				}
			}
			if _, why := Walk(m, b.Root, levels, iova, true); why != Denied {
				t.Errorf("write to a read-only page: %v", why)
			}
			if !b.Unmap(iova + 1<<(shift-1)) {
				t.Errorf("2^%d: unmap found nothing", shift)
			}
			for w, v := range m {
				if Decode(v, 1).Kind == Leaf {
					t.Errorf("2^%d: entry %#x is left at %#x", shift, v, w)
				}
			}
		}
	}
}

// TestSizeCode: the examples of Table 14 of the specification.
func TestSizeCode(t *testing.T) {
	for _, c := range []struct {
		low   uint64 // address bits below the page
		shift uint8
	}{{0, 13}, {0x1000, 14}, {0x3000, 15}, {0x7f000, 20}, {0x1ff000, 22}, {0x7fff_f000, 32}} {
		pte := LeafPTE(1<<40, c.shift, AllRights)
		if got := pte & (1<<c.shift - 1) &^ 0xfff; got != c.low {
			t.Errorf("2^%d encodes %#x, want %#x", c.shift, got, c.low)
		}
		if pte>>9&7 != EncodedSize {
			t.Errorf("2^%d has next level %d", c.shift, pte>>9&7)
		}
	}
	for _, shift := range []uint8{12, 21, 30, 39} {
		if pte := LeafPTE(1<<40, shift, AllRights); pte>>9&7 != DefaultSize || pte&(1<<40-1)&^0xfff != 0 {
			t.Errorf("2^%d is the size of a level and encodes %#x", shift, pte)
		}
	}
}

// TestEntries: what Decode makes of entries that no driver writes, level by level.
func TestEntries(t *testing.T) {
	next := func(n uint64) uint64 { return 0x123000 | Present | IR | IW | n<<9 }
	for _, c := range []struct {
		name  string
		pte   uint64
		level int
		want  Kind
	}{
		{"empty", 0, 1, Absent},
		{"all but PR", ^uint64(1), 3, Absent},
		{"leaf at level 1", next(0), 1, Leaf},
		{"next level below", next(2), 3, Table},
		{"two levels skipped", next(1), 4, Table},
		{"next level is its own", next(3), 3, Illegal},
		{"next level above", next(4), 3, Illegal},
		{"table below level 1", next(1), 1, Illegal},
		{"encoded 8 KiB at level 1", next(7)&^0xff000 | 0x2000, 1, Leaf},
		{"encoded 8 KiB at level 2", next(7)&^0xff000 | 0x2000, 2, Illegal},
		{"encoded 2 MiB at level 1", next(7)&^(1<<20) | 0xff000, 1, Illegal},
		{"encoded 2 MiB at level 2", next(7)&^(1<<20) | 0xff000, 2, Illegal},
		{"encoded 4 MiB at level 2", next(7) | 0x1ff000, 2, Leaf},
		{"leaf at level 6", next(0), 6, Illegal},
		{"bit 52", next(0) | 1<<52, 1, Illegal},
		{"bit 58", next(0) | 1<<58, 1, Illegal},
		{"U, FC and the ignored bits", next(0) | U | FC | 1<<63 | 0x1fe, 1, Leaf},
	} {
		if got := Decode(c.pte, c.level).Kind; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestLevelSkipping: an entry that skips levels maps only addresses whose skipped indexes are zero.
func TestLevelSkipping(t *testing.T) {
	m := ram{}
	m[EntryAddr(0x1000, 5<<39, 4)] = TablePTE(0x2000, 1)
	m[EntryAddr(0x2000, 0x7000, 1)] = LeafPTE(0xabc000, 12, AllRights)
	base := uint64(5) << 39
	if got, why := Walk(m, 0x1000, 4, base+0x7123, true); why != NoFault || got.PA != 0xabc123 || got.Reads != 2 {
		t.Errorf("through the skip: %+v, %v", got, why)
	}
	for _, bit := range []uint{21, 29, 30, 38} {
		if _, why := Walk(m, 0x1000, 4, base+0x7000+1<<bit, true); why != NotPresent {
			t.Errorf("bit %d of a skipped index is set: %v", bit, why)
		}
	}
}

// TestWalkLimits: width, rights along the path, illegal entries.
func TestWalkLimits(t *testing.T) {
	for levels := 1; levels < MaxLevels; levels++ {
		first := uint64(1) << Shift(levels+1)
		if Covers(first, levels) || !Covers(first-1, levels) {
			t.Errorf("%d levels must end at %#x", levels, first)
		}
	}
	if !Covers(^uint64(0), 6) {
		t.Error("6 levels translate 64 bits")
	}
	m := ram{}
	m[0x1000] = TablePTE(0x2000, 1) &^ IW
	m[0x2000] = LeafPTE(0x5000, 12, AllRights)
	m[0x2008] = LeafPTE(0x5000, 12, 0)
	m[0x2010] = 1<<52 | Present
	for _, c := range []struct {
		iova  uint64
		write bool
		want  Reason
		flags EventFlags
	}{
		{0, false, NoFault, 0},
		{0, true, Denied, FaultPR | FaultPE | FaultRW}, // the table entry withholds what the leaf grants
		{0x1000, false, Denied, FaultPR | FaultPE},
		{0x2000, true, IllegalPTE, FaultPR | FaultRZ | FaultRW},
		{0x3000, true, NotPresent, FaultRW},
		{1 << 30, false, BeyondWidth, 0},
	} {
		if _, why := Walk(m, 0x1000, 2, c.iova, c.write); why != c.want {
			t.Errorf("%#x write %v: %v, want %v", c.iova, c.write, why, c.want)
		} else if why != NoFault && why.Flags(c.write) != c.flags {
			t.Errorf("%#x: flags %#x, want %#x", c.iova, why.Flags(c.write), c.flags)
		}
	}
}

// TestRange: the smallest aligned power of two that covers both ends, by trying all of them.
func TestRange(t *testing.T) {
	r := sim.NewRand(1, "amdtable.range")
	for range 20000 {
		first := r.Uint64() >> (r.Uint64()%52 + 12)
		last := first + r.Uint64()>>(r.Uint64()%40+24)
		addr, shift := Range(first, last)
		want := uint8(PageShift)
		for want < 64 && first>>want != last>>want {
			want++
		}
		if want > 52 {
			want = 64
		}
		if shift != want || want < 64 && addr != first>>want<<want {
			t.Fatalf("%#x to %#x: %#x, 2^%d; want 2^%d", first, last, addr, shift, want)
		}
	}
}

// TestCommands: what is encoded is decoded, and the words are those of the specification.
func TestCommands(t *testing.T) {
	for _, c := range []struct {
		c    Command
		want [2]uint64
	}{
		{Command{Op: CompletionWait, Store: 0x12345678, Data: 77}, [2]uint64{1<<60 | 0x12345678 | 1, 77}},
		{Command{Op: CompletionWait, Interrupt: true, Flush: true}, [2]uint64{1<<60 | 6, 0}},
		{Command{Op: InvalidateDevtabEntry, Device: 0xabcd}, [2]uint64{2<<60 | 0xabcd, 0}},
		{Command{Op: InvalidateIOMMUPages, Domain: 9, Addr: 0xfffff000, Shift: 12, PDE: true}, [2]uint64{3<<60 | 9<<32, 0xfffff002}},
		{Command{Op: InvalidateIOMMUPages, Domain: 9, Addr: 0xffff0000, Shift: 13}, [2]uint64{3<<60 | 9<<32, 0xffff0001}},
		{Command{Op: InvalidateIOMMUPages, Domain: 9, Addr: 0xffff0000, Shift: 16}, [2]uint64{3<<60 | 9<<32, 0xffff7001}},
		{Command{Op: InvalidateIOMMUPages, Domain: 9, Shift: 64, PDE: true}, [2]uint64{3<<60 | 9<<32, 0x7ffffffffffff003}},
		{Command{Op: InvalidateIOTLBPages, Device: 3, MaxPend: 32, Queue: 5, Addr: 0x4000, Shift: 14}, [2]uint64{4<<60 | 5<<32 | 32<<24 | 3, 0x5001}},
		{Command{Op: InvalidateIOMMUAll}, [2]uint64{8 << 60, 0}},
	} {
		if got := c.c.Encode(); got != c.want {
			t.Errorf("%v: %#x, want %#x", c.c.Op, got, c.want)
		}
		if got, illegal := DecodeCommand(c.want); got != c.c || illegal {
			t.Errorf("%#x: %+v, want %+v", c.want, got, c.c)
		}
	}
	for op := range uint64(16) {
		if _, illegal := DecodeCommand([2]uint64{op << 60, 0}); illegal != (op == 0 || op > 10) {
			t.Errorf("opcode %d: illegal %v", op, illegal)
		}
	}
}

// TestDTE: fields in their places, and what hardware refuses.
func TestDTE(t *testing.T) {
	d := DTE{Valid: true, Translation: true, Mode: 4, Root: 0xabc_d000, Rights: AllRights, Domain: 0x1234, IOTLB: true}
	w := d.Encode()
	if want := [2]uint64{3 | 4<<9 | 0xabc_d000 | 3<<61, 0x1234 | 1<<32}; w != want {
		t.Errorf("%#x, want %#x", w, want)
	}
	if got, illegal := DecodeDTE(w, 6); got != d || illegal {
		t.Errorf("%+v, want %+v", got, d)
	}
	for _, c := range []struct {
		name string
		w    [2]uint64
		max  int
		want bool
	}{
		{"deeper than HATS", d.Encode(), 3, true},
		{"as deep as HATS", d.Encode(), 4, false},
		{"reserved mode", DTE{Valid: true, Translation: true, Mode: 7}.Encode(), 6, true},
		{"mode without TV", DTE{Valid: true, Mode: 7}.Encode(), 6, false},
		{"not valid", DTE{Translation: true, Mode: 7}.Encode(), 6, false},
		{"reserved bit", [2]uint64{1 | 1<<2}, 6, true},
		{"bit 63", [2]uint64{1 | 1<<63}, 6, true},
	} {
		if _, illegal := DecodeDTE(c.w, c.max); illegal != c.want {
			t.Errorf("%s: illegal %v", c.name, illegal)
		}
	}
}

// TestEventsAndRegisters: encode and decode are inverse.
func TestEventsAndRegisters(t *testing.T) {
	e := Event{IOPageFault, 0x100, 7, FaultRW | FaultTR, 0xdead000}
	if w := e.Encode(); DecodeEvent(w) != e || w[0]>>60 != 2 || bits.OnesCount64(w[0]>>48&0xfff) != 2 {
		t.Errorf("%#x", w)
	}
	if base, log2 := DecodeBase(BaseRegister(0x7f000, 9)); base != 0x7f000 || log2 != 9 {
		t.Errorf("base register: %#x, %d", base, log2)
	}
	if base, n := DecodeDevTable(DevTableRegister(0x200000, 2<<20)); base != 0x200000 || n != 2<<20 {
		t.Errorf("device table: %#x, %d", base, n)
	}
	for levels := 4; levels <= 6; levels++ {
		if DecodeHATS(FeatureHATS(levels)) != levels {
			t.Errorf("HATS of %d levels", levels)
		}
	}
}
