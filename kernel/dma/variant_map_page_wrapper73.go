package dma

// map_page_wrapper@7.3 is map_page@7.3 by the name that the debate uses for it: dma_map_page as a wrapper of dma_map_phys.
var _ = alias("map_page_wrapper@7.3", mapPage73{})
