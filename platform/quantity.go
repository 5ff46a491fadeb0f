package platform

import (
	"fmt"
	"math/big"
	"math/bits"
	"strings"

	"dmapath/sim"
)

// The types of the values of a Spec. Each is an integer in its base unit; decimals and prefixes exist in text only.
type (
	// Hertz is a frequency. Text: 3.4GHz, 2933MHz.
	Hertz int64
	// Bytes is a size or an address. Text: 48KiB, 1.25MiB, 64B.
	Bytes int64
	// Cycles counts clock cycles of the part that the key belongs to. Text: 5cycles, 1cycle.
	Cycles int64
	// Count is a number of things. Text: plain digits.
	Count int64
	// Switch is a feature that is there or not. Text: on, off.
	Switch bool
	// Word is one of the words that the key allows.
	Word string
	// Pages is a set of page sizes: bit n stands for 2^n bytes. Text: 4KiB, or 4KiB+2MiB.
	Pages uint64
	// PortSet is a set of execution ports 0 to 15. Text: 0+1+5.
	PortSet uint16
)

// Shifts returns the page sizes of p as powers of two, smallest first.
func (p Pages) Shifts() []uint8 {
	var s []uint8
	for v := uint64(p); v != 0; v &= v - 1 {
		s = append(s, uint8(bits.TrailingZeros64(v)))
	}
	return s
}

// unit is a suffix and what it multiplies the number with to give the base unit.
type unit struct {
	name  string
	scale int64
}

// Units by kind, largest first; the last is the base unit. plain says that the kind has no unit.
var (
	hertzUnits = []unit{{"GHz", 1e9}, {"MHz", 1e6}, {"kHz", 1e3}, {"Hz", 1}}
	byteUnits  = []unit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}
	timeUnits  = []unit{{"s", int64(sim.Second)}, {"ms", int64(sim.Millisecond)}, {"us", int64(sim.Microsecond)},
		{"ns", int64(sim.Nanosecond)}, {"ps", 1}}
	cycleUnits = []unit{{"cycles", 1}, {"cycle", 1}}
	plainUnits = []unit{{"", 1}}
)

// kind is how values of one Go type are read, written and checked.
type kind struct {
	name    string // for messages: "a frequency"
	example string
	units   []unit // nil: not a number
}

var (
	hertzKind  = &kind{"a frequency", "3.4GHz", hertzUnits}
	bytesKind  = &kind{"a size", "48KiB", byteUnits}
	timeKind   = &kind{"a time", "75ns", timeUnits}
	cyclesKind = &kind{"a number of cycles", "5cycles", cycleUnits}
	countKind  = &kind{"a plain number", "512", plainUnits}
	switchKind = &kind{"on or off", "on", nil}
	wordKind   = &kind{"a word", "", nil}
	portsKind  = &kind{"a set of ports", "0+1+5", nil}
	pagesKind  = &kind{"a set of page sizes", "4KiB+2MiB", nil}
)

// parseNumber reads text as a number with one of k's units, in base units.
func (k *kind) parseNumber(text string) (int64, error) {
	i := 0
	for i < len(text) && (text[i] >= '0' && text[i] <= '9' || text[i] == '.') {
		i++
	}
	num, suffix := text[:i], text[i:]
	if num == "" {
		if strings.HasPrefix(text, "-") {
			return 0, fmt.Errorf("%q is negative; %s is never negative here", text, k.name)
		}
		return 0, fmt.Errorf("%q is not %s, such as %s", text, k.name, k.example)
	}
	whole, frac, dot := strings.Cut(num, ".")
	switch {
	case whole == "" || dot && frac == "" || strings.Contains(frac, "."):
		return 0, fmt.Errorf("%q is not a decimal number", num)
	case len(whole) > 1 && whole[0] == '0':
		return 0, fmt.Errorf("%q has a leading zero: write %s", text, strings.TrimLeft(whole[:len(whole)-1], "0")+text[len(whole)-1:])
	case len(num) > 24:
		return 0, fmt.Errorf("%q has too many digits", text)
	}
	for _, u := range k.units {
		if u.name != suffix {
			continue
		}
		r, ok := new(big.Rat).SetString(num)
		if !ok {
			return 0, fmt.Errorf("%q is not a decimal number", num)
		}
		r.Mul(r, new(big.Rat).SetInt64(u.scale))
		base := k.units[len(k.units)-1].name
		if !r.IsInt() {
			if base == "" {
				return 0, fmt.Errorf("%q is not a whole number", text)
			}
			return 0, fmt.Errorf("%q is not a whole number of %s", text, base)
		}
		if !r.Num().IsInt64() {
			return 0, fmt.Errorf("%q is too large", text)
		}
		return r.Num().Int64(), nil
	}
	if suffix == "" {
		return 0, fmt.Errorf("%q has no unit: write %s, such as %s", text, k.name, k.example)
	}
	if k == countKind {
		return 0, fmt.Errorf("%q has a unit; a plain number is wanted, such as %s", text, k.example)
	}
	return 0, fmt.Errorf("unknown unit %q in %q: allowed are %s", suffix, text, unitNames(k.units))
}

