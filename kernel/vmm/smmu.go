package vmm

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/kernel/iommucore"
	"dmapath/sim"
)

const (
	fileAccel   = "hw/arm/smmuv3-accel.c (QEMU)"
	fileSMMU    = "hw/arm/smmuv3.c (QEMU)"
	fileIOMMUFD = "drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3-iommufd.c"
)

var (
	smmuWrite = []stage{{cpu.NewFunc("smmu_write_mmio", fileSMMU, 900), 90, onDevice}}
	smmuRead  = []stage{{cpu.NewFunc("smmu_read_mmio", fileSMMU, 700), 70, onDevice}}
	stConsume = stage{cpu.NewFunc("smmuv3_cmdq_consume", fileSMMU, 1800), 120, onDevice}
	stCommand = stage{cpu.NewFunc("queue_read", fileSMMU, 500), 190, onDevice}
	stBatch   = stage{cpu.NewFunc("smmuv3_accel_batch_cmd", fileAccel, 300), 60, onDevice}
	stFlush   = stage{cpu.NewFunc("smmuv3_accel_issue_cmd_batch", fileAccel, 400), 150, onDevice}
	stIoctl   = stage{cpu.NewFunc("iommufd_hwpt_invalidate", "drivers/iommu/iommufd/hw_pagetable.c", 700), 260, onVFIO}
	stVsmmu   = stage{cpu.NewFunc("arm_vsmmu_cache_invalidate", fileIOMMUFD, 900), 160, onVFIO}
	stConvert = stage{cpu.NewFunc("arm_vsmmu_convert_user_cmd", fileIOMMUFD, 240), 40, onVFIO}
)

// batchMost is how many commands are forwarded at once: CMDQ_BATCH_ENTRIES.
const batchMost = 64

// Forwarder is the host's driver of the real unit as the device model reaches it through iommufd.
type Forwarder interface {
	iommucore.Adapter
	AttachNested(rid uint16, guest smmutable.STE) error
	Forward(t *cpu.Thread, cmds []smmutable.Command, from uint64)
}

// SMMUWindow is the register window of a virtual SMMUv3 whose translations the real unit does, nested: only its queues are emulated
// (QEMU's smmuv3 with accel=on). Each access to a register exits.
type SMMUWindow struct {
	// Commands counts commands taken from the guest's queue, Forwarded those that went to the host's.
	Commands, Forwarded uint64

	host    *Host
	real    Forwarder
	base    uint64
	regs    func(off uint64) uint64 // of the real unit
	command sim.Time
	access  sim.Time

	cmdq       uint64
	log2       uint8
	prod, cons uint32
	strtab     uint64
	twoLevel   bool
	batch      []smmutable.Command
	buffer     uint64 // of the device model: the batch as it is given to the kernel
	stack      uint64 // in the kernel: the batch as it is forwarded
}

var _ cpu.Exiter = (*SMMUWindow)(nil)

// SMMUConfig is what a virtual SMMU needs beyond Config, whose Adapter is not used.
type SMMUConfig struct {
	Config
	Real     Forwarder
	Register func(off uint64) uint64 // reads a register of the real unit, at boot
	// Access and Command are times that the host takes under the device model's lock for each access and for each command that it forwards, on
	// top of what is modelled.
	Access, Command sim.Time
}

// NewSMMU returns a host and the register window of a virtual SMMU.
func NewSMMU(c SMMUConfig) (*Host, *SMMUWindow) {
	c.Adapter = c.Real
	h := newHost(c.Config)
	w := &SMMUWindow{host: h, real: c.Real, base: c.Base, regs: c.Register, command: c.Command, access: c.Access, batch: make([]smmutable.Command, 0, batchMost),
		buffer: c.Env.Slab(batchMost*smmutable.CommandSize, 64), stack: c.Env.Slab(batchMost*smmutable.CommandSize, 64)}
	return h, w
}

// ReadReg is a read at boot, which costs nothing. The unit is the real one without what queues in hardware have: it sends no messages and no
// events.
func (w *SMMUWindow) ReadReg(addr uint64, now sim.Time) (uint64, sim.Time) {
	off := addr - w.base
	switch off {
	case smmutable.RegIDR0:
		return w.regs(off) &^ uint64(smmutable.IDR0MSI|smmutable.IDR0SEV|smmutable.IDR0ATS|smmutable.IDR0PRI), now
	case smmutable.RegIDR1, smmutable.RegIDR3, smmutable.RegIDR5:
		return w.regs(off), now
	case smmutable.RegCmdqCons:
		return uint64(w.cons), now
	}
	panic(fmt.Sprintf("vmm: read of register %#x of the virtual SMMU, which it does not have", off))
}

// WriteReg is a write at boot; the event queue and the control registers mean nothing here.
func (w *SMMUWindow) WriteReg(addr, val uint64, _ sim.Time) {
	switch addr - w.base {
	case smmutable.RegCmdqBase:
		w.cmdq, w.log2 = smmutable.DecodeQueueBase(val)
	case smmutable.RegCmdqProd:
		w.prod = uint32(val)
	case smmutable.RegCmdqCons:
		w.cons = uint32(val)
	case smmutable.RegStrtabBase:
		w.strtab = val &^ (1<<62 | 63)
	case smmutable.RegStrtabBaseCfg:
		_, _, w.twoLevel = smmutable.DecodeStrtabBaseCfg(uint32(val))
	case smmutable.RegCR0, smmutable.RegEventqBase, smmutable.RegEventqProd, smmutable.RegEventqCons:
	default:
		panic(fmt.Sprintf("vmm: write of register %#x of the virtual SMMU, which it does not have", addr-w.base))
	}
}

