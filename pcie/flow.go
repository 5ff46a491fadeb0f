package pcie

import "dmapath/sim"

// flow is the sender's view of one kind of flow-control credit: what is out and when it comes back. Buffers are freed in the order
// in which they were filled; one that is freed early returns its credits with the one before it.
type flow struct {
	headers, data int // advertised; 0 is infinite
	Waited        sim.Time
	Waits         uint64

	usedHeaders, usedData int
	out                   []loan // ring
	head, n               int
}

type loan struct {
	back          sim.Time
	headers, data int32
}

func newFlow(headers, data int) *flow {
	f := &flow{headers: headers, data: data}
	slots := headers
	if slots == 0 && data > 0 {
		slots = data // every loan holds at least one unit, or none that matters
	}
	f.out = make([]loan, slots)
	return f
}

// take returns when a packet that needs data units of payload buffer, ready at now, has its credits.
func (f *flow) take(now sim.Time, data int) sim.Time {
	if len(f.out) == 0 {
		return now
	}
	t := now
	for f.n > 0 && (f.out[f.head].back <= t || f.headers > 0 && f.usedHeaders+1 > f.headers || f.data > 0 && f.usedData+data > f.data || f.n == len(f.out)) {
		o := &f.out[f.head]
		t = max(t, o.back)
		f.usedHeaders -= int(o.headers)
		f.usedData -= int(o.data)
		if f.head++; f.head == len(f.out) {
			f.head = 0
		}
		f.n--
	}
	if t > now {
		f.Waits++
		f.Waited += t - now
	}
	return t
}

// give says that the credits of the packet that took them last are usable again at back.
func (f *flow) give(data int, back sim.Time) {
	if len(f.out) == 0 {
		return
	}
	i := f.head + f.n
	if i >= len(f.out) {
		i -= len(f.out)
	}
	f.out[i] = loan{back, 1, int32(data)}
	f.n++
	f.usedHeaders++
	f.usedData += data
}

// at returns what is out at t: packets that hold credits, and units of data.
func (f *flow) at(t sim.Time) (headers, data int) {
	for i := range f.n {
		if o := &f.out[(f.head+i)%len(f.out)]; o.back > t {
			headers += int(o.headers)
			data += int(o.data)
		}
	}
	return headers, data
}

// tags are the identifiers of outstanding read requests: a request takes the one that is free first. A heap of the times
// when they are.
type tags struct {
	Waited sim.Time
	Waits  uint64
	free   []sim.Time
}

func newTags(n int) *tags { return &tags{free: make([]sim.Time, n)} }

// take returns when a tag is free for a request ready at now; release must follow.
func (t *tags) take(now sim.Time) sim.Time {
	if f := t.free[0]; f > now {
		t.Waits++
		t.Waited += f - now
		return f
	}
	return now
}

// release says when the tag that was taken last is free again.
func (t *tags) release(at sim.Time) {
	h := t.free
	i := 0
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && h[c+1] < h[c] {
			c++
		}
		if at <= h[c] {
			break
		}
		h[i] = h[c]
		i = c
	}
	h[i] = at
}
