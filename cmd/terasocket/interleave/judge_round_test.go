package interleave

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
)

// judge compares what all clients received in a round with its states, and lets each viewer resume over the round.
func (r *runner) judge(ctx context.Context, p program) (problems []problem, err error) {
	last := r.states[len(r.states)-1]
	wasDown := map[int]bool{} // in this round or, since it may be announced later, in the previous one
	for viewer := 1; viewer <= viewers; viewer++ {
		own := object{"user", viewer}
		isDown := slices.ContainsFunc(r.states, func(s *state) bool {
			return !s.mayBe[viewer] || s.rows[own].version != r.states[0].rows[own].version // perhaps inside a transaction
		})
		wasDown[viewer], r.wasDown[viewer] = isDown || r.wasDown[viewer], isDown
	}
	for _, viewer := range slices.Sorted(mapKeys(r.live)) {
		problems = append(problems, r.judgeLive(r.live[viewer], 0, wasDown[viewer], false)...)
	}
	for _, j := range r.joined {
		begin := j.begin
		if j.resumed {
			begin = 0
		}
		problems = append(problems, r.judgeLive(j.client, begin, wasDown[j.viewer], j.resumed)...)
		_ = j.conn.Close()
	}
	r.joined = nil
	resumed := make([][]problem, viewers+1)
	var group errgroup.Group
	for viewer, since := range r.cursors {
		if since == 0 || !last.mayBe[viewer] {
			continue
		}
		c, err := r.client(ctx, viewer, r.gateways[(viewer+1)%len(r.gateways)], "resumed", &since)
		if err != nil {
			return nil, err
		}
		if c == nil {
			return nil, fmt.Errorf("viewer %d cannot resume", viewer)
		}
		group.Go(func() error {
			defer func() { _ = c.conn.Close() }()
			waiting, cancel := context.WithTimeout(ctx, quietLimit)
			defer cancel()
			if err := c.wait(waiting, r.mark()); err != nil {
				return err
			}
			all, closed, trouble := c.taken()
			if trouble != "" || closed != 0 {
				resumed[viewer] = append(resumed[viewer], problem{kind: broken, client: c.name, text: fmt.Sprintf("%s, closed with %d", trouble, closed)})
			}
			resumed[viewer] = append(resumed[viewer], judge(c.name, viewer, 0, r.states, all, closed != 0, true)...)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	problems = append(problems, slices.Concat(resumed...)...)
	clear(r.cursors)
	for _, text := range r.refused {
		problems = append(problems, problem{kind: broken, client: "writer", text: text})
	}
	r.refused = nil
	for kind, c := range r.deaf {
		all, closed, trouble := c.taken()
		if trouble != "" || closed != 0 && closed != 4000 {
			problems = append(problems, problem{kind: broken, client: c.name, text: fmt.Sprintf("%s, closed with %d", trouble, closed)})
		}
		if len(all) > 0 {
			problems = append(problems, problem{kind: leak, client: c.name, object: all[0].object, text: "a participant or device hears of an object: " + all[0].text})
		}
		if closed != 0 {
			_ = c.conn.Close()
			delete(r.deaf, kind)
		}
	}
	r.counts["states"] += len(r.states) - 2
	return problems, nil
}

// judgeLive judges a client that was connected when the round ended, or was disconnected during it.
func (r *runner) judgeLive(c *client, begin int, wasDown, hasResumed bool) (problems []problem) {
	all, closed, trouble := c.taken()
	if closed != 0 {
		_ = c.conn.Close()
	}
	switch {
	case trouble != "":
		problems = append(problems, problem{kind: broken, client: c.name, text: trouble})
	case closed != 0 && (closed != 4000 || !wasDown):
		problems = append(problems, problem{kind: broken, client: c.name, text: fmt.Sprintf("closed with %d", closed)})
	case closed == 0 && !r.states[len(r.states)-1].mayBe[c.viewer]:
		problems = append(problems, problem{kind: broken, client: c.name, text: "is disabled or deleted, and still connected"})
	}
	return append(problems, judge(c.name, c.viewer, begin, r.states, all, closed != 0, hasResumed)...)
}
