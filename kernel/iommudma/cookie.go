package iommudma

import (
	"errors"
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iova"
	"dmapath/kernel/swiotlb"
	"dmapath/kernel/timer"
	"dmapath/sim"
)

const file = "drivers/iommu/dma-iommu.c"

// Flush queue parameters of iommu_dma_options for a queue per CPU, the same in 6.12 and 7.3.
const (
	QueueEntries = 256                  // IOVA_DEFAULT_FQ_SIZE; one stays empty
	QueueTimeout = 10 * sim.Millisecond // IOVA_DEFAULT_FQ_TIMEOUT
)

// Config is what a Cookie is built from.
type Config struct {
	Env    *kernel.Env
	Domain *iommucore.Domain
	// Lazy gives unmapped ranges to per-CPU flush queues (IOMMU_DOMAIN_DMA_FQ) instead of invalidating at once.
	Lazy bool
	// Nodes and Magazines are the slab caches of struct iova and of magazines, shared by all domains of a kernel;
	// nil lets each domain make up addresses.
	Nodes, Magazines iova.Slab
	// Timers runs the flush queue's timer and the depots' trim work. Needed when Lazy.
	Timers *timer.Wheel
	// Reserved are IOVA ranges [first, last] in bytes that are never handed out: MSI window, PCI bridge windows.
	Reserved [][2]uint64
	// Tlb is where buffers of untrusted devices and small buffers of non-coherent ones bounce; nil is a kernel without.
	Tlb *swiotlb.Mem
}

// Cookie is struct iommu_dma_cookie: iommu-dma's state of one domain, of one or more devices.
type Cookie struct {
	env    *kernel.Env
	v      kernel.Version
	code   *code
	dom    *iommucore.Domain
	IOVA   *iova.Domain
	tlb    *swiotlb.Mem
	timers *timer.Wheel

	lazy    bool
	start   uint64 // fq_flush_start_cnt
	finish  uint64 // fq_flush_finish_cnt
	timerOn bool
	timer   timer.Timer
	queues  []queue
	at      cookieFields

	gathers []*iommucore.Gather // free ones
	segs    []iommucore.Segment // of the scatterlist being mapped
	Stats   Stats
}

// Stats counts what the domain did.
type Stats struct {
	Maps, Unmaps uint64
	Failures     uint64 // maps that returned DMA_MAPPING_ERROR
	NotMapped    uint64 // unmaps of an address that was not mapped: WARN, and the range leaks
	Queued       uint64 // unmaps that went to a flush queue
	Flushes      uint64 // flushes of the whole domain because a queue was full
	TimerFlushes uint64 // flushes of the whole domain by the timer
	Fallback64   uint64 // times the 32-bit preference of a device was given up
}

// cookieFields are addresses in struct iommu_dma_cookie, at the bytes of their lines that were recorded.
// Instructions like tzcnt with the granule in memory are emitted as a load with an ALU operation: what counts is the load.
type cookieFields struct {
	kind, granule, fq, start, finish, timerOn, fqDomain, qt, timeout uint64
}

// takeGather returns an empty gather that lies at va. Gathers are recycled, so that unmapping allocates nothing.
func (k *Cookie) takeGather(va uint64) *iommucore.Gather {
	var g *iommucore.Gather
	if n := len(k.gathers); n > 0 {
		g, k.gathers = k.gathers[n-1], k.gathers[:n-1]
	} else {
		g = new(iommucore.Gather)
	}
	g.Init(va)
	return g
}

func (k *Cookie) putGather(g *iommucore.Gather) { k.gathers = append(k.gathers, g) }

