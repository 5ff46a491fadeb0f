package behaviour

import (
	"fmt"

	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads/probe"
)

// iotlbWindow is the window sweep of pcie-bench: what a device that reads or writes at random places loses behind an IOMMU when
// the window has more pages than the IOTLB entries.
func iotlbWindow() *Behaviour {
	b := &Behaviour{Name: "iotlb_window", Title: "Device throughput behind VT-d against the window it touches, share of the same without IOMMU",
		Source: "published-numbers 2.1, Xeon E5-2620 v3 (Haswell), NFP-6000, Gen3 x8",
		Setup:  "Ours: " + preset + " with the published link (Gen3 x8), random accesses, 64 under way, pages of 4 KiB scattered or one contiguous buffer.",
		Label:  "access, window", Unit: "on/off", Ours: "on/off"}
	type row struct {
		access    probe.Access
		size      int
		window    uint64
		huge      bool
		published float64
	}
	for _, r := range []row{
		{probe.Read, 64, 256 << 10, false, 33.6 / 28.2}, {probe.Read, 64, 512 << 10, false, 25.0 / 28.0}, {probe.Read, 64, 1 << 20, false, 16.1 / 28.0},
		{probe.Read, 64, 4 << 20, false, 11.0 / 28.4}, {probe.Read, 64, 64 << 20, false, 10.1 / 28.5}, {probe.Read, 64, 64 << 20, true, 28.6 / 28.5},
		{probe.Read, 512, 64 << 20, false, 54.5 / 55.0}, {probe.Write, 64, 256 << 10, false, 1}, {probe.Write, 64, 64 << 20, false, 11.2 / 24.3},
		{probe.Write, 512, 64 << 20, false, 1},
	} {
		label := fmt.Sprintf("%s %d B, %d KiB", r.access, r.size, r.window>>10)
		if r.huge {
			label += ", contiguous"
		}
		b.Rows = append(b.Rows, Row{label, r.published, func() (float64, error) {
			off, err := probeRate(platform.Direct, r.access, r.size, r.window, r.huge)
			if err != nil {
				return 0, err
			}
			on, err := probeRate(platform.IommuStrict, r.access, r.size, r.window, r.huge)
			return on / off, err
		}})
	}
	b.Claims = []Claim{
		{"Nothing is lost while the window fits", func(v []float64) bool { return v[0] > 0.97 && v[7] > 0.97 }},
		{"The cliff lies between 256 KiB and 1 MiB, and small reads lose ever more beyond it", func(v []float64) bool { return v[2] < 0.85*v[0] && v[2] > v[3] && v[3] >= v[4] }},
		{"At 64 MiB small reads and writes keep less than 60 %", func(v []float64) bool { return v[4] < 0.6 && v[8] < 0.6 }},
		{"Large pages lose nothing", func(v []float64) bool { return v[5] > 0.97 }},
		{"Accesses of 512 bytes lose less than half of what those of 64 lose", func(v []float64) bool { return 1-v[6] < (1-v[4])/2 && 1-v[9] < (1-v[8])/2 }},
	}
	return b
}

// probeRate returns the accesses per second of a probe.
func probeRate(backend platform.Backend, access probe.Access, size int, window uint64, huge bool) (float64, error) {
	s, err := spec(preset, "pcie.generation", "3", "pcie.lanes", "8")
	if err != nil {
		return 0, err
	}
	m, d, err := machine(s, kernel.V7_3, backend, 1)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	r, err := probe.Run(m, d, probe.Config{Access: access, Size: size, Window: window, Outstanding: 64, Operations: 20_000, Contiguous: huge, Warm: true, Seed: 1})
	if err != nil {
		return 0, err
	}
	return float64(r.IOs) / (float64(r.Elapsed) / float64(sim.Second)), nil
}
