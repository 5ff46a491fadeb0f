package smmu

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommupages"
	"dmapath/sim"
)

// Unit is struct arm_smmu_device: the driver's side of one SMMU. It programs the hardware through registers and through the
// stream table, context descriptors and the command queue in memory.
type Unit struct {
	Env   *kernel.Env
	RegVA uint64 // virtual address of the register window
	Stats Stats

	hw    cpu.MMIO
	pages *iommupages.Pages
	va    uint64 // struct arm_smmu_device
	caps  capabilities
	q     cmdq
	clock clock
	flush uint64 // arm_smmu_flush_ops
	ops   uint64 // jump table of arm_smmu_cmdq_build_cmd

	strtab     uint64 // physical address of the first level of the stream table
	asids      uint16 // handed out
	scratch    []*scratch
	onCommands func(cmds []smmutable.Command, sync bool) // tests
}

// Stats are what the command queue met; none of it costs anything.
type Stats struct {
	Commands     uint64 // put into the queue, CMD_SYNC not counted
	Syncs        uint64
	Claims       uint64   // compare-and-exchanges of prod and cons, successful or not
	ClaimRetries uint64   // that another CPU had won
	Owners       uint64   // submissions that wrote PROD; the others were gathered by an owner
	Full         uint64   // times a CPU found no room
	Timeouts     uint64   // times it waited a second for it, see notFull
	SyncPolls    uint64   // looks at the completion of a CMD_SYNC
	Claiming     sim.Time // of all submissions, from the first look at prod and cons until slots are claimed
	Waiting      sim.Time // of all submissions with a CMD_SYNC, for its completion
}

// capabilities are what the driver keeps of the identification registers.
type capabilities struct {
	rangeInv bool // ARM_SMMU_FEAT_RANGE_INV
	msiPoll  bool // ARM_SMMU_OPT_MSIPOLL: coherent and CMD_SYNC can send a message
	event    bool // ARM_SMMU_FEAT_SEV: CMD_SYNC wakes a CPU in wfe
	twoLevel bool
	ats      bool // ARM_SMMU_FEAT_ATS
	cmdqLog2 uint8
	oas      uint8 // bits of output address
	sidBits  uint8
}

// scratch is what an invalidation keeps on its stack and would otherwise allocate. A CPU has one for its thread and one for a timer that runs
// meanwhile.
type scratch struct {
	owner *cpu.Stream
	batch batch
}

// scratchOf returns the scratch of t's stack.
func (u *Unit) scratchOf(t *cpu.Thread) *scratch {
	for _, s := range u.scratch {
		if s.owner == t.Stream {
			return s
		}
	}
	s := &scratch{owner: t.Stream}
	u.scratch = append(u.scratch, s)
	return s
}

// maxCmdqLog2 bounds the command queue to what dma_alloc_coherent gives at once: 1 MiB (Q_MAX_SZ_SHIFT with CONFIG_CMA_ALIGNMENT 8).
const maxCmdqLog2 = 16

// NewUnit reads the identification registers of the unit whose registers lie at regVA and allocates its structures (arm_smmu_device_hw_probe,
// arm_smmu_init_structures). It fails when the hardware lacks what this driver needs: stage 1 with AArch64 tables and a 4 KiB granule. Where
// the hardware does not snoop, tables are cleaned (clean.go).
func NewUnit(env *kernel.Env, hw cpu.MMIO, regVA uint64, alloc iommupages.Allocator) (*Unit, error) {
	u := &Unit{Env: env, RegVA: regVA, hw: hw, pages: iommupages.New(env, alloc)}
	id := func(off uint64) uint32 {
		v, _ := hw.ReadReg(regVA+off, 0)
		return uint32(v)
	}
	id0, id1, id3, id5 := id(smmutable.RegIDR0), id(smmutable.RegIDR1), id(smmutable.RegIDR3), id(smmutable.RegIDR5)
	coherent := id0&smmutable.IDR0Coherent != 0
	switch {
	case id0&smmutable.IDR0S1P == 0 || id0&smmutable.IDR0TTFAArch64 == 0:
		return nil, fmt.Errorf("smmu at %#x: no stage 1 with AArch64 tables (IDR0 %#x)", regVA, id0)
	case id5&smmutable.IDR5G4K == 0:
		return nil, fmt.Errorf("smmu at %#x: no granule of 4 KiB (IDR5 %#x)", regVA, id5)
	case id1>>smmutable.IDR1CmdqLog2&31 <= 6:
		return nil, fmt.Errorf("smmu at %#x: a command queue of 2^%d entries; the driver needs more than 64", regVA, id1>>smmutable.IDR1CmdqLog2&31)
	case coherent != env.Coherent:
		return nil, fmt.Errorf("smmu at %#x: coherency of table walks is %v in the hardware (IDR0.COHACC) and %v in the kernel's configuration", regVA, coherent, env.Coherent)
	}
	u.caps = capabilities{rangeInv: id3&smmutable.IDR3RIL != 0, msiPoll: id0&smmutable.IDR0MSI != 0 && coherent, event: id0&smmutable.IDR0SEV != 0,
		twoLevel: id0&smmutable.IDR0STLevel2 != 0, ats: id0&smmutable.IDR0ATS != 0, cmdqLog2: min(uint8(id1>>smmutable.IDR1CmdqLog2&31), maxCmdqLog2),
		oas: min(smmutable.OutputBits(uint64(id5&7)), 48), sidBits: uint8(id1 & 63)}
	u.va = env.Slab(2048, 128)
	u.q.init(env, u.va, u.caps.cmdqLog2)
	u.clock = newClock(env)
	u.flush, u.ops = env.Data(64), env.Data(64)
	n := u.strtabBytes()
	order := 0
	for 4096<<order < n {
		order++
	}
	u.strtab = kernel.Phys(env.Pages(order))
	return u, nil
}

