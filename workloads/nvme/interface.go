package nvme

import "dmapath/kernel"

// Segments is how many segments the block layer counts (blk_rq_nr_phys_segments) in n bytes of physically contiguous memory at phys:
// 6.12 joins neighbouring pages into one, 7.3 only the pages of one folio (event traces: 7.3 maps neighbours that are no folio through
// its iterator, which joins them then).
func Segments(v kernel.Version, phys, n uint64, folio bool) int {
	if v == kernel.V7_3 && !folio {
		return int(phys&4095+n+4095) / 4096
	}
	return 1
}

// OneCall reports whether the driver maps a request of size bytes in segs segments, the first at phys, by one dma_map_bvec (both
// versions: nvme_setup_prp_simple and nvme_setup_sgl_simple, nvme_pci_setup_data_simple). Behind an IOMMU every other request is one
// scatterlist of 6.12, and links into one range of 7.3. sgl says that the controller takes scatter-gather lists.
func OneCall(segs int, phys, size uint64, sgl bool) bool {
	return segs == 1 && (phys&4095+size <= 2*4096 || sgl)
}
