package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// validate kernel-traces prints the comparison and says by its exit code whether the model holds (0), misses (1) or was asked
// wrongly (2).
func TestValidateKernelTraces(t *testing.T) {
	const heading = "kernel,backend,api,size,call_index,instructions,loads,stores,distinct_cachelines_nostack\n"
	dir := func(rows string) string {
		d := t.TempDir()
		if err := os.WriteFile(filepath.Join(d, "summary.csv"), []byte(heading+rows), 0o644); err != nil {
			t.Fatal(err)
		}
		return d
	}
	kt := []string{"validate", "kernel-traces"}
	for name, c := range map[string]struct {
		args        []string
		code        int
		out, stderr string
	}{
		"holds":     {append(kt, "--dir", dir("6.12,direct,map_page,4096,0,74,21,8,9\n")), 0, "1 rows, 1 within, 0 miss, 0 not modelled", ""},
		"misses":    {append(kt, "--dir", dir("6.12,direct,map_page,4096,0,99,21,8,9\n")), 1, "MISS", "1 of 1 rows"},
		"not there": {append(kt, "--dir", dir("6.12,xen,map_page,4096,0,74,21,8,9\n")), 0, "backend xen is not", ""},
		"csv":       {append(kt, "--dir", dir("6.12,direct,map_page,4096,0,74,21,8,9\n"), "--format", "csv"), 0, "6.12,direct,map_page,4096,instructions_modelled", ""},
		"json":      {append(kt, "--dir", dir("6.12,direct,map_page,4096,0,74,21,8,9\n"), "--format", "json"), 0, "instructions_recorded", ""},
		"bad row":   {append(kt, "--dir", dir("6.12,direct,map_page,big,0,74,21,8,9\n")), 2, "", "summary.csv:2: size"},

		"absent":      {append(kt, "--dir", filepath.Join(t.TempDir(), "x")), 2, "", "no such directory"},
		"bad format":  {append(kt, "--dir", t.TempDir(), "--format", "xml"), 2, "", "xml"},
		"empty dir":   {append(kt, "--dir", t.TempDir()), 2, "", "no summary.csv"},
		"extra words": {append(kt, "more"), 2, "", "more"},
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

// validate published runs targets of a file, names what is wrong with the file by line, and says by its exit code whether the model holds.
func TestValidatePublished(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "mine.yaml")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	target := func(value string) string {
		return file("targets:\n  - {id: mine, title: a read, source: lab, confidence: verified, setup: {workload: dma-probe, operations: 200, workload.probe.outstanding: 1, " +
			"workload.probe.window: 64KiB}, metric: latency_mean, unit: ns, tolerance: 20%, value: " + value + "}\n")
	}
	vp := []string{"validate", "published"}
	for name, c := range map[string]struct {
		args        []string
		code        int
		out, stderr string
	}{
		"holds":      {append(vp, "--targets", target("400")), 0, "mine: a read", ""},
		"misses":     {append(vp, "--targets", target("4000")), 1, "MISS", "published: 1 of 1 rows"},
		"csv":        {append(vp, "--targets", target("400"), "--format", "csv"), 0, "published,mine: a read,a read,ok,predicted_ns", ""},
		"bad file":   {append(vp, "--targets", file("targets:\n  - {id: mine}\n")), 2, "", "mine.yaml:2:5: mine.title: is missing"},
		"bad key":    {append(vp, "--targets", file(strings.Replace("targets:\n  - {id: mine, title: a, source: b, confidence: verified, setup: {platform: X}, metric: rate, unit: /s, tolerance: 1%, value: 1}\n", "X", "haswel-ep", 1))), 2, "", `did you mean "haswell-ep"?`},
		"not there":  {append(vp, "--targets", filepath.Join(t.TempDir(), "x")), 2, "", "no such file"},
		"no such id": {append(vp, "--only", "T99"), 2, "", `there is no target "T99"`},
		"jobs":       {append(vp, "--jobs", "-1"), 2, "", "--jobs is -1"},
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
