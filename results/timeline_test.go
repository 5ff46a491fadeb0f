package results

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// traceEvent is an event of a trace, as a viewer reads it.
type traceEvent struct {
	Ph, Name string
	Pid, Tid int
	Ts       json.Number
	ID       int
	Bp       string
	Args     map[string]any
}

func readTrace(t *testing.T, b []byte) []traceEvent {
	t.Helper()
	var f struct{ TraceEvents []traceEvent }
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&f); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return f.TraceEvents
}

func TestTimelineFile(t *testing.T) {
	tl := &Timeline{Notes: []Dim{{Key: "time", Value: "simulated"}}, Processes: []TimelineProcess{{Name: "</script> \"run\"\n", Label: "all",
		Tracks: []TimelineTrack{
			{Name: "lock", Place: 2, Slices: []TimelineSlice{{Name: "cpu 0", Start: 1, End: 2_000_000}}},
			{Name: "cpu 1", Place: 1, Slices: []TimelineSlice{
				{Name: "outer", Start: 0, End: 3_000_001, Args: []TimelineArg{{Key: "iova", Num: 4096, Hex: true}, {Key: "n", Num: -3}, {Key: "s", Text: "\x00x"}}},
				{Name: "inner", Start: 1_000_000, End: 2_000_000},
				{Name: "no time", Start: 2_000_000, End: 2_000_000}}},
			{Name: "walks", Place: 3, Spans: []TimelineSlice{{Name: "w", Start: 5, End: 9}, {Name: "w", Start: 6, End: 12}}},
			{Name: "depth", Place: 4, Unit: "commands", Points: []TimelinePoint{{At: 7, Value: 1}, {At: 7, Value: 2}}}},
		Arrows: []TimelineArrow{{Name: "handed over", FromTrack: 0, From: 0, Left: 2_000_000, ToTrack: 1, To: 1, Came: 2_000_000},
			{Name: "later", FromTrack: 0, From: 0, Left: 5, ToTrack: 1, To: 2, Came: 2_000_000}}}}}
	var b bytes.Buffer
	if err := tl.Write(&b); err != nil {
		t.Fatal(err)
	}
	var got []string
	n := 0
	for _, e := range readTrace(t, b.Bytes()) {
		if e.Ph == "M" {
			continue
		}
		n++
		got = append(got, e.Ph+" "+e.Ts.String()+" "+e.Name)
	}
	want := `B 0.000001 cpu 0
s 0.000005 later
s 2 handed over
E 2 
B 0 outer
B 1 inner
f 2 handed over
E 2 
B 2 no time
f 2 later
E 2 
E 3.000001 
b 0.000005 w
e 0.000009 w
b 0.000006 w
e 0.000012 w
C 0.000007 depth
C 0.000007 depth`
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
	if n != tl.Events() {
		t.Errorf("%d events, Events says %d", n, tl.Events())
	}
	if s := b.String(); strings.Contains(s, "</script>") || !strings.Contains(s, `"iova":"0x1000","n":-3,"s":"\u0000x"`) {
		t.Errorf("not escaped: %s", s)
	}
	var again bytes.Buffer
	if err := tl.Write(&again); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("written twice it differs (%v)", err)
	}
}

func TestTimelineRefusesWhatAViewerWouldShowWrongly(t *testing.T) {
	track := func(s ...TimelineSlice) []TimelineTrack { return []TimelineTrack{{Name: "k", Slices: s}} }
	for _, c := range []struct {
		what string
		p    TimelineProcess
	}{
		{"overlap", TimelineProcess{Tracks: track(TimelineSlice{Start: 0, End: 5}, TimelineSlice{Start: 3, End: 8})}},
		{"ends before", TimelineProcess{Tracks: track(TimelineSlice{Start: 5, End: 4})}},
		{"outside of the slice", TimelineProcess{Tracks: track(TimelineSlice{Start: 0, End: 5}, TimelineSlice{Start: 6, End: 8}),
			Arrows: []TimelineArrow{{From: 0, Left: 3, To: 1, Came: 9}}}},
		{"outside of the slice", TimelineProcess{Tracks: track(TimelineSlice{Start: 0, End: 9}, TimelineSlice{Start: 6, End: 8}),
			Arrows: []TimelineArrow{{From: 1, Left: 8, To: 0, Came: 3}}}},
		{"behind a later one", TimelineProcess{Tracks: []TimelineTrack{{Points: []TimelinePoint{{At: 5}, {At: 4}}}}}},
	} {
		tl := Timeline{Processes: []TimelineProcess{c.p}}
		if err := tl.Write(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), strings.Fields(c.what)[0]) {
			t.Errorf("%s: error %v", c.what, err)
		}
	}
}

func TestMicrosAreExact(t *testing.T) {
	for _, c := range []struct {
		ps   int64
		want string
	}{{0, "0"}, {1, "0.000001"}, {123457, "0.123457"}, {1_000_000, "1"}, {1_500_000, "1.5"}, {9_007_199_254_740_993, "9007199254.740993"}, {-1_000_001, "-1.000001"}} {
		if got := string(appendMicros(nil, c.ps)); got != c.want {
			t.Errorf("%d ps are %s us, want %s", c.ps, got, c.want)
		}
	}
}
