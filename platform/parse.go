package platform

import (
	"fmt"
	"sort"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Confidence says how much a value is worth.
type Confidence string

// Confidence words, best first.
const (
	// Datasheet: the vendor states it, or a compiler's machine model that cites the vendor.
	Datasheet Confidence = "datasheet"
	// Measured: somebody timed it on this part, and the source says who.
	Measured Confidence = "measured"
	// Inferred: derived from other figures, carried over from a close relative, or recalled without a copy to check.
	Inferred Confidence = "inferred"
	// Guess: a plausible number and nothing more.
	Guess Confidence = "guess"
)

var confidences = []string{string(Datasheet), string(Measured), string(Inferred), string(Guess)}

// Provenance is where a value comes from.
type Provenance struct {
	Source     string // as written; "@name" refers to the file's sources
	Confidence Confidence
	File       string // the file, "--set" for an override
	Line, Col  int    // 0 for an override
	// Range is the plausible range as text, LO..HI or WORD|WORD, when the file gives one; RangeSource says where it is from.
	Range, RangeSource string
}

// Parse reads a platform file. name is what problems call it; Spec.Name is its name: key, or name without folder and ending.
// The error lists every problem of the file.
func Parse(name string, data []byte) (*Spec, error) {
	p := &fileParser{Reader: Reader{File: name, Kind: "platform file"}, spec: &Spec{sources: map[string]string{}, prov: map[string]Provenance{}}}
	p.parse(data)
	if err := p.Err(); err != nil {
		return nil, err
	}
	return p.spec, nil
}

type fileParser struct {
	Reader
	spec  *Spec
	given map[string]*token.Position // keys and sections that the file has
	cited []Problem                  // the position of each use of a source; Text is its name
}

func (p *fileParser) parse(data []byte) {
	p.given = map[string]*token.Position{}
	p.spec.Name = baseName(p.File)
	top := p.Top(data)
	if top == nil {
		return
	}
	p.header(top)
	p.section(theSchema().root, top)
	p.checkCitations()
	p.checkMissing()
	if len(p.Problems) == 0 {
		p.Problems = append(p.Problems, p.spec.impossible()...)
	}
}

// section reads the children of sec from m.
func (p *fileParser) section(sec *node, m *ast.MappingNode) {
	for _, v := range m.Values {
		name := p.KeyOf(v, sec.key)
		if name == "" {
			continue
		}
		key := join(sec.key, name)
		if first, dup := p.given[key]; dup {
			p.Bad(Pos(v), key, "is given twice, first in line %d", first.Line)
			continue
		}
		p.given[key] = Pos(v)
		if sec.key == "" && contains(headerKeys, name) {
			continue
		}
		c := sec.child(name)
		switch {
		case c == nil:
			names := childNames(sec)
			where := "section " + sec.key
			if sec.key == "" {
				names, where = append(names, headerKeys...), "a platform file"
			}
			p.Bad(Pos(v), key, "unknown key in %s%s", where, didYouMean(name, names))
		case c.field != nil:
			p.value(c.field, v.Value)
		default:
			if mm := p.Mapping(v.Value, key); mm != nil {
				p.section(c, mm)
			}
		}
	}
}

// value reads one parameter in either form: "VALUE; CONFIDENCE; SOURCE" or keys value, confidence, source and perhaps range and
// range_source.
func (p *fileParser) value(f *field, n ast.Node) {
	if f.kind == nil {
		panic("platform: value without kind " + f.key)
	}
	var text string
	pv := Provenance{File: p.File}
	if at := Pos(n); at != nil {
		pv.Line, pv.Col = at.Line, at.Column
	}
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		m := p.Mapping(n, f.key)
		for _, v := range m.Values {
			name := p.KeyOf(v, f.key)
			if name == "" {
				return
			}
			var s string
			var ok bool
			if !contains(valueKeys, name) {
				p.Bad(Pos(v), f.key, "unknown key %q%s: a value has %s", name, didYouMean(name, valueKeys), strings.Join(valueKeys, ", "))
				return
			}
			if name == "range" {
				s, ok = p.rangeOf(f, v.Value)
			} else {
				s, ok = p.Scalar(v.Value, join(f.key, name))
			}
			if !ok {
				return
			}
			switch {
			case name == "range" && pv.Range == "":
				pv.Range = s
			case name == "range_source" && pv.RangeSource == "":
				pv.RangeSource = s
			case name == "value" && text == "":
				text = s
			case name == "confidence" && pv.Confidence == "":
				pv.Confidence = Confidence(s)
			case name == "source" && pv.Source == "":
				pv.Source = s
			default:
				p.Bad(Pos(v), join(f.key, name), "is given twice or empty")
				return
			}
		}
		if text == "" {
			p.Bad(Pos(n), f.key, "value is missing")
			return
		}
	default:
		s, ok := p.Scalar(n, f.key)
		if !ok {
			return
		}
		text, pv.Confidence, pv.Source = splitCompact(s)
	}
	if err := pv.complete(); err != nil {
		p.Bad(Pos(n), f.key, "%v", err)
	}
	p.cite(f.key, pv)
	if err := f.put(p.spec, text); err != nil {
		p.Bad(Pos(n), f.key, "%v", err)
		return
	}
	if pv.Range != "" {
		if _, err := f.parseRange(p.spec, pv.Range); err != nil {
			p.Bad(Pos(n), f.key, "%v", err)
			return
		}
	} else if pv.RangeSource != "" {
		p.Bad(Pos(n), f.key, "has a range_source but no range")
		return
	}
	p.spec.prov[f.key] = pv
}

