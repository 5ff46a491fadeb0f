package oracle

// Move is what the caches do of their own accord to the lines of a buffer.
type Move uint8

// Moves.
const (
	Nothing   Move = iota
	Evict          // write dirty lines back, drop clean ones
	Speculate      // bring lines in
)

func (m Move) String() string { return [...]string{"nothing", "evict", "speculate"}[m] }

// Adversary is what the caches do at the two moments of a transfer at which it can matter: between the map and the device's
// access, and between the device's access and the unmap.
type Adversary struct{ Before, After Move }

// Adversaries lists all combinations.
func Adversaries() []Adversary {
	var all []Adversary
	for _, b := range []Move{Nothing, Evict, Speculate} {
		for _, a := range []Move{Nothing, Evict, Speculate} {
			all = append(all, Adversary{b, a})
		}
	}
	return all
}

// Play lets the caches do move to every line that n bytes at physical address pa touch. Device memory is in no cache.
func (o *Oracle) Play(move Move, pa, n uint64) {
	switch {
	case o.isDevice(pa):
	case move == Evict:
		o.Truth.Evict(pa, n)
	case move == Speculate:
		o.Truth.Speculate(pa, n)
	}
}
