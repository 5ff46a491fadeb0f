package oracle

import (
	"fmt"
	"slices"

	"dmapath/cache"
	"dmapath/kernel"
)

// CPUWrite lets a CPU store n bytes at physical address pa: a driver that fills a buffer, or whoever owns what lies beside one.
func (o *Oracle) CPUWrite(pa, n uint64) {
	var v cache.Version
	o.uncache(pa, n)
	if o.isDevice(pa) {
		v = o.Truth.DeviceWrite(pa, n, false)
	} else {
		v = o.Truth.CPUWrite(pa, n)
	}
	o.write(pa, n, v)
}

// CPURead lets a CPU read n bytes at physical address pa that it owns; what names them in a report. m is the mapping that they were
// part of, nil when they never were part of one.
func (o *Oracle) CPURead(what string, m *Mapping, pa, n uint64) {
	step := ""
	if m != nil {
		step = m.toCPU
	}
	var r run
	wrong := func(at uint64, want cache.Version) kernel.HazardKind {
		if mem, _, _ := o.Truth.Look(at); mem == want {
			return kernel.StaleCPU
		}
		return kernel.LostWrite
	}
	saw := func(at uint64, v []cache.Version) { o.compare(&r, step, what, at, v, wrong) }
	o.uncache(pa, n)
	if o.isDevice(pa) {
		o.Truth.DeviceReadLines(pa, n, false, saw)
	} else {
		o.Truth.CPUReadLines(pa, n, saw)
	}
	o.flush(&r, step, what)
}

// DeviceWrite lets the device write n bytes of m from off on, as its driver told it.
func (o *Oracle) DeviceWrite(m *Mapping, off, n uint64) {
	o.eachPage(m, off, n, true, func(pa, at, n uint64, snoops bool) {
		v := o.Truth.DeviceWrite(pa, n, snoops)
		o.write(at, n, v)
	})
}

// DeviceRead lets the device read n bytes of m from off on, as its driver told it.
func (o *Oracle) DeviceRead(m *Mapping, off, n uint64) {
	what := "what the device reads"
	var r run
	o.eachPage(m, off, n, false, func(pa, at, n uint64, snoops bool) {
		wrong := func(home uint64, want cache.Version) kernel.HazardKind {
			if o.Truth.Newest(home) == want || o.Truth.Newest(pa+home-at) == want {
				return kernel.StaleDevice
			}
			return kernel.DataCorruption
		}
		o.Truth.DeviceReadLines(pa, n, snoops, func(got uint64, v []cache.Version) {
			o.compare(&r, m.toDevice, what, at+got-pa, v, wrong)
		})
	})
	o.flush(&r, m.toDevice, what)
}

// uncache keeps device memory out of the caches. The linear map has P2PDMA memory uncached, so that what a kernel copies there
// arrives at once.
func (o *Oracle) uncache(pa, n uint64) {
	if o.isDevice(pa) {
		o.Truth.CleanInvalidate(pa, n)
	}
}

// eachPage translates an access to m page by page and calls f with the place that the device reaches and the buffer's own. A
// refused page is reported and left out.
func (o *Oracle) eachPage(m *Mapping, off, n uint64, write bool, f func(pa, home, n uint64, snoops bool)) {
	for end := off + n; off < end; {
		addr := m.Addr + off
		k := min(end-off, bytesPerPage-addr%bytesPerPage)
		if v, _ := o.Judge(addr, write); v != Allowed {
			panic(fmt.Sprintf("oracle: the driver lets the device %s a byte that is %v", access(write), v))
		}
		pa, snoops, ok := o.Bus.Reach(addr, write)
		if ok {
			o.checkFrame(m, addr, pa)
			o.uncache(pa, k)
			f(pa, m.Phys+off, k, snoops)
		} else {
			o.refused(m, addr, pa, write)
		}
		off += k
	}
}

// run collects neighbouring bytes with the same defect, so that a buffer is reported once.
type run struct {
	kind  kernel.HazardKind
	first uint64
	n     uint64
}

// compare looks at what was seen in the bytes whose own place is from at on; wrong names the defect of one that does not hold want.
func (o *Oracle) compare(r *run, step, what string, at uint64, saw []cache.Version, wrong func(at uint64, want cache.Version) kernel.HazardKind) {
	for len(saw) > 0 {
		want := o.expected(at, len(saw))
		if slices.Equal(saw[:len(want)], want) {
			o.flush(r, step, what)
		} else {
			for i, w := range want {
				if saw[i] == w {
					o.flush(r, step, what)
				} else {
					o.see(r, step, what, at+uint64(i), wrong(at+uint64(i), w))
				}
			}
		}
		saw, at = saw[len(want):], at+uint64(len(want))
	}
}

// see adds a byte with a defect to r.
func (o *Oracle) see(r *run, step, what string, at uint64, kind kernel.HazardKind) {
	if kind != r.kind || at != r.first+r.n {
		o.flush(r, step, what)
	}
	if r.n == 0 {
		r.kind, r.first = kind, at
	}
	r.n++
}

func (o *Oracle) flush(r *run, step, what string) {
	if r.n > 0 {
		o.report(r.kind, step, r.first, "%s: %d bytes are %s", what, r.n, defects[r.kind])
	}
	r.n = 0
}

var defects = map[kernel.HazardKind]string{
	kernel.StaleCPU:       "older than what memory holds",
	kernel.StaleDevice:    "older than the last store, which is in a cache or at the buffer's own place",
	kernel.LostWrite:      "not those written last, which no cache and no memory at that place holds",
	kernel.DataCorruption: "neither those written last nor anywhere to be found",
}
