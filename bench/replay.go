package bench

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"dmapath/iommu"
	"dmapath/kernel"
	"dmapath/kernel/described"
	"dmapath/kernel/dma"
	"dmapath/kernel/iommudma"
	"dmapath/kernel/swiotlb"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads/compressed"
	"dmapath/workloads/ftrace"
	"dmapath/workloads/replay"
)

// Replay is a trace of recorded events and how its calls are performed: on a machine of its own for every backend and variant.
type Replay struct {
	Name     string   // of the trace
	Variants []string // nil: those of Default
	Backends []string // nil: those of ReplayBackends that the platform can have
	Cache    string
	CPUs     int   // 0: as many as the trace shows
	Limit    int64 // events read, 0 for all
	// Sample is how many calls a machine performs at most, in windows over the whole trace (replay.Sample); 0: all calls.
	Sample int64
	Jobs   int // machines at a time, 0: one per CPU of the host; the result does not depend on it
	Seed   uint64
	// FixedRAM keeps the platform's RAM; otherwise it grows until the recorded addresses are inside.
	FixedRAM bool
	// Malformed is told about every line that cannot be read, Progress how far the replay is. Both run in other goroutines, one call at a time; nil is
	// allowed.
	Malformed func(*ftrace.SyntaxError)
	Progress  func(ReplayStatus)

	readOnly bool // perform nothing, see Calls
}

// ReplayStatus is how far a replay is.
type ReplayStatus struct {
	Doing string // scanning, reading, simulating
	Unit  string // bytes (of the file, as it is compressed), calls (of all machines)
	Done  int64
	Total int64 // 0: nobody knows
}

// ReplayBackends are the backends that a trace is replayed on unless others are asked for.
var ReplayBackends = []string{string(platform.Direct), string(platform.IommuStrict), string(platform.IommuLazy), string(platform.IommuPassthrough), string(platform.SwiotlbForce)}

// ReplaySample is Replay.Sample unless another is asked for: what two processors do for twenty machines in half a minute or so.
const ReplaySample = 8192

// leastSample is the shortest sample: Sample keeps four windows.
const leastSample = 4 * replay.SampleWindow

// probeBytes is how much of the text is looked at before it is read: for the number of CPUs.
const probeBytes = 4 << 20

// HowToRecord is what to do for a trace that can be replayed.
const HowToRecord = `record one on the machine in question, as root, while it does its work:
  trace-cmd record -e dma -e iommu -- sleep 10 && trace-cmd report > trace.txt
or
  perf record -a -e 'dma:*' -e 'iommu:*' -- sleep 10 && perf script -F comm,tid,cpu,time,event,trace > trace.txt
or
  cd /sys/kernel/tracing; echo 1 > events/dma/enable; echo 1 > events/iommu/enable; sleep 10; cat trace > /tmp/trace.txt
(dma:* needs Linux 6.12 or newer; gzip or zstd the file if it is large)`

// NoEvents is the error of a trace without a usable event.
func NoEvents(name string) error {
	return fmt.Errorf("%s: no dma or iommu event found: want the text of tracefs/trace, trace-cmd report or perf script with the events dma:* and iommu:*, plain, gzip or zstd\n%s", name, HowToRecord)
}

// binary are the beginnings of files that are not text, and what makes text of them.
var binary = []struct{ magic, made string }{
	{"\x17\x08\x44tracing", "trace.dat of trace-cmd: trace-cmd report makes text of it"},
	{"PERFILE2", "perf.data of perf: perf script -F comm,tid,cpu,time,event,trace makes text of it"},
}

// replayed is one machine's outcome.
type replayed struct {
	*replay.Player
	backend, name string
	version       kernel.Version
	clock         sim.Clock
	iommu         iommu.Stats
	unit          bool // there is an IOMMU
	flush         iommudma.Stats
	bounce        swiotlb.Stats
}

// Replayed is a trace that has been replayed.
type Replayed struct {
	Trace  *replay.Trace
	Sample *replay.Sample // nil: every call was performed as it was read

	x       Replay
	s       *platform.Spec
	runs    []*replayed // by backend, then by variant
	cpus    int
	grown   uint64 // GiB of RAM instead of the platform's, so that the recorded addresses are inside; 0: they are
	left    []error
	devices []string
	calls   []*replay.Call
}

