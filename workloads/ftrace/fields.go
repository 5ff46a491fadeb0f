package ftrace

import (
	"bytes"
	"strconv"

	"dmapath/kernel"
)

// iommuFields reads "IOMMU: iova=0xA - 0xB paddr=0xP size=N" and "IOMMU: iova=0xA - 0xB size=N unmapped_size=N".
func (ev *Event) iommuFields(b []byte) string {
	b = bytes.TrimLeft(bytes.TrimPrefix(b, []byte("IOMMU:")), " ")
	v, b, ok := value(b, "iova=")
	if !ok {
		return "no iova= field"
	}
	var err error
	if ev.Addr, err = parseHex(v); err != nil {
		return "iova is not a hexadecimal number"
	}
	b = bytes.TrimLeft(b, " ")
	b, ok = bytes.CutPrefix(b, []byte("- "))
	if !ok {
		return "iova has no end"
	}
	v, b = word(b)
	if ev.End, err = parseHex(v); err != nil {
		return "end of iova is not a hexadecimal number"
	}
	for len(b) > 0 {
		var key, val []byte
		if key, val, b = field(b); key == nil {
			continue
		}
		switch string(key) {
		case "paddr":
			ev.Phys, err = parseHex(val)
		case "size":
			ev.Size, err = strconv.ParseUint(string(val), 10, 64)
		case "unmapped_size":
			ev.Unmapped, err = strconv.ParseUint(string(val), 10, 64)
		}
		if err != nil {
			return string(key) + " is not a number"
		}
	}
	// 7.3 traces what was mapped even when mapping failed: perhaps nothing.
	if ev.End < ev.Addr || ev.End-ev.Addr != ev.Size || ev.Size == 0 && ev.Kind != IommuMap {
		return "size does not match the iova range"
	}
	return ""
}

// maxDevice is the longest name of a device that is taken for one, in bytes.
const maxDevice = 200

// dmaFields reads "<device> key=value ..."; keys in any order, unknown ones ignored. names returns the string of a device's name.
func (ev *Event) dmaFields(b []byte, names func([]byte) string) string {
	dev, b := word(b)
	if len(dev) == 0 || bytes.IndexByte(dev, '=') >= 0 {
		return "no device name"
	}
	if len(dev) > maxDevice {
		return "the device's name is too long"
	}
	ev.Device = names(dev)
	seen := 0
	var open *[]uint64 // the list that decimal numbers without a key belong to, see list
	for len(b) > 0 {
		var key, val []byte
		if key, val, b = field(b); key == nil {
			if open != nil && len(val) > 0 && digit(val[0]) {
				v, err := strconv.ParseUint(string(val), 10, 64)
				if err != nil || len(*open) >= maxList {
					return "a list has a value that cannot be read"
				}
				*open = append(*open, v)
				continue
			}
			ev.Truncated = ev.Truncated || bytes.Equal(val, []byte("[TRUNCATED]"))
			continue
		}
		var err error
		open = nil
		switch string(key) {
		case "dir":
			ev.Dir, err = direction(val)
		case "dma_addr":
			ev.Addr, err = parseHex(val)
			seen++
		case "size":
			ev.Size, err = strconv.ParseUint(string(val), 10, 64)
			seen++
		case "phys_addr":
			ev.Phys, err = parseHex(val)
			seen++
		case "nents":
			ev.Nents, err = total(val)
		case "phys_addrs":
			open, err = list(&ev.SGPhys, val)
			seen++
		case "dma_addrs":
			open, err = list(&ev.SGAddrs, val)
			seen++
		case "sizes":
			open, err = list(&ev.SGSizes, val)
			seen++
		case "attrs":
			ev.Attrs = attrs(val)
		}
		if err != nil {
			return string(key) + " has a value that cannot be read"
		}
	}
	return ev.complete(seen)
}

// complete checks an event of the dma group of which seen addresses and sizes were read, and sums up a list.
func (ev *Event) complete(seen int) string {
	if want := fieldsOf[ev.Kind]; seen < want {
		return "an address or size is missing"
	}
	if ev.Kind == MapSG && len(ev.SGAddrs) != len(ev.SGSizes) {
		return "dma_addrs and sizes have different lengths"
	}
	for i, a := range ev.SGAddrs {
		if i == 0 {
			ev.Addr = a
		}
		if i < len(ev.SGSizes) {
			ev.Size += ev.SGSizes[i]
		}
	}
	return ""
}

