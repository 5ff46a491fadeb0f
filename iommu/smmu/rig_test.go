package smmu

import (
	"errors"
	"testing"

	"dmapath/cpu"
	"dmapath/iommu"
	"dmapath/iommu/rig"
	"dmapath/iommu/smmutable"
	"dmapath/iommu/table"
	"dmapath/pcie"
	"dmapath/sim"
	"dmapath/tlb"
)

// What other rooms expect of a unit.
var (
	_ iommu.Unit      = (*Unit)(nil)
	_ pcie.Translator = (*Unit)(nil)
	_ cpu.MMIO        = (*Unit)(nil)
)

const ns = sim.Nanosecond

// Addresses of the machine's structures.
const (
	l1Table     = 0x10000 // first-level stream table, 256 descriptors
	streamTable = 0x20000 // 256 entries, of bus 1
	cdTable     = 0x30000
	cmdBase     = 0x40000
	eventBase   = 0x50000
	message     = 0x60004
	rid         = uint16(0x0108)
	asid        = 5
	vmid        = 9
	queue2      = 8 // log2 of the queues' entries
)

// machine is a unit with memory, tables and a driver that knows how to submit commands.
type machine struct {
	*rig.Rig
	u      *Unit
	b      *smmutable.Builder // of the table that requests see first
	b2     *smmutable.Builder // of stage 2 under it
	prod   uint32
	seq    uint32
	config smmutable.Config
}

// plain is a configuration whose times are distinct and easy to add up, in nanoseconds.
func plain() Config {
	c := DefaultConfig()
	c.Walkers = 4
	c.LookupTime, c.WalkStart, c.PTEOverhead, c.WalkEnd = 2, 7, 20, 3
	c.IOTLB = tlb.Config{Entries: 1024}
	return c
}

var geometry1 = smmutable.Geometry{Stage: smmutable.Stage1, Granule: smmutable.Granule4K, Input: 48, Output: 48}
var geometry2 = smmutable.Geometry{Stage: smmutable.Stage2, Granule: smmutable.Granule4K, Input: 44, Output: 48}

// newMachine returns a unit with one stream in the configuration given, whose tables are empty.
func newMachine(t testing.TB, cfg Config, c smmutable.Config) *machine {
	return newShaped(t, cfg, c, geometry1, geometry2)
}

// newShaped does the same with tables of other shapes.
func newShaped(t testing.TB, cfg Config, c smmutable.Config, g1, g2 smmutable.Geometry) *machine {
	t.Helper()
	m := &machine{Rig: rig.New(t), config: c}
	var err error
	if m.u, err = New(cfg, m.Eng, m.Fab, m.Mem); err != nil {
		t.Fatal(err)
	}
	m.b = smmutable.NewBuilder(m.Mem, g1, m.Frames)
	if c != smmutable.ConfigS1 {
		m.b2 = smmutable.NewBuilder(m.Mem, g2, m.Frames)
	}
	if c == smmutable.ConfigS2 {
		m.b = m.b2
	}
	m.Mem.Write64(l1Table+uint64(rid>>8)*smmutable.L1StreamSize, smmutable.L1Stream(streamTable, smmutable.StreamSplit))
	m.setStream(rid, m.stream())
	m.setContext(m.context())
	if c == smmutable.ConfigNested { // where the descriptor and the first stage's tables lie is intermediate
		for at := uint64(0); at < 0x400000; at += 4096 {
			m.mapSecond(at, at)
		}
	}
	m.write(smmutable.RegStrtabBase, l1Table)
	m.write(smmutable.RegStrtabBaseCfg, uint64(smmutable.StrtabBaseCfg(16, smmutable.StreamSplit, true)))
	m.write(smmutable.RegCmdqBase, smmutable.QueueBase(cmdBase, queue2))
	m.write(smmutable.RegEventqBase, smmutable.QueueBase(eventBase, queue2))
	m.write(smmutable.RegCR0, uint64(smmutable.CR0CMDQEN|smmutable.CR0EVENTQEN|smmutable.CR0SMMUEN))
	m.Run()
	return m
}

func (m *machine) mapSecond(ipa, pa uint64) {
	m.T.Helper()
	if err := m.b2.Map(ipa, pa, smmutable.LastLevel, table.AllRights, false); err != nil {
		m.T.Fatal(err)
	}
}

