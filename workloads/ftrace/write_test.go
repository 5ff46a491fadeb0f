package ftrace

import (
	"fmt"
	"strings"

	"dmapath/kernel"
	"dmapath/sim"
)

// writers print an event as the tools do, one line without its end.
var writers = []struct {
	name string
	// line prints what stands before the fields. ns is whether times have nanoseconds.
	line func(ev *Event, comm, fields string) string
	ns   bool
	// decimal: arrays as libtraceevent prints them.
	decimal bool
}{
	{"trace file", func(ev *Event, comm, fields string) string {
		return fmt.Sprintf("%16s-%-7d [%03d] d.h1. %s: %v: %s", comm, ev.PID, ev.CPU, stamp(ev.Time, 6), ev.Kind, fields)
	}, false, false},
	{"trace file without flags", func(ev *Event, comm, fields string) string {
		return fmt.Sprintf("%16s-%-7d [%03d] %s: %v: %s", comm, ev.PID, ev.CPU, stamp(ev.Time, 6), ev.Kind, fields)
	}, false, false},
	{"trace file with process groups", func(ev *Event, comm, fields string) string {
		return fmt.Sprintf("%16s-%-7d (%7d) [%03d] ..... %s: %v: %s", comm, ev.PID, 1, ev.CPU, stamp(ev.Time, 6), ev.Kind, fields)
	}, false, false},
	{"latency format", func(ev *Event, comm, fields string) string {
		return fmt.Sprintf("%8.8s-%-7d %3dd.h1. %4dus%c: %v: %s", comm, ev.PID, ev.CPU, ev.Time/sim.Microsecond, "+ !#*"[ev.PID%5], ev.Kind, fields)
	}, false, false},
	{"trace-cmd report", func(ev *Event, comm, fields string) string {
		return fmt.Sprintf("%16s-%-5d [%03d] %s: %-20s %s", comm, ev.PID, ev.CPU, stamp(ev.Time, 6), ev.Kind.String()+":", fields)
	}, false, true},
	{"trace-cmd report -t", func(ev *Event, comm, fields string) string {
		return fmt.Sprintf("%16s-%-5d [%03d] d.h1. %s: %-20s %s", comm, ev.PID, ev.CPU, stamp(ev.Time, 9), ev.Kind.String()+":", fields)
	}, true, false},
	{"trace-cmd report -l", func(ev *Event, comm, fields string) string {
		return fmt.Sprintf("%8.8s-%-5d %3dd.h1. %s: %-20s %s", comm, ev.PID, ev.CPU, stamp(ev.Time, 6), ev.Kind.String()+":", fields)
	}, false, true},
	{"perf script", func(ev *Event, comm, fields string) string {
		return fmt.Sprintf("%16s %5d [%03d] %s: %30s: %s", comm, ev.PID, ev.CPU, stamp(ev.Time, 6), ev.Kind.group()+ev.Kind.String(), fields)
	}, false, true},
	{"perf script --ns -F +pid,+period", func(ev *Event, comm, fields string) string {
		return fmt.Sprintf("%16s %5d/%-5d [%03d] %s: %10d %s: %s", comm, ev.PID, ev.PID, ev.CPU, stamp(ev.Time, 9), 1, ev.Kind.group()+ev.Kind.String(), fields)
	}, true, false},
}

func (k Kind) group() string {
	if k <= IommuUnmap {
		return "iommu:"
	}
	return "dma:"
}

func stamp(t sim.Time, decimals int) string {
	frac := fmt.Sprintf("%012d", t%sim.Second)
	return fmt.Sprintf("%5d.%s", t/sim.Second, frac[:decimals])
}

func hexList(l []uint64, decimal bool) string {
	var s []string
	for _, v := range l {
		if decimal {
			s = append(s, fmt.Sprint(v))
		} else {
			s = append(s, fmt.Sprintf("%#x", v))
		}
	}
	if decimal {
		return strings.Join(s, " ")
	}
	return "{" + strings.Join(s, ",") + "}"
}

func attrText(a kernel.Attrs) string {
	var s []string
	for _, x := range []struct {
		bit  kernel.Attrs
		name string
	}{{kernel.AttrSkipCPUSync, "SKIP_CPU_SYNC"}, {kernel.AttrNoWarn, "NO_WARN"}, {kernel.AttrMMIO, "MMIO"}, {kernel.AttrRequireCoherent, "REQUIRE_COHERENT"}} {
		if a&x.bit != 0 {
			s = append(s, x.name)
		}
	}
	return strings.Join(s, "|")
}

// fields prints the fields of an event by the formats of include/trace/events/dma.h and iommu.h.
func (ev *Event) fields(decimal bool) string {
	switch ev.Kind {
	case IommuMap:
		return fmt.Sprintf("IOMMU: iova=0x%016x - 0x%016x paddr=0x%016x size=%d", ev.Addr, ev.End, ev.Phys, ev.Size)
	case IommuUnmap:
		return fmt.Sprintf("IOMMU: iova=0x%016x - 0x%016x size=%d unmapped_size=%d", ev.Addr, ev.End, ev.Size, ev.Unmapped)
	case MapPage, MapPhys, MapResource:
		return fmt.Sprintf("%s dir=%v dma_addr=%x size=%d phys_addr=%x attrs=%s", ev.Device, ev.Dir, ev.Addr, ev.Size, ev.Phys, attrText(ev.Attrs))
	case MapSG:
		cut := ""
		if ev.Truncated {
			cut = " [TRUNCATED]"
		}
		return fmt.Sprintf("%s dir=%v nents=%d/%d ents=%d/%d%s dma_addrs=%s sizes=%s phys_addrs=%s attrs=%s", ev.Device, ev.Dir, min(ev.Nents, 128), ev.Nents, len(ev.SGAddrs),
			len(ev.SGAddrs), cut, hexList(ev.SGAddrs, decimal), hexList(ev.SGSizes, decimal), hexList(ev.SGPhys, decimal), attrText(ev.Attrs))
	case UnmapSG:
		return fmt.Sprintf("%s dir=%v phys_addrs=%s attrs=%s", ev.Device, ev.Dir, hexList(ev.SGPhys, decimal), attrText(ev.Attrs))
	case Alloc, AllocPages, Free, FreePages:
		flags := ""
		if ev.Kind == Alloc || ev.Kind == AllocPages {
			flags = " flags=GFP_ATOMIC|__GFP_ZERO"
		}
		return fmt.Sprintf("%s dir=%v dma_addr=%x size=%d virt_addr=00000000a558ec1c%s attrs=%s", ev.Device, ev.Dir, ev.Addr, ev.Size, flags, attrText(ev.Attrs))
	case SyncForCPU, SyncForDevice:
		return fmt.Sprintf("%s dir=%v dma_addr=%x size=%d", ev.Device, ev.Dir, ev.Addr, ev.Size)
	}
	return fmt.Sprintf("%s dir=%v dma_addr=%x size=%d attrs=%s", ev.Device, ev.Dir, ev.Addr, ev.Size, attrText(ev.Attrs))
}
