package virtiotable

// QueueSize is how many descriptors the request queue has: VIOMMU_DEFAULT_QUEUE_SIZE of QEMU.
const QueueSize = 256

// DescBytes is the size of a descriptor.
const DescBytes = 16

// Flags of a descriptor (2.7.5).
const (
	DescNext     = 1 // another follows
	DescWrite    = 2 // the device writes it
	DescIndirect = 4 // it points to a table of descriptors
)

// Registers of the device's window as QEMU lays them out: the common configuration, the device's own, and one word per queue that
// notifies. Only the request queue, number 0, is used.
const (
	RegQueueSize   = 0x18
	RegQueueEnable = 0x1c
	RegQueueDesc   = 0x20
	RegQueueDriver = 0x28
	RegQueueDevice = 0x30
	RegPageSizes   = 0x2000
	RegInputStart  = 0x2008
	RegInputEnd    = 0x2010
	RegNotify      = 0x3000
)

// Memory is simulated physical memory by 8-byte word.
type Memory interface {
	Read64(pa uint64) uint64
	Write64(pa, v uint64)
}

// Ring is a split virtqueue: physical addresses of its three parts.
type Ring struct{ Desc, Avail, Used uint64 }

// RingBytes is the memory of a queue with its parts behind each other, and ringAlign what the used ring is aligned to.
const (
	RingBytes = 3 * 4096
	ringAlign = 4096
)

// NewRing lays out a queue of QueueSize descriptors in RingBytes bytes at base, a multiple of a page.
func NewRing(base uint64) Ring {
	avail := base + QueueSize*DescBytes
	return Ring{Desc: base, Avail: avail, Used: avail + ringAlign}
}

// Desc is a descriptor.
type Desc struct {
	Addr  uint64
	Len   uint32
	Flags uint16
	Next  uint16
}

// WriteDesc writes descriptor i of a table at physical address table.
func WriteDesc(m Memory, table uint64, i int, d Desc) {
	at := table + uint64(i)*DescBytes
	m.Write64(at, d.Addr)
	m.Write64(at+8, uint64(d.Len)|uint64(d.Flags)<<32|uint64(d.Next)<<48)
}

// ReadDesc reads descriptor i of a table.
func ReadDesc(m Memory, table uint64, i int) Desc {
	at := table + uint64(i)*DescBytes
	w := m.Read64(at + 8)
	return Desc{Addr: m.Read64(at), Len: uint32(w), Flags: uint16(w >> 32), Next: uint16(w >> 48)}
}

// Addresses of the parts of the rings.

// AvailIdx is where the driver says how many buffers it has made available, modulo 2^16.
func (r *Ring) AvailIdx() uint64 { return r.Avail + 2 }

// AvailAt is the entry of the n-th buffer made available.
func (r *Ring) AvailAt(n uint16) uint64 { return r.Avail + 4 + uint64(n%QueueSize)*2 }

// UsedIdx is where the device says how many buffers it has used, modulo 2^16.
func (r *Ring) UsedIdx() uint64 { return r.Used + 2 }

// UsedAt is the entry of the n-th used buffer: its id and how many bytes were written.
func (r *Ring) UsedAt(n uint16) uint64 { return r.Used + 4 + uint64(n%QueueSize)*8 }

// AvailEvent is where the device says behind which buffer it wants to be notified (VIRTIO_F_EVENT_IDX).
func (r *Ring) AvailEvent() uint64 { return r.Used + 4 + QueueSize*8 }

// NeedsEvent is vring_need_event: a side that asked for event is to be told of the step from old to new.
func NeedsEvent(event, now, old uint16) bool { return now-event-1 < now-old }

// Read16 and Write16 access a 16-bit field, Write32 a 32-bit one; fields do not cross a word.
func Read16(m Memory, pa uint64) uint16 { return uint16(m.Read64(pa&^7) >> (pa & 7 * 8)) }

// Write16 writes a 16-bit field.
func Write16(m Memory, pa uint64, v uint16) { write(m, pa, uint64(v), 0xffff) }

// Read32 reads a 32-bit field.
func Read32(m Memory, pa uint64) uint32 { return uint32(m.Read64(pa&^7) >> (pa & 7 * 8)) }

// Write32 writes a 32-bit field.
func Write32(m Memory, pa uint64, v uint32) { write(m, pa, uint64(v), 0xffffffff) }

func write(m Memory, pa, v, mask uint64) {
	at, sh := pa&^7, pa&7*8
	m.Write64(at, m.Read64(at)&^(mask<<sh)|v<<sh)
}
