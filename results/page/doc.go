// Package page turns a directory of results into one HTML page that can be opened from disk, sent by mail, and read in ten years.
//
//	d, err := page.Read("dmapath-out")
//	err = d.Write(f)
//
// It knows results.Document and results.Manifest, and nothing of what was simulated: what it shows specially it recognises by
// dimensions and metrics. A point with a dimension variant and a metric map_mean_cycles or unmap_mean_cycles is a run (of compare, explain,
// replay, a sweep); one with a dimension conclusion is a statement under uncertainty; one with kernel, call, memory, backend and status is a cell of the hazard matrix. Everything else is shown as its tables.
//
// # The page
//
// The page carries its data as one JSON block, its script (js/, one function, no library but uPlot for lines) and its style, and
// refers to nothing. A content security policy allows exactly the two scripts and the style by their SHA-256 and nothing else; it also forbids
// the browser to make markup of text, so that a name from a trace or a path file is text whatever is in it. Characters that would not be seen, or
// turn the direction of writing, are written out (\u202e) before they get into the page. The same directory gives the same bytes.
//
// The figures of the page have six significant digits; the documents have all.
//
// # What is left out
//
// Sub-directories are not read. The page of dmapath debate is Markdown of its own and no results document. Distributions are shown as finely as the document has them. Random samples of a sweep are drawn as the mean
// per value of one key. The page needs a browser of 2024 or later (light-dark() in style sheets) and scripts; without them it says so
// and shows nothing. uPlot (uplot/, version 1.6.32) is not changed but for its first line, a comment, which the page leaves out.
package page
