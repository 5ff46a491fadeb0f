// Package probe is a device that measures what memory looks like from the other side of the link, as pcie-bench does on a
// programmable network card: it reads, writes, or writes and reads back a fixed number of bytes at random or sequential places
// of a window, one access at a time for latency, or several at once for throughput (Neugebauer et al., SIGCOMM 2018).
//
// The driver's part is set-up only: the window is made of pages of RAM that are mapped once, before the clock starts. What the
// probe sees is the link, the root complex, the IOTLB and its walkers, and which level of the memory hierarchy answers. The CPU
// does nothing while it runs.
//
// A worked example: with an IOTLB of 128 entries and pages of 4 KiB, a window of 256 KiB (64 pages) is always translated from
// the IOTLB. One of 4 MiB (1024 pages) misses in 7 of 8 accesses, and reads of 64 bytes then arrive at the rate of the walkers: N walks
// of T each are N/T accesses per second.
//
// The card itself is its PCIe interface, an engine that may be busy with an access for some time (Gap), and what it does with data that
// have arrived. Left out: firmware between two accesses.
package probe

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/pcie"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// Access is what one operation does.
type Access string

// Accesses.
const (
	Read      Access = "read"
	Write     Access = "write"
	WriteRead Access = "write-read" // write, then read the same bytes back; the read pushes the write
)

// Accesses lists them.
var Accesses = []string{string(Read), string(Write), string(WriteRead)}

// Config is a window and what is done to it.
type Config struct {
	Access      Access
	Size        int    // bytes per access, 1 to 4096; it does not cross a page
	Window      uint64 // bytes, at least a page
	Sequential  bool   // else random
	Outstanding int    // accesses under way at once, 1 to 1024
	Operations  int64
	// Contiguous maps the window as one physically contiguous buffer, so that the IOMMU may use large pages; else every page of
	// 4 KiB lies somewhere else.
	Contiguous bool
	// Warm lets the device write the whole window before the measurement: what fits stays in the LLC.
	Warm bool
	// Demand leaves the window to be populated as the device touches it: memory of a process of which no page is there, for which the
	// device sends page requests (PRI). It needs VT-d and a device with a TLB.
	Demand       bool
	PageRequests int // under way at once, 1 to 512
	QueueOrder   int // log2 of the pages of the kernel's request queue, 0 to 7; Linux has vtd.PRQOrder
	// Gap and GapByte are what the card's own engine is busy with an access, and with each of its bytes, before it can begin the next.
	// ReadEndByte is how long the card takes, for each byte of a read that has arrived, to put it where it belongs.
	Gap, GapByte, ReadEndByte sim.Time
	// Ordered makes the card take the ends of accesses in the order in which it began them: one that takes long keeps those behind it.
	Ordered bool
	Seed    uint64
}

// Validate lists everything that is out of range.
func (c *Config) Validate() error {
	least := int64(0)
	if c.Demand {
		least = 1
	}
	err := workloads.Ranges{
		{Key: "size", Value: int64(c.Size), Lo: 1, Hi: 4096},
		{Key: "window", Value: int64(c.Window), Lo: 4096, Hi: 1 << 40},
		{Key: "outstanding", Value: int64(c.Outstanding), Lo: 1, Hi: 1024},
		{Key: "gap", Value: int64(c.Gap), Lo: 0, Hi: int64(sim.Millisecond)},
		{Key: "read_end_byte", Value: int64(c.ReadEndByte), Lo: 0, Hi: int64(sim.Microsecond)},
		{Key: "gap_byte", Value: int64(c.GapByte), Lo: 0, Hi: int64(sim.Microsecond)},
		{Key: "operations", Value: c.Operations, Lo: 1, Hi: 1 << 40},
		{Key: "page_requests", Value: int64(c.PageRequests), Lo: least, Hi: 512},
		{Key: "queue_order", Value: int64(c.QueueOrder), Lo: 0, Hi: 7},
	}.Check()
	switch c.Access {
	case Read, Write, WriteRead:
	default:
		err = errors.Join(err, fmt.Errorf("access %q: allowed are read, write, write-read", c.Access))
	}
	return err
}

// probe is a run.
type probe struct {
	cfg   Config
	m     *platform.Machine
	dev   *platform.Device
	pages []uint64 // device addresses of the pages of the window
	per   int64    // places for an access in a page
	rnd   *rand.Rand
	next  int64 // place of the next sequential access
	left  int64 // accesses not yet begun
	busy  int   // under way
	ev    sim.Handler
	begun []sim.Time // by slot
	idle  sim.Time   // when the card's engine can begin another
	ended sim.Time   // the latest end so far
	res   *workloads.Result
	err   error

	demand *demand // nil where the window is mapped
}