func unitNames(us []unit) string {
	var s []string
	for _, u := range us {
		s = append(s, u.name)
	}
	return strings.Join(s, ", ")
}

// formatNumber writes n, in base units, in the largest unit that shows it exactly with at most three decimals.
func (k *kind) formatNumber(n int64) string {
	if k == cyclesKind {
		if n == 1 {
			return "1cycle"
		}
		return fmt.Sprintf("%dcycles", n)
	}
	for _, u := range k.units {
		if n < u.scale && u.scale > 1 {
			continue
		}
		hi, lo := bits.Mul64(uint64(n%u.scale), 1000)
		if hi != 0 {
			continue
		}
		if lo%uint64(u.scale) != 0 {
			continue
		}
		frac := lo / uint64(u.scale)
		s := fmt.Sprint(n / u.scale)
		if frac != 0 {
			s += strings.TrimRight(fmt.Sprintf(".%03d", frac), "0")
		}
		return s + u.name
	}
	return fmt.Sprint(n) + k.units[len(k.units)-1].name
}

// parsePages reads page sizes joined by +.
func parsePages(text string) (Pages, error) {
	var p Pages
	for _, part := range strings.Split(text, "+") {
		n, err := bytesKind.parseNumber(strings.TrimSpace(part))
		if err != nil {
			return 0, err
		}
		if n < 4096 || bits.OnesCount64(uint64(n)) != 1 {
			return 0, fmt.Errorf("%q is not a page size: powers of two from 4KiB are allowed", part)
		}
		if p&Pages(n) != 0 {
			return 0, fmt.Errorf("%q names %s twice", text, part)
		}
		p |= Pages(n)
	}
	return p, nil
}

func formatPages(p Pages) string {
	var s []string
	for _, b := range p.Shifts() {
		s = append(s, bytesKind.formatNumber(1<<b))
	}
	return strings.Join(s, "+")
}

// parsePorts reads port numbers joined by +.
func parsePorts(text string) (PortSet, error) {
	var p PortSet
	for _, part := range strings.Split(text, "+") {
		n, err := countKind.parseNumber(strings.TrimSpace(part))
		if err != nil {
			return 0, err
		}
		if n > 15 {
			return 0, fmt.Errorf("port %d: allowed are 0 to 15", n)
		}
		if p&(1<<n) != 0 {
			return 0, fmt.Errorf("%q names port %d twice", text, n)
		}
		p |= 1 << n
	}
	return p, nil
}

func formatPorts(p PortSet) string {
	var s []string
	for n := range 16 {
		if p>>n&1 != 0 {
			s = append(s, fmt.Sprint(n))
		}
	}
	return strings.Join(s, "+")
}

func parseSwitch(text string) (Switch, error) {
	switch text {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither on nor off", text)
}

func (k *kind) String() string { return k.name }

// ParseTime reads a time with its unit (75ns, 10us), as in a platform file.
func ParseTime(text string) (sim.Time, error) {
	n, err := timeKind.parseNumber(text)
	return sim.Time(n), err
}

// ParseBytes reads a size with its unit (4KiB, 512B), as in a platform file.
func ParseBytes(text string) (Bytes, error) {
	n, err := bytesKind.parseNumber(text)
	return Bytes(n), err
}