// ReplayFile replays what open returns, which may be called more than once, and shows the result.
func ReplayFile(ctx context.Context, s *platform.Spec, x Replay, open func() (io.ReadCloser, error)) (*results.Record, error) {
	r, err := x.File(ctx, s, open)
	if err != nil {
		return nil, err
	}
	return r.Record(), nil
}

// ReplayStream replays r, which can be read once, and shows the result.
func ReplayStream(ctx context.Context, s *platform.Spec, x Replay, r io.Reader) (*results.Record, error) {
	d, err := x.Stream(ctx, s, r)
	if err != nil {
		return nil, err
	}
	return d.Record(), nil
}

// input is a trace that is being read.
type input struct {
	text io.Reader
	done func()
}

// start begins to read a trace; size is that of the file, 0 when unknown.
func (x *Replay) start(r io.Reader, size int64, doing string) (input, error) {
	z, err := replay.Text(r)
	if err != nil {
		return input{}, fmt.Errorf("%s: %w", x.Name, err)
	}
	if x.Progress == nil {
		return input{z, func() { z.Close() }}, nil
	}
	return input{&watched{z, x.Progress, ReplayStatus{doing, "bytes", 0, size}}, func() { z.Close() }}, nil
}

// watched tells how much of a compressed text has been read.
type watched struct {
	*compressed.Reader
	tell func(ReplayStatus)
	at   ReplayStatus
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if c := w.Consumed(); c-w.at.Done >= 1<<20 || err != nil {
		w.at.Done = c
		w.tell(w.at)
	}
	return n, err
}

// File replays what open returns; it is called twice, or more often, when the text does not say at its beginning how many CPUs the machine had, and when
// all calls are performed: then once for Jobs machines.
func (x Replay) File(ctx context.Context, s *platform.Spec, open func() (io.ReadCloser, error)) (*Replayed, error) {
	with := func(doing string, do func(io.Reader) error) error {
		f, err := open()
		if err != nil {
			return err
		}
		defer f.Close()
		var size int64
		if st, ok := f.(interface{ Stat() (fs.FileInfo, error) }); ok {
			if info, err := st.Stat(); err == nil {
				size = info.Size()
			}
		}
		in, err := x.start(f, size, doing)
		if err != nil {
			return err
		}
		defer in.done()
		return do(in.text)
	}
	p, err := x.plan(s)
	if err != nil {
		return nil, err
	}
	var ext replay.Extent
	if err := with("scanning", func(text io.Reader) error {
		var whole bool
		_, ext, whole, err = x.head(ctx, text)
		if err == nil && !whole && (x.Sample == 0 || ext.Online == 0 && x.CPUs == 0) {
			err = with("scanning", func(text io.Reader) (err error) {
				ext, err = replay.Scan(ctx, ftrace.NewReader(text, x.Name), x.Limit)
				return err
			})
		}
		return err
	}); err != nil {
		return nil, x.explain(err)
	}
	if x.Sample == 0 {
		if err := p.size(ext); err != nil {
			return nil, err
		}
		for group := range slices.Chunk(p.runs, x.jobs()) {
			if err := with("simulating", func(text io.Reader) error { return p.stream(ctx, ext, text, group) }); err != nil {
				return nil, x.explain(err)
			}
		}
		return p, nil
	}
	collect := func() error {
		return with("reading", func(text io.Reader) error { return p.collect(ctx, ext, text) })
	}
	err = collect()
	if errors.As(err, &replay.CPUError{}) && x.CPUs == 0 { // some CPUs are offline: their numbers go beyond how many there are
		err = with("scanning", func(text io.Reader) (err error) {
			ext, err = replay.Scan(ctx, ftrace.NewReader(text, x.Name), x.Limit)
			return err
		})
		if p.x.Malformed = nil; err == nil {
			err = collect()
		}
	}
	if err != nil {
		return nil, x.explain(err)
	}
	return p, p.perform(ctx)
}

// Stream replays r, which can be read once: how many CPUs the traced machine had is seen from the beginning, or from x.CPUs. When all calls are
// performed, all machines are there at the same time.
func (x Replay) Stream(ctx context.Context, s *platform.Spec, r io.Reader) (*Replayed, error) {
	p, err := x.plan(s)
	if err != nil {
		return nil, err
	}
	in, err := x.start(r, 0, "reading")
	if err != nil {
		return nil, err
	}
	defer in.done()
	text, ext, whole, err := x.head(ctx, in.text)
	if err != nil {
		return nil, x.explain(err)
	}
	if !whole {
		ext.CPUs = max(ext.CPUs, ext.Online)
	}
	if x.Sample == 0 {
		if !whole {
			ext.Events = max(ext.Events, 1) // the rest may have some
		}
		if err := p.size(ext); err != nil {
			return nil, err
		}
		if err := p.stream(ctx, ext, text, p.runs); err != nil {
			return nil, x.explain(err)
		}
		return p, nil
	}
	if err := p.collect(ctx, ext, text); err != nil {
		return nil, x.explain(err)
	}
	return p, p.perform(ctx)
}

