package page

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"dmapath/results"
)

// FuzzPage: whatever is accepted as a document becomes data of a page that are JSON, hold every table and measurement, and contain
// nothing that a browser would take for markup.
func FuzzPage(f *testing.F) {
	// Small ones: the fuzzer spends its time on making large ones smaller.
	for _, name := range hostile {
		text, err := json.Marshal(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(`{"schema_version": 1, "name": ` + string(text) + `, "warnings": [` + string(text) + `]}`))
	}
	f.Add([]byte(`{"schema_version": 1, "tables": [{"columns": [{"name": "a"}, {"name": "b"}], "rows": [[1, 2, 3], [], [[1], {"x": true}], null]}],
		"measurements": [{"metric": "m", "value": 1e308}, {"dims": [{"key": "k", "value": "v"}, {"key": "k", "value": "w"}], "metric": "m", "value": -1e-308}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := results.ReadJSON(bytes.NewReader(text))
		if err != nil {
			return
		}
		data, err := (&Dir{Sources: []Source{{"x.json", doc}}}).data()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(data, "<>&") {
			t.Fatalf("the data block is %.200q", data)
		}
		var d struct {
			Docs []struct {
				Tables []struct{ Columns, Rows [][]any }
				Keys   []string
				Points []struct {
					At []int
					M  []*float64
				}
			}
		}
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatal(err)
		}
		if len(d.Docs[0].Tables) != len(doc.Tables) {
			t.Errorf("%d of %d tables", len(d.Docs[0].Tables), len(doc.Tables))
		}
		for i, x := range d.Docs[0].Tables {
			if len(x.Rows) != len(doc.Tables[i].Rows) {
				t.Errorf("table %d: %d of %d rows", i, len(x.Rows), len(doc.Tables[i].Rows))
			}
			for _, r := range x.Rows {
				if len(r) != len(x.Columns) {
					t.Errorf("table %d: a row of %d cells, %d columns", i, len(r), len(x.Columns))
				}
			}
		}
		n := 0
		for _, p := range d.Docs[0].Points {
			if len(p.At) != len(d.Docs[0].Keys) {
				t.Errorf("a point of %d coordinates, %d dimensions", len(p.At), len(d.Docs[0].Keys))
			}
			n += len(p.M) / 4
		}
		if n != len(doc.Measurements) {
			t.Errorf("%d of %d measurements", n, len(doc.Measurements))
		}
		for i, x := range doc.Measurements {
			if x.Value != nil && math.IsNaN(float64(orNaN(x.Value))) {
				t.Errorf("measurement %d is lost", i)
			}
		}
	})
}
