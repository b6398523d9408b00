package eventlog_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"terasocket/db/dbtest"
	"terasocket/eventlog"
)

// fillLog appends n rows to the log and moves last_seq in one statement: an announcement that found rows above its last seq would take
// the log for a restored one.
func (g *gateway) fillLog(n int) {
	g.t.Helper()
	g.exec(`WITH a AS (UPDATE terasocket.announcements SET last_seq = last_seq + $1::int
			WHERE announcement = (SELECT max(announcement) FROM terasocket.announcements) RETURNING last_seq)
		INSERT INTO terasocket.events (seq, announcement, at, topic, type, body)
		SELECT last_seq - $1::int + i, 1, now(), 't', 'opentera.protobuf.UserEvent', '{}' FROM a, generate_series(1, $1::int) i`, n)
}

func (g *gateway) mustHold(n int) {
	g.t.Helper()
	if got := scan[int](g, "SELECT count(*) FROM terasocket.events"); got != n {
		g.t.Errorf("%d rows are held, want %d", got, n)
	}
	// everything below is trimmed: the lowest seq follows trimmed, or begins an epoch
	if n > 0 && !scan[bool](g, `SELECT min(e.seq) > t.seq AND (min(e.seq) = t.seq + 1 OR EXISTS (SELECT FROM terasocket.epochs p WHERE p.begin + 1 = min(e.seq)))
		FROM terasocket.events e, terasocket.trimmed t GROUP BY t.seq`) {
		g.t.Errorf("trimmed is %d", scan[int64](g, "SELECT seq FROM terasocket.trimmed"))
	}
}

func (g *gateway) trimmer(retention time.Duration, rows int64) *eventlog.Trimmer {
	return &eventlog.Trimmer{Pool: g.pool, Retention: retention, MaxRows: rows, Every: time.Minute, Log: slog.New(slog.DiscardHandler)}
}

func TestTrim(t *testing.T) {
	g := setup(t, options{})
	trim := func(want int64, retention time.Duration, rows int64) {
		t.Helper()
		if n, err := g.trimmer(retention, rows).Trim(t.Context()); err != nil || n != want {
			t.Errorf("trimmed %d, %v; want %d", n, err, want)
		}
	}
	trim(0, time.Hour, 10)
	g.fillLog(12_000)
	trim(0, time.Hour, 12_000)
	trim(1000, time.Hour, 11_000)
	g.mustHold(11_000)
	g.exec("UPDATE terasocket.events SET at = now() - interval '2 hours' WHERE seq <= (SELECT last_seq - 100 FROM terasocket.announcer)")
	trim(10_900, time.Hour, 1<<40)
	g.mustHold(100)

	// seqs jump between epochs: rows are counted all the same
	g.newEpoch()
	g.exec("UPDATE terasocket.announcements SET is_settled = true")
	g.fillLog(200)
	held := scan[int64](g, "SELECT count(*) FROM terasocket.events")
	trim(0, time.Hour, held)
	trim(40, time.Hour, held-40)
	g.mustHold(int(held) - 40)
	trim(held-40-150, time.Hour, 150)
	g.mustHold(150)
	trim(150, time.Hour, 0)
	g.mustHold(0)

	g.fillLog(10)
	locked := g.tx()
	dbtest.Exec(t, locked, "SELECT FROM terasocket.trimmed FOR UPDATE")
	trim(0, time.Hour, 0) // another gateway trims
	g.exec("SELECT 1")
}

// Two gateways trim while others write, an old snapshot is open, and the oldest rows are being read. Nobody waits: whoever would have to
// fails after its lock_timeout.
func TestTrimmingBlocksNobody(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	g := begin(t, url, dbtest.Pool(t, url+"&options=-c%20lock_timeout%3D2s"), options{})
	g.fillLog(30_000)
	g.exec("UPDATE terasocket.events SET at = now() - interval '2 hours'")
	reader := g.tx()
	count := func() int {
		t.Helper()
		return dbtest.One[int](t, reader, "SELECT count(*) FROM terasocket.events")
	}
	dbtest.Exec(t, reader, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
	if n := count(); n != 30_000 {
		t.Fatalf("%d rows", n)
	}
	var group errgroup.Group
	var trimmed [2]int64
	for i := range trimmed {
		group.Go(func() (err error) {
			for range 3 { // a round that finds another trimmer does nothing
				n, err := g.trimmer(time.Hour, 1<<40).Trim(t.Context())
				if trimmed[i] += n; err != nil {
					return err
				}
			}
			return nil
		})
	}
	for range 3 {
		group.Go(func() error {
			for range 50 {
				if _, err := g.pool.Exec(t.Context(), publish, []string{"new"}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if sum := trimmed[0] + trimmed[1]; sum != 30_000 {
		t.Errorf("trimmed %d and %d rows, want 30000 together", trimmed[0], trimmed[1])
	}
	if n := count(); n != 30_000 {
		t.Errorf("the old snapshot sees %d rows", n)
	}
	g.commit(reader)
	dbtest.Eventually(t, "all is announced", func() bool { return scan[int](g, "SELECT count(*) FROM terasocket.events") == 150 })
}

func TestTrimmingEndsWithItsContext(t *testing.T) {
	g := setup(t, options{})
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() { stopped <- g.trimmer(time.Hour, 1).Run(ctx) }()
	g.fillLog(3)
	cancel()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if _, err := g.trimmer(time.Hour, 1).Trim(ctx); err == nil {
		t.Error("trimmed without a context")
	}
}

// Rights changed without triggers are found and announced.
func TestRightsChangedWithoutTriggers(t *testing.T) {
	g := setup(t, options{})
	user := scan[int32](g, "SELECT max(id_user) FROM t_users WHERE user_enabled AND deleted_at IS NULL AND NOT user_superadmin")
	tx := g.tx()
	for _, sql := range []string{"SET LOCAL session_replication_role = replica", fmt.Sprint("UPDATE t_users SET user_enabled = false WHERE id_user = ", user)} {
		dbtest.Exec(t, tx, sql)
	}
	g.commit(tx)
	r := &eventlog.Reconciler{Pool: g.pool, Every: time.Minute, Slice: 3, Log: slog.New(slog.DiscardHandler), Metrics: g.metrics}
	total := 0
	for range 10_000 { // all kinds, in slices of three
		n, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if total += n; total > 0 {
			break
		}
	}
	if total != 1 {
		t.Fatalf("%d differ", total)
	}
	heard := g.hear("Settled")
	if e := heard[0]; e.TypeName() != "Rights" || e.ObjectID != int64(user) || len(e.Lost) == 0 {
		t.Errorf("%+v", e)
	}
	if n := g.value("terasocket_rights_differences_total"); n != 1 {
		t.Errorf("%v were counted", n)
	}
}

// A row that was old when it was announced does not take younger ones with it.
func TestTrimByTheAgeOfTheYoungest(t *testing.T) {
	g := setup(t, options{silent: true})
	g.fillLog(12)
	g.exec("UPDATE terasocket.events SET at = now() - interval '25 hours' WHERE seq = (SELECT max(seq) - 1 FROM terasocket.events)")
	if n, err := g.trimmer(24*time.Hour, 1000).Trim(t.Context()); n != 0 || err != nil {
		t.Errorf("trimmed %d, %v", n, err)
	}
	g.exec("UPDATE terasocket.events SET at = now() - interval '25 hours' WHERE seq <= (SELECT min(seq) + 2 FROM terasocket.events)")
	if n, err := g.trimmer(24*time.Hour, 1000).Trim(t.Context()); n != 3 || err != nil {
		t.Errorf("trimmed %d, %v", n, err)
	}
}
