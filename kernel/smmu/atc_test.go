package smmu

import (
	"slices"
	"testing"

	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
)

// Devices with TLBs of their own are told after the unit has forgotten: TLB commands, CMD_SYNC, a command for each device that covers what was
// unmapped, CMD_SYNC. A device without one in the same domain is not told, and a unit without ATS refuses.
func TestDevicesAreToldAfterTheUnit(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		r := newRig(t, v, features{ats: true})
		a := Adapter{Unit: r.unit}
		for _, rid := range []uint16{0x0101, 0x0102} {
			if err := a.AttachATS(rid, r.dom.Core); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			iova, pages uint64
			addr        uint64
			log2        uint8
		}{{iova, 1, iova, 0}, {0x10000000, 4, 0x10000000, 2}, {0x10001000, 2, 0x10000000, 2}} {
			recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) {
				if _, err := r.mapRange(th, c.iova, phys, page, c.pages, rw); err != nil {
					t.Error(err)
				}
				r.hw.order, r.hw.seen = nil, nil
				r.unmap(th, c.iova, page, c.pages)
			})
			want := []smmutable.Opcode{smmutable.TlbiNHVA, smmutable.Sync, smmutable.AtcInv, smmutable.AtcInv, smmutable.Sync}
			if !slices.Equal(r.hw.order, want) {
				t.Errorf("%v: commands %x, want %x", v, r.hw.order, want)
				continue
			}
			for i, sid := range []uint32{0x0101, 0x0102} {
				atc := r.hw.seen[1+i]
				if addr, log2 := atc.ATC(); addr != c.addr || log2 != c.log2 || atc.StreamID() != sid {
					t.Errorf("%v: %d pages at %#x: device %04x forgets 2^%d at %#x", v, c.pages, c.iova, atc.StreamID(), log2, addr)
				}
			}
		}
		r.hw.seen = nil
		recorded.RunOn(kernel.ARM64, func(th *cpu.Thread) { r.dom.FlushAll(th, 0) })
		if _, log2 := r.hw.seen[len(r.hw.seen)-1].ATC(); log2 != smmutable.ATCAll {
			t.Errorf("%v: a flush of the domain makes devices forget 2^%d pages", v, log2)
		}
		if err := (Adapter{Unit: newRig(t, v, features{}).unit}).AttachATS(0x0101, r.dom.Core); err == nil {
			t.Errorf("%v: a unit without ATS lets a device translate", v)
		}
	}
}