// stream is an entry that sends requests through the builders' tables.
func (m *machine) stream() smmutable.STE {
	s := smmutable.STE{Valid: true, Config: m.config, Context: cdTable, VMID: vmid, Record: true}
	if m.b2 != nil {
		s.TTB = m.b2.Root
		s.SetGeometry(m.b2.G)
	}
	return s
}

func (m *machine) context() smmutable.CD {
	c := smmutable.CD{Valid: true, ASID: asid, TTB0: m.b.Root, Record: true, Abort: true}
	c.SetGeometry(m.b.G)
	return c
}

func (m *machine) setStream(rid uint16, s smmutable.STE) {
	for i, w := range s.Encode() {
		m.Mem.Write64(streamTable+uint64(rid&0xff)*smmutable.STESize+uint64(i)*8, w)
	}
}

func (m *machine) setContext(c smmutable.CD) {
	for i, w := range c.Encode() {
		m.Mem.Write64(cdTable+uint64(i)*8, w)
	}
}

func (m *machine) write(reg, val uint64) { m.u.WriteReg(reg, val, m.Eng.Now()) }

func (m *machine) read(reg uint64) uint64 {
	val, _ := m.u.ReadReg(reg, m.Eng.Now())
	return val
}

// put writes a command at PROD, without telling the unit.
func (m *machine) put(c smmutable.Command) {
	at := cmdBase + uint64(m.prod&(1<<queue2-1))*smmutable.CommandSize
	m.Mem.Write64(at, c[0])
	m.Mem.Write64(at+8, c[1])
	m.prod = (m.prod + 1) & (2<<queue2 - 1)
}

// submit writes the commands and a CMD_SYNC that sends a message, and moves PROD; it returns the value to wait for.
func (m *machine) submit(cmds ...smmutable.Command) uint32 {
	for _, c := range cmds {
		m.put(c)
	}
	m.seq++
	m.put(smmutable.SyncCommand(smmutable.SignalIRQ, message, m.seq))
	m.write(smmutable.RegCmdqProd, uint64(m.prod))
	return m.seq
}

func (m *machine) received() uint32 { return uint32(m.Mem.Read64(message&^7) >> 32) }

// invalidate submits commands and lets the engine run until they are complete.
func (m *machine) invalidate(cmds ...smmutable.Command) {
	m.T.Helper()
	want := m.submit(cmds...)
	m.Run()
	if m.received() != want {
		m.T.Fatalf("message %d after command %d", m.received(), want)
	}
}

func (m *machine) mapPage(iova, pa uint64, level int) {
	m.T.Helper()
	if err := m.b.Map(iova, pa, level, table.AllRights, false); err != nil {
		m.T.Fatal(err)
	}
}

// translate asks now and fails the test on a fault.
func (m *machine) translate(iova uint64) (pa uint64, took sim.Time) {
	m.T.Helper()
	pa, done, err := m.u.Translate(rid, iova, true, m.Eng.Now())
	if err != nil {
		m.T.Fatal(err)
	}
	return pa, done - m.Eng.Now()
}

// walks returns how many walks it takes to translate iova for a device.
func (m *machine) walks(who uint16, iova uint64) uint64 {
	m.T.Helper()
	n := m.u.Stats.Walks
	if _, _, err := m.u.Translate(who, iova, true, m.Eng.Now()); err != nil {
		m.T.Fatal(err)
	}
	m.Settle()
	return m.u.Stats.Walks - n
}

func reason(err error) smmutable.EventCode {
	var f *iommu.Fault
	if errors.As(err, &f) {
		return f.Reason.(smmutable.EventCode)
	}
	return smmutable.NoEvent
}

// page drops what the stream's address space has of the page at addr.
func (m *machine) page(addr uint64, leaf bool) smmutable.Command {
	return m.pages(smmutable.TLBI{Addr: addr, Leaf: leaf})
}

// pages does so with a range.
func (m *machine) pages(t smmutable.TLBI) smmutable.Command {
	if m.config == smmutable.ConfigS2 {
		t.VMID = vmid
		return t.Command(smmutable.TlbiS2IPA)
	}
	t.ASID = asid
	if m.config == smmutable.ConfigNested {
		t.VMID = vmid
	}
	return t.Command(smmutable.TlbiNHVA)
}
