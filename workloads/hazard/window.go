package hazard

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
)

// Window is how long a device can still reach buffers that were unmapped, at one load.
type Window struct {
	Backend Backend
	Variant string // API variant, with its kernel
	PerSec  int64  // unmaps per second; 0: one after the other
	Unmaps  int64
	// Times from the return of the unmap to the last moment at which the device reached the buffer, by Probe. Never is how many
	// buffers it never reached.
	Mean, Max sim.Time
	Never     int64
	Flushes   uint64 // of the whole domain because a queue was full
	Timer     uint64 // of the whole domain by the timer
}

// Probe is how often the device tries: the resolution of a Window.
const Probe = 5 * sim.Microsecond

// LoadsOf lists the loads at which windows are measured on b, in unmaps per second; 0 is as many as one CPU can. Where every unmap
// invalidates, the load makes no difference.
func LoadsOf(b Backend) []int64 {
	if b.platform.Lazy() {
		return []int64{100, 1_000, 10_000, 100_000, 0}
	}
	return []int64{0}
}

// WindowsOf lists the variants whose windows are measured on b: the usual call of each kernel where an IOMMU protects memory, and the
// two-step interface of 7.3 where invalidation is lazy.
func WindowsOf(b Backend) []string {
	switch {
	case b.Missing != "" || !b.platform.HasIOMMU():
		return nil
	case b.platform.Lazy():
		return []string{plain(kernel.V6_12), plain(kernel.V7_3), "iova_link@7.3"}
	}
	return []string{plain(kernel.V6_12), plain(kernel.V7_3)}
}

// open is an unmapped buffer whose address the device still tries.
type open struct {
	addr     uint64
	unmapped sim.Time
	reached  sim.Time // last time that the device reached it; 0: never
	settled  sim.Time // reached, when the map call that is under way began: what it sees since may be a new mapping
}

// Measure maps, lets the device read, and unmaps one page of RAM again and again on one CPU, while the device goes on reading what was
// unmapped until it is refused.
func Measure(s *platform.Spec, b Backend, name string, perSec int64, seed uint64) (*Window, error) {
	variant, err := dma.Lookup(name)
	if err != nil {
		return nil, err
	}
	s, err = b.machine(s)
	if err != nil {
		return nil, err
	}
	m, err := platform.Build(s, platform.Options{Version: variant.Version(), Backend: b.platform, CPUs: 1, Seed: seed})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	dev, err := m.AddDevice("0000:01:00.0", 0x0100)
	if err != nil {
		return nil, err
	}
	if b.setUp != nil {
		b.setUp(dev)
	}
	w := &Window{Backend: b, Variant: name, PerSec: perSec}
	var outstanding []open
	var total sim.Time
	closeWindow := func(o open) {
		d := sim.Time(0)
		if o.reached == 0 {
			w.Never++
		} else {
			d = o.reached - o.unmapped
		}
		total += d
		w.Max = max(w.Max, d)
	}
	end := sim.Never // when the device gives up: what it still reaches then, it reaches for good
	m.Eng.Go("device", func(p *sim.Proc) {
		for at := p.Now(); at < end && (end == sim.Never || len(outstanding) > 0); at += Probe {
			p.SleepUntil(at)
			keep := outstanding[:0]
			for _, o := range outstanding {
				if _, _, ok := dev.Reach(o.addr, false); ok {
					o.reached = p.Now()
					keep = append(keep, o)
				} else {
					closeWindow(o)
				}
			}
			outstanding = keep
		}
		for _, o := range outstanding {
			closeWindow(o)
		}
		m.Eng.Stop()
	})
	m.Spawn(0, "cpu 0 driver", func(t *cpu.Thread) {
		r := sim.NewRand(seed, "window buffers")
		next := t.Now()
		for range unmaps(perSec) {
			buf := m.RandomRAM(r, 4096)
			var addr uint64
			for i := range outstanding {
				outstanding[i].settled = outstanding[i].reached
			}
			if addr, err = variant.Map(t, dev.Ctx, buf, kernel.ToDevice, 0); err != nil {
				break
			}
			t.Sync()
			for i := range outstanding {
				if outstanding[i].addr == addr { // flushed and given out again between two probes
					outstanding[i].reached = outstanding[i].settled
					closeWindow(outstanding[i])
					outstanding = append(outstanding[:i], outstanding[i+1:]...)
					break
				}
			}
			if _, _, ok := dev.Reach(addr, false); !ok {
				err = fmt.Errorf("the device cannot reach %#x, which is mapped", addr)
				break
			}
			if err = variant.Unmap(t, dev.Ctx, addr, buf.Size, kernel.ToDevice, 0); err != nil {
				break
			}
			t.Sync()
			w.Unmaps++
			outstanding = append(outstanding, open{addr: addr, unmapped: t.Now()})
			if perSec > 0 {
				next += sim.Second / sim.Time(perSec)
				t.WaitUntil(cpu.StallIdle, next)
			}
		}
		end = t.Now() + 5*settling
	})
	if e := m.Run(); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	w.Mean = total / sim.Time(max(w.Unmaps, 1))
	if dev.Cookie != nil {
		w.Flushes, w.Timer = dev.Cookie.Stats.Flushes, dev.Cookie.Stats.TimerFlushes
	}
	return w, nil
}

// unmaps is how many unmaps a run makes: 100 ms of them, at least 50, at most 4000.
func unmaps(perSec int64) int64 {
	if perSec == 0 {
		return 4000
	}
	return min(max(perSec/10, 50), 4000)
}

// plain is the usual map call of a kernel.
func plain(v kernel.Version) string {
	if v == kernel.V7_3 {
		return "map_phys@7.3"
	}
	return "map_page@6.12"
}
