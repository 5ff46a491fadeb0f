package main

import (
	"bytes"
	"testing"
	"time"

	"dmapath/bench"
)

// The line says what is done, how far it is, how fast, and how long it will take; nothing of that where nobody knows the whole.
func TestProgressOfAReplay(t *testing.T) {
	for _, c := range []struct {
		st   bench.ReplayStatus
		took time.Duration
		want string
	}{
		{bench.ReplayStatus{Doing: "reading", Unit: "bytes", Done: 100e6, Total: 500e6}, 4 * time.Second, "reading: 100 of 500 MB, 25 MB/s, 16s left"},
		{bench.ReplayStatus{Doing: "reading", Unit: "bytes", Done: 100e6}, 4 * time.Second, "reading: 100 MB, 25 MB/s"},
		{bench.ReplayStatus{Doing: "simulating", Unit: "calls", Done: 1000, Total: 4000}, 2 * time.Second, "simulating: 1000 of 4000 calls, 500 calls/s, 6s left"},
		{bench.ReplayStatus{Doing: "simulating", Unit: "calls", Done: 4100, Total: 4000}, 2 * time.Second, "simulating: 4100 of 4000 calls, 2050 calls/s, 0s left"},
	} {
		if got := progressLine(c.st, c.took); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	var b bytes.Buffer
	p := newReplayProgress(&b, false)
	p.last = time.Now().Add(-time.Hour)
	p.tell()(bench.ReplayStatus{Doing: "reading", Unit: "bytes", Done: 1, Total: 2})
	p.tell()(bench.ReplayStatus{Doing: "reading", Unit: "bytes", Done: 2, Total: 2})
	p.clear()
	if n := bytes.Count(b.Bytes(), []byte("\n")); n != 1 || bytes.ContainsRune(b.Bytes(), '\x1b') {
		t.Errorf("not on a terminal: %q, want one line in ten seconds", b.String())
	}
	if newReplayProgress(&b, true).tell() != nil {
		t.Error("--quiet shows progress")
	}
}
