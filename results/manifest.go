package results

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

// ManifestVersion is the version of the manifest's form.
const ManifestVersion = 1

// Section is one named part of the effective configuration, as YAML text of its own: the platform, the experiment.
type Section struct {
	Name string // snake_case
	Text string // ends in a newline
}

// Manifest says how a run was made, completely: from it the run can be repeated. It holds no time and no host, so that a
// repeated run writes the same bytes.
type Manifest struct {
	Version string   // of the tool
	Command []string // arguments of the run that wrote it, for the reader; a repetition does not need them
	Seed    uint64
	Config  []Section
	Outputs []Output // files of the run, in the order of their names
}

// Output is one file that the run wrote.
type Output struct {
	Name   string `yaml:"name"`
	Bytes  int64  `yaml:"bytes"`
	SHA256 string `yaml:"sha256"`
}

// Hash returns the SHA-256 of seed and configuration, in hex: runs of one program with equal hashes give equal results.
func (m *Manifest) Hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "seed %d\n", m.Seed)
	for _, s := range m.Config {
		fmt.Fprintf(h, "section %s %d\n%s", s.Name, len(s.Text), s.Text)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Section returns the text of a section of the configuration.
func (m *Manifest) Section(name string) (string, bool) {
	for _, s := range m.Config {
		if s.Name == name {
			return s.Text, true
		}
	}
	return "", false
}

// Write writes m as YAML.
func (m *Manifest) Write(w io.Writer) error {
	var b bytes.Buffer
	// Digests are quoted: YAML reads one that is all digits, or digits and an e, as a number.
	b.WriteString("# Written by " + Tool + ". The run is repeated with --config and this file.\n")
	fmt.Fprintf(&b, "manifest_version: %d\ntool: %s\ntool_version: %s\n", ManifestVersion, Tool, strconv.Quote(m.Version))
	fmt.Fprintf(&b, "seed: \"%d\"\nconfig_hash: \"%s\"\n", m.Seed, m.Hash())
	if len(m.Command) > 0 {
		b.WriteString("command:\n")
		for _, a := range m.Command {
			if !utf8.ValidString(a) {
				return fmt.Errorf("the argument %q is not UTF-8 text", a)
			}
			fmt.Fprintf(&b, "  - %s\n", quoteYAML(a))
		}
	}
	b.WriteString("config:\n")
	for i, s := range m.Config {
		if err := s.check(); err != nil {
			return err
		}
		if _, dup := (&Manifest{Config: m.Config[:i]}).Section(s.Name); dup {
			return fmt.Errorf("section %s of the configuration is there twice", s.Name)
		}
		fmt.Fprintf(&b, "  %s: |\n", s.Name)
		for _, l := range strings.SplitAfter(strings.TrimSuffix(s.Text, "\n"), "\n") {
			if l != "\n" {
				l = "    " + l
			}
			b.WriteString(l)
		}
		b.WriteByte('\n')
	}
	if len(m.Outputs) > 0 {
		b.WriteString("outputs:\n")
		for _, o := range m.Outputs {
			fmt.Fprintf(&b, "  - {name: %s, bytes: %d, sha256: \"%s\"}\n", quoteYAML(o.Name), o.Bytes, o.SHA256)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// quoteYAML writes s as a double-quoted YAML scalar.
func quoteYAML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x100 && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// check reports whether the section survives being written as a literal block.
func (s Section) check() error {
	switch {
	case !snake(s.Name):
		return fmt.Errorf("section %q of the configuration is not snake_case", s.Name)
	case !strings.HasSuffix(s.Text, "\n") || strings.HasSuffix(s.Text, "\n\n"):
		return fmt.Errorf("section %s of the configuration does not end in one newline", s.Name)
	case strings.HasPrefix(s.Text, " ") || strings.HasPrefix(s.Text, "\n"):
		return fmt.Errorf("section %s of the configuration begins with white space", s.Name)
	case !utf8.ValidString(s.Text):
		return fmt.Errorf("section %s of the configuration is not UTF-8 text", s.Name)
	}
	for _, l := range strings.Split(s.Text, "\n") {
		if l != strings.TrimRight(l, " \t") {
			return fmt.Errorf("section %s of the configuration has white space at the end of a line", s.Name)
		}
	}
	for _, r := range s.Text {
		if r != '\n' && !unicode.IsPrint(r) {
			return fmt.Errorf("section %s of the configuration contains %U", s.Name, r)
		}
	}
	return nil
}

// manifestFile is the YAML form.
type manifestFile struct {
	ManifestVersion int           `yaml:"manifest_version"`
	Tool            string        `yaml:"tool"`
	ToolVersion     string        `yaml:"tool_version"`
	Seed            string        `yaml:"seed"`
	ConfigHash      string        `yaml:"config_hash"`
	Command         []string      `yaml:"command"`
	Config          yaml.MapSlice `yaml:"config"`
	Outputs         []Output      `yaml:"outputs"`
}

// ReadManifest reads a manifest strictly. A configuration that was changed after it was written is an error, unless its
// config_hash line was removed, too.
func ReadManifest(name string, data []byte) (m *Manifest, err error) {
	defer func() {
		if r := recover(); r != nil { // the YAML library panics on some malformed input
			m, err = nil, fmt.Errorf("%s: not YAML that can be read", name)
		}
	}()
	if err := checkSize(data); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var f manifestFile
	dec := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("%s: %s", name, strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	if err := dec.Decode(&manifestFile{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: a manifest is one YAML document", name)
	}
	if f.ManifestVersion != ManifestVersion {
		return nil, fmt.Errorf("%s: manifest_version is %d, this program reads %d", name, f.ManifestVersion, ManifestVersion)
	}
	if f.Tool != Tool {
		return nil, fmt.Errorf("%s: tool is %q, should be %q", name, f.Tool, Tool)
	}
	m = &Manifest{Version: f.ToolVersion, Command: f.Command, Outputs: f.Outputs}
	if m.Seed, err = strconv.ParseUint(f.Seed, 10, 64); err != nil {
		return nil, fmt.Errorf("%s: seed: %q is not a number from 0 to 2^64-1", name, f.Seed)
	}
	for _, it := range f.Config {
		k, ok1 := it.Key.(string)
		v, ok2 := it.Value.(string)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("%s: config.%v is not a block of text", name, it.Key)
		}
		s := Section{k, v}
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		m.Config = append(m.Config, s)
	}
	if len(m.Config) == 0 {
		return nil, fmt.Errorf("%s: config is empty", name)
	}
	if f.ConfigHash != "" && f.ConfigHash != m.Hash() {
		return nil, fmt.Errorf("%s: config_hash does not fit the configuration, so one of them was changed; remove the "+
			"config_hash line to use the configuration as it is now (its hash is %s)", name, m.Hash())
	}
	return m, nil
}

// maxSigns is how many signs that begin something a YAML text has at most; the largest manifest of this program has 2000. The library's
// time grows with the square of what is in one mapping, and its stack with the depth.
const maxSigns = 20000

// checkSize refuses YAML that would take longer to read than anybody waits: it counts lines, commas, colons, hyphens, and what else can
// begin something.
func checkSize(text []byte) error {
	n := 0
	for i, c := range text {
		if bytes.IndexByte([]byte("\n,[{&*!"), c) >= 0 || bytes.IndexByte([]byte(":-?"), c) >= 0 && (i+1 == len(text) || text[i+1] <= ' ') {
			n++
		}
	}
	if n > maxSigns {
		return fmt.Errorf("%d lines, commas, brackets and colons: at most %d are read", n, maxSigns)
	}
	return nil
}

// DecodeYAML reads YAML strictly: a key that into does not have is an error, with its line.
func DecodeYAML(text []byte, into any) (err error) {
	defer func() {
		if r := recover(); r != nil { // the YAML library panics on some malformed input
			err = errors.New("not YAML that can be read")
		}
	}()
	if err := checkSize(text); err != nil {
		return err
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(into); err != nil && err != io.EOF {
		return errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	return nil
}
