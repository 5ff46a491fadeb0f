package direct

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"dmapath/kernel"
)

// dma_capable: the last byte counts, a wrap around the end of the address space does not help, and a zero bus limit is
// no limit.
func TestCapable(t *testing.T) {
	for _, c := range []struct {
		addr, size, mask, bus uint64
		want                  bool
	}{
		{0, 1, 0xff, 0, true},
		{0xff, 1, 0xff, 0, true},
		{0xff, 2, 0xff, 0, false},
		{0x100, 1, 0xff, 0, false},
		{0, 0x100, 0xffff, 0xff, true},
		{0, 0x101, 0xffff, 0xff, false},
		{0, 0x101, 0xff, 0xffff, false},
		{^uint64(0), 1, ^uint64(0), 0, true},
		{^uint64(0), 2, ^uint64(0), 0, false},
	} {
		d := &kernel.Device{Mask: c.mask, BusLimit: c.bus}
		if got := Capable(d, c.addr, c.size); got != c.want {
			t.Errorf("addr %#x size %#x mask %#x bus limit %#x: capable %v, want %v", c.addr, c.size, c.mask, c.bus, got, c.want)
		}
	}
}

// Translating to the bus and back gives the address again, for every range map without overlaps.
func TestRangeMapRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for range 200 {
		d := &kernel.Device{Mask: ^uint64(0)}
		var cpuAt, dmaAt uint64
		for range 1 + r.IntN(5) {
			size := uint64(1+r.IntN(64)) << 20
			cpuAt += uint64(r.IntN(8)) << 20
			dmaAt += uint64(r.IntN(8)) << 20
			d.Ranges = append(d.Ranges, kernel.BusRange{CPU: cpuAt, DMA: dmaAt, Size: size})
			cpuAt, dmaAt = cpuAt+size, dmaAt+size
		}
		for range 50 {
			phys := r.Uint64N(cpuAt + 1<<20)
			inside := false
			for _, x := range d.Ranges {
				inside = inside || phys >= x.CPU && phys < x.CPU+x.Size
			}
			addr, ok := d.BusAddress(phys)
			if ok != inside {
				t.Fatalf("%+v: %#x translates: %v, want %v", d.Ranges, phys, ok, inside)
			}
			if back := ToPhys(d, addr); ok && back != phys {
				t.Fatalf("%+v: %#x -> %#x -> %#x", d.Ranges, phys, addr, back)
			}
		}
	}
}

func TestErrorNamesDeviceAddressAndLimit(t *testing.T) {
	err := error(&Error{"0000:00:03.0", 0x123456000, 0x1000, 0xffffffff, ErrNotCapable})
	for _, want := range []string{"0000:00:03.0", "0x123456000", "0xffffffff"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %s", err, want)
		}
	}
	if !errors.Is(err, ErrNotCapable) {
		t.Error("the reason is not wrapped")
	}
}
