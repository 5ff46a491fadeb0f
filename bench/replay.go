package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/workloads/ftrace"
	"dmapath/workloads/replay"
)

// Replay is a trace of recorded events and how its calls are performed.
type Replay struct {
	Name     string   // of the trace
	Variants []string // nil: the newest call of the trace's kernel
	Backend  string
	Cache    string
	CPUs     int   // 0: as many as the trace shows
	Limit    int64 // events read, 0 for all
	Seed     uint64
	// FixedRAM keeps the platform's RAM; otherwise it grows until the recorded addresses are inside.
	FixedRAM bool
	// Malformed is told about every line that cannot be read; it runs in another goroutine. nil is allowed.
	Malformed func(*ftrace.SyntaxError)
}

// probeBytes is how much of a stream that cannot be read twice is looked at before the machines are built.
const probeBytes = 4 << 20

// outcome of one variant.
type replayed struct {
	*replay.Player
	name string
}

// ReplayFile replays what open returns; it is called twice: first to see what machine the trace needs.
func ReplayFile(ctx context.Context, s *platform.Spec, x Replay, open func() (io.ReadCloser, error)) (*results.Record, error) {
	var ext replay.Extent
	f, err := open()
	if err != nil {
		return nil, err
	}
	text, err := replay.Text(f)
	if err == nil {
		ext, err = replay.Scan(ctx, ftrace.NewReader(text, x.Name), x.Limit)
	}
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x.Name, err)
	}
	if f, err = open(); err != nil {
		return nil, err
	}
	defer f.Close()
	if text, err = replay.Text(f); err != nil {
		return nil, fmt.Errorf("%s: %w", x.Name, err)
	}
	return x.run(ctx, s, ext, text)
}

// ReplayStream replays r, which can be read once: what machine it needs is seen from the beginning, or from x.CPUs.
func ReplayStream(ctx context.Context, s *platform.Spec, x Replay, r io.Reader) (*results.Record, error) {
	text, err := replay.Text(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x.Name, err)
	}
	head := make([]byte, probeBytes)
	n, err := io.ReadFull(text, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("%s: %w", x.Name, err)
	}
	ext, err := replay.Scan(ctx, ftrace.NewReader(bytes.NewReader(head[:n]), x.Name), x.Limit)
	if err != nil {
		return nil, err
	}
	if n == probeBytes {
		ext.CPUs = max(ext.CPUs, ext.Online)
		ext.Events = max(ext.Events, 1) // the rest may have some
	}
	return x.run(ctx, s, ext, io.MultiReader(bytes.NewReader(head[:n]), text))
}

// variants returns the variants to replay with.
func (x *Replay) variants(ext replay.Extent) ([]dma.Variant, error) {
	names := x.Variants
	if len(names) == 0 {
		names = []string{"map_phys@7.3"}
		if ext.Known && ext.Version == kernel.V6_12 {
			names = []string{"map_page@6.12"}
		}
	}
	var vs []dma.Variant
	var errs []error
	for i, n := range names {
		v, err := VariantByName(n)
		if err == nil && slices.Contains(names[:i], n) {
			err = fmt.Errorf("variant %q is given twice", n)
		}
		vs, errs = append(vs, v), append(errs, err)
	}
	return vs, errors.Join(errs...)
}

// Validate lists what is wrong with x.
func (x *Replay) Validate() error {
	var errs []error
	_, err := x.variants(replay.Extent{})
	errs = append(errs, err)
	word := func(key, w string, allowed []string) {
		if !slices.Contains(allowed, w) {
			errs = append(errs, fmt.Errorf("%s %q: allowed are %s%s", key, w, strings.Join(allowed, ", "), didYouMean(w, allowed)))
		}
	}
	word("backend", x.Backend, backendNames())
	word("cache", x.Cache, Caches)
	if x.Limit < 0 {
		errs = append(errs, fmt.Errorf("limit is %d: allowed are 0 (all events) and more", x.Limit))
	}
	if x.CPUs < 0 {
		errs = append(errs, fmt.Errorf("cpus is %d: allowed are 0 (as the trace shows) and more", x.CPUs))
	}
	return errors.Join(errs...)
}

