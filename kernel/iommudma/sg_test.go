package iommudma_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommudma"
	"dmapath/kernel/recorded"
	"dmapath/kernel/scatterlist"
)

type piece struct{ phys, size uint64 }

func (m *machine) list(pieces ...piece) *scatterlist.List {
	l := &scatterlist.List{VA: m.env.Slab(len(pieces)*scatterlist.Bytes, 64)}
	for _, p := range pieces {
		l.Add(p.phys, cpu.VmemmapBase+p.phys>>12*64, p.size)
	}
	return l
}

// segments is what the device is told, by a slow obvious rule: lay the pieces out one after the other in whole pages from start on, and
// begin a new segment where a piece does not start at its page, where the one before does not end at a page, at the boundary, and
// where the segment would become too long.
func segments(pieces []piece, start, boundary, most uint64) (segs []piece) {
	at := start
	open := false
	for _, p := range pieces {
		off := p.phys & 4095
		last := len(segs) - 1
		if open && off == 0 && at&boundary != 0 && segs[last].size+p.size <= most {
			segs[last].size += p.size
		} else {
			segs = append(segs, piece{at + off, p.size})
		}
		end := off + p.size
		at += (end + 4095) &^ 4095
		open = end&4095 == 0
	}
	return segs
}

// Random lists, with and without gaps and contiguous neighbours: every byte is where the segments say, the segments are those of the
// obvious rule, and one unmap takes everything down.
func TestScatterlistsMapEveryByte(t *testing.T) {
	for _, v := range versions {
		for _, lazy := range []bool{false, true} {
			m := boot(t, v, 1, lazy)
			rng := rand.New(rand.NewPCG(uint64(v), 5))
			recorded.Run(func(th *cpu.Thread) {
				for range 400 {
					m.dev.MaxSeg = []uint64{4096, 64 << 10, 1<<32 - 1}[rng.IntN(3)]
					var ps []piece
					at := uint64(page)
					for range 1 + rng.IntN(40) {
						p := piece{at, uint64(1+rng.IntN(4)) << 12}
						if rng.IntN(4) == 0 { // a gap
							p.phys += uint64(rng.IntN(4000))
							p.size = uint64(1 + rng.IntN(9000))
						}
						ps = append(ps, p)
						at = (p.phys + p.size + 4095) &^ 4095
						if rng.IntN(2) == 0 {
							at += uint64(rng.IntN(1000)) << 12
						}
					}
					l := m.list(ps...)
					if err := m.l.MapSG(th, m.dev, l, kernel.ToDevice, 0); err != nil {
						t.Fatal(err)
					}
					var got []piece
					for _, e := range l.Segments() {
						got = append(got, piece{e.Addr, e.Len})
					}
					if want := segments(ps, got[0].phys&^4095, m.dev.SegBoundary, m.dev.MaxSeg); !slices.Equal(got, want) {
						t.Fatalf("%v: %x mapped to %x, want %x", v, ps, got, want)
					}
					k, in := 0, uint64(0)
					for _, p := range ps {
						for o := uint64(0); o < p.size; {
							a := got[k].phys + in
							if x := m.drv.pages[a&^4095] + a&4095; x != p.phys+o {
								t.Fatalf("%v: %#x translates to %#x, want %#x", v, a, x, p.phys+o)
							}
							n := min(p.size-o, 4096-a&4095, got[k].size-in)
							o, in = o+n, in+n
							if in == got[k].size {
								k, in = k+1, 0
							}
						}
					}
					m.l.UnmapSG(th, m.dev, l, kernel.ToDevice, 0)
					if len(m.drv.pages) != 0 || l.Nents != 0 {
						t.Fatalf("%v: %d pages mapped after unmap", v, len(m.drv.pages))
					}
				}
			})
			if m.k.Stats.NotMapped != 0 || m.k.Stats.Failures != 0 || m.k.Stats.Maps != 400 || m.k.Stats.Unmaps != 400 {
				t.Errorf("%v: %+v", v, m.k.Stats)
			}
		}
	}
}

// The default limit of a PCI device, 64 KiB, cuts a 128 KiB list of pages in two; NVMe lifts it.
func TestSegmentSizeLimit(t *testing.T) {
	for _, v := range versions {
		for _, c := range []struct {
			most uint64
			want int
		}{{64 << 10, 2}, {1<<32 - 1, 1}, {4096, 32}, {12288, 11}} {
			m := boot(t, v, 1, false)
			m.dev.MaxSeg = c.most
			var ps []piece
			for i := range uint64(32) {
				ps = append(ps, piece{page + i*8192, 4096})
			}
			l := m.list(ps...)
			recorded.Run(func(th *cpu.Thread) {
				if err := m.l.MapSG(th, m.dev, l, kernel.ToDevice, 0); err != nil || l.Nents != c.want {
					t.Errorf("%v: at most %d bytes: %d segments, %v; want %d", v, c.most, l.Nents, err, c.want)
				}
			})
		}
	}
}

