// Package compressed reads text that may be compressed, whatever its file is called and wherever it comes from: gzip and zstd are recognised
// by their first bytes, several members or frames one after the other are one text (as gzip -c a >> b makes them), and anything else is
// the text itself.
//
// Memory is constant: 32 KiB of history for gzip, at most MaxWindow for zstd. A text that is cut off or damaged ends in an error that says
// where; everything before has been delivered by then.
package compressed

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// MaxWindow is how much history a zstd frame may ask for: what zstd --long=27 writes and zstd -d reads without being asked.
const MaxWindow = 128 << 20

// Reader delivers the text.
type Reader struct {
	// Form is gzip or zstd; empty: the text is not compressed.
	Form string

	in    *counter
	text  io.Reader
	close func()
	n     int64
	err   error // final
}

// counter counts what has been read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// NewReader looks at the first bytes of r.
func NewReader(r io.Reader) (*Reader, error) {
	c := &Reader{in: &counter{r: r}, close: func() {}}
	br := bufio.NewReaderSize(c.in, 256<<10)
	head, err := br.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		c.Form = "gzip"
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, c.damaged(err)
		}
		c.text = z
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) || len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18}): // the latter skippable, as pzstd begins
		c.Form = "zstd"
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(MaxWindow))
		if err != nil {
			return nil, c.damaged(err)
		}
		c.text, c.close = z, z.Close
	default:
		c.text = br
	}
	return c, nil
}

// Read reads text. An error other than io.EOF says where it happened and is final.
func (c *Reader) Read(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.text.Read(b)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		err = c.damaged(err)
	}
	c.err = err
	return n, err
}

// Consumed returns how many bytes of the input have been read, which is up to 256 KiB more than have been delivered as text.
func (c *Reader) Consumed() int64 { return c.in.n }

// Close frees what decompression needs; it does not close the input.
func (c *Reader) Close() error {
	c.close()
	return nil
}

// damaged says where err happened.
func (c *Reader) damaged(err error) error {
	if c.Form == "" {
		return err
	}
	what := "is damaged"
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		what = "is cut off"
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return fmt.Errorf("zstd: a frame needs more than %d MiB of history: recompress it with zstd --long=27 or less", MaxWindow>>20)
	}
	return fmt.Errorf("%s: the input %s within its first %d bytes, after %d bytes of text: %w", c.Form, what, c.in.n, c.n, err)
}
