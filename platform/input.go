package platform

import (
	"fmt"
	"io"
	"os"
)

// MaxFile is the largest platform file, bytes. The largest preset has 40 KiB.
const MaxFile = 1 << 20

// MaxNodes is how many lines, commas and other signs that begin something a YAML text has at most. The largest preset has 1500. The library's
// time grows with the square of what is in one mapping, and its stack with the depth: this many take a second or two.
const MaxNodes = 10000

// nodes counts what begins something in YAML, in quotes and comments, too: lines, commas, opening brackets, anchors, aliases, tags, and
// colons, hyphens and question marks before white space.
func nodes(data []byte) (n int) {
	for i, c := range data {
		switch c {
		case '\n', ',', '[', '{', '&', '*', '!':
			n++
		case ':', '-', '?':
			if i+1 == len(data) || data[i+1] <= ' ' {
				n++
			}
		}
	}
	return n
}

// ReadFile reads a file that a user has named, as a whole: one that is larger than most bytes, or has no end, is an error.
func ReadFile(name string, most int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(name, f, most)
}

// ReadAll reads all of r, which messages call name, like ReadFile.
func ReadAll(name string, r io.Reader, most int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > most {
		return nil, fmt.Errorf("%s: larger than %s, the most that is read", name, bytesKind.formatNumber(int64(most)))
	}
	return data, nil
}
