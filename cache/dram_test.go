package cache

import (
	"math/rand/v2"
	"testing"

	"dmapath/sim"
)

// Lines map one to one to channel, bank, row and place in the row; consecutive lines use all channels.
func TestDRAMMapIsOneToOne(t *testing.T) {
	for _, channels := range []int{1, 2, 3, 4, 6, 8, 12} {
		cfg := Default(1).DRAM
		cfg.Channels, cfg.Banks, cfg.RowBytes = channels, 4, 512
		d := newDRAM(cfg)
		type place struct {
			ch, bk int
			row    uint64
		}
		n := map[place]int{}
		perRow := cfg.RowBytes / LineBytes
		total := channels * cfg.Banks * perRow * 16
		for line := range total {
			ch, bk, row := d.locate(uint64(line) << 6)
			if ch < 0 || ch >= channels || bk < 0 || bk >= cfg.Banks || row >= 16 {
				t.Fatalf("%d channels: line %d at channel %d bank %d row %d", channels, line, ch, bk, row)
			}
			n[place{ch, bk, row}]++
		}
		for p, k := range n {
			if k != perRow {
				t.Fatalf("%d channels: %d lines in %+v, want %d", channels, k, p, perRow)
			}
		}
		used := map[int]bool{}
		for line := range channels {
			ch, _, _ := d.locate(uint64(line) << 6)
			used[ch] = true
		}
		if len(used) != channels {
			t.Errorf("%d channels: consecutive lines use %d", channels, len(used))
		}
	}
}

// A bank serves one row after the other; banks overlap; the bus serves one line after the other.
func TestBankAndBusTiming(t *testing.T) {
	cfg := Default(1).DRAM
	cfg.Channels = 1
	d := newDRAM(cfg)
	row0 := uint64(0)
	var sameBank, otherBank uint64
	_, bk0, r0 := d.locate(row0)
	for a := uint64(0); sameBank == 0 || otherBank == 0; a += 64 {
		_, bk, r := d.locate(a)
		if bk == bk0 && r != r0 && sameBank == 0 {
			sameBank = a
		}
		if bk != bk0 && otherBank == 0 {
			otherBank = a
		}
	}
	first := d.read(row0, 0)
	if want := cfg.TRCD + cfg.TCL + cfg.Burst; first != want {
		t.Errorf("first read done at %v, want %v", first, want)
	}
	if got, want := d.read(64, 0), first+cfg.Burst; got != want {
		t.Errorf("row hit behind it done at %v, want %v: one burst later", got, want)
	}
	if got, want := d.read(otherBank, 0), first+2*cfg.Burst; got != want {
		t.Errorf("other bank done at %v, want %v: its activation overlaps, its burst follows", got, want)
	}
	busy := cfg.TRCD + 2*cfg.Burst
	if got, want := d.read(sameBank, 0), busy+cfg.TRP+cfg.TRCD+cfg.TCL+cfg.Burst; got != want {
		t.Errorf("other row of the busy bank done at %v, want %v", got, want)
	}
	if s := d.stats; s.RowMisses != 2 || s.RowHits != 1 || s.RowConflict != 1 {
		t.Errorf("%+v", s)
	}
}

func TestIdleRowCloses(t *testing.T) {
	cfg := Default(1).DRAM
	cfg.RowIdle = us
	for _, c := range []struct {
		gap  sim.Time
		want sim.Time
	}{{us - 1, cfg.TCL + cfg.Burst}, {us, cfg.TRCD + cfg.TCL + cfg.Burst}} {
		d := newDRAM(cfg)
		d.read(0, 0)
		at := d.banks[0].free + c.gap
		for i := range d.banks {
			if d.banks[i].row != 0 {
				at = d.banks[i].free + c.gap
			}
		}
		if got := d.read(0, at) - at; got != c.want {
			t.Errorf("after %v idle: %v, want %v", c.gap, got, c.want)
		}
	}
}

func TestRefreshBlocks(t *testing.T) {
	cfg := Default(1).DRAM
	cfg.TREFI, cfg.TRFC = 7800*sim.Nanosecond, 350*sim.Nanosecond
	plain := cfg.TRCD + cfg.TCL + cfg.Burst
	for _, c := range []struct{ at, wait sim.Time }{
		{cfg.TREFI - 1, 0}, {cfg.TREFI, cfg.TRFC}, {cfg.TREFI + cfg.TRFC - 1, 1}, {cfg.TREFI + cfg.TRFC, 0}} {
		d := newDRAM(cfg)
		if got := d.read(0, c.at) - c.at; got != plain+c.wait {
			t.Errorf("at %v: %v, want %v", c.at, got, plain+c.wait)
		}
	}
}

