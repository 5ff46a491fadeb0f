package table

// Memory is what a walk reads; physical addresses, aligned 8-byte words.
type Memory interface {
	Read64(pa uint64) uint64
}

// Translation is the result of a walk.
type Translation struct {
	PA     uint64 // of the very byte that was asked for
	Shift  uint8  // log2 of the page: 12, 21 or 30
	Rights Rights // granted by all levels together
	Reads  int    // entries read, 1 to 5
}

// Walk translates iova through the table of levels at root and says why not if it cannot. Reads is set in
// either case; it is 0 when the address lies outside the table.
func Walk(m Memory, r *Rules, root uint64, levels int, iova uint64, write bool) (t Translation, why Reason) {
	if !r.Covers(iova, levels) {
		return t, r.Beyond()
	}
	t.Rights = AllRights
	table := root
	for l := levels; ; l-- {
		k, addr, rights := r.Decode(m.Read64(EntryAddr(table, iova, l)), l)
		t.Reads++
		if why := r.EntryFault(k, write); why != NoFault {
			return t, why
		}
		t.Rights &= rights
		if k == Table {
			table = addr
			continue
		}
		t.Shift = Shift(l)
		t.PA = addr | iova&(1<<t.Shift-1)
		return t, r.RightsFault(t.Rights, write)
	}
}
