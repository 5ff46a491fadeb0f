package replay

import (
	"fmt"
	"math/bits"

	"dmapath/kernel"
	"dmapath/kernel/iova"
	"dmapath/workloads/ftrace"
)

// Counts is what became of a trace's events.
type Counts struct {
	Read    [ftrace.NumKinds]int64 // events by kind
	Maps    [NumHow]int64          // calls delivered
	Unmaps  [NumHow]int64
	Older   int64 // unmaps of mappings older than the trace, skipped
	Lost    int64 // mappings whose unmap the trace does not contain, ended when their addresses were mapped again
	Evicted int64 // mappings ended because MaxLive or MaxPieces was reached
	Failed  int64 // maps that failed on the traced machine, skipped
	Guessed int64 // links whose device was chosen among several
	Ruled   int64 // links joined by rule, because no unmap within Window showed their extent
	Live    int64 // mappings that were live at the end
	Crowded int64 // events of devices beyond the first 250, skipped
}

// Device is one device that the trace names.
type Device struct {
	Name       string
	Prediction *Prediction // nil until an iommu: event is known to be its
	maps       int64
	odd        bool // has mapped something other than whole sectors
}

// maxDevices is how many devices of a trace are looked at: each becomes a function on a bus of its own. Events of others are skipped; damaged lines
// may name any number.
const maxDevices = 250

// noDevice is the name for links of a trace that names no block device.
const noDevice = "(no dma event)"

// Tracker turns events into calls.
type Tracker struct {
	Counts  Counts
	Devices []*Device

	cpus   int // of the traced machine
	cores  int // of the simulated ones
	byName map[string]int
	win    window
	live   table
	ids    uint64
	emit   func(*Call) error
}

// NewTracker returns a tracker for a trace of a machine with cpus CPUs, replayed on machines with cores.
func NewTracker(cpus, cores int) *Tracker {
	return &Tracker{cpus: cpus, cores: cores, byName: map[string]int{}, live: newTable()}
}

// Live returns how many mappings are live.
func (tr *Tracker) Live() int { return tr.live.n }

// device returns the number of a device; ok is false when there are too many.
func (tr *Tracker) device(name string) (i int, ok bool) {
	if i, ok := tr.byName[name]; ok {
		return i, true
	}
	if len(tr.Devices) >= maxDevices && name != noDevice {
		return 0, false
	}
	tr.Devices = append(tr.Devices, &Device{Name: name})
	tr.byName[name] = len(tr.Devices) - 1
	return len(tr.Devices) - 1, true
}

// CPUError is an event of a CPU that the machine does not have.
type CPUError struct{ Line, CPU, CPUs int }

func (e CPUError) Error() string {
	return fmt.Sprintf("line %d is of CPU %d: the machine has %d CPUs (--cpus)", e.Line, e.CPU, e.CPUs)
}

// Event takes the next event of the trace.
func (tr *Tracker) Event(ev *ftrace.Event) error {
	if ev.CPU >= tr.cores {
		return CPUError{ev.Line, ev.CPU, tr.cores}
	}
	tr.Counts.Read[ev.Kind]++
	if ev.Kind == ftrace.IommuMap && ev.Size == 0 { // 7.3 traces a link that failed as one of no bytes
		tr.Counts.Failed++
		return nil
	}
	if tr.win.full() {
		if err := tr.oldest(); err != nil {
			return err
		}
	}
	dev := -1
	if ev.Device != "" {
		var ok bool
		if dev, ok = tr.device(ev.Device); !ok {
			tr.Counts.Crowded++
			return nil
		}
	}
	switch ev.Kind {
	case ftrace.IommuMap, ftrace.IommuUnmap:
		tr.win.pushLoose(ev)
	case ftrace.MapPage, ftrace.MapPhys:
		tr.mapped(ev, dev, Single)
	case ftrace.MapResource:
		tr.mapped(ev, dev, Resource)
	case ftrace.Alloc, ftrace.AllocPages:
		tr.mapped(ev, dev, Coherent)
	case ftrace.MapSG:
		tr.mappedSG(ev, dev)
	case ftrace.UnmapPage, ftrace.UnmapPhys, ftrace.UnmapResource:
		tr.unmapped(ev, dev)
	case ftrace.UnmapSG:
		it := tr.win.push(ev)
		it.owned, it.how, it.dev, it.hash = true, List, dev, hash(ev.SGPhys)
	}
	// A free of coherent memory is followed by its iommu:unmap, which finds the mapping by itself.
	return nil
}

