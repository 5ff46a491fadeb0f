package smmutable

import "fmt"

// Stage is a stage of translation: 1 turns a virtual into an intermediate address, 2 that into a physical one.
type Stage uint8

// Stages.
const (
	Stage1 Stage = 1
	Stage2 Stage = 2
)

func (s Stage) String() string { return fmt.Sprintf("stage %d", uint8(s)) }

// Granules: log2 of the smallest page and of one table.
const (
	Granule4K  uint8 = 12
	Granule16K uint8 = 14
	Granule64K uint8 = 16
)

// LastLevel is the level of the smallest pages.
const LastLevel = 3

// MaxConcat is how many tables may lie side by side at the start level of stage 2 (DDI 0487, concatenated tables).
const MaxConcat = 1 << maxConcatBits

const maxConcatBits = 4

// Geometry is the shape of one translation table.
type Geometry struct {
	Stage   Stage
	Granule uint8 // log2: 12, 14 or 16
	Input   uint8 // bits of the input address, 64 - TxSZ: 25 to 48
	Output  uint8 // bits of the output address: 32 to 48
}

// Bits returns how many address bits one level resolves: 9, 11 or 13.
func (g Geometry) Bits() uint8 { return g.Granule - 3 }

// StartLevel returns the level of the root. Stage 2 starts at level 1 with up to MaxConcat tables side by side where
// that spares a root at level 0, as Linux does (arm_64_lpae_alloc_pgtable_s2); the architecture allows it at every level.
func (g Geometry) StartLevel() int {
	levels := (int(g.Input) - int(g.Granule) + int(g.Bits()) - 1) / int(g.Bits())
	start := LastLevel + 1 - levels
	if g.Stage == Stage2 && start == 0 && g.Input-g.Shift(start) <= maxConcatBits {
		start++
	}
	return start
}

// Shift returns log2 of the bytes that one entry of the level covers: with 4 KiB granule 12, 21, 30, 39 for levels 3 to 0.
func (g Geometry) Shift(level int) uint8 { return g.Granule + uint8(LastLevel-level)*g.Bits() }

// Index returns the number of the entry that translates addr in a table of the level. At the start level it counts
// through concatenated tables.
func (g Geometry) Index(addr uint64, level int) uint64 {
	i := addr >> g.Shift(level)
	if level == g.StartLevel() {
		return i & (1<<(g.Input-g.Shift(level)) - 1)
	}
	return i & (1<<g.Bits() - 1)
}

// EntryAddr returns the physical address of the entry that translates addr in the table of the level at table.
func (g Geometry) EntryAddr(table, addr uint64, level int) uint64 {
	return table + g.Index(addr, level)*8
}

// RootBytes returns the size of the root in bytes: what its index bits need, a whole number of tables when
// concatenated.
func (g Geometry) RootBytes() uint64 { return 8 << (g.Input - g.Shift(g.StartLevel())) }

// BlockLevel reports whether an entry of the level may map a block: 1 GiB and 2 MiB, 32 MiB, 512 MiB by granule.
func (g Geometry) BlockLevel(level int) bool {
	return level == 2 || level == 1 && g.Granule == Granule4K
}

// PageSizes returns the sizes that entries can map, one bit each, as Linux' pgsize_bitmap does.
func (g Geometry) PageSizes() uint64 {
	sizes := uint64(1) << g.Granule
	for l := g.StartLevel(); l < LastLevel; l++ {
		if g.BlockLevel(l) {
			sizes |= 1 << g.Shift(l)
		}
	}
	return sizes
}

// Covers reports whether addr lies in the input range of the table.
func (g Geometry) Covers(addr uint64) bool { return addr>>g.Input == 0 }

// tg0 encodes a granule as TG0 and S2TG do.
func tg0(granule uint8) uint64 {
	switch granule {
	case Granule64K:
		return 1
	case Granule16K:
		return 2
	}
	return 0
}

func fromTG0(tg uint64) uint8 { return [4]uint8{Granule4K, Granule64K, Granule16K, Granule4K}[tg&3] }

// outputs are the widths that IPS, S2PS and IDR5.OAS encode.
var outputs = [8]uint8{32, 36, 40, 42, 44, 48, 52, 56}

// OutputCode encodes an output width as IPS, S2PS and IDR5.OAS do, rounding up.
func OutputCode(bits uint8) uint64 {
	for i, b := range outputs {
		if b >= bits {
			return uint64(i)
		}
	}
	return 7
}

// OutputBits decodes IPS, S2PS or IDR5.OAS.
func OutputBits(code uint64) uint8 { return outputs[code&7] }
