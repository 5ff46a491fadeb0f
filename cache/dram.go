package cache

import (
	"math/bits"

	"dmapath/sim"
)

// dram is memory: channels with a data bus each and banks with an open row each.
type dram struct {
	cfg      DRAMConfig
	banks    []bank // channel-major
	bus      []bandwidth
	lines    uint // log2 of lines per row
	bankBits uint
	stats    DRAMStats
}

// bank remembers its row and the contiguous busy time that it ends. A request earlier than that fits before it.
type bank struct {
	row         uint64 // row+1, 0: none open
	start, free sim.Time
}

// DRAMStats counts what memory did.
type DRAMStats struct {
	Reads, Writes                   uint64 // lines
	RowHits, RowMisses, RowConflict uint64 // of the reads: row open, none open, another open
	Busy                            sim.Time
	Wait                            sim.Time // of the reads, for banks, buses and refresh
}

func newDRAM(cfg DRAMConfig) dram {
	return dram{cfg: cfg, banks: make([]bank, cfg.Channels*cfg.Banks), bus: make([]bandwidth, cfg.Channels),
		lines: uint(bits.TrailingZeros(uint(cfg.RowBytes / LineBytes))), bankBits: uint(bits.TrailingZeros(uint(cfg.Banks)))}
}

// locate returns where a line lies. Consecutive lines go to consecutive channels, a row's worth of a channel's lines to
// one row, and the bank number is permuted by the row number so that power-of-two strides spread (Zhang, Zhu,
// Zhang, MICRO 2000).
func (d *dram) locate(pa uint64) (ch int, bk int, row uint64) {
	line := pa >> 6
	n := uint64(d.cfg.Channels)
	var in uint64
	if n&(n-1) == 0 {
		s := uint(bits.TrailingZeros64(n))
		in = line >> s
		ch = int((line ^ in>>d.lines ^ in>>(d.lines+s)) & (n - 1))
	} else {
		in = line / n
		ch = int(line % n)
	}
	page := in >> d.lines
	row = page >> d.bankBits
	bk = int((page ^ row) & (uint64(d.cfg.Banks) - 1))
	return ch, bk, row
}

// refresh returns the first time at or after t that no refresh blocks.
func (d *dram) refresh(t sim.Time) sim.Time {
	if d.cfg.TREFI == 0 {
		return t
	}
	if into := t % d.cfg.TREFI; into < d.cfg.TRFC {
		return t - into + d.cfg.TRFC
	}
	return t
}

// read returns when the line's last beat has arrived for a request that reaches the controller at now.
func (d *dram) read(pa uint64, now sim.Time) sim.Time {
	ch, bk, row := d.locate(pa)
	b := &d.banks[ch*d.cfg.Banks+bk]
	t := d.refresh(now)
	open := b.row
	if d.cfg.RowIdle > 0 && t > b.free && t-b.free >= d.cfg.RowIdle {
		open = 0
	}
	var act sim.Time // before the column access
	switch open {
	case row + 1:
		d.stats.RowHits++
	case 0:
		d.stats.RowMisses++
		act = d.cfg.TRCD
	default:
		d.stats.RowConflict++
		act = d.cfg.TRP + d.cfg.TRCD
	}
	busy := act + d.cfg.Burst
	start := t
	if t < b.free && t+busy > b.start {
		start = b.free
	}
	if start >= b.free {
		if start > b.free {
			b.start = start
		}
		b.free, b.row = start+busy, row+1
	}
	data := d.bus[ch].reserve(start+act+d.cfg.TCL, d.cfg.Burst)
	d.stats.Reads++
	d.stats.Busy += d.cfg.Burst
	d.stats.Wait += data - (now + act + d.cfg.TCL)
	return data + d.cfg.Burst
}

// write accepts a line at now. Controllers buffer writes and drain them row by row, so a write costs its
// channel's bus time and leaves the rows alone.
func (d *dram) write(pa uint64, now sim.Time) {
	d.stats.Writes++
	d.stats.Busy += d.cfg.Burst
	if now < 0 {
		return // functional: no time passes
	}
	ch, _, _ := d.locate(pa)
	d.bus[ch].reserve(now, d.cfg.Burst)
}
