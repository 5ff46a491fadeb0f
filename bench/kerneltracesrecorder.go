package bench

import (
	"context"
	"errors"
	"slices"
	"strings"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/iommudma"
	"dmapath/kernel/recorded"
	"dmapath/platform"
	"dmapath/sim"
)

// The protocol of the recordings; see the README of the recordings.
const (
	warmCalls     = 1000 // pairs before the recorded ones
	warmRecorded  = 12
	swiotlbPairs  = 64  // with bounce buffers: two slots each, all of a segment
	lazyRecorded  = 128 // in lazy mode, so that the flush queue's timer is armed among them
	coldRecorded  = 8
	burstCalls    = 400 // maps without an unmap, then as many unmaps
	runPairs      = 300
	largestBuffer = 1 << 30 // that still is contiguous in 6 GiB
)

// How far apart two pairs began in the emulator, which shows in timers: the recorded runs of 300 pairs in lazy mode armed the
// flush queue's timer of 10 ms up to 5 times, and the warm pairs before them, of which nothing was logged, filled the queue's 255
// entries before the timer fired.
const (
	recordedPair = 100 * sim.Microsecond
	warmPair     = 20 * sim.Microsecond
)

// emulated is more than any invalidation takes: the recordings' emulator completed it inside the write of the queue's tail, so that
// the first look at the status succeeded. Nothing that waits for hardware belongs to the comparison.
const emulated = 100 * sim.Microsecond

// Physical addresses of what the recorded calls mapped: RAM above 4 GiB and a device's registers below.
const (
	recordedPage = 0x163456000
	recordedHuge = 0x180000000 // for buffers of more than a page, which the page allocator aligns to their size
	recordedMMIO = 0xfe000000
)

// recorder plays the part of the module that made the recordings.
type recorder struct {
	ctx   context.Context
	c     conditions
	f     family
	m     *platform.Machine
	d     *platform.Device
	t     *cpu.Thread
	ops   []cpu.Op
	top   uint64          // of the stack
	pages map[uint64]bool // IOMMU page-table pages, direct-map addresses
	calls map[string][]ModelledCall
}

func (r *recorder) run(t *cpu.Thread) error {
	r.t, r.top, r.pages = t, t.SP()+192, map[uint64]bool{}
	if err := r.boot(); err != nil {
		return err
	}
	switch {
	case conversions[r.f.name]:
		return r.conversion()
	case r.f.name == "sync":
		return r.syncs()
	case strings.HasPrefix(r.f.name, "iova"):
		return r.iovas()
	}
	return r.maps()
}

// measure executes call and keeps what it emitted under the name api. inline: the call has no public entry, and the caller's part
// counts; otherwise the recording begins after the call instruction. An empty name measures nothing.
func (r *recorder) measure(api string, inline bool, call func() error) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	t := r.t
	t.Sync()
	if api == "" {
		err := call()
		t.Sync()
		return err
	}
	r.tables()
	r.ops = r.ops[:0]
	submitted := false
	t.Tap = func(ops []cpu.Op) {
		if submitted { // before the first look at the status
			t.Proc.SleepUntil(t.Proc.Now() + emulated)
		}
		submitted = slices.ContainsFunc(ops, func(o cpu.Op) bool { return o.Class == cpu.MMIOWrite })
		r.ops = append(r.ops, ops...)
	}
	err := call()
	t.Sync()
	t.Tap = nil
	if err != nil {
		return err
	}
	r.tables()
	ops := r.ops
	if !inline {
		ops = ops[1:]
	}
	made := r.count(ops)
	if r.c.keep {
		made.ops = slices.Clone(ops)
	}
	r.calls[api] = append(r.calls[api], made)
	return nil
}

// count measures ops.
func (r *recorder) count(ops []cpu.Op) ModelledCall {
	g := recorded.MeasureStack(ops, r.top)
	m := ModelledCall{Functions: g.Functions}
	m.Counts = Counts{Instructions: g.Instructions, Loads: g.Loads, Stores: g.Stores, Branches: g.Branches, Atomics: g.Atomics,
		Fences: g.Fences, LineFlushes: g.Flushes, Lines: g.LinesNoStack}
	for i := range ops {
		o := &ops[i]
		if o.Class == cpu.CallInd || o.Class == cpu.LinkInd || o.Class == cpu.Call && cpu.FuncByID(o.Fn).Name == retpoline {
			m.Counts[IndirectCalls]++
		}
		if o.Class.Writes() && r.pages[o.Addr&^4095] && !r.unseen(o) {
			n := 1
			if o.Class == cpu.String {
				n = int(o.Size)
			}
			m.Counts[PTEsWritten] += n
		}
	}
	return m
}

