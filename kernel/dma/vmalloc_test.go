package dma

import (
	"errors"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
)

// An address in vmalloc space is refused by map_single every time, before anything is converted or mapped, on both kernels.
func TestMapSingleRefusesVmalloc(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		c := newCtx(t, v)
		variant, err := Lookup("map_single@" + v.String())
		if err != nil {
			t.Fatal(err)
		}
		recorded.Run(func(th *cpu.Thread) {
			depth := th.Depth()
			for range 2 {
				if a, err := variant.Map(th, c, Buffer{Phys: 0x123456000, Size: 64, Virt: 0xffffc90000001000}, kernel.ToDevice, 0); a != kernel.MappingError || !errors.Is(err, ErrVmalloc) {
					t.Errorf("%v: address %#x, %v", v, a, err)
				}
			}
			if th.Depth() != depth {
				t.Errorf("%v: the failed call did not return", v)
			}
		})
	}
}
