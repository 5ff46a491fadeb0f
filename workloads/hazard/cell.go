package hazard

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/oracle"
	"dmapath/platform"
	"dmapath/workloads"
)

// Cell is one question: this call, on this memory, with this backend behind it.
type Cell struct {
	Call    Call
	Memory  Memory
	Backend Backend
}

// String names the cell as --explain takes it: map_phys@7.3/ram/strict.
func (c Cell) String() string { return c.Call.String() + "/" + c.Memory.Name + "/" + c.Backend.Name }

// Status is the sort of answer.
type Status uint8

// Statuses.
const (
	OK          Status = iota // it works, and costs what Map and Unmap say
	Hazardous                 // it works, and does what it must not
	Fatal                     // the kernel does not survive it
	Failed                    // the kernel returns an error
	Impossible                // the call cannot be made with this memory
	NotModelled               // nobody knows
)

func (s Status) String() string {
	return [...]string{"ok", "hazard", "fatal", "error", "impossible", "not modelled"}[s]
}

// Found is a hazard with what provoked it.
type Found struct {
	kernel.Hazard
	Dir       kernel.Direction
	Adversary oracle.Adversary
}

// Exposure is what the device can reach beside what it was told: not a defect of the call, but of the protection that the backend
// gives. Read or written, whichever is more.
type Exposure struct {
	Beside uint64 // bytes of the granules (of the page, without an IOMMU) around the buffer that are not the buffer
	After  bool   // the buffer, right after the unmap
	Later  bool   // the buffer, 20 ms after the unmap
}

// Result is the answer.
type Result struct {
	Cell
	Status  Status
	Why     string  // why it is impossible or not modelled
	Err     error   // what the kernel returned
	Hazards []Found // each kind and step once, the first that was found
	Exposed Exposure
	Size    uint64 // bytes of the buffer
	// Map and Unmap are the cost with warm caches; nil when the call does not return.
	Map, Unmap *workloads.Op
	// Story tells the run that found the worst, or the first one.
	Story []string

	layout  *layout
	emitted digest // of the calls in the direction that is timed, while they were watched
}

// Config is what of a run can be chosen.
type Config struct {
	Rounds int64 // measured pairs of calls; 0: the cost is not measured
	Seed   uint64
}

// Run answers the question of one cell on machines like s, or like what the backend needs.
func Run(s *platform.Spec, c Cell, cfg Config) (*Result, error) {
	r, err := Observe(s, c, cfg.Seed)
	if err != nil || cfg.Rounds == 0 {
		return r, err
	}
	if _, ok := r.Likeness(); ok {
		err = r.Measure(cfg)
	}
	return r, err
}

// Observe is Run without the cost.
func Observe(s *platform.Spec, c Cell, seed uint64) (*Result, error) {
	r := &Result{Cell: c}
	if c.Backend.Missing != "" || c.Memory.Missing != "" {
		r.Status, r.Why = NotModelled, cmp.Or(c.Backend.Missing, c.Memory.Missing)
		return r, nil
	}
	s, err := c.Backend.machine(s)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", c, err)
	}
	if c.Memory.highmem && s.Kernel.Arch != "arm" {
		r.Status, r.Why = Impossible, "a 64-bit kernel has no highmem"
		return r, nil
	}
	if c.Memory.highmem && strings.HasPrefix(c.Call.Name, "map_single") {
		r.Status, r.Why = Impossible, "highmem has no address in the linear map"
		return r, nil
	}
	if c.Memory.encrypted && s.Kernel.Arch != "x86-64" {
		r.Status, r.Why = NotModelled, "no encrypted guests of Arm"
		return r, nil
	}
	l, err := newLayout(s, c.Memory.encrypted)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", c, err)
	}
	r.layout = l
	if err := r.observe(l, seed); err != nil {
		return nil, fmt.Errorf("%v: %w", c, err)
	}
	return r, nil
}