// valueKeys are the keys of a value in its long form.
var valueKeys = []string{"value", "confidence", "source", "range", "range_source"}

// rangeOf reads a range, [LO, HI] or a list of words, as the text that Provenance holds.
func (p *fileParser) rangeOf(f *field, n ast.Node) (string, bool) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		p.Bad(Pos(n), f.key, "range is a list, [LOW, HIGH] or the words that are plausible")
		return "", false
	}
	var parts []string
	for _, v := range seq.Values {
		s, ok := p.Scalar(v, join(f.key, "range"))
		if !ok {
			return "", false
		}
		parts = append(parts, s)
	}
	if f.kind.units == nil {
		return strings.Join(parts, "|"), true
	}
	if len(parts) != 2 {
		p.Bad(Pos(n), f.key, "range has %d ends: [LOW, HIGH] is wanted", len(parts))
		return "", false
	}
	return strings.Join(parts, ".."), true
}

// splitCompact takes "VALUE; CONFIDENCE; SOURCE" apart; the last two may be missing.
func splitCompact(s string) (text string, c Confidence, source string) {
	parts := strings.SplitN(s, ";", 3)
	text = strings.TrimSpace(parts[0])
	if len(parts) > 1 {
		c = Confidence(strings.TrimSpace(parts[1]))
	}
	if len(parts) > 2 {
		source = strings.TrimSpace(parts[2])
	}
	return text, c, source
}

// noSource is what a value says of itself when nobody said where it comes from.
const noSource = "no source given"

// complete checks pv. A value that says nothing of its source is a guess; one that claims more must name a source.
func (pv *Provenance) complete() error {
	if pv.Confidence == "" {
		if pv.Source != "" {
			return fmt.Errorf("has a source but no confidence: one of %s", strings.Join(confidences, ", "))
		}
		pv.Confidence = Guess
	}
	if !contains(confidences, string(pv.Confidence)) {
		return fmt.Errorf("confidence %q is not known%s: allowed are %s", pv.Confidence,
			didYouMean(string(pv.Confidence), confidences), strings.Join(confidences, ", "))
	}
	if pv.Source == "" {
		if pv.Confidence != Guess {
			return fmt.Errorf("says %s but names no source", pv.Confidence)
		}
		pv.Source = noSource
	}
	return nil
}

// citation returns the name in a source that begins with "@name".
func citation(source string) (name string, ok bool) {
	if !strings.HasPrefix(source, "@") {
		return "", false
	}
	name = source[1:]
	for i, r := range name {
		if !nameRune(r) || r == '.' {
			return name[:i], true
		}
	}
	return name, true
}

func (p *fileParser) cite(key string, pv Provenance) {
	if name, ok := citation(pv.Source); ok {
		p.cited = append(p.cited, Problem{Line: pv.Line, Col: pv.Col, Key: key, Text: name})
	}
}

func (p *fileParser) checkCitations() {
	for _, c := range p.cited {
		if _, ok := p.spec.sources[c.Text]; !ok {
			p.Bad(&token.Position{Line: c.Line, Column: c.Col}, c.Key, "source %q is not in sources%s", "@"+c.Text,
				didYouMean(c.Text, sortedKeys(p.spec.sources)))
		}
	}
}

// checkMissing reports every value that neither the file nor the preset it extends gives.
func (p *fileParser) checkMissing() {
	if p.given["extends"] != nil {
		return // complete, or the preset's name was wrong, which has been said
	}
	var walk func(n *node, at *token.Position)
	walk = func(n *node, at *token.Position) {
		if g := p.given[n.key]; g != nil {
			at = g
		} else if n.field == nil && n.key != "" {
			count := 0
			n.leaves(func(*field) { count++ })
			p.Bad(at, n.key, "the section is missing, with %d values; a file that begins with a preset says extends", count)
			return
		}
		if n.field != nil {
			if _, ok := p.spec.prov[n.key]; !ok && p.given[n.key] == nil {
				p.Bad(at, n.key, "is missing (%s; allowed %s)", n.doc, n.allowed())
			}
			return
		}
		for _, c := range n.children {
			walk(c, at)
		}
	}
	walk(theSchema().root, nil)
}

func validName(s string) bool {
	for _, r := range s {
		if !nameRune(r) {
			return false
		}
	}
	return s != ""
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
}

func join(section, name string) string {
	if section == "" {
		return name
	}
	return section + "." + name
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func childNames(n *node) []string {
	var s []string
	for _, c := range n.children {
		s = append(s, c.name)
	}
	return s
}

func sortedKeys[V any](m map[string]V) []string {
	var s []string
	for k := range m {
		s = append(s, k)
	}
	sort.Strings(s)
	return s
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
