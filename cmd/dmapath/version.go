package main

import (
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"dmapath/bench/published"
	"dmapath/bench/reference"
	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/results"
)

// version is what "dmapath version --json" prints.
type version struct {
	Tool      string           `json:"tool"`
	Version   string           `json:"version"`  // module version, revision, or "(devel)"
	Revision  string           `json:"revision"` // empty when the build recorded none, as with go run
	Time      string           `json:"revision_time"`
	Modified  bool             `json:"modified"`
	Go        string           `json:"go"`
	Platform  string           `json:"platform"`
	Schema    int              `json:"schema_version"` // of JSON results
	Manifest  int              `json:"manifest_version"`
	Kernels   []string         `json:"kernels"`   // that are modelled
	Reference []reference.Data `json:"reference"` // what travels with the program
}

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "version, how the program was built, and which references travel with it",
		Long: `version prints the version, the revision that the program was built from, toolchain and architecture, and a digest of each set of
files that travels with it: programs with equal digests judge by the same references and have the same platforms. A program that was
built without version control, as go run does, calls itself (devel).

Examples:
  dmapath version
  dmapath version --json
  dmapath --version                         the first line only`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := results.BuildInfo()
			data, err := reference.Versions(map[string]fs.FS{"platforms": platform.Presets(), "published": published.Files()})
			if err != nil {
				return failure{err}
			}
			if asJSON {
				return writeJSON(cmd, version{results.Tool, b.Version, b.Revision, b.Time, b.Modified, b.Go, b.Platform, results.SchemaVersion,
					results.ManifestVersion, []string{kernel.V6_12.String(), kernel.V7_3.String()}, data})
			}
			t := &results.Table{ID: "references", Title: "What travels with the program", Columns: []results.Column{{Name: "files", Text: true}, {Name: "number"}, {Name: "SHA-256", Text: true}}}
			for _, d := range data {
				t.Add(d.Name, d.Files, d.SHA256[:16])
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%v\nkernels: %v, %v\n\n", b, kernel.V6_12, kernel.V7_3); err != nil {
				return failure{err}
			}
			if err := t.Write(cmd.OutOrStdout(), results.ASCII); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}
