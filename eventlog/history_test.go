package eventlog_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"terasocket/access"
	"terasocket/proto/event"
)

func (g *gateway) reaches(since uint64) bool {
	g.t.Helper()
	ok, _, err := g.history.Reaches(g.t.Context(), since)
	if err != nil {
		g.t.Fatal(err)
	}
	return ok
}

func (g *gateway) mustReach(what string, since uint64, want bool) {
	g.t.Helper()
	if got := g.reaches(since); got != want {
		g.t.Errorf("%s, %d: reached %t, want %t", what, since, got, want)
	}
}

// newEpoch begins an epoch, as a restart of the server does.
func (g *gateway) newEpoch() {
	g.t.Helper()
	g.exec("UPDATE terasocket.epochs SET started_at = started_at - interval '1 hour'")
	g.publish(g.pool, "makes it begin")
	g.mustBreak()
}

func TestHowFarTheLogReaches(t *testing.T) {
	g := setup(t, options{})
	begin := g.beginning.Epoch
	g.mustReach("where the epoch begins", begin, true)
	g.publish(g.pool, "1", "2", "3")
	g.mustHear("1", "2", "3")
	first, last := g.seqOf("1"), g.seqOf("3")
	g.mustReach("before the memory was filled", begin-1, false)
	g.mustReach("0", 0, false)
	g.mustReach("the first", first, true)
	g.mustReach("the last", last, true)
	g.mustReach("beyond the last", last+1, false)
	g.mustReach("no seq", math.MaxUint64, false)

	g.trim("1")
	g.mustReach("the last trimmed seq", first, true) // everything after it is held
	g.mustReach("an earlier trimmed seq", first-1, false)
	_, oldest, err := g.history.Reaches(t.Context(), 0)
	if err != nil || oldest != g.seqOf("2") {
		t.Errorf("the oldest is %d, %v", oldest, err)
	}

	g.newEpoch()
	g.mustReach("the last of the epoch before", last, true)
	g.mustReach("a seq that this past did not give out", last+1, false)
	g.mustReach("the last that it did not give out", g.beginning.Epoch-1, false)
	g.mustReach("where this epoch begins", g.beginning.Epoch, true)
	g.newEpoch()
	g.mustReach("two epochs ago", last, true)
	g.mustReach("where the one before began", g.beginning.Epoch, true)

	g.exec("WITH gone AS (DELETE FROM terasocket.events) UPDATE terasocket.trimmed SET seq = (SELECT last_seq FROM terasocket.announcer)")
	if ok, oldest, err := g.history.Reaches(t.Context(), last); ok || oldest != 0 || err != nil {
		t.Errorf("an empty log: %t, oldest %d, %v", ok, oldest, err)
	}
	end := scan[uint64](g, "SELECT last_seq FROM terasocket.announcer")
	g.mustReach("the end of an empty log", end, true)
	g.newEpoch()
	g.mustReach("the end of a log that was empty when the server was started again", end, true)
	g.mustReach("beyond it", end+1, false)
}

// A cursor between trimmed rights and their Settled row is not reached: the tags held before these rights are unknown, so those who lost
// some would not be told of deletes.
func TestCursorWithoutItsRightsIsNotReached(t *testing.T) {
	g := setup(t, options{silent: true})
	const user, rights, alias, settled = "opentera.protobuf.UserEvent", "terasocket.Rights", "terasocket.Alias", "terasocket.Settled"
	rows := []string{user, settled, user, rights, user, user, settled, user, alias, settled, rights, alias, user, settled, user}
	begin := scan[uint64](g, "SELECT last_seq FROM terasocket.announcer")
	for _, row := range rows {
		g.append(row, map[string]string{rights: "user"}[row], `{"tag": "service:1"}`)
	}
	seq := func(i int) uint64 { return begin + 1 + uint64(i) }
	for cut := range rows {
		if n, err := g.trimmer(time.Hour, int64(len(rows)-cut-1)).Trim(t.Context()); err != nil || n != 1 {
			t.Fatalf("trimmed %d, %v", n, err)
		}
		for since := cut; since < len(rows); since++ {
			isThere := true
			for i := since; i >= 0 && rows[i] != settled; i-- {
				isThere = isThere && (rows[i] == user || i > cut)
			}
			g.mustReach(fmt.Sprintf("trimmed up to row %d, from row %d", cut, since), seq(since), isThere)
		}
	}
}

