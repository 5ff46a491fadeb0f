package described

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a description.
const (
	maxBytes      = 1 << 20
	maxStatements = 10_000
	maxProblems   = 20
	maxDepth      = 16
	maxOps        = 4_000_000 // statements that one call may execute, loops over pages and lines counted as for the largest buffer
)

// token is a word, a string, a brace, an = or a + with its place.
type token struct {
	text      string
	quoted    bool
	line, col int // from 1; col in characters
}

// statement is the tokens of one line.
type statement struct {
	tokens []token
	line   int
}

// problems collects errors with their places.
type problems struct {
	name string
	list []error
	more int
}

func (p *problems) add(line, col int, format string, args ...any) {
	if len(p.list) >= maxProblems {
		p.more++
		return
	}
	p.list = append(p.list, fmt.Errorf("%s:%d:%d: %s", p.name, line, col, fmt.Sprintf(format, args...)))
}

func (p *problems) at(t token, format string, args ...any) { p.add(t.line, t.col, format, args...) }

func (p *problems) err() error {
	if p.more > 0 {
		p.list = append(p.list, fmt.Errorf("%s: and %d more", p.name, p.more))
	}
	return errors.Join(p.list...)
}

// lex splits text into statements, one a line. { ends a statement that opens a block; } is a statement of its own.
func lex(text string, p *problems) []statement {
	var list []statement
	line := 0
	for raw := range strings.Lines(text) {
		line++
		var s statement
		s.line = line
		end := func() {
			if len(s.tokens) > 0 {
				list = append(list, s)
				s.tokens = nil
			}
		}
		raw = strings.TrimRight(raw, "\r\n")
		runes := []rune(raw)
		for i, r := range runes {
			if r != '\t' && (!unicode.IsPrint(r) || r == utf8.RuneError) {
				p.add(line, i+1, "%U cannot be printed", r)
				return nil
			}
		}
		for i := 0; i < len(runes); {
			r, col := runes[i], i+1
			switch {
			case r == '#':
				i = len(runes)
			case unicode.IsSpace(r):
				i++
			case r == '"':
				j := i + 1
				for j < len(runes) && runes[j] != '"' {
					j++
				}
				if j == len(runes) {
					p.add(line, col, "the string has no end")
				}
				s.tokens = append(s.tokens, token{string(runes[i+1 : j]), true, line, col})
				i = j + 1
			case r == '{':
				s.tokens = append(s.tokens, token{"{", false, line, col})
				i++
				end()
			case r == '}':
				end()
				s.tokens = append(s.tokens, token{"}", false, line, col})
				i++
				end()
			case r == '=' || r == '+':
				s.tokens = append(s.tokens, token{string(r), false, line, col})
				i++
			default:
				j := i
				for j < len(runes) && !unicode.IsSpace(runes[j]) && !strings.ContainsRune(`{}=+"#`, runes[j]) {
					j++
				}
				word := string(runes[i:j])
				s.tokens = append(s.tokens, token{word, false, line, col})
				i = j
			}
		}
		end()
		if len(list) > maxStatements {
			p.add(line, 1, "more than %d statements", maxStatements)
			return nil
		}
	}
	return list
}
