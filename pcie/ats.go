package pcie

import (
	"errors"

	"dmapath/sim"
	"dmapath/tlb"
)

// Page is the answer to a translation request: a page and what it grants, nothing granted when there is none.
type Page struct {
	Addr  uint64 // physical address of the page
	Shift uint8  // log2 of its bytes
	Read  bool
	Write bool
}

// Agent is a Translator that lets devices translate themselves (address translation services, PCI Express base specification 5.0,
// chapter 10).
type Agent interface {
	Translator
	// TranslatePage answers a translation request that reaches the agent at now. An error is that the device may not ask.
	TranslatePage(rid uint16, iova uint64, now sim.Time) (p Page, done sim.Time, err error)
	// Translated judges a request whose address is marked as translated: done is when it may go on.
	Translated(rid uint16, pa uint64, write bool, now sim.Time) (done sim.Time, err error)
}

// ErrNotGranted is why a request of a device with a TLB ends after the answer to its translation request: there is no page, or not with this right. A
// device that can (PRI) asks for the page and tries again.
var ErrNotGranted = errors.New("the translation request was answered without the right")

// deviceTLB is a device's own cache of translations. It may be asked about times that are not in order, as a port is.
type deviceTLB struct {
	agent   Agent
	cache   *tlb.Cache // by requester; payload: address, number of the fetch, rights
	sizes   []uint8    // page shifts ever inserted
	lookup  sim.Time
	fetches [recentFetches]fetch
	n       uint64
	due     []invalidation // on their way, in order of arrival
}

// recentFetches is how many translation requests back their end is remembered.
const recentFetches = 256

type fetch struct {
	page uint64
	done sim.Time
}

type invalidation struct {
	at          sim.Time // at the device
	rid         uint16
	first, last uint64
}

// Rights in a payload, and where the number of the fetch lies.
const (
	atcRead   = 1
	atcWrite  = 2
	atcShift  = 3
	atcPAMask = 1<<52 - 1<<12
)

func newDeviceTLB(cfg tlb.Config, lookup sim.Time, agent Agent) (*deviceTLB, error) {
	cfg.PageShifts = []uint8{12}
	c, err := tlb.New(cfg)
	return &deviceTLB{agent: agent, cache: c, lookup: lookup}, err
}

// arrived carries out what has reached the device by t.
func (d *deviceTLB) arrived(t sim.Time) {
	n := 0
	for n < len(d.due) && d.due[n].at <= t {
		i := &d.due[n]
		d.cache.InvalidateRange(uint32(i.rid), i.first, i.last)
		n++
	}
	if n > 0 {
		d.due = append(d.due[:0], d.due[n:]...)
	}
}

// find looks for a translation at t and returns when it is there: later when it has been asked for and is on its way.
func (d *deviceTLB) find(rid uint16, iova uint64, write bool, t sim.Time) (pa uint64, ready sim.Time, ok bool) {
	need := uint64(atcRead)
	if write {
		need = atcWrite
	}
	for _, shift := range d.sizes {
		val, ok := d.cache.Lookup(uint32(rid), iova>>shift, shift)
		if !ok {
			continue
		}
		if val&need == 0 {
			return 0, t, false // rights may have been added: ask again
		}
		if f := &d.fetches[val>>atcShift&(recentFetches-1)]; f.done > t && f.page>>(shift-12) == iova>>shift {
			t = f.done
		}
		return val&atcPAMask | iova&(1<<shift-1), t, true
	}
	return 0, t, false
}

func (d *deviceTLB) insert(rid uint16, iova uint64, p Page, done sim.Time) {
	val := p.Addr&atcPAMask | d.n%recentFetches<<atcShift
	if p.Read {
		val |= atcRead
	}
	if p.Write {
		val |= atcWrite
	}
	d.fetches[d.n%recentFetches] = fetch{iova >> 12, done}
	d.n++
	known := false
	for _, s := range d.sizes {
		known = known || s == p.Shift
	}
	if !known {
		d.sizes = append(d.sizes, p.Shift)
	}
	d.cache.Insert(uint32(rid), iova>>p.Shift, p.Shift, val)
}

