package ftrace

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"dmapath/kernel"
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

	// Skipped counts lines that are not events that are read (comments, blanks, other subsystems, markers of lost events), Malformed those
	// delivered as *SyntaxError: events, Skipped and Malformed add up to the lines. Unread is how many of Skipped are events of the dma and
	// iommu groups of kinds that are not read (dma_sync_sg, io_page_fault).
	Skipped, Malformed, Unread int64
	// Lost is how many events the tracer says it lost: markers in the stream (CPU:2 [LOST 133 EVENTS], [133 EVENTS DROPPED], PERF_RECORD_LOST
	// lost 133), and what a heading says was overwritten before the trace was read (entries-in-buffer/entries-written). LostMarks counts the
	// markers; some tell no number.
	Lost, LostMarks int64
	// NoCPU counts events of lines that name no CPU (perf script -F without cpu): they are taken to be of CPU 0.
	NoCPU int64
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
			return nil, &SyntaxError{r.file, r.line, string(line[:shownBytes]), fmt.Sprintf("line longer than %d bytes", MaxLine)}
		}
		if err != nil {
			return nil, err
		}
		ok, msg := r.parse(line)
		if msg != "" {
			r.Malformed++
			return nil, &SyntaxError{r.file, r.line, string(line[:min(len(line), shownBytes)]), msg}
		}
		if ok {
			return &r.ev, nil
		}
		r.heading(line)
		r.lost(line)
		r.Skipped++
	}
}

// shownBytes is how much of a malformed line an error shows.
const shownBytes = 120

// heading looks for the number of CPUs, and of events that were overwritten, in a line that is no event.
func (r *Reader) heading(line []byte) {
	if len(line) == 0 {
		return
	}
	if line[0] == '#' {
		if i := bytes.LastIndex(line, []byte("#P:")); i > 0 {
			r.cpus(line[i+3:])
		}
		if i := bytes.Index(line, []byte("entries-in-buffer/entries-written:")); i > 0 {
			kept, written, _ := bytes.Cut(firstWord(line[i+len("entries-in-buffer/entries-written:"):]), []byte("/"))
			k, err1 := strconv.ParseInt(string(kept), 10, 62)
			n, err2 := strconv.ParseInt(string(written), 10, 62)
			if err1 == nil && err2 == nil && n > k {
				r.Lost += n - k
				r.LostMarks++
			}
		}
		return
	}
	if rest, ok := bytes.CutPrefix(line, []byte("cpus=")); ok {
		r.cpus(rest)
	}
}

func (r *Reader) cpus(num []byte) {
	if n, err := strconv.ParseUint(string(bytes.TrimRight(firstWord(num), ")")), 10, 13); err == nil {
		r.CPUs = max(r.CPUs, int(n))
	}
}

func firstWord(b []byte) []byte {
	w, _ := word(b)
	return w
}

// lost looks for the tracer's own word that events are missing.
func (r *Reader) lost(line []byte) {
	for _, m := range lostMarks {
		i := bytes.Index(line, m.before)
		if i < 0 {
			continue
		}
		rest := line[i+len(m.before):]
		if m.number != nil { // "CPU:2 [133 EVENTS DROPPED]": the number stands between
			k := bytes.Index(rest, m.number)
			if k < 0 {
				continue
			}
			rest = rest[:k]
		}
		n, err := strconv.ParseInt(string(bytes.TrimLeft(firstWord(rest), "=")), 10, 62)
		if err == nil && n > 0 {
			r.Lost += n
		}
		r.LostMarks++
		return
	}
}

// lostMarks are the words of the trace file and trace_pipe (kernel/trace/trace.c), trace-cmd report, and perf script --show-lost-events.
var lostMarks = []struct{ before, number []byte }{
	{[]byte("[LOST "), []byte("EVENTS]")}, {[]byte("PERF_RECORD_LOST lost"), nil}, {[]byte("PERF_RECORD_LOST_SAMPLES lost"), nil}, {[]byte(" ["), []byte("EVENTS DROPPED]")},
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
//
// A command name may be anything, what looks like CPU and time of an event included. Each place of a line where an event of ours could begin is
// tried, the first that reads without fault is it.
func (r *Reader) parse(line []byte) (ok bool, fault string) {
	unread := r.Unread
	defer func() {
		if r.Unread > unread { // once a line, and not when it is an event after all
			r.Unread = unread
			if !ok && fault == "" {
				r.Unread++
			}
		}
	}()
	for at := 0; ; {
		p, next, found := nextPrefix(line, at)
		if !found {
			break
		}
		if good, msg := r.event(p); good && msg == "" {
			return true, ""
		} else if good && fault == "" {
			fault = msg
		}
		at = next
	}
	if fault != "" {
		return false, fault
	}
	if p, found := barePrefix(line); found {
		good, msg := r.event(p)
		if good && msg == "" && p.cpu < 0 {
			r.ev.CPU = 0
			r.NoCPU++
		}
		return good, msg
	}
	if !untimed(line) {
		return false, ""
	}
	return false, "no time stamp before the event: record with the fields comm, tid, cpu, time, event and trace"
}

// event reads the event that p stands in front of. It returns false when it is none of ours.
func (r *Reader) event(p prefix) (bool, string) {
	name, rest, ours := cutName(p.rest)
	kind, ok := kindOf(name)
	if !ok {
		if ours || bytes.HasPrefix(name, []byte("dma_")) && bytes.IndexByte(name, ' ') < 0 {
			r.Unread++
		}
		return false, ""
	}
	ev := &r.ev
	*ev = Event{Kind: kind, Line: r.line, CPU: p.cpu, Time: p.at, PID: pid(p.head), Dir: kernel.NoDirection,
		SGPhys: ev.SGPhys[:0], SGAddrs: ev.SGAddrs[:0], SGSizes: ev.SGSizes[:0]}
	rest = bytes.TrimLeft(rest, " ")
	if raw, ok := bytes.CutPrefix(rest, []byte("[FAILED TO PARSE]")); ok {
		return true, ev.rawFields(raw, r.device)
	}
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