// fieldsOf is how many addresses and sizes a complete event of each kind has.
var fieldsOf = [numKinds]int{MapPage: 3, UnmapPage: 2, MapPhys: 3, UnmapPhys: 2, MapResource: 3, UnmapResource: 2,
	MapSG: 3, UnmapSG: 1, SyncForCPU: 2, SyncForDevice: 2,
	Alloc: 2, AllocPages: 2, Free: 2, FreePages: 2}

// word cuts the next space-separated word.
func word(b []byte) (w, rest []byte) {
	b = bytes.TrimLeft(b, " ")
	if i := bytes.IndexByte(b, ' '); i >= 0 {
		return b[:i], bytes.TrimLeft(b[i:], " ")
	}
	return b, nil
}

// field cuts the next "key=value"; a word without "=" has a nil key and is returned as the value.
func field(b []byte) (key, val, rest []byte) {
	w, rest := word(b)
	if i := bytes.IndexByte(w, '='); i >= 0 {
		return w[:i], w[i+1:], rest
	}
	return nil, w, rest
}

// value cuts "prefix" and the word behind it from the front.
func value(b []byte, prefix string) (v, rest []byte, ok bool) {
	b, ok = bytes.CutPrefix(b, []byte(prefix))
	if !ok {
		return nil, b, false
	}
	v, rest = word(b)
	return v, rest, true
}

func parseHex(b []byte) (uint64, error) {
	b = bytes.TrimPrefix(b, []byte("0x"))
	return strconv.ParseUint(string(b), 16, 64)
}

// total reads "shown/all" and returns all.
func total(b []byte) (int, error) {
	if i := bytes.IndexByte(b, '/'); i >= 0 {
		b = b[i+1:]
	}
	n, err := strconv.ParseUint(string(b), 10, 31)
	return int(n), err
}

// maxList bounds the lists of one event. The kernel prints 128 entries of a mapped list, and all of an unmapped one.
const maxList = 4096

// list reads "{0x1,0x2}" into dst, as the kernel prints arrays. Most versions of libtraceevent (trace-cmd, perf script) print decimal numbers with spaces between
// instead: the first is read, and the rest is left to the caller, who gets the list back.
func list(dst *[]uint64, b []byte) (open *[]uint64, err error) {
	if len(b) == 0 {
		return dst, nil // an empty list of the second form
	}
	if b[0] != '{' {
		v, err := strconv.ParseUint(string(b), 10, 64)
		*dst = append(*dst, v)
		return dst, err
	}
	if len(b) < 2 || b[len(b)-1] != '}' {
		return nil, strconv.ErrSyntax
	}
	b = b[1 : len(b)-1]
	for len(b) > 0 {
		item := b
		if i := bytes.IndexByte(b, ','); i >= 0 {
			item, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		v, err := parseHex(item)
		if err != nil || len(*dst) >= maxList {
			return nil, strconv.ErrSyntax
		}
		*dst = append(*dst, v)
	}
	return nil, nil
}

func direction(b []byte) (kernel.Direction, error) {
	for d := kernel.Bidirectional; d <= kernel.NoDirection; d++ {
		if string(b) == d.String() {
			return d, nil
		}
	}
	return kernel.NoDirection, strconv.ErrSyntax
}

// attrs reads a list of names joined by "|"; names without effect on a modelled path are ignored.
func attrs(b []byte) kernel.Attrs {
	var a kernel.Attrs
	for len(b) > 0 {
		item := b
		if i := bytes.IndexByte(b, '|'); i >= 0 {
			item, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		switch string(item) {
		case "SKIP_CPU_SYNC":
			a |= kernel.AttrSkipCPUSync
		case "NO_WARN":
			a |= kernel.AttrNoWarn
		case "MMIO":
			a |= kernel.AttrMMIO
		case "REQUIRE_COHERENT":
			a |= kernel.AttrRequireCoherent
		}
	}
	return a
}
