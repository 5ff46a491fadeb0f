package iommudma_test

import (
	"errors"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommudma"
	"dmapath/kernel/recorded"
)

// watched is a machine whose data is followed.
func watched(tb testing.TB, v kernel.Version, a kernel.Arch) (*machine, *cache.Truth) {
	m := bootArch(tb, v, a, 1, false)
	m.env.Truth = cache.NewTruth()
	return m, m.env.Truth
}

// device returns what the device finds at I/O address addr: the physical address, 0 if nothing.
func (m *machine) device(addr uint64) uint64 {
	pa, ok := m.drv.pages[addr&^4095]
	if !ok {
		return 0
	}
	return pa + addr&4095
}

// An untrusted device sees its buffer and zeros: never what else lies in the buffer's pages. What fills its granules is mapped as it is.
func TestUntrustedDeviceSeesOnlyItsBuffer(t *testing.T) {
	for i := range 4 {
		v, a := kernel.Version(i/2), kernel.Arch(i%2)
		for _, c := range []struct {
			name      string
			off, size uint64
			bounced   bool
		}{{"a page", 0, 4096, false}, {"eight pages", 0, 32768, false}, {"within a page", 0x120, 100, true}, {"across pages", 0xf00, 9000, true},
			{"unaligned end", 0, 5000, true}} {
			for _, dir := range []kernel.Direction{kernel.ToDevice, kernel.FromDevice, kernel.Bidirectional} {
				m, u := watched(t, v, a)
				m.dev.Untrusted, m.dev.MinAlign = true, 4095
				secret := u.CPUWrite(page, 16384)
				buf := u.CPUWrite(page+c.off, c.size)
				recorded.Run(func(th *cpu.Thread) {
					th.ISA = a.ISA()
					addr, err := m.l.Map(th, m.dev, page+c.off, c.size, dir, 0)
					if err != nil {
						t.Fatalf("%v, %s: %v", v, c.name, err)
					}
					for at := addr &^ 4095; at < (addr+c.size+4095)&^4095; at++ {
						pa := m.device(at)
						if pa == 0 {
							t.Fatalf("%v, %s: %#x of the buffer's pages is not mapped", v, c.name, at)
						}
						in := at >= addr && at < addr+c.size
						u.DeviceRead(pa, 1, true, func(_ uint64, got cache.Version) {
							if in != (got == buf) || !in && got == secret {
								t.Fatalf("%v, %s: the device reads version %d at %#x of a buffer at %#x (buffer %d, secret %d)", v, c.name, got, at, addr, buf, secret)
							}
						})
					}
					want := buf
					if dir != kernel.ToDevice {
						want = u.DeviceWrite(m.device(addr), 1, true)
					}
					if c.bounced != (m.pools.Used() > 0) {
						t.Errorf("%v, %s: %d slots taken", v, c.name, m.pools.Used())
					}
					m.l.Unmap(th, m.dev, addr, c.size, dir, 0)
					u.CPURead(page+c.off, 1, func(_ uint64, got cache.Version) {
						if got != want {
							t.Errorf("%v, %s, %v: the CPU reads version %d, want %d", v, c.name, dir, got, want)
						}
					})
					if len(m.drv.pages) != 0 || m.pools.Used() != 0 || th.Depth() != 0 {
						t.Errorf("%v, %s: %d pages mapped, %d slots taken, depth %d", v, c.name, len(m.drv.pages), m.pools.Used(), th.Depth())
					}
				})
			}
		}
	}
}

// dma_iova_link bounces the head and the tail of an untrusted device's buffer and links the middle; memory that must not bounce is refused;
// a device that does not keep the offset in a page (min_align_mask) cannot be linked to a head at all.
func TestLinkBouncesHeadAndTail(t *testing.T) {
	for _, a := range []kernel.Arch{kernel.X86_64, kernel.ARM64} {
		linkBounces(t, a)
	}
}

// A piece that begins within a page and ends with one shares its page as much as any other.
func TestLinkBouncesAHeadAlone(t *testing.T) {
	for _, a := range []kernel.Arch{kernel.X86_64, kernel.ARM64} {
		m, u := watched(t, kernel.V7_3, a)
		m.dev.Untrusted, m.dev.MinAlign = true, 4095
		const at, size = 0x40000800, 0x800
		u.CPUWrite(at, size)
		recorded.Run(func(th *cpu.Thread) {
			th.ISA = a.ISA()
			st := &iommudma.State{VA: th.SP() - 64}
			if !m.l.TryAlloc(th, m.dev, st, at, size) {
				t.Fatal("no range")
			}
			if err := m.l.Link(th, m.dev, st, at, 0, size, kernel.ToDevice, 0); err != nil {
				t.Fatal(err)
			}
			if m.pools.Used() == 0 {
				t.Errorf("%v: the device sees the rest of the page", a)
			}
			m.l.Destroy(th, m.dev, st, size, kernel.ToDevice, 0)
			if m.pools.Used() != 0 {
				t.Errorf("%v: %d slots left", a, m.pools.Used())
			}
		})
	}
}

