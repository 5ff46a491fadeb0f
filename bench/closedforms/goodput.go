package closedforms

import (
	"fmt"

	"dmapath/bench/evidence"
	"dmapath/cache"
	"dmapath/pcie"
	"dmapath/sim"
)

// above4G makes headers of four doublewords.
const above4G = 1 << 33

// instant is memory that takes no time, so that the link is all there is.
type instant struct{}

func (instant) DeviceRead(_ uint64, _ int, now sim.Time) (sim.Time, cache.Level) {
	return now, cache.LLC
}
func (instant) DeviceWrite(_ uint64, _ int, now sim.Time) sim.Time { return now }

func idlePort(c pcie.Config) (*pcie.Port, error) { return pcie.NewPort(c, nil, instant{}) }

// ackLimits is the recommended number of symbol times between acknowledgements, and between credit updates, by lanes and MPS for Gen3 and
// faster, typed in from the specification.
var ackLimits = map[[2]int]int{{8, 128}: 163, {8, 256}: 203, {8, 512}: 182, {16, 128}: 144, {16, 256}: 168, {16, 512}: 182, {4, 256}: 214}

// linkRate is what the published model leaves for transaction packets, in Gb/s.
func linkRate(gen, lanes, mps int) float64 {
	raw := map[int]float64{3: 8, 4: 16, 5: 32}[gen] * float64(lanes) * 128 / 130
	l := float64(ackLimits[[2]int{lanes, mps}])
	return raw * (1 - 8/l - 8/l - 4./1538)
}

// transfers is how many transfers are timed, behind a quarter as many that fill the pipeline.
const transfers = 2000

// goodput is payload per time of writes and reads that nothing but the link limits.
func goodput(uint64) (rows []evidence.Row, err error) {
	const source = "Neugebauer et al., SIGCOMM 2018, and pcie-bench/pcie-model: headers of 24 B, completions of 20 B, ACK and FC packets as recommended"
	run := func(c pcie.Config, op func(p *pcie.Port, at uint64, size int) (sim.Time, error), size int) (float64, error) {
		p, err := idlePort(c)
		if err != nil {
			return 0, err
		}
		var first, last sim.Time
		for i := range uint64(transfers * 5 / 4) {
			if last, err = op(p, above4G+i*4096, size); err != nil {
				return 0, err
			}
			if i == transfers/4-1 {
				first = last
			}
		}
		return float64(transfers*size*8) / (last - first).Nanoseconds(), nil
	}
	write := func(p *pcie.Port, at uint64, size int) (sim.Time, error) { return p.Write(1, at, size, 0) }
	read := func(p *pcie.Port, at uint64, size int) (sim.Time, error) { return p.Read(1, at, size, 0) }
	for _, link := range []struct{ gen, lanes, mps, mrrs int }{{3, 8, 256, 512}, {3, 8, 128, 128}, {3, 16, 512, 512}, {4, 16, 256, 512}, {5, 16, 512, 4096}, {4, 4, 256, 256}} {
		c := openConfig(link.gen, link.lanes, link.mps, link.mrrs)
		rate := linkRate(link.gen, link.lanes, link.mps)
		for _, size := range []int{64, 128, 256, 300, 512, 1500, 4096} {
			got, err := run(c, write, size)
			if err != nil {
				return nil, err
			}
			n := (size + link.mps - 1) / link.mps
			rows = append(rows, evidence.Row{What: fmt.Sprintf("write %d B, Gen%d x%d MPS %d", size, link.gen, link.lanes, link.mps), Unit: "Gb/s",
				Predicted: got, Reference: rate * float64(size) / float64(size+24*n), Tolerance: 0.001, Source: source})
			if got, err = run(c, read, size); err != nil {
				return nil, err
			}
			// The requests go the other way; they limit only reads whose answer is not longer than they are.
			answers, asks := 0, 0
			for left := size; left > 0; left -= link.mrrs {
				asks++
				answers += (min(left, link.mrrs) + link.mps - 1) / link.mps
			}
			want := min(rate*float64(size)/float64(size+20*answers), rate*float64(size)/float64(24*asks))
			rows = append(rows, evidence.Row{What: fmt.Sprintf("read %d B, Gen%d x%d MPS %d MRRS %d", size, link.gen, link.lanes, link.mps, link.mrrs), Unit: "Gb/s",
				Predicted: got, Reference: want, Tolerance: 0.001, Source: source})
		}
	}
	// A root complex that answers line by line.
	c := openConfig(3, 8, 256, 512)
	c.CompletionSize = 64
	for _, size := range []int{64, 512, 4096} {
		got, err := run(c, read, size)
		if err != nil {
			return nil, err
		}
		rows = append(rows, evidence.Row{What: fmt.Sprintf("read %d B, Gen3 x8, completions of 64 B", size), Unit: "Gb/s", Predicted: got,
			Reference: linkRate(3, 8, 256) * 64 / 84, Tolerance: 0.001, Source: source})
	}
	return rows, nil
}
