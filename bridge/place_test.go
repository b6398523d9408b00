package bridge

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"
)

// Whoever takes the bridge goes on behind what was last written, in the middle of a message if need be. What was heard before an outage
// is passed over only when somebody else has held the bridge since.
func TestWhereItGoesOn(t *testing.T) {
	t.Parallel()
	mark := func(n int) []byte { m := heard{payload: fmt.Sprint(n)}.mark(); return m[:] }
	for _, c := range []struct {
		name               string
		from               place
		left, skip, passed int
	}{
		{"known", place{mark: mark(2)}, 3, 0, 0},
		{"known, again", place{mark: mark(2), isAgain: true}, 3, 0, 0},
		{"in the middle", place{mark: mark(2), part: 7}, 4, 7, 0},
		{"in the middle, again", place{mark: mark(2), part: 7, isAgain: true}, 4, 7, 0},
		{"unknown", place{mark: mark(9)}, 2, 0, 3},
		{"unknown, in the middle", place{mark: mark(9), part: 7}, 2, 0, 3},
		{"unknown, again", place{mark: mark(9), part: 7, isAgain: true}, 5, 0, 0},
		{"never", place{}, 2, 0, 3},
	} {
		s := newStream()
		for n := range 5 {
			if n == 3 {
				s.broken()
			}
			s.must(t, s.put(t.Context(), heard{payload: fmt.Sprint(n + 1)}))
		}
		if skip, passed := s.lead(c.from); skip != c.skip || passed != c.passed || len(s.waiting) != c.left {
			t.Errorf("%s: skip %d, %d passed over, %d are left", c.name, skip, passed, len(s.waiting))
		}
	}
}

// A gateway that cannot begin when it takes the bridge again has held it all the same: nobody else has written what it heard.
func TestBridgeTakenInVain(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.idle("here")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.sub.run(ctx) }()
	defer func() { cancel(); <-done }()
	hold := func(ctx context.Context) (end func()) {
		s.eventually("it is subscribed", func() bool { return b.Err() == nil })
		r, from, err := b.takeOver(t.Context())
		s.must(err)
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() { defer close(ended); b.reign(ctx, r, from) }()
		return func() { cancel(); <-ended }
	}
	waits := func(n int) {
		t.Helper()
		s.eventually(fmt.Sprintf("%d wait", n), func() bool {
			b.stream.mu.Lock()
			defer b.stream.mu.Unlock()
			return len(b.stream.waiting) == n
		})
	}
	end := hold(ctx)
	s.eventually("it holds it", func() bool { return testutil.ToFloat64(b.Metrics.leader) == 1 })
	s.direct(1)
	s.numbers(1)
	waits(0)
	end()
	s.direct(2, 3, 4)
	waits(3)
	b.stream.broken()
	ended, stop := context.WithCancel(t.Context())
	stop()
	hold(ended)()
	end = hold(ctx)
	s.numbers(4)
	waits(0)
	end()
	// another one has had it meanwhile
	s.direct(5)
	waits(1)
	b.stream.broken()
	if _, _, err := s.idle("other").takeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.exec("UPDATE terasocket.bridge SET lease_until = '-infinity'")
	end = hold(ctx)
	s.eventually("it is counted", func() bool { return testutil.ToFloat64(b.Metrics.passed) == 1 })
	end()
}

// A message that is written in several transactions is written once, when the bridge changes hands between them.
func TestHalfAMessage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	dying := s.idle("dying")
	dying.Lease = time.Minute
	r := s.reign(dying)
	heir := s.bridge(nil)
	first, second := numbered(topicOne, 1, 2), numbered(topicOne, 3, itemsSize+10)
	for _, message := range []proto.Message{first, second, numbered(topicOne, itemsSize+11, itemsSize+12)} {
		s.send(topicOne, message)
	}
	s.must(r.writeItems(t.Context(), append(s.items(topicOne, first), s.items(topicOne, second)[:100]...)))
	s.numbers(102)
	s.exec("UPDATE terasocket.bridge SET lease_until = '-infinity'")
	s.leads(heir)
	s.numbers(itemsSize + 12)
}

// PostgreSQL has lost its last commits, or another gateway has the same term of another past: the bridge is taken anew.
func TestCommitsThatAreLost(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r, _ := s.writer()
	s.must(r.writeItems(t.Context(), s.stops(1, 3)))
	for _, taken := range []int{1, 100} {
		s.exec("UPDATE terasocket.bridge SET taken = $1", taken)
		if err := r.writeItems(t.Context(), s.stops(4, 5)); !errors.Is(err, errLost) {
			t.Errorf("%d were taken: %v", taken, err)
		}
	}
	s.numbers(3)
}
