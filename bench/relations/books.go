package relations

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"dmapath/bench"
	"dmapath/cpu"
	"dmapath/iommu"
	"dmapath/pcie"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// Laws are the statements of conservation, by the name under which a Mistake reports them.
var Laws = []struct{ Name, Says string }{
	{"calls", "every map has its unmap: what is mapped at the end is what the workload keeps mapped"},
	{"iova", "ranges allocated are ranges in use, in magazines and depots, or waiting for a flush; at the end, those in use"},
	{"bounce", "slots of the bounce pool that are taken belong to mappings"},
	{"bytes", "bytes of completed operations are bytes that the device moved"},
	{"packets", "packets sent are packets that a request, an answer, an interrupt or a register access accounts for"},
	{"payload", "payload on the link is what was read and written, in whole doublewords"},
	{"credits", "tags, credits and buffers are all back at the end"},
	{"events", "after the end, what is pending happens, nobody waits for what cannot happen, and then nothing is left"},
	{"cycles", "cycles of functions sum to the cycles of the account, their causes do not exceed them, and accounts sum to the calls"},
	{"instructions", "instructions retired are those that the calls emitted"},
	{"levels", "accesses of each cache are hits, misses and merges; reads of DRAM are row hits, misses and conflicts"},
	{"translations", "requests to the IOMMU are hits, merges, walks and what needed none; table reads are those of walks"},
	{"faults", "the device met no fault and a debug option found no mistake of the driver"},
}

// books are the counts of a machine when a workload begins.
type books struct {
	x      *bench.Experiment
	m      *platform.Machine
	d      *platform.Device
	ranges int // IOVA ranges in use
	slots  int // of the bounce pool
	port   pcie.Stats
	up     pcie.Link
	down   pcie.Link
	wrong  []Mistake
}

// open notes where things stand.
func open(x *bench.Experiment, m *platform.Machine, d *platform.Device) *books {
	return &books{x: x, m: m, d: d, ranges: inUse(d), slots: m.Tlb.Used(), port: d.Port.Stats(), up: *d.Port.Up, down: *d.Port.Down}
}

// inUse counts IOVA ranges that are neither cached nor waiting for a flush.
func inUse(d *platform.Device) (n int) {
	if d.Cookie == nil {
		return 0
	}
	d.Cookie.IOVA.Allocated(func(_, _ uint64) { n++ })
	d.Cookie.IOVA.EachCached(func(int, uint64) { n-- })
	for c := range d.Ctx.Env.CPUs {
		n -= d.Cookie.Waiting(c)
	}
	return n
}

func (b *books) expect(law, what string, got, want any) {
	if got != want {
		b.wrong = append(b.wrong, Mistake{law, fmt.Sprintf("%s: %v, expected %v", what, got, want)})
	}
}

func (b *books) atMost(law, what string, got, limit int64) {
	if got > limit {
		b.wrong = append(b.wrong, Mistake{law, fmt.Sprintf("%s: %d, expected at most %d", what, got, limit)})
	}
}

// close checks everything when the workload has ended and says what is wrong.
func (b *books) close(r *workloads.Result) []Mistake {
	b.accounts(r)
	b.debugged()
	b.link()
	b.translations()
	if err := b.m.Hier.Stats().Check(); err != nil {
		b.wrong = append(b.wrong, Mistake{"levels", err.Error()})
	}
	b.mappings(r)
	b.bytes(r)
	b.pairs(r)
	b.rest()
	return b.wrong
}

// accounts checks what the calls cost.
func (b *books) accounts(r *workloads.Result) {
	for _, o := range []struct {
		name string
		*workloads.Op
	}{{"map", r.Map}, {"unmap", r.Unmap}, {"sync", r.Sync}, {"setup", r.Setup}, {"teardown", r.Teardown}} {
		if o.Op == nil {
			continue
		}
		t := o.Acct.Total()
		b.expect("cycles", o.name+", functions", t.Cycles, o.Acct.Cycles)
		for i := range o.Acct.Fn {
			if f := &o.Acct.Fn[i]; f.Retiring() < 0 {
				b.expect("cycles", fmt.Sprintf("%s, cycles of %s in which something retired", o.name, cpu.FuncByID(uint16(i)).Name), f.Retiring(), int64(0))
			}
		}
		sum := int64(o.Cycles.Sum())
		if o.UnderWay() > 0 { // what they have executed so far is in the account only
			b.atMost("instructions", o.name, o.Instr, t.Instructions())
			continue
		}
		b.expect("instructions", o.name, t.Instructions(), o.Instr)
		if b.d.Cookie != nil && b.d.Cookie.Stats.TimerFlushes > 0 { // the timer's function took the CPU away from calls, for which no account is theirs
			b.atMost("cycles", fmt.Sprintf("%s, %d calls", o.name, o.N), o.Acct.Cycles, sum)
		} else {
			b.expect("cycles", fmt.Sprintf("%s, %d calls", o.name, o.N), sum, o.Acct.Cycles)
		}
		b.expect("cycles", o.name+", calls of the series", int64(o.Cycles.N), o.N)
	}
	for _, u := range r.Units {
		b.expect("calls", u.Name+", costs of operations", u.Instr.N, u.Cycles.N)
	}
	b.expect("faults", "transactions refused", r.Faults, int64(0))
}

