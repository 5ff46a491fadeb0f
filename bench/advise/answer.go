package advise

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"dmapath/sim"
)

// group is where an option stands in the table.
type group uint8

const (
	free     group = iota // saves, and exposes no more
	trade                 // saves, and exposes more, or other memory
	same                  // no difference in cost
	untold                // too few operations to say
	protects              // costs more, and exposes less, or other memory
	costs                 // costs more for nothing
	resized               // other operations than the baseline's, compared per byte
	failed
	numGroups
)

var groupNames = [numGroups]string{"[saves, exposes no more]", "[saves, exposes more or other]", "[costs the same]", "[too few operations to tell]", "[dearer, exposes less or other]", "[dearer, exposes no less]", "[other operations, per byte]", "[cannot be had]"}

func (o *Option) group() group {
	switch s := o.Saves.Sign(); {
	case o.Failed != nil:
		return failed
	case o.resize:
		return resized
	case !o.Saves.Told():
		return untold
	case s == 0:
		return same
	case s > 0 && o.Standing > Same:
		return trade
	case s > 0:
		return free
	case o.Standing == Less || o.Standing == Other:
		return protects
	}
	return costs
}

// ranked returns the options of a group, those that save most first.
func (a *Advice) ranked(g group) []*Option {
	list := slices.DeleteFunc(slices.Clone(a.Options), func(o *Option) bool { return o.group() != g })
	sort.SliceStable(list, func(i, j int) bool { return list[i].Saves.Mean > list[j].Saves.Mean })
	return list
}

// Size writes a number of bytes.
func Size(b float64) string {
	for _, u := range []struct {
		of   float64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if v := b / u.of; v >= 0.9995 {
			if v >= 99.5 || v == math.Trunc(v) {
				return fmt.Sprintf("%.0f %s", v, u.name)
			}
			return fmt.Sprintf("%.1f %s", v, u.name)
		}
	}
	return fmt.Sprintf("%.0f B", b)
}

// Answer is the advice in two or three sentences.
func (a *Advice) Answer() string {
	per := operation(a.Base.Setup.workload())
	say := func(o *Option) string {
		return fmt.Sprintf("%s of %.0f cycles per %s (%.1f %%)", plusMinus(o.Saves.Mean, o.Saves.Half), a.Base.Cost, per, 100*o.Saves.Mean/a.Base.Cost)
	}
	var s []string
	free, trade := a.ranked(free), a.ranked(trade)
	if len(free) > 0 {
		s = append(s, fmt.Sprintf("Switch to %s: it saves %s, and exposes no more than now: %s.", free[0].Name, say(free[0]), free[0].Exposure.phrase()))
	}
	least := 0.0 // what the next one has to save
	if len(free) > 0 {
		least = free[0].Saves.Mean
	} else if len(trade) > 0 {
		s = append(s, "Nothing that was tried saves without exposing more.")
	}
	for _, everything := range []bool{false, true} {
		i := slices.IndexFunc(trade, func(o *Option) bool { return everything || o.Exposure.RAM == 0 })
		if i < 0 || trade[i].Saves.Mean <= least {
			continue
		}
		least = trade[i].Saves.Mean
		s = append(s, fmt.Sprintf("%s saves %s, and exposes %s.", trade[i].Name, say(trade[i]), trade[i].Exposure.phrase()))
	}
	if len(s) == 0 && len(a.ranked(untold)) > 0 && len(a.ranked(same))+len(a.ranked(protects))+len(a.ranked(costs)) == 0 {
		s = append(s, fmt.Sprintf("Too few operations to tell what saves: %s costs %s cycles per %s, and exposes %s.", a.Base.describe(), plusMinus(a.Base.Cost, a.Base.Half), per, a.Base.Exposure.phrase()))
	}
	if len(s) == 0 {
		s = append(s, fmt.Sprintf("Nothing that was tried saves: %s costs %s cycles per %s, and exposes %s.", a.Base.describe(), plusMinus(a.Base.Cost, a.Base.Half), per, a.Base.Exposure.phrase()))
		if p := slices.DeleteFunc(a.ranked(protects), func(o *Option) bool { return o.Standing != Less }); len(p) > 0 {
			s = append(s, fmt.Sprintf("%s costs %s more and exposes %s.", p[0].Name, plusMinus(-p[0].Saves.Mean, p[0].Saves.Half), p[0].Exposure.phrase()))
		}
	}
	return strings.Join(s, " ")
}

// plusMinus writes a mean with half of its 95 % interval, alone when there were too few operations for one.
func plusMinus(mean, half float64) string {
	if math.IsInf(half, 0) || math.IsNaN(half) {
		return fmt.Sprintf("%.0f", mean)
	}
	return fmt.Sprintf("%.0f +- %.0f", mean, half)
}

// describe names the configuration of an option.
func (o *Option) describe() string { return o.Setup.variant() + " on " + string(o.Setup.backend()) }

// phrase is an exposure in a few words, to follow a verb.
func (e *Exposure) phrase() string {
	if e.RAM > 0 {
		return fmt.Sprintf("%.0f %% of %s of RAM, always", 100*e.RAM, Size(float64(e.Total)))
	}
	if e.Bytes() < 0.5 {
		return "nothing"
	}
	var parts []string
	if e.After >= 0.5 {
		parts = append(parts, fmt.Sprintf("%s after unmaps, for up to %s", Size(e.After), span(e.Max)))
	}
	if e.BesideOverall >= 0.5 {
		parts = append(parts, Size(e.BesideOverall)+" beside live buffers")
	}
	if e.Kept > 0 {
		parts = append(parts, Size(e.Kept)+" that stay mapped")
	}
	return strings.Join(parts, ", ")
}

// sentence says what an exposure consists of.
func (e *Exposure) sentence() string {
	if e.RAM > 0 {
		return fmt.Sprintf("Always: the device reached %.0f %% of %d random pages of %s of RAM before anything was mapped.", 100*e.RAM, samples, Size(float64(e.Total)))
	}
	s := "After an unmap the device reaches nothing"
	if e.Max > 0 {
		s = fmt.Sprintf("After an unmap the device reaches the buffer for %s on average and %s at worst, which is %s at any time", span(e.Mean), span(e.Max), Size(e.After))
		if e.Open > 0 {
			s += fmt.Sprintf(" (%d still reachable %v after the run)", e.Open, after)
		}
	}
	if e.Beside >= 0.5 {
		s += fmt.Sprintf("; beside a live buffer, %s of its pages", Size(e.Beside))
	} else {
		s += "; nothing beside a live buffer"
	}
	if e.Kept > 0 {
		s += fmt.Sprintf("; %s stay mapped for the whole run, also while the CPU works on them", Size(e.Kept))
	}
	return s + "."
}

func span(t sim.Time) string {
	if t >= sim.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(t)/float64(sim.Millisecond))
	}
	return fmt.Sprintf("%.0f us", float64(t)/float64(sim.Microsecond))
}
