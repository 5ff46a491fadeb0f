package relations

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"dmapath/sim"
)

// differ names the first place in which two values of one type differ, and how; empty when they are the same. It looks at everything,
// unexported fields as well, follows pointers, each pair of them once, and takes functions for equal. An engine is not looked into: it
// is what a run happened on, and no part of its result.
func differ(a, b any) string {
	return comparison{}.compare("", reflect.ValueOf(a), reflect.ValueOf(b))
}

// comparison has the pairs of pointers that were followed.
type comparison map[pair]bool

type pair struct {
	typ  reflect.Type
	a, b unsafe.Pointer
}

var engine = reflect.TypeFor[*sim.Engine]()

func (seen comparison) compare(path string, a, b reflect.Value) string {
	say := func(x, y any) string { return fmt.Sprintf("%s: %v and %v", path, x, y) }
	if a.IsValid() != b.IsValid() {
		return say(a, b)
	}
	if !a.IsValid() {
		return ""
	}
	if a.Type() != b.Type() {
		return say(a.Type(), b.Type())
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() != b.IsNil() {
			return say(a.IsNil(), b.IsNil())
		}
		if a.Kind() == reflect.Pointer {
			p := pair{a.Type(), a.UnsafePointer(), b.UnsafePointer()}
			if a.Type() == engine || seen[p] {
				return ""
			}
			seen[p] = true
		}
		return seen.compare(path, a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if d := seen.compare(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i)); d != "" {
				return d
			}
		}
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return say(a.Len(), b.Len())
		}
		for i := range a.Len() {
			if d := seen.compare(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i)); d != "" {
				return d
			}
		}
	case reflect.Map:
		if a.Len() != b.Len() {
			return say(a.Len(), b.Len())
		}
		keys := a.MapKeys()
		slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
		for _, k := range keys {
			if d := seen.compare(fmt.Sprintf("%s[%v]", path, k), a.MapIndex(k), b.MapIndex(k)); d != "" {
				return d
			}
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if a.Int() != b.Int() {
			return say(a.Int(), b.Int())
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if a.Uint() != b.Uint() {
			return say(a.Uint(), b.Uint())
		}
	case reflect.Float32, reflect.Float64:
		if x, y := a.Float(), b.Float(); x != y && !(math.IsNaN(x) && math.IsNaN(y)) {
			return say(x, y)
		}
	case reflect.Bool:
		if a.Bool() != b.Bool() {
			return say(a.Bool(), b.Bool())
		}
	case reflect.String:
		if a.String() != b.String() {
			return say(a.String(), b.String())
		}
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
	default:
		panic("relations: a value of kind " + a.Kind().String())
	}
	return ""
}
