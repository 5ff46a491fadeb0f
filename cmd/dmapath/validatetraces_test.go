package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// validate cachegrind and validate event-traces say by their exit code whether the model holds (0), misses (1) or was asked wrongly (2).
func TestValidateTraces(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	lackey := file("p.lackey", "==1== Lackey\nI  00001000,4\n L 00002000,8\n S 00002000,8\nI  00001004,4\n M 00003000,4\n")
	counts := func(d1mr string) string {
		return "desc: D1 cache: 32768 B, 64 B, 8-way associative\nevents: Ir I1mr ILmr Dr D1mr DLmr Dw D1mw DLmw\nsummary: 2 1 1 2 " + d1mr + " 2 1 0 0\n"
	}
	good, bad := file("good", counts("2")), file("bad", counts("20"))
	events := file("events.txt", ` io-1 [000] ..... 1.000010: map: IOMMU: iova=0xfffff000 - 0x100000000 paddr=0x200000 size=4096
 io-1 [000] ..... 1.000020: dma_map_phys: 0000:00:01.0 dir=TO_DEVICE dma_addr=fffff000 size=4096 phys_addr=200000 attrs=
 io-1 [000] ..... 1.000030: map: IOMMU: iova=0xzz
`)
	wrong := file("wrong.txt", ` io-1 [000] ..... 1.000010: map: IOMMU: iova=0xffffe000 - 0x100000000 paddr=0x200000 size=8192
 io-1 [000] ..... 1.000020: dma_map_phys: 0000:00:01.0 dir=TO_DEVICE dma_addr=ffffe000 size=4096 phys_addr=200000 attrs=
`)
	cg, ev := []string{"validate", "cachegrind"}, []string{"validate", "event-traces"}
	for name, c := range map[string]struct {
		args        []string
		code        int
		out, stderr string
	}{
		"cachegrind holds":      {append(cg, "--trace", lackey, "--expect", good, "--D1", "32768,8,64", "--LL", "33554432,16,64"), 0, "p: D1 read misses", ""},
		"cachegrind misses":     {append(cg, "--trace", lackey, "--expect", bad), 1, "MISS", "1 of 9 rows"},
		"another geometry":      {append(cg, "--trace", lackey, "--expect", good, "--D1", "16384,8,64"), 2, "", "expected counts are of 32768,8,64"},
		"no geometry":           {append(cg, "--trace", lackey, "--expect", good, "--D1", "big"), 2, "", "--D1"},
		"no expected counts":    {append(cg, "--trace", lackey), 2, "", "belong together"},
		"trace and directory":   {append(cg, "--trace", lackey, "--expect", good, "--dir", dir), 2, "", "give one of them"},
		"directory without one": {append(cg, "--dir", t.TempDir()), 2, "", "no NAME.lackey"},
		"expect is no output":   {append(cg, "--trace", lackey, "--expect", lackey), 2, "", "no counts found"},
		"trace is none":         {append(cg, "--trace", good, "--expect", good), 2, "", "no access found"},
		"events hold":           {append(ev, events), 0, "kernel 7.3, seen from its events", "iova is not a hexadecimal number"},
		"events miss":           {append(ev, wrong), 1, "MISS", "event-traces: "},
		"no events":             {append(ev, good), 2, "", "no dma or iommu event"},
		"no such file":          {append(ev, filepath.Join(dir, "x")), 2, "", "no such file"},
		"no such kernel":        {append(ev, "--kernel", "5.4", events), 2, "", "allowed are 6.12 and 7.3"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			if code := run(context.Background(), c.args, &out, &stderr); code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, &stderr)
			}
			if !strings.Contains(out.String(), c.out) || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("output %q, errors %q; want %q and %q", &out, &stderr, c.out, c.stderr)
			}
		})
	}
}
