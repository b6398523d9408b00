package eventlog_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"terasocket/db/dbtest"
	"terasocket/proto/event"
)

// A change in OpenTera becomes an event of an object.
func TestAChangeIsAnnounced(t *testing.T) {
	g := setup(t, options{})
	g.exec("UPDATE t_sites SET site_name = 'renamed' WHERE id_site = 1")
	g.publish(g.pool, "end")
	heard := g.hear("end")
	e := heard[0]
	if e.Kind != event.Object || e.ObjectType != "site" || e.ObjectID != 1 || e.Present == "" || e.Present != e.Former || e.Announcement == 0 {
		t.Errorf("%+v", e)
	}
	if frame, err := e.Encode(event.Update, event.JSON); err != nil || !strings.Contains(string(frame), "renamed") {
		t.Errorf("%s, %v", frame, err)
	}
	dbtest.Eventually(t, "all is delivered", func() bool { return g.value("terasocket_announcements_total") >= 1 })
}

// One gateway announces; the others wait until it is done and read the same rows.
func TestAnnouncersWaitForEachOther(t *testing.T) {
	g := setup(t, options{})
	other := begin(t, g.url, g.pool, options{})
	lock := g.tx()
	dbtest.Exec(t, lock, "LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE")
	g.publish(g.pool, "waits")
	dbtest.Eventually(t, "both have found the lock taken", func() bool {
		return g.value("terasocket_announce_busy_total") > 1 && other.value("terasocket_announce_busy_total") > 1
	})
	if g.progress.Lag() == 0 {
		t.Error("a change waits, and the lag is 0")
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.mustHear("waits")
	other.mustHear("waits")
	dbtest.Eventually(t, "nobody waits any longer", func() bool {
		// a gateway stops asking once the log shows that its hint is covered
		before := g.value("terasocket_announcements_total") + other.value("terasocket_announcements_total")
		time.Sleep(20 * time.Millisecond)
		return before == g.value("terasocket_announcements_total")+other.value("terasocket_announcements_total")
	})
	if busy := g.value("terasocket_announce_errors_total"); busy != 0 {
		t.Errorf("%v errors: another announcer is not an error", busy)
	}
}

// Announcers are killed at arbitrary points: nothing is lost or announced twice.
func TestAnAnnouncerThatDies(t *testing.T) {
	g := setup(t, options{poll: 100 * time.Millisecond})
	killed := dbtest.Pool(t, g.url+"&application_name=dies")
	other := begin(t, g.url, killed, options{poll: 100 * time.Millisecond})
	const n = 200
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
	}
	var group errgroup.Group
	group.Go(func() error {
		for i := range n {
			if _, err := g.pool.Exec(t.Context(), publish, want[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		for range 20 {
			if _, err := g.pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE application_name = 'dies' AND datname = current_database()`); err != nil {
				return err
			}
			time.Sleep(10 * time.Millisecond)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	g.mustHear(want...)
	other.mustHear(want...)
}

// A failing object is found by smaller and smaller announcements, down to one object each; afterwards they grow again.
func TestAFailureMakesAnnouncementsSmaller(t *testing.T) {
	g := setup(t, options{})
	fake(g, `IF at_most > 300 THEN RAISE 'too many: %', at_most USING ERRCODE = '22012'; END IF;`)
	g.publish(g.pool, "x")
	dbtest.Eventually(t, "it fails, and then works", func() bool { return g.log.Count("objects=500") > 0 && g.progress.Lag() == 0 })
	for part, want := range map[string]int{"objects=2000 careful=false": 1, "objects=1000 careful=true": 1, "objects=500 careful=true": 1, "objects=250": 0} {
		if got := g.log.Count(part); got != want {
			t.Errorf("%q is in the log %d times, want %d", part, got, want)
		}
	}
	g.publish(g.pool, "y")
	dbtest.Eventually(t, "they grow again, and fail", func() bool { return g.log.Count("objects=500 careful=true") > 1 })
}

// Changes that do not fit into the server's memory are announced in smaller parts, and no object is set aside.
func TestAnnouncementsThatDoNotFit(t *testing.T) {
	g := setup(t, options{})
	fake(g, `IF at_most > 300 THEN RAISE 'out of memory' USING ERRCODE = '53200'; ELSIF careful THEN RAISE 'careful'; END IF;`)
	g.publish(g.pool, "x")
	dbtest.Eventually(t, "it works", func() bool { return g.log.Count("objects=500 careful=false") > 0 && g.progress.Lag() == 0 })
}

// fake replaces announce() by a function that announces nothing.
func fake(g *gateway, body string) {
	g.t.Helper()
	g.exec(`CREATE OR REPLACE FUNCTION terasocket.announce(at_most integer DEFAULT 2000, careful boolean DEFAULT false, last_seen bigint DEFAULT 0,
		OUT epoch bigint, OUT last_seq bigint, OUT announced integer, OUT more boolean) LANGUAGE plpgsql AS $fake$
		BEGIN epoch := 1; last_seq := 0; announced := 0; more := false; ` + body + ` END $fake$`)
}

// An announcement that takes too long is retried with fewer objects, and at last without the offending object.
func TestAnObjectWhoseAnnouncementNeverEndsIsSetAside(t *testing.T) {
	g := setup(t, options{limit: 100 * time.Millisecond})
	g.exec("CREATE TABLE aside (at timestamptz)")
	fake(g, `IF NOT EXISTS (SELECT FROM public.aside) THEN PERFORM pg_sleep(10); END IF;`)
	g.exec(`CREATE OR REPLACE FUNCTION terasocket.set_aside_next() RETURNS void LANGUAGE sql AS 'INSERT INTO public.aside VALUES (now())'`)
	g.publish(g.pool, "x")
	dbtest.Eventually(t, "it is set aside", func() bool { return scan[int](g, "SELECT count(*) FROM aside") == 1 })
	dbtest.Eventually(t, "the rest is announced", func() bool { return g.progress.Lag() == 0 })
	if g.log.Count("is set aside until its next change") != 1 {
		t.Error("the log has no event of it")
	}
}

// A statement that cannot work is reported, not retried in silence.
func TestMissingFunctionIsReported(t *testing.T) {
	g := setup(t, options{poll: 20 * time.Millisecond})
	g.exec("ALTER FUNCTION terasocket.announce RENAME TO renounce")
	g.publish(g.pool, "kept")
	dbtest.Eventually(t, "the error is reported", func() bool { return g.progress.Err(time.Hour) != nil })
	if err := g.progress.Err(time.Hour); !strings.Contains(err.Error(), "does not exist") {
		t.Error(err)
	}
	g.exec("ALTER FUNCTION terasocket.renounce RENAME TO announce")
	g.mustHear("kept")
	dbtest.Eventually(t, "the error is cleared", func() bool { return g.progress.Err(time.Hour) == nil })
}

// A gateway that cannot LISTEN does not announce: it would not know what others have announced since.
func TestAGatewayThatDoesNotListenDoesNotAnnounce(t *testing.T) {
	g := setup(t, options{poll: 10 * time.Millisecond})
	name := scan[string](g, "SELECT current_database()")
	admin := dbtest.Conn(t, strings.Replace(g.url, name, "postgres", 1))
	allow := func(yes bool) {
		t.Helper()
		dbtest.Exec(t, admin, fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", name, yes))
	}
	g.exec("SELECT pg_sleep(0)")
	allow(false)
	g.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'terasocket listener' AND datname = current_database()`)
	dbtest.Eventually(t, "it does not listen", func() bool { return !g.listener.Connected() })
	dbtest.Eventually(t, "no announcement is under way", func() bool {
		return scan[int](g, "SELECT count(*)::integer FROM pg_stat_activity WHERE query LIKE '%terasocket.announce(%' AND state <> 'idle' AND pid <> pg_backend_pid()") == 0
	})
	before := g.value("terasocket_announcements_total")
	g.publish(g.pool, "kept")
	time.Sleep(100 * time.Millisecond) // ten poll intervals
	if n := g.value("terasocket_announcements_total"); n != before {
		t.Errorf("announced %v times", n-before)
	}
	if g.progress.Lag() == 0 {
		t.Error("the lag is 0 while LISTEN is down")
	}
	allow(true)
	g.mustHear("kept")
}

// The memory of announcements is filled again while the gateway runs: a new epoch begins, and everybody starts anew.
func TestTheMemoryIsFilledAgain(t *testing.T) {
	g := setup(t, options{})
	g.exec("UPDATE terasocket.filling SET fill_type = 'start', fill_id = 0")
	g.publish(g.pool, "makes it announce")
	g.mustBreak()
	g.publish(g.pool, "after")
	g.hear("after")
	if scan[int](g, "SELECT count(*) FROM terasocket.holdings") == 0 {
		t.Error("nobody holds anything")
	}
}
