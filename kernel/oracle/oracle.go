package oracle

import (
	"fmt"

	"dmapath/cache"
	"dmapath/kernel"
)

// Bus is a device's way to memory.
type Bus interface {
	// Reach returns the physical address that an access of the device to addr reaches now, and whether the access looks into
	// the CPUs' caches; ok is false when the machine refuses it, with pa the address at which nothing answered, or 0.
	Reach(addr uint64, write bool) (pa uint64, snoops, ok bool)
}

// Config is what an Oracle is made of.
type Config struct {
	Truth *cache.Truth
	Bus   Bus
	// Granule is the unit in which the machine's translation protects memory, bytes, a power of two; 1 when it does not.
	Granule uint64
	// DeviceMemory says that pa is registers or memory of a device, which CPUs access around their caches; nil for nowhere.
	DeviceMemory func(pa uint64) bool
	// Bounced says that pa lies in the kernel's bounce pool, where a buffer may be reached instead of at its own place; nil for
	// nowhere.
	Bounced func(pa uint64) bool
	// Peer is the oracle of another device of the same machine; both then share one account of what every byte should hold.
	Peer *Oracle
	// Report is told of every hazard, in the order in which they are seen.
	Report func(kernel.Hazard)
}

// Oracle follows the mappings of one device. It is not safe for concurrent use.
type Oracle struct {
	Config
	live, freed []*Mapping
	want        map[uint64]*line // by physical address >> 6
	recent      *line
	recentAt    uint64
}

// line is what the last allowed writes left in the bytes of a cache line.
type line [cache.LineBytes]cache.Version

// New returns an oracle that knows of no mapping.
func New(c Config) *Oracle {
	if c.Truth == nil || c.Bus == nil || c.Report == nil {
		panic("oracle: needs a truth, a bus and somebody to report to")
	}
	c.Granule = max(c.Granule, 1)
	o := &Oracle{Config: c, want: map[uint64]*line{}, recentAt: ^uint64(0)}
	if c.Peer != nil {
		o.want = c.Peer.want
	}
	return o
}

// expect is what the byte at pa should hold.
func (o *Oracle) expect(pa uint64) *cache.Version {
	if n := pa / cache.LineBytes; n != o.recentAt {
		l := o.want[n]
		if l == nil {
			l = new(line)
			o.want[n] = l
		}
		o.recent, o.recentAt = l, n
	}
	return &o.recent[pa%cache.LineBytes]
}

// expected is what the bytes from pa on should hold, n of them or as many as the line has.
func (o *Oracle) expected(pa uint64, n int) []cache.Version {
	o.expect(pa)
	l := o.recent[pa%cache.LineBytes:]
	return l[:min(n, len(l))]
}

// write notes that n bytes from pa on should hold v.
func (o *Oracle) write(pa, n uint64, v cache.Version) {
	for n > 0 {
		l := o.expected(pa, int(n))
		for i := range l {
			l[i] = v
		}
		pa, n = pa+uint64(len(l)), n-uint64(len(l))
	}
}

// Mapping is one buffer that a driver has mapped.
type Mapping struct {
	Addr, Phys, Size uint64 // bus address, physical address, bytes
	Dir              kernel.Direction
	Live             bool // not unmapped yet

	lent     []bool // by byte: it is the CPU's turn
	toDevice string // API call that last gave the buffer to the device
	toCPU    string // and to the CPU
}

// Map begins a mapping that the API call by returned.
func (o *Oracle) Map(by string, addr, phys, size uint64, dir kernel.Direction) *Mapping {
	m := &Mapping{Addr: addr, Phys: phys, Size: size, Dir: dir, Live: true, lent: make([]bool, size), toDevice: by, toCPU: by}
	o.live = append(o.live, m)
	return m
}

// Unmap ends it.
func (o *Oracle) Unmap(by string, m *Mapping) {
	for i, l := range o.live {
		if l == m {
			o.live = append(o.live[:i], o.live[i+1:]...)
			o.freed = append(o.freed, m)
			m.Live, m.toCPU = false, by
			return
		}
	}
	panic("oracle: unmap of a mapping that is not live")
}

// Lend is dma_sync_*_for_cpu of n bytes from off on; Return is dma_sync_*_for_device.
func (o *Oracle) Lend(by string, m *Mapping, off, n uint64) { m.turn(off, n, true); m.toCPU = by }

// Return gives what was lent back to the device.
func (o *Oracle) Return(by string, m *Mapping, off, n uint64) { m.turn(off, n, false); m.toDevice = by }

func (m *Mapping) turn(off, n uint64, lent bool) {
	for i := off; i < off+n; i++ {
		m.lent[i] = lent
	}
}

// Live returns how many mappings are live.
func (o *Oracle) Live() int { return len(o.live) }

func (o *Oracle) report(k kernel.HazardKind, step string, addr uint64, format string, a ...any) {
	o.Report(kernel.Hazard{Kind: k, Step: step, Addr: addr, Note: fmt.Sprintf(format, a...)})
}

func (o *Oracle) isDevice(pa uint64) bool { return o.DeviceMemory != nil && o.DeviceMemory(pa) }
func (o *Oracle) isBounced(pa uint64) bool {
	return o.Bounced != nil && o.Bounced(pa)
}