// Rights that were not settled when the memory was refilled do not count for a client that resumes after that.
func TestFillSettles(t *testing.T) {
	g := setup(t, options{})
	release := g.holdAnnouncements("holdings")
	g.append("terasocket.Rights", "user", `{"lost": ["p:1"]}`)
	g.exec("UPDATE terasocket.announcements SET is_settled = false WHERE announcement = (SELECT max(announcement) FROM terasocket.announcements)")
	release()
	g.exec("UPDATE terasocket.filling SET fill_type = 'start', fill_id = 0")
	g.publish(g.pool, "makes it announce")
	if _, err := g.next("never"); !errors.Is(err, event.ErrBroken) {
		t.Fatal(err)
	}
	g.begin()
	past, err := g.history.RightsSince(t.Context(), access.Principal{Kind: access.User, ID: 1}, g.beginning.Seq, math.MaxInt64)
	if err != nil || len(past) != 0 {
		t.Errorf("%v, %v", marks(past), err)
	}
}

// Events missed before the memory of announcements was refilled are not in the log.
func TestNothingIsReachedAcrossAFill(t *testing.T) {
	g := setup(t, options{})
	g.publish(g.pool, "1")
	g.mustHear("1")
	g.exec("UPDATE terasocket.filling SET fill_type = 'start', fill_id = 0")
	g.publish(g.pool, "makes it announce")
	g.mustBreak()
	g.mustReach("before", g.seqOf("1"), false)
	g.newEpoch()
	g.mustReach("long before", g.seqOf("1"), false)
}

func TestToldKeys(t *testing.T) {
	g := setup(t, options{silent: true})
	if keys, err := g.history.ToldKeys(t.Context(), "site", 1); keys != `[["s:1"]]` || err != nil {
		t.Errorf("%q, %v", keys, err)
	}
	if keys, err := g.history.ToldKeys(t.Context(), "site", 99); keys != "" || err != nil {
		t.Errorf("keys of an unknown site: %q, %v", keys, err)
	}
	g.exec("DROP TABLE terasocket.told")
	if _, err := g.history.ToldKeys(t.Context(), "site", 1); !errors.Is(err, event.ErrUnusable) {
		t.Errorf("without the table: %v", err)
	}
}

// While the memory of announcements is being filled, nobody's tags are known, which is not the same as no tags.
func TestNobodyStandsWhileTheMemoryIsFilled(t *testing.T) {
	g := setup(t, options{})
	defer g.holdAnnouncements("announcements")()
	g.exec("UPDATE terasocket.filling SET fill_type = 'user tags'")
	if s, err := g.history.Standing(t.Context(), access.Principal{Kind: access.User, ID: 1}); err == nil || !strings.Contains(err.Error(), "being filled") {
		t.Errorf("%+v, %v", s, err)
	}
}

// missed reads what a client with this cursor missed, page by page.
func (g *gateway) missed(since, until uint64) (list []string) {
	g.t.Helper()
	for behind := since; ; {
		page, err := g.history.After(g.t.Context(), behind, until)
		if err != nil {
			g.t.Fatal(err)
		}
		if page.Last < behind || page.Trimmed {
			g.t.Fatalf("the page behind %d ends at %d, trimmed %t", behind, page.Last, page.Trimmed)
		}
		list = append(list, marks(page.Events)...)
		if behind = page.Last; page.IsLast {
			return list
		}
	}
}

func TestWhatAClientMissed(t *testing.T) {
	g := setup(t, options{})
	want := make([]string, 600) // more than two pages
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	g.publish(g.pool, want...)
	g.mustHear(want...)
	for _, from := range []int{0, 1, 255, 256, 257, 300, 599} {
		if got := g.missed(g.seqOf(want[from]), g.feed.LastSeen()); fmt.Sprint(got) != fmt.Sprint(want[from+1:]) {
			t.Errorf("behind %d: %d events", from, len(got))
		}
	}
	if got := g.missed(g.seqOf("10"), g.seqOf("20")); fmt.Sprint(got) != fmt.Sprint(want[11:21]) {
		t.Errorf("up to 20: %q", got)
	}
	if got := g.missed(g.seqOf("10"), g.seqOf("10")); len(got) != 0 {
		t.Errorf("up to where it is: %q", got)
	}
	since := g.seqOf("599")
	g.newEpoch()
	g.publish(g.pool, "in the next epoch")
	g.mustHear("in the next epoch")
	if got := g.missed(since, math.MaxUint64); got[len(got)-1] != "in the next epoch" {
		t.Errorf("across epochs: %q", got)
	}

	g.trim("300")
	page, err := g.history.After(t.Context(), g.seqOf("599")-400, math.MaxInt64)
	if err != nil || !page.Trimmed {
		t.Errorf("trimmed %t, %v", page.Trimmed, err)
	}
}