// debugged checks what the kernel's own option found.
func (b *books) debugged() {
	if d := b.d.Ctx.Debug; d != nil {
		s := d.Stats
		b.expect("faults", "DMA_API_DEBUG", s.NotMapped+s.WrongSize+s.WrongKind+s.WrongDirection, int64(0))
	}
}

// link checks what the device's link carried.
func (b *books) link() {
	p, s, o := b.d.Port, b.d.Port.Stats(), b.port
	reads, writes := s.ReadRequests-o.ReadRequests, s.WriteRequests-o.WriteRequests
	irqs, regs, bells := s.Interrupts-o.Interrupts, s.RegisterReads-o.RegisterReads, s.Doorbells-o.Doorbells
	asked, invs := s.TranslationRequests-o.TranslationRequests, s.Invalidations-o.Invalidations
	b.expect("packets", "upstream", p.Up.Packets-b.up.Packets, reads+writes+irqs+regs+asked+invs)
	if s.Aborts == o.Aborts {
		b.expect("packets", "downstream", p.Down.Packets-b.down.Packets, s.Completions-o.Completions+bells+regs+asked+invs)
	}
	up := int64(p.Up.Payload - b.up.Payload - 4*irqs - 4*regs)
	written := int64(s.WriteBytes - o.WriteBytes)
	b.atMost("payload", "bytes written", written, up)
	b.atMost("payload", "doublewords written", up, written+6*int64(writes))
	b.expect("payload", "a multiple of 4 B", up%4, int64(0))
	down := int64(p.Down.Payload - b.down.Payload - 4*bells - 8*asked - 8*invs)
	read := int64(s.ReadBytes - o.ReadBytes)
	b.atMost("payload", "bytes read", read, down)
	b.atMost("payload", "doublewords read", down, read+6*int64(s.Completions-o.Completions))
	for _, l := range []*pcie.Link{p.Up, p.Down} {
		least := l.Bytes - l.Payload
		b.atMost("packets", l.Name+", framing and headers", int64(20*l.Packets), int64(least))
		b.atMost("packets", l.Name+", framing and headers", int64(least), int64(28*l.Packets))
	}
}

// translations checks the counts of the IOMMU.
func (b *books) translations() {
	if b.m.Unit == nil {
		return
	}
	s := b.m.Unit.Statistics()
	b.expect("translations", "requests", s.Requests, s.Untranslated+s.PassThrough+s.Hits+s.Merges+s.Walks+s.LookupFaults)
	b.expect("translations", "hits by size", s.HitsBySize[0]+s.HitsBySize[1]+s.HitsBySize[2], s.Hits)
	var reads, shortened uint64
	for _, n := range s.PTEReads {
		reads += n
	}
	for _, n := range s.PagingHits {
		shortened += n
	}
	b.expect("translations", "walks by where they began", shortened+s.FullWalks, s.Walks+s.SecondWalks)
	b.expect("translations", "walks timed", s.WalkTimes.N, s.Walks)
	if s.Faults == 0 {
		b.atMost("translations", "walks, of a table read each at least", int64(s.Walks+s.SecondWalks), int64(reads))
	}
	b.atMost("translations", "table reads", int64(reads), int64(iommu.MaxLevels*(s.Walks+s.SecondWalks)))
	b.expect("translations", "status words", s.StatusWrites <= s.Waits, true)
}

// mappings checks what is still mapped.
func (b *books) mappings(r *workloads.Result) {
	kept, size := b.keeps()
	if kept < 0 {
		return
	}
	if b.d.Cookie != nil {
		b.expect("iova", "ranges in use", inUse(b.d), b.ranges+kept+b.d.CoherentAreas())
	}
	if used := b.m.Tlb.Used() - b.slots; used != 0 { // either all of them bounce or none
		b.expect("bounce", "slots", used, kept*((size+slotBytes-1)/slotBytes))
	}
}