// strtabBytes returns the size of the stream table, of its first level if it has two.
func (u *Unit) strtabBytes() int {
	if u.caps.twoLevel && u.caps.sidBits > smmutable.StreamSplit {
		return smmutable.L1StreamSize << (u.caps.sidBits - smmutable.StreamSplit)
	}
	u.caps.twoLevel = false
	return smmutable.STESize << u.caps.sidBits
}

// Offsets in struct arm_smmu_device.
const (
	devImplOps  = 16
	devFeatures = 40
	devOptions  = 44
)

// Enable turns the unit on as arm_smmu_device_reset does: command queue, stream table, event queue, translation. It happens at boot, at time 0,
// and costs nothing. The invalidations of the reset are left out: the hardware has nothing cached yet.
func (u *Unit) Enable() {
	w := func(off, val uint64) { u.hw.WriteReg(u.RegVA+off, val, 0) }
	w(smmutable.RegStrtabBase, u.strtab|1<<62)
	w(smmutable.RegStrtabBaseCfg, uint64(smmutable.StrtabBaseCfg(u.caps.sidBits, smmutable.StreamSplit, u.caps.twoLevel)))
	w(smmutable.RegCmdqBase, smmutable.QueueBase(u.q.ring, u.q.log2))
	w(smmutable.RegCmdqProd, 0)
	w(smmutable.RegCmdqCons, 0)
	w(smmutable.RegCR0, uint64(smmutable.CR0CMDQEN))
	w(smmutable.RegEventqBase, smmutable.QueueBase(kernel.Phys(u.Env.Page()), eventqLog2))
	w(smmutable.RegEventqProd, 0)
	w(smmutable.RegEventqCons, 0)
	on := smmutable.CR0CMDQEN | smmutable.CR0EVENTQEN | smmutable.CR0SMMUEN
	if u.caps.ats {
		on |= smmutable.CR0ATSCHK
	}
	w(smmutable.RegCR0, uint64(on))
}

// eventqLog2 makes an event queue of one page.
const eventqLog2 = 7

// Attach makes the device with requester id rid use domain d (arm_smmu_attach_dev, at boot): a context descriptor and a stream table entry. The
// hardware must not have cached another entry for rid.
func (u *Unit) Attach(rid uint16, d *Domain) error { return u.attach(rid, d, smmutable.EATSAbort) }

func (u *Unit) attach(rid uint16, d *Domain, eats uint8) error {
	cd := smmutable.CD{Valid: true, ASID: d.asid, TTB0: kernel.Phys(d.pgd), MAIR: smmutable.MAIR, Record: true, Abort: true}
	cd.SetGeometry(d.g)
	at := kernel.Phys(u.Env.Page())
	for i, w := range cd.Encode() {
		u.Env.Mem.Write64(at+uint64(i)*8, w)
	}
	return u.writeSTE(rid, smmutable.STE{Valid: true, Config: smmutable.ConfigS1, Context: at, NoStall: true, EATS: eats})
}

// AttachPassthrough makes the device with requester id rid use physical addresses (iommu.passthrough=1).
func (u *Unit) AttachPassthrough(rid uint16) error {
	return u.writeSTE(rid, smmutable.STE{Valid: true, Config: smmutable.ConfigBypass})
}

// writeSTE writes the entry of a stream, which is the requester id, the first word last.
func (u *Unit) writeSTE(rid uint16, s smmutable.STE) error {
	if int(u.caps.sidBits) < 16 && rid>>u.caps.sidBits != 0 {
		return fmt.Errorf("attach of device %04x: the unit knows streams of %d bits (IDR1.SIDSIZE)", rid, u.caps.sidBits)
	}
	at := smmutable.StreamAddr(u.strtab, uint32(rid), smmutable.StreamSplit, u.caps.twoLevel)
	if u.caps.twoLevel {
		table, _, ok := smmutable.DecodeL1Stream(u.Env.Mem.Read64(at))
		if !ok {
			table = kernel.Phys(u.Env.Pages(2)) // 256 entries
			u.Env.Mem.Write64(at, smmutable.L1Stream(table, smmutable.StreamSplit))
		}
		at = table + uint64(rid&(1<<smmutable.StreamSplit-1))*smmutable.STESize
	}
	w := s.Encode()
	for i := len(w) - 1; i >= 0; i-- {
		u.Env.Mem.Write64(at+uint64(i)*8, w[i])
	}
	return nil
}

// Adapter is the unit as the core's users see it.
type Adapter struct{ *Unit }

var _ iommucore.Adapter = Adapter{}

// NewDomain is Unit.NewDomain.
func (a Adapter) NewDomain(levels int) (*iommucore.Domain, error) {
	d, err := a.Unit.NewDomain(levels)
	if err != nil {
		return nil, err
	}
	return d.Core, nil
}

// Attach is Unit.Attach of a domain that NewDomain made.
func (a Adapter) Attach(rid uint16, d *iommucore.Domain) error {
	own, err := iommucore.Own[*Domain](rid, d, "the SMMU driver")
	if err != nil {
		return err
	}
	return a.Unit.Attach(rid, own)
}
