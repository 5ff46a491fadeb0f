package sweep

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"dmapath/platform"
	"dmapath/sim"
)

// MaxPoints is the most points that a plan may have.
const MaxPoints = 1_000_000

// MaxValues is the most values that the points of a plan have together; each takes some tens of bytes.
const MaxValues = 16 * MaxPoints

// Axis is one parameter and the values that it takes.
//
// The text of an axis is KEY=VALUES. VALUES is a list with commas; an element is a value, or a range:
//
//	1..8        1, 2, ... 8
//	0..64+16    0, 16, 32, 48, 64
//	16..4096*2  16, 32, ... 4096
//	10ns..1us*10   with units: bytes, time, or any other when both ends have the same
//	10..20      a whole number between them, for random points and Latin hypercubes
//	1.5..2.5    any number between them, for these only
//	16..4096*   the same, evenly in the logarithm
//
// A grid takes the values in order; a random point takes one of them, or one from the range.
type Axis struct {
	Key    string
	Text   string // as given, for messages and the plan
	values []string
	free   *span // a range without steps: only for random points
}

// span is a range of numbers of one unit.
type span struct {
	lo, hi    float64
	geometric bool
	whole     bool
	unit      string
}

var (
	ranged   = regexp.MustCompile(`^(\S+?)\.\.([^+*\s]+)(?:([+*])(\S*))?$`)
	quantity = regexp.MustCompile(`^(-?\d+(?:\.\d+)?)([A-Za-z/%]*)$`)
)

// ParseAxis reads KEY=VALUES.
func ParseAxis(text string) (Axis, error) {
	key, values, ok := strings.Cut(text, "=")
	key, values = strings.TrimSpace(key), strings.TrimSpace(values)
	if !ok || key == "" {
		return Axis{}, fmt.Errorf("%q: want KEY=VALUES, such as iommu.iotlb.entries=16..4096*2", text)
	}
	a := Axis{Key: key, Text: values}
	items := strings.Split(values, ",")
	for _, item := range items {
		if item = strings.TrimSpace(item); item == "" {
			return Axis{}, fmt.Errorf("%s: %q has an empty element", key, values)
		}
		f := ranged.FindStringSubmatch(item)
		if f == nil {
			if strings.Contains(item, "..") {
				return Axis{}, fmt.Errorf("%s: %q is no range: want LO..HI, LO..HI+STEP or LO..HI*FACTOR", key, item)
			}
			a.values = append(a.values, item)
			continue
		}
		if err := a.span(f[1], f[2], f[3], f[4], len(items) == 1); err != nil {
			return Axis{}, fmt.Errorf("%s: %s: %w", key, item, err)
		}
		if len(a.values) > MaxPoints {
			return Axis{}, fmt.Errorf("%s: %s: more than %d values", key, item, MaxPoints)
		}
	}
	seen := map[string]bool{}
	for _, v := range a.values {
		if seen[v] {
			return Axis{}, fmt.Errorf("%s: the value %s is there twice", key, v)
		}
		seen[v] = true
	}
	return a, nil
}

// span adds the range lo..hi with a step.
func (a *Axis) span(lo, hi, op, step string, alone bool) error {
	s, err := newSpan(lo, hi)
	if err != nil {
		return err
	}
	s.geometric = op == "*"
	if s.geometric && s.lo <= 0 {
		return fmt.Errorf("a range with a factor begins above 0")
	}
	if op == "" && s.whole {
		step, op = "1", "+"
	} else if step == "" {
		if !alone {
			return fmt.Errorf("a range without steps stands alone")
		}
		a.free = s
		return nil
	}
	by, err := s.step(op, step)
	if err != nil {
		return err
	}
	if alone && by == 1 && op == "+" {
		a.free = s // random points may take any value of it
	}
	for i := 0; ; i++ {
		v := s.lo + float64(i)*by
		if s.geometric {
			v = s.lo * math.Pow(by, float64(i))
		}
		if v > s.hi*(1+1e-9) {
			return nil
		}
		if len(a.values) > MaxPoints {
			return nil // the caller refuses it
		}
		a.values = append(a.values, s.format(v))
	}
}