func (x *Replay) run(ctx context.Context, s *platform.Spec, ext replay.Extent, text io.Reader) (*results.Record, error) {
	if err := x.Validate(); err != nil {
		return nil, err
	}
	if ext.Events == 0 {
		return nil, fmt.Errorf("%s: no dma or iommu event found: want the text of tracefs/trace, trace-cmd report or perf script with the events dma:* and iommu:*", x.Name)
	}
	vs, err := x.variants(ext)
	if err != nil {
		return nil, err
	}
	pl, err := x.players(s, ext, vs)
	if err != nil {
		return nil, err
	}
	defer pl.close()
	tr, err := pl.play(ctx, x, ext, text)
	if err != nil {
		return nil, err
	}
	rs := pl.replayed
	r := &results.Record{Name: "Replay", Version: results.Version(), Seed: x.Seed, ConfigHash: s.Hash(), Command: "dmapath replay"}
	x.measure(r, s, tr, rs)
	r.Tables = append(r.Tables, x.eventTable(tr), x.callTable(tr))
	for _, call := range []string{"map", "unmap"} {
		if t := x.costTable(s, call, rs); t != nil {
			r.Tables = append(r.Tables, t)
		}
	}
	if t := x.predictionTable(tr); t != nil {
		r.Tables = append(r.Tables, t)
	}
	if rs[0].M.Unit != nil {
		r.Tables = append(r.Tables, x.unitTable(rs))
	}
	r.Warnings = x.warnings(tr, rs, pl.grown)
	return r, nil
}

// players are machines that are ready to replay a trace.
type players struct {
	replayed []replayed
	cpus     int
	grown    uint64 // GiB of RAM instead of the platform's, so that the recorded addresses are inside; 0: they are
}

// players builds a machine for each variant.
func (x *Replay) players(s *platform.Spec, ext replay.Extent, vs []dma.Variant) (*players, error) {
	pl := &players{cpus: max(x.CPUs, 1)}
	if x.CPUs == 0 {
		pl.cpus = max(ext.CPUs, 1)
	}
	if pl.cpus > int(s.CPU.Cores) {
		return nil, fmt.Errorf("%s shows CPU %d, %s has %d cores: use --set cpu.cores=%d", x.Name, pl.cpus-1, s.Name, s.CPU.Cores, pl.cpus)
	}
	if end := s.RAMEnd(); ext.PhysTop > end && !x.FixedRAM {
		const gib = 1 << 30
		ram := (uint64(s.Memory.RAM) + ext.PhysTop - end + gib - 1) / gib
		if err := s.Set("memory.ram", fmt.Sprintf("%dGiB", ram)); err == nil && s.Check() == nil {
			pl.grown = ram
		}
	}
	exp := Experiment{Seed: x.Seed}
	for _, v := range vs {
		m, err := platform.Build(s, platform.Options{Version: v.Version(), Backend: platform.Backend(x.Backend), CPUs: pl.cpus, Seed: x.Seed})
		if err != nil {
			pl.close()
			return nil, err
		}
		pl.replayed = append(pl.replayed, replayed{nil, v.Name()})
		around, err := exp.ambience(m, x.Cache, 0)
		if err != nil {
			m.Close()
			pl.close()
			return nil, err
		}
		if m.Unit != nil {
			m.Unit.ResetStats()
		}
		pl.replayed[len(pl.replayed)-1].Player = replay.NewPlayer(m, v, around)
	}
	return pl, nil
}

func (pl *players) close() {
	for _, r := range pl.replayed {
		if r.Player != nil {
			r.M.Close()
		}
	}
}

// play performs the calls of text.
func (pl *players) play(ctx context.Context, x *Replay, ext replay.Extent, text io.Reader) (*replay.Trace, error) {
	var ps []*replay.Player
	for _, r := range pl.replayed {
		ps = append(ps, r.Player)
	}
	tr, err := replay.Run(ctx, ftrace.NewReader(text, x.Name), x.Limit, max(pl.cpus, ext.Online), ps, x.Malformed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x.Name, err)
	}
	return tr, nil
}

// Reproduce replays text with the one variant of x and compares the IOMMU's events with the recorded ones.
func (x *Replay) Reproduce(ctx context.Context, s *platform.Spec, ext replay.Extent, text io.Reader) (*replay.Trace, *replay.Player, error) {
	if err := x.Validate(); err != nil {
		return nil, nil, err
	}
	vs, err := x.variants(ext)
	if err != nil {
		return nil, nil, err
	}
	pl, err := x.players(s, ext, vs[:1])
	if err != nil {
		return nil, nil, err
	}
	defer pl.close()
	p := pl.replayed[0].Player
	p.Reproduced = &replay.Reproduction{}
	tr, err := pl.play(ctx, x, ext, text)
	return tr, p, err
}
