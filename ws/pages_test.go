package ws

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/proto/event"
)

func users(n int32) (all []access.Principal) {
	for id := range n {
		all = append(all, user(id))
	}
	return all
}

// inProject gives all these users the tag p:1.
func inProject(users []access.Principal) map[access.Principal][]string {
	tags := map[access.Principal][]string{}
	for _, p := range users {
		tags[p] = []string{"p:1"}
	}
	return tags
}

// Many clients resume at once from all over the log: each receives what it missed, and the log is read a few times.
func TestManyWhoResumeShareTheReading(t *testing.T) {
	t.Parallel()
	const clients, last = 30, 2000
	var started sync.WaitGroup
	started.Add(clients)
	log := &tape{events: changes(last), first: inProject(users(clients))}
	for i := range log.events {
		log.events[i].Present = `[["p:1"]]`
	}
	log.before = beforePages(func() { started.Wait() })
	g := log.gateway(t, nil)
	g.play(last)
	var done sync.WaitGroup
	for i := range clients {
		done.Go(func() {
			since := uint64(1 + i*37)
			c := g.connect(t, fmt.Sprintf("user?id=user_%d_a&since=%d", i, since))
			started.Done()
			for seq := since + 1; seq <= last; seq++ {
				if got := c.next().value(); got != fmt.Sprint(seq) {
					t.Errorf("client %d: got %s, want %d", i, got, seq)
					return
				}
			}
			c.wantCursor(last)
		})
	}
	done.Wait()
	read, _ := log.counts()
	if alone := clients * last / 256 / 2; read >= alone { // fewer still, unless the machine is busy
		t.Errorf("%d pages read; one client each would need some %d", read, alone)
	}
	t.Logf("%d pages", read)
	if g.Hub.Len() != clients {
		t.Errorf("%d sockets", g.Hub.Len())
	}
}

// A client that does not read is closed in time and delays nobody; its backlog is bounded.
func TestASlowOneHoldsUpNobodyWhoResumes(t *testing.T) {
	t.Parallel()
	log := &tape{}
	for i := range 3000 { // 15 MB
		log.announce(message(fmt.Sprintf("%d %05000d", i, 0), keysOf(users(10)...)))
	}
	g := log.gateway(t, nil)
	g.play(3000)
	for i := range 5 {
		g.connect(t, fmt.Sprintf("user?id=user_%d_slow&since=1", i)) // never reads
	}
	c := g.connect(t, "user?id=user_9_a&since=1")
	for range 2999 {
		c.next()
	}
	g.Hub.mu.Lock()
	defer g.Hub.mu.Unlock()
	for s := range g.conns {
		if waiting := s.waiting(); waiting > s.Backlog/2+8<<10 {
			t.Errorf("%d bytes wait for %s", waiting, s.Identity.Principal)
		}
	}
}

// A page that was read for another client and ends too early is not treated as the last.
func TestAPageForSomebodyElseIsNotTheLast(t *testing.T) {
	t.Parallel()
	log := &tape{events: changes(20)}
	r := &pages{log: log}
	defer r.join()()
	first, err := r.after(t.Context(), 0, 10)
	if err != nil || first.last != 10 || !first.isLast {
		t.Fatalf("%+v, %v", first, err)
	}
	for _, a := range []ask{{0, 10, nil}, {5, 20, nil}, {10, 10, nil}} {
		if !first.answers(&a) {
			t.Errorf("does not answer %+v", a)
		}
	}
	if a := (ask{10, 20, nil}); first.answers(&a) {
		t.Error("answers a client that needs more")
	}
	second, err := r.after(t.Context(), 10, 20)
	if err != nil || second.last != 20 || len(second.rows) != 10 {
		t.Fatalf("%+v, %v", second, err)
	}
	if again, err := r.after(t.Context(), 12, 20); err != nil || again != second {
		t.Errorf("read once more: %v", err)
	}
	if read, _ := log.counts(); read != 2 {
		t.Errorf("%d pages were read, want 2", read)
	}
}

// An error goes to all waiting clients; the reading is cancelled when its only client leaves.
func TestReadingThatFailsOrIsForNobody(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	r := &pages{log: &tape{events: changes(3), before: func(string) error { return down }}}
	if _, err := r.after(t.Context(), 1, 3); !errors.Is(err, down) {
		t.Errorf("%v, want %v", err, down)
	}
	ctx, leave := context.WithCancel(t.Context())
	var ended atomic.Bool
	blocking := &blockedLog{tape: &tape{events: changes(3)}, hook: func(ctx context.Context) {
		leave()
		<-ctx.Done()
		ended.Store(true)
	}}
	r = &pages{log: blocking}
	if _, err := r.after(ctx, 1, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	dbtest.Eventually(t, "the question for nobody ends", ended.Load)
	dbtest.Eventually(t, "the reader ends", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return !r.isReading })
}

func TestPagesAreKeptWhileSomebodyResumes(t *testing.T) {
	t.Parallel()
	log := &tape{events: changes(100), perPage: 10}
	r := &pages{log: log}
	left := r.join()
	for behind := uint64(0); behind < 100; behind += 10 {
		if _, err := r.after(t.Context(), behind, 100); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() int { r.mu.Lock(); defer r.mu.Unlock(); return len(r.kept) }
	if n := kept(); n != pagesKept {
		t.Errorf("%d pages kept", n)
	}
	left()
	if n := kept(); n != 0 {
		t.Errorf("%d pages kept without clients", n)
	}
}

// blockedLog runs a hook before a page is read.
type blockedLog struct {
	*tape
	hook func(ctx context.Context)
}

func (l *blockedLog) After(ctx context.Context, behind, until uint64) (page event.Page, err error) {
	l.hook(ctx)
	return l.tape.After(ctx, behind, until)
}
