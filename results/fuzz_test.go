package results

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// A document that is read, written and read again is the same document.
func FuzzReadJSON(f *testing.F) {
	var b bytes.Buffer
	if err := example().Write(&b, JSON); err != nil {
		f.Fatal(err)
	}
	f.Add(b.String())
	f.Add(`{"schema_version":1,"seed":"18446744073709551615","measurements":[{"dims":[{"Key":"a","Value":"b"}],"metric":"m","value":1e308,"n":-1}],"tables":[{"rows":[[1,"x",null,{"a":[]}]]}]}`)
	f.Add(`{"schema_version":1}{}`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ReadJSON(strings.NewReader(text))
		if err != nil {
			return
		}
		data, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ReadJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		more, err := json.Marshal(again)
		if err != nil || !bytes.Equal(data, more) {
			t.Fatalf("%s reads as %s, %v", data, more, err)
		}
	})
}

// Measurements that are read can be written, and what is written reads as the same. Every error of a line names it, and the line is
// one of the file.
func FuzzReadCSV(f *testing.F) {
	var b bytes.Buffer
	if err := example().Write(&b, CSV); err != nil {
		f.Fatal(err)
	}
	f.Add(b.String())
	f.Add("a,b,metric,unit,value,ci95,n\n,x,map_mean_cycles,cycles,1,,3\ny,\"z\n\",m_ns,ns,1e-300,0x1p3,-1\n")
	f.Add("metric,unit,value,ci95,n\nx,y,nan,inf,1\n")
	f.Add("a,a,metric,unit,value,ci95,n\n")
	f.Fuzz(func(t *testing.T, text string) {
		ms, err := ReadCSV(strings.NewReader(text))
		if err != nil {
			return
		}
		write := func(ms []Measurement) string {
			var b bytes.Buffer
			if err := WriteCSV(&b, ms); err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
			return b.String()
		}
		once := write(ms)
		back, err := ReadCSV(strings.NewReader(once))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, once)
		}
		if twice := write(back); twice != once {
			t.Fatalf("written\n%s\nreads and writes as\n%s", once, twice)
		}
		if len(back) != len(ms) {
			t.Fatalf("%d measurements of %d", len(back), len(ms))
		}
		for i := range ms {
			for _, d := range ms[i].Dims {
				if back[i].Dim(d.Key) != d.Value {
					t.Fatalf("%q=%q reads as %q", d.Key, d.Value, back[i].Dim(d.Key))
				}
			}
		}
	})
}

// Text that a program reads from elsewhere is a column's name or a dimension's value at worst: all formats can be written.
func FuzzTable(f *testing.F) {
	f.Add("title", "name\tof a column", "cell | \x1b[31m <b>", "note ±")
	f.Fuzz(func(t *testing.T, title, name, cell, note string) {
		tab := &Table{ID: "x", Title: title, Columns: []Column{{Name: name, Text: true}, {Name: "n", Unit: name}}, Notes: []string{note}}
		tab.Add(cell, 1.5)
		for _, format := range []Format{ASCII, Markdown, CSV} {
			var b bytes.Buffer
			if err := tab.Write(&b, format); err != nil {
				t.Fatal(format, err)
			}
			if format == ASCII && strings.IndexFunc(b.String(), func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }) >= 0 {
				t.Fatalf("not printable ASCII: %q", b.String())
			}
			if strings.Contains(b.String(), "\x1b") && format != CSV {
				t.Fatalf("%s holds an escape sequence: %q", format, b.String())
			}
		}
		var plain, color bytes.Buffer
		if tab.Write(&plain, ASCII) != nil || tab.Write(Colored{&color}, ASCII) != nil || uncolored(color.String()) != plain.String() {
			t.Fatalf("colour changes characters:\n%s\n%s", plain.String(), color.String())
		}
	})
}

// sameManifest compares what a manifest's reader and writer have to keep.
func sameManifest(a, b *Manifest) bool {
	return a.Version == b.Version && a.Seed == b.Seed && reflect.DeepEqual(a.Config, b.Config) &&
		(len(a.Command) == 0 && len(b.Command) == 0 || reflect.DeepEqual(a.Command, b.Command)) &&
		(len(a.Outputs) == 0 && len(b.Outputs) == 0 || reflect.DeepEqual(a.Outputs, b.Outputs))
}
