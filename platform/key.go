package platform

import (
	"math/bits"
	"reflect"
)

// Key describes one value of a platform to programs that vary it: what it may be, beside what Check says about values together.
type Key struct {
	Name string // dotted, as in Set
	Doc  string
	// Number is true for what has a magnitude; Min and Max are then its limits in the base unit (bytes, hertz, picoseconds, cycles, a count).
	Number   bool
	Min, Max int64
	Pow2     bool     // only powers of two
	Words    []string // the allowed words otherwise, on and off for a switch; nil for sets of ports and of page sizes
}

// Schema describes every value, in the order of the file.
func Schema() []Key {
	ks := make([]Key, len(theSchema().fields))
	for i, f := range theSchema().fields {
		ks[i] = Key{Name: f.key, Doc: f.doc, Number: f.kind.units != nil, Min: f.min, Max: f.max, Pow2: f.pow2}
		switch f.kind {
		case switchKind:
			ks[i].Words = []string{"on", "off"}
		case wordKind:
			ks[i].Words = f.words
		}
	}
	return ks
}

// Number returns the value of a key that has a magnitude, in its base unit; ok is false when key is none.
func (s *Spec) Number(key string) (v int64, ok bool) {
	f := theSchema().byKey[key]
	if f == nil || f.kind.units == nil {
		return 0, false
	}
	return reflect.ValueOf(s).Elem().FieldByIndex(f.index).Int(), true
}

// Format writes v as Set wants it: within the limits of k, with a unit, and for powers of two the one below v.
func (k *Key) Format(v int64) string {
	v = min(max(v, k.Min), k.Max)
	if k.Pow2 {
		v = 1 << (bits.Len64(uint64(v)) - 1)
	}
	return theSchema().byKey[k.Name].kind.formatNumber(v)
}
