package ftrace

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"dmapath/kernel"
	"dmapath/sim"
)

// MaxLine is the longest line that is read, in bytes: a dma_map_sg of 128 entries takes about 8 KiB. A longer line is
// skipped and reported as a *SyntaxError.
const MaxLine = 64 << 10

// Reader reads events from one text stream.
type Reader struct {
	file string
	br   *bufio.Reader
	buf  []byte
	line int
	ev   Event
	devs map[string]string // names of devices, so that they are not allocated for every event

	// Skipped counts lines that are not events of the dma and iommu groups (comments, blanks, other subsystems),
	// Malformed those delivered as *SyntaxError.
	Skipped, Malformed int64
	// CPUs is how many CPUs the traced machine had, where a heading says so ("#P:2" in a trace file, "cpus=2" of trace-cmd);
	// 0 otherwise.
	CPUs int
}

// NewReader reads from r; file names it in errors.
func NewReader(r io.Reader, file string) *Reader {
	return &Reader{file: file, br: bufio.NewReaderSize(r, 256<<10), buf: make([]byte, 0, 4096), devs: map[string]string{}}
}

// Lines returns how many lines have been read.
func (r *Reader) Lines() int64 { return int64(r.line) }

// Next returns the next event. At the end it returns io.EOF; for a line that does not parse a *SyntaxError, after which
// reading may go on; any other error is one of the input and final.
func (r *Reader) Next() (*Event, error) {
	for {
		line, err := r.readLine()
		if err == errLong {
			r.Malformed++
			return nil, &SyntaxError{r.file, r.line, string(line[:120]), fmt.Sprintf("line longer than %d bytes", MaxLine)}
		}
		if err != nil {
			return nil, err
		}
		ok, msg := r.parse(line)
		if msg != "" {
			r.Malformed++
			if len(line) > 120 {
				line = line[:120]
			}
			return nil, &SyntaxError{r.file, r.line, string(line), msg}
		}
		if ok {
			return &r.ev, nil
		}
		r.heading(line)
		r.Skipped++
	}
}

// heading looks for the number of CPUs in a line that is no event.
func (r *Reader) heading(line []byte) {
	var num []byte
	if i := bytes.LastIndex(line, []byte("#P:")); i > 0 && line[0] == '#' {
		num = line[i+3:]
	} else if !bytes.HasPrefix(line, []byte("cpus=")) {
		return
	} else {
		num = line[5:]
	}
	if n, err := strconv.ParseUint(string(bytes.TrimSpace(num)), 10, 13); err == nil {
		r.CPUs = max(r.CPUs, int(n))
	}
}

var errLong = errors.New("line too long")

// readLine returns the next line without its end, in a buffer that is reused.
func (r *Reader) readLine() ([]byte, error) {
	r.buf = r.buf[:0]
	long := false
	for {
		part, err := r.br.ReadSlice('\n')
		if !long {
			r.buf = append(r.buf, part...)
			long = len(r.buf) > MaxLine
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err == io.EOF && len(r.buf) == 0 {
			return nil, io.EOF
		}
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("%s:%d: %w", r.file, r.line+1, err)
		}
		r.line++
		if long {
			return r.buf, errLong
		}
		return bytes.TrimRight(r.buf, "\r\n"), nil
	}
}

// parse reads one line into r.ev. It returns false when the line is not an event of ours, and a message when it is one
// but cannot be read.
func (r *Reader) parse(line []byte) (bool, string) {
	head, cpu, rest := splitCPU(line)
	if head == nil {
		return false, ""
	}
	ts, rest, ok := timestamp(rest)
	if !ok {
		return false, ""
	}
	name, rest := cutName(rest)
	kind, ok := kindOf(name)
	if !ok {
		return false, ""
	}
	ev := &r.ev
	*ev = Event{Kind: kind, Line: r.line, CPU: cpu, Time: ts, PID: pid(head), Dir: kernel.NoDirection,
		SGPhys: ev.SGPhys[:0], SGAddrs: ev.SGAddrs[:0], SGSizes: ev.SGSizes[:0]}
	rest = bytes.TrimLeft(rest, " ")
	if kind == IommuMap || kind == IommuUnmap {
		return true, ev.iommuFields(rest)
	}
	return true, ev.dmaFields(rest, r.device)
}