// mapped finds what a map event tells the owner of.
func (tr *Tracker) mapped(ev *ftrace.Event, dev int, how How) {
	if ev.Addr == kernel.MappingError || how == Coherent && ev.Addr == 0 || ev.Size == 0 {
		tr.Counts.Failed++
		return
	}
	if ev.Attrs&kernel.AttrMMIO != 0 {
		how = Resource
	}
	it := tr.win.find(ftrace.IommuMap, ev)
	if it == nil {
		if how == Coherent { // dma-direct: nothing was mapped
			return
		}
		it = tr.win.push(ev)
		if tr.Devices[dev].Prediction != nil && how == Single {
			it.lostIOMMU()
		}
	}
	phys := ev.Phys
	if how == Coherent {
		phys = it.phys
	}
	it.owned, it.how, it.dev, it.addr, it.size, it.dir, it.attrs = true, how, dev, ev.Addr, ev.Size, ev.Dir, ev.Attrs
	it.runs = []Piece{{phys, ev.Size}}
	tr.Devices[dev].maps++
	if how == Single && ev.Size%512 != 0 {
		tr.Devices[dev].odd = true
	}
}

func (tr *Tracker) mappedSG(ev *ftrace.Event, dev int) {
	if len(ev.SGAddrs) == 0 || len(ev.SGPhys) == 0 || ev.Size == 0 {
		tr.Counts.Failed++
		return
	}
	last := len(ev.SGAddrs) - 1
	parts := tr.win.list(ev.CPU, ev.SGAddrs[0]&^4095, ev.SGAddrs[last]+ev.SGSizes[last], ev.Truncated)
	var it *item
	if len(parts) > 0 {
		it = parts[0]
		it.size = 0
		for _, p := range parts {
			it.runs = append(it.runs, Piece{p.phys, p.hi - p.lo})
			it.hi, it.size = p.hi, it.size+p.hi-p.lo
			if p != it {
				p.gone = true
				it.recs = append(it.recs, p.recs...)
			}
		}
		if len(ev.SGSizes) == 1 && !ev.Truncated {
			it.trim(ev)
		}
	} else {
		it = tr.win.push(ev)
		it.runs = directRuns(ev)
	}
	it.owned, it.how, it.dev, it.addr, it.dir, it.attrs, it.hash = true, List, dev, ev.Addr, ev.Dir, ev.Attrs, hash(ev.SGPhys)
	tr.Devices[dev].maps++
}

// trim takes from the pages that were mapped for a list what its first and last entry leave unused of theirs: the list is one DMA segment.
func (it *item) trim(ev *ftrace.Event) {
	head := ev.Addr & 4095
	tail := it.size - head - ev.Size
	last := &it.runs[len(it.runs)-1]
	if head+ev.Size > it.size || head >= it.runs[0].Size || tail >= last.Size || tail >= 4096 {
		return // not what such a list looks like
	}
	it.runs[0].Phys, it.runs[0].Size = it.runs[0].Phys+head, it.runs[0].Size-head
	last.Size -= tail
	it.size = ev.Size
}

// directRuns are the pieces of a list behind which there is no iommu:map: without translation every entry is a segment. Where
// they differ in number (a merging IOMMU whose events are off) the list is taken as one piece.
func directRuns(ev *ftrace.Event) []Piece {
	if len(ev.SGPhys) != len(ev.SGSizes) {
		return []Piece{{ev.SGPhys[0], ev.Size}}
	}
	var rs []Piece
	for i, p := range ev.SGPhys {
		if n := len(rs); n > 0 && rs[n-1].Phys+rs[n-1].Size == p {
			rs[n-1].Size += ev.SGSizes[i]
			continue
		}
		rs = append(rs, Piece{p, ev.SGSizes[i]})
	}
	return rs
}

func (tr *Tracker) unmapped(ev *ftrace.Event, dev int) {
	it := tr.win.find(ftrace.IommuUnmap, ev)
	if it == nil {
		it = tr.win.push(ev)
		if tr.Devices[dev].Prediction != nil && ev.Kind != ftrace.UnmapResource {
			it.lostIOMMU()
			it.kind = ftrace.IommuUnmap
		}
	}
	it.owned, it.dev, it.addr = true, dev, ev.Addr
}

// hash is FNV-1a over a list of addresses.
func hash(list []uint64) uint64 {
	h := uint64(14695981039346656037)
	for _, v := range list {
		for range 8 {
			h = (h ^ v&0xff) * 1099511628211
			v >>= 8
		}
	}
	return h
}

// Flush delivers what is held back; the trace has ended.
func (tr *Tracker) Flush() error {
	for tr.win.head != tr.win.tail {
		if err := tr.oldest(); err != nil {
			return err
		}
	}
	tr.Counts.Live = int64(tr.live.n)
	return nil
}

