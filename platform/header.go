package platform

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// header reads what is not a parameter: name, title, extends, based_on, sources and notes.
func (p *fileParser) header(top *ast.MappingNode) {
	var parent *Spec
	seen := map[string]bool{}
	for _, v := range top.Values {
		t, ok := v.Key.(*ast.StringNode)
		if !ok || seen[t.Value] {
			continue
		}
		seen[t.Value] = true
		switch key := t.Value; key {
		case "name":
			if s, ok := p.Scalar(v.Value, key); ok {
				if !validName(s) {
					p.Bad(Pos(v.Value), key, "%q: lower-case letters, digits, '-', '_' and '.' are allowed", s)
				}
				p.spec.Name = s
			}
		case "title":
			p.spec.Title, _ = p.Scalar(v.Value, key)
		case "based_on":
			if s, ok := p.Scalar(v.Value, key); ok {
				if !validName(s) {
					p.Bad(Pos(v.Value), key, "%q: lower-case letters, digits, '-', '_' and '.' are allowed", s)
				}
				p.spec.Extends = s
			}
		case "extends":
			s, ok := p.Scalar(v.Value, key)
			if !ok {
				continue
			}
			parent = preset(s)
			if parent == nil {
				p.Bad(Pos(v.Value), key, "there is no preset %q%s: presets are %s", s, didYouMean(s, Names()), strings.Join(Names(), ", "))
			}
		case "sources":
			p.readSources(v.Value)
		case "notes":
			p.readNotes(v.Value)
		}
	}
	if seen["extends"] && seen["based_on"] {
		p.Bad(Pos(top), "based_on", "is for complete files; a file that extends a preset has extends alone")
	}
	if parent != nil {
		p.inherit(parent)
	}
}

func (p *fileParser) inherit(parent *Spec) {
	mine := *p.spec
	*p.spec = *parent
	s := p.spec
	s.Name, s.Extends = mine.Name, parent.Name
	if mine.Title != "" {
		s.Title = mine.Title
	}
	s.notes = append(append([]string(nil), parent.notes...), mine.notes...)
	s.sources = map[string]string{}
	for k, v := range parent.sources {
		s.sources[k] = v
	}
	for _, k := range sortedKeys(mine.sources) {
		if old, ok := parent.sources[k]; ok && old != mine.sources[k] {
			p.Bad(p.given["sources."+k], "sources."+k, "preset %s has another source of this name: choose a new one", parent.Name)
			continue
		}
		s.sources[k] = mine.sources[k]
	}
	s.prov = map[string]Provenance{}
	for k, v := range parent.prov {
		s.prov[k] = v
	}
}

func (p *fileParser) readSources(n ast.Node) {
	m := p.Mapping(n, "sources")
	if m == nil {
		return
	}
	for _, v := range m.Values {
		name := p.KeyOf(v, "sources")
		if name == "" {
			continue
		}
		key := "sources." + name
		if !validName(name) || strings.Contains(name, ".") {
			p.Bad(Pos(v), key, "lower-case letters, digits, '-' and '_' are allowed in a source's name")
			continue
		}
		if _, dup := p.spec.sources[name]; dup {
			p.Bad(Pos(v), key, "is given twice")
			continue
		}
		if s, ok := p.Scalar(v.Value, key); ok {
			p.spec.sources[name] = s
			p.given[key] = Pos(v)
		}
	}
}

func (p *fileParser) readNotes(n ast.Node) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		p.Bad(Pos(n), "notes", "a list of sentences is wanted here")
		return
	}
	for _, v := range seq.Values {
		if s, ok := p.Scalar(v, "notes"); ok {
			p.spec.notes = append(p.spec.notes, s)
		}
	}
}

var headerKeys = []string{"name", "title", "extends", "based_on", "sources", "notes"}