// build makes the machine of a cell, which is like s, with the device under test.
func (c *Cell) build(l *layout, s *platform.Spec, seed uint64) (*platform.Machine, *platform.Device, error) {
	m, err := platform.Build(s, platform.Options{Version: c.Call.Version, Backend: c.Backend.platform, CPUs: 1, Seed: seed, Extra: l.extra,
		P2PDMA: c.Memory.route != kernel.P2PUnsupported}) // there are no such pages without it
	if err != nil {
		return nil, nil, err
	}
	d, err := m.AddDevice("0000:01:00.0", 0x0100)
	if err == nil && c.Memory.route != kernel.P2PUnsupported {
		d.Ctx.Dev.P2P = kernel.P2P{Route: c.Memory.route, Provider: m.Env.Slab(256, 64)}
	}
	if err == nil && c.Backend.setUp != nil {
		c.Backend.setUp(d)
	}
	if err != nil {
		m.Close()
		return nil, nil, err
	}
	return m, d, nil
}

// classify turns an error of a call into a status.
func (r *Result) classify(err error) {
	switch {
	case errors.Is(err, dma.ErrNoPage) && !strings.Contains(r.Call.Name, "rederive"):
		r.Status, r.Why = Impossible, "there is no struct page that could be passed"
	default:
		r.Status, r.Err = Failed, err
	}
}

// judge sets the status of a cell whose calls returned.
func (r *Result) judge() {
	for _, f := range r.Hazards {
		if f.Kind.Fatal() {
			r.Status = Fatal
			return
		}
		r.Status = Hazardous
	}
}

// add keeps a hazard unless its kind and step are known.
func (r *Result) add(f Found) {
	if !slices.ContainsFunc(r.Hazards, func(g Found) bool { return g.Kind == f.Kind && g.Step == f.Step }) {
		r.Hazards = append(r.Hazards, f)
	}
}

// codes are the hazards' short names in tables.
var codes = [kernel.NumHazards]string{kernel.PageFault: "PF", kernel.MissingPage: "NP", kernel.KmapOfNoPage: "KM", kernel.MaintainsDevice: "CM",
	kernel.BouncesDevice: "BD", kernel.StaleDevice: "SD", kernel.StaleCPU: "SC", kernel.LostWrite: "LW", kernel.UseAfterUnmap: "UU",
	kernel.BeyondMapping: "BM", kernel.WrongMemoryType: "WT", kernel.Leak: "LK", kernel.CallsNothing: "CN", kernel.WrongFrame: "WF",
	kernel.DataCorruption: "DC", kernel.Refused: "RF", kernel.OutOfTurn: "OT"}

// Code returns the short name of a kind of hazard.
func Code(k kernel.HazardKind) string { return codes[k] }

// Short returns the answer in a few characters: cycles of map and unmap together, ERR, codes of hazards, n/a, or "?" for what is
// not modelled. What was only inferred from the source ends in an asterisk.
func (r *Result) Short() string {
	switch r.Status {
	case Failed:
		return "ERR"
	case Impossible:
		return "n/a"
	case NotModelled:
		return "?"
	}
	var kinds []string
	for k := range kernel.NumHazards {
		i := slices.IndexFunc(r.Hazards, func(f Found) bool { return f.Kind == k })
		if i < 0 || r.Status == Fatal && !k.Fatal() {
			continue
		}
		code := Code(k)
		if r.Hazards[i].Inferred {
			code += "*"
		}
		kinds = append(kinds, code)
	}
	hazards := strings.Join(kinds, ",")
	if r.Status == Fatal {
		return hazards
	}
	return strings.TrimSpace(fmt.Sprintf("%.0f %s", r.Cycles(), hazards))
}

// Cycles returns the mean cost of map and unmap together; 0 when there is none.
func (r *Result) Cycles() float64 {
	if r.Map == nil {
		return 0
	}
	return r.Map.Series.SecondHalf().Mean + r.Unmap.Series.SecondHalf().Mean
}
