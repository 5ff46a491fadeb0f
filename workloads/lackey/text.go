package lackey

import (
	"io"

	"dmapath/workloads/compressed"
)

// Text returns the text of r, which may be compressed with gzip or zstd; see package compressed. Close it when done.
func Text(r io.Reader) (io.ReadCloser, error) {
	text, err := compressed.NewReader(r)
	if err != nil {
		return nil, err // not a nil *Reader in an interface
	}
	return text, nil
}