// oldest decides the oldest event and delivers its call.
func (tr *Tracker) oldest() error {
	it := tr.win.at(tr.win.head)
	defer tr.win.pop()
	switch {
	case it.gone:
		return nil
	case it.kind == ftrace.IommuUnmap:
		return tr.iommuUnmap(it)
	case it.kind == ftrace.UnmapSG:
		return tr.unmapSG(it)
	case it.kind.IsUnmap():
		return tr.directUnmap(it)
	case !it.owned:
		if u := tr.win.unmapOf(func(dev int) bool { return tr.live.find(dev, it.lo) != nil }); u != nil {
			// Not a link: the trace lost its dma: event.
			it.owned, it.how, it.dev, it.addr, it.dir = true, Single, u.dev, it.lo, u.dir
			it.runs = []Piece{{it.phys, it.size}}
		} else {
			tr.link(it)
		}
	}
	return tr.doMap(it)
}

// linkMost is how long a linked request can be when its unmap does not show it: dma_opt_mapping_size with an IOMMU.
const linkMost = 128 << 10

// link gathers the links of one allocation.
func (tr *Tracker) link(it *item) {
	w := &tr.win
	it.how, it.dir = Link, kernel.Bidirectional
	lo, hi := it.lo, uint64(0)
	end := w.tail
	for seq := w.head + 1; seq < w.tail; seq++ {
		u := w.at(seq)
		if u.kind == ftrace.IommuUnmap && !u.owned && u.lo <= lo && u.hi >= it.hi {
			lo, hi, end = u.lo, u.hi, seq
			break
		}
	}
	it.runs = []Piece{{it.phys, it.hi - it.lo}}
	ruled := hi == 0
	if ruled {
		hi = lo + linkMost
		end = min(end, w.head+Window/4)
	}
	for seq := w.head + 1; seq < end && it.hi < hi; seq++ {
		p := w.at(seq)
		if p.kind != ftrace.IommuMap || p.owned || p.gone || p.lo != it.hi || p.hi > hi || ruled && p.pid != it.pid {
			continue
		}
		if ruled {
			if n := p.hi - it.lo; it.lo&(1<<bits.Len64(n-1)-1) != 0 {
				break // an allocation of that size would be aligned to it
			}
			tr.Counts.Ruled++
		}
		it.runs = append(it.runs, Piece{p.phys, p.hi - p.lo})
		it.recs = append(it.recs, p.recs...)
		it.hi = p.hi
		p.gone = true
	}
	it.lo, it.size = lo, it.hi-lo
	if !ruled {
		it.hi, it.size = hi, hi-lo
	}
	it.dev = tr.blockDevice(it)
}

// blockDevice guesses whose a link is; see the package comment.
func (tr *Tracker) blockDevice(it *item) int {
	best, free, n := -1, -1, 0
	for i, d := range tr.Devices {
		if d.odd || d.maps == 0 || d.Name == noDevice {
			continue
		}
		n++
		if best < 0 || d.maps > tr.Devices[best].maps {
			best = i
		}
	}
	switch {
	case n == 0:
		i, _ := tr.device(noDevice)
		return i
	case n == 1:
		return best
	}
	tr.Counts.Guessed++
	for i, d := range tr.Devices {
		if d.odd || d.maps == 0 || d.Name == noDevice || tr.live.find(i, it.lo) != nil {
			continue
		}
		if d.Prediction != nil && d.Prediction.names(it.at, it.cpu, it.lo, it.hi) {
			return i
		}
		if free < 0 || d.maps > tr.Devices[free].maps {
			free = i
		}
	}
	if free >= 0 {
		return free
	}
	return best
}

// prediction returns the predictor of a device.
func (tr *Tracker) prediction(dev int) *Prediction {
	d := tr.Devices[dev]
	if d.Prediction == nil {
		d.Prediction = newPrediction(tr.cpus)
	}
	return d.Prediction
}

