package described

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const smallest = "path p@7.3\nmap {\n base\n}\n"

func TestParse(t *testing.T) {
	p, err := Parse("p.path", `
path fancy@7.3   # a comment
about "what it is"
base map_phys@7.3
object o 128
object q 8 per page
function f "kernel/f.c" 64 { nop 1
  x = load o+0x40
  y = alu 3 on x
  branch unpredictable on y }
map { push 2; }
`)
	if err == nil || !strings.Contains(err.Error(), "p.path:11:") {
		t.Errorf("%v, %v", p, err)
	}
	p, err = Parse("p.path", strings.ReplaceAll(smallest, "base", "loop pages {\n v = load page+8\n store buffer on v\n }\n base"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Name() != "p@7.3" || p.Base().Name() != "map_phys@7.3" || len(p.mapping) != 2 || len(p.mapping[0].body) != 2 || len(p.unmapping) != 1 {
		t.Errorf("%+v", p)
	}
}

// Every error says where it is and what is wanted.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "p.path:1:1: the description is empty"},
		{"a comment alone", "# hello\n", "p.path:1:1: the description is empty"},
		{"no path first", "map {\n}\n", "p.path:1:1: a description begins with: path NAME@KERNEL"},
		{"no kernel", "path p\n", `p.path:1:6: "p" is no name`},
		{"a kernel that does not exist", "path p@5.1\n", `p.path:1:6: there is no kernel "5.1": allowed are 6.12, 7.3`},
		{"two paths", smallest + "path q@7.3\n", "p.path:5:1: a description has one path"},
		{"no map", "path p@7.3\n", "p.path:1:1: there is no map block"},
		{"two maps", smallest + "map {\n base\n}\n", "p.path:5:1: map is there twice"},
		{"a base that does not exist", smallest + "base nosuch\n", "p.path:5:6: base: no API variant"},
		{"a base of the other kernel", smallest + "base map_page@6.12\n", "p.path:5:6: base map_page@6.12 is of kernel 6.12"},
		{"nobody maps", "path p@7.3\nmap {\n alu 1\n}\n", "p.path:2:1: map never says base"},
		{"mapped twice", "path p@7.3\nmap {\n base\n base\n}\n", "p.path:4:2: base is called twice"},
		{"mapped in a loop", "path p@7.3\nmap {\n loop 2 {\n base\n}\n}\n", "p.path:4:2: base inside of a loop"},
		{"a word that does not exist", "path p@7.3\nmap {\n lod page\n base\n}\n", `p.path:3:2: there is no statement "lod": allowed are alu, atomic`},
		{"no object", "path p@7.3\nmap {\n load table\n base\n}\n", `p.path:3:7: there is no object "table"`},
		{"beyond the object", "path p@7.3\nobject o 8\nmap {\n load o+8\n base\n}\n", `p.path:4:9: "8": want a number from 0 to 7`},
		{"no value", "path p@7.3\nmap {\n alu 1 on x\n base\n}\n", `p.path:3:11: there is no value "x" before this statement`},
		{"a value of another body", "path p@7.3\nfunction f {\n x = alu 1\n}\nmap {\n alu 1 on x\n base\n}\n", `p.path:6:11: there is no value "x"`},
		{"what has no value", "path p@7.3\nmap {\n x = nop 1\n base\n}\n", "p.path:3:6: nop has no value"},
		{"too many", "path p@7.3\nmap {\n alu 1001\n base\n}\n", `p.path:3:6: "1001": want a number from 1 to 1000`},
		{"a function after its call", "path p@7.3\nmap {\n call f\n base\n}\nfunction f {\n nop 1\n}\n", `p.path:3:7: there is no function "f" before`},
		{"no end", "path p@7.3\nmap {\n base\n", "p.path:2:1: the block has no end"},
		{"a string without end", "path p@7.3\nabout \"x\nmap {\n base\n}\n", "p.path:2:7: the string has no end"},
		{"an object twice", "path p@7.3\nobject page 8\n", "p.path:2:8: there is an object page already"},
		{"too long", "path p@7.3\nmap {\n loop lines {\n loop lines {\n nop 9\n}\n}\n base\n}\n", "p.path:2:1: map may execute"},
		{"something that is not text", "path p@7.3\nmap {\n \x00\x01\n base\n}\n", "p.path:3:2: U+0000 cannot be printed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("p.path", c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant one with %s", err, c.want)
			}
		})
	}
}

// The examples of the manual are read.
func TestExamples(t *testing.T) {
	files, _ := filepath.Glob("../../docs/paths/*.path")
	if len(files) < 3 {
		t.Fatalf("%d examples", len(files))
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(f, string(text)); err != nil {
			t.Error(err)
		}
	}
}

var problemAt = regexp.MustCompile(`^f:(\d+):(\d+): `)

func FuzzParse(f *testing.F) {
	f.Add(smallest)
	files, _ := filepath.Glob("../../docs/paths/*.path")
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse("f", text)
		if (p == nil) == (err == nil) {
			t.Fatalf("%v and %v", p, err)
		}
		if err == nil {
			return
		}
		// Every message stands at a place of the text.
		lines := strings.Split(text, "\n")
		for _, l := range strings.Split(err.Error(), "\n") {
			if m := problemAt.FindStringSubmatch(l); m != nil {
				line, _ := strconv.Atoi(m[1])
				col, _ := strconv.Atoi(m[2])
				if line < 1 || line > len(lines) || col < 1 || col > len(lines[line-1])+1 {
					t.Fatalf("%s: there are %d lines", l, len(lines))
				}
			}
		}
	})
}
