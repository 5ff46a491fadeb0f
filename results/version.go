package results

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Tool is the name of the program in records and manifests.
const Tool = "dmapath"

// Development is the version of a program whose build does not know one: go run, go test, and go build with -buildvcs=false or outside
// of a checkout. Two such programs may differ.
const Development = "(devel)"

// Build is what a program knows of how it was built. Committed results do not depend on it.
type Build struct {
	Version  string // see Version
	Revision string // of the version control system, in full; empty when the build recorded none
	Time     string // of that revision, RFC 3339; empty like Revision
	Modified bool   // files of the checkout were changed
	Go       string // of the toolchain: go1.26.1
	Platform string // linux/amd64
}

// Version returns the version of the running program as the build knows it: the module version, else the revision (with
// +dirty when files were changed), else Development.
func Version() string { return BuildInfo().Version }

// BuildInfo returns how the running program was built.
func BuildInfo() Build {
	bi, ok := debug.ReadBuildInfo()
	if !ok {
		bi = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return buildOf(bi)
}

func buildOf(bi *debug.BuildInfo) Build {
	b := Build{Go: bi.GoVersion, Platform: runtime.GOOS + "/" + runtime.GOARCH}
	for _, s := range bi.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	switch {
	case bi.Main.Version != "" && bi.Main.Version != Development:
		b.Version = bi.Main.Version
	case b.Revision != "":
		b.Version = b.Revision[:min(12, len(b.Revision))]
		if b.Modified {
			b.Version += "+dirty"
		}
	default:
		b.Version = Development
	}
	return b
}

// String is one line: dmapath VERSION (revision REVISION, GO, OS/ARCH).
func (b Build) String() string {
	revision := ""
	if b.Revision != "" {
		revision = "revision " + b.Revision[:min(12, len(b.Revision))]
		if b.Modified {
			revision += ", modified"
		}
		revision += ", "
	}
	return fmt.Sprintf("%s %s (%s%s, %s)", Tool, b.Version, revision, b.Go, b.Platform)
}
