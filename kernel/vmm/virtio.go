package vmm

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu/virtiotable"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/sim"
)

const (
	fileViommu = "hw/virtio/virtio-iommu.c (QEMU)"
	fileVirtio = "hw/virtio/virtio.c (QEMU)"
)

var (
	virtioHandler = []stage{
		{cpu.NewFunc("virtio_pci_notify_write", "hw/virtio/virtio-pci.c (QEMU)", 300), 70, onDevice},
		{cpu.NewFunc("virtio_queue_notify", fileVirtio, 300), 80, onDevice},
		{cpu.NewFunc("virtio_iommu_handle_command", fileViommu, 900), 60, onDevice},
	}
	stPop       = stage{cpu.NewFunc("virtqueue_split_pop", fileVirtio, 1500), 520, onDevice}
	stPush      = stage{cpu.NewFunc("virtqueue_push", fileVirtio, 700), 260, onDevice}
	stSignal    = stage{cpu.NewFunc("virtio_notify", fileVirtio, 400), 140, onDevice}
	stRequest   = stage{cpu.NewFunc("iov_to_buf_full", "util/iov.c (QEMU)", 300), 110, onDevice}
	stAttach    = stage{cpu.NewFunc("virtio_iommu_attach", fileViommu, 900), 600, onDevice}
	stViommuMap = stage{cpu.NewFunc("virtio_iommu_map", fileViommu, 700), 240, onDevice}
	stViommuUn  = stage{cpu.NewFunc("virtio_iommu_unmap", fileViommu, 600), 150, onDevice}
	stNotify    = stage{cpu.NewFunc("memory_region_notify_iommu", fileMem, 500), 110, onDevice}
	fnTree      = cpu.NewFunc("g_tree_find_node", "glib/gtree.c", 200)
	fnInsert    = cpu.NewFunc("g_tree_insert_internal", "glib/gtree.c", 900)
	fnRemove    = cpu.NewFunc("g_tree_remove_internal", "glib/gtree.c", 900)
)

// VirtioWindow is the register window of the virtual virtio-iommu, and the device behind it: QEMU's, which has no thread of its own but is
// run by the virtual CPU that notifies.
type VirtioWindow struct {
	// Requests counts requests carried out, by type.
	Requests [virtiotable.Unmap + 1]uint64

	host    *Host
	base    uint64
	ram     []Range
	spare   *iommucore.Domain // of the host's, for the first device
	ring    virtiotable.Ring
	enabled bool
	last    uint16 // last_avail_idx
	used    uint16
	domains []*viommuDomain
	objects []uint64 // freed lines of mappings
}

// viommuDomain is VirtIOIOMMUDomain.
type viommuDomain struct {
	id      uint32
	bypass  bool
	shadows []*shadow
	maps    []interval // in the order of addresses: GTree mappings
}

// interval is a mapping of the guest's with the line of the tree's node.
type interval struct {
	first, last, phys uint64
	prot              iommucore.Prot
	va                uint64
}

var _ cpu.Exiter = (*VirtioWindow)(nil)

// NewVirtio returns a host and the register window of a virtio-iommu. The device's page sizes and addresses are those of the host's
// domains, as VFIO tells QEMU.
func NewVirtio(c Config) (*Host, *VirtioWindow, error) {
	h := newHost(c)
	d, err := c.Adapter.NewDomain(c.Levels)
	if err != nil {
		return nil, nil, err
	}
	return h, &VirtioWindow{host: h, base: c.Base, ram: c.RAM, spare: d}, nil
}

// newDomain returns a domain of the host's for a device's shadow.
func (w *VirtioWindow) newDomain() (*iommucore.Domain, error) {
	if d := w.spare; d != nil {
		w.spare = nil
		return d, nil
	}
	return w.host.adapter.NewDomain(w.host.levels)
}

// ReadReg is a read at boot, which costs nothing; afterwards accesses come through Exit.
func (w *VirtioWindow) ReadReg(addr uint64, now sim.Time) (uint64, sim.Time) {
	switch addr - w.base {
	case virtiotable.RegQueueSize:
		return virtiotable.QueueSize, now
	case virtiotable.RegPageSizes:
		return w.spare.PgsizeBitmap, now
	case virtiotable.RegInputStart:
		return 0, now
	case virtiotable.RegInputEnd:
		return w.spare.ApertureEnd, now
	}
	panic(fmt.Sprintf("vmm: read of register %#x of the virtio-iommu, which it does not have", addr-w.base))
}

