package virtioiommu

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu/virtiotable"
	"dmapath/kernel"
	"dmapath/kernel/mm"
)

// Unit is struct viommu_dev: the driver's side of one virtio-iommu device.
type Unit struct {
	Env *kernel.Env
	// Requests counts requests queued, Notifies writes of the notification register, Full how often the queue had no room.
	Requests, Notifies, Full uint64

	hw      cpu.MMIO
	regVA   uint64
	boot    Boot
	va      uint64 // struct viommu_dev
	sizes   uint64 // page_size_mask of the device
	last    uint64 // last I/O address
	lock    cpu.LockWord
	vq      queue
	pending int // requests on the list
	heads   []pendingRequest
	ids     uint32
	devices map[uint16]*Domain

	tail   uint64       // the last request on the list
	kmem   [3]*mm.Cache // kmalloc-32, -64, -96
	free   []*node
	sizeVA uint64 // kmalloc_size_index and the line of kmalloc_caches
}

// pendingRequest is struct viommu_request while it is in the queue.
type pendingRequest struct {
	va  uint64
	typ virtiotable.Type
}

// Boot runs body to its end on a thread of the boot CPU that takes no time: devices are attached by requests.
type Boot func(name string, body func(t *cpu.Thread)) error

// Config says what a Unit stands on.
type Config struct {
	Env  *kernel.Env
	HW   cpu.MMIO // the device's register window
	Regs uint64   // its virtual address
	MM   *mm.MM   // slab and page allocators
	Boot Boot
}

// Offsets in struct viommu_dev; estimates from the order of the declarations. The lock and the list share a line, the queue's pointer lies in
// the one before.
const (
	uQueue    = 112
	uLock     = 128
	uRequests = 136
	unitBytes = 256
)

// Kmalloc sizes of this driver.
const (
	kmalloc32 = iota
	kmalloc64
	kmalloc96
)

// NewUnit sets up the request queue of the device and reads its configuration (viommu_probe).
func NewUnit(c Config) (*Unit, error) {
	u := &Unit{Env: c.Env, hw: c.HW, regVA: c.Regs, boot: c.Boot, va: c.Env.Slab(unitBytes, 64), devices: map[uint16]*Domain{}}
	reg := func(off uint64) uint64 { v, _ := c.HW.ReadReg(c.Regs+off, 0); return v }
	u.sizes, u.last = reg(virtiotable.RegPageSizes), reg(virtiotable.RegInputEnd)
	if u.sizes&(4096-1) != 0 || u.sizes&4096 == 0 {
		return nil, fmt.Errorf("virtio-iommu at %#x: page sizes %#x; the kernel's pages of 4 KiB must be the smallest", c.Regs, u.sizes)
	}
	if n := reg(virtiotable.RegQueueSize); n != virtiotable.QueueSize {
		return nil, fmt.Errorf("virtio-iommu at %#x: a request queue of %d entries, want %d", c.Regs, n, virtiotable.QueueSize)
	}
	u.lock.VA, u.lock.Name = u.va+uLock, "viommu_dev.request_lock"
	for i, n := range []int{32, 64, 96} {
		u.kmem[i] = c.MM.NewCache(fmt.Sprintf("kmalloc-%d", n), n, 32)
	}
	u.sizeVA = c.Env.Data(128)
	u.heads = make([]pendingRequest, virtiotable.QueueSize)
	u.vq.init(c.Env)
	return u, nil
}

// Enable gives the device its queue (virtio_find_vqs, virtio_device_ready).
func (u *Unit) Enable() {
	w := func(off, val uint64) { u.hw.WriteReg(u.regVA+off, val, 0) }
	w(virtiotable.RegQueueDesc, u.vq.ring.Desc)
	w(virtiotable.RegQueueDriver, u.vq.ring.Avail)
	w(virtiotable.RegQueueDevice, u.vq.ring.Used)
	w(virtiotable.RegQueueEnable, 1)
}

// Attach makes the device with requester id rid use domain d (viommu_attach_dev): one request, at boot.
func (u *Unit) Attach(rid uint16, d *Domain) error {
	if d.u != u {
		return fmt.Errorf("attach of device %04x: the domain was made for another virtio-iommu", rid)
	}
	return u.attach(rid, d)
}

// AttachPassthrough makes the device with requester id rid use the guest's physical addresses: a domain with bypass
// (VIRTIO_IOMMU_F_BYPASS_CONFIG).
func (u *Unit) AttachPassthrough(rid uint16) error {
	u.ids++
	return u.attach(rid, &Domain{u: u, id: u.ids, bypass: true})
}

func (u *Unit) attach(rid uint16, d *Domain) error {
	if u.devices[rid] != nil {
		return fmt.Errorf("attach of device %04x: it has a domain, and detaching is not modelled", rid)
	}
	q := virtiotable.Request{Type: virtiotable.Attach, Domain: d.id, Endpoint: uint32(rid)}
	if d.bypass {
		q.Flags = virtiotable.AttachBypass
	}
	status := virtiotable.OK
	if err := u.boot("attach", func(t *cpu.Thread) { status = u.send(t, &q) }); err != nil {
		return err
	}
	if status != virtiotable.OK {
		return fmt.Errorf("attach of device %04x to domain %d: the virtio-iommu answers %v", rid, d.id, status)
	}
	u.devices[rid] = d
	d.endpoints++
	return nil
}
