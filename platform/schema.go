package platform

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"dmapath/kernel"
	"dmapath/sim"
)

// node is a key of the platform file: a section with children, or a value.
type node struct {
	name     string // last part of the key
	key      string // dotted
	children []*node
	*field   // nil for a section
}

// field is one value of a Spec.
type field struct {
	key      string
	index    []int // reflect path from Spec
	kind     *kind
	min, max int64
	bounds   string // as in the tag: "8..4096"
	words    []string
	pow2     bool
	doc      string
}

// schema is the tree of keys and the flat list of values, both in the order of the struct.
type schema struct {
	root   *node
	fields []*field
	byKey  map[string]*field
}

var kinds = map[reflect.Type]*kind{
	reflect.TypeFor[Hertz]():    hertzKind,
	reflect.TypeFor[Bytes]():    bytesKind,
	reflect.TypeFor[sim.Time](): timeKind,
	reflect.TypeFor[Cycles]():   cyclesKind,
	reflect.TypeFor[Count]():    countKind,
	reflect.TypeFor[Switch]():   switchKind,
	reflect.TypeFor[Word]():     wordKind,
	reflect.TypeFor[Pages]():    pagesKind,
	reflect.TypeFor[PortSet]():  portsKind,
}

// theSchema derives the schema from the tags of Spec, once. A wrong tag is a mistake of this package and panics.
var theSchema = sync.OnceValue(func() *schema {
	s := &schema{byKey: map[string]*field{}}
	s.root = s.section(reflect.TypeFor[Spec](), "", "", nil)
	return s
})

func (s *schema) section(t reflect.Type, name, key string, index []int) *node {
	n := &node{name: name, key: key}
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("key")
		if tag == "" {
			continue
		}
		path := append(append([]int(nil), index...), i)
		full := tag
		if key != "" {
			full = key + "." + tag
		}
		if k, ok := kinds[f.Type]; ok {
			n.children = append(n.children, &node{name: tag, key: full, field: s.value(f, k, full, path)})
			continue
		}
		n.children = append(n.children, s.section(f.Type, tag, full, path))
	}
	return n
}

func (s *schema) value(sf reflect.StructField, k *kind, key string, path []int) *field {
	f := &field{key: key, index: path, kind: k, bounds: sf.Tag.Get("range"), doc: sf.Tag.Get("doc"),
		pow2: sf.Tag.Get("pow2") == "yes", words: strings.Fields(sf.Tag.Get("words"))}
	if len(f.words) == 1 && f.words[0] == "@dialects" {
		f.words = dialectNames()
	}
	if f.doc == "" {
		panic("platform: no doc for " + key)
	}
	if k.units != nil {
		lo, hi, ok := strings.Cut(f.bounds, "..")
		var err, err2 error
		f.min, err = k.parseNumber(lo)
		f.max, err2 = k.parseNumber(hi)
		if !ok || err != nil || err2 != nil || f.min > f.max {
			panic(fmt.Sprintf("platform: range %q of %s: %v %v", f.bounds, key, err, err2))
		}
	}
	if k == wordKind && len(f.words) == 0 {
		panic("platform: no words for " + key)
	}
	s.fields = append(s.fields, f)
	s.byKey[key] = f
	return f
}

// child finds a key of a section.
func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// leaves calls do for every value under n, in order.
func (n *node) leaves(do func(*field)) {
	if n.field != nil {
		do(n.field)
		return
	}
	for _, c := range n.children {
		c.leaves(do)
	}
}

// allowed says in words what f accepts.
func (f *field) allowed() string {
	switch {
	case f.kind == wordKind:
		return strings.Join(f.words, ", ")
	case f.kind == switchKind:
		return "on, off"
	case f.kind == pagesKind:
		return "page sizes joined by +"
	case f.kind == portsKind:
		return "ports 0 to 15 joined by +"
	case f.pow2:
		return f.bounds + ", a power of two"
	}
	return f.bounds
}

// at is the place of f's value in s.
func (f *field) at(s *Spec) reflect.Value { return reflect.ValueOf(s).Elem().FieldByIndex(f.index) }

// put parses text, checks it against f's own limits and stores it in s. On an error s is as before.
func (f *field) put(s *Spec, text string) error {
	dst := f.at(s)
	switch f.kind {
	case wordKind:
		for _, w := range f.words {
			if w == text {
				dst.SetString(text)
				return nil
			}
		}
		return fmt.Errorf("%q is not allowed%s: allowed are %s", text, didYouMean(text, f.words), f.allowed())
	case switchKind:
		b, err := parseSwitch(text)
		if err != nil {
			return err
		}
		dst.SetBool(bool(b))
		return nil
	case pagesKind:
		p, err := parsePages(text)
		if err != nil {
			return err
		}
		dst.SetUint(uint64(p))
		return nil
	case portsKind:
		p, err := parsePorts(text)
		if err != nil {
			return err
		}
		dst.SetUint(uint64(p))
		return nil
	}
	n, err := f.kind.parseNumber(text)
	if err != nil {
		return err
	}
	if n < f.min || n > f.max {
		return fmt.Errorf("%s is outside the allowed %s (%s)", text, f.bounds, f.doc)
	}
	if f.pow2 && n&(n-1) != 0 {
		return fmt.Errorf("%s is not a power of two; allowed are %s (%s)", text, f.bounds, f.doc)
	}
	dst.SetInt(n)
	return nil
}

// text returns f's value in s as a platform file writes it.
func (f *field) text(s *Spec) string {
	v := f.at(s)
	switch f.kind {
	case wordKind:
		return v.String()
	case switchKind:
		if v.Bool() {
			return "on"
		}
		return "off"
	case pagesKind:
		return formatPages(Pages(v.Uint()))
	case portsKind:
		return formatPorts(PortSet(v.Uint()))
	}
	return f.kind.formatNumber(v.Int())
}

// didYouMean returns `, did you mean "x"?` for the nearest of names, or nothing when none is near.
func didYouMean(got string, names []string) string {
	if best, ok := Nearest(got, names, 1+len(got)/3); ok {
		return fmt.Sprintf(", did you mean %q?", best)
	}
	return ""
}

// Nearest is kernel.Nearest.
func Nearest(got string, names []string, limit int) (best string, ok bool) {
	return kernel.Nearest(got, names, limit)
}
