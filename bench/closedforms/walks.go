package closedforms

import (
	"fmt"

	"dmapath/bench/evidence"
	"dmapath/cache"
	"dmapath/iommu"
	"dmapath/iommu/amd"
	"dmapath/iommu/amdtable"
	"dmapath/iommu/smmu"
	"dmapath/iommu/smmutable"
	"dmapath/iommu/table"
	"dmapath/iommu/vtd"
	"dmapath/sim"
	"dmapath/tlb"
)

// Where the structures of a unit lie; tables come from firstFrame on.
const (
	deviceTable = 0x10000
	contexts    = 0x20000
	pasids      = 0x30000
	commands    = 0x40000
	events      = 0x50000
	firstFrame  = 0x100000
	requester   = uint16(0x0108)
)

// readTime is what every read of memory takes here.
const readTime = 100 * sim.Nanosecond

// fixed is memory in which every access takes the same time.
type fixed struct{}

func (fixed) DeviceRead(_ uint64, _ int, now sim.Time) (sim.Time, cache.Level) {
	return now + readTime, cache.DRAM
}
func (fixed) DeviceWrite(_ uint64, _ int, now sim.Time) sim.Time { return now + readTime }

// rig is one unit without a machine around it.
type rig struct {
	eng  *sim.Engine
	mem  *cache.Memory
	next uint64
}

func newRig() *rig { return &rig{sim.NewEngine(), cache.NewMemory(), firstFrame} }

func (b *rig) frame() uint64 { return b.frames(4096) }

// frames returns memory aligned to its size, a power of two.
func (b *rig) frames(n uint64) uint64 {
	at := (b.next + n - 1) &^ (n - 1)
	b.next = at + n
	return at
}

func (b *rig) words(at uint64, w ...uint64) {
	for i, v := range w {
		b.mem.Write64(at+uint64(i)*8, v)
	}
}

// lean takes the caches of tables away, so that every walk goes all the way, and gives the unit a clock of 1 GHz.
func lean(c *iommu.Config) {
	c.ClockHz = 1_000_000_000
	c.IOTLB = tlb.Config{Entries: 1024}
	for l := range c.Paging {
		c.Paging[l].Entries = 0
	}
}

// walk is one translation of an idle unit.
type walk struct {
	what  string
	reads int // by the formula
	unit  iommu.Unit
	cfg   iommu.Config
	at    uint64
	extra int  // reads besides those of the walk
	b     *rig // what the unit is in
}

// walks is how long the first translation of an address takes: as many reads as there are tables on the way, and with two stages
// (n+1)(m+1)-1: every table of the first, and the page, is looked up in the second.
func walks(uint64) (rows []evidence.Row, err error) {
	var list []walk
	for _, make := range []func() ([]walk, error){vtdWalks, amdWalks, smmuWalks} {
		w, err := make()
		if err != nil {
			return nil, err
		}
		list = append(list, w...)
	}
	for _, w := range list {
		if _, _, err := w.unit.Translate(requester, w.at, true, 0); err != nil {
			return nil, fmt.Errorf("closed-forms: %s: %w", w.what, err)
		}
		s := w.unit.Statistics()
		var reads uint64
		for _, n := range s.PTEReads {
			reads += n
		}
		own := sim.Time(w.cfg.WalkStart+w.cfg.WalkEnd)*sim.Nanosecond + sim.Time(w.reads)*sim.Time(w.cfg.PTEOverhead)*sim.Nanosecond
		rows = append(rows,
			evidence.Row{What: w.what + ": reads", Unit: "count", Predicted: float64(reads), Reference: float64(w.reads + w.extra),
				Source: "tables on the way; (n+1)(m+1)-1 with two stages, and m more for an SMMU's context descriptor, which lies in the first"},
			evidence.Row{What: w.what + ": time", Unit: "ns", Predicted: s.WalkTimes.Mean() / float64(sim.Nanosecond), Reference: (own + sim.Time(w.reads)*readTime).Nanoseconds(),
				Source: "reads x memory latency, and the unit's own time for each and for the walk"})
	}
	return rows, nil
}

// vtdWalks are second stage, first stage and both, in every depth and page size.
func vtdWalks() (list []walk, err error) {
	for _, f := range []table.Format{table.SecondStage, table.FirstStage} {
		for _, levels := range []int{3, 4, 5} {
			if f == table.FirstStage && levels == 3 {
				continue // the first stage has 4 or 5
			}
			for leaf, size := range []string{"4 KiB", "2 MiB", "1 GiB"} {
				w, _, err := vtdUnit(f, levels, false, func(b *rig, first, _ *table.Builder) error {
					return first.Map(0x40000000, 0x80000000, uint8(12+9*leaf), table.Read|table.Write)
				})
				if err != nil {
					return nil, err
				}
				w.what, w.reads = fmt.Sprintf("VT-d %v, %d levels, %s", map[table.Format]string{table.FirstStage: "first", table.SecondStage: "second"}[f], levels, size), levels-leaf
				list = append(list, w)
			}
		}
	}
	w, _, err := vtdUnit(table.FirstStage, 4, true, func(b *rig, first, second *table.Builder) error {
		if err := first.Map(0x40000000, 0x80000000, 12, table.Read|table.Write); err != nil {
			return err
		}
		for at := uint64(firstFrame); at < firstFrame+256*4096; at += 4096 {
			if err := second.Map(at, at, 12, table.Read|table.Write); err != nil {
				return err
			}
		}
		return second.Map(0x80000000, 0x80000000, 12, table.Read|table.Write)
	})
	if err != nil {
		return nil, err
	}
	w.what, w.reads = "VT-d nested, 4 on 4, 4 KiB", (4+1)*(4+1)-1
	return append(list, w), nil
}