// bytes checks that payload is the same at the driver, in the device and on the link.
func (b *books) bytes(r *workloads.Result) {
	s, o := b.d.Port.Stats(), b.port
	read, written := int64(s.ReadBytes-o.ReadBytes), int64(s.WriteBytes-o.WriteBytes)
	switch b.x.Workloads[0] {
	case "nvme": // beside the data an entry of 64 B is read and one of 16 B written for each command, and lists of 8 or 16 B an entry
		b.expect("bytes", "moved by the device", r.Moved, r.Bytes)
		rest := read + written - r.Moved - 80*r.Requests
		b.atMost("bytes", "completed, and the entries of commands", r.Moved+80*r.Requests, read+written)
		b.expect("bytes", "lists, a multiple of 8 B", rest%8, int64(0))
	case "nic": // a descriptor of 16 B is written back for every frame
		b.expect("bytes", "written by the device", written, r.Bytes+16*(r.IOs+int64(r.Units[1].Cycles.N)))
	case "dma-probe":
		window := int64(0)
		if b.x.Probe.State == "device" {
			window = int64(sizeOf(b.x.Probe.Window))
		}
		for _, c := range []struct {
			not string
			got int64
			add int64
		}{{"write", read, 0}, {"read", written, window}} {
			want := r.Bytes
			if b.x.Probe.Access == c.not {
				want = 0
			}
			b.expect("bytes", "moved other than "+c.not, c.got, want+c.add)
		}
	case "map-benchmark":
		b.expect("bytes", "moved without a device", read+written, int64(0))
	}
}

// pairs checks that calls come in pairs.
func (b *books) pairs(r *workloads.Result) {
	c := &r.Calls
	for _, p := range [][2]workloads.Call{{workloads.CallMapSG, workloads.CallUnmapSG}, {workloads.CallAlloc, workloads.CallDestroy}} {
		if p[1] == workloads.CallDestroy && c[p[0]] > c[p[1]] {
			continue // try_alloc may decline
		}
		b.expect("calls", fmt.Sprintf("%v for %v", p[1], p[0]), c[p[1]], c[p[0]])
	}
	switch {
	case b.x.Workloads[0] == "map-benchmark":
		b.expect("calls", "unmaps", r.Unmap.Series.N, r.Map.Series.N)
		b.expect("calls", "maps of completed rounds", int64(r.Map.Series.N), r.IOs)
	case b.x.Workloads[0] == "nvme":
		if c[workloads.CallUnmap] != 0 || b.d.Cookie != nil || !strings.HasPrefix(b.x.Variants[0], "driver@7.3") { // else dma_need_unmap says no
			b.expect("calls", "unmap", c[workloads.CallUnmap], c[workloads.CallMap])
		}
		b.expect("calls", "operations completed", r.IOs, b.x.Operations)
	}
}

// slotBytes is IO_TLB_SIZE.
const slotBytes = 2048

// keeps returns how many buffers the workload leaves mapped when it ends, and their size; less than 0 when it is not known here.
func (b *books) keeps() (n, size int) {
	x := b.x
	switch {
	case x.Workloads[0] == "nic": // a receive ring per CPU
		size = 2048
		if x.NIC.Sizes == "9000" {
			size = 16 << 10
		}
		return x.CPUs * x.NIC.Ring, size
	case x.Workloads[0] == "dma-probe":
		if x.Probe.Pages == "scattered" {
			return sizeOf(x.Probe.Window) / 4096, 4096
		}
		return 1, sizeOf(x.Probe.Window)
	case x.Workloads[0] != "nvme" && x.Workloads[0] != "map-benchmark":
		return -1, 0
	case strings.HasPrefix(x.Variants[0], "premapped"):
		size := sizeOf(x.Size)
		pages := cmp.Or(x.MapBench.Granule, int(size+4095)/4096)
		if x.Segments == "one" {
			return x.MapBench.Threads, 4096 * pages
		}
		return x.MapBench.Threads * pages, 4096
	}
	return 0, 0
}

// sizeOf reads a size that Validate has read before.
func sizeOf(text string) int {
	n, err := platform.ParseBytes(text)
	if err != nil {
		panic("relations: " + err.Error())
	}
	return int(n)
}

// rest lets what is pending happen and looks at what remains.
func (b *books) rest() {
	e := b.m.Eng
	if err := e.Run(sim.Never); err != nil {
		var dead *sim.DeadlockError
		if errors.As(err, &dead) {
			b.wrong = append(b.wrong, Mistake{"events", err.Error()})
		}
	}
	b.expect("events", "next event", e.Next(), sim.Never)
	end := max(e.Now(), b.d.Port.Drained(sim.Never))
	b.expect("credits", "in use", b.d.Port.InFlight(end+b.m.Spec.PCIe.CreditReturn+sim.Millisecond), pcie.InFlight{})
}
