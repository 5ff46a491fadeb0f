package replay

import (
	"io"

	"dmapath/workloads/compressed"
)

// Text returns the text of r, which may be compressed with gzip or zstd; see package compressed.
func Text(r io.Reader) (*compressed.Reader, error) { return compressed.NewReader(r) }
