package main

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"dmapath": main})
}

// The scripts are the command line as a user sees it: what is printed, what is written, what is refused.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
		// exitcode N ARGS... runs dmapath in a process of its own (the scripts run at the same time, and a working
		// directory belongs to a whole process) and wants exit code N.
		"exitcode": func(ts *testscript.TestScript, neg bool, args []string) {
			code := 0
			if err := ts.Exec("dmapath", args[1:]...); err != nil {
				var exit *exec.ExitError
				if !errors.As(err, &exit) {
					ts.Fatalf("dmapath did not run: %v", err)
				}
				code = exit.ExitCode()
			}
			if got := strconv.Itoa(code); got != args[0] {
				ts.Fatalf("exit code %s, want %s\n%s%s", got, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
			}
			if out := ts.ReadFile("stdout"); code != 0 && out != "" {
				ts.Fatalf("a failed command printed on standard output: %s", out)
			}
		},
		// uncolor removes the escape sequences of colours from standard output.
		"uncolor": func(ts *testscript.TestScript, neg bool, args []string) {
			fmt.Fprint(ts.Stdout(), regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllString(ts.ReadFile(args[0]), ""))
		},
		// narrow FILE wants no line of more than 80 bytes, and ASCII only.
		"narrow": func(ts *testscript.TestScript, neg bool, args []string) {
			for i, l := range strings.Split(ts.ReadFile(args[0]), "\n") {
				if len(l) > 80 {
					ts.Fatalf("%s:%d: %d columns: %s", args[0], i+1, len(l), l)
				}
				if strings.IndexFunc(l, func(r rune) bool { return r > 126 || r < 32 }) >= 0 {
					ts.Fatalf("%s:%d: not printable ASCII: %q", args[0], i+1, l)
				}
			}
		},
	}})
}
