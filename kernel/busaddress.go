package kernel

import "dmapath/cpu"

// Limit is min_not_zero(*dev->dma_mask, dev->bus_dma_limit): the highest bus address that d reaches.
func (d *Device) Limit() uint64 {
	if d.BusLimit != 0 && d.BusLimit < d.Mask {
		return d.BusLimit
	}
	return d.Mask
}

// Reaches is the comparison of dma_capable: the last byte of [addr, addr+size) is within reach.
func (d *Device) Reaches(addr, size uint64) bool {
	end := addr + size - 1
	return end >= addr && end <= d.Limit()
}

// BusAddress is phys_to_dma without the encryption bit. false: no entry of the range map contains phys.
func (d *Device) BusAddress(phys uint64) (addr uint64, ok bool) {
	if d.Ranges == nil {
		return phys, true
	}
	for _, r := range d.Ranges {
		if phys-r.CPU < r.Size {
			return phys - r.CPU + r.DMA, true
		}
	}
	return MappingError, false
}

// PhysAddress is dma_to_phys.
func (d *Device) PhysAddress(addr uint64) uint64 {
	for _, r := range d.Ranges {
		if addr-r.DMA < r.Size {
			return addr - r.DMA + r.CPU
		}
	}
	return addr
}

// rangeMap returns the address of the device's range map, 24 bytes per entry.
func (e *Env) rangeMap(d *Device) uint64 {
	if d.rangesVA == 0 {
		d.rangesVA = e.Slab(24*(len(d.Ranges)+1), 64)
	}
	return d.rangesVA
}

// WalkRanges emits the walk over dma_range_map that phys_to_dma makes when there is one, and returns the bus address. ranges produces
// the map's address.
func (e *Env) WalkRanges(t *cpu.Thread, d *Device, phys uint64, ranges cpu.Val) (uint64, bool) {
	addr, ok := d.BusAddress(phys)
	e.walkRanges(t, d, ranges, 0, func(r BusRange) bool { return phys-r.CPU < r.Size })
	return addr, ok
}

// WalkRangesBack is the walk of dma_to_phys.
func (e *Env) WalkRangesBack(t *cpu.Thread, d *Device, addr uint64, ranges cpu.Val) {
	e.walkRanges(t, d, ranges, 8, func(r BusRange) bool { return addr-r.DMA < r.Size })
}

// walkRanges emits the loop. from is the offset of the start that is compared, the other one is added.
func (e *Env) walkRanges(t *cpu.Thread, d *Device, ranges cpu.Val, from uint64, in func(BusRange) bool) {
	if d.Ranges == nil {
		return
	}
	va := e.rangeMap(d)
	top := t.Here()
	for i, r := range d.Ranges {
		at := va + uint64(i)*24
		size := t.Load(at+16, ranges)
		t.Branch(false, t.ALU(1, size))
		start := t.LoadOp(at+from, ranges, 0)
		hit := in(r)
		t.Branch(hit, t.ALU2(start, size))
		if hit {
			t.LoadOp(at+8-from, ranges, start)
			return
		}
		ranges = t.ALU(1, ranges)
		t.Jump()
		t.Back(top)
	}
}