// WriteReg is a write at boot.
func (w *VirtioWindow) WriteReg(addr, val uint64, _ sim.Time) {
	switch addr - w.base {
	case virtiotable.RegQueueDesc:
		w.ring.Desc = val
	case virtiotable.RegQueueDriver:
		w.ring.Avail = val
	case virtiotable.RegQueueDevice:
		w.ring.Used = val
	case virtiotable.RegQueueEnable:
		w.enabled = val != 0
	default:
		panic(fmt.Sprintf("vmm: write of register %#x of the virtio-iommu, which it does not have", addr-w.base))
	}
}

// Exit is a notification by the running guest.
func (w *VirtioWindow) Exit(t *cpu.Thread, va, val uint64, write bool) uint64 {
	if !write || va-w.base != virtiotable.RegNotify || !w.enabled {
		panic(fmt.Sprintf("vmm: the guest accesses register %#x of the virtio-iommu (enabled %v)", va-w.base, w.enabled))
	}
	var from sim.Mark
	if tl := t.Proc.Engine().Timeline; tl.On() {
		from = tl.Here(t.Proc)
	}
	w.host.handle(t, virtioHandler, func() { w.work(t, from) })
	return val
}

// show shows a request carried out since start by the CPU that runs t, and who notified.
func (w *VirtioWindow) show(t *cpu.Thread, q *virtiotable.Request, start sim.Time, from sim.Mark) {
	tl := t.Proc.Engine().Timeline
	if !tl.On() || start < tl.Start || t.Core == nil {
		return
	}
	s := tl.Slice(tl.Track(sim.Apart, "virtio-iommu requests", ""), requestNames[q.Type], start, t.Now(), sim.Addr("first", q.First), sim.Addr("last", q.Last),
		sim.Text("by", t.Proc.Name))
	tl.ArrowFrom("request submitted", from, s, start)
	tl.Signal(w.ring.UsedIdx(), s, t.Now())
}

var requestNames = [virtiotable.Unmap + 1]string{virtiotable.Attach: "ATTACH", virtiotable.Map: "MAP", virtiotable.Unmap: "UNMAP"}

// work is virtio_iommu_handle_command: every request that is available.
func (w *VirtioWindow) work(t *cpu.Thread, from sim.Mark) {
	h, m := w.host, w.host.env.Mem
	var q virtiotable.Request
	var start sim.Time
	for top, ok := t.Here(), false; ; {
		h.code(t, &stPop)
		t.Mem(cpu.Load, kernel.Virt(w.ring.AvailIdx()), 2, 0, 0)
		t.Sync()
		if ok {
			w.show(t, &q, start, from)
		}
		start = t.Now()
		empty := virtiotable.Read16(m, w.ring.AvailIdx()) == w.last
		t.Branch(empty, t.ALU(1, 0))
		if empty {
			return
		}
		at := w.ring.AvailAt(w.last)
		i := t.Mem(cpu.Load, kernel.Virt(at), 2, 0, 0)
		head := virtiotable.Read16(m, at)
		w.last++
		virtiotable.Write16(m, w.ring.AvailEvent(), w.last)
		t.Mem(cpu.Store, kernel.Virt(w.ring.AvailEvent()), 2, 0, 0)
		desc := virtiotable.ReadDesc(m, w.ring.Desc, int(head))
		d := h.loads(t, w.ring.Desc+uint64(head)*virtiotable.DescBytes, 2, i)
		var parts [2]virtiotable.Desc
		for i := range parts {
			parts[i] = virtiotable.ReadDesc(m, desc.Addr, i)
			h.loads(t, desc.Addr+uint64(i)*virtiotable.DescBytes, 2, d)
		}
		h.code(t, &stRequest)
		h.loads(t, parts[0].Addr, int(parts[0].Len+7)/8, 0)
		q, ok = virtiotable.DecodeRequest(m, parts[0].Addr)
		status := virtiotable.Unsupp
		if ok {
			w.Requests[q.Type]++
			status = w.request(t, &q)
		}
		virtiotable.Write32(m, parts[1].Addr, uint32(status))
		t.Mem(cpu.Store, kernel.Virt(parts[1].Addr), 4, 0, 0)
		h.code(t, &stPush)
		virtiotable.Write32(m, w.ring.UsedAt(w.used), uint32(head))
		virtiotable.Write32(m, w.ring.UsedAt(w.used)+4, virtiotable.TailBytes)
		t.Mem(cpu.Store, kernel.Virt(w.ring.UsedAt(w.used)), 4, 0, 0)
		t.Mem(cpu.Store, kernel.Virt(w.ring.UsedAt(w.used))+4, 4, 0, 0)
		w.used++
		virtiotable.Write16(m, w.ring.UsedIdx(), w.used)
		t.Mem(cpu.Store, kernel.Virt(w.ring.UsedIdx()), 2, 0, 0)
		h.code(t, &stSignal) // the driver wants no interrupt
		t.Back(top)
	}
}

