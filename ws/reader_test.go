package ws

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"terasocket/access"
	"terasocket/proto/opentera"
	"terasocket/proto/terasocket"
)

// tape is a log whose transactions are its seqs: a client with cursor n has missed what is beyond n.
type tape struct {
	last   uint64
	oldest uint64
	value  string
	page   func(behind uint64) error // before a page is read; nil: nothing

	earlier uint64 // so far before its cursor begins what a client has missed

	mu            sync.Mutex
	pages, lookup int
}

type spot struct{ since, last, behind uint64 }

func (s spot) Behind() uint64            { return s.behind }
func (s spot) Last() uint64              { return s.last }
func (s spot) Missed(_, xid uint64) bool { return xid > s.since }
func (s spot) IsNew(xid uint64) bool     { return xid > s.last }

func (s spot) Sees(xid uint64) bool { return xid < 1<<32 }

func (t *tape) Places(_ context.Context, cursors []uint64) ([]Place, uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lookup++
	places := make([]Place, len(cursors))
	for i, cursor := range cursors {
		if cursor >= t.oldest && cursor <= t.last {
			places[i] = spot{cursor, t.last, cursor - t.earlier}
		}
	}
	return places, t.oldest, nil
}

func (t *tape) After(ctx context.Context, _ []Place, behind uint64) (Page, error) {
	t.mu.Lock()
	t.pages++
	t.mu.Unlock()
	if t.page != nil {
		if err := t.page(behind); err != nil {
			return Page{}, err
		}
	}
	p := Page{Last: min(behind+256, t.last), Oldest: t.oldest}
	p.IsLast = p.Last == t.last
	for seq := behind + 1; seq <= p.Last; seq++ {
		e := logged(seq, "mine", "")
		e.XID = seq
		e.Message.(*opentera.DatabaseEvent).ObjectValue += t.value
		p.Events = append(p.Events, e)
	}
	return p, ctx.Err()
}

func (t *tape) counts() (pages, lookups int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pages, t.lookup
}

// everybody holds every key.
var everybody = audienceFunc(func(_ context.Context, keys []string) ([][]access.Principal, error) {
	answer := make([][]access.Principal, len(keys))
	for i := range keys {
		for id := range int32(400) {
			answer[i] = append(answer[i], user(id))
		}
	}
	return answer, nil
})

// Many come back at once, from places all over the log: each hears what it has missed, and the log is read a few times.
func TestManyWhoResumeShareTheReading(t *testing.T) {
	t.Parallel()
	const clients, last = 100, 3000
	var started sync.WaitGroup
	started.Add(clients)
	log := &tape{last: last, oldest: 1, page: func(uint64) error { started.Wait(); return nil }} // all are there
	g := newGateway(t, func(h *Handler) { h.History, h.Audience = log, everybody }, nil)
	var done sync.WaitGroup
	for i := range clients {
		done.Go(func() {
			since := uint64(1 + i*13)
			c := g.connect(t, fmt.Sprintf("user?id=user_%d_a&since=%d", i, since))
			started.Done()
			for seq := since + 1; seq <= last; seq++ {
				if got := c.next().value(); got != fmt.Sprint(seq) {
					t.Errorf("client %d: got %s, want %d", i, got, seq)
					return
				}
			}
		})
	}
	done.Wait()
	pages, lookups := log.counts()
	if alone := clients * last / 256 / 2; pages > alone/2 || lookups > clients/10 {
		t.Errorf("%d pages were read and %d times places looked for; alone it would be some %d pages", pages, lookups, alone)
	}
	t.Logf("%d pages, %d times places", pages, lookups)
}

// Who does not read is closed in time and holds nobody up; what waits for it is bounded.
func TestASlowOneHoldsUpNobodyWhoResumes(t *testing.T) {
	t.Parallel()
	log := &tape{last: 3000, oldest: 1, value: fmt.Sprintf("%05000d", 0)} // 15 MB
	g := newGateway(t, func(h *Handler) { h.History, h.Audience = log, everybody }, nil)
	for i := range 5 {
		g.connect(t, fmt.Sprintf("user?id=user_%d_slow&since=1", i)) // never reads
	}
	c := g.connect(t, "user?id=user_9_a&since=1")
	for range 2999 {
		c.next()
	}
	for p, sockets := range g.sockets {
		for _, s := range sockets {
			if waiting := s.out.Backlog(); waiting > s.Backlog/2+8<<10 {
				t.Errorf("%d bytes wait for %s", waiting, p)
			}
		}
	}
}

