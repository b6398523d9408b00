package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/proto/event"
	pb "terasocket/proto/opentera"
	"terasocket/proto/terasocket"
)

// resume connects paul again, who has heard the log up to seq.
func (s *served) resume(seq uint64) *socket {
	s.t.Helper()
	return s.login(opentera.DemoProjectAdmin, fmt.Sprintf("&since=%d", seq))
}

// mustHearNames reads participant events and compares the names in them, in order. Between them, nothing else may come.
func (s *socket) mustHearNames(names ...string) (last event.Received) {
	s.t.Helper()
	for _, name := range names {
		last = s.mustHear(pb.DatabaseEvent_DB_UPDATE, "participant", `"participant_name": "`+name+`"`)
	}
	return last
}

func rename(t *testing.T, pool *pgxpool.Pool, participant int, name string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), "UPDATE t_participants SET participant_name = $1 WHERE id_participant = $2", name, participant); err != nil {
		t.Fatal(err)
	}
}

// renameAlone waits until the change is announced: the next one is another event.
func renameAlone(t *testing.T, pool *pgxpool.Pool, participant int, name string) {
	t.Helper()
	rename(t, pool, participant, name)
	for isThere := false; !isThere; {
		if err := pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM terasocket.events WHERE object_type = 'participant' AND object_id = $1
			AND body ->> 'participant_name' = $2)`, participant, name).Scan(&isThere); err != nil {
			t.Fatal(err)
		}
	}
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
	if _, err := open.Exec(t.Context(), "UPDATE t_participants SET participant_name = 'early change' WHERE id_participant = 5"); err != nil {
		t.Fatal(err)
	}
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
	if _, err := pool.Exec(t.Context(), "UPDATE t_participants SET id_project = 4, id_participant_group = NULL WHERE id_participant = 2"); err != nil {
		t.Fatal(err)
	}
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

	// rights are those of now: paul lost his role while he was away
	renameAlone(t, pool, 1, "before he lost it")
	if _, err := pool.Exec(t.Context(), `UPDATE t_users_users_groups SET deleted_at = now()
		WHERE id_user = (SELECT id_user FROM t_users WHERE user_username = $1)`, opentera.DemoProjectAdmin); err != nil {
		t.Fatal(err)
	}
	paul = gateway.resume(cursor)
	if _, err := pool.Exec(t.Context(), "UPDATE t_users SET user_lastname = 'Sentinel' WHERE user_username = $1", opentera.DemoProjectAdmin); err != nil {
		t.Fatal(err)
	}
	paul.mustHear(pb.DatabaseEvent_DB_DELETE, "participant", `"id_participant": 1`) // he is to forget it
	paul.mustHear(pb.DatabaseEvent_DB_UPDATE, "user", "Sentinel")
}

// A transaction of several statements, older than another that has ended meanwhile: who heard only its first row has
// missed the others, though the snapshot of that row seems to see its own transaction.
func TestWhoHeardHalfATransactionHearsTheRest(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, url)
	gateway := serve(t, url)
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	old, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	update := func(name string) {
		t.Helper()
		if _, err := old.Exec(t.Context(), "UPDATE t_participants SET participant_name = $1 WHERE id_participant = 2", name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := old.Exec(t.Context(), "SELECT pg_current_xact_id()"); err != nil {
		t.Fatal(err)
	}
	rename(t, pool, 1, "ends first")
	update("half")
	update("rest")
	if err := old.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	paul.mustHearNames("ends first")
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
		rename(t, pool, 1, fmt.Sprint(i))
	}
	if _, err := pool.Exec(t.Context(), "DELETE FROM terasocket.events WHERE seq <= 3"); err != nil {
		t.Fatal(err)
	}
	for _, cursor := range []uint64{2, 4711, 1<<64 - 1} {
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
		rename(t, pool, 1, name)
		paul.mustHearNames(name)
	}
	// json, with seq; 4 is still there
	paul := gateway.login(opentera.DemoProjectAdmin, "&encoding=json&since=4")
	if _, data := paul.frame(); !strings.Contains(string(data), `"seq"`) || strings.Contains(string(data), "ReplayIncomplete") {
		t.Errorf("first comes %s", data)
	}
}

// The seam: somebody writes all the time while a client comes back again and again. Every name in order; once, but for
// those that it hears again at the beginning of a resume (transactions of other databases on the server that were open).
func TestNoGapAtTheSeamUnderLoad(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, url)
	gateway := serve(t, url)
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	const total = 1500
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range total {
			if _, err := pool.Exec(t.Context(), "UPDATE t_participants SET participant_name = $1 WHERE id_participant = 1", fmt.Sprint(i)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	heard, isAgain := 0, false
	for heard < total {
		last, d := paul.event()
		var object struct {
			Name string `json:"participant_name"`
		}
		if err := json.Unmarshal([]byte(d.GetObjectValue()), &object); err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(object.Name)
		if err != nil {
			t.Fatal(err)
		}
		if isAgain && n < heard {
			continue
		}
		isAgain = false
		if n != heard {
			t.Fatalf("heard %d, want %d", n, heard)
		}
		heard++
		if heard%300 == 0 && heard < total {
			_ = paul.conn.Close()
			paul = gateway.resume(last.Seq)
			isAgain = true
		}
	}
	<-done
}
