package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/proto/event"
	pb "terasocket/proto/opentera"
	"terasocket/proto/terasocket"
)

// resume reconnects paul, who has received the log up to seq.
func (s *served) resume(seq uint64) *socket {
	s.t.Helper()
	return s.login(opentera.DemoProjectAdmin, fmt.Sprintf("&since=%d", seq))
}

// mustHearNames reads participant events and compares their names, in order. No other events may come between them.
func (s *socket) mustHearNames(names ...string) (last event.Received) {
	s.t.Helper()
	for _, name := range names {
		last = s.mustHear(pb.DatabaseEvent_DB_UPDATE, "participant", `"participant_name": "`+name+`"`)
	}
	return last
}

func rename(t *testing.T, pool *pgxpool.Pool, participant int, name string) {
	t.Helper()
	dbtest.Exec(t, pool, "UPDATE t_participants SET participant_name = $1 WHERE id_participant = $2", name, participant)
}

// renameAlone announces the change, so that the next one is another event.
func renameAlone(t *testing.T, pool *pgxpool.Pool, participant int, name string) {
	t.Helper()
	rename(t, pool, participant, name)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	dbtest.Announce(t, conn.Conn(), 2000)
}

func TestAClientThatComesBackMissesNothing(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, url)
	gateway := serve(t, url)

	paul := gateway.login(opentera.DemoProjectAdmin, "")
	open, err := pool.Begin(t.Context()) // changes something now, and commits while paul is away
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Exec(t, open, "UPDATE t_participants SET participant_name = 'early change' WHERE id_participant = 5")
	renameAlone(t, pool, 1, "heard")
	cursor := paul.mustHearNames("heard").Seq
	_ = paul.conn.Close()

	renameAlone(t, pool, 61, "not his") // project 4
	renameAlone(t, pool, 1, "missed 1")
	if err := open.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := 2; i <= 600; i++ { // more than two pages
		renameAlone(t, pool, 1, fmt.Sprintf("missed %d", i))
	}
	dbtest.Exec(t, pool, "UPDATE t_participants SET id_project = 4, id_participant_group = NULL WHERE id_participant = 2")
	renameAlone(t, pool, 2, "not his any more")

	paul = gateway.resume(cursor)
	paul.mustHearNames("missed 1", "early change")
	for i := 2; i <= 600; i++ {
		paul.mustHearNames(fmt.Sprintf("missed %d", i))
	}
	paul.mustHear(pb.DatabaseEvent_DB_DELETE, "participant", `"id_participant": 2`)
	renameAlone(t, pool, 1, "live")
	cursor = paul.mustHearNames("live").Seq
	_ = paul.conn.Close()

	// current rights apply: paul lost his role while he was away
	renameAlone(t, pool, 1, "before he lost it")
	if _, err := pool.Exec(t.Context(), `UPDATE t_users_users_groups SET deleted_at = now()
		WHERE id_user = (SELECT id_user FROM t_users WHERE user_username = $1)`, opentera.DemoProjectAdmin); err != nil {
		t.Fatal(err)
	}
	paul = gateway.resume(cursor)
	dbtest.Exec(t, pool, "UPDATE t_users SET user_lastname = 'Sentinel' WHERE user_username = $1", opentera.DemoProjectAdmin)
	paul.mustHear(pb.DatabaseEvent_DB_DELETE, "participant", `"id_participant": 1`) // he must forget it
	paul.mustHear(pb.DatabaseEvent_DB_UPDATE, "user", "Sentinel")
}

// A transaction of several objects is one announcement of several events: a client that received only the first has missed the
// others.
func TestWhoHeardHalfATransactionHearsTheRest(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	gateway := serve(t, url)
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	psql(t, url, `BEGIN; UPDATE t_participants SET participant_name = 'half' WHERE id_participant = 2;
		UPDATE t_participants SET participant_name = 'rest' WHERE id_participant = 1; COMMIT`)
	cursor := paul.mustHearNames("half").Seq
	_ = paul.conn.Close()
	gateway.resume(cursor).mustHearNames("rest")
}

func TestAClientIsToldWhenTheLogDoesNotReachBack(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, url)
	gateway := serve(t, url)
	for i := range 5 {
		renameAlone(t, pool, 1, fmt.Sprint(i))
	}
	first := uint64(dbtest.One[int64](t, pool, "SELECT min(seq) FROM terasocket.events WHERE object_type = 'participant'"))
	psql(t, url, fmt.Sprintf("BEGIN; DELETE FROM terasocket.events WHERE seq <= %[1]d; UPDATE terasocket.trimmed SET seq = %[1]d; COMMIT", first+1))
	for _, cursor := range []uint64{first, 4711, 1<<64 - 1} { // trimmed, before the log began, not given out yet
		paul := gateway.resume(cursor)
		kind, data := paul.frame()
		e, err := event.ParseFrame(data)
		if err != nil {
			t.Fatalf("frame of kind %d: %v", kind, err)
		}
		incomplete, ok := e.Message.(*terasocket.ReplayIncomplete)
		if !ok || incomplete.GetOldestSeq() == 0 || e.Seq != cursor {
			t.Errorf("resuming from %d: first comes %s", cursor, describe(e))
		}
		name := fmt.Sprintf("after %d", cursor)
		renameAlone(t, pool, 1, name)
		paul.mustHearNames(name)
	}
	// json, with seq; what follows on the last that was trimmed is still there
	paul := gateway.login(opentera.DemoProjectAdmin, fmt.Sprintf("&encoding=json&since=%d", first+1))
	if _, data := paul.frame(); !strings.Contains(string(data), `"seq"`) || strings.Contains(string(data), "ReplayIncomplete") {
		t.Errorf("first comes %s", data)
	}
}

// The seam: somebody writes all the time while a client comes back again and again. Every name in order, each once.
func TestNoGapAtTheSeamUnderLoad(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, url)
	gateway := serve(t, url)
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	const total = 300
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range total {
			renameAlone(t, pool, 1, fmt.Sprint(i))
		}
	}()
	for n := range total {
		last := paul.mustHearNames(fmt.Sprint(n))
		if n%30 == 29 {
			_ = paul.conn.Close()
			paul = gateway.resume(last.Seq)
		}
	}
	<-done
}
