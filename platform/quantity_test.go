package platform

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestParseNumber(t *testing.T) {
	for _, c := range []struct {
		kind *kind
		text string
		want int64
	}{
		{hertzKind, "3.4GHz", 3_400_000_000}, {hertzKind, "2933MHz", 2_933_000_000}, {hertzKind, "1Hz", 1}, {bytesKind, "1.25MiB", 1310720}, {bytesKind, "0B", 0},
		{bytesKind, "64TiB", 64 << 40}, {timeKind, "13.75ns", 13750}, {timeKind, "7.8us", 7_800_000}, {timeKind, "1s", 1e12}, {timeKind, "0.5ns", 500},
		{cyclesKind, "1cycle", 1}, {cyclesKind, "5cycles", 5}, {countKind, "0", 0}, {countKind, "512", 512},
	} {
		got, err := c.kind.parseNumber(c.text)
		if err != nil || got != c.want {
			t.Errorf("%s: %d, %v; want %d", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "ns", "5", "5 ns", "5NS", "05ns", "5.ns", ".5ns", "1.2.3ns", "1e3ns", "+5ns", "0x5ns", "99999999999999999999ns", "5.0001ps", "NaN", "5ns5"} {
		if n, err := timeKind.parseNumber(text); err == nil {
			t.Errorf("%q is accepted as %d ps", text, n)
		}
	}
}

// TestNumbersRoundTrip: what is written is read as the same number, for every kind and size.
func TestNumbersRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom([]*kind{hertzKind, bytesKind, timeKind, cyclesKind, countKind}).Draw(t, "kind")
		n := rapid.OneOf(rapid.Int64Range(0, 10000), rapid.Int64Range(0, math.MaxInt64),
			rapid.Custom(func(t *rapid.T) int64 {
				return rapid.Int64Range(0, 4000).Draw(t, "m") << rapid.IntRange(0, 50).Draw(t, "shift")
			})).Draw(t, "n")
		text := k.formatNumber(n)
		back, err := k.parseNumber(text)
		if err != nil || back != n {
			t.Fatalf("%d is written %q and read as %d, %v", n, text, back, err)
		}
	})
}

func TestPagesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Pages(rapid.Uint64Range(1, 1<<40).Draw(t, "p") << 12 &^ (1 << 63))
		if p == 0 {
			return
		}
		back, err := parsePages(formatPages(p))
		if err != nil || back != p {
			t.Fatalf("%x is written %q and read as %x, %v", uint64(p), formatPages(p), uint64(back), err)
		}
		q := PortSet(rapid.Uint16Min(1).Draw(t, "q"))
		if again, err := parsePorts(formatPorts(q)); err != nil || again != q {
			t.Fatalf("ports %b: %b, %v", q, again, err)
		}
	})
}