// unseen reports whether the recordings of arm64 do not count a store to a table: what memset clears has another label there.
func (r *recorder) unseen(o *cpu.Op) bool {
	name := cpu.FuncByID(o.Fn).Name
	return r.c.arm() && (name == "__memset" || name == "__pi_memset_generic")
}

// retpoline is the thunk in which a retpoline makes its second call.
const retpoline = "__x86_indirect_thunk_array"

// recordedLevels is the depth of the recorded machines' page tables.
const recordedLevels = 4

// tables adds the present pages of the device's page table to r.pages.
func (r *recorder) tables() {
	if r.d.Cookie == nil {
		return
	}
	d, ok := r.d.Cookie.Domain().Driver().(interface{ Root() uint64 })
	if !ok {
		return
	}
	// An entry points to a table in VT-d's second stage when it is readable or writable and no leaf, in a VMSAv8-64 table above the last level
	// when both its lowest bits are set.
	points := func(e uint64) bool { return e&3 != 0 && e&(1<<7) == 0 }
	if r.c.arm() {
		points = func(e uint64) bool { return e&3 == 3 }
	}
	var walk func(table uint64, level int)
	walk = func(table uint64, level int) {
		r.pages[kernel.Virt(table)] = true
		if level == 1 {
			return
		}
		for i := range uint64(512) {
			if e := r.m.Mem.Read64(table + i*8); points(e) {
				walk(e&(1<<48-1)&^4095, level-1)
			}
		}
	}
	walk(d.Root(), recordedLevels)
}

// pace lets the time between two pairs pass.
func (r *recorder) pace(logged bool) {
	d := warmPair
	if logged {
		d = recordedPair
	}
	r.t.Proc.SleepUntil(r.t.Proc.Now() + d)
}

// buffer is what the recorded calls mapped: RAM of size bytes.
func buffer(size uint64) dma.Buffer {
	b := dma.Buffer{Phys: recordedPage, Size: size}
	if size > 4096 {
		b.Phys = recordedHuge
	}
	b.Page = cpu.VmemmapBase + b.Phys>>12*64
	return b
}

// pair returns the map and unmap calls of an API name (map_page, map_phys_mmio, ...) for a buffer of size bytes.
func (r *recorder) pair(call string, size uint64) (doMap func() (uint64, error), doUnmap func(addr uint64) error, inline bool, err error) {
	t, ctx := r.t, r.d.Ctx
	b, dir, attrs := buffer(size), kernel.FromDevice, kernel.Attrs(0)
	if strings.HasSuffix(call, "_todev") {
		dir = kernel.ToDevice
	}
	call = strings.TrimSuffix(call, "_todev")
	switch call {
	case "map_resource":
		dir = kernel.Bidirectional
		return func() (uint64, error) { return ctx.MapResource(t, recordedMMIO, size, dir, 0) },
			func(a uint64) error { return ctx.UnmapResource(t, a, size, dir, 0) }, false, nil
	case "map_phys_mmio":
		call, dir, attrs = "map_phys", kernel.Bidirectional, kernel.AttrMMIO
		b = dma.Buffer{Phys: recordedMMIO, Size: size}
	case "map_single":
		dir = kernel.ToDevice
	}
	v, err := dma.Lookup(call + "@" + r.c.version.String())
	if err != nil {
		return nil, nil, false, err
	}
	return func() (uint64, error) { return v.Map(t, ctx, b, dir, attrs) },
		func(a uint64) error { return v.Unmap(t, ctx, a, size, dir, attrs) }, call == "map_single", nil
}

// pairs maps and unmaps n times, under the API names given.
func (r *recorder) pairs(call string, size uint64, n int, mapName, unmapName string) error {
	doMap, doUnmap, inline, err := r.pair(call, size)
	if err != nil {
		return err
	}
	for range n {
		var addr uint64
		if err := r.measure(mapName, inline, func() (err error) { addr, err = doMap(); return err }); err != nil {
			return err
		}
		if err := r.measure(unmapName, false, func() error { return doUnmap(addr) }); err != nil {
			return err
		}
		r.pace(mapName != "")
	}
	return nil
}

