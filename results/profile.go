package results

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/google/pprof/profile"
)

// Frame is one kernel function on a simulated call stack.
type Frame struct {
	Function string // iommu_dma_map_phys
	File     string // drivers/iommu/dma-iommu.c; may be empty
	Line     int64  // 0 when unknown
}

// Value is a kind of number that a Profile counts.
type Value struct {
	Name string // cycles
	Unit string // cycles, count, bytes, nanoseconds. pprof knows no picoseconds
}

// Profile collects simulated costs by call stack and writes them for go tool pprof. Its functions are those of the modelled
// kernel.
type Profile struct {
	p         profile.Profile
	functions map[string]*profile.Function
	locations map[Frame]*profile.Location
	samples   map[string]*profile.Sample
}

// NewProfile returns a profile that counts values; the first is what pprof shows by default.
func NewProfile(values ...Value) *Profile {
	p := &Profile{functions: map[string]*profile.Function{}, locations: map[Frame]*profile.Location{}, samples: map[string]*profile.Sample{}}
	if len(values) == 0 {
		panic("results: a profile without values")
	}
	for _, v := range values {
		p.p.SampleType = append(p.p.SampleType, &profile.ValueType{Type: v.Name, Unit: v.Unit})
	}
	p.p.DefaultSampleType = values[0].Name
	p.p.PeriodType = &profile.ValueType{Type: values[0].Name, Unit: values[0].Unit}
	p.p.Period = 1
	p.p.Mapping = []*profile.Mapping{{ID: 1, File: Tool, HasFunctions: true, HasFilenames: true, HasLineNumbers: true}}
	return p
}

// Add counts values, one for each kind, on a stack given from the outermost function to the innermost. Labels tell samples of one stack
// apart (variant, backend, cpu). The same stack and labels add up.
func (p *Profile) Add(stack []Frame, values []int64, labels ...Dim) {
	if len(values) != len(p.p.SampleType) {
		panic(fmt.Sprintf("results: %d values for a profile of %d", len(values), len(p.p.SampleType)))
	}
	if len(stack) == 0 {
		panic("results: a sample without a stack")
	}
	var key strings.Builder
	locs := make([]*profile.Location, len(stack))
	for i, f := range stack {
		l := p.location(f)
		locs[len(stack)-1-i] = l // pprof wants the innermost first
		fmt.Fprintf(&key, "%q %q %d,", f.Function, f.File, f.Line)
	}
	for _, d := range labels {
		fmt.Fprintf(&key, "%q=%q,", d.Key, d.Value)
	}
	s := p.samples[key.String()]
	if s == nil {
		s = &profile.Sample{Location: locs, Value: make([]int64, len(values))}
		if len(labels) > 0 {
			s.Label = map[string][]string{} // string labels: pprof drops numeric ones that are zero
			for _, d := range labels {
				s.Label[d.Key] = append(s.Label[d.Key], d.Value)
			}
		}
		p.samples[key.String()] = s
		p.p.Sample = append(p.p.Sample, s)
	}
	for i, v := range values {
		s.Value[i] += v
	}
}

func (p *Profile) location(f Frame) *profile.Location {
	if l := p.locations[f]; l != nil {
		return l
	}
	fk := f.Function + "\x00" + f.File
	fn := p.functions[fk]
	if fn == nil {
		fn = &profile.Function{ID: uint64(len(p.functions) + 1), Name: f.Function, SystemName: f.Function, Filename: f.File}
		p.functions[fk] = fn
		p.p.Function = append(p.p.Function, fn)
	}
	l := &profile.Location{ID: uint64(len(p.locations) + 1), Mapping: p.p.Mapping[0], Line: []profile.Line{{Function: fn, Line: f.Line}}}
	p.locations[f] = l
	p.p.Location = append(p.p.Location, l)
	return l
}

// Total returns the sum of each kind of value.
func (p *Profile) Total() []int64 {
	sum := make([]int64, len(p.p.SampleType))
	for _, s := range p.p.Sample {
		for i, v := range s.Value {
			sum[i] += v
		}
	}
	return sum
}

// Write writes the profile, compressed, with comments (the command line, the configuration's hash). It contains no wall-clock
// time and does not depend on the order of Add, so equal costs give equal bytes.
func (p *Profile) Write(w io.Writer, comments ...string) error {
	p.p.Comments = comments
	sort.Slice(p.p.Function, func(i, j int) bool {
		a, b := p.p.Function[i], p.p.Function[j]
		return a.Name < b.Name || a.Name == b.Name && a.Filename < b.Filename
	})
	for i, f := range p.p.Function {
		f.ID = uint64(i + 1)
	}
	sort.Slice(p.p.Location, func(i, j int) bool {
		a, b := p.p.Location[i].Line[0], p.p.Location[j].Line[0]
		return a.Function.ID < b.Function.ID || a.Function.ID == b.Function.ID && a.Line < b.Line
	})
	for i, l := range p.p.Location {
		l.ID = uint64(i + 1)
	}
	sort.Slice(p.p.Sample, func(i, j int) bool { return sampleLess(p.p.Sample[i], p.p.Sample[j]) })
	if err := p.p.CheckValid(); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return p.p.Write(w)
}

// sampleLess orders samples by stack from the outermost function, then by labels. No two samples are equal.
func sampleLess(a, b *profile.Sample) bool {
	for i := 1; i <= len(a.Location) && i <= len(b.Location); i++ {
		if x, y := a.Location[len(a.Location)-i].ID, b.Location[len(b.Location)-i].ID; x != y {
			return x < y
		}
	}
	if len(a.Location) != len(b.Location) {
		return len(a.Location) < len(b.Location)
	}
	return fmt.Sprint(a.Label) < fmt.Sprint(b.Label) // fmt prints maps in the order of their keys
}
