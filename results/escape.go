package results

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Texts in results come from outside as well: a trace names processes, devices and drivers as it likes, files have names. What is
// written shows such a text and does nothing else: a terminal executes no escape sequence, a spreadsheet no formula, a Markdown viewer no
// markup, and nothing is displayed in another order than it is written in.

// Visible returns s with what is not seen, or changes how the rest is seen, written as a Go escape: control characters (line ends and ANSI
// escape sequences with them), directional formatting, signs without width, bytes that are no UTF-8. A tab is a space.
func Visible(s string) string {
	if plain(s) {
		return s
	}
	return spell(s, '\t', " ")
}

// spell spells out what is not seen in s, and writes one rune as instead.
func spell(s string, one rune, instead string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == one:
			b.WriteString(instead)
		default:
			escapeRune(&b, r)
		}
		i += n
	}
	return b.String()
}

// plain reports whether s is printable ASCII.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func escapeRune(b *strings.Builder, r rune) {
	switch {
	case !unseen(r):
		b.WriteRune(r)
	case r < 0x80:
		fmt.Fprintf(b, `\x%02x`, r)
	case r < 0x10000:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}

// unseen says which runes Visible spells out: controls, marks of format (direction, joiners, tags, the byte order mark), separators of lines,
// and variation selectors.
func unseen(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector)
}

// csvText is a text as a field of a CSV file: control characters and backslashes are escaped, and what a spreadsheet would take for a
// formula (= + - @ in front; a number is none) stands behind an apostrophe. csvValue undoes it.
func csvText(s string) string {
	if !plain(s) || strings.IndexByte(s, '\\') >= 0 {
		s = spell(s, '\\', `\\`)
	}
	if formula(s) || strings.HasPrefix(s, "'") {
		return "'" + s
	}
	return s
}

// formula says whether a spreadsheet would calculate s.
func formula(s string) bool {
	s = strings.TrimLeft(s, " ")
	if s == "" || s == "-" || strings.IndexByte("=+-@", s[0]) < 0 {
		return false
	}
	_, err := strconv.ParseFloat(s, 64)
	return err != nil
}

// csvValue is the text that csvText made s of.
func csvValue(s string) string {
	if rest, ok := strings.CutPrefix(s, "'"); ok && (formula(rest) || strings.HasPrefix(rest, "'")) {
		s = rest
	}
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for s != "" {
		if s[0] != '\\' || len(s) < 2 {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		if s[1] == '\\' {
			b.WriteByte('\\')
			s = s[2:]
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
		if digits == 0 || len(s) < 2+digits {
			b.WriteByte('\\')
			s = s[1:]
			continue
		}
		v, err := strconv.ParseUint(s[2:2+digits], 16, 32)
		switch {
		case err != nil || v > utf8.MaxRune:
			b.WriteString(s[:2+digits])
		case digits == 2:
			b.WriteByte(byte(v))
		default:
			b.WriteRune(rune(v))
		}
		s = s[2+digits:]
	}
	return b.String()
}

// markdownSigns are escaped wherever they stand. Brackets and tildes are not among them: see escapeMarkdown.
var markdownSigns = strings.NewReplacer(`\`, `\\`, "|", `\|`, "*", `\*`, "`", "\\`", "<", `\<`, "](", `\](`, "][", `\][`, "]:", `\]:`, "~~", `\~\~`)

// escapeMarkdown makes s a cell or a paragraph that shows s. Brackets that make no link, tildes that strike nothing out and underscores inside
// of words stay as they are.
func escapeMarkdown(s string) string {
	s = markdownSigns.Replace(Visible(strings.Join(strings.Fields(s), " ")))
	var b strings.Builder
	marks := emphasis(s)
	for i := range len(s) {
		c := s[i]
		switch {
		case marks && c == '_' && !(i > 0 && wordByte(s[i-1]) && i+1 < len(s) && wordByte(s[i+1])):
			b.WriteByte('\\')
		case c == '&' && i+1 < len(s) && (wordByte(s[i+1]) || s[i+1] == '#'):
			b.WriteByte('\\')
		case i == 0 && (c == '#' || c == '>' || c == '=') || i == 0 && (c == '-' || c == '+') && (len(s) == 1 || s[1] == ' ' || s[1] == c):
			if s != "-" {
				b.WriteByte('\\')
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

// emphasis reports whether underscores of s could open and close an emphasis: two runs of them are not inside of words.
func emphasis(s string) bool {
	runs := 0
	for k := 0; k < len(s); k++ {
		if s[k] != '_' {
			continue
		}
		to := k
		for to < len(s) && s[to] == '_' {
			to++
		}
		if !(k > 0 && wordByte(s[k-1]) && to < len(s) && wordByte(s[to])) {
			runs++
		}
		k = to
	}
	return runs > 1
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}
