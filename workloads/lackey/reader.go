package lackey

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Kind is what an access does.
type Kind uint8

// Kinds.
const (
	Fetch  Kind = iota // an instruction
	Load               // a load
	Store              // a store
	Modify             // a load and a store of the same bytes
	NumKinds
)

// Ref is one access of the traced program.
type Ref struct {
	Addr uint64 // virtual, in bytes
	Size uint32 // bytes, 1 to MaxSize
	Kind Kind
}

// MaxSize is the largest access that Valgrind reports, in bytes: the state that fxsave and xsave store.
const MaxSize = 4096

// kept is how many damaged lines are kept to be shown; all are counted.
const kept = 5

// SyntaxError is one line that is no access.
type SyntaxError struct {
	File string
	Line int64
	Text string // cut to 120 bytes
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d: no access: %q", e.File, e.Line, e.Text)
}

// Reader reads accesses from the text of one trace.
type Reader struct {
	file       string
	src        io.Reader
	buf        []byte
	start, end int
	err        error // of src
	cut        bool  // in a line longer than buf: the rest of it is skipped

	Lines     int64 // read so far
	Skipped   int64 // Valgrind's own and empty lines
	Malformed int64
	Damaged   []*SyntaxError // the first of the malformed lines
}

// NewReader reads plain text from r; file names it in errors.
func NewReader(r io.Reader, file string) *Reader {
	return &Reader{file: file, src: r, buf: make([]byte, 1<<20)}
}

// Next fills dst with the next accesses and returns how many: fewer than len(dst) only at the end, which is io.EOF with the last of
// them or after them. Another error is one of the input, and final.
func (r *Reader) Next(dst []Ref) (int, error) {
	n := 0
	for n < len(dst) {
		b := r.buf[r.start:r.end]
		eol := bytes.IndexByte(b, '\n')
		if eol < 0 {
			if r.err != nil {
				if len(b) > 0 { // the last line has no end
					r.start = r.end
					n += r.line(b, &dst[n])
				}
				return n, r.err
			}
			r.more()
			continue
		}
		r.start += eol + 1
		n += r.line(b[:eol], &dst[n])
	}
	return n, nil
}

// more reads more of the input behind what is left of the buffer.
func (r *Reader) more() {
	if r.start == 0 && r.end == len(r.buf) {
		if !r.cut { // longer than any line of a trace; its end is counted as the line
			r.damaged(r.buf, r.Lines+1)
		}
		r.end, r.cut = 0, true
	}
	copy(r.buf, r.buf[r.start:r.end])
	r.start, r.end = 0, r.end-r.start
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if err != nil {
		if !errors.Is(err, io.EOF) {
			err = fmt.Errorf("%s: after line %d: %w", r.file, r.Lines, err)
		}
		r.err = err
	}
}

// line reads one line into ref and returns 1 if it is an access, else 0.
func (r *Reader) line(b []byte, ref *Ref) int {
	r.Lines++
	if r.cut {
		r.cut = false
		return 0
	}
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	if len(b) > 5 {
		ok := true
		switch {
		case b[0] == 'I' && b[1] == ' ' && b[2] == ' ':
			ref.Kind = Fetch
		case b[0] != ' ' || b[2] != ' ':
			ok = false
		case b[1] == 'L':
			ref.Kind = Load
		case b[1] == 'S':
			ref.Kind = Store
		case b[1] == 'M':
			ref.Kind = Modify
		default:
			ok = false
		}
		if ok && ref.operands(b[3:]) {
			return 1
		}
	}
	if len(b) == 0 || bytes.HasPrefix(b, []byte("==")) || bytes.HasPrefix(b, []byte("--")) {
		r.Skipped++
		return 0
	}
	r.damaged(b, r.Lines)
	return 0
}

// operands reads "1fff000d48,8".
func (ref *Ref) operands(b []byte) bool {
	addr, i := uint64(0), 0
	for i < len(b) && b[i] != ',' {
		d := hexDigit[b[i]]
		if d > 15 || i == 16 {
			return false
		}
		addr = addr<<4 | uint64(d)
		i++
	}
	if i == 0 || i+1 >= len(b) || i+5 < len(b) {
		return false
	}
	size := uint32(0)
	for _, c := range b[i+1:] {
		if c < '0' || c > '9' {
			return false
		}
		size = 10*size + uint32(c-'0')
	}
	ref.Addr, ref.Size = addr, size
	return size > 0 && size <= MaxSize && addr+uint64(size) > addr
}

// hexDigit is the value of a hexadecimal digit, more than 15 for other bytes.
var hexDigit = func() (t [256]uint8) {
	for c := range t {
		t[c] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = uint8(i)
	}
	for i, c := range []byte("ABCDEF") {
		t[c] = uint8(10 + i)
	}
	return t
}()

// damaged records a line that is no access.
func (r *Reader) damaged(b []byte, line int64) {
	r.Malformed++
	if len(r.Damaged) < kept {
		r.Damaged = append(r.Damaged, &SyntaxError{r.file, line, string(b[:min(len(b), 120)])})
	}
}
