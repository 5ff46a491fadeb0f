package described

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
)

// Path is a described call. It is immutable after Parse; what a run needs is kept with the device.
type Path struct {
	name, About string
	Text        string // what it was read from
	base        dma.Variant
	objects     []*object
	funcs       []*function
	mapping     []op
	unmapping   []op
	values      int // the most values that a body has
}

// object is memory that the call touches.
type object struct {
	name  string
	bytes int
	per   scope
}

// scope says how many there are of an object.
type scope uint8

const (
	perDevice scope = iota
	perCPU
	perPage
	perBuffer
	// The memory that every call has.
	theDevice
	thePage
	theBuffer
	theStack
)

var scopes = map[string]scope{"device": perDevice, "cpu": perCPU, "page": perPage, "buffer": perBuffer}

// builtin are the objects that need no definition: struct device, struct page of the page at hand, the page itself, the stack.
var builtin = []*object{{"device", 2048, theDevice}, {"page", 64, thePage}, {"buffer", 4096, theBuffer}, {"stack", 512, theStack}}

// function is a described function.
type function struct {
	name, file string
	size       uint32
	body       []op
	fn         *cpu.Func // set by Define
	hasBase    bool
	weight     int
}

// verb is what an op does.
type verb uint8

const (
	vALU verb = iota
	vChain
	vMul
	vDiv
	vBitScan
	vNop
	vPush
	vPop
	vLoad
	vStore
	vRMW
	vAtomic
	vFlush
	vFence
	vSerialize
	vBranch
	vCall
	vIndirect
	vLoop
	vBase
	vPfnValid
	vPhysToPage
	vPageToPhys
	vVirtToPage
	vVirtToPhys
	vPageAddress
)

// op is a statement of a body. Values are numbered in the order of their names within a body.
type op struct {
	verb verb
	n    int // instructions, registers, iterations
	obj  *object
	off  int
	on   int // value that it depends on, 0: none
	to   int // value that it produces, 0: none
	how  string
	fn   *function
	body []op
}

// parser reads statements.
type parser struct {
	*problems
	list   []statement
	at     int
	path   *Path
	values map[string]int // of the body at hand
	hasIt  bool           // base was seen in the body at hand
}

// Parse reads a description called name in messages. Everything wrong with it is reported, with line and column.
func Parse(name, text string) (*Path, error) {
	if len(text) > maxBytes {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, maxBytes)
	}
	p := &parser{problems: &problems{name: name}, path: &Path{Text: text}}
	p.list = lex(text, p.problems)
	if len(p.problems.list) == 0 {
		p.file()
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return p.path, nil
}

func (p *parser) next() (statement, bool) {
	if p.at >= len(p.list) {
		return statement{}, false
	}
	p.at++
	return p.list[p.at-1], true
}

// file reads the statements outside of blocks.
func (p *parser) file() {
	var haveMap, haveUnmap bool
	var version kernel.Version
	var baseAt token
	for {
		s, ok := p.next()
		if !ok {
			break
		}
		head := s.tokens[0]
		if p.path.name == "" && head.text != "path" {
			p.problems.at(head, "a description begins with: path NAME@KERNEL")
			return
		}
		switch head.text {
		case "path":
			if p.path.name != "" {
				p.problems.at(head, "a description has one path")
				return
			}
			if !p.arity(s, 1, 1, "path NAME@KERNEL") {
				return
			}
			var good bool
			if version, good = p.named(s.tokens[1]); !good {
				return
			}
		case "about":
			if p.arity(s, 1, 1, `about "TEXT"`) {
				p.path.About = s.tokens[1].text
			}
		case "base":
			if p.arity(s, 1, 1, "base VARIANT") {
				baseAt = s.tokens[1]
			}
		case "object":
			p.object(s)
		case "function":
			p.function(s)
		case "map", "unmap":
			seen := &haveMap
			if head.text == "unmap" {
				seen = &haveUnmap
			}
			if *seen {
				p.problems.at(head, "%s is there twice", head.text)
			}
			*seen = true
			if len(s.tokens) != 2 || s.tokens[1].text != "{" {
				p.problems.at(head, "want: %s {", head.text)
				p.skip(s)
				continue
			}
			body, weight := p.block(1)
			if !p.hasIt {
				p.problems.at(head, "%s never says base: somebody has to do the mapping", head.text)
			}
			if weight > maxOps {
				p.problems.at(head, "%s may execute %d statements, more than %d", head.text, weight, maxOps)
			}
			if head.text == "map" {
				p.path.mapping = body
			} else {
				p.path.unmapping = body
			}
		default:
			p.problems.at(head, "there is no statement %q outside of a block: allowed are about, base, object, function, map, unmap%s", head.text,
				kernel.DidYouMean(head.text, []string{"about", "base", "object", "function", "map", "unmap"}))
			p.skip(s)
		}
	}
	if p.path.name == "" {
		if len(p.problems.list) == 0 {
			p.add(1, 1, "the description is empty; it begins with: path NAME@KERNEL")
		}
		return
	}
	p.setBase(baseAt, version)
	if !haveMap {
		p.add(1, 1, "there is no map block")
	}
	if !haveUnmap {
		p.path.unmapping = []op{{verb: vBase}}
	}
}

