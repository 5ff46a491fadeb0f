package vtd

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/kernel/iommupages"
)

// Bits of the global command and status registers.
const (
	gcmdTE   = 1 << 31 // translation
	gcmdSRTP = 1 << 30 // take the root table pointer
	gcmdQIE  = 1 << 26 // queued invalidation
)

// Unit is struct intel_iommu: the driver's side of one remapping unit. It programs the hardware through registers and
// through the root table, the context tables and the invalidation queue in memory.
type Unit struct {
	Env   *kernel.Env
	RegVA uint64 // virtual address of the register window

	hw    cpu.MMIO
	pages *iommupages.Pages
	va    uint64 // struct intel_iommu
	caps  capabilities
	root  uint64 // physical address of the root table
	qi    queue
	dids  uint16 // domain ids handed out
	prq   prq
}

// capabilities are what the driver keeps of the capability registers.
type capabilities struct {
	cap, ecap uint64
	coherent  bool // ECAP.C: page walks snoop the caches
	super     uint64
	maxAMask  int // CAP.MAMV
	psi       bool
	drain     uint64 // DW and DR bits of an IOTLB descriptor
	sagaw     uint64
	domains   int
	caching   bool // CAP.CM: absent entries may be cached, so maps are followed by an invalidation
	passThru  bool
}

func decodeCapabilities(c, e uint64) capabilities {
	k := capabilities{cap: c, ecap: e, coherent: e&1 != 0, maxAMask: int(c >> 48 & 63), psi: c>>39&1 != 0,
		sagaw: c >> 8 & 31, domains: 1 << (4 + 2*(c&7)), caching: c>>7&1 != 0, passThru: e>>6&1 != 0, super: 1 << 12}
	if c>>34&1 != 0 {
		k.super |= 1 << 21
	}
	if c>>35&1 != 0 {
		k.super |= 1 << 30
	}
	k.drain = c>>54&1<<6 | c>>55&1<<7
	return k
}

// NewUnit reads the capabilities of the unit whose registers lie at regVA and allocates its structures. It fails
// when the hardware lacks what this driver needs: queued invalidation and a table depth of 3, 4 or 5 levels.
func NewUnit(env *kernel.Env, hw cpu.MMIO, regVA uint64, pages iommupages.Allocator) (*Unit, error) {
	u := &Unit{Env: env, RegVA: regVA, hw: hw}
	c, _ := hw.ReadReg(regVA+table.RegCAP, 0)
	e, _ := hw.ReadReg(regVA+table.RegECAP, 0)
	u.caps = decodeCapabilities(c, e)
	switch {
	case e>>1&1 == 0:
		return nil, fmt.Errorf("vt-d unit at %#x: no queued invalidation (ECAP %#x); register-based invalidation is not modelled", regVA, e)
	case u.caps.sagaw&0xe == 0:
		return nil, fmt.Errorf("vt-d unit at %#x: no table of 3, 4 or 5 levels (CAP %#x)", regVA, c)
	case u.caps.coherent != env.Coherent:
		return nil, fmt.Errorf("vt-d unit at %#x: page-walk coherency is %v in the hardware (ECAP.C) and %v in the kernel's configuration; make them equal",
			regVA, u.caps.coherent, env.Coherent)
	}
	u.va = env.Slab(512, 64)
	u.root = kernel.Phys(env.Page())
	u.qi.init(env)
	u.pages = iommupages.New(env, pages)
	return u, nil
}

// Addresses of the fields of struct intel_iommu that the paths load.
func (u *Unit) at(off uint64) uint64 { return u.va + off }

const (
	iommuReg  = 0
	iommuCap  = 24
	iommuEcap = 32
)

// qiField is the address of iommu->qi.
func (u *Unit) qiField() uint64 {
	if u.Env.Version == kernel.V7_3 {
		return u.va + 192 + 16
	}
	return u.va + 192 + 40
}

