package platform

import (
	"dmapath/cpu"
	"dmapath/kernel/mapops"
	"dmapath/sim"
)

// The aperture of the backend ops-gart: 64 MiB, what the kernel takes when the firmware has none, in the hole below 4 GiB.
const (
	apertureBase = 0xd0000000
	apertureSize = 64 << 20
)

// grantEntries is the grant table of the backend ops-grant: 64 pages, Xen's default limit (max_grant_frames), of 512 entries.
const grantEntries = 64 * 512

// northbridge are the configuration registers that flush the aperture's translations. A write starts a flush; by the time that a read,
// which goes behind it, has been answered, the flush is over (a guess). The read takes as long as one of the IOMMU's registers.
type northbridge struct{ read sim.Time }

func (n *northbridge) WriteReg(addr, val uint64, now sim.Time) {}

func (n *northbridge) ReadReg(addr uint64, now sim.Time) (uint64, sim.Time) { return 0, now + n.read }

// provider boots the DMA operations that all devices of the machine have, on the backends that are one; nil on others.
func (m *Machine) provider() (*mapops.Table, error) {
	switch m.Opt.Backend {
	case OpsGart:
		g, err := mapops.NewGart(m.Env, m.MM, apertureBase, apertureSize)
		if err != nil {
			return nil, err
		}
		g.Force, g.NB, g.NBAddr = true, &northbridge{m.Spec.IOMMU.RegisterRead}, cpu.MMIOBase+0x9c
		return mapops.New(m.Env, g), nil
	case OpsGrant:
		g, err := mapops.NewGrant(m.Env, m.MM, grantEntries)
		if err != nil {
			return nil, err
		}
		return mapops.New(m.Env, g), nil
	}
	return nil, nil
}
