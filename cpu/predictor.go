package cpu

import "fmt"

// PredictorConfig sizes the branch predictor.
type PredictorConfig struct {
	Bimodal  int    // log2 of the two-bit counters indexed by PC, 6 to 20
	Tagged   int    // log2 of the entries of each table indexed by PC and history, 6 to 16
	Tables   int    // tagged tables, 0 to 4; their history lengths are those of History
	History  [4]int // branch outcomes hashed into each table's index, 1 to 64, increasing
	BTB      int    // log2 of the branch target buffer's entries, 6 to 16
	Indirect int    // log2 of the entries of the history-indexed target table of indirect branches, 4 to 14
	Returns  int    // entries of the return stack, 1 to 64
}

func (p *PredictorConfig) validate() (errs []error) {
	in := func(name string, v, lo, hi int) {
		if v < lo || v > hi {
			errs = append(errs, fmt.Errorf("cpu: Predictor.%s is %d: allowed are %d to %d", name, v, lo, hi))
		}
	}
	in("Bimodal", p.Bimodal, 6, 20)
	in("Tagged", p.Tagged, 6, 16)
	in("Tables", p.Tables, 0, 4)
	for i, last := 0, 0; i < p.Tables && i < 4; i++ {
		in(fmt.Sprintf("History[%d]", i), p.History[i], last+1, 64)
		last = p.History[i]
	}
	in("BTB", p.BTB, 6, 16)
	in("Indirect", p.Indirect, 4, 14)
	in("Returns", p.Returns, 1, 64)
	return errs
}
