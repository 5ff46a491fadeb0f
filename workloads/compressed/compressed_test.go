package compressed

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

// pack compresses parts, each as a member or frame of its own.
func pack(tb testing.TB, form string, parts ...string) []byte {
	tb.Helper()
	var b bytes.Buffer
	for _, p := range parts {
		var w io.WriteCloser
		switch form {
		case "gzip":
			w = gzip.NewWriter(&b)
		case "zstd":
			var err error
			if w, err = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1)); err != nil {
				tb.Fatal(err)
			}
		default:
			b.WriteString(p)
			continue
		}
		io.WriteString(w, p)
		if err := w.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	return b.Bytes()
}

func unpack(in io.Reader) (string, error) {
	r, err := NewReader(in)
	if err != nil {
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	return string(text), err
}

// Whatever the form, one member or several, read in one piece or byte by byte: the same text.
func TestEveryFormIsTheSameText(t *testing.T) {
	for _, parts := range [][]string{{""}, {"\x1f"}, {"one line\n"}, {"cut in the mid", "dle\n", "", "end\n"}, {strings.Repeat("a line of text\n", 50_000), "tail"}} {
		want := strings.Join(parts, "")
		for _, form := range []string{"", "gzip", "zstd"} {
			in := pack(t, form, parts...)
			for name, r := range map[string]io.Reader{"at once": bytes.NewReader(in), "byte by byte": iotest.OneByteReader(bytes.NewReader(in))} {
				if got, err := unpack(r); err != nil || got != want {
					t.Errorf("%q in %d parts, %s: %d bytes, %v; want %d", form, len(parts), name, len(got), err, len(want))
				}
			}
		}
	}
}

// A skippable frame in front, as parallel compressors write it, is no text.
func TestSkippableFrame(t *testing.T) {
	in := append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}, pack(t, "zstd", "text")...)
	if got, err := unpack(bytes.NewReader(in)); err != nil || got != "text" {
		t.Errorf("%q, %v", got, err)
	}
}

// A file that is cut anywhere is an error, never a shorter text, unless it is cut between two members; what is delivered before is the beginning of
// the text.
func TestACutIsAnError(t *testing.T) {
	parts := []string{"first member\n", "second member\n"}
	whole := strings.Join(parts, "")
	for _, form := range []string{"gzip", "zstd"} {
		in := pack(t, form, parts...)
		boundary := len(pack(t, form, parts[0]))
		for n := 4; n < len(in); n++ {
			got, err := unpack(bytes.NewReader(in[:n]))
			if n == boundary {
				if err != nil || got != parts[0] {
					t.Errorf("%s cut between members: %q, %v", form, got, err)
				}
				continue
			}
			if err == nil || !strings.HasPrefix(whole, got) {
				t.Errorf("%s cut at %d of %d: %q, %v", form, n, len(in), got, err)
				continue
			}
			if !strings.Contains(err.Error(), form+": the input is cut off") {
				t.Errorf("%s cut at %d: %v", form, n, err)
			}
		}
	}
}

// Damage is an error that says where.
func TestDamageIsAnError(t *testing.T) {
	for _, form := range []string{"gzip", "zstd"} {
		in := pack(t, form, strings.Repeat("some text that is long enough\n", 1000))
		in[len(in)-3] ^= 0xff // checksum
		if _, err := unpack(bytes.NewReader(in)); err == nil || !strings.Contains(err.Error(), "is damaged within its first") {
			t.Errorf("%s: %v", form, err)
		}
	}
	if _, err := unpack(strings.NewReader("\x1f\x8bnot gzip at all")); err == nil || !strings.Contains(err.Error(), "gzip") {
		t.Errorf("not gzip: %v", err)
	}
	// An error of the input itself stays what it is.
	broken := errors.New("broken disk")
	if _, err := unpack(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// A frame that wants a gigabyte of history is refused before it gets it.
func TestWindowIsBounded(t *testing.T) {
	// Magic, a descriptor without single segment, a window descriptor of 2^30 bytes, an empty last block.
	in := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0x00, 0x00}
	if _, err := unpack(bytes.NewReader(in)); err == nil || !strings.Contains(err.Error(), "--long=27") {
		t.Errorf("%v", err)
	}
}

// Whatever the bytes, reading ends, delivers nothing behind an error, and holds little memory.
func FuzzReader(f *testing.F) {
	for _, form := range []string{"", "gzip", "zstd"} {
		in := pack(f, form, "first\n", "second\n")
		f.Add(in)
		f.Add(in[:len(in)-2])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := NewReader(bytes.NewReader(in))
		if err != nil {
			return
		}
		defer r.Close()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n, err := io.Copy(io.Discard, io.LimitReader(r, 16<<20))
		runtime.ReadMemStats(&after)
		if err == nil && r.Form == "" && n != int64(len(in)) {
			t.Fatalf("%d bytes of plain text became %d", len(in), n)
		}
		if r.Consumed() > int64(len(in)) {
			t.Fatalf("%d bytes read of %d", r.Consumed(), len(in))
		}
		if err != nil {
			if m, again := r.Read(make([]byte, 16)); m > 0 || again == nil {
				t.Fatalf("%d bytes behind the error %v", m, err)
			}
		}
		if held := int64(after.HeapSys) - int64(before.HeapSys); held > 2*MaxWindow {
			t.Fatalf("%d bytes of input took %d bytes of memory", len(in), held)
		}
	})
}
