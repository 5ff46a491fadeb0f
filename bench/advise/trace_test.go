package advise

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"dmapath/bench"
	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads/replay"
)

// traced reads some events of a recorded trace.
func readTrace(t *testing.T, name string, limit int64) Request {
	t.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	x := bench.Replay{Name: name, Cache: "hot", Limit: limit, Seed: 1}
	p, err := x.ReadOnly().File(context.Background(), s, func() (io.ReadCloser, error) { return os.Open("../reference/event-traces/" + name) })
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Platform: s, Exp: bench.Default(), Trace: NewTrace(p.Calls())}
	b, v := r.Trace.Baseline(s)
	r.Exp.Backends, r.Exp.Variants, r.Exp.Caches = []string{b}, []string{v}, []string{"hot"}
	return r
}

// A recorded trace gets advice: its backend and call are found in it, pass-through saves nearly everything, a pool of a NIC's buffers too, and lazy
// invalidation leaves buffers open.
func TestAdviceForATrace(t *testing.T) {
	r := readTrace(t, "73-strict-nic.txt.gz", 3000)
	a, err := For(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	if u := a.Base.Setup; u.backend() != platform.IommuStrict || u.variant() != "map_phys@7.3" {
		t.Errorf("the trace was recorded on %s with %s", u.backend(), u.variant())
	}
	want := map[string]struct {
		group group
		saves float64 // at least, of the cost
	}{"iommu.passthrough=1": {trade, 0.8}, "pool of recurring buffers": {trade, 0.4}, "iommu.strict=0 (lazy)": {trade, 0.2}}
	for _, o := range a.Options {
		w, ok := want[o.Name]
		if !ok {
			continue
		}
		delete(want, o.Name)
		if o.Failed != nil || o.group() != w.group || o.Saves.Mean < w.saves*a.Base.Cost {
			t.Errorf("%s: %v, group %d, saves %.0f of %.0f", o.Name, o.Failed, o.group(), o.Saves.Mean, a.Base.Cost)
		}
	}
	if len(want) > 0 {
		t.Errorf("not tried: %v", want)
	}
	for _, o := range a.Options { // what is left out counts as free, so that calls stay in pairs
		if x, ok := o.out.(traced); ok && (x.Maps.Pairs.N != a.Base.out.(traced).Maps.Pairs.N || x.Unmaps.Pairs.N != a.Base.out.(traced).Unmaps.Pairs.N) {
			t.Errorf("%s: %d maps and %d unmaps in pairs", o.Name, x.Maps.Pairs.N, x.Unmaps.Pairs.N)
		}
	}
	if b := a.Base.Exposure; b.After != 0 || b.Max != 0 || b.Beside < 2000 || b.Unmaps == 0 {
		t.Errorf("strict exposes %+v; want nothing after unmaps, and most of a page beside small frames", *b)
	}
	maps, _ := r.Trace.Trace().Calls()
	if rate, _ := a.Base.out.rate(); rate != float64(maps)*1e12/float64(r.Trace.Trace().Extent.Span()) {
		t.Errorf("%.0f maps per second", rate)
	}
}

// A machine that cannot make the trace's maps says which, and how many: here one of 2^50 bytes.
func TestTraceThatIsRefused(t *testing.T) {
	r := readTrace(t, "612-strict-nvme.txt.gz", 600)
	u := r.setup()
	u.shapes = []reshape{func(calls []*replay.Call) []*replay.Call {
		large := *calls[0]
		large.Size, large.Runs = 1<<50, []replay.Piece{{Phys: 1 << 32, Size: 1 << 50}}
		return append([]*replay.Call{&large}, calls[1:]...)
	}}
	_, err := u.cost()
	if err == nil || !strings.Contains(err.Error(), "1 of the trace's maps are refused") || !strings.Contains(err.Error(), "the first: ") || !strings.Contains(err.Error(), "0x100000000") {
		t.Errorf("%v", err)
	}
}

// single is a map or unmap of n bytes at phys by CPU 0 at some microsecond.
func single(id uint64, unmap bool, phys, n uint64, us int64) *replay.Call {
	return &replay.Call{How: replay.Single, Unmap: unmap, ID: id, Size: n, Dir: kernel.FromDevice, At: sim.Time(us) * sim.Microsecond, Runs: []replay.Piece{{Phys: phys, Size: n}}}
}

// shown writes calls in a line: M or U with the mapping and the size in pages, in brackets when it is left out.
func shown(calls []*replay.Call) string {
	var out []string
	for _, c := range calls {
		s := "M"
		if c.Unmap {
			s = "U"
		}
		if s += string(rune('a'+c.ID)) + string(rune('0'+c.Size/4096)); c.How == replay.Link {
			s += "L"
		}
		if c.Skip {
			s = "[" + s + "]"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestReshapes(t *testing.T) {
	const p = 4096
	m := func(id, page, pages uint64, us int64) *replay.Call { return single(id, false, page*p, pages*p, us) }
	u := func(id, page, pages uint64, us int64) *replay.Call { return single(id, true, page*p, pages*p, us) }
	list := func(id uint64, unmap bool, runs ...replay.Piece) *replay.Call {
		return &replay.Call{How: replay.List, Unmap: unmap, ID: id, Size: 2 * p, Runs: runs}
	}
	other := m(1, 10, 1, 1)
	other.Dir = kernel.ToDevice
	for _, c := range []struct {
		name  string
		shape reshape
		calls []*replay.Call
		want  string
	}{
		{"memory that comes again is mapped once", pool, []*replay.Call{m(0, 10, 1, 0), u(0, 10, 1, 5), m(1, 10, 1, 9), u(1, 10, 1, 11)}, "Ma1 [Ua1] [Mb1] [Ub1]"},
		{"memory that does not is as it was", pool, []*replay.Call{m(0, 10, 1, 0), u(0, 10, 1, 5), m(1, 11, 1, 9), u(1, 11, 1, 11)}, "Ma1 Ua1 Mb1 Ub1"},
		{"another direction is another mapping", pool, []*replay.Call{m(0, 10, 1, 0), other}, "Ma1 Mb1"},
		{"neighbours are one, the last", join, []*replay.Call{m(0, 10, 1, 0), m(1, 11, 1, 1), u(0, 10, 1, 5), u(1, 11, 1, 6)}, "[Ma1] Mb2 [Ua1] Ub2"},
		{"downwards too, unmapped in any order", join, []*replay.Call{m(0, 11, 1, 0), m(1, 10, 1, 1), m(2, 9, 1, 2), u(2, 9, 1, 5), u(0, 11, 1, 6), u(1, 10, 1, 7)}, "[Ma1] [Mb1] Mc3 [Uc1] [Ua1] Uc3"},
		{"not when they are far apart in time", join, []*replay.Call{m(0, 10, 1, 0), m(1, 11, 1, 100), u(0, 10, 1, 105), u(1, 11, 1, 106)}, "Ma1 Mb1 Ua1 Ub1"},
		{"nor when one is gone before the other comes", join, []*replay.Call{m(0, 10, 1, 0), u(0, 10, 1, 1), m(1, 11, 1, 2), u(1, 11, 1, 6)}, "Ma1 Ua1 Mb1 Ub1"},
		{"nor when one stays", join, []*replay.Call{m(0, 10, 1, 0), m(1, 11, 1, 1), u(1, 11, 1, 6)}, "Ma1 Mb1 Ub1"},
		{"nor with a gap", join, []*replay.Call{m(0, 10, 1, 0), m(1, 12, 1, 1), u(0, 10, 1, 5), u(1, 12, 1, 6)}, "Ma1 Mb1 Ua1 Ub1"},
		{"lists of whole pages are links", links, []*replay.Call{list(0, false, replay.Piece{Phys: 100, Size: p - 100}, replay.Piece{Phys: 7 * p, Size: 50}), list(0, true)}, "Ma2L Ua2L"},
		{"lists with a gap stay lists", links, []*replay.Call{list(0, false, replay.Piece{Phys: 0, Size: 50}, replay.Piece{Phys: 7 * p, Size: 50}), list(0, true)}, "Ma2 Ua2"},
	} {
		before := shown(c.calls)
		if got := shown(c.shape(c.calls)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if after := shown(c.calls); after != before {
			t.Errorf("%s: the trace's own calls were changed: %s", c.name, after)
		}
	}
}

// However a real trace is reshaped, calls stay in step, and what is unmapped was mapped before and once.
func TestReshapedTracesAreWhole(t *testing.T) {
	for _, name := range []string{"612-strict-nvme.txt.gz", "73-strict-nic.txt.gz"} {
		calls := readTrace(t, name, 4000).Trace.Calls()
		for k, s := range []reshape{pool, join, links} {
			out := s(calls)
			if len(out) != len(calls) {
				t.Fatalf("%s, %d: %d calls of %d", name, k, len(out), len(calls))
			}
			live := map[uint64]bool{}
			for i, c := range out {
				switch {
				case c.Unmap != calls[i].Unmap || c.At != calls[i].At:
					t.Fatalf("%s, %d: call %d is another one", name, k, i)
				case c.Skip:
				case !c.Unmap && live[c.ID], c.Unmap && !live[c.ID] && !calls[i].Unmeasured:
					t.Fatalf("%s, %d: call %d, mapping %d: unmap %v, live %v", name, k, i, c.ID, c.Unmap, live[c.ID])
				default:
					live[c.ID] = !c.Unmap
				}
			}
		}
	}
}