// Exit is one access of the running guest.
func (w *SMMUWindow) Exit(t *cpu.Thread, va, val uint64, write bool) uint64 {
	handler := smmuRead
	if write {
		handler = smmuWrite
	}
	w.host.handle(t, handler, func() {
		if w.access > 0 {
			t.WaitUntil(cpu.StallMMIO, t.Now()+w.access)
		}
		if !write {
			val, _ = w.ReadReg(va, 0)
			return
		}
		w.WriteReg(va, val, 0)
		if va-w.base == smmutable.RegCmdqProd {
			w.consume(t)
		}
	})
	return val
}

// consume is smmuv3_cmdq_consume: it takes the commands up to PROD and gives the host what it has to forget.
func (w *SMMUWindow) consume(t *cpu.Thread) {
	h := w.host
	h.code(t, &stConsume)
	for top := t.Here(); w.cons != w.prod&(2<<w.log2-1); {
		h.code(t, &stCommand)
		at := w.cmdq + uint64(w.cons&(1<<w.log2-1))*smmutable.CommandSize
		c := smmutable.Command{h.load(t, at), h.load(t, at+8)}
		w.Commands++
		t.JumpInd(8, t.ALU(4, t.Last()))
		switch c.Op() {
		case smmutable.Sync:
			w.flush(t)
		case smmutable.TlbiNHAll, smmutable.TlbiNHASID, smmutable.TlbiNHVA, smmutable.TlbiNHVAA, smmutable.TlbiNSNHAll:
			h.code(t, &stBatch)
			to := w.buffer + uint64(len(w.batch))*smmutable.CommandSize
			t.Store(to, 0, 0)
			t.Store(to+8, 0, 0)
			w.batch = append(w.batch, c)
			if len(w.batch) == cap(w.batch) {
				w.flush(t)
			}
		default:
			panic(fmt.Sprintf("vmm: command %x in the guest's queue: devices are attached at boot, and have no TLB of their own", c))
		}
		w.cons = (w.cons + 1) & (2<<w.log2 - 1)
		t.Back(top)
	}
	w.flush(t)
}

// flush forwards the batch: one ioctl, in which the kernel copies the commands, writes the guest's VMID into each, and puts them into its own queue
// with a CMD_SYNC that it waits for.
func (w *SMMUWindow) flush(t *cpu.Thread) {
	h, n := w.host, len(w.batch)
	t.Branch(n == 0, t.ALU(1, 0))
	if n == 0 {
		return
	}
	h.code(t, &stFlush)
	h.code(t, &stages[stSyscall])
	h.code(t, &stIoctl)
	h.code(t, &stVsmmu)
	for i := range n {
		off := uint64(i) * smmutable.CommandSize
		t.LoadPair(w.buffer+off, 0) // copy_from_user
		t.StorePair(w.stack+off, 0, t.Last())
		h.code(t, &stConvert)
	}
	if w.command > 0 {
		t.WaitUntil(cpu.StallMMIO, t.Now()+sim.Time(n)*w.command)
	}
	w.Forwarded += uint64(n)
	w.real.Forward(t, w.batch, w.stack)
	h.code(t, &stages[stSysret])
	w.batch = w.batch[:0]
}

// SMMUAdapter is a guest's SMMU driver with the host below it.
type SMMUAdapter struct {
	iommucore.Adapter // the guest's
	Window            *SMMUWindow
}

var _ iommucore.Adapter = SMMUAdapter{}

// Enable turns on the real unit and then the virtual one.
func (a SMMUAdapter) Enable() {
	a.Window.real.Enable()
	a.Adapter.Enable()
}

// Attach attaches the device to the guest's domain, and in the real unit to what the guest's stream table says of it.
func (a SMMUAdapter) Attach(rid uint16, d *iommucore.Domain) error {
	if err := a.Adapter.Attach(rid, d); err != nil {
		return err
	}
	return a.Window.install(rid)
}

// AttachPassthrough is Attach of a stream that bypasses the guest's stage 1.
func (a SMMUAdapter) AttachPassthrough(rid uint16) error {
	if err := a.Adapter.AttachPassthrough(rid); err != nil {
		return err
	}
	return a.Window.install(rid)
}

// install copies the guest's stream table entry (smmuv3_accel_install_ste).
func (w *SMMUWindow) install(rid uint16) error {
	m := w.host.env.Mem
	at := smmutable.StreamAddr(w.strtab, uint32(rid), smmutable.StreamSplit, w.twoLevel)
	if w.twoLevel {
		table, _, ok := smmutable.DecodeL1Stream(m.Read64(at))
		if !ok {
			return fmt.Errorf("attach of device %04x: the guest's stream table has no entry", rid)
		}
		at = table + uint64(rid&(1<<smmutable.StreamSplit-1))*smmutable.STESize
	}
	var words [smmutable.STESize / 8]uint64
	for i := range words {
		words[i] = m.Read64(at + uint64(i)*8)
	}
	return w.real.AttachNested(rid, smmutable.DecodeSTE(words))
}
