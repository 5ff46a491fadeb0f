package coherency

import (
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
)

func newEnv(v kernel.Version, a kernel.Arch) *kernel.Env {
	return kernel.NewEnv(kernel.Config{Version: v, Arch: a, CPUs: 1}, cache.NewMemory(), 4<<30)
}

// run returns the lines maintained, by kind, the barriers, and all instructions.
func run(env *kernel.Env, body func(t *cpu.Thread)) (lines map[cpu.Flag][]uint64, barriers, n int) {
	lines = map[cpu.Flag][]uint64{}
	ops := recorded.Run(func(t *cpu.Thread) {
		t.ISA = env.Arch.ISA()
		body(t)
	})
	for _, o := range ops {
		switch o.Class {
		case cpu.Flush:
			lines[o.Flag] = append(lines[o.Flag], kernel.Phys(o.Addr))
		case cpu.Fence:
			barriers++
		}
	}
	return lines, barriers, len(ops)
}

const pa = 1 << 30

// Which lines get which op. first and last are numbers of lines from pa on, -1 for none.
func TestLines(t *testing.T) {
	type span struct{ first, last int }
	none := span{0, -1}
	for _, c := range []struct {
		name             string
		off, size        uint64
		clean            span
		both, invalidate []int // lines cleaned and invalidated; invalidated
	}{
		{"one page", 0, 4096, span{0, 63}, nil, seq(0, 63)},
		{"one line", 64, 64, span{1, 1}, nil, seq(1, 1)},
		{"begins within a line", 32, 96, span{0, 1}, []int{0}, seq(1, 1)},
		{"ends within a line", 0, 96, span{0, 1}, []int{1}, seq(0, 0)},
		{"both", 32, 128, span{0, 2}, []int{2, 0}, seq(1, 1)},
		{"inside one line", 8, 16, span{0, 0}, []int{0, 0}, nil},
		{"begins one line", 0, 16, span{0, 0}, []int{0}, seq(0, 0)},
	} {
		for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
			env := newEnv(v, kernel.ARM64)
			check := func(call string, got []uint64, want []int) {
				t.Helper()
				ok := len(got) == len(want)
				for i := 0; ok && i < len(want); i++ {
					ok = got[i] == pa+uint64(want[i])*Line
				}
				if !ok {
					t.Errorf("%v, %s, %s: lines %#x, want %v", v, c.name, call, got, want)
				}
			}
			dev, barriers, n := run(env, func(th *cpu.Thread) { SyncForDevice(th, env, pa+c.off, c.size, kernel.FromDevice) })
			check("clean", dev[cpu.KeepLine], seq(c.clean.first, c.clean.last))
			check("invalidate for the device", dev[cpu.Discard], seq(none.first, none.last))
			want := 0
			if v == kernel.V6_12 {
				want = 1
			}
			if barriers != want {
				t.Errorf("%v, %s: %d barriers in the clean, want %d", v, c.name, barriers, want)
			}
			// Four instructions per line and nothing else that grows.
			_, _, twice := run(env, func(th *cpu.Thread) { SyncForDevice(th, env, pa+c.off, c.size+640, kernel.FromDevice) })
			if twice-n != 40 {
				t.Errorf("%v, %s: ten more lines cost %d instructions, want 40", v, c.name, twice-n)
			}
			host, barriers, _ := run(env, func(th *cpu.Thread) { SyncForCPU(th, env, pa+c.off, c.size, kernel.FromDevice) })
			check("clean and invalidate", host[0], c.both)
			check("invalidate", host[cpu.Discard], c.invalidate)
			if barriers != want {
				t.Errorf("%v, %s: %d barriers in the invalidation, want %d", v, c.name, barriers, want)
			}
		}
	}
}

func seq(first, last int) (s []int) {
	for i := first; i <= last; i++ {
		s = append(s, i)
	}
	return s
}

