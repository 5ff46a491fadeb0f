package amdtable

// Memory is what a walk reads; physical addresses, aligned 8-byte words.
type Memory interface {
	Read64(pa uint64) uint64
}

// Reason says why a translation failed. An IO_PAGE_FAULT event carries it as flags.
type Reason uint8

// Reasons of a walk.
const (
	NoFault     Reason = iota
	BeyondWidth        // the table has too few levels for the address
	NotPresent         // an entry is absent, or skipped levels would have needed a nonzero index
	IllegalPTE         // see Illegal
	Denied             // an entry or the device table entry withholds the right
)

func (r Reason) String() string {
	return [...]string{"no fault", "address beyond the width of the table", "page not present", "illegal page-table entry", "no permission"}[r]
}

// Flags returns the flags that an IO_PAGE_FAULT event for a request with this fate carries (section 2.5.3).
func (r Reason) Flags(write bool) EventFlags {
	var f EventFlags
	if write {
		f |= FaultRW
	}
	switch r {
	case IllegalPTE:
		f |= FaultPR | FaultRZ
	case Denied:
		f |= FaultPR | FaultPE
	}
	return f
}

// Translation is the result of a walk.
type Translation struct {
	PA     uint64 // of the very byte that was asked for
	Shift  uint8  // log2 of the page, 12 to 63
	Rights Rights // granted by all levels together
	Reads  int    // entries read, 1 to 6
}

// Walk translates iova through the table with levels levels (Mode of the device table entry, 1 to 6) at root and says why not
// if it cannot. Reads is set in either case; it is 0 when the address lies outside the table.
func Walk(m Memory, root uint64, levels int, iova uint64, write bool) (t Translation, why Reason) {
	if !Covers(iova, levels) {
		return t, BeyondWidth
	}
	need := Read
	if write {
		need = Write
	}
	t.Rights = AllRights
	table := root
	for level := levels; ; {
		e := Decode(m.Read64(EntryAddr(table, iova, level)), level)
		t.Reads++
		t.Rights &= e.Rights
		switch e.Kind {
		case Absent:
			return t, NotPresent
		case Illegal:
			return t, IllegalPTE
		case Table:
			if Skips(iova, level, e.Level) {
				return t, NotPresent
			}
			table, level = e.Addr, e.Level
			continue
		}
		t.Shift = e.Shift
		t.PA = e.Addr | iova&(1<<e.Shift-1)
		if t.Rights&need == 0 {
			return t, Denied
		}
		return t, NoFault
	}
}

// Skips reports whether an entry of level that points to a table of level next leaves out a level for which iova has a nonzero
// index. The table does not map such an address (section 2.2.3, level skipping).
func Skips(iova uint64, level, next int) bool {
	return iova&(1<<Shift(level)-1)>>Shift(next+1) != 0
}