func TestEachIsToldWhatTheLogDoesNotHold(t *testing.T) {
	t.Parallel()
	log := &tape{last: 900, oldest: 500}
	g := newGateway(t, func(h *Handler) { h.History, h.Audience = log, everybody }, nil)
	for _, since := range []uint64{499, 901, 1<<64 - 1} {
		c := g.connect(t, fmt.Sprintf("user?id=user_7_%d&since=%d", since, since))
		var incomplete terasocket.ReplayIncomplete
		if err := c.next().event.GetEvents()[0].UnmarshalTo(&incomplete); err != nil || incomplete.GetOldestSeq() != 500 {
			t.Errorf("since %d: oldest %d, %v", since, incomplete.GetOldestSeq(), err)
		}
	}
	g.connect(t, "user?id=user_7_a&since=500").want("501")

	// trimmed while it is away with half of it told
	log = &tape{last: 900, oldest: 1}
	log.page = func(behind uint64) error {
		if behind > 1 {
			log.oldest = behind + 2
		}
		return nil
	}
	g = newGateway(t, func(h *Handler) { h.History, h.Audience = log, everybody }, nil)
	c := g.connect(t, "user?id=user_7_a&since=1")
	for seq := range 256 {
		c.want(fmt.Sprint(seq + 2))
	}
	var incomplete terasocket.ReplayIncomplete
	if err := c.next().event.GetEvents()[0].UnmarshalTo(&incomplete); err != nil || incomplete.GetOldestSeq() != 259 {
		t.Errorf("oldest %d, %v", incomplete.GetOldestSeq(), err)
	}

	// trimmed, between its place and the first page, of what it missed before its cursor
	log = &tape{last: 900, oldest: 400, earlier: 100}
	log.page = func(uint64) error { log.oldest = 450; return nil }
	g = newGateway(t, func(h *Handler) { h.History, h.Audience = log, everybody }, nil)
	c = g.connect(t, "user?id=user_7_a&since=500")
	if err := c.next().event.GetEvents()[0].UnmarshalTo(&incomplete); err != nil || incomplete.GetOldestSeq() != 450 {
		t.Errorf("oldest %d, %v; want 450", incomplete.GetOldestSeq(), err)
	}
}

// Who asks while a page is read is not answered with it: it may be older than what was delivered before it came.
func TestAPageIsForThoseWhoAskedBefore(t *testing.T) {
	t.Parallel()
	isReading, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	log := &tape{last: 10, oldest: 1, page: func(uint64) error {
		once.Do(func() { close(isReading); <-goOn })
		return nil
	}}
	r := &reader{history: log, audience: everybody}
	var asked sync.WaitGroup
	next := func() {
		if _, err := r.next(t.Context(), &ask{cursor: 5}); err != nil {
			t.Error(err)
		}
	}
	asked.Go(next)
	<-isReading
	asked.Go(next)
	eventually(t, "both wait", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.waiting) == 2 })
	close(goOn)
	asked.Wait()
	if pages, _ := log.counts(); pages != 2 {
		t.Errorf("%d pages were read, want 2", pages)
	}
}

// An error is told to those for whom was read; a client that leaves ends the reading when it was the only one.
func TestReadingThatFailsOrIsForNobody(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	r := &reader{history: &tape{last: 10, oldest: 1, page: func(uint64) error { return down }}, audience: everybody}
	if _, err := r.next(t.Context(), &ask{cursor: 5}); !errors.Is(err, down) {
		t.Errorf("%v, want %v", err, down)
	}
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r = &reader{history: &tape{last: 10, oldest: 1}, audience: audienceFunc(func(ctx context.Context, _ []string) ([][]access.Principal, error) {
		leave()
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})}
	if _, err := r.next(ctx, &ask{cursor: 5}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the question ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the question goes on for nobody")
	}
}
