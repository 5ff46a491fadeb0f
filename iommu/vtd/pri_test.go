package vtd

import (
	"testing"

	"dmapath/iommu/table"
	"dmapath/pcie"
	"dmapath/sim"
)

// answers collects what a device is told.
type answers struct {
	group []uint16
	code  []pcie.Response
}

func (a *answers) PageResponse(group uint16, code pcie.Response, _ sim.Time) {
	a.group, a.code = append(a.group, group), append(a.code, code)
}

const ringPA = 0x7000000

func priRig(t *testing.T) (*rig, *answers, *int) {
	t.Helper()
	r, _ := atsRig(t)
	a, told := new(answers), new(int)
	r.v.AttachPRI(rid, a)
	r.v.OnPageRequest(func() { *told++ })
	return r, a, told
}

func ask(group uint16, last bool) pcie.PageRequest {
	return pcie.PageRequest{RID: rid, Addr: uint64(group+1) << 12, Write: true, Last: last, Group: group}
}

// Requests lie in the queue as the specification lays them out, software is told once until it has looked, and a response descriptor
// reaches the device with its group and code.
func TestPageRequestsReachTheQueue(t *testing.T) {
	r, a, told := priRig(t)
	r.write(table.RegPQA, ringPA)
	for g := range uint16(3) {
		r.v.RequestPage(ask(g, g != 1), r.eng.Now()+sim.Time(g)*sim.Nanosecond)
	}
	r.settle()
	if tail := r.read(table.RegPQT); tail != 3*PageDescBytes || *told != 1 || r.read(table.RegPRS) != uint64(PagePending) {
		t.Fatalf("tail %d, told %d times, status %#x", tail, *told, r.read(table.RegPRS))
	}
	for g := range uint16(3) {
		at := ringPA + uint64(g)*PageDescBytes
		if got := DecodePageDesc(r.mem.Read64(at), r.mem.Read64(at+8)); got != ask(g, g != 1) {
			t.Errorf("entry %d is %+v", g, got)
		}
	}
	r.write(table.RegPRS, uint64(PagePending))
	r.write(table.RegPQH, 3*PageDescBytes)
	r.v.RequestPage(ask(3, true), r.eng.Now())
	r.settle()
	if *told != 2 {
		t.Errorf("told %d times after looking", *told)
	}
	want := r.submit(d(PageRespDesc(rid, 2, pcie.ResponseInvalid)))
	r.run()
	if r.status() != want || len(a.group) != 1 || a.group[0] != 2 || a.code[0] != pcie.ResponseInvalid {
		t.Errorf("status %d, answers %v %v", r.status(), a.group, a.code)
	}
	if r.v.Stats.Invalidations != 0 {
		t.Error("a response counts as an invalidation")
	}
}

// A full queue drops requests until software has seen it, and answers the last one of each group with success, so that the device asks
// again; without a queue the answer is a failure, and a device that may not translate gets no other.
func TestAFullQueueAnswersItself(t *testing.T) {
	r, a, told := priRig(t)
	r.v.RequestPage(ask(9, true), r.eng.Now())
	r.settle()
	if len(a.code) != 1 || a.code[0] != pcie.ResponseFailure || *told != 0 {
		t.Fatalf("without a queue: %v, told %d times", a.code, *told)
	}
	*a = answers{}
	r.write(table.RegPQA, ringPA)
	const room = 4096/PageDescBytes - 1
	for g := range uint16(room + 4) {
		r.v.RequestPage(ask(g, g%2 == 0), r.eng.Now())
	}
	r.settle()
	if s := &r.v.Stats; s.PageQueued != room || s.PageDropped != 4 || s.PageAuto != 3 || len(a.code) != 2 || a.code[0] != pcie.ResponseSuccess {
		t.Errorf("%d queued, %d dropped, %d answered (%v)", s.PageQueued, s.PageDropped, s.PageAuto, a.code)
	}
	if r.read(table.RegPRS) != uint64(PagePending|PageOverflow) {
		t.Errorf("status %#x", r.read(table.RegPRS))
	}
	// Room alone does not end it: software has to see the overflow.
	r.write(table.RegPQH, r.read(table.RegPQT))
	r.v.RequestPage(ask(200, true), r.eng.Now())
	r.settle()
	if r.v.Stats.PageQueued != room {
		t.Error("a request is queued before the overflow is cleared")
	}
	r.write(table.RegPRS, uint64(PageOverflow|PagePending))
	r.v.RequestPage(ask(201, true), r.eng.Now())
	r.settle()
	if r.v.Stats.PageQueued != room+1 || *told != 2 {
		t.Errorf("%d queued after the overflow was cleared, told %d times", r.v.Stats.PageQueued, *told)
	}
	r.setContext(rid+1, table.Context{Present: true, Type: table.TTMultiLevel, Root: r.b.Root, Levels: 4, Domain: domain})
	b := new(answers)
	r.v.AttachPRI(rid+1, b)
	q := ask(1, true)
	q.RID = rid + 1
	r.v.RequestPage(q, r.eng.Now())
	r.settle()
	if len(b.code) != 1 || b.code[0] != pcie.ResponseFailure {
		t.Errorf("a device that does not translate itself is answered %v", b.code)
	}
}