// Enable turns the unit on as intel_iommu_init does: queue, root table, translation. It happens at boot, at
// time 0, and costs nothing.
func (u *Unit) Enable() {
	w := func(off, val uint64) { u.hw.WriteReg(u.RegVA+off, val, 0) }
	w(table.RegIQT, 0)
	w(table.RegIQA, u.qi.ring)
	w(table.RegGCMD, gcmdQIE)
	w(table.RegRTADDR, u.root)
	w(table.RegGCMD, gcmdQIE|gcmdSRTP)
	w(table.RegGCMD, gcmdQIE|gcmdTE)
}

// contextEntry returns the physical address of rid's context entry, allocating the bus's context table.
func (u *Unit) contextEntry(rid uint16) uint64 {
	at := table.RootEntryAddr(u.root, rid)
	e := u.Env.Mem.Read64(at)
	if e&1 == 0 {
		e = table.RootPointer(kernel.Phys(u.Env.Page()))
		u.Env.Mem.Write64(at, e)
	}
	return table.ContextAddr(e&^0xfff, rid)
}

// Attach makes the device with requester id rid use domain d (domain_context_mapping, at boot). The hardware must not
// have cached another entry for rid.
func (u *Unit) Attach(rid uint16, d *Domain) error {
	if u.caps.sagaw>>(d.levels-2)&1 == 0 {
		return fmt.Errorf("attach of device %04x: the unit cannot walk %d levels (SAGAW %#x)", rid, d.levels, u.caps.sagaw)
	}
	tag, err := d.tag(u)
	if err != nil {
		return fmt.Errorf("attach of device %04x: %w", rid, err)
	}
	u.writeContext(rid, table.Context{Present: true, Type: table.TTMultiLevel, Root: kernel.Phys(d.pgd), Levels: d.levels, Domain: tag.did})
	return nil
}

// AttachPassthrough makes the device with requester id rid use physical addresses (iommu.passthrough=1).
func (u *Unit) AttachPassthrough(rid uint16) error {
	if !u.caps.passThru {
		return fmt.Errorf("attach of device %04x: the unit has no pass-through (ECAP %#x)", rid, u.caps.ecap)
	}
	levels := 5
	for u.caps.sagaw>>(levels-2)&1 == 0 {
		levels--
	}
	u.writeContext(rid, table.Context{Present: true, Type: table.TTPassThrough, Levels: levels, Domain: 1})
	return nil
}

func (u *Unit) writeContext(rid uint16, c table.Context) {
	at := u.contextEntry(rid)
	lo, hi := c.Encode()
	u.Env.Mem.Write64(at+8, hi)
	u.Env.Mem.Write64(at, lo)
}

// cacheTag is struct cache_tag: what of one unit's caches belongs to a domain.
type cacheTag struct {
	va     uint64
	u      *Unit
	did    uint16
	device *deviceTag // of a device's own TLB, nil for the unit's IOTLB
}

// Offsets in struct cache_tag.
const (
	tagNode = 0
	tagType = 16
	tagUnit = 24
	tagDID  = 40
)

// tag returns the domain's cache tag for unit u, assigning a domain id on first use.
func (d *Domain) tag(u *Unit) (*cacheTag, error) {
	for _, c := range d.tags {
		if c.u == u {
			return c, nil
		}
	}
	if int(u.dids)+2 > u.caps.domains {
		return nil, fmt.Errorf("all %d domain ids of the unit are in use", u.caps.domains)
	}
	u.dids++
	// 0 is reserved and 1 is what pass-through entries carry (FLPT_DEFAULT_DID).
	c := &cacheTag{va: u.Env.Slab(64, 64), u: u, did: u.dids + 1}
	d.tags = append(d.tags, c)
	return c, nil
}

func badLevels(levels int, sagaw uint64) error {
	return fmt.Errorf("vt-d domain with %d table levels: the unit walks those set in SAGAW %#x (bit 1: 3 levels, bit 2: 4, bit 3: 5)", levels, sagaw)
}
