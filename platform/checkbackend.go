package platform

import (
	"fmt"
	"strings"
)

// reporter returns a function that adds a contradiction between the values of keys, separated by spaces, to ps. It is about the first, but
// stands where the user wrote one of them: nobody can change a preset.
func (s *Spec) reporter(ps *Problems) func(keys, format string, args ...any) {
	return func(keys, format string, args ...any) {
		all := strings.Fields(keys)
		key := all[0]
		pv := s.prov[key]
		for _, k := range all {
			if s.prov[k].File != s.Extends+".yaml" {
				pv = s.prov[k]
				break
			}
		}
		*ps = append(*ps, Problem{File: pv.File, Line: pv.Line, Col: pv.Col, Key: key, Text: fmt.Sprintf(format, args...), keys: all})
	}
}

// smallestQueue is how many entries the SMMU driver's command queue must have more than.
const smallestQueue = 64

// CheckBackend reports values that are allowed together and do not make a machine with backend b, each with the position of the value
// that should change. It returns Problems.
func (s *Spec) CheckBackend(b Backend) error {
	var ps Problems
	bad := s.reporter(&ps)
	u := &s.IOMMU
	if b == OpsGart {
		if s.Kernel.Arch != "x86-64" {
			bad("kernel.arch", "%s: the aperture of backend %s is that of AMD's northbridges", s.Kernel.Arch, b)
		}
		if uint64(s.Memory.LowTop) > apertureBase {
			bad("memory.low_top", "%s: RAM below 4 GiB ends above %#x, where the aperture of backend %s lies", bytesKind.formatNumber(int64(s.Memory.LowTop)), uint64(apertureBase), b)
		}
	}
	if !b.HasIOMMU() {
		return ps.err()
	}
	arch := Word("x86-64")
	if u.Dialect == "smmuv3" {
		arch = "arm64"
	}
	if s.Kernel.Arch != arch {
		bad("iommu.dialect kernel.arch", "%s, whose driver does not exist on kernel.arch %s; use the dialect of that architecture, or the backend direct", u.Dialect, s.Kernel.Arch)
		return ps.err() // what follows would be about another unit
	}
	guest := "" // what makes the kernel a guest
	switch {
	case b.Virtio():
		guest = "backend " + string(b)
	case bool(u.Trapped):
		guest = "iommu.trapped"
	}
	switch u.Dialect {
	case "vt-d":
		if u.Levels > 5 && !b.Passthrough() {
			bad("iommu.levels iommu.dialect", "%d table levels: a vt-d unit walks 3 to 5", u.Levels)
		}
		if bool(u.Trapped) && b.Passthrough() {
			bad("iommu.trapped", "a guest whose own vt-d unit passes addresses through (backend %s) is not modelled; viommu-passthrough is", b)
		}
	case "smmuv3":
		if u.Levels != 4 && !b.Passthrough() {
			bad("iommu.levels iommu.dialect", "%d table levels: stage 1 with a 4 KiB granule has 4", u.Levels)
		}
		if u.CommandQueue <= smallestQueue {
			bad("iommu.command_queue", "%d entries; the driver needs more than %d", u.CommandQueue, smallestQueue)
		}
	}
	if u.Dialect == "amd-vi" && !bool(u.Coherent) {
		bad("iommu.coherent iommu.dialect", "off: the driver of %s is modelled with table walks that snoop the caches only", u.Dialect)
	}
	if b.Virtio() {
		for _, c := range []struct {
			on  bool
			key string
		}{{bool(u.Trapped), "iommu.trapped"}, {u.SecondStage != "off", "iommu.second_stage"}} {
			if c.on {
				bad(c.key, "makes the kernel a guest, and backend %s does too; set it to off", b)
			}
		}
	}
	if s.PCIe.DeviceTLB.Entries > 0 && guest != "" && !b.Passthrough() {
		bad("pcie.device_tlb.entries", "%d: a guest (%s) does not invalidate devices' TLBs here; set it to 0", s.PCIe.DeviceTLB.Entries, guest)
	}
	return ps.err()
}
