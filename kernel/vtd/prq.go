package vtd

import (
	"dmapath/cpu"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/pcie"
)

const filePRQ = "drivers/iommu/intel/prq.c"

var (
	fnPRQ     = cpu.NewFunc("prq_event_thread", filePRQ, 900)
	fnReport  = cpu.NewFunc("intel_prq_report", filePRQ, 300)
	fnPageRsp = cpu.NewFunc("intel_iommu_page_response", filePRQ, 300)
)

// Registers and sizes of the page request queue (VT-d specification 11.4.12): 16 pages of 32-byte entries (PRQ_ORDER 4).
const (
	prsPPR   = 1 << 0
	prsPRO   = 1 << 1
	prqOrder = 4
	prqEntry = 32
)

// prq is the page request queue of a unit.
type prq struct {
	base  uint64 // direct-map address of the ring; 0: not enabled
	bytes uint64
	head  uint64
	tree  uint64 // device_rbtree with its lock

	// Overflows counts how often the thread found that requests were dropped.
	Overflows uint64
}

// EnablePRQ gives the unit a queue for page requests of 4096<<order bytes (intel_iommu_enable_prq; the kernel's order is 4). It happens at boot.
func (u *Unit) EnablePRQ(order int) {
	u.prq = prq{base: u.Env.Pages(order), bytes: 4096 << order, tree: u.Env.Slab(64, 64)}
	w := func(off, val uint64) { u.hw.WriteReg(u.RegVA+off, val, 0) }
	w(table.RegPQH, 0)
	w(table.RegPQT, 0)
	w(table.RegPQA, kernel.Phys(u.prq.base)|uint64(order))
}

// PRQOrder is PRQ_ORDER.
const PRQOrder = prqOrder

// PRQOverflows returns how often the IRQ thread found that requests were dropped.
func (u *Unit) PRQOverflows() uint64 { return u.prq.Overflows }

// PRQThread is prq_event_thread, the threaded handler of the queue's interrupt: it reports every request that it finds.
func (u *Unit) PRQThread(t *cpu.Thread, report func(t *cpu.Thread, r pcie.PageRequest)) {
	q := &u.prq
	t.Call(fnPRQ)
	t.Nop(2)
	t.Push(6)
	t.Frame(128)
	reg := t.Load(u.at(iommuReg), 0)
	t.MMIOWrite(u.hw, u.RegVA+table.RegPRS, prsPPR, reg, 0) // before looking: what comes later interrupts again
	for {
		tail, tv := t.MMIORead(u.hw, u.RegVA+table.RegPQT, reg)
		head, hv := t.MMIORead(u.hw, u.RegVA+table.RegPQH, reg)
		q.head = head
		t.ALU(2, t.ALU2(tv, hv))
		for top := t.Here(); ; {
			more := q.head != tail
			t.Branch(!more, t.ALU(1, 0))
			if !more {
				break
			}
			at := q.base + q.head
			lo := t.Load(at, t.ALU(1, 0))
			hi := t.Load(at+8, 0)
			t.Branch(false, t.ALU(3, lo)) // pasid_present and the checks of the address
			t.Branch(false, t.ALU(4, hi))
			t.Sync()
			m := u.Env.Mem
			w0, w1 := m.Read64(kernel.Phys(at)), m.Read64(kernel.Phys(at)+8)
			r := pcie.PageRequest{RID: uint16(w0 >> 16), Addr: w1 &^ 0xfff, Group: uint16(w1 >> 3 & 0x1ff), Read: w1&1 != 0, Write: w1&2 != 0, Last: w1&4 != 0}
			// device_rbtree_find under its lock, then intel_prq_report.
			t.Mem(cpu.Atomic, q.tree, 4, 0, 0)
			t.ALU(12, t.Load(q.tree+8, 0))
			t.Call(fnReport)
			t.Nop(1)
			t.Push(3)
			t.ALU(18, 0)
			for off := 0; off < 64; off += 8 {
				t.StackStore(off, 0)
			}
			report(t, r)
			t.Pop(3)
			t.Ret()
			t.Mem(cpu.Store, q.tree, 1, 0, 0)
			q.head = (q.head + prqEntry) & (q.bytes - 1)
			t.ALU(3, 0)
			t.Back(top)
		}
		t.MMIOWrite(u.hw, u.RegVA+table.RegPQH, tail, reg, 0)
		prs, p := t.MMIORead(u.hw, u.RegVA+table.RegPRS, reg)
		over := prs&prsPRO != 0
		t.Branch(over, t.ALU(1, p))
		if !over {
			break
		}
		// What is in the queue is taken before the overflow is forgotten, since nothing is added until then.
		tail, tv = t.MMIORead(u.hw, u.RegVA+table.RegPQT, reg)
		head, hv = t.MMIORead(u.hw, u.RegVA+table.RegPQH, reg)
		empty := tail == head
		t.Branch(empty, t.ALU2(tv, hv))
		if empty {
			q.Overflows++
			t.MMIOWrite(u.hw, u.RegVA+table.RegPRS, prsPRO|prs&prsPPR, reg, 0)
			break
		}
	}
	t.Frame(-128)
	t.Pop(6)
	t.Ret()
}

// PageResponse is intel_iommu_page_response: a page group response descriptor, which is waited for as an invalidation is.
func (u *Unit) PageResponse(t *cpu.Thread, rid, group uint16, code pcie.Response) {
	t.Call(fnPageRsp)
	t.Nop(2)
	t.Push(4)
	t.Frame(48)
	t.ALU(14, t.Load(u.at(iommuReg), 0))
	for off := 0; off < 32; off += 8 {
		t.StackStore(off, 0)
	}
	descs := []desc{{descPageResp | uint64(code)<<12 | uint64(rid)<<16, uint64(group&0x1ff) << 3}}
	u.submit(t, descs, t.SP())
	t.Frame(-48)
	t.Pop(4)
	t.Ret()
}