func (tr *Tracker) doMap(it *item) error {
	lo := it.lo
	if !it.iommu {
		lo = it.addr
	}
	if m := tr.live.find(it.dev, lo); m != nil && it.iommu {
		tr.Counts.Lost++
		if err := tr.end(m, it, true); err != nil {
			return err
		}
	}
	for tr.live.n >= MaxLive || tr.live.n > 0 && tr.live.pieces+len(it.runs) > MaxPieces {
		tr.Counts.Evicted++
		if err := tr.end(tr.live.old, it, true); err != nil {
			return err
		}
	}
	var verdict iova.Verdict
	if it.iommu {
		verdict = tr.prediction(it.dev).alloc(it.at, it.cpu, it.lo, it.hi)
	}
	tr.ids++
	m := &mapping{id: tr.ids, dev: it.dev, how: it.how, iommu: it.iommu, lo: lo, hi: it.hi, cpu: it.cpu, size: it.size, dir: it.dir,
		attrs: it.attrs, hash: it.hash, runs: it.runs, block: !tr.Devices[it.dev].odd}
	tr.live.add(m)
	tr.Counts.Maps[it.how]++
	return tr.emit(&Call{How: it.how, Unmeasured: it.how == Coherent, Device: it.dev, CPU: it.cpu, At: it.at, ID: m.id, Size: it.size, Dir: it.dir,
		Attrs: it.attrs, Runs: it.runs, Recorded: it.recs, Verdict: verdict, Block: !tr.Devices[it.dev].odd})
}

// end delivers the unmap of m at the time and on the CPU of it, and forgets m.
func (tr *Tracker) end(m *mapping, it *item, unmeasured bool) error {
	tr.live.remove(m)
	if m.ending {
		return nil
	}
	var recs []kernel.IOMMUEvent
	if it.kind == ftrace.IommuUnmap {
		recs = it.recs
	}
	return tr.unmapCall(m, it, unmeasured, recs)
}

func (tr *Tracker) unmapCall(m *mapping, it *item, unmeasured bool, recs []kernel.IOMMUEvent) error {
	if !unmeasured {
		tr.Counts.Unmaps[m.how]++
	}
	return tr.emit(&Call{Unmap: true, How: m.how, Unmeasured: unmeasured || m.how == Coherent, Device: m.dev, CPU: it.cpu, At: it.at, ID: m.id,
		Size: m.size, Dir: m.dir, Attrs: m.attrs, Runs: m.runs, MapCPU: m.cpu, Recorded: recs, Block: m.block})
}

// iommuUnmap ends the mapping that an iommu:unmap is of.
func (tr *Tracker) iommuUnmap(it *item) error {
	var m *mapping
	if it.owned {
		m = tr.live.find(it.dev, it.lo)
	} else {
		// A list whose dma_unmap_sg came before, a link, or coherent memory.
		rank := 0
		for i := range tr.Devices {
			c := tr.live.find(i, it.lo)
			if c == nil {
				continue
			}
			r := 1
			switch {
			case c.ending:
				r = 4
			case c.how == Link && c.hi == it.hi:
				r = 3
			case c.how == Link || c.how == Coherent:
				r = 2
			}
			if r > rank {
				m, rank = c, r
			}
		}
	}
	if m == nil {
		tr.Counts.Older++
		if !it.owned {
			it.dev = tr.blockDevice(it)
		}
		tr.prediction(it.dev).free(it.at, it.cpu, it.lo, it.hi, !it.owned)
		return nil
	}
	err := tr.end(m, it, false)
	tr.prediction(m.dev).free(it.at, it.cpu, it.lo, it.hi, m.how == Link)
	return err
}

// unmapSG performs dma_unmap_sg. With an IOMMU the iommu:unmap that follows frees the addresses.
func (tr *Tracker) unmapSG(it *item) error {
	m := tr.live.findSG(it.dev, it.hash)
	if m == nil {
		// Its iommu:unmap, if there is one, is counted as older than the trace.
		if !tr.unmapAhead(it) {
			tr.Counts.Older++
		}
		return nil
	}
	if !m.iommu {
		return tr.end(m, it, false)
	}
	m.ending = true
	var recs []kernel.IOMMUEvent
	if u := tr.win.ahead(it.cpu, m.lo); u != nil {
		recs = u.recs
	}
	return tr.unmapCall(m, it, false, recs)
}

// unmapAhead reports whether an undecided iommu:unmap of the same CPU follows it.
func (tr *Tracker) unmapAhead(it *item) bool {
	if it.cpu >= len(tr.win.loose) {
		return false
	}
	for _, seq := range tr.win.loose[it.cpu] {
		if u := tr.win.at(seq); seq > tr.win.head && u.kind == ftrace.IommuUnmap && !u.owned {
			return u.at-it.at < 1_000_000_000 // within a millisecond
		}
	}
	return false
}

// directUnmap ends a mapping without iommu: events.
func (tr *Tracker) directUnmap(it *item) error {
	m := tr.live.find(it.dev, it.addr)
	if m == nil {
		m = tr.live.find(it.dev, it.addr&^4095)
	}
	if m == nil {
		tr.Counts.Older++
		return nil
	}
	return tr.end(m, it, false)
}
