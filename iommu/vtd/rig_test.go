package vtd

import (
	"testing"

	"dmapath/cache"
	"dmapath/iommu/table"
	"dmapath/sim"
	"dmapath/tlb"
)

// steady is a memory system of constant latency.
type steady struct {
	read, write sim.Time
	reads       int
	writes      int
}

func (f *steady) DeviceRead(pa uint64, n int, now sim.Time) (sim.Time, cache.Level) {
	f.reads++
	return now + f.read, cache.LLC
}

func (f *steady) DeviceWrite(pa uint64, n int, now sim.Time) sim.Time {
	f.writes++
	return now + f.write
}

// Addresses of the rig's structures.
const (
	rootTable  = 0x10000
	ctxTable   = 0x11000
	queueBase  = 0x12000
	statusWord = 0x20000
	pasidDir   = 0x13000
	pasidTable = 0x14000
	firstFrame = 0x100000
	rid        = uint16(0x0208) // 02:01.0
	domain     = uint16(5)
)

// rig is a unit with memory, tables and a driver that knows how to submit descriptors.
type rig struct {
	t    testing.TB
	eng  *sim.Engine
	mem  *cache.Memory
	fab  *steady
	v    *Unit
	b    *table.Builder
	next uint64 // frame
	tail uint64
	seq  uint32
}

// plain is a configuration whose times are distinct and easy to add up, in nanoseconds: the clock runs at 1 GHz.
func plain() Config {
	c := DefaultConfig()
	c.ClockHz = 1_000_000_000
	c.Levels = []int{3, 4, 5}
	c.Walkers = 4
	c.LookupTime, c.WalkStart, c.PTEOverhead, c.WalkEnd = 2, 7, 20, 3
	c.IOTLB = tlb.Config{Entries: 1024}
	return c
}

func (r *rig) frame() uint64 { r.next += 4096; return r.next - 4096 }

// newRig returns a unit in legacy mode with one device, whose domain has an empty second-stage table of levels.
func newRig(t testing.TB, cfg Config, levels int) *rig {
	t.Helper()
	r := bare(t, cfg)
	r.b = table.NewBuilder(r.mem, table.SecondStage, levels, r.frame)
	r.setContext(rid, table.Context{Present: true, Root: r.b.Root, Levels: levels, Domain: domain})
	r.enable(modeLegacy)
	return r
}

// newScalableRig does the same in scalable mode, with a PASID entry.
func newScalableRig(t testing.TB, cfg Config, f table.Format, levels int) *rig {
	t.Helper()
	r := bare(t, cfg)
	r.b = table.NewBuilder(r.mem, f, levels, r.frame)
	r.mem.Write64(table.RootEntryAddr(rootTable, rid), table.RootPointer(ctxTable))
	w0, w1 := table.SMContext{Present: true, Dir: pasidDir}.Encode()
	r.mem.Write64(table.SMContextAddr(ctxTable, rid), w0)
	r.mem.Write64(table.SMContextAddr(ctxTable, rid)+8, w1)
	r.mem.Write64(pasidDir, table.PASIDDirPointer(pasidTable))
	p := table.PASID{Present: true, Type: table.PGTTSecond, Domain: domain, Second: r.b.Root, Levels: levels}
	if f == table.FirstStage {
		p.Type, p.First = table.PGTTFirst, r.b.Root
	}
	r.setPASID(p)
	r.enable(modeScalable)
	return r
}

func bare(t testing.TB, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, eng: sim.NewEngine(), mem: cache.NewMemory(), fab: &steady{read: 100 * sim.Nanosecond, write: 50 * sim.Nanosecond}, next: firstFrame}
	v, err := New(cfg, r.eng, r.fab, r.mem)
	if err != nil {
		t.Fatal(err)
	}
	r.v = v
	return r
}

func (r *rig) setContext(rid uint16, c table.Context) {
	r.mem.Write64(table.RootEntryAddr(rootTable, rid), table.RootPointer(ctxTable))
	lo, hi := c.Encode()
	r.mem.Write64(table.ContextAddr(ctxTable, rid), lo)
	r.mem.Write64(table.ContextAddr(ctxTable, rid)+8, hi)
}

func (r *rig) setPASID(p table.PASID) {
	for i, w := range p.Encode() {
		r.mem.Write64(pasidTable+uint64(i)*8, w)
	}
}

func (r *rig) write(reg, val uint64) { r.v.WriteReg(r.v.cfg.RegBase+reg, val, r.eng.Now()) }

func (r *rig) read(reg uint64) uint64 {
	val, _ := r.v.ReadReg(r.v.cfg.RegBase+reg, r.eng.Now())
	return val
}

func (r *rig) enable(mode uint64) {
	r.write(table.RegRTADDR, rootTable|mode<<rootModeShift)
	r.write(table.RegGCMD, uint64(CmdSRTP))
	r.write(table.RegIQT, 0)
	r.write(table.RegIQA, queueBase)
	r.write(table.RegGCMD, uint64(CmdQIE))
	r.write(table.RegGCMD, uint64(CmdQIE|CmdTE))
	r.run()
}

func (r *rig) run() {
	if err := r.eng.Run(sim.Never); err != nil {
		r.t.Fatal(err)
	}
}

// runTo lets the engine run up to t inclusive.
func (r *rig) runTo(t sim.Time) {
	if err := r.eng.Run(t); err != nil {
		r.t.Fatal(err)
	}
	if r.eng.Now() < t { // nothing was left to do
		h := r.eng.Register("wait", func(uint64) {})
		r.eng.At(t, h, 0)
		r.run()
	}
}

// put writes a descriptor at the tail of the queue, without telling the unit.
func (r *rig) put(lo, hi uint64) {
	r.mem.Write64(queueBase+r.tail, lo)
	r.mem.Write64(queueBase+r.tail+8, hi)
	r.tail = (r.tail + 16) % 4096
}

// submit writes the descriptors and a wait descriptor and rings the tail; it returns the status value to wait for.
func (r *rig) submit(desc ...[2]uint64) uint32 {
	for _, d := range desc {
		r.put(d[0], d[1])
	}
	r.seq++
	r.put(WaitDesc(statusWord, r.seq, false))
	r.write(table.RegIQT, r.tail)
	return r.seq
}

// status returns the word that wait descriptors write.
func (r *rig) status() uint32 { return uint32(r.mem.Read64(statusWord)) }

// invalidate submits descriptors and lets the engine run until they are complete.
func (r *rig) invalidate(desc ...[2]uint64) {
	r.t.Helper()
	want := r.submit(desc...)
	r.run()
	if r.status() != want {
		r.t.Fatalf("status %d after invalidation %d", r.status(), want)
	}
}

func (r *rig) mapPage(iova, pa uint64, shift uint8) {
	r.t.Helper()
	if err := r.b.Map(iova, pa, shift, table.Read|table.Write); err != nil {
		r.t.Fatal(err)
	}
}

// translate asks now and fails the test on a fault.
func (r *rig) translate(iova uint64) (pa uint64, took sim.Time) {
	r.t.Helper()
	pa, done, err := r.v.Translate(rid, iova, true, r.eng.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	return pa, done - r.eng.Now()
}

// settle lets all walks end, so that what they fetched counts as cached.
func (r *rig) settle() { r.runTo(r.eng.Now() + 100*sim.Microsecond) }

func d(lo, hi uint64) [2]uint64 { return [2]uint64{lo, hi} }

func pages(addr uint64, am uint8, hint bool) [2]uint64 {
	return d(IOTLBDesc(GranPage, domain, addr, am, hint))
}
