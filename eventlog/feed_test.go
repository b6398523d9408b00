package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"terasocket/db/dbtest"
	"terasocket/proto/event"
)

func TestEventsComeInTheOrderOfTheLog(t *testing.T) {
	g := setup(t, options{})
	first, second := g.tx(), g.tx()
	g.publish(first, "first 1", "first 2")
	g.publish(second, "committed first")
	g.commit(second)
	g.mustHear("committed first")
	g.publish(first, "first 3")
	g.commit(first)
	g.mustHear("first 1", "first 2", "first 3")
	if lag := g.progress.Lag(); lag > time.Second { // the last events count as delivered only when Next is called again
		t.Errorf("lag %v", lag)
	}
}

func TestBeginSkipsEarlierEvents(t *testing.T) {
	g := setup(t, options{})
	g.publish(g.pool, "history")
	open := g.tx()
	g.publish(open, "open at the start")
	g.mustHear("history")

	late := begin(t, g.url, g.pool, options{silent: true})
	if late.beginning.Epoch == 0 || late.beginning.Seq < late.beginning.Epoch || late.beginning.Seq != g.feed.LastSeen() {
		t.Errorf("%+v", late.beginning)
	}
	if len(late.beginning.Aliases) == 0 {
		t.Error("no aliases")
	}
	g.commit(open)
	late.mustHear("open at the start")
}

func TestNothingIsLostOrDoubledAcrossALostConnection(t *testing.T) {
	g := setup(t, options{})
	open := g.tx()
	g.publish(open, "open all the while")
	g.publish(g.pool, "before")
	g.mustHear("before")
	g.publish(g.pool, "announced and lost") // its notification may arrive before the kill or not
	g.killListeners()
	g.publish(g.pool, "after")
	g.commit(open)
	g.publish(g.pool, "end")
	g.mustHearEachOnce("end", "announced and lost", "after", "open all the while", "end")
}

func (g *gateway) mustHearEachOnce(last string, want ...string) {
	g.t.Helper()
	count := map[string]int{}
	heard := marks(g.hear(last))
	for _, h := range heard {
		count[h]++
	}
	for _, w := range want {
		if count[w] != 1 {
			g.t.Errorf("%q received %d times in %q", w, count[w], heard)
		}
	}
	if len(heard) != len(want) {
		g.t.Errorf("received %q, want %d events", heard, len(want))
	}
}

