package recorded

import (
	"fmt"
	"strings"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/workloads"
)

// Config is one run of recorded calls.
type Config struct {
	Variant dma.Variant // whose recording is run: CALL@KERNEL
	Backend string
	Rounds  int64 // map and unmap pairs
	Size    uint64
	Around  *workloads.Ambience
}

// Calls returns the names of the recordings of a variant's map and unmap on a backend of an architecture.
func Calls(arch kernel.Arch, variant, backend string, size uint64) [2]string {
	call, version, _ := strings.Cut(variant, "@")
	if backend == string(platform.IommuPassthrough) {
		backend = string(platform.Direct) // identical in every count, says the recordings' README
	}
	mapBackend := backend
	switch arch {
	case kernel.ARM32:
		version += "-arm" // there are none
	case kernel.ARM64:
		version += armSuffix
		if backend == string(platform.IommuLazy) {
			mapBackend = string(platform.IommuStrict) // the same functions with the same counts, recorded step by step once
		}
	}
	return [2]string{Name(version, mapBackend, call, size), Name(version, backend, "un"+call, size)}
}

// Run executes the recorded map and unmap of the variant in turn. The simulated IOMMU performs the invalidation where the
// recorded call asks for one.
func Run(m *platform.Machine, dev *platform.Device, cfg Config) (*workloads.Result, error) {
	names := Calls(m.Env.Arch, cfg.Variant.Name(), cfg.Backend, cfg.Size)
	mapRec, err := Load(names[0], MemoryOf(m))
	if err != nil {
		return nil, fmt.Errorf("%s on %s with %d bytes: %w", cfg.Variant.Name(), cfg.Backend, cfg.Size, err)
	}
	unmapRec, err := Load(names[1], MemoryOf(m))
	if err != nil {
		return nil, fmt.Errorf("%s on %s with %d bytes: %w", cfg.Variant.Name(), cfg.Backend, cfg.Size, err)
	}
	res := &workloads.Result{Map: workloads.NewOp(cfg.Rounds).Named("map"), Unmap: workloads.NewOp(cfg.Rounds).Named("unmap"), CPUs: 1}
	start := m.Eng.Now()
	m.Spawn(0, "cpu 0 recorded calls", func(t *cpu.Thread) {
		for range cfg.Rounds {
			cfg.Around.Pass(t)
			mustNil(res.Map.Measure(t, func() error { return mapRec.play(t, dev) }))
			cfg.Around.Pass(t)
			mustNil(res.Unmap.Measure(t, func() error { return unmapRec.play(t, dev) }))
			res.Complete(t.Now(), int64(cfg.Size))
		}
		res.Busy = t.Now() - start
		m.Eng.Stop()
	})
	if err := m.Run(); err != nil {
		return nil, err
	}
	res.Elapsed = m.Eng.Now() - start
	return res, nil
}

func mustNil(err error) {
	if err != nil {
		panic("recorded: " + err.Error())
	}
}

// play executes the recording on t. At a write of a device register it waits for the invalidation that the write asked
// for, and charges the wait to the function that polls.
func (r *Recording) play(t *cpu.Thread, dev *platform.Device) error {
	from := 0
	for _, i := range r.MMIO {
		if r.Ops[i].Class != cpu.MMIOWrite {
			continue
		}
		t.Append(r.Ops[from : i+1])
		t.Sync()
		before := t.Now()
		dev.Invalidate(t)
		if t.Acct != nil {
			t.Acct.Wait(r.Ops[i].Fn, cpu.StallInv, t.Core.Between(before, t.Now()))
		}
		from = i + 1
	}
	t.Append(r.Ops[from:])
	return nil
}

// MemoryOf returns where the memory of a recording lies on CPU 0 of m: each sort in the region that the modelled kernel has it in, so that
// pages of the same size map it. Only the stack is that of the modelled kernel.
func MemoryOf(m *platform.Machine) Layout {
	e := m.Env
	return Layout{Static: e.Data(AreaBytes), Slab: e.Slab(AreaBytes, 4096), Pages: e.Pages(6), PerCPU: e.Cpu(e.PerCPU(PerCPUBytes, 4096), 0),
		Vmemmap: m.PageOf(kernel.Phys(e.Page())) &^ 4095, Stack: m.StackTop(0) &^ 63}
}
