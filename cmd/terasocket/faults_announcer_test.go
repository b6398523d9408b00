package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// sleepers is SQL for the announcers that are sleeping in an announcement.
const sleepers = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'terasocket' AND wait_event = 'PgSleep'"

// makeSleep makes the first attempts to announce sleep at a step: before a statement on one of our tables.
func makeSleep(t *testing.T, url, statement, table string, attempts int) (undo func()) {
	t.Helper()
	psql(t, url, fmt.Sprintf(`CREATE SEQUENCE public.attempts; GRANT ALL ON public.attempts TO PUBLIC;
		CREATE FUNCTION public.sleep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('public.attempts') <= %d THEN PERFORM pg_sleep(600); END IF; RETURN NULL; END $$;
		CREATE TRIGGER sleep BEFORE %s ON terasocket.%s EXECUTE FUNCTION public.sleep()`, attempts, statement, table))
	return func() {
		t.Helper()
		psql(t, url, "DROP FUNCTION public.sleep CASCADE; DROP SEQUENCE public.attempts")
	}
}

// Two gateways, whose announcements fail. One of them announces the change, once.
func TestFailingAnnouncements(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	gateway, other := serve(t, url), serve(t, url)
	gateway.part("the announcer is killed at each step", func(t *testing.T, gateway *served) { announcerIsKilled(t, gateway, other) })
	gateway.part("announcements are cancelled", announcementsAreCancelled)
	gateway.part("a poisoned object", poisonedObject)
}

func announcerIsKilled(t *testing.T, gateway, other *served) {
	url, pool := gateway.dbURL, dbtest.Pool(t, gateway.dbURL)
	clients := []*socket{gateway.login(opentera.DemoProjectAdmin, ""), other.login(opentera.DemoProjectAdmin, "")}
	for i, step := range []struct{ statement, table string }{
		{"INSERT", "told"}, {"DELETE", "changes"}, {"INSERT", "events"}, {"INSERT", "announcements"},
	} {
		undo := makeSleep(t, url, step.statement, step.table, 1)
		name := fmt.Sprint("step ", i)
		rename(t, pool, 1, name)
		dbtest.Eventually(t, "an announcer is at "+step.table, func() bool { return dbtest.One[int64](t, pool, "SELECT count(*) "+sleepers) == 1 })
		if n := dbtest.One[int64](t, pool, "SELECT count(pg_terminate_backend(pid)) "+sleepers); n != 1 {
			t.Errorf("%d killed", n)
		}
		for _, c := range clients {
			c.mustHearNames(name) // and, since the next one follows, only once
		}
		undo()
	}
}

// Announcing statements are cancelled again and again: no object is set aside because of that.
func announcementsAreCancelled(t *testing.T, gateway *served) {
	pool := dbtest.Pool(t, gateway.dbURL)
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	const times = 8
	undo := makeSleep(t, gateway.dbURL, "INSERT", "events", times)
	rename(t, pool, 1, "cancelled")
	dbtest.Eventually(t, "all of these attempts are cancelled", func() bool {
		dbtest.One[int64](t, pool, "SELECT count(pg_cancel_backend(pid)) "+sleepers)
		return dbtest.One[int64](t, pool, "SELECT last_value FROM attempts") > times
	})
	paul.mustHearNames("cancelled")
	undo()
	if n := dbtest.One[int64](t, pool, "SELECT count(*) FROM terasocket.set_aside"); n != 0 {
		t.Errorf("%d objects set aside", n)
	}
}

// One object cannot be announced: the others are, an operator can see it, and its next change brings it back.
func poisonedObject(t *testing.T, gateway *served) {
	pool := dbtest.Pool(t, gateway.dbURL)
	admin := gateway.login(opentera.DemoSuperadmin, "")
	gateway.exec(`CREATE FUNCTION public.poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.object_type = 'participant' AND NEW.id = 2 THEN RAISE 'poisoned' USING ERRCODE = '22000'; END IF; RETURN NEW; END $$;
		CREATE TRIGGER poison BEFORE INSERT OR UPDATE ON terasocket.told FOR EACH ROW EXECUTE FUNCTION public.poison();
		UPDATE t_participants SET id_project = 4, id_participant_group = NULL, participant_name = 'moved' WHERE id_participant IN (1, 2, 3)`)
	heard := map[int]bool{}
	for len(heard) < 2 {
		_, d := admin.event()
		for id := 1; id <= 3; id++ {
			if d.GetObjectType() == "participant" && strings.Contains(d.GetObjectValue(), fmt.Sprintf(`"id_participant": %d,`, id)) {
				heard[id] = true
			}
		}
	}
	if !heard[1] || !heard[3] {
		t.Errorf("heard of %v, want 1 and 3", heard)
	}
	gateway.waitFor(is("1"), "terasocket_set_aside_objects")
	gateway.exec("DROP TRIGGER poison ON terasocket.told")
	rename(t, pool, 2, "healed")
	for {
		if _, d := admin.event(); strings.Contains(d.GetObjectValue(), `"healed"`) {
			break
		}
	}
	if n := dbtest.One[int64](t, pool, "SELECT count(*) FROM terasocket.set_aside"); n != 0 {
		t.Errorf("%d objects set aside", n)
	}
}

// 100,000 changes pending at the start of a gateway are announced in parts, while new clients and new changes get through.
func TestManyChangesWaitAtTheStart(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, url)
	pile(t, pool, dbtest.Many(100_000, 25_000))
	gateway := serve(t, url)
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	rename(t, pool, 1, "after all that")
	for {
		if _, d := paul.event(); strings.Contains(d.GetObjectValue(), `"after all that"`) {
			break
		}
	}
	dbtest.Eventually(t, "all is announced", func() bool { return dbtest.One[int64](t, pool, "SELECT count(*) FROM terasocket.changes") == 0 })
	gateway.waitFor(func(v string) bool { return v != "" && v != "0" && len(v) > 1 }, "terasocket_announcements_total") // at 2,000 a time
}

// pile leaves n changes of the demo's participants, as written while no gateway runs.
func pile(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	began := time.Now()
	if _, err := pool.Exec(t.Context(), `INSERT INTO terasocket.changes (what, op, ids)
		SELECT 'participant', 'U', ARRAY[p.id] FROM generate_series(1, $1::int / 50) i, (SELECT id_participant::bigint AS id FROM t_participants ORDER BY 1 LIMIT 50) p`, n); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d changes in %v", n, time.Since(began).Round(time.Millisecond))
}
