package vmm

import (
	"fmt"

	"dmapath/kernel/iommucore"
)

// Adapter is a guest's IOMMU driver with the host below it.
type Adapter struct {
	iommucore.Adapter // the guest's
	Host              *Host
}

var _ iommucore.Adapter = Adapter{}

// Enable turns on the real unit and then the virtual one.
func (a Adapter) Enable() {
	a.Host.adapter.Enable()
	a.Adapter.Enable()
}

// Attach gives the device to the guest, in a domain of the host's for its shadow, and to the guest's domain.
func (a Adapter) Attach(rid uint16, d *iommucore.Domain) error {
	h := a.Host
	own, err := h.adapter.NewDomain(h.levels)
	if err != nil {
		return err
	}
	if err := h.give(rid, own); err != nil {
		return err
	}
	return a.Adapter.Attach(rid, d)
}

// give gives the device to the guest, in a domain of the host's that is its shadow.
func (h *Host) give(rid uint16, own *iommucore.Domain) error {
	for _, s := range h.shadows {
		if s.rid == rid {
			return fmt.Errorf("attach of device %04x: the guest has it already", rid)
		}
	}
	if err := h.adapter.Attach(rid, own); err != nil {
		return err
	}
	h.shadows = append(h.shadows, &shadow{h: h, rid: rid, dom: own})
	return nil
}

// AttachPassthrough is not modelled: all memory of the guest would be mapped at once.
func (a Adapter) AttachPassthrough(rid uint16) error {
	return fmt.Errorf("attach of device %04x: a guest whose own IOMMU passes addresses through is not modelled", rid)
}