// Run maps the window for dev and performs the accesses. The result has the latency of each in nanoseconds, and the throughput.
func Run(m *platform.Machine, dev *platform.Device, cfg Config) (*workloads.Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &probe{cfg: cfg, m: m, dev: dev, per: int64(4096 / cfg.Size), rnd: sim.NewRand(cfg.Seed, "probe"), left: cfg.Operations,
		begun: make([]sim.Time, cfg.Outstanding),
		res:   &workloads.Result{Map: workloads.NewOp(1).Named("map"), Unmap: workloads.NewOp(1).Named("unmap"), Latency: sim.NewHistogram(int64(sim.Second), 3)}}
	if err := p.mapWindow(); err != nil {
		return nil, err
	}
	if cfg.Warm && !cfg.Demand {
		if err := p.warm(); err != nil {
			return nil, err
		}
		if m.Unit != nil {
			m.Unit.ResetStats()
		}
	}
	p.ev = m.Eng.Register("probe", p.step)
	start := m.Eng.Now()
	for slot := range cfg.Outstanding {
		p.begun[slot] = -1
		m.Eng.At(start, p.ev, uint64(slot))
		p.busy++
	}
	if err := m.Run(); err != nil {
		return nil, err
	}
	if p.err != nil {
		return nil, p.err
	}
	p.res.Elapsed = m.Eng.Now() - start
	if p.demand != nil {
		p.res.Pages = p.demand.finish()
	}
	return p.res, nil
}

// mapWindow finds the window's pages and maps them, as a driver does when it is loaded: CPU 0 writes the tables through its caches. Then
// other things run on it for long enough that what it wrote is in the LLC, where the walks of the measurement find it.
func (p *probe) mapWindow() error {
	n := int(p.cfg.Window+4095) / 4096
	p.pages = make([]uint64, n)
	if p.cfg.Demand {
		return p.demandWindow()
	}
	size := 4096
	if p.cfg.Contiguous {
		order := bits.Len(uint(n - 1))
		base := kernel.Phys(p.m.Env.Pages(order))
		for i := range p.pages {
			p.pages[i] = base + uint64(i)*4096
		}
		size = 4096 << order
	} else {
		bufs := workloads.NewBuffers(p.m, sim.NewRand(p.cfg.Seed, "window"))
		for i := range p.pages {
			p.pages[i] = bufs.Next(4096).Phys
		}
	}
	if p.dev.Cookie == nil {
		return nil
	}
	caches := &p.m.Spec.Cache
	p.m.Hier.Displace(0, 0, int(caches.LLC.Size)/64) // it is full of something
	var err error
	p.m.Spawn(0, "map the window", func(t *cpu.Thread) {
		defer p.m.Eng.Stop()
		var at uint64
		for i := range p.pages {
			if i == 0 || !p.cfg.Contiguous {
				if at, err = p.dev.Cookie.Map(t, p.dev.Ctx.Dev, p.pages[i], uint64(size), kernel.Bidirectional, 0); err != nil {
					return
				}
				t.Sync()
			}
			p.pages[i] = at
			at += 4096
		}
	})
	if e := p.m.Run(); e != nil || err != nil {
		return errors.Join(e, err)
	}
	p.m.Hier.Displace(0, 0, 2*int(caches.L2.Size)/64)
	return p.m.Settle()
}

// warm writes the window once, page after page.
func (p *probe) warm() (err error) {
	at := p.m.Eng.Now()
	for _, a := range p.pages {
		if at, err = p.dev.Port.Write(p.dev.RID, a, 4096, at); err != nil {
			return err
		}
	}
	p.m.Eng.At(at, p.m.Eng.Register("probe: window is warm", func(uint64) { p.m.Eng.Stop() }), 0)
	return p.m.Run()
}

// place returns the device address of the next access.
func (p *probe) place() uint64 {
	n := p.next
	p.next++
	if total := int64(len(p.pages)) * p.per; !p.cfg.Sequential {
		n = p.rnd.Int64N(total)
	} else if p.next == total {
		p.next = 0
	}
	return p.pages[n/p.per] + uint64(n%p.per)*uint64(p.cfg.Size)
}

// step ends the access of a slot, if one was under way, and begins the next.
func (p *probe) step(slot uint64) {
	now := p.m.Eng.Now()
	if began := p.begun[slot]; began >= 0 {
		p.res.Latency.Add(int64((now - began) / sim.Nanosecond))
		p.res.Complete(now, int64(p.cfg.Size))
	}
	if p.left == 0 || p.err != nil {
		if p.busy--; p.busy == 0 {
			p.m.Eng.Stop()
		}
		return
	}
	p.left--
	p.begun[slot] = now
	p.access(slot, p.place(), now)
}

// access carries one access out.
func (p *probe) access(slot, at uint64, now sim.Time) {
	start := max(now, p.idle)
	p.idle = start + p.cfg.Gap + sim.Time(p.cfg.Size)*p.cfg.GapByte
	done := start
	if p.cfg.Access != Read {
		done, p.err = p.dev.Port.Write(p.dev.RID, at, p.cfg.Size, start)
		if p.cfg.Access == WriteRead {
			done = start // the read is sent behind the write and passes no earlier
		}
	}
	if p.cfg.Access != Write && p.err == nil {
		done, p.err = p.dev.Port.Read(p.dev.RID, at, p.cfg.Size, done)
		done += sim.Time(p.cfg.Size) * p.cfg.ReadEndByte
	}
	if p.demand != nil && errors.Is(p.err, pcie.ErrNotGranted) {
		p.err = nil
		p.demand.missed(slot, at, max(done, now))
		return
	}
	if p.cfg.Ordered {
		p.ended = max(p.ended, done)
		done = p.ended
	}
	p.m.Eng.At(max(done, now), p.ev, slot)
}