// warm is how many pairs come before the recorded ones: fewer for buffers of very many pages, for which that changes nothing but the
// time it takes. IOVAs of up to 32 pages return through the flush queue, which has to fill once; larger ones are never cached.
func (r *recorder) warm() int { return max(min(warmCalls, 1<<18/r.f.pages()), 4) }

// measured is how many of n calls are made and measured: 2 for buffers of very many pages.
func (r *recorder) measured(n int) int {
	if r.f.pages() > 4096 {
		return min(n, 2)
	}
	return n
}

func (f family) pages() int { return int(f.size+4095) >> 12 }

// history brings the device to where the recording of other calls than the first ones began: mappings of a page came before.
func (r *recorder) history() error {
	if r.d.Cookie == nil {
		return nil
	}
	return r.pairs("map_page", 4096, warmCalls, "", "")
}

// bootMaps is how many mappings the guest's other devices keep.
const bootMaps = 20

// boot lets another device use the allocators first, as the disk of the recorded guest did: the slabs that IOVAs and magazines come
// from are not empty when the first call is recorded.
func (r *recorder) boot() error {
	if r.d.Cookie == nil {
		return nil
	}
	disk, err := r.m.AddDevice("0000:00:02.0", 16)
	if err != nil {
		return err
	}
	edu := r.d
	r.d = disk
	defer func() { r.d = edu }()
	doMap, doUnmap, _, err := r.pair("map_page", 4096)
	if err != nil {
		return err
	}
	var addr uint64
	for range bootMaps {
		if err := r.measure("", false, func() (err error) { addr, err = doMap(); return err }); err != nil {
			return err
		}
	}
	return r.measure("", false, func() error { return doUnmap(addr) })
}

func (r *recorder) maps() error {
	f := r.f
	switch f.kind {
	case "cold":
		return r.pairs(f.name, f.size, r.measured(coldRecorded), f.parts[0], f.parts[1])
	case "":
		if f.size > 4096 {
			if err := r.history(); err != nil {
				return err
			}
		}
	}
	if err := r.pairs(f.name, f.size, r.warm(), "", ""); err != nil {
		return err
	}
	switch f.kind {
	case "":
		n := warmRecorded
		switch r.c.backend {
		case platform.IommuLazy:
			n = lazyRecorded
		case platform.SwiotlbForce:
			n = swiotlbPairs
		}
		return r.pairs(f.name, f.size, r.measured(n), f.parts[0], f.parts[1])
	case "run":
		return r.pairs(f.name, f.size, runPairs, f.parts[0], f.parts[1])
	}
	doMap, doUnmap, inline, err := r.pair(f.name, f.size)
	if err != nil {
		return err
	}
	var addrs []uint64
	for range burstCalls {
		err := r.measure(f.parts[0], inline, func() error {
			a, err := doMap()
			addrs = append(addrs, a)
			return err
		})
		if err != nil {
			return err
		}
		r.pace(true)
	}
	for _, a := range addrs {
		if err := r.measure(f.parts[1], false, func() error { return doUnmap(a) }); err != nil {
			return err
		}
		r.pace(true)
	}
	return nil
}

func (r *recorder) syncs() error {
	doMap, _, _, err := r.pair("map_page", r.f.size)
	if err != nil {
		return err
	}
	var addr uint64
	if err := r.measure("", false, func() (err error) { addr, err = doMap(); return err }); err != nil {
		return err
	}
	for _, api := range r.f.parts {
		for range warmRecorded {
			r.t.Enter(fnRecorder)
			err := r.measure(api, true, func() error {
				r.d.Ctx.SyncSingleCold(r.t, addr, r.f.size, kernel.FromDevice, strings.HasSuffix(api, "_device"))
				return nil
			})
			if err != nil {
				return err
			}
			r.t.Ret()
			r.t.Sync()
		}
	}
	return nil
}

