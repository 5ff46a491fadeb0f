package ftrace

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"dmapath/kernel"
)

// rawFields reads what trace-cmd report and perf script print of an event whose format string they cannot evaluate: the fields of the
// record by their own names, numbers in decimal or with 0x, arrays as their bytes in memory ("ARRAY[00, 10, ...]", little endian).
//
//	[FAILED TO PARSE] device=0000:00:03.0 phys_addr=4331185795 dma_addr=4293895810 size=42 dir=1 attrs=0x0
func (ev *Event) rawFields(b []byte, names func([]byte) string) string {
	seen, unmapped := 0, ev.Kind == UnmapSG
	for len(b) > 0 {
		b = bytes.TrimLeft(b, " ")
		i := bytes.IndexByte(b, '=')
		if i <= 0 {
			break
		}
		key := b[:i]
		val, rest := word(b[i+1:])
		if list, ok := bytes.CutPrefix(b[i+1:], []byte("ARRAY[")); ok {
			if val, rest, ok = bytes.Cut(list, []byte("]")); !ok {
				return string(key) + " has no end"
			}
		}
		b = rest
		num := func(to *uint64) (err error) {
			*to, err = strconv.ParseUint(string(val), 0, 64)
			return err
		}
		var err error
		var v uint64
		switch string(key) {
		case "device":
			if len(val) > maxDevice {
				return "the device's name is too long"
			}
			ev.Device = names(val)
		case "dma_addr", "iova", "addr": // addr: of the unmap events, which print it as dma_addr
			err = num(&ev.Addr)
			seen++
		case "phys_addr", "paddr":
			err = num(&ev.Phys)
			seen++
		case "size":
			err = num(&ev.Size)
			seen++
		case "unmapped_size":
			err = num(&ev.Unmapped)
		case "dir":
			if err = num(&v); v > uint64(kernel.NoDirection) {
				err = strconv.ErrRange
			}
			ev.Dir = kernel.Direction(v)
		case "full_nents":
			if err = num(&v); v > 1<<31-1 {
				err = strconv.ErrRange
			}
			ev.Nents = int(v)
		case "truncated":
			err = num(&v)
			ev.Truncated = v != 0
		case "phys_addrs", "addrs":
			if unmapped || string(key) == "phys_addrs" {
				err = rawList(&ev.SGPhys, val, 8)
				seen++
			}
		case "dma_addrs":
			err = rawList(&ev.SGAddrs, val, 8)
			seen++
		case "lengths":
			err = rawList(&ev.SGSizes, val, 4)
			seen++
		case "attrs":
			err = num(&v)
			ev.Attrs = rawAttrs(v)
		}
		if err != nil {
			return string(key) + " has a value that cannot be read"
		}
	}
	if ev.Kind == IommuMap || ev.Kind == IommuUnmap {
		if ev.End = ev.Addr + ev.Size; ev.End < ev.Addr || seen < 2 || ev.Size == 0 && ev.Kind != IommuMap {
			return "an address or size is missing"
		}
		return ""
	}
	if ev.Device == "" {
		return "no device name"
	}
	return ev.complete(seen)
}

// rawList reads the bytes of a list of numbers of width bytes each.
func rawList(dst *[]uint64, b []byte, width int) error {
	var item [8]byte
	n := 0
	for len(b) > 0 {
		var one []byte
		if one, b, _ = bytes.Cut(bytes.TrimLeft(b, " "), []byte(",")); len(one) == 0 {
			return strconv.ErrSyntax
		}
		v, err := strconv.ParseUint(string(one), 16, 8)
		if err != nil {
			return err
		}
		item[n] = byte(v)
		if n++; n == width {
			if len(*dst) >= maxList {
				return strconv.ErrRange
			}
			*dst = append(*dst, binary.LittleEndian.Uint64(item[:]))
			item, n = [8]byte{}, 0
		}
	}
	if n != 0 {
		return strconv.ErrSyntax
	}
	return nil
}

// rawAttrs keeps of DMA_ATTR_* what has an effect on a modelled path; kernel.Attrs has the bits of include/linux/dma-mapping.h in both kernels.
func rawAttrs(v uint64) kernel.Attrs {
	return kernel.Attrs(v) & (kernel.AttrSkipCPUSync | kernel.AttrNoWarn | kernel.AttrMMIO | kernel.AttrRequireCoherent)
}
