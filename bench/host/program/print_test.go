package program

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the assembly of package native")

// TestAssembly holds the committed assembly against the programs: what runs natively is what is interpreted.
func TestAssembly(t *testing.T) {
	for _, a := range []*Arch{AMD64, ARM64} {
		for file, want := range map[string]string{"../native/programs_" + a.Name + ".s": a.Assembly(), "../native/stubs_" + a.Name + ".go": a.Stubs()} {
			if *update {
				if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != want {
				t.Errorf("%s is not what the programs say: go test ./bench/host/program -run TestAssembly -update", file)
			}
		}
	}
}
