package trace

import (
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
)

func boot(tb testing.TB, bytes int) (*Ring, *kernel.Device) {
	tb.Helper()
	e := kernel.NewEnv(kernel.Config{Version: kernel.V7_3, CPUs: 2}, cache.NewMemory(), 1<<32)
	r, err := New(e, bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return r, e.NewDevice("0000:01:00.0", 0x100, ^uint64(0))
}

// The lengths of records: header in the ring, fixed fields of the two kernels' event formats, name, arrays; a long record has its length in
// a word of its own.
func TestRecordLengths(t *testing.T) {
	_, dev := boot(t, 8192)
	for _, c := range []struct {
		name     string
		fixed, n int
		dev      *kernel.Device
		want     int
	}{
		{"dma_map_phys", kernel.EventMap, 0, dev, 4 + 56 + 16},
		{"dma_unmap_phys", kernel.EventUnmap, 0, dev, 4 + 48 + 16},
		{"dma_sync_single_for_cpu", kernel.EventSync, 0, dev, 4 + 40 + 16},
		{"iommu:map", kernel.EventIOMMUMap, 0, nil, 4 + 32},
		{"dma_map_sg, 32 entries, 1 segment", kernel.EventMapSG, 32*8 + 12, dev, 4 + 4 + 48 + 16 + 32*8 + 12 - 1},
	} {
		want := c.want
		if c.n > 0 {
			want = 8 + (48+13+c.n+3)&^3
		}
		if got := recordBytes(c.fixed, c.n, c.dev); got != want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, want)
		}
	}
}

// Records follow each other without a gap, never cross a page, and go around.
func TestRecordsFillThePages(t *testing.T) {
	r, dev := boot(t, 4*pageBytes)
	p := &r.cpus[0]
	per := (pageBytes - headerBytes) / recordBytes(kernel.EventMap, 0, dev)
	var starts []uint64
	recorded.Run(func(th *cpu.Thread) {
		for range 10*per + 1 {
			r.Record(th, kernel.EventMap, 0, dev)
			starts = append(starts, p.data+uint64(p.tail)*pageBytes+uint64(p.at))
		}
		if th.Depth() != 0 {
			t.Errorf("%d functions did not return", th.Depth())
		}
	})
	length := uint64(recordBytes(kernel.EventMap, 0, dev))
	for i := 1; i < len(starts); i++ {
		same := starts[i-1]-1>>12 == starts[i]-1>>12
		if same && starts[i] != starts[i-1]+length {
			t.Fatalf("record %d ends at %#x, the one before at %#x", i, starts[i], starts[i-1])
		}
		if starts[i]&4095 > 0 && starts[i]&4095 < headerBytes+length {
			t.Fatalf("record %d ends at %#x: it crosses a page or lies in its header", i, starts[i])
		}
	}
	if r.Pages != 10 || p.tail != 10%4 || r.Records != int64(10*per+1) || r.Bytes != r.Records*int64(length) {
		t.Errorf("%d pages begun, tail %d, %d records, %d bytes; %d fit a page", r.Pages, p.tail, r.Records, r.Bytes, per)
	}
}

// Only the change of pages executes a locked instruction; an event costs the same whatever was recorded before.
func TestNoLockedInstructionPerEvent(t *testing.T) {
	r, dev := boot(t, 4*pageBytes)
	atomics, first, changed := 0, 0, 0
	for i := range 200 {
		c := recorded.Measure(recorded.Run(func(th *cpu.Thread) { r.Record(th, kernel.EventMap, 0, dev) }))
		atomics += c.Atomics
		if i == 0 {
			first = c.Instructions
		}
		if c.Instructions != first {
			changed++
			if c.Atomics == 0 {
				t.Errorf("event %d: %d instructions, %d before, and no change of pages", i, c.Instructions, first)
			}
		}
	}
	if changed != int(r.Pages) || atomics < changed || atomics > 3*changed {
		t.Errorf("%d pages begun, %d events cost more, %d atomics", r.Pages, changed, atomics)
	}
}

// A CPU has a ring of its own.
func TestRingPerCPU(t *testing.T) {
	r, dev := boot(t, 8192)
	recorded.Run(func(th *cpu.Thread) {
		th.CPU = 1
		r.Record(th, kernel.EventMap, 0, dev)
	})
	if r.cpus[0].at != headerBytes || r.cpus[1].at == headerBytes {
		t.Errorf("CPU 0 at %d, CPU 1 at %d", r.cpus[0].at, r.cpus[1].at)
	}
	for _, n := range []int{0, 4096, 10000} {
		if _, err := New(r.Env, n); err == nil {
			t.Errorf("a ring of %d bytes is accepted", n)
		}
	}
}

// A trace point is one nop while tracing is off.
func TestTracePointIsANopWhenOff(t *testing.T) {
	r, dev := boot(t, 8192)
	ops := recorded.Run(func(th *cpu.Thread) { r.Env.TracePoint(th, kernel.EventMap, 0, dev) })
	if len(ops) != 1 || ops[0].Class != cpu.Nop {
		t.Errorf("off: %v", ops)
	}
	r.Env.Tracer = r
	if ops := recorded.Run(func(th *cpu.Thread) { r.Env.TracePoint(th, kernel.EventMap, 0, dev) }); len(ops) < 200 || r.Records != 1 {
		t.Errorf("on: %d instructions, %d records", len(ops), r.Records)
	}
}
