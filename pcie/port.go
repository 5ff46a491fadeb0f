package pcie

import (
	"fmt"

	"dmapath/cache"
	"dmapath/sim"
)

// Translator translates the address in a device's request, or refuses. rid is the requester ID (bus, device,
// function); done is when the answer is there. Errors are faults of this request.
type Translator interface {
	Translate(rid uint16, iova uint64, write bool, now sim.Time) (pa uint64, done sim.Time, err error)
}

// Memory is the host's memory as the root complex sees it: n bytes within one page at physical address pa.
type Memory interface {
	DeviceRead(pa uint64, n int, now sim.Time) (done sim.Time, lvl cache.Level)
	DeviceWrite(pa uint64, n int, now sim.Time) (done sim.Time)
}

// Status is the completion status of an aborted transaction.
type Status uint8

// Completion statuses (PCI Express base specification 5.0, section 2.2.9).
const (
	UnsupportedRequest Status = 1 // the translation was refused
	CompleterAbort     Status = 4 // the request itself is impossible
)

func (s Status) String() string {
	if s == UnsupportedRequest {
		return "unsupported request"
	}
	return "completer abort"
}

// AbortError says that a transaction ended at a packet that the host refused. A device learns it from the completion of a
// read; of a posted write it learns nothing, but the model's caller does.
type AbortError struct {
	Status Status
	RID    uint16
	IOVA   uint64 // of the packet
	Write  bool
	Err    error // why, nil for a completer abort
}

func (e *AbortError) Error() string {
	op := "read"
	if e.Write {
		op = "write"
	}
	s := fmt.Sprintf("pcie: DMA %s of %02x:%02x.%d at %#x aborted: %v", op, e.RID>>8, e.RID>>3&31, e.RID&7, e.IOVA, e.Status)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *AbortError) Unwrap() error { return e.Err }

// Stats counts what passed a port. Times are sums in picoseconds.
type Stats struct {
	Reads, Writes       uint64 // operations asked for by the device
	ReadBytes           uint64
	WriteBytes          uint64
	ReadRequests        uint64 // packets
	WriteRequests       uint64 // packets, interrupts not counted
	Completions         uint64 // packets with data to the device
	Interrupts          uint64
	Doorbells           uint64
	RegisterReads       uint64
	Aborts              uint64
	PeerReads           uint64 // requests to devices below the same switch
	PeerWrites          uint64
	WindowBytesIn       uint64 // bytes that other devices wrote to this one's window
	WindowBytesOut      uint64 // ... read from it
	DeviceHits          uint64 // packets whose translation was in the device's TLB
	TranslationRequests uint64
	Invalidations       uint64   // of the device's TLB
	PageRequests        uint64   // messages sent: the device asked for a page
	PageResponses       uint64   // and got an answer
	ReadTime            sim.Time // from the call to the last byte at the device, over all reads that succeeded
	WriteTime           sim.Time // from the call to visibility of the last byte, over all writes that succeeded
	TranslationTime     sim.Time // added by the translator, over all packets
	PostedCreditTime    sim.Time // packets waited for posted credits
	NonPostedCreditTime sim.Time // ... for non-posted credits
	TagTime             sim.Time // ... for a tag
	BufferTime          sim.Time // ... for room in the device's completion buffer
	OrderTime           sim.Time // writes, and reads behind them, waited for earlier writes to become visible
}

// Port is one device below its root port. It is not safe for concurrent use.
type Port struct {
	Up   *Link // device to host
	Down *Link // host to device

	cfg Config
	tr  Translator
	mem Memory
	st  Stats

	extra      int // ECRC bytes per packet
	completion int // largest payload of a completion

	posted, nonPosted, buffer *flow // of the device towards the root port
	doorbells, registers      *flow // of the root port towards the device
	tags                      *tags
	atc                       *deviceTLB // nil: the device does not translate

	peers []Window // of devices below the same switch

	sent     order // posted writes upstream
	rung     order // posted writes downstream
	commits  journal
	fetches  journal
	rootDone sim.Time // when the last write became visible

	reads *sim.Curve // tags in use
	shown shown
}

// order remembers the last posted packet of one direction: a later one must not pass it.
type order struct{ ready, end sim.Time }

// behind returns before when a packet ready at t must not start, to stay behind posted packets that were ready no later.
func (o *order) behind(t sim.Time) sim.Time {
	if t >= o.ready {
		return o.end
	}
	return 0
}

func (o *order) put(ready, end sim.Time) { *o = order{max(ready, o.ready), max(end, o.end)} }

