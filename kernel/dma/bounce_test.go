package dma

import (
	"errors"
	"fmt"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/direct"
	"dmapath/kernel/mm"
	"dmapath/kernel/recorded"
	"dmapath/kernel/swiotlb"
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

// Who bounces, who is mapped as it is and who is refused, by version.
func TestWhoBounces(t *testing.T) {
	const ram, bar = 5 << 30, 0xfe000000
	forced := func(c *Ctx) { c.Direct.Tlb.Force = true }
	guest := func(c *Ctx) { c.Env.EncryptedGuest = true }
	far := func(c *Ctx) { c.Dev.Mask = 1<<32 - 1 }
	peers := func(c *Ctx) {
		c.Direct.Tlb.Force, c.Env.P2PDMA = true, true
		c.Env.DeviceMemory = func(pa uint64) bool { return pa>>30 == 3 }
	}
	for _, c := range []struct {
		name  string
		set   func(*Ctx)
		phys  uint64
		attrs kernel.Attrs
		// Per version: bounced (true), or mapped as it is, or the error.
		bounced [2]bool
		err     [2]error
	}{
		{"RAM, forced", forced, ram, 0, [2]bool{true, true}, [2]error{}},
		{"MMIO, forced", forced, bar, kernel.AttrMMIO, [2]bool{}, [2]error{nil, direct.ErrForced}},
		{"REQUIRE_COHERENT, forced", forced, ram, kernel.AttrRequireCoherent, [2]bool{true, false}, [2]error{nil, direct.ErrForced}},
		{"RAM out of reach", far, ram, 0, [2]bool{true, true}, [2]error{}},
		{"RAM within reach", far, 1 << 30, 0, [2]bool{}, [2]error{}},
		{"REQUIRE_COHERENT out of reach", far, ram, kernel.AttrRequireCoherent, [2]bool{true, false}, [2]error{nil, direct.ErrNotCapable}},
		{"MMIO out of reach", far, 5 << 40, kernel.AttrMMIO, [2]bool{}, [2]error{direct.ErrNotCapable, direct.ErrNotCapable}},
		{"RAM in an encrypted guest", guest, ram, 0, [2]bool{true, true}, [2]error{}},
		{"shared RAM in an encrypted guest", guest, ram, kernel.AttrCCShared, [2]bool{true, false}, [2]error{}},
		{"MMIO in an encrypted guest", guest, bar, kernel.AttrMMIO, [2]bool{}, [2]error{nil, direct.ErrNotCapable}},
		{"shared MMIO in an encrypted guest", guest, bar, kernel.AttrMMIO | kernel.AttrCCShared, [2]bool{}, [2]error{}},
		{"a peer's page, forced", peers, bar, 0, [2]bool{false, true}, [2]error{direct.ErrPeer, nil}},
	} {
		for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
			ctx := newCtx(t, v)
			c.set(ctx)
			if v == kernel.V6_12 && ctx.Env.EncryptedGuest {
				ctx.Direct.Tlb.Force = true // as swiotlb.New does when the guest is known at boot
			}
			recorded.Run(func(th *cpu.Thread) {
				var addr uint64
				var err error
				switch {
				case c.attrs&kernel.AttrMMIO != 0:
					addr, err = ctx.MapResource(th, c.phys, 4096, kernel.Bidirectional, c.attrs)
				case v == kernel.V6_12:
					addr, err = ctx.mapPage12(th, buffer(c.phys, 4096), kernel.Bidirectional, c.attrs)
				default:
					addr, err = ctx.mapPhys73(th, c.phys, 4096, kernel.Bidirectional, c.attrs)
				}
				if !errors.Is(err, c.err[v]) || (err == nil) != (c.err[v] == nil) {
					t.Fatalf("%v, %s: %v, want %v", v, c.name, err, c.err[v])
				}
				if err != nil {
					if addr != kernel.MappingError {
						t.Errorf("%v, %s: %#x and an error", v, c.name, addr)
					}
					return
				}
				if got := ctx.Direct.Tlb.Find(addr) != nil; got != c.bounced[v] || !got && addr != c.phys {
					t.Errorf("%v, %s: mapped to %#x, in the pool: %v", v, c.name, addr, got)
				}
				if th.Depth() != 0 {
					t.Errorf("%v, %s: %d functions did not return", v, c.name, th.Depth())
				}
			})
		}
	}
}