func vtdUnit(f table.Format, levels int, nested bool, fill func(b *rig, first, second *table.Builder) error) (walk, *rig, error) {
	return vtdUnitOf(f, levels, nested, 1, fill)
}

func vtdUnitOf(f table.Format, levels int, nested bool, walkers int, fill func(b *rig, first, second *table.Builder) error) (walk, *rig, error) {
	b := newRig()
	cfg := vtd.DefaultConfig()
	lean(&cfg.Config)
	cfg.Walkers = walkers
	cfg.Levels, cfg.Nested = []int{3, 4, 5}, nested
	u, err := vtd.New(cfg, b.eng, fixed{}, b.mem)
	if err != nil {
		return walk{}, nil, err
	}
	first := table.NewBuilder(b.mem, f, levels, b.frame)
	p := table.PASID{Present: true, Type: table.PGTTSecond, Domain: 5, Second: first.Root, Levels: levels}
	if f == table.FirstStage {
		p.Type, p.First = table.PGTTFirst, first.Root
	}
	var second *table.Builder
	if nested {
		second = table.NewBuilder(b.mem, table.SecondStage, 4, b.frame)
		p = table.PASID{Present: true, Type: table.PGTTNested, Domain: 5, First: first.Root, Levels: levels, Second: second.Root, SecondLevels: 4}
	}
	if err := fill(b, first, second); err != nil {
		return walk{}, nil, err
	}
	b.words(table.RootEntryAddr(deviceTable, requester), table.RootPointer(contexts))
	w0, w1 := table.SMContext{Present: true, Dir: pasids}.Encode()
	b.words(table.SMContextAddr(contexts, requester), w0, w1)
	b.words(pasids, table.PASIDDirPointer(pasids+4096))
	w := p.Encode()
	b.words(pasids+4096, w[:]...)
	write := func(reg, val uint64) { u.WriteReg(cfg.RegBase+reg, val, b.eng.Now()) }
	write(table.RegRTADDR, deviceTable|1<<10) // scalable mode
	write(table.RegGCMD, uint64(vtd.CmdSRTP))
	write(table.RegIQA, commands)
	write(table.RegGCMD, uint64(vtd.CmdQIE))
	write(table.RegGCMD, uint64(vtd.CmdQIE|vtd.CmdTE))
	return walk{unit: u, cfg: cfg.Config, at: 0x40000000}, b, b.eng.Run(sim.Never)
}

// amdWalks are tables of every depth, and pages of the sizes that levels have.
func amdWalks() (list []walk, err error) {
	for _, levels := range []int{1, 2, 3, 4, 5, 6} {
		for leaf, size := range []string{"4 KiB", "2 MiB", "1 GiB"} {
			if leaf >= levels {
				continue
			}
			b := newRig()
			cfg := amd.DefaultConfig()
			lean(&cfg.Config)
			u, err := amd.New(cfg, b.eng, fixed{}, b.mem)
			if err != nil {
				return nil, err
			}
			t := amdtable.NewBuilder(b.mem, levels, b.frame)
			at := uint64(1) << (12 + 9*leaf)
			if err := t.Map(at, 0x80000000, uint8(12+9*leaf), amdtable.AllRights); err != nil {
				return nil, err
			}
			d := amdtable.DTE{Valid: true, Translation: true, Mode: levels, Root: t.Root, Rights: amdtable.AllRights, Domain: 5}
			w := d.Encode()
			b.words(amdtable.DTEAddr(deviceTable, requester), w[:]...)
			write := func(reg, val uint64) { u.WriteReg(reg, val, b.eng.Now()) }
			write(amdtable.RegDevTableBase, amdtable.DevTableRegister(deviceTable, 65536))
			write(amdtable.RegCmdBase, amdtable.BaseRegister(commands, 9))
			write(amdtable.RegEventBase, amdtable.BaseRegister(events, 8))
			write(amdtable.RegControl, amdtable.ControlIommuEn|amdtable.ControlCmdBufEn|amdtable.ControlEventLogEn)
			if err := b.eng.Run(sim.Never); err != nil {
				return nil, err
			}
			list = append(list, walk{what: fmt.Sprintf("AMD-Vi, %d levels, %s", levels, size), reads: levels - leaf, unit: u, cfg: cfg.Config, at: at})
		}
	}
	return list, nil
}