// maxNames bounds the names that are remembered; damaged lines may have any.
const maxNames = 1024

// device returns name as a string.
func (r *Reader) device(name []byte) string {
	s, ok := r.devs[string(name)]
	if !ok {
		s = string(name)
		if len(r.devs) < maxNames {
			r.devs[s] = s
		}
	}
	return s
}

// splitCPU finds "[NNN]" followed by a time stamp, perhaps with a column of flags in between.
func splitCPU(line []byte) (head []byte, cpu int, rest []byte) {
	for at := 0; ; {
		i := bytes.IndexByte(line[at:], '[')
		if i < 0 {
			return nil, 0, nil
		}
		at += i + 1
		n, j := 0, at
		for j < len(line) && j-at < 6 && line[j] >= '0' && line[j] <= '9' {
			n = n*10 + int(line[j]-'0')
			j++
		}
		if j == at || j >= len(line) || line[j] != ']' {
			continue
		}
		rest = bytes.TrimLeft(line[j+1:], " ")
		if _, _, ok := timestamp(rest); ok {
			return line[:at-1], n, rest
		}
		if k := bytes.IndexByte(rest, ' '); k > 0 && k <= 8 {
			if flagged := bytes.TrimLeft(rest[k:], " "); len(flagged) > 0 {
				if _, _, ok := timestamp(flagged); ok {
					return line[:at-1], n, flagged
				}
			}
		}
	}
}

// timestamp reads "seconds.fraction:" with 3 to 9 decimals.
func timestamp(b []byte) (sim.Time, []byte, bool) {
	i, sec := 0, int64(0)
	for i < len(b) && b[i] >= '0' && b[i] <= '9' && i < 7 {
		sec = sec*10 + int64(b[i]-'0')
		i++
	}
	if i == 0 || i >= len(b) || b[i] != '.' {
		return 0, nil, false
	}
	i++
	frac, unit, d := int64(0), int64(sim.Second), 0
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		if d++; d > 9 {
			return 0, nil, false
		}
		frac = frac*10 + int64(b[i]-'0')
		unit /= 10
		i++
	}
	if d < 3 || i >= len(b) || b[i] != ':' || sec > 9_000_000 {
		return 0, nil, false
	}
	return sim.Time(sec*int64(sim.Second) + frac*unit), b[i+1:], true
}

// cutName takes "event:" or "group:event:" from the front.
func cutName(b []byte) (name, rest []byte) {
	b = bytes.TrimLeft(b, " ")
	for _, group := range []string{"iommu:", "dma:"} {
		b = bytes.TrimPrefix(b, []byte(group))
	}
	i := bytes.IndexByte(b, ':')
	if i < 0 {
		return nil, nil
	}
	return b[:i], b[i+1:]
}

func kindOf(name []byte) (Kind, bool) {
	for k, n := range kindNames {
		if string(name) == n {
			return Kind(k), true
		}
	}
	return 0, false
}

// pid takes the process ID from the end of what stands before the CPU: "comm-123 " or "comm 123 ".
func pid(head []byte) int {
	head = bytes.TrimRight(head, " ")
	if i := bytes.LastIndexByte(head, '('); i > 0 && bytes.HasSuffix(head, []byte(")")) { // record-tgid
		head = bytes.TrimRight(head[:i], " ")
	}
	i := len(head)
	for i > 0 && head[i-1] >= '0' && head[i-1] <= '9' {
		i--
	}
	n, err := strconv.Atoi(string(head[i:]))
	if err != nil {
		return -1
	}
	return n
}
