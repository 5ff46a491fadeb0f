package host

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"dmapath/platform"
)

// System is what the operating system says about the machine. Figures that it does not give are zero.
type System struct {
	Arch, Vendor, Model string // Arch as GOARCH
	Family, Number      int    // of the processor model: x86's family and model, Arm's part
	Virtual             bool   // below a hypervisor
	CPUs                int
	Caches              map[string]Geometry // l1i, l1d, l2, llc
}

// Geometry is the size of a cache.
type Geometry struct {
	Bytes int64
	Ways  int
}

// ReadSystem reads /proc/cpuinfo and sysfs.
func ReadSystem() (*System, error) {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, fmt.Errorf("reading what the processor is: %w", err)
	}
	s := parseCPUInfo(string(data))
	s.Arch, s.CPUs, s.Caches = runtime.GOARCH, runtime.NumCPU(), map[string]Geometry{}
	dirs, _ := filepath.Glob("/sys/devices/system/cpu/cpu0/cache/index*")
	for _, d := range dirs {
		word := func(file string) string {
			b, _ := os.ReadFile(filepath.Join(d, file))
			return strings.TrimSpace(string(b))
		}
		name := map[string]string{"1Data": "l1d", "1Instruction": "l1i", "2Unified": "l2", "3Unified": "llc"}[word("level")+word("type")]
		kb, e1 := strconv.ParseInt(strings.TrimSuffix(word("size"), "K"), 10, 64)
		ways, e2 := strconv.Atoi(word("ways_of_associativity"))
		if name != "" && e1 == nil && e2 == nil && ways > 0 {
			s.Caches[name] = Geometry{kb << 10, ways}
		}
	}
	return s, nil
}

// parseCPUInfo reads the first processor of /proc/cpuinfo.
func parseCPUInfo(text string) *System {
	s := &System{}
	first, _, _ := strings.Cut(text, "\n\n")
	for l := range strings.Lines(first) {
		name, v, _ := strings.Cut(l, ":")
		v = strings.TrimSpace(v)
		switch strings.TrimSpace(name) {
		case "vendor_id", "CPU implementer":
			s.Vendor = v
		case "model name":
			s.Model = v
		case "cpu family":
			s.Family, _ = strconv.Atoi(v)
		case "model":
			s.Number, _ = strconv.Atoi(v)
		case "CPU part":
			n, _ := strconv.ParseInt(v, 0, 32)
			s.Number = int(n)
		case "flags":
			s.Virtual = slices.Contains(strings.Fields(v), "hypervisor")
		}
	}
	return s
}

// relatives says which preset is nearest to a processor: the newest of its line first. Family and model numbers are those of the vendors'
// documentation as Linux has them (arch/x86/include/asm/intel-family.h, arch/x86/kernel/cpu/amd.c, arch/arm64/include/asm/cputype.h).
var relatives = []struct {
	vendor         string
	family, lo, hi int
	preset         string
}{
	{"AuthenticAMD", 23, 0, 255, "zen2"},
	{"AuthenticAMD", 25, 0, 255, "genoa"},
	{"AuthenticAMD", 26, 0, 255, "genoa"},
	{"GenuineIntel", 6, 0x3e, 0x3e, "ivybridge-ep"},
	{"GenuineIntel", 6, 0x3f, 0x4f, "haswell-ep"},
	{"GenuineIntel", 6, 0x55, 0x55, "skylake-sp"},
	{"GenuineIntel", 6, 0x6a, 0x6c, "icelake-sp"},
	{"GenuineIntel", 6, 0x8f, 0xff, "sapphire-rapids"},
	{"0x48", 0, 0xd01, 0xd01, "kunpeng-920"},
	{"0x41", 0, 0xd4f, 0xd8f, "grace"},
	{"0x41", 0, 0xd0c, 0xd0c, "neoverse-n1"},
}

// Nearest names the shipped preset of the processor nearest to s: of its line when there is one, and otherwise of its architecture.
func (s *System) Nearest() string {
	have := platform.Names()
	for _, r := range relatives {
		if r.vendor == s.Vendor && r.family == s.Family && s.Number >= r.lo && s.Number <= r.hi && slices.Contains(have, r.preset) {
			return r.preset
		}
	}
	switch {
	case s.Arch == "arm64":
		return "neoverse-n1"
	case s.Vendor == "AuthenticAMD":
		return "genoa"
	}
	return platform.Default
}

// String is one line about the machine.
func (s *System) String() string {
	kind := "machine"
	if s.Virtual {
		kind = "virtual machine"
	}
	name := s.Model
	if name == "" {
		name = fmt.Sprintf("%s part %#x", s.Vendor, s.Number)
	}
	text := fmt.Sprintf("%s with %d processors, %s (family %d, model %d)", kind, s.CPUs, name, s.Family, s.Number)
	for _, c := range []string{"l1d", "l2", "llc"} {
		if g, ok := s.Caches[c]; ok {
			text += fmt.Sprintf(", %s %s", strings.ToUpper(c), bytesName(uint64(g.Bytes)))
		}
	}
	return text
}
