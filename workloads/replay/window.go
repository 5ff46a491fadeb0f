package replay

import (
	"dmapath/kernel"
	"dmapath/sim"
	"dmapath/workloads/ftrace"
)

// Window is how many events are held back until what belongs together is known. Between an iommu:map and the event that
// names its owner lie interrupts and the other CPUs' events; between a link and its unmap lies the time of an I/O.
const Window = 4096

// lookBack is how many undecided events of one CPU are looked through for the one that a dma: event belongs to: the maps of
// requests that are being linked, and what an interrupt left open.
const lookBack = 256

// item is an event that is held back, with what later events told about it.
type item struct {
	kind  ftrace.Kind
	cpu   int
	pid   int
	at    sim.Time
	lo    uint64 // first IOVA, or the DMA address where no iommu: event shows it
	hi    uint64
	phys  uint64
	owned bool // a dma: event has been found; what follows is from it
	gone  bool // part of an item before it
	iommu bool // an iommu: event stands behind it
	how   How
	dev   int
	addr  uint64
	size  uint64
	dir   kernel.Direction
	attrs kernel.Attrs
	runs  []Piece
	hash  uint64 // scatterlists: of the physical addresses
}

// window is the items held back, oldest first.
type window struct {
	ring       [Window]item
	head, tail uint64
	loose      [][]uint64 // by CPU: iommu:map and iommu:unmap items without owner, oldest first
}

func (w *window) at(seq uint64) *item { return &w.ring[seq%Window] }
func (w *window) full() bool          { return w.tail-w.head == Window }

// push appends an empty item; the window must not be full.
func (w *window) push(ev *ftrace.Event) *item {
	it := w.at(w.tail)
	*it = item{kind: ev.Kind, cpu: ev.CPU, pid: ev.PID, at: ev.Time, lo: ev.Addr, hi: ev.Addr + ev.Size, phys: ev.Phys,
		size: ev.Size, dir: ev.Dir, attrs: ev.Attrs, dev: -1}
	w.tail++
	return it
}

// pushLoose appends an iommu: event, whose owner comes later or never.
func (w *window) pushLoose(ev *ftrace.Event) {
	it := w.push(ev)
	it.hi, it.iommu = ev.End, true
	for len(w.loose) <= ev.CPU {
		w.loose = append(w.loose, nil)
	}
	w.loose[ev.CPU] = append(w.loose[ev.CPU], w.tail-1)
}

// find returns the newest undecided event of kind k on CPU c whose range contains addr, nil when there is none. It is taken out
// of the list.
func (w *window) find(c int, k ftrace.Kind, addr uint64) *item {
	if c >= len(w.loose) {
		return nil
	}
	l := w.loose[c]
	for i, n := len(l)-1, 0; i >= 0 && n < lookBack && l[i] >= w.head; i, n = i-1, n+1 {
		it := w.at(l[i])
		if it.kind == k && !it.owned && !it.gone && it.lo <= addr && addr < it.hi {
			w.loose[c] = append(l[:i], l[i+1:]...)
			return it
		}
	}
	return nil
}

// list returns the undecided maps of CPU c that tile IOVAs from lo to hi at least, oldest first, and takes them out. It goes on
// beyond hi while the ranges are contiguous when more is set: the kernel prints 128 elements of a longer list.
func (w *window) list(c int, lo, hi uint64, more bool) (parts []*item) {
	if c >= len(w.loose) {
		return nil
	}
	l := w.loose[c]
	first := len(l)
	for i, n := len(l)-1, 0; i >= 0 && n < 4*lookBack && l[i] >= w.head; i, n = i-1, n+1 {
		if it := w.at(l[i]); it.kind == ftrace.IommuMap && !it.owned && !it.gone && it.lo == lo {
			first = i
			break
		}
	}
	rest := l[:first]
	for _, seq := range l[first:] {
		it := w.at(seq)
		if it.kind == ftrace.IommuMap && it.lo == lo && (it.lo < hi || more) {
			parts = append(parts, it)
			lo = it.hi
			continue
		}
		rest = append(rest, seq)
	}
	w.loose[c] = rest
	return parts
}

// pop removes the oldest item.
func (w *window) pop() {
	it := w.at(w.head)
	if it.iommu {
		l := w.loose[it.cpu]
		for len(l) > 0 && l[0] <= w.head {
			l = l[1:]
		}
		if len(l) == 0 {
			l = nil // let go of the array that the list has moved through
		}
		w.loose[it.cpu] = l
	}
	w.head++
}
