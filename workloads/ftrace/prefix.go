package ftrace

import (
	"bytes"
	"strconv"

	"dmapath/sim"
)

// prefix is what stands before an event's name.
type prefix struct {
	head []byte // command and process
	cpu  int    // -1: the line does not say
	at   sim.Time
	rest []byte // the name and what follows
}

// nextPrefix finds the next "[NNN]" from at on that is followed by a time stamp, perhaps with a column of flags in between: the trace file,
// trace-cmd report and perf script. next is where to look for another.
func nextPrefix(line []byte, at int) (p prefix, next int, ok bool) {
	for {
		i := bytes.IndexByte(line[at:], '[')
		if i < 0 {
			return prefix{}, 0, false
		}
		at += i + 1
		n, j := 0, at
		for j < len(line) && j-at < 6 && digit(line[j]) {
			n = n*10 + int(line[j]-'0')
			j++
		}
		if j == at || j >= len(line) || line[j] != ']' {
			continue
		}
		rest := bytes.TrimLeft(line[j+1:], " ")
		if ts, after, ok := timestamp(rest); ok {
			return prefix{line[:at-1], n, ts, after}, at, true
		}
		if k := bytes.IndexByte(rest, ' '); k > 0 && k <= 8 {
			if ts, after, ok := timestamp(bytes.TrimLeft(rest[k:], " ")); ok {
				return prefix{line[:at-1], n, ts, after}, at, true
			}
		}
	}
}

// barePrefix reads lines without a CPU in brackets: the latency format of the trace file ("io-166 0d.h1. 123us+: map: ...") and of trace-cmd report -l
// ("io-166 0d.h1. 19.030687: map: ..."), in which the CPU stands before the flags, and perf script without its cpu field. Only lines
// with an event of ours are looked at.
func barePrefix(line []byte) (prefix, bool) {
	if !mayBeOurs(line) {
		return prefix{}, false
	}
	for at := 0; at < len(line); {
		for at < len(line) && line[at] == ' ' {
			at++
		}
		ts, after, ok := timestamp(line[at:])
		if !ok {
			ts, after, ok = latencyTime(line[at:])
		}
		if ok {
			name, _, _ := cutName(after)
			if _, ok := kindOf(name); ok {
				p := prefix{bytes.TrimRight(line[:at], " "), -1, ts, after}
				if i := bytes.LastIndexByte(p.head, ' '); i >= 0 {
					if cpu, ok := cpuFlags(p.head[i+1:]); ok {
						p.cpu, p.head = cpu, p.head[:i]
					}
				}
				return p, true
			}
		}
		i := bytes.IndexByte(line[at:], ' ')
		if i < 0 {
			break
		}
		at += i
	}
	return prefix{}, false
}

// mayBeOurs is a quick look: most lines that are not events of ours have none of these words.
func mayBeOurs(line []byte) bool {
	return bytes.Contains(line, []byte("dma_")) || bytes.Contains(line, []byte("iova="))
}

// untimed says whether a line has an event of ours by its group and name (perf script without its time field): "io 166 iommu:map: IOMMU: iova=".
func untimed(line []byte) bool {
	if !mayBeOurs(line) {
		return false
	}
	for _, group := range [][]byte{[]byte("iommu:"), []byte("dma:")} {
		i := bytes.Index(line, group)
		if i < 0 || i > 0 && line[i-1] != ' ' {
			continue
		}
		name, _, ok := bytes.Cut(line[i+len(group):], []byte(": "))
		if _, ours := kindOf(name); ok && ours {
			return true
		}
	}
	return false
}

// cpuFlags reads "0d.h1.": a CPU with at least two of the flags that the kernel prints behind it.
func cpuFlags(b []byte) (cpu int, ok bool) {
	i := 0
	for i < len(b) && i < 5 && digit(b[i]) {
		cpu = cpu*10 + int(b[i]-'0')
		i++
	}
	flags := b[i:]
	return cpu, i > 0 && len(flags) >= 2 && len(flags) <= 8 && bytes.IndexByte([]byte("dDbBXx."), flags[0]) >= 0
}

// latencyTime reads "123us : " or "123us+: ": microseconds since the trace began, with a mark for how long the gap is.
func latencyTime(b []byte) (sim.Time, []byte, bool) {
	i := 0
	for i < len(b) && i < 13 && digit(b[i]) {
		i++
	}
	rest, ok := bytes.CutPrefix(b[i:], []byte("us"))
	if i == 0 || !ok || len(rest) < 2 || bytes.IndexByte([]byte(" +!#*@$"), rest[0]) < 0 || rest[1] != ':' {
		return 0, nil, false
	}
	us, err := strconv.ParseInt(string(b[:i]), 10, 64)
	if err != nil || us > maxSeconds*1e6 {
		return 0, nil, false
	}
	return sim.Time(us) * sim.Microsecond, rest[2:], true
}

// maxSeconds bounds time stamps: what a sim.Time, in picoseconds, can hold.
const maxSeconds = 9_000_000

// timestamp reads "seconds.fraction:" with 3 to 9 decimals.
func timestamp(b []byte) (sim.Time, []byte, bool) {
	i, sec := 0, int64(0)
	for i < len(b) && digit(b[i]) && i < 7 {
		sec = sec*10 + int64(b[i]-'0')
		i++
	}
	if i == 0 || i >= len(b) || b[i] != '.' {
		return 0, nil, false
	}
	i++
	frac, unit, d := int64(0), int64(sim.Second), 0
	for i < len(b) && digit(b[i]) {
		if d++; d > 9 {
			return 0, nil, false
		}
		frac = frac*10 + int64(b[i]-'0')
		unit /= 10
		i++
	}
	if d < 3 || i >= len(b) || b[i] != ':' || sec > maxSeconds {
		return 0, nil, false
	}
	return sim.Time(sec*int64(sim.Second) + frac*unit), b[i+1:], true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// cutName takes "event:" or "group:event:" from the front, and a period that perf script -F +period prints before it. ours: the group is dma
// or iommu.
func cutName(b []byte) (name, rest []byte, ours bool) {
	b = bytes.TrimLeft(b, " ")
	if len(b) > 0 && digit(b[0]) {
		if w, after := word(b); len(bytes.Trim(w, "0123456789")) == 0 {
			b = after
		}
	}
	for _, group := range [][]byte{[]byte("iommu:"), []byte("dma:")} {
		if after, ok := bytes.CutPrefix(b, group); ok {
			b, ours = after, true
			break
		}
	}
	i := bytes.IndexByte(b, ':')
	if i < 0 {
		return nil, nil, false
	}
	return b[:i], b[i+1:], ours
}

func kindOf(name []byte) (Kind, bool) {
	for k, n := range kindNames {
		if string(name) == n {
			return Kind(k), true
		}
	}
	return 0, false
}

// pid takes the process ID from the end of what stands before the CPU: "comm-123 " or "comm 123 ", with perf's pid field "comm 123/123 ".
func pid(head []byte) int {
	head = bytes.TrimRight(head, " ")
	if i := bytes.LastIndexByte(head, '('); i > 0 && bytes.HasSuffix(head, []byte(")")) { // record-tgid
		head = bytes.TrimRight(head[:i], " ")
	}
	i := len(head)
	for i > 0 && digit(head[i-1]) {
		i--
	}
	n, err := strconv.Atoi(string(head[i:]))
	if err != nil {
		return -1
	}
	return n
}
