package recorded

import (
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
)

func TestRecordingsLoad(t *testing.T) {
	for key, want := range map[string][3]int{
		"6.12/direct/map_page/4096":   {74, 21, 8},
		"6.12/direct/unmap_page/4096": {57, 16, 6},
		"7.3/direct/map_page/4096":    {157, 0, 0},
		"7.3/direct/map_phys/4096":    {144, 0, 0},

		"6.12-arm64/direct/map_page/4096":         {80, 18, 7},
		"6.12-arm64/iommu-strict/unmap_page/4096": {2058, 302, 191},
		"7.3-arm64/iommu-strict/unmap_phys/4096":  {2972, 468, 274},
	} {
		c, err := Load(key)
		if err != nil {
			t.Fatal(err)
		}
		if c.Instructions != want[0] || want[1] > 0 && (c.Loads != want[1] || c.Stores != want[2]) {
			t.Errorf("%s: %d instructions, %d loads, %d stores; want %v", key, c.Instructions, c.Loads, c.Stores, want)
		}
		sum := Counts{}
		for i := range c.Functions {
			for k, p := range sum.fields() {
				*p += *c.Functions[i].fields()[k]
			}
		}
		if sum != c.Counts {
			t.Errorf("%s: functions sum to %+v, the call is %+v", key, sum, c.Counts)
		}
	}
	if _, err := Load("5.10/direct/map_page/4096"); err == nil || !strings.Contains(err.Error(), "6.12/direct/map_page/4096") {
		t.Errorf("an unknown key is answered with %v, want the list of keys", err)
	}
}

var (
	outer = cpu.NewFunc("outer", "test", 64)
	inner = cpu.NewFunc("inner.isra.0", "test", 64)
)

func TestMeasureCountsAsTheRecordingDoes(t *testing.T) {
	ops := Run(func(t *cpu.Thread) {
		t.Enter(outer)
		t.Nop(2)
		t.Push(1)
		for i := 0; i < 3; i++ {
			t.Call(inner)
			t.RMW(0xffff888000001000+uint64(i)*64, 0, 0)
			t.FenceLockAdd()
			t.Ret()
		}
		t.Pop(1)
		t.Ret()
	})
	got := Measure(ops)
	want := Call{Counts: Counts{Instructions: 2 + 1 + 3*4 + 2, Loads: 3*3 + 2, Stores: 1 + 3*3, Fences: 3}}
	if got.Counts != want.Counts {
		t.Errorf("counts %+v, want %+v", got.Counts, want.Counts)
	}
	if f := got.Function("inner"); f == nil || f.Calls != 3 || f.Instructions != 9 {
		t.Errorf("inner: %+v, want 3 calls with 9 instructions", f)
	}
	if got.LinesNoStack != 3 {
		t.Errorf("%d lines without the stack, want 3", got.LinesNoStack)
	}
	if d := Compare(got, got, Exact); len(d) != 0 {
		t.Errorf("a call differs from itself: %v", d)
	}
}

// On arm64 calls and returns touch no memory, a pair is one access, and dc zva is an instruction and nothing else.
func TestMeasureCountsArm64AsTheRecordingDoes(t *testing.T) {
	const va = 0xffff888000001000
	ops := RunOn(kernel.ARM64, func(t *cpu.Thread) {
		t.Enter(outer)
		t.Push(4)
		t.Call(inner)
		t.LoadPair(va, 0)
		t.StorePair(va, 0, 0)
		t.ZeroLine(va+64, 0)
		t.Op(cpu.Fence, 0)
		t.Ret()
		t.Pop(4)
		t.Ret()
	})
	got := Measure(ops)
	want := Counts{Instructions: 2 + 1 + 5 + 2 + 1, Loads: 1 + 2, Stores: 1 + 2, Fences: 1}
	if got.Counts != want {
		t.Errorf("counts %+v, want %+v", got.Counts, want)
	}
	if got.LinesNoStack != 1 {
		t.Errorf("%d lines without the stack, want 1", got.LinesNoStack)
	}
	if f := got.Function("inner"); f == nil || f.Calls != 1 || f.Instructions != 5 {
		t.Errorf("inner: %+v, want 1 call with 5 instructions", f)
	}
}

// A count that the recording does not know deviates from nothing; one that it knows does.
func TestUnknownCountsAreNotCompared(t *testing.T) {
	got := Call{Counts: Counts{Instructions: 10, Loads: 2, Branches: 3}}
	want := Call{Counts: Counts{Instructions: 10, Loads: 2, Branches: -1}}
	if d := Compare(&got, &want, Exact); len(d) != 0 {
		t.Errorf("deviations %v, want none", d)
	}
	want.Loads = 3
	if d := Compare(&got, &want, Exact); len(d) != 1 {
		t.Errorf("deviations %v, want one", d)
	}
}