// A buffer that the device only read is left alone, 7.3 has its barrier in Flush, and x86 has nothing at all.
func TestWhatIsNotDone(t *testing.T) {
	for _, c := range []struct {
		name     string
		v        kernel.Version
		a        kernel.Arch
		call     func(th *cpu.Thread, env *kernel.Env)
		lines    int
		barriers int
	}{
		{"TO_DEVICE for the CPU", kernel.V6_12, kernel.ARM64, func(th *cpu.Thread, e *kernel.Env) { SyncForCPU(th, e, pa, 4096, kernel.ToDevice) }, 0, 0},
		{"flush on 6.12", kernel.V6_12, kernel.ARM64, Flush, 0, 0},
		{"flush on 7.3", kernel.V7_3, kernel.ARM64, Flush, 0, 1},
		{"x86", kernel.V7_3, kernel.X86_64, func(th *cpu.Thread, e *kernel.Env) {
			SyncForDevice(th, e, pa, 4096, kernel.ToDevice)
			SyncForCPU(th, e, pa, 4096, kernel.FromDevice)
			Flush(th, e)
		}, 0, 0},
		{"32-bit Arm, two pages", kernel.V7_3, kernel.ARM32, func(th *cpu.Thread, e *kernel.Env) { SyncForDevice(th, e, pa+2048, 4096, kernel.ToDevice) }, 64, 2},
	} {
		env := newEnv(c.v, c.a)
		lines, barriers, _ := run(env, func(th *cpu.Thread) { c.call(th, env) })
		if n := len(lines[0]) + len(lines[cpu.KeepLine]) + len(lines[cpu.Discard]); n != c.lines || barriers != c.barriers {
			t.Errorf("%s: %d lines and %d barriers, want %d and %d", c.name, n, barriers, c.lines, c.barriers)
		}
	}
	if env := newEnv(kernel.V7_3, kernel.X86_64); Needed(env, &kernel.Device{NonCoherent: true}) {
		t.Error("x86 maintains caches")
	}
}

// Both sides see each other's data through the maintenance, and the neighbour of an unaligned buffer keeps its own.
func TestDataArrives(t *testing.T) {
	for _, a := range []kernel.Arch{kernel.ARM64, kernel.ARM32} {
		env := newEnv(kernel.V7_3, a)
		u := cache.NewTruth()
		env.Truth = u
		const off, size = 40, 500
		neighbour := u.CPUWrite(pa+off-8, 8)
		out := u.CPUWrite(pa+off, size)
		run(env, func(th *cpu.Thread) { SyncForDevice(th, env, pa+off, size, kernel.ToDevice) })
		u.DeviceRead(pa+off, size, false, func(at uint64, v cache.Version) {
			if v != out {
				t.Fatalf("%v: the device reads version %d at %#x, the CPU wrote %d", a, v, at, out)
			}
		})
		in := u.DeviceWrite(pa+off, size, false)
		run(env, func(th *cpu.Thread) { SyncForCPU(th, env, pa+off, size, kernel.FromDevice) })
		u.CPURead(pa+off, size, func(at uint64, v cache.Version) {
			if v != in {
				t.Fatalf("%v: the CPU reads version %d at %#x, the device wrote %d", a, v, at, in)
			}
		})
		if v := u.Newest(pa + off - 8); v != neighbour {
			t.Errorf("%v: the byte before the buffer holds version %d, want %d", a, v, neighbour)
		}
	}
}

// Memory outside the linear map ends in a page fault before the first line, on 32-bit Arm it is mapped for the purpose; a device's
// memory is reported.
func TestHazards(t *testing.T) {
	for _, c := range []struct {
		name  string
		a     kernel.Arch
		pa    uint64
		want  []kernel.HazardKind
		lines int
	}{
		{"RAM", kernel.ARM64, pa, nil, 64},
		{"not in the linear map", kernel.ARM64, 3 << 30, []kernel.HazardKind{kernel.PageFault}, 0},
		{"a BAR with an alias", kernel.ARM64, 2 << 30, []kernel.HazardKind{kernel.MaintainsDevice}, 64},
		{"highmem", kernel.ARM32, 3 << 30, nil, 64},
		{"no struct page", kernel.ARM32, 5 << 30, []kernel.HazardKind{kernel.MissingPage, kernel.PageFault}, 0},
	} {
		env := newEnv(kernel.V7_3, c.a)
		var got []kernel.HazardKind
		env.OnHazard = func(h kernel.Hazard) { got = append(got, h.Kind) }
		env.Linear = func(pa uint64) bool { return pa < 3<<30 }
		env.DeviceMemory = func(pa uint64) bool { return pa>>30 == 2 }
		env.HasPage = func(pa uint64) bool { return pa>>30 < 5 }
		lines, _, _ := run(env, func(th *cpu.Thread) { SyncForDevice(th, env, c.pa, 4096, kernel.ToDevice) })
		if n := len(lines[cpu.KeepLine]); n != c.lines {
			t.Errorf("%s: %d lines, want %d", c.name, n, c.lines)
		}
		if len(got) != len(c.want) {
			t.Fatalf("%s: hazards %v, want %v", c.name, got, c.want)
		}
		for i, k := range c.want {
			if got[i] != k {
				t.Errorf("%s: hazards %v, want %v", c.name, got, c.want)
			}
		}
	}
}
