package platform

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

//go:embed presets/*.yaml
var presetFiles embed.FS

// Presets are the files of the presets.
func Presets() fs.FS { return presetFiles }

// Default is the preset that is used when none is named.
const Default = "icelake-sp"

// Names returns the names of the presets, sorted.
func Names() []string {
	entries, err := presetFiles.ReadDir("presets")
	if err != nil {
		panic("platform: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	sort.Strings(names)
	return names
}

// Load returns the preset of that name, or reads the file of that path. What ends in .yaml or .yml or contains a
// slash is a path. The error lists every problem of the file.
func Load(nameOrPath string) (*Spec, error) {
	if s := preset(nameOrPath); s != nil {
		return s, nil
	}
	ext := filepath.Ext(nameOrPath)
	if ext != ".yaml" && ext != ".yml" && !strings.ContainsAny(nameOrPath, `/\`) {
		return nil, fmt.Errorf("there is no platform %q%s: presets are %s; a file's name ends in .yaml", nameOrPath,
			didYouMean(nameOrPath, Names()), strings.Join(Names(), ", "))
	}
	data, err := ReadFile(nameOrPath, MaxFile)
	if err != nil {
		return nil, fmt.Errorf("reading the platform file: %w", err)
	}
	return Parse(nameOrPath, data)
}

// preset returns a fresh copy of a preset, nil when there is none of that name. A preset that does not parse is a mistake
// of this package.
func preset(name string) *Spec {
	if !contains(Names(), name) {
		return nil
	}
	file := path.Join("presets", name+".yaml")
	data, err := presetFiles.ReadFile(file)
	if err != nil {
		panic("platform: " + err.Error())
	}
	s, err := Parse(name+".yaml", data)
	if err != nil {
		panic("platform: preset does not parse:\n" + err.Error())
	}
	return s
}

func baseName(file string) string {
	b := filepath.Base(filepath.ToSlash(file))
	b = strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(b, ".yaml"), ".yml"))
	b = strings.Map(func(r rune) rune {
		if validName(string(r)) {
			return r
		}
		return '-'
	}, b)
	if b == "" {
		return "platform"
	}
	return b
}