// named checks NAME@KERNEL.
func (p *parser) named(t token) (kernel.Version, bool) {
	call, k, ok := strings.Cut(t.text, "@")
	if !ok || call == "" || strings.ContainsFunc(call, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	}) || len(call) > 40 {
		p.problems.at(t, "%q is no name: want letters, digits, _ and -, up to 40, then @6.12 or @7.3", t.text)
		return 0, false
	}
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		if v.String() == k {
			p.path.name = t.text
			return v, true
		}
	}
	p.problems.at(t, "there is no kernel %q: allowed are 6.12, 7.3", k)
	return 0, false
}

// setBase looks the base up; without one it is map_page of 6.12 or map_phys of 7.3.
func (p *parser) setBase(at token, version kernel.Version) {
	name := at.text
	if name == "" {
		name = map[kernel.Version]string{kernel.V6_12: "map_page@6.12", kernel.V7_3: "map_phys@7.3"}[version]
	}
	v, err := dma.Lookup(name)
	switch {
	case err != nil:
		p.problems.at(at, "base: %v", err)
		return
	case v.Version() != version:
		p.problems.at(at, "base %s is of kernel %s, and the path of %s", name, v.Version(), version)
	case dma.MemoryOf(v) == dma.OwnMemory:
		p.problems.at(at, "base %s keeps its buffers mapped: a path cannot be built on it", name)
	}
	if _, ok := v.(*Path); ok {
		p.problems.at(at, "base %s is a description itself; want a variant of the kernel", name)
	}
	p.path.base = v
}

// arity checks the number of words after the first.
func (p *parser) arity(s statement, lo, hi int, want string) bool {
	if n := len(s.tokens) - 1; n < lo || n > hi {
		p.problems.at(s.tokens[0], "want: %s", want)
		return false
	}
	return true
}

// skip passes over the block of a statement that was not understood.
func (p *parser) skip(s statement) {
	if s.tokens[len(s.tokens)-1].text != "{" {
		return
	}
	for depth := 1; depth > 0; {
		s, ok := p.next()
		if !ok {
			return
		}
		switch {
		case s.tokens[len(s.tokens)-1].text == "{":
			depth++
		case s.tokens[0].text == "}":
			depth--
		}
	}
}

// object reads: object NAME BYTES [per device|cpu|page|buffer]
func (p *parser) object(s statement) {
	const want = "object NAME BYTES [per device|cpu|page|buffer]"
	t := s.tokens
	if len(t) != 3 && (len(t) != 5 || t[3].text != "per") {
		p.problems.at(t[0], "want: %s", want)
		return
	}
	o := &object{name: t[1].text}
	if p.find(o.name) != nil {
		p.problems.at(t[1], "there is an object %s already", o.name)
		return
	}
	largest := 1 << 20
	if len(t) == 5 {
		var ok bool
		if o.per, ok = scopes[t[4].text]; !ok {
			p.problems.at(t[4], "there is no %q to have one of: allowed are device, cpu, page, buffer", t[4].text)
			return
		}
		if o.per != perDevice {
			largest = 4096
		}
	}
	n, ok := p.number(t[2], 1, largest)
	if !ok {
		return
	}
	o.bytes = n
	p.path.objects = append(p.path.objects, o)
}

func (p *parser) find(name string) *object {
	for _, o := range slices.Concat(builtin, p.path.objects) {
		if o.name == name {
			return o
		}
	}
	return nil
}