func linkBounces(t *testing.T, a kernel.Arch) {
	t.Helper()
	const off, size = 0x700, 3*4096 + 0x200
	for _, c := range []struct {
		name     string
		minAlign uint64
		attrs    kernel.Attrs
		err      error
	}{{"kept offset", 4095, 0, nil}, {"no min_align_mask", 0, 0, iommucore.EINVAL}, {"REQUIRE_COHERENT", 4095, kernel.AttrRequireCoherent, iommudma.ErrNotPermitted}} {
		m, u := watched(t, kernel.V7_3, a)
		m.dev.Untrusted, m.dev.MinAlign = true, c.minAlign
		buf := u.CPUWrite(page+off, size)
		recorded.Run(func(th *cpu.Thread) {
			th.ISA = a.ISA()
			st := &iommudma.State{VA: th.SP() - 64}
			if !m.l.TryAlloc(th, m.dev, st, page+off, size) {
				t.Fatal("no range")
			}
			err := m.l.Link(th, m.dev, st, page+off, 0, size, kernel.Bidirectional, c.attrs)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("%s: %v, want %v", c.name, err, c.err)
			}
			if err != nil {
				if m.pools.Used() != 0 || len(m.drv.pages) != 0 {
					t.Errorf("%s: %d slots and %d pages left", c.name, m.pools.Used(), len(m.drv.pages))
				}
				return
			}
			m.l.Sync(th, m.dev, st, 0, size)
			wrote := make([]cache.Version, 0, 4)
			for i := range uint64(4) {
				at := st.Addr + i*4096
				if i > 0 {
					at = at&^4095 + 8
				}
				pa := m.device(at)
				direct := pa == page+off+at-st.Addr
				if middle := i == 1 || i == 2; direct != middle {
					t.Errorf("page %d is mapped as it is: %v", i, direct)
				}
				u.DeviceRead(pa, 1, true, func(_ uint64, got cache.Version) {
					if got != buf {
						t.Errorf("page %d: the device reads version %d, want %d", i, got, buf)
					}
				})
				wrote = append(wrote, u.DeviceWrite(pa, 1, true))
			}
			m.l.Destroy(th, m.dev, st, size, kernel.Bidirectional, c.attrs)
			for i := range uint64(4) {
				at := uint64(page + off)
				if i > 0 {
					at = (page+off)&^4095 + i*4096 + 8
				}
				u.CPURead(at, 1, func(_ uint64, got cache.Version) {
					if got != wrote[i] {
						t.Errorf("page %d: the CPU reads version %d, the device wrote %d", i, got, wrote[i])
					}
				})
			}
			if m.pools.Used() != 0 || len(m.drv.pages) != 0 || th.Depth() != 0 {
				t.Errorf("%d slots, %d pages, depth %d left", m.pools.Used(), len(m.drv.pages), th.Depth())
			}
		})
	}
}

// Small buffers that a device writes around the caches bounce on arm64, since their lines may be somebody else's; the lines of all others are
// maintained, once per direction that needs it.
func TestNonCoherentDevice(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, c := range []struct {
			size    uint64
			dir     kernel.Direction
			bounced bool
		}{{4096, kernel.ToDevice, false}, {4096, kernel.FromDevice, false}, {40, kernel.ToDevice, false}, {40, kernel.FromDevice, false}, {24, kernel.FromDevice, true},
			{64, kernel.FromDevice, false}, {96, kernel.Bidirectional, true}, {256, kernel.FromDevice, false}} {
			m, u := watched(t, v, kernel.ARM64)
			m.dev.NonCoherent = true
			buf := u.CPUWrite(page, c.size)
			recorded.Run(func(th *cpu.Thread) {
				th.ISA = cpu.A64
				addr, err := m.l.Map(th, m.dev, page, c.size, c.dir, 0)
				if err != nil {
					t.Fatal(err)
				}
				if c.bounced != (m.pools.Used() > 0) {
					t.Errorf("%v, %d bytes %v: %d slots taken", v, c.size, c.dir, m.pools.Used())
				}
				pa := m.device(addr)
				u.DeviceRead(pa, c.size, false, func(at uint64, got cache.Version) {
					if got != buf {
						t.Fatalf("%v, %d bytes %v: the device reads version %d at %#x, want %d", v, c.size, c.dir, got, at, buf)
					}
				})
				want := buf
				if c.dir != kernel.ToDevice {
					u.Speculate(pa, c.size) // a core may fetch the lines at any time
					want = u.DeviceWrite(pa, c.size, false)
				}
				m.l.Unmap(th, m.dev, addr, c.size, c.dir, 0)
				u.CPURead(page, c.size, func(at uint64, got cache.Version) {
					if got != want {
						t.Fatalf("%v, %d bytes %v: the CPU reads version %d at %#x, want %d", v, c.size, c.dir, got, at, want)
					}
				})
			})
		}
	}
}
