package oracle

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"dmapath/cache"
	"dmapath/kernel"
)

// pages is a bus whose translation is written down page by page; what is not there is refused.
type pages struct {
	pa, write map[uint64]uint64 // by page of the bus address; the page's write permission
	snoops    bool
}

func (p *pages) Reach(addr uint64, write bool) (uint64, bool, bool) {
	pa, ok := p.pa[addr>>12]
	return pa + addr&4095, p.snoops, ok && (!write || p.write[addr>>12] != 0)
}

func newPages(snoops bool) *pages {
	return &pages{map[uint64]uint64{}, map[uint64]uint64{}, snoops}
}

type rig struct {
	*Oracle
	bus   *pages
	found []kernel.Hazard
}

func newRig(snoops bool) *rig {
	r := &rig{bus: newPages(snoops)}
	r.Oracle = New(Config{Truth: cache.NewTruth(), Bus: r.bus, Granule: 4096, Report: func(h kernel.Hazard) { r.found = append(r.found, h) }})
	return r
}

func (r *rig) kinds() (ks []kernel.HazardKind) {
	for _, h := range r.found {
		ks = append(ks, h.Kind)
	}
	return ks
}

// An access that the contract forbids and the machine performs is always reported, and one that it allows and the machine performs
// never is. The contract is kept here as a slow list of states by byte, the machine as random pages.
func TestForbiddenIsReportedAndAllowedIsNot(t *testing.T) {
	const space = 4 * 4096 // bytes of bus addresses
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(true)
		for p := range uint64(space / 4096) {
			if rapid.Bool().Draw(t, "present") {
				r.bus.pa[p] = 0x100000 + p<<12
				r.bus.write[p] = uint64(rapid.IntRange(0, 1).Draw(t, "writable"))
			}
		}
		const never, live, lent, gone = 0, 1, 2, 3
		state := make([]int, space)
		dir := make([]kernel.Direction, space)
		var ms []*Mapping
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch k := rapid.IntRange(0, 3).Draw(t, "step"); {
			case k == 0:
				a := rapid.Uint64Range(0, space-1).Draw(t, "addr")
				n := rapid.Uint64Range(1, min(space-a, 6000)).Draw(t, "size")
				free := true
				for i := a; i < a+n; i++ {
					free = free && (state[i] == never || state[i] == gone)
				}
				if !free {
					continue
				}
				d := kernel.Direction(rapid.IntRange(0, 2).Draw(t, "dir"))
				ms = append(ms, r.Map("map", a, 0x100000+a, n, d))
				for i := a; i < a+n; i++ {
					state[i], dir[i] = live, d
				}
			case len(ms) == 0:
			case k == 1:
				i := rapid.IntRange(0, len(ms)-1).Draw(t, "which")
				m := ms[i]
				r.Unmap("unmap", m)
				ms = append(ms[:i], ms[i+1:]...)
				for i := m.Addr; i < m.Addr+m.Size; i++ {
					state[i] = gone
				}
			default:
				m := ms[rapid.IntRange(0, len(ms)-1).Draw(t, "which")]
				off := rapid.Uint64Range(0, m.Size-1).Draw(t, "off")
				n := rapid.Uint64Range(1, m.Size-off).Draw(t, "n")
				to := lent
				if k == 2 {
					r.Lend("for_cpu", m, off, n)
				} else {
					r.Return("for_device", m, off, n)
					to = live
				}
				for i := m.Addr + off; i < m.Addr+off+n; i++ {
					state[i] = to
				}
			}
		}
		for range 8 {
			a := rapid.Uint64Range(0, space-1).Draw(t, "access")
			n := rapid.Uint64Range(1, space-a).Draw(t, "bytes")
			write := rapid.Bool().Draw(t, "write")
			var want Reached
			for i := a; i < a+n; i++ {
				_, _, ok := r.bus.Reach(i, write)
				allowed := state[i] == live && (dir[i] == kernel.Bidirectional || write == (dir[i] == kernel.FromDevice))
				switch {
				case allowed && ok:
					want.Allowed++
				case allowed:
					want.Refused++
				case ok:
					want.Forbidden++
				default:
					want.Stopped++
				}
			}
			r.found = nil
			if got := r.Access(a, n, write); got != want {
				t.Fatalf("access of %d bytes at %#x, write %v: %+v, want %+v", n, a, write, got, want)
			}
			if bad := want.Forbidden+want.Refused > 0; bad != (len(r.found) > 0) {
				t.Fatalf("%+v was reported as %v", want, r.found)
			}
		}
	})
}

