package tlb

// wide finds slots of large sets through a hash and keeps each set's slots in the order of their use, so that neither
// a lookup nor a replacement looks at every way. All links are slot numbers.
type wide struct {
	heads []int32 // hash bucket -> first slot, -1 none
	chain []int32 // slot -> next slot of its bucket
	shift uint8   // hash >> shift is the bucket

	next, prev []int32 // recency ring of a set: slots 0..entries-1, then one sentinel per set
	entries    int
	ways       int
	vacancy    []int32 // per set: first vacant slot, linked by chain; -1 none
}

func newWide(entries, ways int) *wide {
	b := uint8(64)
	n := 1
	for n < 2*entries {
		n, b = n*2, b-1
	}
	sets := entries / ways
	w := &wide{heads: make([]int32, n), chain: make([]int32, entries), shift: b,
		next: make([]int32, entries+sets), prev: make([]int32, entries+sets), entries: entries, ways: ways,
		vacancy: make([]int32, sets)}
	for i := range w.heads {
		w.heads[i] = -1
	}
	for s := range sets {
		sentinel := int32(entries + s)
		w.next[sentinel], w.prev[sentinel] = sentinel, sentinel
		w.vacancy[s] = -1
		for i := (s+1)*ways - 1; i >= s*ways; i-- {
			w.insert(int32(i), sentinel)
			w.chain[i], w.vacancy[s] = w.vacancy[s], int32(i)
		}
	}
	return w
}

func (w *wide) bucket(key uint64, dom uint32) uint64 {
	return (key ^ uint64(dom)<<40) * hashFactor >> w.shift
}

func (w *wide) find(c *Cache, key uint64, dom uint32) int {
	for i := w.heads[w.bucket(key, dom)]; i >= 0; i = w.chain[i] {
		if c.keys[i] == key && c.meta[i].dom == dom {
			return int(i)
		}
	}
	return -1
}

// hash makes slot i findable; unhash undoes it.
func (w *wide) hash(c *Cache, i int) {
	b := w.bucket(c.keys[i], c.meta[i].dom)
	w.chain[i], w.heads[b] = w.heads[b], int32(i)
}

func (w *wide) unhash(c *Cache, i int) {
	p := &w.heads[w.bucket(c.keys[i], c.meta[i].dom)]
	for *p != int32(i) {
		p = &w.chain[*p]
	}
	*p = w.chain[i]
}

// vacant takes a slot that holds nothing out of the set's store of them, or returns -1.
func (w *wide) vacant(set int) int {
	i := w.vacancy[set]
	if i >= 0 {
		w.vacancy[set] = w.chain[i]
	}
	return int(i)
}

// free makes slot i the next that is filled.
func (w *wide) free(i int) {
	set := i / w.ways
	w.chain[i], w.vacancy[set] = w.vacancy[set], int32(i)
}

// insert puts slot i behind the sentinel: most recently used.
func (w *wide) insert(i, sentinel int32) {
	n := w.next[sentinel]
	w.next[i], w.prev[i] = n, sentinel
	w.prev[n], w.next[sentinel] = i, i
}

func (w *wide) front(i int) {
	sentinel := int32(w.entries + i/w.ways)
	if w.next[sentinel] == int32(i) {
		return
	}
	n, p := w.next[i], w.prev[i]
	w.next[p], w.prev[n] = n, p
	w.insert(int32(i), sentinel)
}

func (w *wide) back(set int) int { return int(w.prev[w.entries+set]) }
