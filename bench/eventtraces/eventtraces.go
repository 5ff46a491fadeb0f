// Package eventtraces holds the modelled kernel against recorded trace events of real ones: the dma:* and iommu:* groups of a trace file.
// Every recorded call is performed by the modelled kernel; three questions are asked of each file.
//
//   - Does the modelled IOVA allocator hand out the recorded addresses? Only of allocations whose history the trace contains: where it
//     begins in the middle of a domain's life, what magazines and tree held is unknown and nothing is claimed (replay.Prediction).
//   - Does the modelled kernel write and clear page-table entries for the same ranges, at the same physical addresses and in as many
//     pieces, as iommu:map and iommu:unmap show (replay.Reproduction)?
//   - Does the modelled driver choose the interface that was recorded: dma_map_page or dma_map_phys for a request of one segment,
//     dma_map_sg for others on 6.12, IOVA links on 7.3, which have no dma: event and show as iommu:map alone?
//
// # What each question can show
//
// The first is independent: the addresses are not used to compute the prediction, only to correct the state after a surprise. The second
// takes the physical pieces of scatterlists and links from their iommu:map events, because no other event has them; what the
// modelled kernel adds are rounding to pages, the joining of neighbours, one call or several, and the range that an unmap covers. For
// single mappings it takes only address and size of the dma: event. The third takes the shape of the request from its pieces and knows
// nothing of how it was mapped, but two things that no event shows are learned from the trace: whether the controller takes
// scatter-gather lists (from the first request that needs them, which is not judged), and on 7.3, whether pages that were mapped by
// one call are one folio (counted in the notes).
//
// The kernel's version follows from the names of the events (dma_map_page up to 6.17, dma_map_phys from 6.18), the mode of the domain, strict
// or lazy, from which of the two predicts better, devices and what they are from the events; nothing from the name of a file.
package eventtraces

import (
	"context"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"dmapath/bench"
	"dmapath/bench/evidence"
	"dmapath/kernel"
	"dmapath/kernel/iova"
	"dmapath/platform"
	"dmapath/workloads/ftrace"
	"dmapath/workloads/replay"
)

// Tolerance is how far a share may be below 100 %.
const Tolerance = 0.01

// Platform is the machine that performs the calls. What is judged does not depend on its times.
const Platform = "icelake-sp"

// File is a recorded trace, plain text or gzip. Open is called twice: the machine is made for what the trace needs.
type File struct {
	Name string
	Open func() (io.ReadCloser, error)
}

// Options says what is replayed.
type Options struct {
	Files []File
	// Kernel is what the traces were recorded on, "6.12" or "7.3"; empty: seen from their events.
	Kernel string
	// Spec makes the machine; nil: Platform. A call per file.
	Spec func() (*platform.Spec, error)
	// Malformed is told about the first damaged lines of each file; it may be nil, and is called after all have run.
	Malformed func(*ftrace.SyntaxError)
}

// shown is how many damaged lines of a file are told about; all are counted.
const shown = 5

// outcome of one file.
type outcome struct {
	rows    []evidence.Row
	notes   []string
	damaged []*ftrace.SyntaxError
}