// loads reads n words of guest memory.
func (h *Host) loads(t *cpu.Thread, pa uint64, n int, a cpu.Val) cpu.Val {
	v := a
	for i := range n {
		v = t.Load(kernel.Virt(pa)+uint64(i)*8, a)
		t.ALU(1, v)
	}
	return v
}

func (w *VirtioWindow) domain(id uint32) *viommuDomain {
	for _, d := range w.domains {
		if d.id == id {
			return d
		}
	}
	return nil
}

// request carries one out.
func (w *VirtioWindow) request(t *cpu.Thread, q *virtiotable.Request) virtiotable.Status {
	h := w.host
	t.ALU(8, 0)
	t.JumpInd(8, t.Last())
	d := w.domain(q.Domain)
	switch q.Type {
	case virtiotable.Attach:
		h.code(t, &stAttach)
		return w.attach(t, d, q)
	case virtiotable.Map:
		h.code(t, &stViommuMap)
		switch {
		case d == nil:
			return virtiotable.NoEntry
		case d.bypass || q.Last < q.First:
			return virtiotable.Invalid
		}
		return w.mapRange(t, d, q)
	case virtiotable.Unmap:
		h.code(t, &stViommuUn)
		switch {
		case d == nil:
			return virtiotable.NoEntry
		case d.bypass:
			return virtiotable.Invalid
		}
		return w.unmapRange(t, d, q.First, q.Last)
	}
	return virtiotable.Unsupp
}

// attach is virtio_iommu_attach: what the domain has mapped is replayed for the device, or all memory when it bypasses.
func (w *VirtioWindow) attach(t *cpu.Thread, d *viommuDomain, q *virtiotable.Request) virtiotable.Status {
	var s *shadow
	for _, x := range w.host.shadows {
		if uint32(x.rid) == q.Endpoint {
			s = x
		}
	}
	bypass := q.Flags&virtiotable.AttachBypass != 0
	switch {
	case s == nil:
		return virtiotable.NoEntry
	case d == nil:
		d = &viommuDomain{id: q.Domain, bypass: bypass}
		w.domains = append(w.domains, d)
	case d.bypass != bypass:
		return virtiotable.Invalid
	}
	d.shadows = append(d.shadows, s)
	if bypass {
		for _, r := range w.ram {
			s.add(t, page{r.Start, r.Bytes, r.Start, iommucore.Read | iommucore.Write})
		}
	}
	for _, i := range d.maps {
		w.each(t, i.first, i.last, func(first, bytes uint64) { s.add(t, page{first, bytes, i.phys + first - i.first, i.prot}) })
	}
	return virtiotable.OK
}

// search is a search in the balanced tree of a domain: the first mapping that does not end before first.
func (w *VirtioWindow) search(t *cpu.Thread, f *cpu.Func, d *viommuDomain, first uint64) int {
	t.Call(f)
	t.Nop(1)
	t.Push(3)
	lo, hi := 0, len(d.maps)
	for top := t.Here(); lo < hi; {
		mid := (lo + hi) / 2
		n := t.Load(d.maps[mid].va, t.Last())
		k := t.Load(d.maps[mid].va+8, n)
		t.ALU(9, k) // the comparison is a call through a pointer
		right := d.maps[mid].last < first
		t.Branch(right, t.Last())
		if right {
			lo = mid + 1
		} else {
			hi = mid
		}
		t.Loop(top, lo < hi, t.ALU(1, n))
	}
	t.Pop(3)
	t.Ret()
	return lo
}

