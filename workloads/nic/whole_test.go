package nic

import (
	"fmt"
	"testing"

	"dmapath/cache"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/pcie"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// whole runs the driver of a kernel.
func whole(t *testing.T, v kernel.Version, b platform.Backend, style Style, change func(*Config)) (*workloads.Result, *platform.Machine) {
	t.Helper()
	page, err := dma.Lookup("map_page@" + v.String())
	if err != nil {
		t.Fatal(err)
	}
	return run(t, b, func(c *Config) {
		c.Variant, c.Driver, c.Style, c.TxPercent = page, true, style, 50
		if style == GSO {
			c.Frames, c.Arrive.Rate, c.TxPercent = 400, 50_000, 25
		}
		if change != nil {
			change(c)
		}
	})
}

// The calls that a packet makes (linux-dma-paths, section 11.2): a map and an unmap where every packet is mapped, two tests where
// pages stay mapped, and for a super-frame either a call for every piece or one range of I/O addresses.
func TestCallsOfAPacket(t *testing.T) {
	type calls = map[workloads.Call]int64
	for _, c := range []struct {
		style    Style
		v        kernel.Version
		b        platform.Backend
		rx, sent calls // for each packet
	}{
		{PerPacket, kernel.V6_12, platform.IommuStrict, calls{workloads.CallMap: 1, workloads.CallUnmap: 1}, calls{workloads.CallMap: 1, workloads.CallUnmap: 1}},
		{PerPacket, kernel.V7_3, platform.Direct, calls{workloads.CallMap: 1, workloads.CallUnmap: 1}, calls{workloads.CallMap: 1, workloads.CallUnmap: 1}},
		{Pool, kernel.V6_12, platform.IommuLazy, calls{workloads.CallSync: 2}, calls{workloads.CallMap: 1, workloads.CallUnmap: 1}},
		{Pool, kernel.V7_3, platform.IommuStrict, calls{workloads.CallSync: 2}, calls{workloads.CallMap: 1, workloads.CallUnmap: 1}},
		{GSO, kernel.V6_12, platform.IommuStrict, calls{workloads.CallSync: 2}, calls{workloads.CallMap: 18, workloads.CallUnmap: 18}},
		{GSO, kernel.V6_12, platform.Direct, calls{workloads.CallSync: 2}, calls{workloads.CallMap: 18, workloads.CallUnmap: 18}},
		{GSO, kernel.V7_3, platform.IommuStrict, calls{workloads.CallSync: 2}, calls{workloads.CallMap: 1, workloads.CallUnmap: 1, // the header
			workloads.CallAlloc: 1, workloads.CallLink: 17, workloads.CallSyncIOVA: 1, workloads.CallDestroy: 1}},
		{GSO, kernel.V7_3, platform.Direct, calls{workloads.CallSync: 2}, calls{workloads.CallAlloc: 1, workloads.CallMap: 18, workloads.CallUnmap: 18}},
	} {
		r, m := whole(t, c.v, c.b, c.style, nil)
		where := fmt.Sprintf("%s %v %s", c.style, c.v, c.b)
		rx, tx := int64(r.Units[0].Calls.N), int64(r.Units[1].Calls.N)
		if rx != r.IOs || tx == 0 || r.Drops != 0 {
			t.Fatalf("%s: %d packets received of %d, %d sent, %d dropped", where, rx, r.IOs, tx, r.Drops)
		}
		for k, n := range r.Calls {
			k := workloads.Call(k)
			if want := rx*c.rx[k] + tx*c.sent[k]; n != want {
				t.Errorf("%s: %d calls of %v, want %d", where, n, k, want)
			}
		}
		if c.b != platform.IommuStrict || c.style == PerPacket {
			continue
		}
		// Strict: every unmap, and every destroy, is one invalidation that is waited for.
		want := uint64(tx * (c.sent[workloads.CallUnmap] + c.sent[workloads.CallDestroy]))
		if s := m.Unit.Statistics(); s.Waits != want {
			t.Errorf("%s: %d invalidations waited for, want %d", where, s.Waits, want)
		}
	}
}

// A pool touches the struct page of every packet, which mapping never does.
func TestPoolTouchesTheStructPage(t *testing.T) {
	r, _ := whole(t, kernel.V7_3, platform.Direct, Pool, func(c *Config) { c.TxPercent = 0 })
	if r.Setup == nil || r.Setup.Series.N != 1000 {
		t.Fatalf("no work of the pool: %+v", r.Setup)
	}
	tot := r.Setup.Acct.Total()
	if n := float64(tot.Instructions()) / float64(r.Setup.N); n < 20 || n > 60 {
		t.Errorf("%.0f instructions around a packet's syncs", n)
	}
	if r.Map.Series.N != 0 || r.Unmap.Series.N != 0 {
		t.Errorf("%d maps, %d unmaps", r.Map.Series.N, r.Unmap.Series.N)
	}
}

// seen is memory that remembers what was read.
type seen struct {
	*cache.Hierarchy
	at []uint64
}

func (s *seen) DeviceRead(pa uint64, n int, now sim.Time) (sim.Time, cache.Level) {
	s.at = append(s.at, pa, uint64(n))
	return s.Hierarchy.DeviceRead(pa, n, now)
}

// The bytes of a super-frame come from its fragments, in order, whether each is mapped or all are linked.
func TestSuperFrameReadsItsFragments(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, b := range []platform.Backend{platform.Direct, platform.IommuStrict, platform.IommuLazy, platform.IommuPassthrough} {
			if b.Provider() { // no hardware stands behind its addresses
				continue
			}
			s, err := platform.Load("icelake-sp")
			if err != nil {
				t.Fatal(err)
			}
			page, err := dma.Lookup("map_page@" + v.String())
			if err != nil {
				t.Fatal(err)
			}
			m, err := platform.Build(s, platform.Options{Version: v, Backend: b, CPUs: 1, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(m.Close)
			dev, err := m.AddDevice("0000:01:00.0", 0x0100)
			if err != nil {
				t.Fatal(err)
			}
			mem := &seen{Hierarchy: m.Hier}
			var tr pcie.Translator
			if m.Unit != nil {
				tr = m.Unit
			}
			if dev.Port, err = pcie.NewPort(dev.Port.Config(), tr, mem); err != nil {
				t.Fatal(err)
			}
			if m.Unit != nil {
				m.Unit.Drain(dev.Port)
			}
			sizes, _ := Fixed(66)
			// The buffers that the driver draws, drawn once more from the same stream.
			draw := workloads.NewBuffers(m, sim.NewRand(1, "buffers 0"))
			for range 64 {
				draw.Next(2048)
			}
			var want []uint64
			pieces := 0
			c := Config{Variant: page, Driver: true, Style: GSO, CPUs: 1, Frames: 64, Sizes: sizes, Arrive: Arrivals{Pattern: "constant", Rate: 20_000}, Ring: 64,
				TxPercent: 25, Around: &workloads.Ambience{}, Seed: 1}
			c.sent = func(sl *slot) {
				if pieces%18 == 0 {
					want = append(want[:0], draw.Next(gsoHead).Phys)
					for i := range gsoFrags {
						p := draw.Next(4096).Phys
						if i == 0 {
							p += 2048
						}
						want = append(want, p)
					}
				}
				if sl.more == (pieces%18 == 17) {
					t.Errorf("%v %s: piece %d of a super-frame: more is %v", v, b, pieces%18, sl.more)
				}
				i, got := len(mem.at), 0
				for got < sl.size {
					i -= 2
					got += int(mem.at[i+1])
				}
				off := uint64(0)
				for ; i < len(mem.at); i += 2 {
					if phys, ok := m.Tlb.Original(mem.at[i]); ok { // bounced
						mem.at[i] = phys
					}
					if mem.at[i] != want[pieces%18]+off {
						t.Fatalf("%v %s: byte %d of piece %d read at %#x, it lies at %#x", v, b, off, pieces%18, mem.at[i], want[pieces%18])
					}
					off += mem.at[i+1]
				}
				pieces++
			}
			r, err := Run(m, dev, c)
			if err != nil {
				t.Fatal(err)
			}
			if n := int(r.Units[1].Calls.N); pieces != 18*n || n < 10 || r.Faults != 0 {
				t.Errorf("%v %s: %d pieces of %d super-frames, %d faults", v, b, pieces, n, r.Faults)
			}
		}
	}
}

// A driver's buffers and addresses come back: ten times the packets take no more memory.
func TestWholeDriversMemoryDoesNotGrow(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		frames := func(n int64) int {
			_, m := whole(t, v, platform.IommuStrict, GSO, func(c *Config) { c.Frames = n })
			return m.Mem.Frames()
		}
		if few, many := frames(200), frames(2000); many > few+few/20 {
			t.Errorf("%v: %d frames of memory after 200 packets, %d after 2000", v, few, many)
		}
	}
}
