package interleave

import (
	"fmt"
	"strings"
)

// program is one run: rounds on one database, with quiescence between them.
type program struct {
	seed     string // how to generate it again
	gateways int
	stopped  bool // the last gateway is stopped during each round and catches up after it
	polled   bool // a gateway polls, and no writer notifies
	atMost   int  // objects in one announcement; 0: the default
	rounds   []round
}

// round is an interleaving of sessions: their steps in order.
type round []step

// step is one statement of a session.
type step struct {
	session int // from 1; for connect: the viewer
	tx      int // number of the transaction in its round
	op      op
	name    string // of a savepoint or prepared transaction
	sql     string
}

type op uint8

const (
	begin op = iota
	statement
	savepoint
	rollbackTo
	commit
	rollback
	prepare
	commitPrepared
	rollbackPrepared
	connect // a viewer joins: name is "live" or "resumed"
)

// isControl reports whether the step ends or begins a transaction: shrinking keeps those.
func (o op) isControl() bool {
	return o != statement && o != savepoint && o != rollbackTo && o != connect
}

// ofScript parses lines "S1: BEGIN; UPDATE ...; COMMIT" of a smallest case. A statement outside BEGIN and COMMIT is a
// transaction of its own.
func ofScript(lines ...string) (r round) {
	isOpen, tx := map[int]bool{}, map[int]int{}
	n := 0
	for _, line := range lines {
		who, script, ok := strings.Cut(line, ": ")
		var session int
		if _, err := fmt.Sscanf(who, "S%d", &session); err != nil || !ok {
			panic("a line must begin with S1: " + line)
		}
		for sql := range strings.SplitSeq(script, ";") {
			sql = strings.TrimSpace(sql)
			s := step{session: session, sql: sql, op: statement}
			word, rest, _ := strings.Cut(sql, " ")
			switch word {
			case "":
				continue
			case "BEGIN":
				s.op = begin
			case "COMMIT":
				s.op = commit
				if name, ok := strings.CutPrefix(rest, "PREPARED "); ok {
					s.op, s.name = commitPrepared, name
				}
			case "ROLLBACK":
				s.op = rollback
				if name, ok := strings.CutPrefix(rest, "TO "); ok {
					s.op, s.name = rollbackTo, name
				}
			case "SAVEPOINT":
				s.op, s.name = savepoint, rest
			case "PREPARE":
				s.op, s.name = prepare, strings.TrimPrefix(rest, "TRANSACTION ")
			}
			if !isOpen[session] {
				n++
				tx[session] = n
			}
			s.tx = tx[session]
			switch {
			case s.op == begin:
				isOpen[session] = true
			case s.op == commit, s.op == rollback, s.op == prepare:
				isOpen[session] = false
			case s.op == statement && !isOpen[session]:
				r = append(r, step{session, s.tx, begin, "", "BEGIN"}, s, step{session, s.tx, commit, "", "COMMIT"})
				continue
			}
			r = append(r, s)
		}
	}
	return r
}

// script prints the program for psql, one statement a line, prefixed with its session.
func (p program) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- %s: %d gateways%s%s%s. On testdata/world.sql; a session is a psql of its own.\n", p.seed, p.gateways, map[bool]string{true: ", the last sleeps during a round"}[p.stopped],
		map[bool]string{true: ", terasocket.poll = always"}[p.polled], map[bool]string{true: fmt.Sprintf(", announce() takes %d objects at most", p.atMost)}[p.atMost > 0])
	for i, r := range p.rounds {
		if len(r) == 0 {
			continue
		}
		fmt.Fprintf(&b, "-- round %d\n", i+1)
		for _, s := range r {
			b.WriteString(s.String() + "\n")
		}
	}
	return b.String()
}

// String formats the step as a line of the script.
func (s step) String() string {
	if s.op == connect {
		return "-- " + s.sql
	}
	return fmt.Sprintf("%s; -- S%d", s.sql, s.session)
}

func (p program) size() (n int) {
	for _, r := range p.rounds {
		n += len(r)
	}
	return n
}
