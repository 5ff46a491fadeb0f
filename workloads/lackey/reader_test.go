package lackey

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

const sample = `==5142== Lackey, an example Valgrind tool
==5142==
I  0401ab70,3
 S 1fff000d48,8
 L 1FFF000D40,16
 M 04919405,4

I  04919407,2
`

var sampleRefs = []Ref{{0x0401ab70, 3, Fetch}, {0x1fff000d48, 8, Store}, {0x1fff000d40, 16, Load}, {0x04919405, 4, Modify}, {0x04919407, 2, Fetch}}

// all reads everything, n accesses at a time.
func all(t *testing.T, r *Reader, n int) (refs []Ref) {
	t.Helper()
	dst := make([]Ref, n)
	for {
		k, err := r.Next(dst)
		refs = append(refs, dst[:k]...)
		if err == io.EOF {
			return refs
		}
		if err != nil {
			t.Fatal(err)
		}
		if k != n {
			t.Fatalf("%d of %d accesses without an error", k, n)
		}
	}
}

func TestOneTraceInEveryWrapping(t *testing.T) {
	wrap := func(w func(io.Writer) io.WriteCloser) string {
		var b bytes.Buffer
		z := w(&b)
		z.Write([]byte(sample))
		z.Close()
		return b.String()
	}
	for name, in := range map[string]string{
		"plain":           sample,
		"no end of line":  strings.TrimSuffix(sample, "\n"),
		"carriage return": strings.ReplaceAll(sample, "\n", "\r\n"),
		"gzip":            wrap(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }),
		"zstd":            wrap(func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z }),
	} {
		for _, n := range []int{1, 2, 5, 100} {
			text, err := Text(iotest.OneByteReader(strings.NewReader(in)))
			if err != nil {
				t.Fatal(name, err)
			}
			r := NewReader(iotest.HalfReader(text), "f")
			refs := all(t, r, n)
			if len(refs) != len(sampleRefs) || r.Lines != 8 || r.Skipped != 3 || r.Malformed != 0 {
				t.Fatalf("%s by %d: %d accesses, %d lines, %d skipped, %d malformed", name, n, len(refs), r.Lines, r.Skipped, r.Malformed)
			}
			for i, ref := range refs {
				if ref != sampleRefs[i] {
					t.Errorf("%s by %d: access %d is %+v, want %+v", name, n, i, ref, sampleRefs[i])
				}
			}
			text.Close()
		}
	}
}

func TestDamagedLinesAreCountedAndPassedOver(t *testing.T) {
	for _, line := range []string{
		"hello", "hello, world", "I 0401ab70,3", "I  0401ab7g,3", "I  0401ab70,", "I  ,3", "I  0401ab70", "I  0401ab70,0", "I  0401ab70,4097",
		"I  0401ab70,3x", "I  0401ab70,33333", " X 0401ab70,3", " L 0401ab70,-3", " L 10000000000000000,8", " L ffffffffffffffff,1", "L  0401ab70,3",
		strings.Repeat("x", 3<<20),
	} {
		r := NewReader(strings.NewReader("I  00001000,1\n"+line+"\n L 00002000,8\n"), "t")
		refs := all(t, r, 4)
		if len(refs) != 2 || refs[1].Addr != 0x2000 || r.Malformed != 1 || r.Lines != 3 {
			t.Errorf("%.40q: %v, %d malformed, %d lines", line, refs, r.Malformed, r.Lines)
		} else if e := r.Damaged[0]; !strings.HasPrefix(line, e.Text) || !strings.HasPrefix(e.Error(), "t:2: no access") {
			t.Errorf("%.40q: %v", line, e)
		}
	}
}

func TestABrokenInputSaysWhere(t *testing.T) {
	broken := errors.New("disk on fire")
	r := NewReader(io.MultiReader(strings.NewReader("I  00001000,1\n"), iotest.ErrReader(broken)), "t")
	n, err := r.Next(make([]Ref, 4))
	if n != 1 || !errors.Is(err, broken) || !strings.Contains(err.Error(), "t: after line 1") {
		t.Errorf("got %d, %v", n, err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(sample)
	f.Fuzz(func(t *testing.T, in string) {
		r := NewReader(strings.NewReader(in), "f")
		n := int64(len(all(t, r, 3)))
		if n+r.Skipped+r.Malformed != r.Lines {
			t.Fatalf("%d lines, %d accesses, %d skipped, %d malformed", r.Lines, n, r.Skipped, r.Malformed)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	in := strings.Repeat("I  0401ab70,3\n S 1fff000d48,8\n", 1<<15)
	dst := make([]Ref, 4096)
	b.SetBytes(int64(len(in)))
	r := NewReader(nil, "f")
	b.ReportAllocs()
	for b.Loop() {
		r.src, r.err, r.start, r.end = strings.NewReader(in), nil, 0, 0
		for {
			if _, err := r.Next(dst); err != nil {
				break
			}
		}
	}
	b.ReportMetric(float64(r.Lines)/b.Elapsed().Seconds()/1e6, "Mref/s")
}
