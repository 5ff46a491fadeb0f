package platform

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// Range is what a value may plausibly be on the real machine: the span of a number, or the choices of a word or a switch. It is about
// how little is known, not about what a key allows.
type Range struct {
	Lo, Hi int64    // base units, inclusive; of numbers
	Words  []string // choices; of words and switches, in the order of the key's own list
	Source string   // who says so; empty for the rule of UncertaintyRule
	kind   *kind
	powers bool  // only powers of two between Lo and Hi
	grain  int64 // only whole multiples beyond Lo, if not 0: of a size, the largest power of two in both ends and the value
}

// String writes r as Show does: 30ns..120ns, or lru|tree-plru.
func (r Range) String() string {
	if r.Words != nil {
		return strings.Join(r.Words, "|")
	}
	return r.kind.formatNumber(r.Lo) + ".." + r.kind.formatNumber(r.Hi)
}

// UncertaintyRule says which range a value has that names none.
const UncertaintyRule = "Without a range of its own a guess lies within half and twice its value (a clock: 0.8 to 1.25 times; a word or a " +
	"switch: any), an inferred value within 0.8 and 1.25 times (a clock: 0.9 to 1.1 times; a word or a switch is as it is). Datasheet and " +
	"measured values, zeros, sets of ports and page sizes, and settings (memory, kernel, link, what the IOMMU can do, keys of another kind of IOMMU) are fixed."

// spans are the factors of the rule.
var spans = map[Confidence]struct{ lo, hi, clockLo, clockHi float64 }{
	Guess:    {0.5, 2, 0.8, 1.25},
	Inferred: {0.8, 1.25, 0.9, 1.1},
}

// settings are keys, or sections with a dot behind them, whose values are chosen by whoever buys or boots the machine, or can be read from
// it: not knowing them is not a doubt about the hardware, so they are compared (--set) and not varied.
var settings = []string{
	"cpu.cores", "tlb.nested", "cache.topology.clusters", "cache.topology.nodes", "cache.topology.sockets", "memory.", "kernel.",
	"pcie.generation", "pcie.lanes", "pcie.mps", "pcie.mrrs", "pcie.rcb", "pcie.completion_size", "pcie.tags", "pcie.ecrc",
	"pcie.relaxed_ordering", "pcie.coherent", "pcie.device_tlb.",
	"iommu.dialect", "iommu.levels", "iommu.coherent", "iommu.snoop_control", "iommu.page_selective", "iommu.max_mask",
	"iommu.fault_records", "iommu.trapped", "iommu.second_stage",
}

// smmuOnly are keys that mean nothing to units of another dialect.
var smmuOnly = []string{"iommu.command_queue", "iommu.range_invalidation", "iommu.sync_message", "iommu.sync_overlap", "iommu.trap_access", "iommu.trap_command", "iommu.message"}

// isSetting reports whether key is one of settings.
func isSetting(key string) bool {
	return slices.ContainsFunc(settings, func(p string) bool { return key == p || strings.HasSuffix(p, ".") && strings.HasPrefix(key, p) })
}

// Range returns the plausible range of a value, and false when the value is taken as it is: by UncertaintyRule, or because it was
// set with --set, which fixes it unless a confidence is given with it. A range that the platform file gives counts for a setting too.
func (s *Spec) Range(key string) (Range, bool) {
	f := theSchema().byKey[key]
	if f == nil {
		return Range{}, false
	}
	pv := s.prov[key]
	if pv.Range != "" {
		r, err := f.parseRange(s, pv.Range)
		if err != nil {
			panic("platform: " + err.Error()) // was checked when it was read
		}
		r.Source = pv.RangeSource
		return r, r.wide()
	}
	if pv.Source == "--set" || isSetting(key) || s.IOMMU.Dialect != "smmuv3" && slices.Contains(smmuOnly, key) {
		return Range{}, false
	}
	span, ok := spans[pv.Confidence]
	if !ok {
		return Range{}, false
	}
	switch {
	case f.kind == wordKind && pv.Confidence == Guess:
		return Range{Words: f.words}, true
	case f.kind == switchKind && pv.Confidence == Guess:
		return Range{Words: []string{"off", "on"}}, true
	case f.kind.units == nil:
		return Range{}, false
	}
	lo, hi := span.lo, span.hi
	if f.kind == hertzKind {
		lo, hi = span.clockLo, span.clockHi
	}
	v := f.number(s)
	r := Range{Lo: max(f.min, int64(math.Ceil(float64(v)*lo))), Hi: min(f.max, int64(float64(v)*hi)), kind: f.kind, powers: f.powers(v)}
	if r.powers {
		r.Lo, r.Hi = ceilPower(r.Lo), floorPower(r.Hi)
	}
	return r, r.wide() && !s.stuck(f, r)
}

