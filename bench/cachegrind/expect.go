package cachegrind

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"dmapath/cache"
)

// Counts is what cachegrind counted.
type Counts struct {
	Fetches, Reads, Writes cache.SplitStats
	// I1, D1 and LL are the simulated caches, zero where the text does not tell.
	I1, D1, LL cache.Geometry
	Command    string // the program; empty where the text does not tell
}

// maxExpect is the longest text that is read: the output file of a large program has one line per source line, tens of MiB.
const maxExpect = 1 << 30

// ReadCounts reads cachegrind's output file (cachegrind.out.PID) or what it printed at the end.
func ReadCounts(r io.Reader, file string) (*Counts, error) {
	c := &Counts{}
	p := expectReader{c: c, seen: map[string]bool{}}
	sc := bufio.NewScanner(io.LimitReader(r, maxExpect))
	sc.Buffer(nil, 1<<20)
	line := 0
	for sc.Scan() {
		line++
		if err := p.line(sc.Text()); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, line, err)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", file, line+1, err)
	}
	if err := p.complete(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

type expectReader struct {
	c      *Counts
	events []string
	seen   map[string]bool
}

// counter returns where an event of the output file is counted, nil for one that is not compared.
func (c *Counts) counter(event string) *uint64 {
	switch event {
	case "Ir":
		return &c.Fetches.Refs
	case "I1mr":
		return &c.Fetches.Misses
	case "ILmr":
		return &c.Fetches.Last
	case "Dr":
		return &c.Reads.Refs
	case "D1mr":
		return &c.Reads.Misses
	case "DLmr":
		return &c.Reads.Last
	case "Dw":
		return &c.Writes.Refs
	case "D1mw":
		return &c.Writes.Misses
	case "DLmw":
		return &c.Writes.Last
	}
	return nil
}

// all lists the events of a simulation of caches.
var all = []string{"Ir", "I1mr", "ILmr", "Dr", "D1mr", "DLmr", "Dw", "D1mw", "DLmw"}

func (p *expectReader) line(s string) error {
	switch key, rest, _ := strings.Cut(s, ":"); key {
	case "desc":
		return p.describe(strings.TrimSpace(rest))
	case "cmd":
		p.c.Command = strings.TrimSpace(rest)
		return nil
	case "events":
		p.events = strings.Fields(rest)
		return nil
	case "summary", "totals":
		return p.summary(strings.Fields(rest))
	}
	if strings.HasPrefix(s, "==") {
		if _, rest, ok := strings.Cut(s[2:], "=="); ok {
			return p.printed(strings.TrimSpace(rest))
		}
	}
	return nil
}

// summary reads the total of each event.
func (p *expectReader) summary(totals []string) error {
	if len(p.events) == 0 {
		return errors.New("the total comes before the line of events")
	}
	if len(totals) != len(p.events) {
		return fmt.Errorf("%d totals of %d events", len(totals), len(p.events))
	}
	for i, e := range p.events {
		if at := p.c.counter(e); at != nil {
			v, err := number(totals[i])
			if err != nil {
				return err
			}
			*at, p.seen[e] = v, true
		}
	}
	return nil
}

// describe reads "D1 cache:         32768 B, 64 B, 8-way associative".
func (p *expectReader) describe(s string) error {
	name, rest, _ := strings.Cut(s, " cache:")
	var at *cache.Geometry
	switch name {
	case "I1":
		at = &p.c.I1
	case "D1":
		at = &p.c.D1
	case "LL":
		at = &p.c.LL
	default:
		return nil
	}
	ways := ""
	if _, err := fmt.Sscanf(strings.TrimSpace(rest), "%d B, %d B, %s", &at.Bytes, &at.Line, &ways); err != nil {
		return fmt.Errorf("%s cache: %q is no size, line and associativity", name, rest)
	}
	ways, _, _ = strings.Cut(ways, "-")
	if ways == "direct" { // "direct-mapped"
		ways = "1"
	}
	n, err := strconv.Atoi(ways)
	if err != nil {
		return fmt.Errorf("%s cache: %q is no associativity", name, ways)
	}
	at.Ways = n
	return nil
}

// printed reads one line of the totals at the end of a run: "D1  misses:  8,023  (  5,272 rd   +   2,751 wr)".
func (p *expectReader) printed(s string) error {
	what, rest, ok := strings.Cut(s, ":")
	if !ok {
		return nil
	}
	if what == "Command" {
		p.c.Command = strings.TrimSpace(rest)
		return nil
	}
	total, split, data := strings.Cut(rest, "(")
	one := func(event, text string) error {
		v, err := number(text)
		if err == nil {
			*p.c.counter(event), p.seen[event] = v, true
		}
		return err
	}
	both := func(read, write string) error {
		rd, wr, ok := strings.Cut(split, "+")
		if !data || !ok {
			return fmt.Errorf("%s: want reads and writes in brackets", what)
		}
		rd, _, ok1 := strings.Cut(rd, "rd")
		wr, _, ok2 := strings.Cut(wr, "wr")
		if !ok1 || !ok2 {
			return fmt.Errorf("%s: want reads and writes in brackets", what)
		}
		return errors.Join(one(read, rd), one(write, wr))
	}
	switch strings.Join(strings.Fields(what), " ") {
	case "I refs":
		return one("Ir", total)
	case "I1 misses":
		return one("I1mr", total)
	case "LLi misses":
		return one("ILmr", total)
	case "D refs":
		return both("Dr", "Dw")
	case "D1 misses":
		return both("D1mr", "D1mw")
	case "LLd misses":
		return both("DLmr", "DLmw")
	}
	return nil
}

// number reads "1,234,567".
func number(s string) (uint64, error) {
	v, err := strconv.ParseUint(strings.ReplaceAll(strings.TrimSpace(s), ",", ""), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%q is no count", strings.TrimSpace(s))
	}
	return v, nil
}

// complete reports what is missing.
func (p *expectReader) complete() error {
	var missing []string
	for _, e := range all {
		if !p.seen[e] {
			missing = append(missing, e)
		}
	}
	switch {
	case len(missing) == len(all):
		return errors.New("no counts found: want cachegrind's output file or what it prints at the end (with --cache-sim=yes)")
	case len(missing) > 0:
		return fmt.Errorf("no count of %s (cachegrind needs --cache-sim=yes)", strings.Join(missing, ", "))
	}
	return nil
}