// head reads the beginning of text and returns the whole of it again. whole: there is no more than what has been looked at.
func (x *Replay) head(ctx context.Context, text io.Reader) (io.Reader, replay.Extent, bool, error) {
	head := make([]byte, probeBytes)
	n, err := io.ReadFull(text, head)
	for _, b := range binary {
		if bytes.HasPrefix(head[:n], []byte(b.magic)) {
			return nil, replay.Extent{}, false, errors.New("it is a binary " + b.made)
		}
	}
	whole := err == io.EOF || err == io.ErrUnexpectedEOF
	if err != nil && !whole {
		// The error comes again behind what has been read, for who reads it all.
		text = io.MultiReader(bytes.NewReader(head[:n]), failing{err})
	} else {
		text = io.MultiReader(bytes.NewReader(head[:n]), text)
	}
	ext, err := replay.Scan(ctx, ftrace.NewReader(bytes.NewReader(head[:n]), x.Name), x.Limit)
	return text, ext, whole, err
}

// failing is an input that cannot be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// explain adds to an error of the input what can be done.
func (x *Replay) explain(err error) error {
	var cut replay.CutError
	if errors.As(err, &cut) && cut.Events > 0 {
		return fmt.Errorf("%s: %w; --limit %d replays what is before", x.Name, err, cut.Events)
	}
	if errors.As(err, &noPrefix{}) {
		return err
	}
	return fmt.Errorf("%s: %w", x.Name, err)
}