// What the contract says of each byte in and around one mapping of 100 bytes for reading, at page offset 200.
func TestVerdicts(t *testing.T) {
	r := newRig(true)
	m := r.Map("map", 0x5000+200, 0x9000+200, 100, kernel.ToDevice)
	judge := func(what string, addr uint64, write bool, want Verdict) {
		t.Helper()
		if got, _ := r.Judge(addr, write); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	judge("first byte", 0x5000+200, false, Allowed)
	judge("last byte", 0x5000+299, false, Allowed)
	judge("a write", 0x5000+299, true, Backwards)
	judge("the byte behind", 0x5000+300, false, Beside)
	judge("the page's first byte", 0x5000, false, Beside)
	judge("the page's last byte", 0x5fff, false, Beside)
	judge("the next page", 0x6000, false, Unmapped)
	r.Lend("for_cpu", m, 50, 50)
	judge("a lent byte", 0x5000+250, false, OutOfTurn)
	judge("one that is not", 0x5000+249, false, Allowed)
	r.Unmap("unmap", m)
	judge("after the unmap", 0x5000+200, false, Freed)
	r.Map("map", 0x5000+200, 0x9000+200, 1, kernel.Bidirectional)
	judge("mapped again", 0x5000+200, false, Allowed)
	judge("beside what is mapped again, once mapped", 0x5000+201, false, Beside)
	judge("the next page", 0x6000, false, Unmapped)
}

// Which hazards one transfer has, by who snoops, what the kernel does at map and at unmap, and what the caches do meanwhile. The
// worst of all adversaries counts.
func TestTransfers(t *testing.T) {
	const pa, n = 0x9000, 256
	clean := func(u *cache.Truth) { u.Clean(pa, n) }
	invalidate := func(u *cache.Truth) { u.Invalidate(pa, n) }
	nothing := func(*cache.Truth) {}
	for _, c := range []struct {
		name          string
		snoops        bool
		dir           kernel.Direction
		atMap, atEnd  func(*cache.Truth)
		want          string
		worst, benign int // adversaries with and without a hazard
	}{
		{"coherent, to the device", true, kernel.ToDevice, nothing, nothing, "[]", 0, 9},
		{"coherent, from the device", true, kernel.FromDevice, nothing, nothing, "[]", 0, 9},
		{"maintained, to the device", false, kernel.ToDevice, clean, nothing, "[]", 0, 9},
		{"maintained, from the device", false, kernel.FromDevice, clean, invalidate, "[]", 0, 9},
		{"not cleaned, to the device", false, kernel.ToDevice, nothing, nothing, "[stale data read by device]", 6, 3},
		{"not invalidated, from the device", false, kernel.FromDevice, clean, nothing, "[stale data read by CPU]", 4, 5},
		{"not cleaned, from the device", false, kernel.FromDevice, nothing, invalidate, "[write lost]", 2, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := map[kernel.HazardKind]bool{}
			worst := 0
			for _, adv := range Adversaries() {
				r := newRig(c.snoops)
				r.bus.pa[5], r.bus.write[5] = pa, 1
				r.CPUWrite(pa, n)
				c.atMap(r.Truth)
				m := r.Map("map", 0x5000, pa, n, c.dir)
				r.Play(adv.Before, pa, n)
				if c.dir == kernel.ToDevice {
					r.DeviceRead(m, 0, n)
				} else {
					r.DeviceWrite(m, 0, n)
				}
				r.Play(adv.After, pa, n)
				c.atEnd(r.Truth)
				r.Unmap("unmap", m)
				r.CPURead("the buffer", m, pa, n)
				if len(r.found) > 0 {
					worst++
				}
				for _, k := range r.kinds() {
					seen[k] = true
				}
			}
			var ks []kernel.HazardKind
			for k := range kernel.NumHazards {
				if seen[k] {
					ks = append(ks, k)
				}
			}
			if got := fmt.Sprint(ks); got != c.want || worst != c.worst || 9-worst != c.benign {
				t.Errorf("%s with %d of 9 adversaries, want %s with %d", got, worst, c.want, c.worst)
			}
		})
	}
}

// A page that leads elsewhere, and a page that is not there.
func TestWrongFrameAndRefusal(t *testing.T) {
	r := newRig(true)
	r.bus.pa[5], r.bus.write[5] = 0x7000, 1
	m := r.Map("dma_map_phys", 0x5f00, 0x9f00, 512, kernel.ToDevice)
	r.DeviceRead(m, 0, 512)
	if got := fmt.Sprint(r.kinds()); got != "[wrong page frame mapped access to a live mapping refused]" {
		t.Errorf("found %s", got)
	}
	if r.found[0].Step != "dma_map_phys" {
		t.Errorf("blamed %q", r.found[0].Step)
	}
}
