package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
	"dmapath/platform"
)

// conditions are what a backend's name says about the machine.
type conditions struct {
	version    kernel.Version
	arch       platform.Word
	backend    platform.Backend
	coherent   bool
	mitigation string
	keep       bool // the ops of measured calls
}

// arm reports whether the kernel is arm64's.
func (c conditions) arm() bool { return c.arch == "arm64" }

// parseConditions reads kernel and backend; the error says what the model does not have.
func parseConditions(kern, backend string) (conditions, error) {
	c := conditions{arch: "x86-64", coherent: true, mitigation: "none"}
	release, arm := strings.CutSuffix(kern, "-arm64")
	if arm {
		c.arch = "arm64"
	}
	switch release {
	case "6.12":
		c.version = kernel.V6_12
	case "7.3":
		c.version = kernel.V7_3
	default:
		return c, fmt.Errorf("kernel %s is not modelled, only 6.12 and 7.3 on x86-64 and arm64 are", kern)
	}
	base := backend
	for more := true; more; {
		var cut bool
		base, cut = strings.CutSuffix(base, "-nc")
		more = cut
		c.coherent = c.coherent && !cut
		if base, cut = strings.CutSuffix(base, "-mitig"); cut {
			c.mitigation, more = "retpoline", true
		}
	}
	for _, b := range platform.Backends {
		if string(b) == base {
			c.backend = b
			return c, nil
		}
	}
	return c, fmt.Errorf("backend %s is not modelled", backend)
}

// machine builds the recorded machine, as far as instructions depend on it: 6 GiB, one CPU, 4-level tables.
func (c conditions) machine() (*platform.Machine, *platform.Device, error) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		return nil, nil, err
	}
	onOff := map[bool]string{false: "off", true: "on"}
	dialect, physBits := "vt-d", "46"
	if c.arm() {
		dialect, physBits = "smmuv3", "48"
	}
	var errs []error
	for _, kv := range [][2]string{
		{"memory.ram", "6GiB"}, {"memory.low_top", "2GiB"}, {"memory.hole_top", "4GiB"}, {"memory.model", "sparsemem-vmemmap"}, {"memory.map", "contiguous"},
		{"kernel.arch", string(c.arch)}, {"kernel.mem_encrypt", "on"}, {"kernel.mitigation", c.mitigation},
		{"cpu.string.fsrm", "off"}, // the emulated processor has none
		{"iommu.coherent", onOff[c.coherent]}, {"iommu.levels", "4"}, {"iommu.dialect", dialect}, {"memory.phys_bits", physBits},
	} {
		errs = append(errs, s.Set(kv[0], kv[1]))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	m, err := platform.Build(s, platform.Options{Version: c.version, Backend: c.backend, CPUs: 1, Seed: 1})
	if err != nil {
		return nil, nil, err
	}
	d, err := m.AddDevice("0000:00:01.0", 8)
	return m, d, err
}

// ModelledCall is what one modelled call executed.
type ModelledCall struct {
	Counts
	Functions []recorded.Function
	ops       []cpu.Op // nil where nobody asks for cycles
}

// family is the set of API calls that one run of the model answers for: map and unmap alternate.
type family struct {
	kind  string // cold, run, burst; empty for warm
	name  string // of the map call, of the conversion
	size  uint64
	parts []string // API names that it measures
}

// errNoSuchCall says that a kernel does not have an API call.
func errNoSuchCall(c conditions, what string) error {
	return fmt.Errorf("%v has no %s", c.version, what)
}

var iovaCalls = []string{"iova_try_alloc", "iova_link", "iova_sync", "iova_unlink", "iova_free", "iova_destroy"}

var conversions = map[string]bool{"page_to_phys": true, "phys_to_page": true, "page_to_pfn": true, "pfn_to_page": true, "virt_to_page": true,
	"page_address": true, "pfn_valid_ram": true, "pfn_valid_earlyhole": true, "pfn_valid_hole": true, "pfn_valid_mmio": true,
	"pfn_valid_highmmio": true, "pfn_valid_toobig": true, "pfn_valid_lowhole": true}

// familyOf finds what has to run to model a call; the error says why it cannot be.
func familyOf(c conditions, k CallKey) (family, error) {
	api := k.API
	f := family{size: k.Size}
	for _, kind := range []string{"cold", "run", "burst"} {
		if rest, ok := strings.CutPrefix(api, kind+"_"); ok {
			f.kind, api = kind, rest
		}
	}
	if c.arm() && api == "page_address" {
		return f, errors.New("the recording is one store of the caller")
	}
	if conversions[api] {
		if f.kind != "" {
			return f, fmt.Errorf("%s of %s is not modelled", f.kind, api)
		}
		f.name, f.size, f.parts = api, 0, []string{k.API}
		return f, nil
	}
	if k.Size == 0 {
		return f, fmt.Errorf("a size of 0 maps nothing")
	}
	if k.Size > largestBuffer {
		return f, fmt.Errorf("a buffer of %d bytes is not contiguous in the recorded machine's 6 GiB", k.Size)
	}
	prefix := strings.TrimSuffix(k.API, api)
	for _, n := range iovaCalls {
		if n != api {
			continue
		}
		switch {
		case c.version != kernel.V7_3:
			return f, errNoSuchCall(c, "dma_"+api)
		case f.kind != "" && f.kind != "run" && f.kind != "cold":
			return f, fmt.Errorf("%s of %s is not modelled", f.kind, api)
		case !c.backend.Translates() && api != "iova_try_alloc":
			return f, errors.New("dma_iova_try_alloc refuses a device without translation")
		}
		f.name = "iova"
		if api == "iova_unlink" || api == "iova_free" {
			f.name = "iova_unlink"
		}
		for _, n := range iovaCalls {
			f.parts = append(f.parts, prefix+n)
		}
		return f, nil
	}
	switch api {
	case "sync_single_for_cpu", "sync_single_for_device":
		f.name, f.parts = "sync", []string{prefix + "sync_single_for_cpu", prefix + "sync_single_for_device"}
		return f, nil
	}
	call := strings.TrimPrefix(api, "un")
	base := strings.TrimSuffix(call, "_todev")
	switch base {
	case "map_page", "map_single", "map_resource":
	case "map_phys", "map_phys_mmio":
		if c.version != kernel.V7_3 {
			return f, errNoSuchCall(c, "dma_"+strings.TrimSuffix(api, "_mmio"))
		}
	default:
		return f, fmt.Errorf("the call %s is not modelled", api)
	}
	f.name, f.parts = call, []string{prefix + call, prefix + "un" + call}
	return f, nil
}

// model runs a family on a machine of its own and returns the measured calls by API name.
func model(ctx context.Context, c conditions, f family) (calls map[string][]ModelledCall, err error) {
	m, d, err := c.machine()
	if err != nil {
		return nil, err
	}
	defer m.Close()
	r := &recorder{ctx: ctx, c: c, f: f, m: m, d: d, calls: map[string][]ModelledCall{}}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the model failed: %v", p)
		}
	}()
	if e := m.Do("recording", func(t *cpu.Thread) { err = r.run(t) }); e != nil {
		return nil, e
	}
	return r.calls, err
}