func TestRightsSince(t *testing.T) {
	g := setup(t, options{})
	start := g.beginning.Seq
	user := scan[int32](g, "SELECT min(id_user) FROM t_users WHERE user_superadmin = false AND user_enabled AND deleted_at IS NULL")
	other := scan[int32](g, "SELECT max(id_user) FROM t_users WHERE user_superadmin = false AND user_enabled AND deleted_at IS NULL")
	p := access.Principal{Kind: access.User, ID: user}
	standing, err := g.history.Standing(t.Context(), p)
	if err != nil || standing.Epoch != g.beginning.Epoch || standing.Seq != start || !slices.Contains(standing.Tags, fmt.Sprintf("u:%d", user)) {
		t.Fatalf("%+v, %v", standing, err)
	}

	g.exec("UPDATE t_users SET user_enabled = false WHERE id_user = $1", user)
	g.hear("Settled")
	disabled := g.feed.LastSeen()
	if s, err := g.history.Standing(t.Context(), p); err != nil || len(s.Tags) != 0 || s.Seq != disabled {
		t.Errorf("disabled, and holds %+v, %v", s, err)
	}
	g.exec("UPDATE t_users SET user_enabled = false WHERE id_user = $1", other)
	g.hear("Settled")
	g.exec("UPDATE t_users SET user_enabled = true WHERE id_user = $1", user)
	g.hear("Settled")
	enabled := g.feed.LastSeen()

	kinds := func(since, until uint64) (list []string) {
		t.Helper()
		events, err := g.history.RightsSince(t.Context(), p, since, until)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			switch e.Kind {
			case event.Rights:
				if e.ObjectID != int64(user) {
					t.Errorf("rights of %d", e.ObjectID)
				}
				list = append(list, fmt.Sprintf("Rights +%d -%d", len(e.Gained), len(e.Lost)))
			default:
				list = append(list, e.TypeName())
			}
		}
		return list
	}
	n := len(standing.Tags)
	lost, gained := fmt.Sprintf("Rights +0 -%d", n), fmt.Sprintf("Rights +%d -0", n)
	for _, tt := range []struct {
		since, until uint64
		want         []string
	}{
		{start, enabled, []string{lost, gained}}, // and no Settled: there may be one for each change of anybody's rights
		{disabled, enabled, []string{gained}},
		{disabled - 1, enabled, []string{lost, gained}}, // between the rights and Settled
		{start, disabled, []string{lost}},
		{enabled, math.MaxUint64, nil},
	} {
		if got := kinds(tt.since, tt.until); !slices.Equal(got, tt.want) {
			t.Errorf("since %d until %d: %q, want %q", tt.since, tt.until, got, tt.want)
		}
	}
}

// The history notices another epoch before the feed does.
func TestTheHistoryIsOfTheFeedsEpoch(t *testing.T) {
	g := setup(t, options{})
	g.exec("INSERT INTO terasocket.epochs SELECT begin + 1000, old_end, now(), 'test', system_identifier, timeline, started_at, database, log FROM terasocket.epochs ORDER BY begin DESC LIMIT 1")
	if _, _, err := g.history.Reaches(t.Context(), 1); !errors.Is(err, event.ErrBroken) {
		t.Errorf("reaches: %v", err)
	}
	if _, err := g.history.After(t.Context(), 0, 1); !errors.Is(err, event.ErrBroken) {
		t.Errorf("after: %v", err)
	}
}

func TestAHistoryThatTheDatabaseLacks(t *testing.T) {
	g := setup(t, options{})
	g.exec("ALTER TABLE terasocket.events RENAME TO gone; ALTER TABLE terasocket.holdings RENAME TO also_gone")
	p := access.Principal{Kind: access.User, ID: 1}
	if _, _, err := g.history.Reaches(t.Context(), 1); !errors.Is(err, event.ErrUnusable) {
		t.Errorf("reaches: %v", err)
	}
	if _, err := g.history.RightsSince(t.Context(), p, 1, 2); !errors.Is(err, event.ErrUnusable) {
		t.Errorf("rights: %v", err)
	}
	if _, err := g.history.Standing(t.Context(), p); !errors.Is(err, event.ErrUnusable) {
		t.Errorf("standing: %v", err)
	}
}
