package vtd

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
)

// Unrecorded: instruction counts are estimates from reading drivers/iommu/intel/cache.c, the memory touched is not.
var (
	fnFlushDevTLB    = cpu.NewFunc("cache_tag_flush_devtlb_psi", fileCache, 320)
	fnFlushDevTLBAll = cpu.NewFunc("cache_tag_flush_devtlb_all", fileCache, 200)
)

// deviceTag is what the cache tag of a device's own TLB leads to: struct device, its dev_iommu and device_domain_info.
type deviceTag struct {
	dev, iommu, info uint64
	sid              uint16
}

// Offsets in struct cache_tag, struct device_domain_info and struct intel_iommu.
const (
	tagDevice = 32
	infoBus   = 28 // bus and devfn, a byte each
	infoQdep  = 38 // ats_qdep
	infoExtra = 35 // the byte of dtlb_extra_inval
	iommuGcmd = 80
)

// allDevicePages is MAX_AGAW_PFN_WIDTH: the size that means every address.
const allDevicePages = 52

// enableATS makes the device with requester id rid translate for itself within domain d (iommu_enable_pci_ats, at boot): the context entry
// lets it ask, and the domain gets a cache tag for its TLB behind that of the unit.
func (u *Unit) enableATS(rid uint16, d *Domain) error {
	if u.caps.ecap>>2&1 == 0 {
		return fmt.Errorf("ATS of device %04x: the unit answers no translation requests (ECAP.DT, ECAP %#x)", rid, u.caps.ecap)
	}
	if err := u.Attach(rid, d); err != nil {
		return err
	}
	at := u.contextEntry(rid)
	c, _ := table.DecodeContext(u.Env.Mem.Read64(at), u.Env.Mem.Read64(at+8), 52)
	c.Type = table.TTDeviceTLB
	u.writeContext(rid, c)
	dev := &deviceTag{dev: u.Env.Slab(1024, 64), iommu: u.Env.Slab(128, 64), info: u.Env.Slab(128, 64), sid: rid}
	for i, tag := range d.tags {
		if tag.u == u && tag.device == nil {
			d.tags = append(d.tags, nil)
			copy(d.tags[i+2:], d.tags[i+1:])
			d.tags[i+1] = &cacheTag{va: u.Env.Slab(64, 64), u: u, did: tag.did, device: dev}
			break
		}
	}
	return nil
}

// deviceDesc encodes the invalidation of s in the TLB of a device: S and the size in the low address bits (qi_desc_dev_iotlb).
func deviceDesc(sid uint16, s span) desc {
	d := desc{descDevTLB | uint64(sid)<<32, s.addr}
	if s.mask > 0 {
		d.hi |= 1<<(11+s.mask) - 1
		d.hi = d.hi&^0xfff | 1
	}
	return d
}

// flushDevTLB is cache_tag_flush_devtlb_psi, or _all for every address of 6.12's cache_tag_flush_all: it adds one descriptor to the batch, which
// the hardware sends on to the device.
func (d *Domain) flushDevTLB(t *cpu.Thread, tag *cacheTag, s span, node cpu.Val) {
	fn := fnFlushDevTLB
	if s.mask >= allPages {
		s = span{0, allDevicePages}
		if d.env.Version == kernel.V6_12 {
			fn = fnFlushDevTLBAll
		}
	}
	k := tag.device
	t.Call(fn)
	t.Nop(1)
	t.Push(3)
	t.ALU(2, 0)
	dev := t.Load(tag.va+tagDevice, node)
	u := t.Load(tag.va+tagUnit, node)
	p := t.Load(k.dev+0x2d8, dev) // dev->iommu
	t.ALU(1, p)
	t.Branch(false, p)
	info := t.Load(k.iommu+40, p) // ->priv
	bus := t.Mem(cpu.Load, k.info+infoBus, 1, info, 0)
	devfn := t.Mem(cpu.Load, k.info+infoBus+1, 1, info, 0)
	t.ALU(3, bus)
	t.ALU(1, devfn)
	t.ALU(1, 0)
	t.Branch(false, t.Last()) // a PASID
	q := t.Mem(cpu.Load, k.info+infoQdep, 2, info, 0)
	t.Branch(false, t.Mem(cpu.LoadOp, tag.u.at(iommuGcmd), 4, u, 0)) // translation is on
	b := t.Load(d.at.batch, 0)
	n := t.Mem(cpu.Load, d.batch.va+batchIndex, 4, b, 0)
	t.ALU(14, q) // qi_desc_dev_iotlb
	at := d.batch.va + uint64(d.batch.n)*32
	t.Store(at, n, q)
	t.Store(at+8, n, 0)
	t.Store(at+16, n, 0)
	t.Store(at+24, n, 0)
	t.ALU(1, n)
	t.Mem(cpu.Store, d.batch.va+batchIndex, 4, b, n)
	d.batch.descs[d.batch.n] = deviceDesc(k.sid, s)
	d.batch.n++
	full := d.batch.n == batchSize
	t.Branch(full, n)
	if full {
		tag.u.flushBatch(t, d)
	}
	t.Branch(false, t.Mem(cpu.LoadOp, k.info+infoExtra, 1, info, 0))
	t.Pop(3)
	t.Ret()
}

// AttachATS is iommucore.DeviceTLBs'.
func (a Adapter) AttachATS(rid uint16, d *iommucore.Domain) error {
	own, err := iommucore.Own[*Domain](rid, d, "VT-d")
	if err != nil {
		return err
	}
	return a.enableATS(rid, own)
}

var _ iommucore.DeviceTLBs = Adapter{}