// New makes the cookie of a domain: iommu_get_dma_cookie and iommu_dma_init_domain. It sets the domain's Cookie.
func New(c Config) (*Cookie, error) {
	var bad []error
	if c.Env == nil || c.Domain == nil {
		return nil, errors.New("iommu-dma: an environment and a domain are needed")
	}
	if c.Lazy && c.Timers == nil {
		bad = append(bad, errors.New("lazy mode needs timers: without them ranges below a full queue are never freed"))
	}
	shift := uint(0)
	for c.Domain.PgsizeBitmap>>shift&1 == 0 && shift < 63 {
		shift++
	}
	v := c.Env.Version
	va := c.Env.Slab(512, 64)
	k := &Cookie{env: c.Env, v: v, code: codeOf(c.Env), dom: c.Domain, tlb: c.Tlb, timers: c.Timers, lazy: c.Lazy}
	iovad := va
	if v == kernel.V7_3 {
		k.at = cookieFields{granule: va + 32, fq: va + 144, start: va + 152, finish: va + 160, timerOn: va + 208,
			fqDomain: va + 216, qt: va + 224, timeout: va + 240}
		k.timer = timer.At(va + 168)
	} else {
		iovad = va + 8
		k.at = cookieFields{kind: va, granule: va + 40, fq: va + 136, start: va + 144, finish: va + 152, timerOn: va + 200,
			fqDomain: va + 224, qt: va + 232, timeout: va + 248}
		k.timer = timer.At(va + 160)
	}
	d, err := iova.New(iova.Config{Env: c.Env, Version: v, CPUs: c.Env.CPUs, VA: iovad, Shift: shift, Nodes: c.Nodes,
		Magazines: c.Magazines, Timers: c.Timers})
	if err != nil {
		bad = append(bad, err)
	} else {
		k.IOVA = d
		for _, r := range c.Reserved {
			if err := d.Reserve(r[0]>>shift, r[1]>>shift); err != nil {
				bad = append(bad, err)
			}
		}
	}
	if len(bad) > 0 {
		return nil, fmt.Errorf("iommu-dma: %w", errors.Join(bad...))
	}
	c.Domain.Cookie = va
	if c.Lazy {
		k.initQueues()
	}
	return k, nil
}

// Lazy reports whether unmapped ranges go through flush queues.
func (k *Cookie) Lazy() bool { return k.lazy }

// Domain returns the IOMMU domain.
func (k *Cookie) Domain() *iommucore.Domain { return k.dom }

var fnGetDomain = cpu.NewFunc("iommu_get_dma_domain", "drivers/iommu/iommu.c", 24)

// getDomain is iommu_get_dma_domain: device to group to default domain, two dependent loads.
func getDomain(t *cpu.Thread, dev *kernel.Device) cpu.Val {
	t.Call(fnGetDomain)
	t.Nop(2)
	g := t.Load(dev.At.IommuGroup, 0)
	d := t.Load(dev.At.Default, g)
	t.Ret()
	return d
}

// Layer is iommu-dma as the DMA API sees it: it finds a device's domain and maps there.
type Layer struct {
	cookies map[*kernel.Device]*Cookie
	dev     *kernel.Device // most recently used
	cookie  *Cookie
}

// NewLayer returns a layer without devices.
func NewLayer() *Layer { return &Layer{cookies: map[*kernel.Device]*Cookie{}} }

// Attach gives dev the domain of k, and makes iommu-dma the device's DMA operations.
func (l *Layer) Attach(dev *kernel.Device, k *Cookie) {
	l.cookies[dev] = k
	dev.IOMMU = true
	l.dev, l.cookie = nil, nil
}

// Of returns the cookie of dev's domain; it panics when the device was not attached.
func (l *Layer) Of(dev *kernel.Device) *Cookie {
	if l.dev != dev {
		k := l.cookies[dev]
		if k == nil {
			panic("iommudma: " + dev.String() + " has no domain")
		}
		l.dev, l.cookie = dev, k
	}
	return l.cookie
}

// Map maps size bytes of physical memory at phys for dev: iommu_dma_map_page (6.12; iommu_dma_map_resource with
// AttrMMIO) or iommu_dma_map_phys (7.3).
func (l *Layer) Map(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	k := l.Of(dev)
	addr, err := k.Map(t, dev, phys, size, dir, attrs)
	if err == nil {
		k.env.Buffer(kernel.BufferEvent{Device: dev, Addr: addr, Size: size, Dir: dir})
	}
	return addr, err
}

// Unmap undoes Map; size, dir and attrs must be those of the mapping.
func (l *Layer) Unmap(t *cpu.Thread, dev *kernel.Device, iova, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	k := l.Of(dev)
	k.Unmap(t, dev, iova, size, dir, attrs)
	k.env.Buffer(kernel.BufferEvent{Device: dev, Unmap: true, Addr: iova, Size: size, Dir: dir})
}

// prot is dma_info_to_prot.
func prot(dir kernel.Direction, coherent bool, attrs kernel.Attrs) iommucore.Prot {
	p := iommucore.Prot(0)
	if attrs&kernel.AttrMMIO != 0 {
		p |= iommucore.MMIO
	} else if coherent {
		p |= iommucore.Cache
	}
	switch dir {
	case kernel.Bidirectional:
		return p | iommucore.Read | iommucore.Write
	case kernel.ToDevice:
		return p | iommucore.Read
	case kernel.FromDevice:
		return p | iommucore.Write
	}
	return 0
}

// ErrNoIOVA says that no free range of I/O addresses was left below the device's limit.
var ErrNoIOVA = errors.New("no I/O virtual addresses left below the device's limit")
