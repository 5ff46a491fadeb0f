package program

// Programs of the calibration. R1 counts rounds down; what a round does is said with each. Twins of kernel code are in twins.go and
// share no program with these.
var (
	// Empty measures what reading the counters and loading registers costs.
	Empty = newProgram("empty", func(*Program) {})

	// Chain: 64 dependent additions a round.
	Chain = newProgram("chain", unrolled(64, func(p *Program) { p.imm(AddI, R2, 1) }))

	// Muls: 16 dependent multiplications a round.
	Muls = newProgram("muls", unrolled(16, func(p *Program) { p.op(Mul, R2, R3) }))

	// Scans: 16 dependent bit scans, each with an addition that keeps its source from being 0.
	Scans = newProgram("scans", unrolled(16, func(p *Program) { p.op(Tz, R2, R2); p.imm(OrI, R2, 16) }))

	// Chase: 16 dependent loads a round, from the pointer in R2.
	Chase = newProgram("chase", unrolled(16, func(p *Program) { p.ld(R2, R2, 0) }))

	// Gather: 8 independent loads a round, at the offsets (in units of 8 bytes) that R3 points at, from R2.
	Gather = newProgram("gather", func(p *Program) {
		p.label("top")
		for i := range int64(8) {
			p.ld(R4, R3, 8*i)
			p.ldx(R5, R2, R4)
			p.op(Add, R6, R5)
		}
		p.imm(AddI, R3, 64)
		p.dec(R1, "top")
	})

	// Loads: 32 independent loads of the same lines a round.
	Loads = newProgram("loads", func(p *Program) {
		p.label("top")
		for i := range int64(32) {
			p.ld(R4+Reg(i&7), R2, 8*i)
		}
		p.dec(R1, "top")
	})

	// Stores: 32 stores a round, each to another of 8 lines than the one before.
	Stores = newProgram("stores", func(p *Program) {
		p.label("top")
		for i := range int64(32) {
			p.st(R2, 64*(i&7), R3)
		}
		p.dec(R1, "top")
	})

	// StoreStream: a store to each of 8 consecutive lines a round, from R2 on.
	StoreStream = newProgram("storestream", func(p *Program) {
		p.label("top")
		for i := range int64(8) {
			p.st(R2, 64*i, R3)
		}
		p.imm(AddI, R2, 512)
		p.dec(R1, "top")
	})

	// LoadStream: a load of each of 8 consecutive lines a round, from R2 on: what displaces.
	LoadStream = newProgram("loadstream", func(p *Program) {
		p.label("top")
		for i := range int64(8) {
			p.ld(R3, R2, 64*i)
		}
		p.imm(AddI, R2, 512)
		p.dec(R1, "top")
	})

	// Forwards: 16 times a store and the load of what it stored, each behind the one before. Two registers hold the address: cores that
	// know a load of what was just stored by its register and displacement (AMD since Zen 2) need no time for that, which is the rarer case.
	Forwards = newProgram("forwards", unrolled(16, func(p *Program) { p.st(R2, 0, R3); p.ld(R3, R4, 0) }))

	// Coin: a branch on each of 8 words of the array at R3 a round: taken when bit 0 is set.
	Coin = newProgram("coin", func(p *Program) {
		p.label("top")
		for i := range int64(8) {
			skip := "skip" + string(rune('0'+i))
			p.ld(R4, R3, 8*i)
			p.brBit(R4, NE, 1, skip)
			p.imm(AddI, R5, 3)
			p.label(skip)
		}
		p.imm(AddI, R3, 64)
		p.dec(R1, "top")
	})

	// Xadds: 16 locked additions to one word a round, each behind the one before.
	Xadds = newProgram("xadds", unrolled(16, func(p *Program) { p.op(Xadd, R3, R2) }))

	// XaddLoads: a locked addition to the word at R4 and 16 dependent loads that have nothing to do with it a round.
	XaddLoads = newProgram("xaddloads", func(p *Program) {
		p.label("top")
		p.op(Xadd, R3, R4)
		for range 16 {
			p.ld(R2, R2, 0)
		}
		p.dec(R1, "top")
	})

	// XaddStores: a locked addition to the word at R4 and 3 stores to another line a round.
	XaddStores = newProgram("xaddstores", func(p *Program) {
		p.label("top")
		p.op(Xadd, R3, R4)
		for i := range int64(3) {
			p.st(R2, 8*i, R5)
		}
		p.dec(R1, "top")
	})

	// StoreFences: 8 times a store and a full fence a round.
	StoreFences = newProgram("storefences", unrolled(8, func(p *Program) { p.st(R2, 0, R3); p.put(Insn{Op: Full}) }))

	// StoreOrders: 8 times a store and a fence that orders stores alone a round.
	StoreOrders = newProgram("storeorders", unrolled(8, func(p *Program) { p.st(R2, 0, R3); p.put(Insn{Op: StFence}) }))

	// Serials: 8 serialising instructions a round.
	Serials = newProgram("serials", unrolled(8, func(p *Program) { p.put(Insn{Op: Serial}) }))

	// Counters: 8 reads of the cycle counter a round, each behind the one before, as far as the hardware cares.
	Counters = newProgram("counters", unrolled(8, func(p *Program) { p.put(Insn{Op: Counter}) }))

	// Pauses: 8 pauses a round.
	Pauses = newProgram("pauses", unrolled(8, func(p *Program) { p.put(Insn{Op: Pause}) }))

	// Flushes: 8 times a store to a line of its own and its flush a round, from R2 on.
	Flushes = newProgram("flushes", func(p *Program) {
		p.label("top")
		for range 8 {
			p.st(R2, 0, R3)
			p.put(Insn{Op: Flush, A: R2})
			p.imm(AddI, R2, 64)
		}
		p.dec(R1, "top")
		p.put(Insn{Op: Full})
	})

	// Copies: one string copy a round, of R6 bytes from R7 to R8.
	Copies = newProgram("copies", func(p *Program) {
		p.AMD64 = true
		p.label("top")
		p.op(Mov, R2, R6)
		p.op(Mov, R4, R7)
		p.op(Mov, R5, R8)
		p.put(Insn{Op: Copy})
		p.dec(R1, "top")
	})

	// Nops: 64 instructions without operands a round.
	Nops = newProgram("nops", unrolled(64, func(p *Program) { p.put(Insn{Op: Nop}) }))
)

// unrolled is a loop over R1 whose round is n copies of body.
func unrolled(n int, body func(p *Program)) func(p *Program) {
	return func(p *Program) {
		p.label("top")
		for range n {
			body(p)
		}
		p.dec(R1, "top")
	}
}
