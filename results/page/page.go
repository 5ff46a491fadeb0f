package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"

	"dmapath/results"
)

//go:embed page.html
var pageHTML string

//go:embed uplot/uPlot.iife.min.js
var plotJS string

//go:embed uplot/uPlot.min.css
var plotCSS string

//go:embed uplot/LICENSE
var plotLicense string

//go:embed page.css
var pageCSS string

// The script is cut into files by subject and is one function in the page.
var (
	//go:embed js/dom.js
	jsDOM string
	//go:embed js/data.js
	jsData string
	//go:embed js/state.js
	jsState string
	//go:embed js/chart.js
	jsChart string
	//go:embed js/answer.js
	jsAnswer string
	//go:embed js/steps.js
	jsSteps string
	//go:embed js/curves.js
	jsCurves string
	//go:embed js/sweep.js
	jsSweep string
	//go:embed js/sure.js
	jsSure string
	//go:embed js/hazards.js
	jsHazards string
	//go:embed js/tables.js
	jsTables string
	//go:embed js/main.js
	jsMain string
)

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// view is what the template shows.
type view struct {
	Title   string
	Policy  string
	Style   template.CSS
	Plot    template.JS
	Script  template.JS
	Data    template.JS
	License string
}

// script returns the page's own script.
func script() string {
	return "(function () {\n\"use strict\";\n" + strings.Join([]string{jsDOM, jsData, jsState, jsChart, jsAnswer, jsSteps, jsCurves, jsSweep, jsSure, jsHazards, jsTables, jsMain}, "\n") + "})();\n"
}

// digest is a source expression of a content security policy that allows exactly this text.
func digest(text string) string {
	h := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(h[:]) + "'"
}

// data returns what the page carries: JSON without <, > and &.
func (d *Dir) data() ([]byte, error) {
	all := data{Docs: []doc{}, Checked: visibles(d.Checked), Missing: visibles(d.Missing), Skipped: visibles(d.Skipped)}
	for _, s := range d.Sources {
		all.Docs = append(all.Docs, pack(s.File, s.Document))
	}
	if m := d.Manifest; m != nil {
		all.Manifest = packManifest(m)
	}
	return json.Marshal(all)
}

// Write writes the page. The same directory gives the same bytes, wherever it lies.
func (d *Dir) Write(w io.Writer) error {
	text, err := d.data()
	if err != nil {
		return err
	}
	var names []string
	for _, s := range d.Sources {
		names = append(names, visible(s.Document.Name))
	}
	// The library's first line is a comment with an address; nothing in the page shall look like a reference.
	plot := plotJS[strings.Index(plotJS, "\n")+1:]
	style := plotCSS + "\n" + pageCSS
	js := script()
	v := view{Title: "dmapath: " + strings.Join(names, ", "), Style: template.CSS(style), Plot: template.JS(plot), Script: template.JS(js), Data: template.JS(text), License: plotLicense,
		Policy: "default-src 'none'; script-src " + digest(plot) + " " + digest(js) + "; style-src " + digest(style) + "; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, v); err != nil {
		return err
	}
	if b.Len() > MaxPage {
		return fmt.Errorf("the page would have %s, at most %s are written: move some documents to a directory of their own", mib(b.Len()), mib(MaxPage))
	}
	_, err = w.Write(b.Bytes())
	return err
}

func packManifest(m *results.Manifest) *manifest {
	y := &manifest{Version: visible(m.Version), Seed: fmt.Sprint(m.Seed), Hash: m.Hash(), Command: visibles(m.Command), Sections: [][2]string{}}
	for _, s := range m.Config { // printable but for newlines, see results.ReadManifest
		y.Sections = append(y.Sections, [2]string{s.Name, s.Text})
	}
	return y
}
