package recorded

import (
	"strings"
	"testing"

	"dmapath/cpu"
)

func TestRecordingsLoad(t *testing.T) {
	for key, want := range map[string][3]int{
		"6.12/direct/map_page/4096":   {74, 21, 8},
		"6.12/direct/unmap_page/4096": {57, 16, 6},
		"7.3/direct/map_page/4096":    {157, 0, 0},
		"7.3/direct/map_phys/4096":    {144, 0, 0},
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
