package interleave

import (
	"slices"
	"testing"
	"time"
)

// shrinkLimit bounds the shrinking of a failing program.
const shrinkLimit = 90 * time.Second

// shrink leaves out rounds, sessions, transactions and statements as long as the same kind of problem remains, and returns the
// rest with its problems. An empty kind means that of the first problem.
func shrink(t *testing.T, p program, kind string) (program, []problem) {
	deadline := time.Now().Add(shrinkLimit)
	problems, _, err := try(t, p)
	if len(problems) == 0 || err != nil {
		return p, problems // it does not fail every time
	}
	if kind == "" {
		kind = problems[0].what()
	}
	fails := func(smaller program) bool {
		if time.Now().After(deadline) {
			return false
		}
		found, _, err := try(t, smaller)
		found = slices.DeleteFunc(found, func(f problem) bool { return !f.is(kind) })
		if err != nil || len(found) == 0 {
			return false
		}
		problems = found
		return true
	}
	if simple := p; p.gateways > 1 {
		simple.gateways, simple.stopped = 1, false
		if fails(simple) {
			p = simple
		}
	}
	if simple := p; p.atMost > 0 {
		if simple.atMost = 0; fails(simple) {
			p = simple
		}
	}
	if simple := p; p.polled {
		if simple.polled = false; fails(simple) {
			p = simple
		}
	}
	for i := range p.rounds { // usually one of them fails alone
		if alone := p.only(i); len(p.rounds) > 1 && fails(alone) {
			p = alone
			break
		}
	}
	for i := range p.rounds {
		without := p
		without.rounds = slices.Clone(p.rounds)
		without.rounds[i] = nil
		if len(p.rounds) > 1 && len(p.rounds[i]) > 0 && fails(without) {
			p = without
		}
	}
	for size := p.size() + 1; p.size() < size; {
		size = p.size()
		for _, part := range []func(step) any{
			func(s step) any { return s.session },
			func(s step) any { return s.tx },
			func(s step) any { return nil },
		} {
			p = p.without(part, fails)
		}
	}
	return p, problems
}

// only returns the program with one of its rounds.
func (p program) only(i int) program {
	p.rounds = []round{p.rounds[i]}
	return p
}

// without leaves out the steps of one part after the other (nil: each statement is a part of its own).
func (p program) without(part func(step) any, fails func(program) bool) program {
	for i := range p.rounds {
		type key struct {
			part any
			at   int
		}
		var parts []key
		keyOf := func(at int, s step) (k key, ok bool) {
			if k.part = part(s); k.part == nil {
				k.at, ok = at, !s.op.isControl()
				return k, ok
			}
			return k, true
		}
		for at, s := range p.rounds[i] {
			if k, ok := keyOf(at, s); ok && !slices.Contains(parts, k) {
				parts = append(parts, k)
			}
		}
		for _, leaving := range slices.Backward(parts) { // so that earlier positions stay valid
			var kept round
			for at, s := range p.rounds[i] {
				if k, ok := keyOf(at, s); !ok || k != leaving {
					kept = append(kept, s)
				}
			}
			smaller := p
			smaller.rounds = slices.Clone(p.rounds)
			smaller.rounds[i] = kept
			if len(parts) > 1 && fails(smaller) {
				p = smaller
			}
		}
	}
	return p
}
