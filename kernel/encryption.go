package kernel

import "dmapath/cpu"

var (
	ccPlatformHas    = cpu.NewFunc("cc_platform_has", "arch/x86/coco/core.c", 96)
	forceUnencrypted = cpu.NewFunc("force_dma_unencrypted", "arch/x86/mm/mem_encrypt.c", 64)
)

// CCAttr is what cc_platform_has is asked: enum cc_attr.
type CCAttr uint8

// Attributes of a confidential platform.
const (
	MemEncrypted   CCAttr = iota // CC_ATTR_MEM_ENCRYPT
	GuestEncrypted               // CC_ATTR_GUEST_MEM_ENCRYPT
	HostEncrypted                // CC_ATTR_HOST_MEM_ENCRYPT: SME, which is not modelled
)

// PlatformHas emits cc_platform_has(): cc_vendor is none on a bare machine, and the answer no. 8 instructions with the return.
func (e *Env) PlatformHas(t *cpu.Thread, a CCAttr) bool {
	has := e.EncryptedGuest && a != HostEncrypted
	t.Call(ccPlatformHas)
	t.Nop(1)
	vendor := t.Mem(cpu.Load, e.Sym.CcVendor, 4, 0, 0)
	t.Branch(e.EncryptedGuest, t.ALU(1, vendor))
	if e.EncryptedGuest { // the switch over the attribute in the vendor's own function, read and not recorded
		t.Branch(!has, t.ALU(2, 0))
		t.ALU(1, 0)
	} else {
		t.Branch(false, t.ALU(1, vendor))
	}
	t.ALU(1, 0)
	t.Ret()
	return has
}

// ForceUnencrypted emits force_dma_unencrypted(): whether the devices can only reach memory that is shared with the host. In a guest
// the first question settles it; on a bare machine the second is whether the host encrypts memory: 16 instructions and twice
// cc_platform_has.
func (e *Env) ForceUnencrypted(t *cpu.Thread) bool {
	t.Call(forceUnencrypted)
	t.Nop(1)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(1)
	t.ALU(1, 0)
	guest := e.PlatformHas(t, GuestEncrypted)
	has := t.ALU(1, 0)
	t.Branch(!guest, t.ALU(1, 0))
	if !guest {
		t.ALU(1, 0)
		e.PlatformHas(t, HostEncrypted)
		t.Branch(true, t.ALU(1, 0))
	}
	t.ALU(1, 0)
	t.ALU(1, has)
	t.Pop(2)
	t.Ret()
	return guest
}
