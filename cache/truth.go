package cache

// Truth follows what every byte of the memory that somebody watches holds: in memory, and in the caches of the CPUs. It is a
// functional oracle beside the timed hierarchy: it costs nothing unless somebody makes one, and it knows nothing of time. Data is
// a version number; a write makes a new one. The CPUs are one agent, because their caches are coherent with each other; devices
// are the other, and see the caches only when they snoop.
//
// A line that is cached and not dirty may differ from memory after a device wrote around the caches: that is the stale copy that
// cache maintenance exists for.
type Truth struct {
	lines map[uint64]*truthLine
	last  Version
}

// Version names the contents that one write left in a byte; 0 is what was there before anybody wrote.
type Version uint32

type truthLine struct {
	mem, cpu      [LineBytes]Version
	cached, dirty bool
}

// NewTruth returns an oracle of memory that nobody has written.
func NewTruth() *Truth { return &Truth{lines: map[uint64]*truthLine{}} }

func (u *Truth) line(pa uint64) *truthLine {
	l := u.lines[pa>>6]
	if l == nil {
		l = new(truthLine)
		u.lines[pa>>6] = l
	}
	return l
}

// each calls f for every line that [pa, pa+n) touches, with the bytes of the line that are in it.
func (u *Truth) each(pa, n uint64, f func(l *truthLine, from, to uint64)) {
	for at := pa; at < pa+n; at = at&^63 + LineBytes {
		f(u.line(at), at&63, min(LineBytes, at&63+pa+n-at))
	}
}

// fill brings the line into the caches.
func (l *truthLine) fill() {
	if !l.cached {
		l.cpu, l.cached, l.dirty = l.mem, true, false
	}
}

// clean writes the line back if it is dirty.
func (l *truthLine) clean() {
	if l.dirty {
		l.mem, l.dirty = l.cpu, false
	}
}

// CPUWrite is a store of n bytes by a CPU. It returns the version that it left.
func (u *Truth) CPUWrite(pa, n uint64) Version {
	u.last++
	u.each(pa, n, func(l *truthLine, from, to uint64) {
		l.fill()
		l.dirty = true
		for i := from; i < to; i++ {
			l.cpu[i] = u.last
		}
	})
	return u.last
}

// CPURead is a load of n bytes by a CPU, through the caches: it calls saw with every byte's version.
func (u *Truth) CPURead(pa, n uint64, saw func(pa uint64, v Version)) {
	u.CPUReadLines(pa, n, bytewise(saw))
}

// CPUReadLines is CPURead, line by line: v are the versions of the bytes from pa on. They are not to be kept.
func (u *Truth) CPUReadLines(pa, n uint64, saw func(pa uint64, v []Version)) {
	at := pa
	u.each(pa, n, func(l *truthLine, from, to uint64) {
		l.fill()
		saw(at, l.cpu[from:to])
		at += to - from
	})
}

func bytewise(saw func(pa uint64, v Version)) func(uint64, []Version) {
	return func(pa uint64, list []Version) {
		for i, v := range list {
			saw(pa+uint64(i), v)
		}
	}
}

// Copy is a memcpy of n bytes by a CPU.
func (u *Truth) Copy(dst, src, n uint64) {
	data := make([]Version, 0, n)
	u.CPURead(src, n, func(_ uint64, v Version) { data = append(data, v) })
	i := 0
	u.each(dst, n, func(l *truthLine, from, to uint64) {
		l.fill()
		l.dirty = true
		i += copy(l.cpu[from:to], data[i:])
	})
}

// Clean writes every line that [pa, pa+n) touches back and leaves it cached (dc cvac).
func (u *Truth) Clean(pa, n uint64) {
	u.each(pa, n, func(l *truthLine, _, _ uint64) { l.clean() })
}

// Invalidate drops every line without writing it back (dc ivac); CleanInvalidate writes it back first (dc civac).
func (u *Truth) Invalidate(pa, n uint64) {
	u.each(pa, n, func(l *truthLine, _, _ uint64) { l.cached, l.dirty = false, false })
}

// CleanInvalidate is Clean and Invalidate.
func (u *Truth) CleanInvalidate(pa, n uint64) {
	u.each(pa, n, func(l *truthLine, _, _ uint64) { l.clean(); l.cached = false })
}

// Evict is what a cache may do at any time to every line that [pa, pa+n) touches: a dirty line goes to memory, over whatever a
// device may have written there, and a clean one goes away.
func (u *Truth) Evict(pa, n uint64) { u.CleanInvalidate(pa, n) }

// Speculate is what a core may do at any time: it brings lines in that nobody asked for.
func (u *Truth) Speculate(pa, n uint64) {
	u.each(pa, n, func(l *truthLine, _, _ uint64) { l.fill() })
}

// DeviceWrite is a device's write of n bytes, snooping the caches or around them. It returns the version that it left.
func (u *Truth) DeviceWrite(pa, n uint64, snoops bool) Version {
	u.last++
	u.each(pa, n, func(l *truthLine, from, to uint64) {
		if snoops {
			l.clean()
			l.cached = false
		}
		for i := from; i < to; i++ {
			l.mem[i] = u.last
		}
	})
	return u.last
}

// DeviceRead is a device's read of n bytes: it calls saw with every byte's version.
func (u *Truth) DeviceRead(pa, n uint64, snoops bool, saw func(pa uint64, v Version)) {
	u.DeviceReadLines(pa, n, snoops, bytewise(saw))
}

// DeviceReadLines is DeviceRead, line by line: v are the versions of the bytes from pa on. They are not to be kept.
func (u *Truth) DeviceReadLines(pa, n uint64, snoops bool, saw func(pa uint64, v []Version)) {
	at := pa
	u.each(pa, n, func(l *truthLine, from, to uint64) {
		data := &l.mem
		if snoops && l.cached {
			data = &l.cpu
		}
		saw(at, data[from:to])
		at += to - from
	})
}

// Newest returns the version that the byte at pa holds in its newest copy: the caches' if they wrote it last, else memory's.
func (u *Truth) Newest(pa uint64) Version {
	l := u.line(pa)
	if l.cached {
		return max(l.cpu[pa&63], l.mem[pa&63])
	}
	return l.mem[pa&63]
}

// Look returns what memory and, when some CPU's cache holds the line, the caches have at pa.
func (u *Truth) Look(pa uint64) (mem, cpu Version, cached bool) {
	l := u.line(pa)
	return l.mem[pa&63], l.cpu[pa&63], l.cached
}
