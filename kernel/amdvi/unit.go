package amdvi

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu/amdtable"
	"dmapath/kernel"
	"dmapath/kernel/delay"
	"dmapath/kernel/iommupages"
)

// devices is how many device ids the device table has entries for: those of 16 buses. On a real machine firmware says what the
// last one is.
const devices = 1 << 12

// commands is the length of the command buffer: CMD_BUFFER_SIZE / 16.
const commands = 512

// Unit is struct amd_iommu: the driver's side of one IOMMU. It programs the hardware through registers and through the device
// table and the command buffer in memory.
type Unit struct {
	Env   *kernel.Env
	RegVA uint64 // virtual address of the register window

	// Polls counts looks at the completion word, Waits completion waits: Polls - Waits is how often a CPU delayed for a microsecond.
	// Shared counts waits that found the work of another CPU's wait enough (need_sync was clear).
	Polls, Waits, Shared uint64

	hw     cpu.MMIO
	pages  *iommupages.Pages
	delay  *delay.Delay
	va     uint64 // struct amd_iommu
	levels int    // amd_iommu_hpt_level: the deepest host page table
	table  uint64 // physical address of the device table
	events uint64 // and of the event log
	ring   ring
	ids    uint16 // domain ids handed out
	// npCache is the line of amd_iommu_np_cache, which every flush reads.
	npCache uint64
}

// ring is the command buffer and what the driver knows of it.
type ring struct {
	base       uint64 // direct-map address of the entries
	head, tail int    // byte offsets; head is as old as the last look at the register
	lock       cpu.LockWord
	needSync   bool
	sem        uint64 // direct-map address of cmd_sem, which the hardware writes
	last       uint64 // cmd_sem_val
}

// Offsets in struct amd_iommu. Which fields share a line follows from the order of the declarations; the offsets are not recorded.
const (
	uLock     = 20
	uMMIO     = 56
	uCmdBuf   = 136
	uCmdHead  = 144
	uCmdTail  = 148
	uNeedSync = 232
	uSem      = 640
	uSemVal   = 656
	uSemPaddr = 664
	unitBytes = 704
)

// NewUnit reads the extended features of the IOMMU whose registers lie at regVA and allocates its structures. Walks of this
// hardware always snoop the caches.
func NewUnit(env *kernel.Env, hw cpu.MMIO, regVA uint64, pages iommupages.Allocator) (*Unit, error) {
	if !env.Coherent {
		return nil, fmt.Errorf("amd-vi unit at %#x: its page walks snoop the caches, and the kernel's configuration says they do not", regVA)
	}
	u := &Unit{Env: env, RegVA: regVA, hw: hw}
	f, _ := hw.ReadReg(regVA+amdtable.RegExtFeatures, 0)
	if u.levels = amdtable.DecodeHATS(f); u.levels == 0 {
		return nil, fmt.Errorf("amd-vi unit at %#x: extended features %#x have a reserved host page table depth (HATS)", regVA, f)
	}
	u.pages = iommupages.New(env, pages)
	u.delay = delay.New(env)
	u.va = env.Slab(unitBytes, 64)
	u.table = kernel.Phys(env.Pages(5))
	for i := range devices { // init_device_table_dma: valid, and nothing is allowed
		u.writeDTE(uint16(i), amdtable.DTE{Valid: true, Translation: true})
	}
	u.events = kernel.Phys(env.Pages(1))
	u.ring.base = env.Pages(1)
	u.ring.sem = env.Page()
	u.ring.lock.VA, u.ring.lock.Name = u.va+uLock, "amd_iommu.lock"
	u.npCache = env.Data(64) + 16
	return u, nil
}

// Enable turns the IOMMU on as enable_iommus does: device table, command buffer, event log, translation. It happens at boot, at
// time 0, and costs nothing.
func (u *Unit) Enable() {
	w := func(off, val uint64) { u.hw.WriteReg(u.RegVA+off, val, 0) }
	w(amdtable.RegDevTableBase, amdtable.DevTableRegister(u.table, devices*amdtable.DTESize))
	w(amdtable.RegCmdBase, amdtable.BaseRegister(kernel.Phys(u.ring.base), 9))
	w(amdtable.RegCmdHead, 0)
	w(amdtable.RegCmdTail, 0)
	w(amdtable.RegEventBase, amdtable.BaseRegister(u.events, 9))
	w(amdtable.RegEventHead, 0)
	w(amdtable.RegEventTail, 0)
	w(amdtable.RegControl, amdtable.ControlCoherent|amdtable.ControlCmdBufEn|amdtable.ControlEventLogEn|amdtable.ControlIommuEn)
}

// writeDTE writes the two words of a device table entry that hold the translation.
func (u *Unit) writeDTE(rid uint16, d amdtable.DTE) {
	w := d.Encode()
	at := amdtable.DTEAddr(u.table, rid)
	u.Env.Mem.Write64(at+8, w[1])
	u.Env.Mem.Write64(at, w[0])
}

// Attach makes the device with requester id rid use domain d (set_dte_entry, at boot). The hardware must not have cached
// another entry.
func (u *Unit) Attach(rid uint16, d *Domain) error { return u.attach(attached{rid: rid}, d) }

// AttachATS is Attach for a device with a TLB of its own, which translates for itself (pdev_enable_cap_ats).
func (u *Unit) AttachATS(rid uint16, d *Domain) error {
	return u.attach(attached{rid: rid, ats: true}, d)
}

func (u *Unit) attach(dev attached, d *Domain) error {
	rid := dev.rid
	if d.u != u {
		return fmt.Errorf("attach of device %04x: the domain was made for another IOMMU", rid)
	}
	if err := known(rid); err != nil {
		return err
	}
	dev.va = u.Env.Slab(192, 64)
	d.devs = append(d.devs, dev)
	u.writeDTE(rid, d.dte(dev))
	return nil
}

// AttachPassthrough makes the device with requester id rid use physical addresses (set_dte_passthrough): a valid entry of mode 0.
func (u *Unit) AttachPassthrough(rid uint16) error {
	if err := known(rid); err != nil {
		return err
	}
	u.writeDTE(rid, amdtable.DTE{Valid: true, Translation: true, Rights: amdtable.AllRights, Domain: 1})
	return nil
}

func known(rid uint16) error {
	if int(rid) >= devices {
		return fmt.Errorf("attach of device %04x: the device table ends at %04x", rid, devices-1)
	}
	return nil
}