// number reads a number within limits, decimal or hexadecimal.
func (p *parser) number(t token, lo, hi int) (int, bool) {
	n, err := strconv.ParseInt(t.text, 0, 64)
	if err != nil || n < int64(lo) || n > int64(hi) {
		p.problems.at(t, "%q: want a number from %d to %d", t.text, lo, hi)
		return 0, false
	}
	return int(n), true
}

// function reads: function NAME ["FILE"] [BYTES] { ... }
func (p *parser) function(s statement) {
	t := s.tokens
	if len(t) < 3 || t[len(t)-1].text != "{" || len(t) > 5 {
		p.problems.at(t[0], `want: function NAME ["FILE"] [BYTES] {`)
		p.skip(s)
		return
	}
	f := &function{name: t[1].text, file: "(described)", size: 0}
	for _, a := range t[2 : len(t)-1] {
		if a.quoted {
			f.file = a.text
		} else if n, ok := p.number(a, 16, 65536); ok {
			f.size = uint32(n)
		}
	}
	if slices.ContainsFunc(p.path.funcs, func(g *function) bool { return g.name == f.name }) {
		p.problems.at(t[1], "there is a function %s already", f.name)
	}
	f.body, f.weight = p.block(1)
	f.hasBase = p.hasIt
	if f.size == 0 {
		f.size = uint32(min(16+4*f.weight, 65536))
	}
	p.path.funcs = append(p.path.funcs, f)
}

// block reads statements up to the closing brace. It returns them and how many a call may execute at most.
func (p *parser) block(depth int) ([]op, int) {
	if depth == 1 {
		p.values, p.hasIt = map[string]int{}, false
	}
	open := p.list[p.at-1].tokens[0]
	var body []op
	weight := 0
	for {
		s, ok := p.next()
		if !ok {
			p.problems.at(open, "the block has no end: } is missing")
			return body, weight
		}
		if s.tokens[0].text == "}" {
			return body, weight
		}
		o, w, ok := p.statement(s, depth)
		if ok {
			body = append(body, o)
		}
		if weight += w; weight > maxOps {
			weight = maxOps + 1 // no overflow
		}
	}
}

// words are the statements of a block; want is their form.
var words = map[string]struct {
	verb verb
	want string
}{
	"alu": {vALU, "alu N [on VALUE]"}, "chain": {vChain, "chain N [on VALUE]"}, "mul": {vMul, "mul [on VALUE]"}, "div": {vDiv, "div [on VALUE]"},
	"bitscan": {vBitScan, "bitscan [on VALUE]"}, "nop": {vNop, "nop N"}, "push": {vPush, "push N"}, "pop": {vPop, "pop N"},
	"load": {vLoad, "load OBJECT[+OFFSET] [on VALUE]"}, "store": {vStore, "store OBJECT[+OFFSET] [on VALUE]"}, "rmw": {vRMW, "rmw OBJECT[+OFFSET] [on VALUE]"},
	"atomic": {vAtomic, "atomic OBJECT[+OFFSET] [on VALUE]"}, "flush": {vFlush, "flush OBJECT[+OFFSET] [on VALUE]"}, "fence": {vFence, "fence"}, "serialize": {vSerialize, "serialize"},
	"branch": {vBranch, "branch taken|not-taken|unpredictable [on VALUE]"}, "call": {vCall, "call FUNCTION"}, "indirect": {vIndirect, "indirect FUNCTION [on VALUE]"},
	"loop": {vLoop, "loop N|pages|lines {"}, "base": {vBase, "base"},
	"pfn_valid": {vPfnValid, "pfn_valid [on VALUE]"}, "phys_to_page": {vPhysToPage, "phys_to_page [on VALUE]"}, "page_to_phys": {vPageToPhys, "page_to_phys [on VALUE]"},
	"virt_to_page": {vVirtToPage, "virt_to_page [on VALUE]"}, "virt_to_phys": {vVirtToPhys, "virt_to_phys [on VALUE]"}, "page_address": {vPageAddress, "page_address [on VALUE]"},
}

func wordList() string {
	var l []string
	for w := range words {
		l = append(l, w)
	}
	slices.Sort(l)
	return strings.Join(l, ", ")
}