// stuck reports whether f is the size of a cache whose number of sets is a power of two and that, with its ways as they are, has no other size
// within r.
func (s *Spec) stuck(f *field, r Range) bool {
	ways, isSize := strings.CutSuffix(f.key, ".size")
	if !isSize || theSchema().byKey[ways+".ways"] == nil || theSchema().byKey[ways+".inclusive"] != nil {
		return false
	}
	_, free := s.Range(ways + ".ways")
	v := f.number(s)
	return !free && v*2 > r.Hi && (v+1)/2 < r.Lo
}

// wide reports whether r leaves a choice.
func (r Range) wide() bool { return len(r.Words) > 1 || r.Words == nil && r.Lo < r.Hi }

// powers reports whether values of f beside v are powers of two: because the key demands it, or because it is the size of a table, which
// hardware builds so unless it obviously did not.
func (f *field) powers(v int64) bool {
	if f.pow2 {
		return true
	}
	last := f.key[strings.LastIndexByte(f.key, '.')+1:]
	return (last == "entries" || last == "ways") && v > 0 && v&(v-1) == 0
}

func ceilPower(v int64) int64  { return 1 << bits.Len64(uint64(max(v, 1)-1)) }
func floorPower(v int64) int64 { return 1 << (bits.Len64(uint64(max(v, 1))) - 1) }

// parseRange reads "LO..HI" or "word|word" for f's value in s.
func (f *field) parseRange(s *Spec, text string) (Range, error) {
	parts := strings.Split(text, "|")
	if f.kind.units == nil {
		words := f.words
		if f.kind == switchKind {
			words = []string{"off", "on"}
		}
		if len(words) == 0 {
			return Range{}, fmt.Errorf("%s has no range: it is %s", f.key, f.kind)
		}
		for _, p := range parts {
			if !contains(words, p) {
				return Range{}, fmt.Errorf("range: %q is not allowed%s: allowed are %s", p, didYouMean(p, words), f.allowed())
			}
		}
		if !contains(parts, f.text(s)) {
			return Range{}, fmt.Errorf("range %s does not contain the value %s", text, f.text(s))
		}
		return Range{Words: slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !contains(parts, w) })}, nil
	}
	low, high, _ := strings.Cut(text, "..")
	r := Range{kind: f.kind}
	for _, end := range []struct {
		text string
		to   *int64
	}{{low, &r.Lo}, {high, &r.Hi}} {
		n, err := f.kind.parseNumber(end.text)
		if err == nil && (n < f.min || n > f.max) {
			err = fmt.Errorf("%s is outside the allowed %s", end.text, f.bounds)
		}
		if err != nil {
			return r, fmt.Errorf("range: %w", err)
		}
		*end.to = n
	}
	v := f.number(s)
	if v < r.Lo || v > r.Hi {
		return r, fmt.Errorf("range %s does not contain the value %s", r, f.text(s))
	}
	if r.powers = f.powers(v); r.powers {
		r.Lo, r.Hi = ceilPower(r.Lo), floorPower(r.Hi)
	}
	if all := uint64(r.Lo | r.Hi | v); f.kind == bytesKind && all != 0 {
		r.grain = 1 << bits.TrailingZeros64(all)
	}
	return r, nil
}

// Uncertain returns the keys of all values that have a range, in the order of the platform file.
func (s *Spec) Uncertain() []string {
	var keys []string
	for _, f := range theSchema().fields {
		if _, ok := s.Range(f.key); ok {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// Numeric returns the keys of all values that are numbers and not zero, in the order of the platform file.
func (s *Spec) Numeric() []string {
	var keys []string
	for _, f := range theSchema().fields {
		if f.kind.units != nil && f.number(s) != 0 {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// number is f's value in s, in base units.
func (f *field) number(s *Spec) int64 { return f.at(s).Int() }

// Ordinal returns the value of key as a number to correlate with: in base units, or the place of a word (or switch) in the list of those
// allowed. It is 0 for sets of ports and of page sizes, and for keys that do not exist.
func (s *Spec) Ordinal(key string) float64 {
	f := theSchema().byKey[key]
	switch {
	case f == nil || f.kind == portsKind || f.kind == pagesKind:
		return 0
	case f.kind == wordKind:
		return float64(slices.Index(f.words, f.text(s)))
	case f.kind == switchKind:
		if f.at(s).Bool() {
			return 1
		}
		return 0
	}
	return float64(f.number(s))
}

// Clone returns a copy of s that can be changed without changing s.
func (s *Spec) Clone() *Spec {
	c := *s
	c.sources, c.prov = map[string]string{}, map[string]Provenance{}
	for k, v := range s.sources {
		c.sources[k] = v
	}
	for k, v := range s.prov {
		c.prov[k] = v
	}
	c.notes = slices.Clone(s.notes)
	return &c
}

// store puts a number in base units into s, without checks.
func (f *field) store(s *Spec, v int64) { f.at(s).SetInt(v) }
