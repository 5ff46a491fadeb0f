package iommucore

import "fmt"

// Adapter is a booted IOMMU driver as the code that plugs in devices sees it: what a driver gives the core besides the
// operations of its domains. Everything here happens at boot and costs no simulated time.
type Adapter interface {
	// Enable turns the unit on: queues, device table, translation.
	Enable()
	// NewDomain allocates a paging domain for devices behind the unit, with a table of levels, or as deep as the driver
	// chooses when levels is 0.
	NewDomain(levels int) (*Domain, error)
	// Attach makes the device with requester id rid use a domain of this driver. The hardware must not have cached another
	// entry for rid.
	Attach(rid uint16, d *Domain) error
	// AttachPassthrough makes the device with requester id rid use physical addresses (iommu.passthrough=1).
	AttachPassthrough(rid uint16) error
}

// DeviceTLBs is an Adapter whose driver knows devices that translate themselves (ATS). AttachATS is Attach for one of them: unmaps then invalidate
// the device's TLB as well.
type DeviceTLBs interface {
	AttachATS(rid uint16, d *Domain) error
}

// Own returns the driver's own domain behind d, which the device with requester id rid is to use; an error when another driver made
// d. of names the driver.
func Own[D Driver](rid uint16, d *Domain, of string) (D, error) {
	own, ok := d.Driver().(D)
	if !ok {
		return own, fmt.Errorf("attach of device %04x: the domain is not one of %s", rid, of)
	}
	return own, nil
}
