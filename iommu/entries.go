package iommu

import "dmapath/tlb"

// Entries is a cache of decoded device entries: a tlb.Cache says which are cached, and what they say lies in a slab, one for each key ever
// seen. Keys are requesters, or requesters with a PASID.
type Entries[T any] struct {
	cache *tlb.Cache
	slab  []*T
	keys  []uint64         // of the slab, in the order in which they came
	index map[uint64]int32 // key to its place in the slab
}

// NewEntries makes an empty cache.
func NewEntries[T any](name string, cfg tlb.Config) (e Entries[T], err error) {
	e.index = map[uint64]int32{}
	e.cache, err = NewCache(name, cfg, 0)
	return e, err
}

// Lookup returns the cached entry of a key.
func (e *Entries[T]) Lookup(key uint64) (*T, bool) {
	i, ok := e.cache.Lookup(0, key, 0)
	if !ok {
		return nil, false
	}
	return e.slab[i], true
}

// Probe is Lookup without any trace.
func (e *Entries[T]) Probe(key uint64) (*T, bool) {
	i, ok := e.cache.Probe(0, key, 0)
	if !ok {
		return nil, false
	}
	return e.slab[i], true
}

// Insert caches what the entry of a key says and returns where it lies.
func (e *Entries[T]) Insert(key uint64, v T) *T {
	i, ok := e.index[key]
	if !ok {
		i = int32(len(e.slab))
		e.slab, e.keys = append(e.slab, new(T)), append(e.keys, key)
		e.index[key] = i
	}
	*e.slab[i] = v
	e.cache.Insert(0, key, 0, uint64(i))
	return e.slab[i]
}

// Drop removes the entry of a key.
func (e *Entries[T]) Drop(key uint64) { e.cache.InvalidatePage(0, key, 0) }

// DropAll removes all entries.
func (e *Entries[T]) DropAll() { e.cache.InvalidateAll() }

// DropIf removes the entries that match.
func (e *Entries[T]) DropIf(match func(key uint64, v *T) bool) {
	for i, key := range e.keys {
		if match(key, e.slab[i]) {
			e.Drop(key)
		}
	}
}
