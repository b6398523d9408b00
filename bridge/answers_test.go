package bridge

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"terasocket/bridge/standin"
)

// bridge.md 8: answers that are heard are compared, however long that takes; nobody is told of meanwhile, of whom they do not know.
func TestSlowComparison(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	said := s.overhear()
	s.leader(func(c *Config) { c.Answer = 300 * time.Millisecond })
	tx, err := s.idle("other").Pool.Begin(t.Context())
	s.must(err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE terasocket.online")
	s.must(err)
	s.eventually("the comparison waits", func() bool {
		return s.number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%bridge_reconcile%'") == 1
	})
	s.exec("INSERT INTO terasocket.connections (gateway, kind, principal) VALUES ($1::text::uuid, 'user', 3)", s.gateway)
	time.Sleep(time.Second)
	if said.count("USER_CONNECTED") != 0 {
		t.Error("somebody is told of")
	}
	s.must(tx.Rollback(t.Context()))
	s.isOnline(3)
}

// bridge.md 8.5: answers wait in the stream while what came before them cannot be written: they are compared right afterwards.
func TestAnswersWaitTheirTurn(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	b := s.leader(func(c *Config) { c.Lease, c.Answer = 10*time.Second, 500*time.Millisecond })
	s.connect("user", 3, 1)
	s.isOnline(3)
	s.quiet(b)
	tx, err := s.idle("other").Pool.Begin(t.Context())
	s.must(err)
	_, err = tx.Exec(t.Context(), "INSERT INTO terasocket.busy (kind, principal, session_uuid) VALUES ('user', 4, $1)", newUUID())
	s.must(err)
	s.must(s.service.Join(t.Context(), standin.Session{UUID: newUUID(), Users: []string{s.user(4)}}))
	s.eventually("the writer waits", func() bool {
		return s.number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%bridge_take%'") == 1
	})
	failed := testutil.ToFloat64(b.metrics.reconcileErrors)
	s.must(s.manager.Stop(t.Context()))
	s.opentera()
	s.eventually("it has asked", func() bool { return b.stream.holds(b.sub.replies) })
	time.Sleep(time.Second)
	s.must(tx.Rollback(t.Context()))
	s.isOnline(3)
	if n := testutil.ToFloat64(b.metrics.reconcileErrors) - failed; n != 0 {
		t.Errorf("%v comparisons failed", n)
	}
}

// While the user manager listens and answers nothing, it is told who comes and goes.
func TestToldWithoutAnswers(t *testing.T) {
	t.Parallel()
	s := setup(t)
	mute := s.client.Subscribe(t.Context(), rpcTopic)
	defer mute.Close()
	_, err := mute.Receive(t.Context())
	s.must(err)
	said := s.overhear()
	s.leader(func(c *Config) { c.Answer = 200 * time.Millisecond })
	s.connect("user", 3, 1)
	s.eventually("it is told", func() bool { return said.count("USER_CONNECTED") == 1 })
}

// A user manager that answers nothing is not waited for.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.idle("here")
	b.Answer = 50 * time.Millisecond
	r := s.reign(b)
	if _, err := r.ask(t.Context()); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := r.ask(ended); err == nil {
		t.Error("it was asked")
	}
}
