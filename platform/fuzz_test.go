package platform

import (
	"testing"

	"dmapath/sim"
)

// What --set accepts, Get shows as text that Set accepts again, with the same value; what it refuses changes nothing.
func FuzzSet(f *testing.F) {
	for _, kv := range [][2]string{{"cpu.rob", "512; datasheet; a manual"}, {"cpu.frequency", "3.1GHz"}, {"memory.direct_map", "2MiB"}, {"dram.overhead", "0.5ns"},
		{"iommu.iotlb.entries", "1099511627776"}, {"cpu.robb", "1"}, {"memory.ram", "1EiB"}, {"iommu.page_sizes", "4KiB+2MiB+1GiB"}} {
		f.Add(kv[0], kv[1])
	}
	base, err := Load("icelake-sp")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		s := base.Clone()
		if err := s.Set(key, value); err != nil {
			if err.Error() == "" || !same(s, base) {
				t.Fatalf("%q refused with %v, and the platform is another", value, err)
			}
			return
		}
		text, err := s.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		again := base.Clone()
		if err := again.Set(key, text); err != nil {
			t.Fatalf("%s=%q is shown as %q, which is refused: %v", key, value, text, err)
		}
		if back, _ := again.Get(key); back != text {
			t.Fatalf("%s=%q is shown as %q, which is shown as %q", key, value, text, back)
		}
		_ = s.Check() // may refuse what values say together, and does not panic
	})
}

// A quantity that is read is written, and read as the same, whatever unit it came in.
func FuzzQuantity(f *testing.F) {
	for _, s := range []string{"4KiB", "1.25MiB", "0B", "9223372036854775807B", "75ns", "0.001us", "1e3s", "16777216TiB", "00KiB", "1.5B"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if b, err := ParseBytes(text); err == nil {
			shown := bytesKind.formatNumber(int64(b))
			if again, err := ParseBytes(shown); err != nil || again != b || b < 0 {
				t.Fatalf("%q is %d, shown as %q, which is %d, %v", text, b, shown, again, err)
			}
		}
		if d, err := ParseTime(text); err == nil {
			shown := timeKind.formatNumber(int64(d))
			if again, err := ParseTime(shown); err != nil || again != d || d < 0 {
				t.Fatalf("%q is %d, shown as %q, which is %d, %v", text, d/sim.Picosecond, shown, again/sim.Picosecond, err)
			}
		}
	})
}