// statement reads a statement of a block and, for a loop, its own block. Weight is how many statements it executes at most.
func (p *parser) statement(s statement, depth int) (o op, weight int, ok bool) {
	t := s.tokens
	result := ""
	if len(t) > 2 && t[1].text == "=" {
		result = t[0].text
		if t[0].quoted || !identifier(result) {
			p.problems.at(t[0], "%q is no name for a value: want a letter, then letters, digits and _", result)
			return o, 0, false
		}
		t = t[2:]
	}
	w, known := words[t[0].text]
	if !known || t[0].quoted {
		p.problems.at(t[0], "there is no statement %q: allowed are %s%s", t[0].text, wordList(), kernel.DidYouMean(t[0].text, strings.Split(wordList(), ", ")))
		p.skip(s)
		return o, 0, false
	}
	o.verb = w.verb
	args := t[1:]
	bad := func() (op, int, bool) {
		p.problems.at(t[0], "want: %s", w.want)
		p.skip(s)
		return o, 0, false
	}
	if n := len(args); n >= 2 && args[n-2].text == "on" && strings.Contains(w.want, "[on VALUE]") {
		if o.on, ok = p.values[args[n-1].text]; !ok {
			p.problems.at(args[n-1], "there is no value %q before this statement", args[n-1].text)
			return o, 0, false
		}
		args = args[:n-2]
	}
	weight = 1
	switch o.verb {
	case vALU, vChain, vNop, vPush, vPop:
		if len(args) != 1 {
			return bad()
		}
		if o.n, ok = p.number(args[0], 1, 1000); !ok {
			return o, 0, false
		}
		weight = o.n
	case vLoad, vStore, vRMW, vAtomic, vFlush:
		if len(args) != 1 && (len(args) != 3 || args[1].text != "+") {
			return bad()
		}
		if o.obj = p.find(args[0].text); o.obj == nil {
			p.problems.at(args[0], "there is no object %q: define it, or take device, page, buffer or stack", args[0].text)
			return o, 0, false
		}
		if len(args) == 3 {
			if o.off, ok = p.number(args[2], 0, o.obj.bytes-1); !ok {
				return o, 0, false
			}
		}
	case vBranch:
		if len(args) != 1 || !slices.Contains([]string{"taken", "not-taken", "unpredictable"}, args[0].text) {
			return bad()
		}
		o.how = args[0].text
	case vCall, vIndirect:
		if len(args) != 1 {
			return bad()
		}
		i := slices.IndexFunc(p.path.funcs, func(f *function) bool { return f.name == args[0].text })
		if i < 0 {
			p.problems.at(args[0], "there is no function %q before this statement", args[0].text)
			return o, 0, false
		}
		o.fn = p.path.funcs[i]
		weight += o.fn.weight
		if o.fn.hasBase && !p.once(t[0], depth) {
			return o, 0, false
		}
	case vLoop:
		if len(args) != 2 || args[1].text != "{" {
			return bad()
		}
		times := 0
		switch args[0].text {
		case "pages":
			o.how, times = "pages", 1024
		case "lines":
			o.how, times = "lines", 65536
		default:
			if o.n, ok = p.number(args[0], 1, 1_000_000); !ok {
				p.skip(s)
				return o, 0, false
			}
			times = o.n
		}
		if depth == maxDepth {
			p.problems.at(t[0], "loops deeper than %d", maxDepth)
			p.skip(s)
			return o, 0, false
		}
		var inner int
		o.body, inner = p.block(depth + 1)
		weight = times * (inner + 2)
	case vBase:
		if len(args) != 0 {
			return bad()
		}
		if !p.once(t[0], depth) {
			return o, 0, false
		}
	default:
		if len(args) != 0 {
			return bad()
		}
	}
	if result != "" {
		if slices.Contains([]verb{vNop, vPush, vPop, vStore, vFence, vSerialize, vBranch, vCall, vIndirect, vLoop, vBase, vFlush, vPfnValid}, o.verb) {
			p.problems.at(t[0], "%s has no value", t[0].text)
			return o, 0, false
		}
		id := p.values[result]
		if id == 0 {
			id = len(p.values) + 1
			p.values[result] = id
			p.path.values = max(p.path.values, id)
		}
		o.to = id
	}
	return o, weight, true
}

// once notes that the base is called here: once, and not in a loop.
func (p *parser) once(t token, depth int) bool {
	if p.hasIt {
		p.problems.at(t, "base is called twice")
		return false
	}
	if depth > 1 {
		p.problems.at(t, "base inside of a loop")
		return false
	}
	p.hasIt = true
	return true
}

func identifier(s string) bool {
	for i, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || i > 0 && r >= '0' && r <= '9') {
			return false
		}
	}
	return s != ""
}