// variants returns the variants to replay with.
func (x *Replay) variants() ([]dma.Variant, error) {
	names := x.Variants
	if len(names) == 0 {
		names = Default().Variants
	}
	var vs []dma.Variant
	var errs []error
	for _, n := range names {
		v, err := VariantByName(n)
		switch {
		case err != nil:
		case slices.ContainsFunc(vs, func(o dma.Variant) bool { return o.Name() == v.Name() }):
			err = fmt.Errorf("variant %q is given twice", n)
		case dma.MemoryOf(v) == dma.DeviceMemory:
			err = fmt.Errorf("variant %q maps device memory: a trace's calls of that kind are performed by every variant, as dma_map_resource", n)
		case dma.MemoryOf(v) == dma.OwnMemory:
			err = fmt.Errorf("variant %q needs buffers that belong to the driver; a trace says where its buffers lie", n)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		vs = append(vs, v)
	}
	return vs, errors.Join(errs...)
}

// AddPath makes a described call known, read from a file called name, and returns the name of the variant that it is.
func (x *Replay) AddPath(name, text string) (string, error) {
	p, err := described.Parse(name, text)
	if err != nil {
		return "", err
	}
	return p.Name(), described.Define(p)
}

// Validate lists what is wrong with x.
func (x *Replay) Validate() error {
	var errs []error
	_, err := x.variants()
	errs = append(errs, err)
	word := func(key, w string, allowed []string) {
		if !slices.Contains(allowed, w) {
			errs = append(errs, fmt.Errorf("%s %q: allowed are %s%s", key, w, strings.Join(allowed, ", "), didYouMean(w, allowed)))
		}
	}
	for i, b := range x.Backends {
		word("backend", b, backendNames())
		if slices.Contains(x.Backends[:i], b) {
			errs = append(errs, fmt.Errorf("backend %q is given twice", b))
		}
		if platform.Backend(b).Provider() {
			errs = append(errs, fmt.Errorf("backend %q: what would translate its addresses for a device is not modelled", b))
		}
	}
	word("cache", x.Cache, Caches)
	for _, n := range []struct {
		key  string
		v    int64
		zero string
	}{{"limit", x.Limit, "all events"}, {"cpus", int64(x.CPUs), "as the trace shows"}, {"jobs", int64(x.Jobs), "all processors"}} {
		if n.v < 0 {
			errs = append(errs, fmt.Errorf("%s is %d: allowed are 0 (%s) and more", n.key, n.v, n.zero))
		}
	}
	if x.Sample != 0 && (x.Sample < leastSample || x.Sample > 1<<30) {
		errs = append(errs, fmt.Errorf("sample is %d: allowed are 0 (all calls) and %d to %d", x.Sample, leastSample, 1<<30))
	}
	return errors.Join(errs...)
}

func (x *Replay) jobs() int { return cmp.Or(x.Jobs, runtime.GOMAXPROCS(0)) }

// plan chooses backends and variants.
func (x Replay) plan(s *platform.Spec) (*Replayed, error) {
	if err := x.Validate(); err != nil {
		return nil, err
	}
	p := &Replayed{x: x, s: s}
	vs, err := x.variants()
	if err != nil {
		return nil, err
	}
	backends := x.Backends
	if len(backends) == 0 {
		backends = ReplayBackends
	}
	for _, b := range backends {
		err := s.Fits(vs[0].Version(), platform.Backend(b))
		if err != nil && len(x.Backends) == 0 {
			p.left = append(p.left, fmt.Errorf("backend %s is left out: %w", b, err))
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, v := range vs {
			p.runs = append(p.runs, &replayed{backend: b, name: v.Name(), version: v.Version()})
		}
	}
	if len(p.runs) == 0 {
		return nil, errors.Join(p.left...)
	}
	return p, nil
}

// size decides what the machines need for what ext says of the trace.
func (p *Replayed) size(ext replay.Extent) error {
	x := &p.x
	if ext.Events == 0 {
		return NoEvents(x.Name)
	}
	p.cpus = max(x.CPUs, 1)
	if x.CPUs == 0 {
		p.cpus = max(ext.CPUs, 1)
	}
	s := p.s
	if p.cpus > int(s.CPU.Cores) {
		line := ""
		if ext.CPULine > 0 && x.CPUs == 0 {
			line = fmt.Sprintf(" in line %d", ext.CPULine)
		}
		return fmt.Errorf("%s shows CPU %d%s, %s has %d cores: use --set cpu.cores=%d", x.Name, p.cpus-1, line, s.Name, s.CPU.Cores, p.cpus)
	}
	if end := s.RAMEnd(); ext.PhysTop > end && !x.FixedRAM {
		const gib = 1 << 30
		ram := (uint64(s.Memory.RAM) + ext.PhysTop - end + gib - 1) / gib
		old := s.Memory.RAM
		if err := s.Set("memory.ram", fmt.Sprintf("%dGiB", ram)); err == nil && s.Check() == nil {
			p.grown = ram
		} else {
			s.Memory.RAM = old
		}
	}
	return nil
}

// build makes the machine of r. stacks: it accounts functions by their callers.
func (p *Replayed) build(r *replayed, stacks bool) (*replay.Player, error) {
	v, err := dma.Lookup(r.name)
	if err != nil {
		return nil, err
	}
	m, err := platform.Build(p.s, platform.Options{Version: v.Version(), Backend: platform.Backend(r.backend), CPUs: p.cpus, Seed: p.x.Seed, Stacks: stacks})
	if err != nil {
		return nil, err
	}
	// The warm surroundings of the platforms are those of an NVMe request.
	def := Default()
	exp, instructions := Experiment{Seed: p.x.Seed}, 0
	if p.x.Cache == "warm" {
		instructions = def.NVMe.Surround
	}
	around, err := exp.ambience(m, p.x.Cache, instructions)
	if err == nil {
		err = m.Settle()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	if m.Unit != nil {
		m.Unit.ResetStats()
	}
	return replay.NewPlayer(m, v, around), nil
}

// finish keeps of r's machine what is shown, and lets go of it.
func (r *replayed) finish(pl *replay.Player) {
	m := pl.M
	r.Player, r.clock, r.unit = pl, m.Clock, m.Unit != nil
	if m.Unit != nil {
		r.iommu = *m.Unit.Statistics()
	}
	r.flush = pl.Flushes()
	if m.Tlb != nil {
		r.bounce = m.Tlb.Stats
	}
	m.Close()
	pl.Forget()
}

// collect reads the trace and keeps a sample of its calls.
func (p *Replayed) collect(ctx context.Context, ext replay.Extent, text io.Reader) error {
	x := &p.x
	p.Sample = &replay.Sample{Most: int(x.Sample)}
	cores := math.MaxInt
	if x.CPUs > 0 {
		cores = x.CPUs
	}
	cpus := max(x.CPUs, ext.CPUs, ext.Online, 1)
	if x.CPUs == 0 {
		cores = cpus // a later event of another CPU: the predictor has none for it
	}
	tr, err := replay.Collect(ctx, ftrace.NewReader(text, x.Name), x.Limit, cpus, cores, p.Sample, x.Malformed)
	p.Trace = tr
	if err != nil {
		return err
	}
	if err := p.size(tr.Extent); err != nil {
		return noPrefix{err}
	}
	p.calls, p.devices = p.Sample.Calls(), tr.Names()
	return nil
}

// noPrefix is an error that names the trace itself.
type noPrefix struct{ error }

// perform has every machine perform the sample, some at a time.
func (p *Replayed) perform(ctx context.Context) error {
	if p.x.readOnly {
		return nil
	}
	var g errgroup.Group
	g.SetLimit(p.x.jobs())
	errs := make([]error, len(p.runs)) // which error is reported must not depend on which came first
	tell := p.counter(int64(len(p.calls)) * int64(len(p.runs)))
	for i, r := range slices.Backward(p.runs) { // the last backends take longest, and should not be begun last
		g.Go(func() error {
			var pl *replay.Player
			if pl, errs[i] = p.one(ctx, r, false, tell, nil); errs[i] == nil {
				r.finish(pl)
			}
			return nil
		})
	}
	g.Wait()
	return errors.Join(errs...)
}

// one performs the sample on the machine of r, which the caller has to close. ready, unless nil, is told when the machine is.
func (p *Replayed) one(ctx context.Context, r *replayed, stacks bool, tell func(n int), ready func(*replay.Player)) (*replay.Player, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pl, err := p.build(r, stacks)
	if err != nil {
		return nil, err
	}
	if ready != nil {
		ready(pl)
	}
	err = pl.Perform(p.calls, p.devices, func(n int) error {
		tell(n)
		return ctx.Err()
	})
	if err != nil {
		pl.M.Close()
		return nil, fmt.Errorf("%s, %s %s: %w", p.x.Name, r.backend, r.name, err)
	}
	return pl, nil
}

// counter adds up the calls of all machines for Progress.
func (p *Replayed) counter(total int64) func(n int) {
	if p.x.Progress == nil {
		return func(int) {}
	}
	var mu sync.Mutex
	st := ReplayStatus{Doing: "simulating", Unit: "calls", Total: total}
	return func(n int) {
		mu.Lock()
		defer mu.Unlock()
		st.Done += int64(n)
		p.x.Progress(st)
	}
}

// stream has the machines of some runs perform all calls of text as they are read.
func (p *Replayed) stream(ctx context.Context, ext replay.Extent, text io.Reader, runs []*replayed) error {
	var players []*replay.Player
	defer func() {
		for _, pl := range players {
			if pl.M != nil {
				pl.M.Close()
			}
		}
	}()
	for _, r := range runs {
		pl, err := p.build(r, false)
		if err != nil {
			return err
		}
		players = append(players, pl)
	}
	malformed := p.x.Malformed
	if p.Trace != nil {
		malformed = nil // told already
	}
	tr, err := replay.Run(ctx, ftrace.NewReader(text, p.x.Name), p.x.Limit, max(p.cpus, ext.Online), players, malformed)
	if p.Trace == nil {
		p.Trace = tr
	}
	if err != nil {
		return err
	}
	for i, r := range runs {
		r.finish(players[i])
	}
	return nil
}

// Reproduce replays text with the one variant and backend of x and compares the IOMMU's events with the recorded ones. Unless x names a variant it is the
// newest call of the trace's kernel.
func (x *Replay) Reproduce(ctx context.Context, s *platform.Spec, ext replay.Extent, text io.Reader) (*replay.Trace, *replay.Player, error) {
	own := *x
	if own.Sample = 0; len(own.Variants) == 0 {
		own.Variants = []string{"map_phys@7.3"}
		if ext.Known && ext.Version == kernel.V6_12 {
			own.Variants = []string{"map_page@6.12"}
		}
	}
	p, err := own.plan(s)
	if err != nil {
		return nil, nil, err
	}
	if err := p.size(ext); err != nil {
		return nil, nil, err
	}
	pl, err := p.build(p.runs[0], false)
	if err != nil {
		return nil, nil, err
	}
	defer pl.M.Close()
	pl.Reproduced = &replay.Reproduction{}
	tr, err := replay.Run(ctx, ftrace.NewReader(text, x.Name), x.Limit, max(p.cpus, ext.Online), []*replay.Player{pl}, x.Malformed)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", x.Name, err)
	}
	return tr, pl, nil
}
