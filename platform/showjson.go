package platform

// Description is a platform as programs read it: what Show prints.
type Description struct {
	Name    string            `json:"name"`
	Title   string            `json:"title"`
	Extends string            `json:"extends,omitempty"` // the preset that the file began with
	Hash    string            `json:"hash"`              // SHA-256 of all values, hex
	Values  []DescribedValue  `json:"values"`            // in the order of the file
	Sources map[string]string `json:"sources"`           // what "@name" in a source stands for
	Notes   []string          `json:"notes"`
}

// DescribedValue is one value with where it comes from.
type DescribedValue struct {
	Key        string     `json:"key"`   // dotted, as in --set
	Value      string     `json:"value"` // with its unit, as in a platform file
	Confidence Confidence `json:"confidence"`
	Source     string     `json:"source"`
	File       string     `json:"file"`            // "--set" for an override
	Line       int        `json:"line,omitempty"`  // in File
	Range      string     `json:"range,omitempty"` // plausible values, as Show has them in brackets
}

// DescribedKey is a key of platform files as programs read it: what WriteKeys prints.
type DescribedKey struct {
	Key     string `json:"key"`
	Meaning string `json:"meaning"`
	Allowed string `json:"allowed"` // in words
}

// Describe returns what Show prints.
func (s *Spec) Describe() *Description {
	d := &Description{Name: s.Name, Title: s.Title, Extends: s.Extends, Hash: s.Hash(), Sources: map[string]string{}, Notes: append([]string{}, s.notes...)}
	for k, v := range s.sources {
		d.Sources[k] = v
	}
	for _, f := range theSchema().fields {
		pv := s.prov[f.key]
		v := DescribedValue{Key: f.key, Value: f.text(s), Confidence: pv.Confidence, Source: pv.Source, File: pv.File, Line: pv.Line}
		if r, ok := s.Range(f.key); ok {
			v.Range = r.String()
		}
		d.Values = append(d.Values, v)
	}
	return d
}

// DescribeKeys returns what WriteKeys prints.
func DescribeKeys() (list []DescribedKey) {
	for _, f := range theSchema().fields {
		list = append(list, DescribedKey{f.key, f.doc, f.allowed()})
	}
	return list
}
