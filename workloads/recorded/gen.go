//go:build ignore

// gen copies the recordings that the package embeds from a directory in the format of the kernel traces:
//
//	go run gen.go DIR DIR/arm64
//
// It writes steps/*.csv.gz (reproducibly: no names, no times) and, for each architecture, the functions executed with their
// sizes: functions.txt, functions-arm64.txt.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

var keep = regexp.MustCompile(`^(6\.12|7\.3)(-arm64)?__(direct|direct-mitig|iommu-strict|iommu-strict-mitig|iommu-lazy)__((un)?map_(page|phys)__(4096|2097152)|pfn_valid_\w+__0)\.csv$`)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: go run gen.go DIR...")
	}
	var files []string
	for _, dir := range os.Args[1:] {
		f, err := filepath.Glob(filepath.Join(dir, "steps", "*.csv"))
		if err != nil || len(f) == 0 {
			log.Fatalf("no steps/*.csv in %s (%v)", dir, err)
		}
		files = append(files, f...)
	}
	sort.Strings(files)
	sizes := map[bool]map[string]int64{false: {}, true: {}} // by: is it arm64
	for _, f := range files {
		if !keep.MatchString(filepath.Base(f)) {
			continue
		}
		size := sizes[strings.Contains(filepath.Base(f), "-arm64__")]
		data, err := os.ReadFile(f)
		if err != nil {
			log.Fatal(err)
		}
		rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if err != nil {
			log.Fatal(err)
		}
		fn := ""
		for _, r := range rows[1:] {
			i := strings.LastIndexByte(r[1], '+')
			if i > 0 {
				fn = r[1][:i]
			}
			off, err := strconv.ParseInt(r[1][i+1:], 16, 32)
			if err != nil {
				log.Fatalf("%s: %s: %v", f, r[1], err)
			}
			size[fn] = max(size[fn], off+16)
		}
		var buf bytes.Buffer
		z, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression)
		z.Write(data)
		z.Close()
		if err := os.WriteFile(filepath.Join("steps", filepath.Base(f)+".gz"), buf.Bytes(), 0o644); err != nil {
			log.Fatal(err)
		}
	}
	for arm, size := range sizes {
		name := "functions.txt"
		if arm {
			name = "functions-arm64.txt"
		}
		if len(size) > 0 {
			writeFunctions(name, size)
		}
	}
}

func writeFunctions(name string, size map[string]int64) {
	names := make([]string, 0, len(size))
	for n := range size {
		names = append(names, n)
	}
	sort.Strings(names)
	var out bytes.Buffer
	for _, n := range names {
		fmt.Fprintf(&out, "%s %d\n", n, size[n])
	}
	if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
