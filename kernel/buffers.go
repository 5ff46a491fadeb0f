package kernel

// BufferEvent is a range of I/O addresses that a driver has got from iommu-dma, or given back: what it takes for mapped from then on, or for
// out of the device's reach.
type BufferEvent struct {
	Device *Device
	Unmap  bool
	Addr   uint64 // of the first byte
	Size   uint64
	Dir    Direction
}

// Buffer tells whoever listens by OnBuffer about one range; that costs no simulated time.
func (e *Env) Buffer(ev BufferEvent) {
	if e.OnBuffer != nil {
		e.OnBuffer(ev)
	}
}
