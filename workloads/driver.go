package workloads

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// Code emits the own instructions of a driver function whose body is not modelled step by step, see kernel.Code. The number of
// instructions comes from the recording of the real driver (kernel-traces, nvme_io.csv); which lines it touches from the
// objects it works on.
func Code(t *cpu.Thread, f *cpu.Func, n int, objs ...uint64) { kernel.Code(t, f, n, objs...) }
