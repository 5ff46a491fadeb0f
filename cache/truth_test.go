package cache

import "testing"

// Who sees what after whom, byte by byte. at is what was written by the numbered write.
func TestTruth(t *testing.T) {
	const pa, n = 0x1000, 128
	seen := func(read func(saw func(uint64, Version))) Version {
		var v Version
		first := true
		read(func(at uint64, w Version) {
			if !first && w != v {
				t.Errorf("bytes differ at %#x: %d and %d", at, v, w)
			}
			v, first = w, false
		})
		return v
	}
	for _, c := range []struct {
		name        string
		do          func(u *Truth) (want Version)
		deviceReads bool // else the CPU does
		snoops      bool
	}{
		{"a coherent device sees the CPU's store", func(u *Truth) Version { return u.CPUWrite(pa, n) }, true, true},
		{"another does not", func(u *Truth) Version { u.CPUWrite(pa, n); return 0 }, true, false},
		{"unless the line was cleaned", func(u *Truth) Version { v := u.CPUWrite(pa, n); u.Clean(pa, n); return v }, true, false},
		{"or evicted", func(u *Truth) Version { v := u.CPUWrite(pa, n); u.Evict(pa, n); return v }, true, false},
		{"invalidating loses a store", func(u *Truth) Version { u.CPUWrite(pa, n); u.Invalidate(pa, n); return 0 }, false, false},
		{"the CPU sees a coherent device's write", func(u *Truth) Version { u.CPUWrite(pa, n); return u.DeviceWrite(pa, n, true) }, false, false},
		{"a stale copy hides another's", func(u *Truth) Version { v := u.CPUWrite(pa, n); u.Clean(pa, n); u.DeviceWrite(pa, n, false); return v }, false, false},
		{"until it is invalidated", func(u *Truth) Version {
			u.CPUWrite(pa, n)
			u.Clean(pa, n)
			v := u.DeviceWrite(pa, n, false)
			u.Invalidate(pa, n)
			return v
		}, false, false},
		{"a dirty line evicted late overwrites it", func(u *Truth) Version {
			v := u.CPUWrite(pa, n)
			u.DeviceWrite(pa, n, false)
			u.Evict(pa, n)
			return v
		}, false, false},
		{"a speculative load brings the old data back", func(u *Truth) Version {
			v := u.CPUWrite(pa, n)
			u.CleanInvalidate(pa, n)
			u.Speculate(pa, n)
			u.DeviceWrite(pa, n, false)
			return v
		}, false, false},
		{"a copy carries data on", func(u *Truth) Version { v := u.CPUWrite(0x9003, n); u.Copy(pa, 0x9003, n); return v }, false, false},
	} {
		u := NewTruth()
		want := c.do(u)
		got := seen(func(saw func(uint64, Version)) {
			if c.deviceReads {
				u.DeviceRead(pa, n, c.snoops, saw)
			} else {
				u.CPURead(pa, n, saw)
			}
		})
		if got != want {
			t.Errorf("%s: version %d, want %d", c.name, got, want)
		}
	}
}

// What shares a line shares its fate: a device's write of one half is lost with the invalidation that forgets the other half's store.
func TestTruthOfASharedLine(t *testing.T) {
	u := NewTruth()
	mine := u.CPUWrite(0x1020, 32)
	u.DeviceWrite(0x1000, 32, false)
	u.Invalidate(0x1000, 32)
	if v := u.Newest(0x1020); v == mine {
		t.Error("the store to the other half survived an invalidation of its line")
	}
}
