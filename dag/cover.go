package dag

import (
	"encoding/binary"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// coverage decides whether some paths take all that another takes. It is sound
// and, within its budget, complete: both sides are run as automata over the
// characters that a request's path can have, visible ASCII without ? and #,
// until a path is found that the one takes and none of the others does.
type coverage struct {
	// budget is what is left, in visits of an automaton's instructions. When it
	// is used up the answer is no.
	budget int
}

// expressionOf is the expression that matches, as a whole, what the path takes.
func expressionOf(p Path) string {
	switch p.Type {
	case PathExact:
		return regexp.QuoteMeta(p.Value)
	case PathSegment:
		return regexp.QuoteMeta(p.Value) + "(?:/.*)?"
	case PathRegex:
		return p.Value
	default:
		return regexp.QuoteMeta(p.Value) + ".*"
	}
}

// covered reports whether the path takes something, and whatever it takes one
// of the others takes too.
func (c *coverage) covered(path Path, by ...Path) bool {
	expressions := make([]string, len(by))
	for i, p := range by {
		expressions[i] = "(?:" + expressionOf(p) + ")"
	}
	inner, ok := c.compile(expressionOf(path))
	if !ok {
		return false
	}
	outer, ok := c.compile(strings.Join(expressions, "|"))
	if !ok {
		return false
	}
	return c.within(inner, outer)
}

// within walks both automata side by side.
func (c *coverage) within(inner, outer *automaton) bool {
	alphabet := symbols(inner.prog, outer.prog)
	type pair struct{ inner, outer *subset }
	start := pair{inner.start(c), outer.start(c)}
	seen := map[pair]bool{start: true}
	taken := false
	for queue := []pair{start}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at.inner.accepts && !at.outer.accepts {
			return false
		}
		taken = taken || at.inner.accepts
		for _, symbol := range alphabet {
			if c.budget <= 0 {
				return false
			}
			next := pair{inner.step(c, at.inner, symbol), outer.step(c, at.outer, symbol)}
			if live := len(next.inner.at) > 0 || next.inner.accepts; live && !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	return taken
}

// automaton runs a compiled expression as sets of instructions.
type automaton struct {
	prog *syntax.Prog
	// subsets are those met so far, by their kernels.
	subsets map[string]*subset
}

// subset is one state: all instructions that may be next.
type subset struct {
	at      []uint32
	accepts bool // at the end of the path
	next    map[rune]*subset
}

// compile takes the expressions that it can run: all without word boundaries.
func (c *coverage) compile(expression string) (*automaton, bool) {
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil, false
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, false
	}
	const boundary = syntax.EmptyWordBoundary | syntax.EmptyNoWordBoundary
	for _, in := range prog.Inst {
		if in.Op == syntax.InstEmptyWidth && syntax.EmptyOp(in.Arg)&boundary != 0 {
			return nil, false
		}
	}
	c.budget -= len(prog.Inst)
	return &automaton{prog, map[string]*subset{}}, c.budget > 0
}

func (a *automaton) start(c *coverage) *subset {
	return a.subset(c, []uint32{uint32(a.prog.Start)}, syntax.EmptyBeginText|syntax.EmptyBeginLine)
}

func (a *automaton) step(c *coverage, s *subset, symbol rune) *subset {
	if next, ok := s.next[symbol]; ok {
		return next
	}
	var kernel []uint32
	for _, pc := range s.at {
		if in := &a.prog.Inst[pc]; in.MatchRune(symbol) {
			kernel = append(kernel, in.Out)
		}
	}
	slices.Sort(kernel)
	next := a.subset(c, slices.Compact(kernel), 0)
	s.next[symbol] = next
	return next
}

// subset is the state that begins with the kernel, where the assertions hold
// that are given, and at the end of the path those of an end too.
func (a *automaton) subset(c *coverage, kernel []uint32, holds syntax.EmptyOp) *subset {
	key := []byte{byte(holds)}
	for _, pc := range kernel {
		key = binary.BigEndian.AppendUint32(key, pc)
	}
	if s, ok := a.subsets[string(key)]; ok {
		return s
	}
	s := &subset{next: map[rune]*subset{}}
	for _, pc := range a.closure(c, kernel, holds) {
		switch a.prog.Inst[pc].Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			s.at = append(s.at, pc)
		}
	}
	atEnd := a.closure(c, kernel, holds|syntax.EmptyEndText|syntax.EmptyEndLine)
	s.accepts = slices.ContainsFunc(atEnd, func(pc uint32) bool { return a.prog.Inst[pc].Op == syntax.InstMatch })
	a.subsets[string(key)] = s
	return s
}

// closure is what can be come to from the kernel without a symbol.
func (a *automaton) closure(c *coverage, kernel []uint32, holds syntax.EmptyOp) []uint32 {
	seen := map[uint32]bool{}
	var all []uint32
	stack := slices.Clone(kernel)
	for len(stack) > 0 {
		pc := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		c.budget--
		all = append(all, pc)
		switch in := a.prog.Inst[pc]; in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			stack = append(stack, in.Out, in.Arg)
		case syntax.InstCapture, syntax.InstNop:
			stack = append(stack, in.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(in.Arg)&^holds == 0 {
				stack = append(stack, in.Out)
			}
		}
	}
	return all
}

// symbols are characters of a path, one of every group that no instruction of
// the programs tells apart.
func symbols(programs ...*syntax.Prog) []rune {
	var all []rune
	for r := rune('!'); r <= '~'; r++ {
		if r != '?' && r != '#' {
			all = append(all, r)
		}
	}
	group := make([]int, len(all))
	for _, prog := range programs {
		for i := range prog.Inst {
			in := &prog.Inst[i]
			switch in.Op {
			case syntax.InstRune, syntax.InstRune1:
				split(group, func(i int) bool { return in.MatchRune(all[i]) })
			}
		}
	}
	var one []rune
	seen := map[int]bool{}
	for i, r := range all {
		if !seen[group[i]] {
			seen[group[i]] = true
			one = append(one, r)
		}
	}
	return one
}

// split parts every group by a property of its members.
func split(group []int, has func(int) bool) {
	type part struct {
		of  int
		has bool
	}
	number := map[part]int{}
	for i := range group {
		p := part{group[i], has(i)}
		if _, known := number[p]; !known {
			number[p] = len(number)
		}
		group[i] = number[p]
	}
}
