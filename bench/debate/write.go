package debate

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"dmapath/results"
	"dmapath/results/figure"
)

// page puts the page together.
func (d *Debate) page() (*page, error) {
	p := &page{}
	d.sides(p)
	d.answers(p)
	d.paths(p)
	d.lookup(p)
	d.kernels(p)
	d.devices(p)
	d.breaks(p)
	d.sure(p)
	p.head(2, "How to repeat it")
	p.para("`dmapath debate --out FILE` writes this page and its plots again, byte for byte (seed %d, %d operations a run, %d samples).", d.opt.Seed, d.opt.Operations, d.opt.Samples)
	return p, p.err
}

// Write writes the page to path, which ends in .md, and its plots as PNG and SVG to the folder of the same name without the ending. Each file is
// there as a whole or not at all, and the page comes last.
func (d *Debate) Write(path string) error {
	folder, ok := strings.CutSuffix(path, ".md")
	if !ok {
		return fmt.Errorf("%s: the page is Markdown, its name ends in .md", path)
	}
	p, err := d.page()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, f := range p.plots {
		for _, format := range figure.Formats {
			if err := results.WriteFile(filepath.Join(folder, f.name+"."+format), func(w io.Writer) error { return f.Write(w, format) }); err != nil {
				return err
			}
		}
	}
	text := strings.TrimRight(p.b.String(), "\n") + "\n"
	text = strings.ReplaceAll(text, "](debate/", "]("+filepath.Base(folder)+"/")
	return results.WriteFile(path, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
}

// image is a plot in the page, with the empty line behind it.
var image = regexp.MustCompile(`(?m)^!\[[^]]*\]\(debate/[^)]*\)\n\n`)

// WritePage writes the page alone, without the plots, which would be files of their own.
func (d *Debate) WritePage(w io.Writer) error {
	p, err := d.page()
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, image.ReplaceAllString(strings.TrimRight(p.b.String(), "\n")+"\n", ""))
	return err
}