// Many writers with overlapping transactions, two announcing gateways, and their listeners killed repeatedly: every event arrives once,
// in the same order at both gateways, and each writer's events in their order.
func TestNoEventIsLostUnderLoadAndKills(t *testing.T) {
	g := setup(t, options{})
	other := begin(t, g.url, g.pool, options{})
	const writers, each = 4, 100
	var group errgroup.Group
	for w := range writers {
		group.Go(func() error {
			for i := range each {
				tx, err := g.pool.Begin(t.Context())
				if err != nil {
					return err
				}
				if _, err := tx.Exec(t.Context(), publish, []string{fmt.Sprintf("%d/%d", w, i)}); err != nil {
					return err
				}
				if i%7 == 0 {
					time.Sleep(3 * time.Millisecond) // let others overtake
				}
				if err := tx.Commit(t.Context()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		for range 5 {
			if _, err := g.pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE application_name = 'terasocket listener' AND datname = current_database()`); err != nil {
				return err
			}
			time.Sleep(30 * time.Millisecond)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	g.publish(g.pool, "end")
	heard, same := marks(g.hear("end")), marks(other.hear("end"))
	if strings.Join(heard, " ") != strings.Join(same, " ") {
		t.Errorf("one gateway received %.300q, the other %.300q", heard, same)
	}
	if len(heard) != writers*each+1 {
		t.Errorf("received %d events", len(heard))
	}
	var next [writers]int
	for _, h := range heard[:len(heard)-1] {
		var w, i int
		if _, err := fmt.Sscanf(h, "%d/%d", &w, &i); err != nil || i != next[w] {
			t.Fatalf("%q came, want %d of its writer (%v)", h, next[w], err)
		}
		next[w]++
	}
}

func TestForgedNotificationDeliversNothing(t *testing.T) {
	g := setup(t, options{})
	g.publish(g.pool, "once")
	g.mustHear("once")
	uncommitted := g.tx()
	g.publish(uncommitted, "rolled back")
	for _, payload := range []string{"", "{", `{"xid": "1"}`, `{"xid": "9223372036854775807"}`, strings.Repeat("9", 7900), `{"seq": 1}`,
		`{"seq": 9223372036854775807, "snapshot": "1:9223372036854775807:"}`} {
		for _, channel := range []string{"terasocket", "terasocket_log"} {
			g.exec("SELECT pg_notify($1, $2)", channel, payload)
		}
	}
	if err := uncommitted.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.publish(g.pool, "sentinel")
	g.mustHear("sentinel")
	dbtest.Eventually(t, "no hint is left", func() bool {
		_ = g.value("terasocket_lag_seconds")
		return g.progress.Lag() < time.Second
	})
}

// However many notifications come, they cost one read every few milliseconds.
func TestForgedNotificationsCostAFewLooks(t *testing.T) {
	g := setup(t, options{})
	reads := func() float64 { return g.value("terasocket_announcements_total") }
	forged := dbtest.Conn(t, g.url)
	before, began, sent := reads(), time.Now(), 0
	for ; time.Since(began) < 2*time.Second; sent++ {
		if _, err := forged.Exec(t.Context(), `SELECT pg_notify('terasocket', '{"xid": "1", "what": "site", "op": "U", "ids": [1]}'), pg_notify('terasocket_log', '{"seq": 9223372036854775807}')`); err != nil {
			t.Fatal(err)
		}
	}
	if looks, most := reads()-before, float64(time.Since(began)/(5*time.Millisecond)+20); looks > most {
		t.Errorf("%d notifications cost %.0f looks, more than %.0f", sent, looks, most)
	} else {
		t.Logf("%d notifications, %.0f looks", sent, looks)
	}
	g.publish(g.pool, "sentinel")
	g.mustHear("sentinel")
}

func TestChangeWithoutNotificationIsFound(t *testing.T) {
	g := setup(t, options{poll: 50 * time.Millisecond})
	g.silently("silent")
	g.mustHear("silent")
	g.publish(g.pool, "end")
	g.mustHear("end")
}

// silently commits a message without a notification.
func (g *gateway) silently(mark string) {
	g.t.Helper()
	tx := g.tx()
	dbtest.Exec(g.t, tx, "SET LOCAL terasocket.notify = off")
	g.publish(tx, mark)
	g.commit(tx)
}

// A transaction that has notified cannot be prepared; a prepared one without a notification is found when it commits, however late.
func TestPreparedTransactions(t *testing.T) {
	g := setup(t, options{poll: 50 * time.Millisecond})
	name := scan[string](g, "SELECT current_database()")
	for _, when := range []string{"soon", "late", "never"} {
		tx := g.tx()
		dbtest.Exec(t, tx, "SET LOCAL terasocket.notify = off")
		g.publish(tx, when)
		dbtest.Exec(t, tx, fmt.Sprintf("PREPARE TRANSACTION '%s %s'", when, name))
	}
	g.publish(g.pool, "1")
	g.mustHear("1")
	g.exec("COMMIT PREPARED 'soon " + name + "'")
	g.mustHear("soon")
	g.killListeners()
	g.publish(g.pool, "2")
	g.mustHear("2")
	g.exec("ROLLBACK PREPARED 'never " + name + "'")
	g.exec("COMMIT PREPARED 'late " + name + "'")
	g.mustHear("late")
	g.publish(g.pool, "3")
	g.mustHear("3")
}

func TestALargeStatementComesWholeInPages(t *testing.T) {
	g := setup(t, options{pageRows: 100, atMost: 700})
	want := make([]string, 2345)
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	g.publish(g.pool, want...)
	g.mustHear(want...)
	g.publish(g.pool, "end")
	g.mustHear("end")
}

func TestAnEventOfAHundredKilobytesComesWhole(t *testing.T) {
	g := setup(t, options{})
	big := strings.Repeat("é", 50_000)
	g.publish(g.pool, big, "end")
	g.mustHear(big, "end")
}

// A page of large bodies is cut short and the next one follows at once, even if the stored bodies are highly compressed.
func TestPagesAreBoundedInBytes(t *testing.T) {
	g := setup(t, options{})
	const n, size = 50, 150_000
	letters := make([]byte, size) // random: hardly compressible
	for i := range letters {
		letters[i] = byte('a' + rand.IntN(26))
	}
	for _, big := range [][]string{slices.Repeat([]string{string(letters)}, n), slices.Repeat([]string{strings.Repeat("a", size)}, n)} {
		behind, tx := g.feed.LastSeen(), g.tx()
		g.publish(tx, append(big, "end")...)
		g.commit(tx)
		g.mustHear(append(big, "end")...)
		seen := 0
		for isLast := false; !isLast; {
			page, err := g.history.After(t.Context(), behind, g.feed.LastSeen())
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Events) > 5<<20/size {
				t.Errorf("%d rows of 150 kB in one page", len(page.Events))
			}
			seen += len(page.Events)
			behind, isLast = page.Last, page.IsLast
		}
		if seen != n+1 {
			t.Errorf("%d rows, want %d", seen, n+1)
		}
	}
}

// A restarted, restored or promoted server is another epoch to a gateway. (The test changes the row instead of the server.)
func TestAnotherEpoch(t *testing.T) {
	g := setup(t, options{})
	g.publish(g.pool, "before")
	g.mustHear("before")
	before := g.feed.LastSeen()
	g.exec("UPDATE terasocket.epochs SET started_at = started_at - interval '1 hour'")
	g.publish(g.pool, "while nobody knows")
	g.mustBreak()
	if g.beginning.Seq <= before {
		t.Errorf("seq %d after %d", g.beginning.Seq, before)
	}
	g.publish(g.pool, "after")
	if heard := g.hear("after"); heard[0].Seq <= before {
		t.Errorf("seq %d after %d", heard[0].Seq, before)
	}
	g.killListeners() // no notifications
	g.publish(g.pool, "end")
	g.mustHear("end")
}

func TestRowsTrimmedBeforeTheyWereReadAreMissing(t *testing.T) {
	g := setup(t, options{pageRows: 2})
	g.publish(g.pool, "1", "2", "3", "4")
	if events, err := g.feed.Next(t.Context()); err != nil || len(events) != 2 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	g.trim("3")
	g.mustBreak()
	g.publish(g.pool, "end")
	g.mustHear("end")
}

// Trimming removes rows that were handed out: nothing is missing.
func TestATrimmedLogIsNotBroken(t *testing.T) {
	g := setup(t, options{})
	g.publish(g.pool, "1", "2")
	g.mustHear("1", "2")
	g.trim("1")
	g.killListeners()
	g.publish(g.pool, "3")
	g.mustHear("3")
	g.trim("3")
	g.killListeners()
	g.publish(g.pool, "4")
	g.mustHear("4")
}

// A row is gone although trimmed did not move: somebody has deleted it.
func TestDeletedRowIsMissing(t *testing.T) {
	g := setup(t, options{pageRows: 2})
	g.publish(g.pool, "1", "2", "3", "4")
	if _, err := g.feed.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.exec("DELETE FROM terasocket.events WHERE body ->> 'userFullname' = '3'")
	g.mustBreak()
}

func (g *gateway) seqOf(mark string) uint64 {
	g.t.Helper()
	return scan[uint64](g, "SELECT seq FROM terasocket.events WHERE body ->> 'userFullname' = $1", mark)
}

// trim removes the rows up to this one.
func (g *gateway) trim(last string) {
	g.t.Helper()
	g.exec(`WITH gone AS (DELETE FROM terasocket.events WHERE seq <= $1) UPDATE terasocket.trimmed SET seq = $1`, g.seqOf(last))
}

func TestADatabaseErrorMovesNothing(t *testing.T) {
	announcing := setup(t, options{})
	g := begin(t, announcing.url, announcing.pool, options{silent: true, poll: 20 * time.Millisecond})
	g.exec("ALTER TABLE terasocket.events RENAME COLUMN topic TO subject")
	if _, err := g.feed.Next(t.Context()); !errors.Is(err, event.ErrUnusable) {
		t.Fatalf("reading a log without its column: %v", err)
	}
	if err := g.progress.Err(time.Hour); !errors.Is(err, event.ErrUnusable) {
		t.Errorf("ready: %v", err)
	}
	if _, err := g.history.After(t.Context(), 0, 1); !errors.Is(err, event.ErrUnusable) {
		t.Errorf("history: %v", err)
	}
	g.exec("ALTER TABLE terasocket.events RENAME COLUMN subject TO topic")
	g.publish(g.pool, "kept")
	announcing.mustHear("kept")
	g.mustHear("kept")
	if err := g.progress.Err(time.Hour); err != nil {
		t.Errorf("ready: %v", err)
	}
}

// append adds a row to the log as announce() would.
func (g *gateway) append(typeName, objectType, body string) {
	g.t.Helper()
	g.exec(`WITH a AS (UPDATE terasocket.announcements SET last_seq = last_seq + 1 WHERE announcement = (SELECT max(announcement) FROM terasocket.announcements) RETURNING last_seq, announcement)
		INSERT INTO terasocket.events (seq, announcement, at, topic, type, object_type, object_id, body)
		SELECT last_seq, announcement, now(), '', $1, nullif($2, ''), 1, $3::jsonb FROM a`, typeName, objectType, body)
}

func TestUndecodableRowIsSkipped(t *testing.T) {
	g := setup(t, options{})
	g.append("opentera.protobuf.UserEvent", "", `{"unheard": "of"}`)
	g.publish(g.pool, "after")
	g.mustHear("after")
	if n := g.value("terasocket_events_refused_total"); n != 1 {
		t.Errorf("%v were counted", n)
	}
	if g.log.Count("event refused") != 1 || g.log.Count("unheard") != 0 {
		t.Error("the error is not logged once, or the log contains a body")
	}
	// an undecodable row of rights: begin anew
	g.append("terasocket.Rights", "site", `{"gained": ["x"]}`)
	g.publish(g.pool, "lost")
	dbtest.Eventually(t, "it is announced", func() bool {
		return scan[bool](g, "SELECT EXISTS (SELECT FROM terasocket.events WHERE body ->> 'userFullname' = 'lost')")
	})
	g.mustBreak()
	g.publish(g.pool, "end")
	g.mustHear("end")
}

// While an announcement of rights is in progress, a principal's present and former tags differ; a gateway that begins knows only one set.
func TestTheBeginningIsSettled(t *testing.T) {
	g := setup(t, options{})
	other := run(t, g.url, g.pool, options{silent: true})
	release := g.holdAnnouncements("filling")
	g.exec("UPDATE terasocket.announcements SET is_settled = false WHERE last_seq > 0")
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := other.feed.Begin(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it began: %v", err)
	}
	release()
	g.publish(g.pool, "settles it")
	heard := g.hear("Settled")
	other.begin()
	if other.beginning.Seq < heard[len(heard)-1].Seq {
		t.Errorf("it began at %d", other.beginning.Seq)
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	g := setup(t, options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if events, err := g.feed.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// After a server restart the log may belong to a restored state: nobody begins with it before an announcer has checked.
func TestNoBeginningInAnEpochOfAnotherRun(t *testing.T) {
	g := setup(t, options{silent: true})
	g.exec("UPDATE terasocket.epochs SET started_at = started_at - interval '1 hour'")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if b, err := g.feed.Begin(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("began with %+v, %v", b, err)
	}
	g.exec("SELECT terasocket.enter_epoch(0)")
	if b, err := g.feed.Begin(t.Context()); err != nil || b.Epoch <= g.beginning.Epoch {
		t.Errorf("began with %+v, %v", b, err)
	}
}
