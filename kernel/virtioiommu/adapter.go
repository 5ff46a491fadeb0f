package virtioiommu

import "dmapath/kernel/iommucore"

// Adapter is a unit as platform boots it.
type Adapter struct{ *Unit }

var _ iommucore.Adapter = Adapter{}

// NewDomain is iommucore.Adapter's: a domain has no table whose depth could be chosen.
func (a Adapter) NewDomain(int) (*iommucore.Domain, error) { return a.Unit.NewDomain().Domain, nil }

// Attach is iommucore.Adapter's.
func (a Adapter) Attach(rid uint16, d *iommucore.Domain) error {
	own, err := iommucore.Own[*Domain](rid, d, "virtio-iommu")
	if err != nil {
		return err
	}
	return a.Unit.Attach(rid, own)
}
