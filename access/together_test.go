package access_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// The first questions go at once, later ones together; an abandoned question is not asked, and an error reaches everybody of its round.
func TestTogether(t *testing.T) {
	t.Parallel()
	var together access.Together[string, string]
	asked, goOn := make(chan []string), make(chan error)
	ask := func(ctx context.Context, questions []string) ([]string, error) {
		asked <- questions
		err := <-goOn
		answers := make([]string, len(questions))
		for i, q := range questions {
			answers[i] = "answer to " + q
		}
		return answers, err
	}
	var all sync.WaitGroup
	var failed, answered atomic.Int32
	question := func(ctx context.Context, q string) {
		all.Go(func() {
			switch answer, err := together.Do(ctx, q, ask); {
			case err != nil:
				failed.Add(1)
			case answer == "answer to "+q:
				answered.Add(1)
			}
		})
	}
	question(t.Context(), "first")
	if got := <-asked; len(got) != 1 {
		t.Errorf("asked %q", got)
	}
	question(t.Context(), "second")
	if got := <-asked; len(got) != 1 {
		t.Errorf("asked %q", got)
	}
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := together.Do(ctx, "gone", ask)
		gone <- err
	}()
	for i := range 300 {
		question(t.Context(), fmt.Sprint(i))
	}
	together.Waits(t, 301)
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("abandoned question: %v", err)
	}
	goOn <- nil
	if got := <-asked; len(got) != 200 || strings.Contains(fmt.Sprint(got), "gone") {
		t.Errorf("%d asked", len(got))
	}
	goOn <- nil
	if got := <-asked; len(got) != 100 {
		t.Errorf("%d asked", len(got))
	}
	goOn <- errors.New("no") // one of the two rounds, unknown which
	goOn <- nil
	all.Wait()
	if f, a := failed.Load(), answered.Load(); f != 100 && f != 200 || f+a != 302 {
		t.Errorf("%d failed, %d answered", f, a)
	}
}

// Concurrent redemptions on two gateways: each token is accepted exactly once, whatever is redeemed beside it.
func TestTokensTogether(t *testing.T) {
	t.Parallel()
	here, pool := tokens(t)
	there := &access.Tokens{Pool: pool}
	const good = 100
	var all sync.WaitGroup
	var let [good]atomic.Int32
	var refusals, others atomic.Int32
	show := func(at *access.Tokens, kind access.Kind, token string, place int) {
		all.Go(func() {
			who, err := at.Redeem(t.Context(), kind, token)
			switch {
			case err == nil && place >= 0 && who.UUID == opentera.DemoProjectUserUUID && who.ID == opentera.DemoProjectUserID && who.Kind == access.User && who.Token > 0:
				let[place].Add(1)
			case errors.Is(err, access.ErrRefused) && who == access.Identity{}:
				refusals.Add(1)
			default:
				others.Add(1)
				t.Errorf("%+v, %v", who, err)
			}
		})
	}
	disabled := create(t, here, access.Participant, opentera.DemoParticipantUUID)
	dbtest.Exec(t, pool, "UPDATE t_participants SET participant_enabled = false WHERE participant_uuid = $1", opentera.DemoParticipantUUID)
	var minted [good]string
	for i := range minted {
		minted[i] = create(t, here, access.User, opentera.DemoProjectUserUUID)
	}
	for i, token := range minted {
		for range 2 {
			show(here, access.User, token, i)
			show(there, access.User, token, i)
		}
		show(here, access.Device, token, -1)
		show(there, access.User, fmt.Sprint("made up ", i, "\x00\xff"), -1)
	}
	show(here, access.Participant, disabled, -1)
	all.Wait()
	for i := range let {
		if n := let[i].Load(); n != 1 {
			t.Errorf("token %d let %d in", i, n)
		}
	}
	if n := refusals.Load(); n != 5*good+1 || others.Load() != 0 {
		t.Errorf("%d refused, want %d", n, 5*good+1)
	}
	if left := dbtest.One[int](t, pool, "SELECT count(*) FROM terasocket.connect_tokens"); left != 0 {
		t.Errorf("%d tokens are left", left)
	}
}

// A token that another transaction holds, such as an uncommitted kick, delays nobody else; it is valid again after a rollback.
func TestTokenHeldByATransaction(t *testing.T) {
	t.Parallel()
	door, pool := tokens(t)
	held, free := create(t, door, access.User, opentera.DemoProjectUserUUID), create(t, door, access.Device, opentera.DemoDeviceUUID)
	other, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Exec(t, other, "DELETE FROM terasocket.connect_tokens WHERE uuid = $1", opentera.DemoProjectUserUUID)
	waits := make(chan error)
	go func() {
		_, err := door.Redeem(t.Context(), access.User, held)
		waits <- err
	}()
	dbtest.Eventually(t, "it waits", func() bool {
		return dbtest.One[int](t, pool, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == 1
	})
	if _, err := door.Redeem(t.Context(), access.Device, free); err != nil {
		t.Errorf("another's: %v", err)
	}
	_ = other.Rollback(t.Context())
	if err := <-waits; err != nil {
		t.Errorf("the kick did not happen: %v", err)
	}
	refused(t, door, access.User, held)
}

// BenchmarkRedeem measures what one token costs PostgreSQL, alone and among 100 concurrent ones; the client's side is in ns/op.
func BenchmarkRedeem(b *testing.B) {
	for _, together := range []int{1, 100} {
		b.Run(fmt.Sprint(together, " at once"), func(b *testing.B) {
			_, pool := tokens(b)
			config := pool.Config()
			config.MaxConns = 1
			one, err := pgxpool.NewWithConfig(b.Context(), config)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(one.Close)
			door := &access.Tokens{Pool: one}
			backend := uint32(dbtest.One[int](b, one, "SELECT pg_backend_pid()"))
			minted := make([]string, together)
			var used, took time.Duration
			for b.Loop() {
				for i := range minted {
					minted[i] = create(b, &access.Tokens{Pool: pool}, access.User, opentera.DemoProjectUserUUID)
				}
				before, began := dbtest.CPU(b, backend), time.Now()
				var all sync.WaitGroup
				for _, token := range minted {
					all.Go(func() {
						if _, err := door.Redeem(b.Context(), access.User, token); err != nil {
							b.Error(err)
						}
					})
				}
				all.Wait()
				took += time.Since(began)
				used += dbtest.CPU(b, backend) - before
			}
			b.ReportMetric(float64(used.Microseconds())/float64(b.N*together), "postgres-us/token")
			b.ReportMetric(float64(took.Microseconds())/float64(b.N*together), "us/token")
		})
	}
}
