package platform

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Keys returns the dotted keys of all values, in the order of the platform file.
func Keys() []string {
	var ks []string
	for _, f := range theSchema().fields {
		ks = append(ks, f.key)
	}
	return ks
}

// Get returns the value of a dotted key as a platform file writes it.
func (s *Spec) Get(key string) (string, error) {
	f, err := lookup(key)
	if err != nil {
		return "", err
	}
	return f.text(s), nil
}

// Set changes one value, as --set does: key is dotted, value has its unit, or the compact form with confidence and
// source. Without a source the value is a guess by "--set". Only the value's own limits are checked, so
// that two values that belong together can be set one after the other: call Check after the last. On an
// error s is unchanged.
func (s *Spec) Set(key, value string) error {
	f, err := lookup(key)
	if err != nil {
		return err
	}
	text, c, source := splitCompact(strings.TrimSpace(value))
	pv := Provenance{File: "--set", Confidence: c, Source: source}
	if c == "" && source == "" {
		pv.Source, pv.Confidence = "--set", Guess
	}
	if err := pv.complete(); err != nil {
		return fmt.Errorf("--set %s: %w", key, err)
	}
	if name, ok := citation(pv.Source); ok && s.sources[name] == "" {
		return fmt.Errorf("--set %s: source %q is not in the platform's sources", key, "@"+name)
	}
	for _, r := range pv.Source {
		if !strconv.IsPrint(r) {
			return fmt.Errorf("--set %s: the source contains the character %U, which cannot be printed", key, r)
		}
	}
	if err := f.put(s, text); err != nil {
		return fmt.Errorf("--set %s: %w", key, err)
	}
	s.prov[key] = pv
	return nil
}

func lookup(key string) (*field, error) {
	sc := theSchema()
	if f := sc.byKey[key]; f != nil {
		return f, nil
	}
	n := sc.root
	parts := strings.Split(key, ".")
	for i, part := range parts {
		c := n.child(part)
		if c == nil && n.field != nil {
			return nil, fmt.Errorf("%q is a value, not a section", n.key)
		}
		if c == nil {
			where := "a platform"
			if n.key != "" {
				where = "section " + n.key
			}
			hint := didYouMean(part, childNames(n))
			if hint == "" {
				hint = ": it has " + strings.Join(childNames(n), ", ")
			}
			if alt := nearestKey(part); i == 0 && len(parts) == 1 && alt != "" {
				hint = fmt.Sprintf(", did you mean %q?", alt)
			}
			return nil, fmt.Errorf("unknown key %q in %s%s", part, where, hint)
		}
		n = c
	}
	return nil, fmt.Errorf("%q is a section: it has %s", key, strings.Join(childNames(n), ", "))
}

// nearestKey finds the one key whose last part is name, for a user who left out the section.
func nearestKey(name string) string {
	found := ""
	for _, f := range theSchema().fields {
		if f.key[strings.LastIndexByte(f.key, '.')+1:] == name {
			if found != "" {
				return ""
			}
			found = f.key
		}
	}
	return found
}

// Provenance returns where the value of key comes from. For a source "@name" the text is Source's.
func (s *Spec) Provenance(key string) (Provenance, bool) {
	pv, ok := s.prov[key]
	return pv, ok
}

// Source returns the source of key with "@name" replaced by the text it stands for.
func (s *Spec) Source(key string) string {
	src := s.prov[key].Source
	if name, ok := citation(src); ok {
		return s.sources[name] + src[1+len(name):]
	}
	return src
}

// Guesses returns the keys of all values that are guesses, in the order of the file.
func (s *Spec) Guesses() []string {
	var ks []string
	for _, f := range theSchema().fields {
		if s.prov[f.key].Confidence == Guess {
			ks = append(ks, f.key)
		}
	}
	return ks
}

// Notes returns the file's remarks on the whole machine.
func (s *Spec) Notes() []string { return append([]string(nil), s.notes...) }

// Canonical returns the complete effective configuration as a platform file. Equal Specs give equal bytes, and Parse gives
// back s except for the positions in its provenance.
func (s *Spec) Canonical() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "name: %s\n", strconv.Quote(s.Name))
	if s.Title != "" {
		fmt.Fprintf(&b, "title: %s\n", strconv.Quote(s.Title))
	}
	if s.Extends != "" {
		fmt.Fprintf(&b, "based_on: %s\n", strconv.Quote(s.Extends))
	}
	if len(s.notes) > 0 {
		b.WriteString("notes:\n")
		for _, n := range s.notes {
			fmt.Fprintf(&b, "  - %s\n", strconv.Quote(n))
		}
	}
	if len(s.sources) > 0 {
		b.WriteString("sources:\n")
		for _, k := range sortedKeys(s.sources) {
			fmt.Fprintf(&b, "  %s: %s\n", k, strconv.Quote(s.sources[k]))
		}
	}
	var walk func(n *node, indent string)
	walk = func(n *node, indent string) {
		for _, c := range n.children {
			if c.field == nil {
				fmt.Fprintf(&b, "%s%s:\n", indent, c.name)
				walk(c, indent+"  ")
				continue
			}
			pv := s.prov[c.key]
			if pv.Range != "" {
				q := strconv.Quote
				fmt.Fprintf(&b, "%s%s: {value: %s, confidence: %s, source: %s, range: [%s]", indent, c.name, q(c.text(s)), pv.Confidence, q(pv.Source), pv.ends(c.field))
				if pv.RangeSource != "" {
					fmt.Fprintf(&b, ", range_source: %s", q(pv.RangeSource))
				}
				b.WriteString("}\n")
				continue
			}
			v := c.text(s) + "; " + string(pv.Confidence) + "; " + pv.Source
			fmt.Fprintf(&b, "%s%s: %s\n", indent, c.name, strconv.Quote(v))
		}
	}
	walk(theSchema().root, "")
	return b.Bytes()
}

// ends writes pv's range as the items of a list.
func (pv *Provenance) ends(f *field) string {
	sep := ".."
	if f.kind.units == nil {
		sep = "|"
	}
	parts := strings.Split(pv.Range, sep)
	for i := range parts {
		parts[i] = strconv.Quote(parts[i])
	}
	return strings.Join(parts, ", ")
}

// Hash returns the SHA-256 of all values, in hex. Names, titles, sources, ranges and notes do not enter: two Specs that
// simulate the same have the same hash.
func (s *Spec) Hash() string {
	h := sha256.New()
	for _, f := range theSchema().fields {
		fmt.Fprintf(h, "%s=%s\n", f.key, f.text(s))
	}
	return hex.EncodeToString(h.Sum(nil))
}