// newSpan reads the two ends.
func newSpan(lo, hi string) (*span, error) {
	l, h := quantity.FindStringSubmatch(lo), quantity.FindStringSubmatch(hi)
	if l == nil || h == nil {
		return nil, fmt.Errorf("the ends are numbers with a unit, or without")
	}
	s := &span{unit: h[2]}
	if l[2] != "" && l[2] != h[2] {
		// Two units: both are bytes or both are times, and the finest unit holds each exactly.
		if lb, err := platform.ParseBytes(lo); err == nil {
			if hb, err := platform.ParseBytes(hi); err == nil {
				s.lo, s.hi, s.unit, s.whole = float64(lb), float64(hb), "B", true
				return s, s.check()
			}
		}
		if lt, err := platform.ParseTime(lo); err == nil {
			if ht, err := platform.ParseTime(hi); err == nil {
				s.lo, s.hi, s.unit, s.whole = float64(lt/sim.Picosecond), float64(ht/sim.Picosecond), "ps", true
				return s, s.check()
			}
		}
		return nil, fmt.Errorf("the units %s and %s do not go together", l[2], h[2])
	}
	s.lo, _ = strconv.ParseFloat(l[1], 64)
	s.hi, _ = strconv.ParseFloat(h[1], 64)
	s.whole = !strings.Contains(l[1]+h[1], ".")
	return s, s.check()
}

func (s *span) check() error {
	if !(s.lo <= s.hi) || s.hi > 1<<53 || s.lo < -(1<<53) {
		return fmt.Errorf("the first end is not below the second, or they are beyond 2^53")
	}
	return nil
}

// step reads the step of a range.
func (s *span) step(op, text string) (float64, error) {
	f := quantity.FindStringSubmatch(text)
	if f == nil || op == "*" && f[2] != "" || f[2] != "" && f[2] != s.unit {
		return 0, fmt.Errorf("the step %s is no number, or not in the unit of the range", text)
	}
	by, _ := strconv.ParseFloat(f[1], 64)
	if op == "*" && by <= 1 || op == "+" && by <= 0 {
		return 0, fmt.Errorf("the step %s leads nowhere: a factor is above 1, a difference above 0", text)
	}
	if s.whole && op == "+" && strings.Contains(f[1], ".") {
		s.whole = false
	}
	return by, nil
}

// format writes a value of the range.
func (s *span) format(v float64) string {
	if s.whole {
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64) + s.unit
	}
	return strconv.FormatFloat(v, 'g', 6, 64) + s.unit
}

// at is the value at a share u of the range, 0 <= u < 1.
func (s *span) at(u float64) string {
	switch {
	case s.geometric:
		return s.format(s.lo * math.Pow(s.hi/s.lo, u))
	case s.whole:
		return s.format(min(s.lo+math.Floor(u*(s.hi-s.lo+1)), s.hi))
	}
	return s.format(s.lo + u*(s.hi-s.lo))
}

// Fixed says that the axis has one value.
func (a *Axis) Fixed() bool { return len(a.values) == 1 }

// Values are those of a grid; an error when the axis has none.
func (a *Axis) Values() ([]string, error) {
	if len(a.values) == 0 {
		return nil, fmt.Errorf("%s: %s has no steps: a grid needs %s+STEP or %s*FACTOR", a.Key, a.Text, strings.TrimRight(a.Text, "*"), strings.TrimRight(a.Text, "*"))
	}
	return a.values, nil
}

// At is the value at a share u of the axis, 0 <= u < 1: of a list each element has the same share.
func (a *Axis) At(u float64) string {
	if a.free != nil {
		return a.free.at(u)
	}
	return a.values[min(int(u*float64(len(a.values))), len(a.values)-1)]
}