// iovas allocates a range, links it page by page, syncs and destroys it.
func (r *recorder) iovas() error {
	t, l, dev := r.t, r.m.Layer, r.d.Ctx.Dev
	st := &iommudma.State{VA: r.top - 64} // on the caller's stack
	n := warmRecorded
	warm := r.warm()
	if r.f.kind == "cold" {
		warm, n = 0, coldRecorded
	} else if r.f.kind == "run" {
		n = runPairs
	} else if err := r.history(); err != nil {
		return err
	}
	prefix := strings.TrimSuffix(r.f.parts[0], iovaCalls[0])
	n = r.measured(n)
	b := buffer(r.f.size)
	for i := range warm + n {
		name := func(api string) string {
			if i < warm {
				return ""
			}
			return prefix + api
		}
		ok := false
		err := r.measure(name("iova_try_alloc"), false, func() error { ok = l.TryAlloc(t, dev, st, b.Phys, b.Size); return nil })
		if err != nil {
			return err
		}
		if !ok {
			if r.d.Cookie != nil {
				return iommudma.ErrNoIOVA
			}
			continue
		}
		for off := uint64(0); off < b.Size; off += 4096 {
			part := min(4096, b.Size-off)
			api := ""
			if off == 0 || i == warm+n-1 {
				api = name("iova_link")
			}
			if err := r.measure(api, false, func() error { return l.Link(t, dev, st, b.Phys+off, off, part, kernel.FromDevice, 0) }); err != nil {
				return err
			}
		}
		if err := r.measure(name("iova_sync"), false, func() error { l.Sync(t, dev, st, 0, b.Size); return nil }); err != nil {
			return err
		}
		end := func(api string, call func()) error {
			return r.measure(name(api), false, func() error { call(); return nil })
		}
		if r.f.name == "iova_unlink" {
			err = errors.Join(end("iova_unlink", func() { l.Unlink(t, dev, st, 0, b.Size, kernel.FromDevice, 0) }), end("iova_free", func() { l.Free(t, dev, st) }))
		} else {
			err = end("iova_destroy", func() { l.Destroy(t, dev, st, b.Size, kernel.FromDevice, 0) })
		}
		if err != nil {
			return err
		}
		r.pace(i >= warm)
	}
	return nil
}

var fnRecorder = cpu.NewFunc("gt_probe", "the module that made the recordings", 256)

// frames are the page frames that the recorded conversions were asked about.
const (
	frameRAM       = recordedPage >> 12
	frameEarlyHole = 0xa0000 >> 12         // legacy VGA hole
	frameHole      = 0xc0000000 >> 12      // between the RAM below 4 GiB and the device windows
	frameMMIO      = recordedMMIO >> 12    // no struct page, in a root that exists
	frameHighMMIO  = 0x380000000000 >> 12  // no root
	frameTooBig    = 1<<46>>12 + 1<<46>>13 // beyond MAX_PHYSMEM_BITS
)

// On arm64 RAM began at 1 GiB, above devices, and a root spans 32 GiB.
const (
	armNoRoot = 200 << 30 >> 12
	armTooBig = 1<<52>>12 + 1
)

// conversion calls one of the recorder's noinline functions: an entry, the conversion, a return.
func (r *recorder) conversion() error {
	t, mem := r.t, r.m.MM
	frames := map[string]uint64{"pfn_valid_ram": frameRAM, "pfn_valid_earlyhole": frameEarlyHole, "pfn_valid_hole": frameHole,
		"pfn_valid_mmio": frameMMIO, "pfn_valid_highmmio": frameHighMMIO, "pfn_valid_toobig": frameTooBig}
	if r.c.arm() {
		frames["pfn_valid_lowhole"], frames["pfn_valid_mmio"] = frameHole, frameHole
		frames["pfn_valid_hole"], frames["pfn_valid_highmmio"], frames["pfn_valid_toobig"] = armNoRoot, armNoRoot, armTooBig
	}
	page := cpu.VmemmapBase + uint64(frameRAM)*64
	body := map[string]func(){
		"page_to_phys": func() { mem.PageToPhys(t, page, 0) },
		"phys_to_page": func() { mem.PhysToPage(t, recordedPage, 0) },
		"page_to_pfn":  func() { mem.PageToPfn(t, page, 0) },
		"pfn_to_page":  func() { mem.PfnToPage(t, frameRAM, 0) },
		"virt_to_page": func() { mem.VirtToPage(t, kernel.Virt(recordedPage), 0) },
		"page_address": func() { mem.PageAddress(t, page, 0) },
	}[r.f.name]
	if pfn, ok := frames[r.f.name]; ok {
		body = func() { mem.PfnValid(t, pfn, 0) }
	}
	for range warmRecorded {
		err := r.measure(r.f.parts[0], false, func() error {
			t.Call(fnRecorder)
			if r.c.arm() {
				t.ALU(1, 0)
			}
			t.Nop(1)
			body()
			t.Ret()
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
