// Package dma is the top of the DMA API: the calls that drivers make, and the hand-over to dma-direct or iommu-dma.
package dma
