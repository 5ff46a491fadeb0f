package program

// Twins of kernel code. Each walks the queries at R0, R1 of them, and leaves in R12 the sum of its results. A query is xored with what R11
// and the result of the lookup before it have in common; R11 is 0 at run time, so the query stays as it is and no lookup starts
// before the one before it has its result: latency shows, as it does where a mapping call waits for the lookup.
var (
	// PfnValid is pfn_valid of SPARSEMEM_EXTREME (include/linux/mmzone.h): R2 the array of roots, R3 the number of sections. A section is 16
	// bytes: the memory map pointer with flags in its low bits (bit 1 has a map, bit 3 early), and the usage with the bitmap of
	// subsections in its third word.
	PfnValid = newProgram("pfnvalid", func(p *Program) {
		p.label("top")
		p.next(R4)
		p.op(Mov, R5, R4)
		p.imm(ShrI, R5, 15) // section
		p.imm(MovI, R10, 0)
		p.br(R5, HS, R3, "done")
		p.op(Mov, R6, R5)
		p.imm(ShrI, R6, 8) // root
		p.ldx(R6, R2, R6)
		p.brI(R6, EQ, 0, "done")
		p.imm(AndI, R5, 255)
		p.imm(ShlI, R5, 4)
		p.op(Add, R6, R5)
		p.ld(R7, R6, 0)
		p.brBit(R7, EQ, 2, "done")
		p.imm(MovI, R10, 1)
		p.brBit(R7, NE, 8, "done")
		p.ld(R8, R6, 8)
		p.imm(ShrI, R4, 9)
		p.ld(R10, R8, 16)
		p.op(Shr, R10, R4)
		p.imm(AndI, R10, 1)
		p.label("done")
		p.result("top")
	})

	// PageToPhys is page_to_phys with vmemmap: R2 the base of the array of 64-byte struct pages.
	PageToPhys = newProgram("pagetophys", func(p *Program) {
		p.label("top")
		p.op(And, R10, R11)
		p.ld(R4, R0, 0)
		p.op(Xor, R10, R4)
		p.op(Sub, R10, R2)
		p.imm(ShrI, R10, 6)
		p.imm(ShlI, R10, 12)
		p.result("top")
	})

	// Memblock is memblock_search (mm/memblock.c): R2 the regions of 24 bytes (base, size, flags), R3 their number. The result is the
	// number of the region plus one, 0 for none.
	Memblock = newProgram("memblock", func(p *Program) {
		p.label("top")
		p.next(R4)
		p.imm(MovI, R5, 0)
		p.op(Mov, R6, R3)
		p.label("search")
		p.op(Mov, R7, R5)
		p.op(Add, R7, R6)
		p.imm(ShrI, R7, 1) // middle
		p.op(Mov, R8, R7)  // times 3, in units of 8 bytes
		p.op(Add, R8, R7)
		p.op(Add, R8, R7)
		p.put(Insn{Op: Lea8, D: R9, A: R2, B: R8})
		p.ld(R8, R9, 0)
		p.br(R4, HS, R8, "above")
		p.op(Mov, R6, R7)
		p.jump("again")
		p.label("above")
		p.ld(R10, R9, 8)
		p.op(Add, R10, R8)
		p.br(R4, LO, R10, "found")
		p.op(Mov, R5, R7)
		p.imm(AddI, R5, 1)
		p.label("again")
		p.br(R5, LO, R6, "search")
		p.imm(MovI, R10, 0)
		p.jump("done")
		p.label("found")
		p.op(Mov, R10, R7)
		p.imm(AddI, R10, 1)
		p.label("done")
		p.result("top")
	})

	// Insert writes a leaf into a four-level page table: R2 the top table, R3 the mask of a table's address in an entry, R5 what is or-ed to
	// a leaf. An absent table ends the walk with 0; the result is the leaf's old value plus one.
	Insert = newProgram("insert", func(p *Program) {
		p.label("top")
		p.next(R4)
		p.op(Mov, R6, R2)
		p.imm(MovI, R10, 0)
		for _, shift := range []int64{39, 30, 21} {
			p.op(Mov, R7, R4)
			p.imm(ShrI, R7, shift)
			p.imm(AndI, R7, 511)
			p.ldx(R6, R6, R7)
			p.brBit(R6, EQ, 1, "done")
			p.op(And, R6, R3)
		}
		p.op(Mov, R7, R4)
		p.imm(ShrI, R7, 12)
		p.imm(AndI, R7, 511)
		p.ldx(R10, R6, R7)
		p.op(Or, R4, R5)
		p.stx(R6, R7, R4)
		p.imm(AddI, R10, 1)
		p.label("done")
		p.result("top")
	})

	// Magazine is a pop and a push of iova_rcache (drivers/iommu/iova.c): the query is the address of a CPU's cache: lock word, loaded magazine.
	// A magazine is its size and its entries. The lock is a locked addition and a store.
	Magazine = newProgram("magazine", func(p *Program) {
		p.label("top")
		p.next(R4)
		for _, pop := range []bool{true, false} {
			end := "pushed"
			if pop {
				end = "popped"
			}
			p.imm(MovI, R5, 1)
			p.put(Insn{Op: Xadd, D: R5, A: R4})
			p.ld(R6, R4, 8) // loaded magazine
			p.ld(R7, R6, 0) // size
			if pop {
				p.imm(MovI, R10, 0)
				p.brI(R7, EQ, 0, end)
				p.imm(AddI, R7, -1)
				p.put(Insn{Op: Lea8, D: R8, A: R6, B: R7})
				p.ld(R10, R8, 8)
				p.st(R6, 0, R7)
			} else {
				p.brI(R7, EQ, 127, end)
				p.put(Insn{Op: Lea8, D: R8, A: R6, B: R7})
				p.st(R8, 8, R10)
				p.imm(AddI, R7, 1)
				p.st(R6, 0, R7)
			}
			p.label(end)
			p.imm(MovI, R5, 0)
			p.st(R4, 0, R5)
		}
		p.result("top")
	})
)

// next loads the next query into d, behind the result of the lookup before.
func (p *Program) next(d Reg) {
	p.op(And, R10, R11)
	p.ld(d, R0, 0)
	p.op(Xor, d, R10)
}

// result adds R10 to the sum and goes on with the next query.
func (p *Program) result(top string) {
	p.op(Add, R12, R10)
	p.imm(AddI, R0, 8)
	p.dec(R1, top)
}
