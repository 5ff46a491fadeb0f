package pcie

import "dmapath/sim"

// Link is one direction: it carries one packet at a time. A packet takes the first free time at or after the moment it is
// ready; time that earlier calls left unused stays usable, so the order of the calls need not be the order on the wire.
type Link struct {
	Name    string
	Packets uint64
	Bytes   uint64   // of packets, with header and framing
	Payload uint64   // bytes
	Busy    sim.Time // time occupied, the share of acknowledgements and credit updates included
	Waited  sim.Time // time that ready packets waited for the link

	femtos uint64   // per byte
	spans  []span   // occupied, sorted, not touching; at most maxSpans
	floor  sim.Time // before it nothing is free any more
	last   span     // the packet booked last
}

type span struct{ start, end sim.Time }

// maxSpans bounds how many separate busy spans are remembered; the oldest are forgotten, and the gaps before them with
// them. Under load spans merge, and few are needed; without load nobody asks for the old ones.
const maxSpans = 128

func newLink(name string, femtos uint64) *Link {
	return &Link{Name: name, femtos: femtos, spans: make([]span, 0, maxSpans)}
}

// Time returns how long n bytes occupy the link, rounded up to a picosecond.
func (l *Link) Time(n int) sim.Time { return sim.Time((uint64(n)*l.femtos + 999) / 1000) }

// Send books the transmission of a packet of n bytes, of which payload are data, that is ready at the time given and may not
// start before behind, the end of a packet that it must not pass (0 if none). It returns when its first and last byte leave.
func (l *Link) Send(ready, behind sim.Time, n, payload int) (start, end sim.Time) {
	d := l.Time(n)
	l.Packets++
	l.Bytes += uint64(n)
	l.Payload += uint64(payload)
	l.Busy += d
	start = l.book(max(ready, behind, l.floor), d)
	l.Waited += start - ready
	l.last = span{start, start + d}
	return start, start + d
}

func (l *Link) book(t, d sim.Time) sim.Time {
	i := len(l.spans) // the span before which the packet goes
	if i == 0 || t > l.spans[i-1].end {
		l.insert(i, span{t, t + d})
		return t
	}
	for i > 0 && l.spans[i-1].end >= t {
		i--
	}
	for i < len(l.spans) && l.spans[i].start < t+d {
		t = max(t, l.spans[i].end)
		i++
	}
	before := i > 0 && l.spans[i-1].end == t
	after := i < len(l.spans) && l.spans[i].start == t+d
	switch {
	case before && after:
		l.spans[i-1].end = l.spans[i].end
		l.spans = append(l.spans[:i], l.spans[i+1:]...)
	case before:
		l.spans[i-1].end += d
	case after:
		l.spans[i].start = t
	default:
		l.insert(i, span{t, t + d})
	}
	return t
}

func (l *Link) insert(i int, s span) {
	if len(l.spans) == maxSpans {
		const drop = maxSpans / 2
		if i < drop {
			// Older than half of what is remembered: the packet keeps its time, but the gaps around it are given up.
			l.floor = max(l.floor, s.end)
			return
		}
		l.floor = max(l.floor, l.spans[drop-1].end)
		l.spans = l.spans[:copy(l.spans, l.spans[drop:])]
		i -= drop
	}
	l.spans = append(l.spans, span{})
	copy(l.spans[i+1:], l.spans[i:])
	l.spans[i] = s
}