// A stream of reads, with enough of them outstanding, moves as many bytes as the buses can, and never more.
func TestStreamingReachesDRAMBandwidth(t *testing.T) {
	for _, channels := range []int{1, 2, 8} {
		cfg := Default(1)
		cfg.DRAM.Channels = channels
		cfg.DRAM.Burst = 3200 // 20 GB/s
		h := build(t, cfg)
		const lines = 100_000
		end := sim.Time(0)
		window := make([]sim.Time, 256) // a device keeps 256 lines outstanding
		for i := range lines {
			now := window[i%len(window)]
			done, _ := h.DeviceRead(uint64(i)<<6, 64, now)
			window[i%len(window)] = done
			end = max(end, done)
		}
		got := float64(lines*LineBytes) / (float64(end) / float64(sim.Second))
		if peak := cfg.Bandwidth(); got > peak || got < 0.95*peak {
			t.Errorf("%d channels: %.2f GB/s of %.2f", channels, got/1e9, peak/1e9)
		}
		s := h.Stats().DRAM
		if s.Reads != lines || s.Busy != lines*cfg.DRAM.Burst {
			t.Errorf("%d reads, busy %v", s.Reads, s.Busy)
		}
		if s.RowHits < lines*9/10 {
			t.Errorf("%d channels: only %d row hits in a stream", channels, s.RowHits)
		}
	}
}

// Write-backs take bandwidth from reads: half of it when every line read pushes out a dirty one.
func TestWritebacksTakeBandwidth(t *testing.T) {
	cfg := bare(1)
	cfg.DRAM.Channels = 1
	cfg.IO.DDIOWays = 0
	cfg.DRAM.Burst = 3200
	var ends [2]sim.Time
	for writes := range 2 {
		h := build(t, cfg)
		window := make([]sim.Time, 256)
		for i := range 50_000 {
			now := window[i%len(window)]
			if writes == 1 {
				h.DeviceWrite(uint64(i)<<6|1<<40, 64, now)
			}
			done, _ := h.DeviceRead(uint64(i)<<6, 64, now)
			window[i%len(window)] = done
			ends[writes] = max(ends[writes], done)
		}
	}
	if r := float64(ends[1]) / float64(ends[0]); r < 1.9 || r > 2.1 {
		t.Errorf("with as many writes the reads take %.2f times as long, want 2", r)
	}
}

// In order, the bus is exactly a queue with one server.
func TestBandwidthInOrderIsFIFO(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, gap := range []int{1000, 2500, 2600, 4000, 20000} {
		b := bandwidth{}
		now, free := sim.Time(0), sim.Time(0)
		for i := range 100_000 {
			now += sim.Time(r.IntN(2 * gap))
			got := b.reserve(now, 2500)
			want := max(now, free)
			// Full buckets may add a rounding of one transfer at their borders, which queues cannot tell.
			if got < want || got > want+2500 {
				t.Fatalf("mean gap %d, transfer %d: start %v, want %v", gap, i, got, want)
			}
			free = got + 2500
		}
	}
}

// Out of order by up to a microsecond, no bucket serves more than fits, a lone request is never delayed, and a saturated bus
// stays saturated.
func TestBandwidthOutOfOrder(t *testing.T) {
	const d = 2500
	for _, load := range []float64{0.1, 0.5, 0.9, 1.5} {
		r := rand.New(rand.NewPCG(2, 2))
		b := bandwidth{}
		now := 10 * us
		served := map[int64]sim.Time{}
		wait, last := sim.Time(0), sim.Time(0)
		const n = 200_000
		for range n {
			now += sim.Time(r.ExpFloat64() * d / load)
			at := now - sim.Time(r.IntN(int(us)))
			start := b.reserve(at, d)
			if start < at {
				t.Fatalf("load %v: starts %v before it is asked for", load, at-start)
			}
			wait += start - at
			last = max(last, start)
			served[int64(start>>bucketShift)] += d
		}
		for k, s := range served {
			if s > bucketWidth+2*d {
				t.Fatalf("load %v: bucket %d serves %v of %v", load, k, s, bucketWidth)
			}
		}
		switch mean := wait / n; {
		case load == 0.1 && mean > d/2:
			t.Errorf("load 0.1: mean wait %v", mean)
		case load == 0.9 && mean > 100*sim.Nanosecond:
			t.Errorf("load 0.9: mean wait %v", mean)
		case load == 1.5:
			if got := float64(n*d) / float64(last-10*us); got < 0.95 || got > 1.01 {
				t.Errorf("load 1.5: %.3f of the bandwidth used", got)
			}
		}
	}
}