// NewPort returns an idle port. A nil Translator means that device addresses are physical addresses.
func NewPort(cfg Config, tr Translator, mem Memory) (*Port, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if mem == nil {
		return nil, fmt.Errorf("pcie: a port needs memory")
	}
	rate := cfg.femtosPerByte()
	p := &Port{Up: newLink("up", rate), Down: newLink("down", rate), cfg: cfg, tr: tr, mem: mem, completion: cfg.CompletionSize}
	if cfg.ECRC {
		p.extra = ecrcBytes
	}
	if p.completion == 0 {
		p.completion = cfg.MPS
	}
	p.posted = newFlow(cfg.Root.PostedHeaders, cfg.Root.PostedData)
	p.nonPosted = newFlow(cfg.Root.NonPostedHeaders, 0)
	p.buffer = newFlow(0, cfg.CompletionBuffer/creditUnit)
	p.doorbells = newFlow(cfg.Device.PostedHeaders, cfg.Device.PostedData)
	p.registers = newFlow(cfg.Device.NonPostedHeaders, 0)
	p.tags = newTags(cfg.Tags)
	p.reads = sim.NewCurve(0, 128)
	if cfg.DeviceTLB.Entries > 0 {
		agent, ok := tr.(Agent)
		if !ok {
			return nil, fmt.Errorf("pcie: a device with a TLB needs a translation agent that answers translation requests")
		}
		var err error
		if p.atc, err = newDeviceTLB(cfg.DeviceTLB, cfg.DeviceTLBLookup, agent); err != nil {
			return nil, fmt.Errorf("pcie: device TLB: %w", err)
		}
	}
	return p, nil
}

// Config returns the configuration.
func (p *Port) Config() Config { return p.cfg }

// Stats returns the counts so far.
func (p *Port) Stats() Stats {
	s := p.st
	s.PostedCreditTime, s.NonPostedCreditTime = p.posted.Waited, p.nonPosted.Waited
	s.TagTime, s.BufferTime = p.tags.Waited, p.buffer.Waited
	return s
}

// InFlight is what of a port's limited resources is in use.
type InFlight struct {
	Tags             int
	Posted           int // packets that hold posted credits of the root port; 0 where those are infinite
	NonPosted        int // the same of non-posted credits
	Buffered         int // bytes reserved in the device's completion buffer, in units of 16 B; 0 where it is ample
	Doorbells, Reads int // packets that hold credits of the device
}

// InFlight returns what is in use at t, as far as operations booked so far tell.
func (p *Port) InFlight(t sim.Time) (i InFlight) {
	for _, f := range p.tags.free {
		if f > t {
			i.Tags++
		}
	}
	i.Posted, _ = p.posted.at(t)
	i.NonPosted, _ = p.nonPosted.at(t)
	_, i.Buffered = p.buffer.at(t)
	i.Doorbells, _ = p.doorbells.at(t)
	i.Reads, _ = p.registers.at(t)
	return i
}

// request returns the bytes on the link of a memory request to addr with payload bytes of data (a multiple of 4).
func (p *Port) request(addr uint64, payload int) int {
	h := header4DW
	if addr < 1<<32 {
		h = header3DW
	}
	return framingBytes + h + p.extra + payload
}

// answer returns the bytes on the link of a completion with payload bytes of data.
func (p *Port) answer(payload int) int { return framingBytes + header3DW + p.extra + payload }

// doublewords returns how many bytes of payload carry n bytes at addr: whole doublewords with byte enables.
func doublewords(addr uint64, n int) int { return (int(addr&3) + n + 3) &^ 3 }

// Drained returns when everything is visible or read that the root complex accepted at or before t: an
// invalidation of translations waits for it (VT-d section 6.5.5, drain of writes and reads).
func (p *Port) Drained(t sim.Time) sim.Time { return max(p.commits.upTo(t), p.fetches.upTo(t)) }

// journal remembers the last accepted requests: when the root complex took them and when it was done with them.
type journal struct {
	at, done [journalSize]sim.Time
	n        uint64
	last     sim.Time // latest of done
}

// journalSize is how many requests back an invalidation looks; those before are over in all but contrived cases.
const journalSize = 256

func (j *journal) add(at, done sim.Time) {
	i := j.n % journalSize
	j.at[i], j.done[i] = at, done
	j.last = max(j.last, done)
	j.n++
}

func (j *journal) upTo(t sim.Time) (done sim.Time) {
	if j.last <= t {
		return j.last // all is over
	}
	for i := range min(j.n, journalSize) {
		if j.at[i] <= t {
			done = max(done, j.done[i])
		}
	}
	return done
}
