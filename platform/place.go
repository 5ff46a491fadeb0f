package platform

import (
	"dmapath/cpu"
	"dmapath/kernel/dma"
	"dmapath/kernel/mm"
	"dmapath/sim"
)

// Thread returns a thread on CPU c inside process p. A process with several such threads executes on one CPU at a time.
func (m *Machine) Thread(p *sim.Proc, c int) *cpu.Thread {
	return cpu.NewThread(p, c, m.Cores[c], m.stream(stackTop(c)))
}

// Place returns the buffer at physical address pa of another machine in this one. Where that is not RAM here, or where the
// modelled kernel keeps its own objects or the swiotlb pool, it lies in another GiB at the same place (moved is true): the same
// address always goes to the same place.
func (m *Machine) Place(pa, size uint64) (b dma.Buffer, moved bool) {
	const step = 1 << 30
	at := pa
	for range m.ramTop>>18 + 1 {
		if m.placeable(at, size) {
			return dma.Buffer{Phys: at, Page: m.PageOf(at), Size: size}, at != pa
		}
		if at += step; at >= m.ramTop<<12 {
			at = at % step
		}
	}
	return dma.Buffer{}, true // larger than any piece of RAM
}

// placeable reports whether a buffer of size bytes at pa lies in RAM that the kernel does not keep for itself.
func (m *Machine) placeable(pa, size uint64) bool {
	end := pa + (size+pa&4095+4095)&^4095 - pa&4095
	i, ok := m.find(pa)
	if !ok || end < pa || end > m.ram[i].End() || pa < 256<<20 { // firmware, kernel image and early data
		return false
	}
	return !(pa < m.reserved[1] && end > m.reserved[0] || pa < m.bounceAt[1] && end > m.bounceAt[0])
}

// PlaceMMIO returns where device memory at pa of another machine lies here: in the 64-bit window, which has no struct pages.
func (m *Machine) PlaceMMIO(pa, size uint64) (at uint64, ok bool) {
	mem := &m.Spec.Memory
	base, n := uint64(mem.MMIOBase), uint64(mem.MMIOSize)
	if pa >= base && size <= n && pa-base <= n-size {
		return pa, true
	}
	off := pa % n
	if size > n {
		return 0, false
	}
	if off > n-size {
		off = (n - size) &^ 4095
	}
	return base + off, true
}

// RAMEnd returns the end of the highest RAM of s.
func (s *Spec) RAMEnd() uint64 {
	end := uint64(0)
	for _, r := range s.memoryMap() {
		if r.Kind == mm.RAM {
			end = max(end, r.End())
		}
	}
	return end
}