// smmuWalks are both stages alone, in every granule, and both at once.
func smmuWalks() (list []walk, err error) {
	for _, c := range []struct {
		what   string
		config smmutable.Config
		g      smmutable.Geometry
		leaf   int // level of the page or block
		reads  int
	}{
		{"stage 1, 4 KiB", smmutable.ConfigS1, geometry(smmutable.Stage1, smmutable.Granule4K, 48), 3, 4},
		{"stage 1, 2 MiB", smmutable.ConfigS1, geometry(smmutable.Stage1, smmutable.Granule4K, 48), 2, 3},
		{"stage 1, 1 GiB", smmutable.ConfigS1, geometry(smmutable.Stage1, smmutable.Granule4K, 48), 1, 2},
		{"stage 1, 16 KiB granule", smmutable.ConfigS1, geometry(smmutable.Stage1, smmutable.Granule16K, 48), 3, 4},
		{"stage 1, 64 KiB granule", smmutable.ConfigS1, geometry(smmutable.Stage1, smmutable.Granule64K, 48), 3, 3},
		{"stage 1, 39 bits, 4 KiB", smmutable.ConfigS1, geometry(smmutable.Stage1, smmutable.Granule4K, 39), 3, 3},
		{"stage 2, 44 bits, 4 KiB", smmutable.ConfigS2, geometry(smmutable.Stage2, smmutable.Granule4K, 44), 3, 4},
		{"stage 2, 40 bits, 4 KiB", smmutable.ConfigS2, geometry(smmutable.Stage2, smmutable.Granule4K, 40), 3, 3},
		{"nested, 4 on 4, 4 KiB", smmutable.ConfigNested, geometry(smmutable.Stage1, smmutable.Granule4K, 48), 3, (4+1)*(4+1) - 1},
		{"nested, 3 on 4, 2 MiB", smmutable.ConfigNested, geometry(smmutable.Stage1, smmutable.Granule4K, 48), 2, (3+1)*(4+1) - 1},
	} {
		w, err := smmuUnit(c.config, c.g, c.leaf)
		if err != nil {
			return nil, err
		}
		w.what, w.reads = "SMMU "+c.what, c.reads
		if c.config == smmutable.ConfigNested {
			w.extra = 4
		}
		list = append(list, w)
	}
	return list, nil
}

func geometry(stage smmutable.Stage, granule, input uint8) smmutable.Geometry {
	return smmutable.Geometry{Stage: stage, Granule: granule, Input: input, Output: 48}
}

func smmuUnit(c smmutable.Config, g smmutable.Geometry, leaf int) (walk, error) {
	b := newRig()
	cfg := smmu.DefaultConfig()
	lean(&cfg.Config)
	u, err := smmu.New(cfg, b.eng, fixed{}, b.mem)
	if err != nil {
		return walk{}, err
	}
	t := smmutable.NewBuilder(b.mem, g, b.frames)
	at, page := uint64(0x40000000), uint64(0x80000000)
	if err := t.Map(at, page, leaf, table.AllRights, false); err != nil {
		return walk{}, err
	}
	ste := smmutable.STE{Valid: true, Config: c, Context: contexts, VMID: 9, Record: true}
	switch c {
	case smmutable.ConfigS2:
		ste.TTB = t.Root
		ste.SetGeometry(g)
	case smmutable.ConfigNested: // where the context and the tables of stage 1 lie is intermediate
		g2 := geometry(smmutable.Stage2, smmutable.Granule4K, 44)
		host := smmutable.NewBuilder(b.mem, g2, b.frames)
		for ipa := uint64(contexts); ipa < b.next; ipa += 4096 {
			if err := host.Map(ipa, ipa, smmutable.LastLevel, table.AllRights, false); err != nil {
				return walk{}, err
			}
		}
		if err := host.Map(page, page, smmutable.LastLevel, table.AllRights, false); err != nil {
			return walk{}, err
		}
		ste.TTB = host.Root
		ste.SetGeometry(g2)
	}
	if c != smmutable.ConfigS2 {
		cd := smmutable.CD{Valid: true, ASID: 5, TTB0: t.Root, Record: true, Abort: true}
		cd.SetGeometry(g)
		w := cd.Encode()
		b.words(contexts, w[:]...)
	}
	w := ste.Encode()
	b.words(pasids+uint64(requester&0xff)*smmutable.STESize, w[:]...)
	b.words(deviceTable+uint64(requester>>8)*smmutable.L1StreamSize, smmutable.L1Stream(pasids, smmutable.StreamSplit))
	write := func(reg, val uint64) { u.WriteReg(reg, val, b.eng.Now()) }
	write(smmutable.RegStrtabBase, deviceTable)
	write(smmutable.RegStrtabBaseCfg, uint64(smmutable.StrtabBaseCfg(16, smmutable.StreamSplit, true)))
	write(smmutable.RegCmdqBase, smmutable.QueueBase(commands, 8))
	write(smmutable.RegEventqBase, smmutable.QueueBase(events, 8))
	write(smmutable.RegCR0, uint64(smmutable.CR0CMDQEN|smmutable.CR0EVENTQEN|smmutable.CR0SMMUEN))
	return walk{unit: u, cfg: cfg.Config, at: at}, b.eng.Run(sim.Never)
}
