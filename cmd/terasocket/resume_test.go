package main

import (
	"fmt"
	"slices"
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
	announceAll(t, pool)
}

func announceAll(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	dbtest.Announce(t, conn.Conn(), 2000)
}

// A gateway whose clients come back.
func TestResume(t *testing.T) {
	t.Parallel()
	gateway := serve(t, dbtest.New(t, migrated()))
	gateway.part("rubbish in the log costs no neighbour", rubbish)
	gateway.part("who heard half a transaction hears the rest", halfATransaction)
	gateway.part("no gap at the seam under load", theSeam)
	gateway.part("a client that comes back misses nothing", missesNothing)
	gateway.part("a client is told when the log does not reach back", logDoesNotReachBack)
	gateway.part("an epoch that ends", epochEnds)
	gateway.part("a project without a site", projectWithoutASite)
}

func missesNothing(t *testing.T, gateway *served) {
	pool := dbtest.Pool(t, gateway.dbURL)
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
	const rounds = 30
	for round := range rounds { // 600 rows: more than two pages
		dbtest.Exec(t, pool, "UPDATE t_participants SET participant_name = $1 WHERE id_participant BETWEEN 6 AND 24", fmt.Sprint("round ", round))
		renameAlone(t, pool, 1, fmt.Sprint("end ", round))
	}
	dbtest.Exec(t, pool, "UPDATE t_participants SET id_project = 4, id_participant_group = NULL WHERE id_participant = 2")
	renameAlone(t, pool, 2, "not his any more")

	paul = gateway.resume(cursor)
	paul.mustHearNames("missed 1", "early change")
	for round := range rounds {
		paul.mustHearNames(append(slices.Repeat([]string{fmt.Sprint("round ", round)}, 19), fmt.Sprint("end ", round))...)
	}
	paul.mustHear(pb.DatabaseEvent_DB_DELETE, "participant", `"id_participant": 2`)
	renameAlone(t, pool, 1, "live")
	cursor = paul.mustHearNames("live").Seq
	_ = paul.conn.Close()

	// current rights apply: paul lost his role while he was away
	renameAlone(t, pool, 1, "before he lost it")
	lost := dbtest.One[[]int64](t, pool, `WITH lost AS (UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user = $1 AND deleted_at IS NULL RETURNING id_user_user_group)
		SELECT array_agg(id_user_user_group) FROM lost`, opentera.DemoProjectAdminID)
	paul = gateway.resume(cursor)
	dbtest.Exec(t, pool, "UPDATE t_users SET user_lastname = 'Sentinel' WHERE user_username = $1", opentera.DemoProjectAdmin)
	paul.mustHear(pb.DatabaseEvent_DB_DELETE, "participant", `"id_participant": 1`) // he must forget it
	paul.mustHear(pb.DatabaseEvent_DB_UPDATE, "user", "Sentinel")
	dbtest.Exec(t, pool, "UPDATE t_users_users_groups SET deleted_at = NULL WHERE id_user_user_group = ANY ($1)", lost)
	renameAlone(t, pool, 1, "his again")
}

// A transaction of several objects is one announcement of several events: a client that received only the first has missed the
// others.
func halfATransaction(t *testing.T, gateway *served) {
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	gateway.exec(`BEGIN; UPDATE t_participants SET participant_name = 'half' WHERE id_participant = 2;
		UPDATE t_participants SET participant_name = 'rest' WHERE id_participant = 1; COMMIT`)
	cursor := paul.mustHearNames("half").Seq
	_ = paul.conn.Close()
	gateway.resume(cursor).mustHearNames("rest")
}

func logDoesNotReachBack(t *testing.T, gateway *served) {
	pool := dbtest.Pool(t, gateway.dbURL)
	first := uint64(dbtest.One[int64](t, pool, "SELECT min(seq) FROM terasocket.events WHERE object_type = 'participant'"))
	trim(t, gateway.dbURL, first+1)
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
func theSeam(t *testing.T, gateway *served) {
	pool := dbtest.Pool(t, gateway.dbURL)
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	total := dbtest.Many(300, 120)
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

// trim forgets the log up to seq.
func trim(t *testing.T, url string, seq uint64) {
	t.Helper()
	psql(t, url, fmt.Sprintf("BEGIN; DELETE FROM terasocket.events WHERE seq <= %[1]d; UPDATE terasocket.trimmed SET seq = %[1]d; COMMIT", seq))
}
