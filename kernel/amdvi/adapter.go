package amdvi

import "dmapath/kernel/iommucore"

// Adapter is the unit as the core's users see it.
type Adapter struct{ *Unit }

var (
	_ iommucore.Adapter    = Adapter{}
	_ iommucore.DeviceTLBs = Adapter{}
)

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
	own, err := iommucore.Own[*Domain](rid, d, "AMD-Vi")
	if err != nil {
		return err
	}
	return a.Unit.Attach(rid, own)
}

// AttachATS is Unit.AttachATS of a domain that NewDomain made.
func (a Adapter) AttachATS(rid uint16, d *iommucore.Domain) error {
	own, err := iommucore.Own[*Domain](rid, d, "AMD-Vi")
	if err != nil {
		return err
	}
	return a.Unit.AttachATS(rid, own)
}
