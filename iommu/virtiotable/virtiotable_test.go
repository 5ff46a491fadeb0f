package virtiotable

import (
	"math/rand/v2"
	"testing"

	"dmapath/cache"
)

// What is written is what is read, for every sort of request, and the status lies outside of what the driver writes.
func TestRequestsRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	m := cache.NewMemory()
	for i := range 500 {
		q := Request{Type: []Type{Attach, Detach, Map, Unmap}[i%4], Domain: rng.Uint32()}
		switch q.Type {
		case Map:
			q.First, q.Last, q.Phys, q.Flags = rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint32N(8)
		case Unmap:
			q.First, q.Last = rng.Uint64(), rng.Uint64()
		default:
			q.Endpoint, q.Flags = rng.Uint32N(1<<16), rng.Uint32N(2)
		}
		const at = 0x1040
		q.Encode(m, at)
		if s := StatusOf(m, at, q.Type.Bytes()); s == OK {
			t.Fatalf("%+v: answered before the device has seen it", q)
		}
		Answer(m, at, q.Type.Bytes(), Range)
		got, ok := DecodeRequest(m, at)
		if !ok || got != q || StatusOf(m, at, q.Type.Bytes()) != Range {
			t.Fatalf("%+v reads back as %+v, %v", q, got, ok)
		}
	}
}

// The parts of a queue do not overlap: what is written to each field of each entry is there after all others were written.
func TestRingsFieldsAreApart(t *testing.T) {
	m := cache.NewMemory()
	r := NewRing(0x10000)
	for i := range QueueSize {
		WriteDesc(m, r.Desc, i, Desc{uint64(i) << 20, uint32(i), DescIndirect, uint16(i)})
		Write16(m, r.AvailAt(uint16(i)), uint16(i))
		Write32(m, r.UsedAt(uint16(i)), uint32(i))
		Write32(m, r.UsedAt(uint16(i))+4, uint32(2*i))
	}
	Write16(m, r.AvailIdx(), 0xabcd)
	Write16(m, r.UsedIdx(), 0x1234)
	Write16(m, r.AvailEvent(), 0x4321)
	for i := range QueueSize {
		d := ReadDesc(m, r.Desc, i)
		if d != (Desc{uint64(i) << 20, uint32(i), DescIndirect, uint16(i)}) || Read16(m, r.AvailAt(uint16(i))) != uint16(i) ||
			Read32(m, r.UsedAt(uint16(i))) != uint32(i) || Read32(m, r.UsedAt(uint16(i))+4) != uint32(2*i) {
			t.Fatalf("entry %d was overwritten: %+v", i, d)
		}
	}
	if Read16(m, r.AvailIdx()) != 0xabcd || Read16(m, r.UsedIdx()) != 0x1234 || Read16(m, r.AvailEvent()) != 0x4321 || r.AvailEvent()+2 > r.Desc+RingBytes {
		t.Error("an index was overwritten, or the queue does not fit its memory")
	}
}

// A side is told exactly when the step passes what it asked for, also where the 16 bits wrap.
func TestNeedsEvent(t *testing.T) {
	for _, c := range []struct {
		event, now, old uint16
		want            bool
	}{{0, 1, 0, true}, {1, 1, 0, false}, {0, 5, 1, false}, {0xffff, 0, 0xffff, true}, {0xfffe, 2, 0xfffc, true}, {7, 7, 7, false}} {
		if got := NeedsEvent(c.event, c.now, c.old); got != c.want {
			t.Errorf("asked for %d, step %d to %d: told %v", c.event, c.old, c.now, got)
		}
	}
}
