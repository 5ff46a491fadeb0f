// Command goflate compresses text that it makes up and prints how short it became: a Go program, with its runtime, to be
// traced by record.sh. Its argument is the number of lines. It makes no system call in between: the runtime gives the
// processor of a goroutine that is in one to another thread, or not, as the clock says, and runs would differ.
package main

import (
	"bytes"
	"compress/flate"
	"fmt"
	"os"
	"strconv"
)

func main() {
	lines := 100
	if len(os.Args) > 1 {
		n, err := strconv.Atoi(os.Args[1])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		lines = n
	}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	x, line := uint64(1), make([]byte, 0, 80)
	for range lines {
		line = line[:0]
		for range 6 {
			x = x * 16807 % 2147483647
			line = append(strconv.AppendUint(line, x%1000, 10), "map unmap iova page sync link fence store"[x%30:x%30+5]...)
		}
		w.Write(append(line, '\n')) // to memory: cannot fail
	}
	w.Close()
	fmt.Println(out.Len())
}
