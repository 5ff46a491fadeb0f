package dma

import (
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
)

// bounced is newCtx with swiotlb=force, its next search starting at slot start of the area.
func bounced(t testing.TB, v kernel.Version, start int) *Ctx {
	c := newCtx(t, v)
	c.Direct.Tlb.Force = true
	c.Direct.Tlb.SetIndex(start)
	return c
}

// A bounced map, unmap and sync execute what the recorded kernel executed: every function, instruction by instruction. Where the search
// starts is the recording's: it decides how many free counts are rewritten.
func TestBouncedPathsMatchRecordings(t *testing.T) {
	const phys = 0x123456000
	for _, c := range []struct {
		api   string
		start int // slot of the segment at which the recorded call found room
		call  func(t *cpu.Thread, c *Ctx, addr uint64)
	}{
		{"map_phys", 48, nil},
		{"unmap_phys", 48, func(t *cpu.Thread, c *Ctx, addr uint64) { c.unmapPhys73(t, addr, 4096, kernel.FromDevice, 0) }},
		{"sync_single_for_cpu", 0, func(t *cpu.Thread, c *Ctx, addr uint64) { c.SyncSingleCold(t, addr, 4096, kernel.FromDevice, false) }},
		{"sync_single_for_device", 0, func(t *cpu.Thread, c *Ctx, addr uint64) { c.SyncSingleCold(t, addr, 4096, kernel.FromDevice, true) }},
	} {
		t.Run(c.api, func(t *testing.T) {
			ctx := bounced(t, kernel.V7_3, c.start)
			ctx.Dev.NeedSync = true // 1000 buffers bounced before
			var addr uint64
			var err error
			do := func(th *cpu.Thread) { addr, err = ctx.mapPhys73(th, phys, 4096, kernel.FromDevice, 0) }
			first := 1
			var ops []cpu.Op
			if c.call == nil {
				ops = recorded.Run(do)
			} else {
				ops = recorded.RunWarm(do, func(th *cpu.Thread) {
					th.Enter(fnProbe)
					th.Skip(4) // in the middle of it
					c.call(th, ctx, addr)
					th.Leave()
				})
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.api[:4] == "sync" { // inlined: the caller's part counts
				first = 0
			}
			recorded.Check(t, ops[first:], "7.3/swiotlb-force/"+c.api+"/4096", recorded.Exact)
		})
	}
}

// fnProbe is the caller in the module that made the recordings.
var fnProbe = cpu.NewFunc("gt_probe", "the module that made the recordings", 256)
