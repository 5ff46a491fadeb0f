package amd

import (
	"errors"
	"testing"

	"dmapath/cpu"
	"dmapath/iommu"
	"dmapath/iommu/amdtable"
	"dmapath/iommu/rig"
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
	devTable  = 0x10000 // 8 KiB: buses 0
	cmdBase   = 0x20000
	logBase   = 0x30000
	semaphore = 0x40008
	rid       = uint16(0x0048)
	domain    = uint16(5)
)

// machine is a unit with memory, tables and a driver that knows how to submit commands.
type machine struct {
	*rig.Rig
	u    *Unit
	b    *amdtable.Builder
	tail uint64
	seq  uint64
}

// plain is a configuration whose times are distinct and easy to add up, in nanoseconds: the clock runs at 1 GHz.
func plain() Config {
	c := DefaultConfig()
	c.ClockHz = 1_000_000_000
	c.Walkers = 4
	c.LookupTime, c.WalkStart, c.PTEOverhead, c.WalkEnd = 2, 7, 20, 3
	c.IOTLB = tlb.Config{Entries: 1024}
	return c
}

// newMachine returns a unit with one device, whose domain has an empty table of so many levels.
func newMachine(t testing.TB, cfg Config, levels int) *machine {
	t.Helper()
	m := &machine{Rig: rig.New(t)}
	var err error
	if m.u, err = New(cfg, m.Eng, m.Fab, m.Mem); err != nil {
		t.Fatal(err)
	}
	m.b = amdtable.NewBuilder(m.Mem, levels, m.Frame)
	m.setDevice(rid, m.entry())
	m.write(amdtable.RegDevTableBase, amdtable.DevTableRegister(devTable, 8192))
	m.write(amdtable.RegCmdBase, amdtable.BaseRegister(cmdBase, 9))
	m.write(amdtable.RegEventBase, amdtable.BaseRegister(logBase, 8))
	m.write(amdtable.RegControl, amdtable.ControlIommuEn|amdtable.ControlCmdBufEn|amdtable.ControlEventLogEn|amdtable.ControlComWaitIntEn)
	m.Run()
	return m
}

// entry is a device table entry that sends requests through the builder's table.
func (m *machine) entry() amdtable.DTE {
	return amdtable.DTE{Valid: true, Translation: true, Mode: m.b.Levels, Root: m.b.Root, Rights: amdtable.AllRights, Domain: domain}
}

func (m *machine) setDevice(rid uint16, d amdtable.DTE) {
	for i, w := range d.Encode() {
		m.Mem.Write64(amdtable.DTEAddr(devTable, rid)+uint64(i)*8, w)
	}
}

func (m *machine) write(reg, val uint64) { m.u.WriteReg(reg, val, m.Eng.Now()) }

func (m *machine) read(reg uint64) uint64 {
	val, _ := m.u.ReadReg(reg, m.Eng.Now())
	return val
}

// put writes a command at the tail of the buffer, without telling the unit.
func (m *machine) put(w [2]uint64) {
	m.Mem.Write64(cmdBase+m.tail, w[0])
	m.Mem.Write64(cmdBase+m.tail+8, w[1])
	m.tail = (m.tail + amdtable.CommandSize) % 8192
}

// submit writes the commands and a COMPLETION_WAIT and rings the tail; it returns the value to wait for.
func (m *machine) submit(cmds ...amdtable.Command) uint64 {
	for _, c := range cmds {
		m.put(c.Encode())
	}
	m.seq++
	m.put(amdtable.Command{Op: amdtable.CompletionWait, Store: semaphore, Data: m.seq}.Encode())
	m.write(amdtable.RegCmdTail, m.tail)
	return m.seq
}

func (m *machine) stored() uint64 { return m.Mem.Read64(semaphore) }

// invalidate submits commands and lets the engine run until they are complete.
func (m *machine) invalidate(cmds ...amdtable.Command) {
	m.T.Helper()
	want := m.submit(cmds...)
	m.Run()
	if m.stored() != want {
		m.T.Fatalf("semaphore %d after command %d", m.stored(), want)
	}
}

func (m *machine) mapPage(iova, pa uint64, shift uint8) {
	m.T.Helper()
	if err := m.b.Map(iova, pa, shift, amdtable.AllRights); err != nil {
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

func reason(err error) any {
	var f *iommu.Fault
	if errors.As(err, &f) {
		return f.Reason
	}
	return amdtable.NoFault
}

// pages drops what a domain has of 1<<shift bytes around addr.
func pages(addr uint64, shift uint8, pde bool) amdtable.Command {
	return amdtable.Command{Op: amdtable.InvalidateIOMMUPages, Domain: domain, Addr: addr, Shift: shift, PDE: pde}
}
