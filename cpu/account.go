package cpu

// Stall says why a retirement slot stayed empty, or why a thread waited.
type Stall uint8

// Stall causes. The first group is charged by the core while it times ops, the second by Account.Wait.
const (
	StallNone   Stall = iota // cycles in which something retired
	StallFetch               // code line not in L1I, or front-end bandwidth
	StallITLB                // instruction translation missed the first-level TLB
	StallBranch              // refill after a misprediction
	StallBTB                 // refill after a taken branch that the BTB did not know
	StallMem                 // load latency of an L1 hit, forwarding, or a blocked forward
	StallL2                  // load served by the L2
	StallLLC                 // load served by the last-level cache
	StallPeer                // line came from another core's cache
	StallDRAM                // line came from memory
	StallTLB                 // data translation missed the first-level TLB
	StallStore               // store queue full
	StallLoadQ               // load queue full
	StallSerial              // fence, atomic, pause or serialising op
	StallString              // rep string instruction
	StallExec                // dependences, ports, long-latency arithmetic

	StallMMIO // read of a device register
	StallLock // lock held by another CPU
	StallInv  // IOMMU invalidation not complete
	StallIdle // nothing to do
	NumStalls
)

var stallNames = [NumStalls]string{"retiring", "fetch", "itlb", "branch", "btb", "mem", "l2", "llc", "peer", "dram",
	"tlb", "store_queue", "load_queue", "serial", "string", "exec", "mmio", "lock", "invalidation", "idle"}

func (s Stall) String() string { return stallNames[s] }

// NumLevels is the number of cache.Level values.
const NumLevels = 5

// FnCount is what one kernel function cost. Cycles are attributed at retirement: the cycles between the retirement of an
// op and of its predecessor belong to the op's function, so functions sum exactly to the total.
type FnCount struct {
	Cycles int64             // core cycles, waits included
	Ops    [NumClasses]int64 // instructions by class
	Level  [NumLevels]int64  // data lines by the cache.Level that served them; store-forwarded loads count as L1
	Stall  [NumStalls]int64  // cycles by cause; StallNone is implied, see Retiring

	Calls       int64 // times the function was entered: not counted by the core, see Account.Entered
	Taken       int64 // conditional branches taken
	Mispredicts int64 // branches of any kind whose successor was predicted wrongly
	BTBMisses   int64 // taken direct branches unknown to the BTB
	Forwarded   int64 // loads served by the store queue
	Blocked     int64 // loads that overlapped an uncommitted store that could not forward
	FetchMisses int64 // code lines that missed L1I
	DTLBMisses  int64 // data accesses that missed the first-level TLB
	Walks       int64 // page walks, data and code
}

// Instructions returns how many instructions retired.
func (f *FnCount) Instructions() (n int64) {
	for _, v := range f.Ops {
		n += v
	}
	return n
}

// Loads returns how many instructions read memory; a locked or plain read-modify-write is in Loads and Stores, and so
// is a locked add used as a fence, which the core counts as Fence alone.
func (f *FnCount) Loads() int64 {
	return f.Ops[Load] + f.Ops[LoadOp] + f.Ops[RMW] + f.Ops[Atomic] + f.Ops[Ret]
}

// Stores returns how many instructions wrote memory.
func (f *FnCount) Stores() int64 {
	return f.Ops[Store] + f.Ops[RMW] + f.Ops[Atomic] + f.Ops[String] + f.Ops[Call] + f.Ops[CallInd]
}

// Branches returns how many instructions transferred control or might have.
func (f *FnCount) Branches() int64 {
	return f.Ops[Branch] + f.Ops[Jmp] + f.Ops[JmpInd] + f.Ops[Call] + f.Ops[CallInd] + f.Ops[Ret] +
		f.Ops[Link] + f.Ops[LinkInd] + f.Ops[LinkRet]
}

// Retiring returns the cycles not charged to any stall.
func (f *FnCount) Retiring() int64 {
	n := f.Cycles
	for _, v := range f.Stall {
		n -= v
	}
	return n
}

func (f *FnCount) add(g *FnCount) {
	f.Cycles += g.Cycles
	for i, v := range g.Ops {
		f.Ops[i] += v
	}
	for i, v := range g.Level {
		f.Level[i] += v
	}
	for i, v := range g.Stall {
		f.Stall[i] += v
	}
	f.Calls += g.Calls
	f.Taken += g.Taken
	f.Mispredicts += g.Mispredicts
	f.BTBMisses += g.BTBMisses
	f.Forwarded += g.Forwarded
	f.Blocked += g.Blocked
	f.FetchMisses += g.FetchMisses
	f.DTLBMisses += g.DTLBMisses
	f.Walks += g.Walks
}

// Account collects what ops cost, by the function that executed them. The zero value is ready.
type Account struct {
	Fn     []FnCount // by Func.ID
	Cycles int64     // total; equals the sum over Fn
}

// NewAccount returns an account with room for every function defined.
func NewAccount() *Account { return &Account{Fn: make([]FnCount, NumFuncs())} }

func (a *Account) grow() {
	if n := NumFuncs(); len(a.Fn) < n {
		a.Fn = append(a.Fn, make([]FnCount, n-len(a.Fn))...)
	}
}

// Wait charges cycles that fn spent waiting for cause.
func (a *Account) Wait(fn uint16, cause Stall, cycles int64) {
	if int(fn) >= len(a.Fn) {
		a.grow()
	}
	a.Fn[fn].Cycles += cycles
	a.Fn[fn].Stall[cause] += cycles
	a.Cycles += cycles
}

// Entered counts one entry of fn.
func (a *Account) Entered(fn uint16) {
	if int(fn) >= len(a.Fn) {
		a.grow()
	}
	a.Fn[fn].Calls++
}

// Reset forgets everything and keeps the storage.
func (a *Account) Reset() {
	clear(a.Fn)
	a.Cycles = 0
}

// Add adds b to a.
func (a *Account) Add(b *Account) {
	a.grow()
	for i := range b.Fn {
		a.Fn[i].add(&b.Fn[i])
	}
	a.Cycles += b.Cycles
}

// Total returns the sum over all functions.
func (a *Account) Total() FnCount {
	var t FnCount
	for i := range a.Fn {
		t.add(&a.Fn[i])
	}
	return t
}