// ownAddress translates iova in the device at now: from its TLB, or by a translation request to the root complex, which is a read request
// with an answer of 8 bytes.
func (p *Port) ownAddress(rid uint16, iova uint64, write bool, now sim.Time) (pa uint64, t sim.Time, err error) {
	d := p.atc
	d.arrived(now)
	t = now + d.lookup
	if pa, ready, ok := d.find(rid, iova, write, t); ok {
		p.st.DeviceHits++
		return pa, ready, nil
	}
	t = p.tags.take(t + p.cfg.EndpointLatency)
	tagged := t
	t = p.nonPosted.take(t, 0)
	_, end := p.Up.Send(t, p.sent.behind(t), p.request(1<<32, 0), 0)
	p.packet(p.Up, "MRd translation request", iova, translationBytes)
	p.st.TranslationRequests++
	page, done, err := d.agent.TranslatePage(rid, iova, end+p.cfg.LinkLatency+p.cfg.RootUp)
	p.nonPosted.give(0, done+p.cfg.CreditReturn)
	_, end = p.Down.Send(done+p.cfg.RootDown, 0, p.answer(translationBytes), translationBytes)
	p.packet(p.Down, "CplD translation", iova, translationBytes)
	back := end + p.cfg.LinkLatency + p.cfg.EndpointLatency
	p.holdTag(tagged, back)
	if err == nil && (write && !page.Write || !write && !page.Read) {
		err = ErrNotGranted
	}
	if err != nil {
		p.st.Aborts++
		return 0, back, &AbortError{Status: UnsupportedRequest, RID: rid, IOVA: iova, Write: write, Err: err}
	}
	d.insert(rid, iova, page, back)
	return page.Addr | iova&(1<<page.Shift-1), back, nil
}

// Address returns the physical address that a request of the device gets at now, from its own TLB where it has one, and changes the caches on the way
// as a request does.
func (p *Port) Address(rid uint16, iova uint64, write bool, now sim.Time) (pa uint64, err error) {
	switch {
	case p.atc != nil:
		pa, _, err = p.ownAddress(rid, iova, write, now)
	case p.tr != nil:
		pa, _, err = p.tr.Translate(rid, iova, write, now)
	default:
		pa = iova
	}
	return pa, err
}

// translationBytes is the payload of a translation completion, and of an invalidate request.
const translationBytes = 8

// InvalidateTLB sends the device a request to forget the translations of the addresses first to last that the root complex has ready at now, and
// returns when the root complex has the answer: the device answers behind all its writes, and after reads under way with the old
// translation are answered.
func (p *Port) InvalidateTLB(rid uint16, first, last uint64, now sim.Time) (done sim.Time) {
	ready := p.doorbells.take(now+p.cfg.RootDown, units(translationBytes))
	_, end := p.Down.Send(ready, p.rung.behind(ready), p.request(1<<32, translationBytes), translationBytes)
	p.packet(p.Down, "MsgD invalidate request", first, translationBytes)
	p.rung.put(ready, end)
	at := end + p.cfg.LinkLatency + p.cfg.EndpointLatency
	p.doorbells.give(units(translationBytes), at+p.cfg.CreditReturn)
	p.st.Invalidations++
	if p.atc != nil {
		p.atc.arrived(now) // so that those of an idle device do not pile up
		p.atc.due = append(p.atc.due, invalidation{at, rid, first, last})
	}
	back, pushed := p.sendPosted(p.request(1<<32, 0), 0, at)
	p.packet(p.Up, "Msg invalidate completion", first, 0)
	p.posted.give(0, back+p.cfg.CreditReturn)
	return max(back, pushed, p.Drained(back))
}