// No entry crosses the device's segment boundary: the entry before it is padded up to there.
func TestSegmentBoundary(t *testing.T) {
	for _, v := range versions {
		m := boot(t, v, 1, false)
		m.dev.SegBoundary = 16<<10 - 1
		l := m.list(piece{page, 8192}, piece{page + 1<<20, 12288}, piece{page + 2<<20, 4096})
		recorded.Run(func(th *cpu.Thread) {
			if err := m.l.MapSG(th, m.dev, l, kernel.ToDevice, 0); err != nil {
				t.Fatal(err)
			}
			for _, e := range l.Segments() {
				if e.Addr>>14 != (e.Addr+e.Len-1)>>14 {
					t.Errorf("%v: %#x+%#x crosses a boundary of 16 KiB", v, e.Addr, e.Len)
				}
			}
			// 8 KiB, 8 KiB of padding (mapped: what lies behind the entry in memory), 12 KiB and 4 KiB up to the next boundary
			a := l.Entries[0].Addr
			if got := l.Entries[1].Addr - a; l.Nents != 2 || got != 16384 || l.Entries[1].Len != 16384 {
				t.Errorf("%v: %d segments, the second at +%#x with %#x bytes", v, l.Nents, got, l.Entries[1].Len)
			}
			if got := m.drv.pages[a+8192]; got != page+8192 {
				t.Errorf("%v: the padding maps %#x", v, got)
			}
			m.l.UnmapSG(th, m.dev, l, kernel.ToDevice, 0)
			if len(m.drv.pages) != 0 {
				t.Errorf("%v: %d pages mapped after unmap", v, len(m.drv.pages))
			}
		})
	}
}

// Memory of another device: below one switch its bus address, which nobody maps or unmaps; through a known host bridge like memory;
// otherwise an error, with nothing left mapped. Without CONFIG_PCI_P2PDMA nobody looks.
func TestPeerMemory(t *testing.T) {
	const bar = 0x4000000000
	for _, v := range versions {
		for _, c := range []struct {
			route  kernel.P2PRoute
			built  bool
			mapped int // pages of three
			err    error
		}{
			{kernel.P2PBusAddress, true, 2, nil},
			{kernel.P2PHostBridge, true, 3, nil},
			{kernel.P2PUnsupported, true, 0, scatterlist.ErrUnsupported},
			{kernel.P2PUnsupported, false, 3, nil},
		} {
			m := boot(t, v, 1, false)
			m.env.P2PDMA = c.built
			m.dev.P2P = kernel.P2P{Route: c.route, BusOffset: 1 << 44, Provider: m.env.Slab(256, 64)}
			l := m.list(piece{page, 4096}, piece{bar, 4096}, piece{page + 4096, 4096})
			l.Entries[1].P2P = true
			recorded.Run(func(th *cpu.Thread) {
				err := m.l.MapSG(th, m.dev, l, kernel.ToDevice, 0)
				if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || len(m.drv.pages) != c.mapped {
					t.Errorf("%v %+v: %v, %d pages mapped", v, c, err, len(m.drv.pages))
				}
				if c.route == kernel.P2PBusAddress {
					s := l.Segments()
					if len(s) != 3 || !s[1].Bus || s[1].Addr != bar+1<<44 || s[0].Bus || s[2].Bus {
						t.Errorf("%v: %+v", v, s)
					}
				}
				if err == nil {
					m.l.UnmapSG(th, m.dev, l, kernel.ToDevice, 0)
				}
			})
			if len(m.drv.pages) != 0 || m.k.Stats.NotMapped != 0 {
				t.Errorf("%v %+v: %d pages stay mapped, %d bad unmaps", v, c, len(m.drv.pages), m.k.Stats.NotMapped)
			}
		}
	}
}

// A failure gives the addresses back and leaves no DMA segment; an empty list is refused.
func TestScatterlistFailure(t *testing.T) {
	for _, v := range versions {
		m := boot(t, v, 1, false)
		l := m.list(piece{page, 4096}, piece{page + 8192, 4096})
		recorded.Run(func(th *cpu.Thread) {
			m.l.MapSG(th, m.dev, l, kernel.ToDevice, 0)
			a := l.Entries[0].Addr
			m.l.UnmapSG(th, m.dev, l, kernel.ToDevice, 0)
			m.drv.failMap = true
			if err := m.l.MapSG(th, m.dev, l, kernel.ToDevice, 0); err == nil || l.Nents != 0 {
				t.Errorf("%v: %v, %d segments", v, err, l.Nents)
			}
			m.drv.failMap = false
			if err := m.l.MapSG(th, m.dev, l, kernel.ToDevice, 0); err != nil || l.Entries[0].Addr != a {
				t.Errorf("%v: after the failure %#x, %v; want %#x again", v, l.Entries[0].Addr, err, a)
			}
			if err := m.l.MapSG(th, m.dev, m.list(), kernel.ToDevice, 0); !errors.Is(err, iommudma.ErrNoEntries) {
				t.Errorf("%v: empty list: %v", v, err)
			}
		})
		if m.k.Stats.Failures != 1 {
			t.Errorf("%v: %d failures", v, m.k.Stats.Failures)
		}
	}
}

// An untrusted device gets every entry mapped on its own.
func TestUntrustedDeviceMapsEntryByEntry(t *testing.T) {
	for _, v := range versions {
		m := boot(t, v, 1, false)
		m.dev.Untrusted = true
		l := m.list(piece{page, 4096}, piece{page + 4096, 4096}, piece{page + 8192, 4096})
		recorded.Run(func(th *cpu.Thread) {
			if err := m.l.MapSG(th, m.dev, l, kernel.ToDevice, 0); err != nil || l.Nents != 3 {
				t.Errorf("%v: %d segments, %v", v, l.Nents, err)
			}
			m.l.UnmapSG(th, m.dev, l, kernel.ToDevice, 0)
		})
		if len(m.drv.pages) != 0 || m.drv.syncs != 3 || m.k.Stats.Maps != 1 || m.k.Stats.Unmaps != 1 {
			t.Errorf("%v: %d pages, %d invalidations, %+v", v, len(m.drv.pages), m.drv.syncs, m.k.Stats)
		}
	}
}

func segment(phys uint64) iommucore.Segment { return iommucore.Segment{Phys: phys, Size: 4096} }
