package platform

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Reader reads one YAML document strictly: everything that is wrong becomes a Problem with its position, and values are text as it
// was written. Anchors, aliases and tags are refused.
type Reader struct {
	File     string // what problems call it
	Kind     string // what it is, for problems: "platform file"
	Problems Problems
}

// Bad adds a problem at a position; nil is none.
func (r *Reader) Bad(at *token.Position, key, format string, args ...any) {
	pr := Problem{File: r.File, Key: key, Text: fmt.Sprintf(format, args...)}
	if at != nil {
		pr.Line, pr.Col = at.Line, at.Column
	}
	r.Problems = append(r.Problems, pr)
}

// Err returns the problems in the order of the file, nil when there are none.
func (r *Reader) Err() error { return r.Problems.err() }

// Top returns the keys of the document, nil after reporting why there are none.
func (r *Reader) Top(data []byte) *ast.MappingNode {
	if !utf8.Valid(data) {
		r.Bad(nil, "", "the file is not UTF-8 text")
		return nil
	}
	if n := nodes(data); n > MaxNodes {
		r.Bad(nil, "", "%d lines, commas, brackets and colons: at most %d are read", n, MaxNodes)
		return nil
	}
	file, err := parseYAML(data)
	if err != nil {
		r.syntax(err)
		return nil
	}
	if len(file.Docs) > 1 {
		r.Bad(Pos(file.Docs[1].Body), "", "a %s is one YAML document, here a second one starts", r.Kind)
		return nil
	}
	if len(file.Docs) == 1 {
		if top := r.Mapping(file.Docs[0].Body, ""); top != nil {
			return top
		}
	}
	if len(r.Problems) == 0 {
		r.Bad(nil, "", "the file is empty")
	}
	return nil
}

// parseYAML calls the library, which panics on some malformed input.
func parseYAML(data []byte) (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, err = nil, errors.New("not YAML that can be read")
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}

func (r *Reader) syntax(err error) {
	var se *yaml.SyntaxError
	if errors.As(err, &se) && se.Token != nil {
		r.Bad(se.Token.Position, "", "%s", se.Message)
		return
	}
	r.Bad(nil, "", "%s", firstLine(err.Error()))
}

// Mapping returns n as a mapping, or nil after reporting why not.
func (r *Reader) Mapping(n ast.Node, key string) *ast.MappingNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n
	case *ast.MappingValueNode:
		return ast.Mapping(n.Start, false, n)
	case nil, *ast.NullNode, *ast.CommentGroupNode:
		r.Bad(Pos(n), key, "keys are wanted here")
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.Bad(Pos(n), key, "anchors, aliases and tags are not used in %ss", r.Kind)
	default:
		r.Bad(Pos(n), key, "keys are wanted here, not a value")
	}
	return nil
}

// KeyOf returns the text of a mapping key, "" after reporting that it is not one.
func (r *Reader) KeyOf(v *ast.MappingValueNode, section string) string {
	if _, ok := v.Key.(*ast.StringNode); ok {
		if t := v.Key.GetToken(); t != nil && t.Value != "" {
			return t.Value
		}
	}
	r.Bad(Pos(v), section, "the key is not a word")
	return ""
}

// Scalar returns the text of n as written, with runs of white space made one space.
func (r *Reader) Scalar(n ast.Node, key string) (string, bool) {
	var s string
	switch n := n.(type) {
	case *ast.StringNode:
		s = n.Value
	case *ast.LiteralNode:
		s = n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		s = n.GetToken().Value
	case nil, *ast.NullNode:
		r.Bad(Pos(n), key, "has no value")
		return "", false
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.Bad(Pos(n), key, "anchors, aliases and tags are not used in %ss", r.Kind)
		return "", false
	default:
		r.Bad(Pos(n), key, "one value is wanted here")
		return "", false
	}
	s = strings.Join(strings.Fields(s), " ")
	if s == "" {
		r.Bad(Pos(n), key, "is empty")
		return "", false
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			r.Bad(Pos(n), key, "contains the character %U, which cannot be printed", c)
			return "", false
		}
	}
	return s, true
}

// Pos returns where n starts, nil when unknown.
func Pos(n ast.Node) *token.Position {
	switch n := n.(type) {
	case nil:
		return nil
	case *ast.MappingValueNode:
		if n != nil && n.Key != nil {
			if t := n.Key.GetToken(); t != nil {
				return t.Position
			}
		}
	case *ast.MappingNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return Pos(n.Values[0])
		}
	}
	if t := n.GetToken(); t != nil {
		return t.Position
	}
	return nil
}
