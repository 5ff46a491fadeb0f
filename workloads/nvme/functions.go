package nvme

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/workloads"
)

// functions are the driver's own functions with the instructions that they execute themselves for a 4 KiB request:
// kernel-traces/nvme_io.csv, column driver_functions_self_instructions.
type functions struct {
	queueRq, setupCmd, setupRW, unmapData, completeRq body
	irq                                               *cpu.Func
}

type body struct {
	f *cpu.Func
	n int
}

func (b body) emit(t *cpu.Thread, objs ...uint64) { workloads.Code(t, b.f, b.n, objs...) }

const pci, core = "drivers/nvme/host/pci.c", "drivers/nvme/host/core.c"

var functions612 = functions{
	queueRq:    body{cpu.NewFunc("nvme_queue_rq", pci, 700), 100},
	setupCmd:   body{cpu.NewFunc("nvme_setup_cmd", core, 900), 46},
	setupRW:    body{cpu.NewFunc("nvme_setup_rw", core, 400), 60},
	unmapData:  body{cpu.NewFunc("nvme_unmap_data", pci, 200), 22},
	completeRq: body{cpu.NewFunc("nvme_complete_rq", core, 300), 23 + 22},
	irq:        cpu.NewFunc("nvme_irq", pci, 500),
}

var functions73 = functions{
	queueRq:    body{cpu.NewFunc("nvme_queue_rq", pci, 700), 104},
	setupCmd:   body{cpu.NewFunc("nvme_setup_cmd", core, 900), 49},
	setupRW:    body{cpu.NewFunc("nvme_setup_rw", core, 400), 62},
	unmapData:  body{cpu.NewFunc("nvme_unmap_data", pci, 200), 29},
	completeRq: body{cpu.NewFunc("nvme_complete_rq", core, 300), 10},
	irq:        cpu.NewFunc("nvme_irq", pci, 500),
}

func functionsOf(v kernel.Version) *functions {
	if v == kernel.V6_12 {
		return &functions612
	}
	return &functions73
}