// Run replays every file, jobs at a time.
func Run(ctx context.Context, o Options, jobs int) (*evidence.Report, error) {
	if _, err := variant(o.Kernel); err != nil {
		return nil, err
	}
	done := make([]outcome, len(o.Files))
	g, ctx := errgroup.WithContext(ctx)
	if jobs > 0 {
		g.SetLimit(jobs)
	}
	for i := range o.Files {
		g.Go(func() (err error) {
			done[i], err = o.one(ctx, &o.Files[i])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	r := &evidence.Report{Name: "event-traces", Title: "Recorded events against the modelled kernel"}
	for _, d := range done {
		r.Rows = append(r.Rows, d.rows...)
		r.Notes = append(r.Notes, d.notes...)
		if o.Malformed != nil {
			for _, e := range d.damaged {
				o.Malformed(e)
			}
		}
	}
	return r, nil
}

// variant is the call of a kernel; none for an empty name.
func variant(name string) ([]string, error) {
	switch name {
	case "":
		return nil, nil
	case kernel.V6_12.String():
		return []string{"map_page@6.12"}, nil
	case kernel.V7_3.String():
		return []string{"map_phys@7.3"}, nil
	}
	return nil, fmt.Errorf("kernel %q: allowed are 6.12 and 7.3", name)
}

// one replays one file.
func (o *Options) one(ctx context.Context, f *File) (out outcome, err error) {
	ext, err := scan(ctx, f)
	if err != nil {
		return out, fmt.Errorf("%s: %w", f.Name, err)
	}
	if ext.Events == 0 {
		return out, bench.NoEvents(f.Name)
	}
	s, err := o.spec()
	if err != nil {
		return out, err
	}
	x := bench.Replay{Name: f.Name, Backends: []string{string(platform.IommuStrict)}, Cache: "hot", Seed: 1}
	if !ext.Translated {
		x.Backends = []string{string(platform.Direct)}
	}
	x.Variants, _ = variant(o.Kernel)
	x.Malformed = func(e *ftrace.SyntaxError) {
		if len(out.damaged) < shown {
			out.damaged = append(out.damaged, e)
		}
	}
	if cpus := max(ext.CPUs, 1); cpus > int(s.CPU.Cores) {
		if err := s.Set("cpu.cores", fmt.Sprint(cpus)); err != nil {
			return out, fmt.Errorf("%s shows CPU %d: %w", f.Name, cpus-1, err)
		}
	}
	r, err := f.Open()
	if err != nil {
		return out, err
	}
	defer r.Close()
	text, err := replay.Text(r)
	if err != nil {
		return out, fmt.Errorf("%s: %w", f.Name, err)
	}
	tr, p, err := x.Reproduce(ctx, s, ext, text)
	if err != nil {
		return out, err
	}
	out.judge(f.Name, ext, o.Kernel, tr, p)
	return out, nil
}

func (o *Options) spec() (*platform.Spec, error) {
	if o.Spec != nil {
		return o.Spec()
	}
	return platform.Load(Platform)
}

func scan(ctx context.Context, f *File) (replay.Extent, error) {
	r, err := f.Open()
	if err != nil {
		return replay.Extent{}, err
	}
	defer r.Close()
	text, err := replay.Text(r)
	if err != nil {
		return replay.Extent{}, err
	}
	return replay.Scan(ctx, ftrace.NewReader(text, f.Name), 0)
}

// judge makes the rows and notes of one file.
func (out *outcome) judge(name string, ext replay.Extent, asked string, tr *replay.Trace, p *replay.Player) {
	row := func(what string, s replay.Share, none, why string) {
		r := evidence.Row{Set: name, What: fmt.Sprintf("%s, of %d", what, s.Of), Unit: "%", Reference: 100, Tolerance: Tolerance, Source: "the recorded events", Why: why,
			Predicted: math.NaN(), Skip: none}
		if s.Of > 0 {
			r.Predicted, r.Skip = 100*float64(s.Exact)/float64(s.Of), ""
		}
		out.rows = append(out.rows, r)
	}
	untranslated := "the trace has none"
	var all replay.Share
	var devices []string
	for _, d := range tr.Devices {
		if d.Prediction == nil {
			continue
		}
		c := d.Prediction.Count()
		s := replay.Share{Exact: int64(c[iova.Exact]), Of: int64(c[iova.Exact] + c[iova.Wrong])}
		all.Exact, all.Of = all.Exact+s.Exact, all.Of+s.Of
		mode := "strict"
		if d.Prediction.Lazy {
			mode = "lazy"
		}
		devices = append(devices, fmt.Sprintf("%s (%s) %d of %d, and %d older than the trace of which %d were named", d.Name, mode, s.Exact, s.Of,
			c[iova.Older]+c[iova.OlderGuessed], c[iova.OlderGuessed]))
	}
	rep := p.Reproduced
	row("IOVAs predicted", all, untranslated, "magazines that another CPU or an interrupt changed between an allocation and its event, see the notes")
	row("iommu:map ranges", rep.Maps, untranslated, "ranges whose IOVA was not predicted, or calls that map in other pieces")
	row("iommu:unmap ranges", rep.Unmaps, untranslated, "unmaps of other pieces than the maps were")
	row("requests, same call", rep.Requests, "the trace has no maps", "requests of a shape that the modelled driver maps by another call")

	note := func(format string, a ...any) { out.notes = append(out.notes, name+": "+fmt.Sprintf(format, a...)) }
	version, how := p.M.Env.Version, "seen from its events"
	switch {
	case asked != "":
		how = "as asked for"
	case !ext.Known:
		how = "assumed, no event tells"
	}
	note("kernel %v, %s; %d events in %d lines, %d of other kinds, %d malformed.", version, how, tr.Events, tr.Lines, tr.Skipped, tr.Malformed)
	if len(devices) > 0 {
		note("IOVAs: %s.", strings.Join(devices, "; "))
	}
	var by []string
	for h := range replay.NumHow {
		if s := rep.By[h]; s.Of > 0 {
			by = append(by, fmt.Sprintf("%s %d of %d", h, s.Exact, s.Of))
		}
	}
	if len(by) > 0 {
		note("requests by recorded interface: %s.", strings.Join(by, ", "))
	}
	if rep.Folios > 0 {
		note("%d requests of several pages were mapped by one dma_map_phys: the pages are taken for one folio.", rep.Folios)
	}
	for _, n := range []struct {
		count int64
		text  string
	}{
		{tr.Older, "unmaps are of mappings older than the trace and were not performed"},
		{tr.Lost, "mappings have no unmap in the trace"},
		{tr.Guessed, "links have no event that names their device, and more than one may be it"},
		{tr.Ruled, "links were joined by rule, because no unmap shows their extent"},
		{tr.Evicted, "mappings were ended because too many were live"},
		{p.Failures, "maps were refused by the simulated machine"},
	} {
		if n.count > 0 {
			note("%d %s.", n.count, n.text)
		}
	}
}

// Kept makes Files of names that open knows.
func Kept(names []string, open func(string) (io.ReadCloser, error)) (list []File) {
	for _, n := range names {
		list = append(list, File{strings.TrimSuffix(path.Base(n), ".gz"), func() (io.ReadCloser, error) { return open(n) }})
	}
	return list
}