// mapRange is virtio_iommu_map.
func (w *VirtioWindow) mapRange(t *cpu.Thread, d *viommuDomain, q *virtiotable.Request) virtiotable.Status {
	i := w.search(t, fnTree, d, q.First)
	if i < len(d.maps) && d.maps[i].first <= q.Last {
		return virtiotable.Invalid
	}
	n := interval{first: q.First, last: q.Last, phys: q.Phys}
	if l := len(w.objects); l > 0 {
		n.va, w.objects = w.objects[l-1], w.objects[:l-1]
	} else {
		n.va = w.host.env.Slab(64, 64)
	}
	if q.Flags&virtiotable.MapRead != 0 {
		n.prot |= iommucore.Read
	}
	if q.Flags&virtiotable.MapWrite != 0 {
		n.prot |= iommucore.Write
	}
	w.search(t, fnInsert, d, q.First)
	for off := uint64(0); off < 64; off += 8 {
		t.Store(n.va+off, 0, 0)
	}
	t.ALU(60, 0) // allocation of key, value and node; balance
	d.maps = append(d.maps, interval{})
	copy(d.maps[i+1:], d.maps[i:])
	d.maps[i] = n
	if q.Flags&virtiotable.MapMMIO != 0 {
		return virtiotable.OK // VFIO is not told of device memory
	}
	for _, s := range d.shadows {
		w.each(t, n.first, n.last, func(first, bytes uint64) { s.add(t, page{first, bytes, n.phys + first - n.first, n.prot}) })
	}
	return virtiotable.OK
}

// unmapRange is virtio_iommu_unmap: mappings that lie in the range as a whole.
func (w *VirtioWindow) unmapRange(t *cpu.Thread, d *viommuDomain, first, last uint64) virtiotable.Status {
	for {
		i := w.search(t, fnTree, d, first)
		if i == len(d.maps) || d.maps[i].first > last {
			return virtiotable.OK
		}
		n := d.maps[i]
		if n.first < first || n.last > last {
			return virtiotable.Range
		}
		for _, s := range d.shadows {
			w.each(t, n.first, n.last, func(first, bytes uint64) { s.drop(t, first, first+bytes-1) })
		}
		w.search(t, fnRemove, d, n.first)
		t.ALU(40, 0)
		t.Store(n.va, 0, 0)
		w.objects = append(w.objects, n.va)
		d.maps = append(d.maps[:i], d.maps[i+1:]...)
	}
}

// each calls notify for the aligned powers of two that make up a range, as virtio_iommu_notify_map_unmap does.
func (w *VirtioWindow) each(t *cpu.Thread, first, last uint64, notify func(first, bytes uint64)) {
	for at := first; at <= last; {
		bytes := at & -at
		for bytes == 0 || bytes > last-at+1 {
			if bytes == 0 {
				bytes = 1 << 63
			} else {
				bytes >>= 1
			}
		}
		w.host.code(t, &stNotify)
		notify(at, bytes)
		at += bytes
	}
}

// VirtioAdapter is a virtio-iommu guest's driver with the host below it.
type VirtioAdapter struct {
	iommucore.Adapter // the guest's
	Window            *VirtioWindow
}

var _ iommucore.Adapter = VirtioAdapter{}

// Enable turns on the real unit and then the virtual one.
func (a VirtioAdapter) Enable() {
	a.Window.host.adapter.Enable()
	a.Adapter.Enable()
}

// give gives the device to the guest, in a domain of the host's for its shadow.
func (a VirtioAdapter) give(rid uint16) error {
	own, err := a.Window.newDomain()
	if err != nil {
		return err
	}
	return a.Window.host.give(rid, own)
}

// Attach gives the device to the guest and attaches it to the guest's domain.
func (a VirtioAdapter) Attach(rid uint16, d *iommucore.Domain) error {
	if err := a.give(rid); err != nil {
		return err
	}
	return a.Adapter.Attach(rid, d)
}

// AttachPassthrough gives the device to the guest in a domain that bypasses: the host maps all the guest's memory.
func (a VirtioAdapter) AttachPassthrough(rid uint16) error {
	if err := a.give(rid); err != nil {
		return err
	}
	return a.Adapter.AttachPassthrough(rid)
}
