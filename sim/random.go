package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// NewRand returns the random stream called name of the run with this seed: PCG seeded with the SHA-256 of both. Each
// component has a stream of its own, so that adding one does not shift another's numbers, and two variants
// compared under one seed see the same arrivals.
func NewRand(seed uint64, name string) *rand.Rand {
	h := sha256.Sum256(append(binary.LittleEndian.AppendUint64(nil, seed), name...))
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(h[:]), binary.LittleEndian.Uint64(h[8:])))
}