// Data goes where the direction says through map, syncs and unmap, whatever the kernel does to get it there: bounced, around the caches, or both.
func TestDataThroughTheAPI(t *testing.T) {
	const phys, size = 5<<30 + 0x30, 5000
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, c := range []struct {
			name   string
			arch   kernel.Arch
			force  bool
			snoops bool
		}{{"bounced", kernel.X86_64, true, true}, {"not coherent", kernel.ARM64, false, false}, {"both", kernel.ARM64, true, false}} {
			for _, dir := range []kernel.Direction{kernel.Bidirectional, kernel.ToDevice, kernel.FromDevice} {
				ctx := newCtxOf(t, v, c.arch)
				ctx.Dev.NonCoherent, ctx.Direct.Tlb.Force = !c.snoops, c.force
				u := cache.NewTruth()
				ctx.Env.Truth = u
				name := fmt.Sprintf("%v, %s, %v", v, c.name, dir)
				device := func(addr uint64, want cache.Version) {
					t.Helper()
					u.DeviceRead(addr, size, c.snoops, func(at uint64, got cache.Version) {
						if got != want {
							t.Fatalf("%s: the device reads version %d at %#x, want %d", name, got, at-addr, want)
						}
					})
				}
				host := func(want cache.Version) {
					t.Helper()
					u.CPURead(phys, size, func(at uint64, got cache.Version) {
						if got != want {
							t.Fatalf("%s: the CPU reads version %d at %#x, want %d", name, got, at-phys, want)
						}
					})
				}
				page, _ := Lookup("map_page@" + v.String())
				recorded.RunOn(c.arch, func(th *cpu.Thread) {
					first := u.CPUWrite(phys, size)
					addr, err := page.Map(th, ctx, buffer(phys, size), dir, 0)
					if err != nil {
						t.Fatal(err)
					}
					device(addr, first)
					last := first
					if dir != kernel.ToDevice {
						last = u.DeviceWrite(addr, size, c.snoops)
						ctx.SyncSingleForCPU(th, addr, size, dir)
						host(last)
					}
					if dir != kernel.FromDevice {
						ctx.SyncSingleForCPU(th, addr, size, dir)
						last = u.CPUWrite(phys, size)
						ctx.SyncSingleForDevice(th, addr, size, dir)
						device(addr, last)
					}
					if dir != kernel.ToDevice {
						u.Speculate(addr, size)
						last = u.DeviceWrite(addr, size, c.snoops)
					}
					if err := page.Unmap(th, ctx, addr, size, dir, 0); err != nil {
						t.Fatal(err)
					}
					host(last)
					if n := ctx.Direct.Tlb.Used(); n != 0 || th.Depth() != 0 {
						t.Errorf("%s: %d slots taken, %d functions did not return", name, n, th.Depth())
					}
				})
			}
		}
	}
}

// newCtxOf is newCtx for an architecture.
func newCtxOf(t testing.TB, v kernel.Version, a kernel.Arch) *Ctx {
	t.Helper()
	e := kernel.NewEnv(kernel.Config{Version: v, Arch: a, CPUs: 2}, cache.NewMemory(), 4<<30)
	pools, err := swiotlb.New(swiotlb.Default(e, lowTop))
	if err != nil {
		t.Fatal(err)
	}
	return &Ctx{Env: e, MM: mm.New(e), Dev: e.NewDevice("0000:00:01.0", 8, ^uint64(0)), Direct: direct.New(e, pools)}
}

// With swiotlb=force every variant bounces, one piece or several, and gives back all slots; a list is synchronised piece by piece.
func TestEveryVariantGivesItsSlotsBack(t *testing.T) {
	for _, v := range Variants() {
		if MemoryOf(v) == DeviceMemory {
			continue
		}
		for _, n := range []int{1, 5} {
			c := bounced(t, v.Version(), 0)
			b := buffer(5<<30, 4096)
			if n > 1 {
				b = pieces(c, n, 1<<20)
			}
			recorded.Run(func(th *cpu.Thread) {
				addr, err := MapBuffer(v, th, c, b, kernel.Bidirectional, 0)
				if err != nil || addr == b.Phys || c.Direct.Tlb.Used() != 2*n || !c.Dev.NeedSync {
					t.Errorf("%s: %#x, %v, %d slots, need sync %v; want 2 slots a piece", v.Name(), addr, err, c.Direct.Tlb.Used(), c.Dev.NeedSync)
				}
				if err := UnmapBuffer(v, th, c, b, addr, kernel.Bidirectional, 0); err != nil {
					t.Errorf("%s: %v", v.Name(), err)
				}
				if err := c.DrainPool(th, kernel.Bidirectional); err != nil || c.Direct.Tlb.Used() != 0 {
					t.Errorf("%s, %d pieces: %v, %d slots stay in use", v.Name(), n, err, c.Direct.Tlb.Used())
				}
			})
		}
	}
}

// dma_sync_sg copies every bounced piece once, in the direction of the sync, and only tests those that did not bounce.
func TestSyncOfAList(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, force := range []bool{false, true} {
			c := newCtx(t, v)
			c.Direct.Tlb.Force = force
			c.Dev.NeedSync = true
			sg := list(c, 6)
			recorded.Run(func(th *cpu.Thread) {
				if err := c.MapSGTable(th, sg, kernel.Bidirectional, 0); err != nil {
					t.Fatal(err)
				}
			})
			for _, toDevice := range []bool{false, true} {
				m := recorded.Measure(recorded.Run(func(th *cpu.Thread) {
					if err := c.SyncSG(th, sg, kernel.Bidirectional, toDevice); err != nil || th.Depth() != 0 {
						t.Errorf("%v: %v, depth %d", v, err, th.Depth())
					}
				}))
				copies := 0
				if f := m.Function("swiotlb_bounce"); f != nil {
					copies = f.Calls
				}
				want := map[bool]int{false: 0, true: 6}[force]
				if copies != want {
					t.Errorf("%v forced %v, to device %v: %d copies, want %d", v, force, toDevice, copies, want)
				}
				if name := map[bool]string{false: "dma_direct_sync_sg_for_cpu", true: "dma_direct_sync_sg_for_device"}[toDevice]; m.Function(name) == nil {
					t.Errorf("%v: %s was not called", v, name)
				}
			}
			c.Dev.NeedSync = false
			if n := len(recorded.Run(func(th *cpu.Thread) { c.SyncSG(th, sg, kernel.Bidirectional, false) })); n > 3 {
				t.Errorf("%v: a sync that is skipped takes %d instructions", v, n)
			}
		}
	}
}
