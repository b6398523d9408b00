package db_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db"
	"terasocket/db/dbtest"
	"terasocket/migrations"
)

// archive is a log without a listener.
func archive(t *testing.T) (*bundle, *db.History) {
	t.Parallel()
	b := &bundle{t: t, pool: dbtest.Pool(t, dbtest.New(t, dbtest.OpenTera("migrated", migrations.Up)))}
	return b, &db.History{Pool: b.pool}
}

func (b *bundle) seqOf(body string) (seq int64) {
	b.t.Helper()
	if err := b.pool.QueryRow(b.t.Context(), "SELECT seq FROM terasocket.events WHERE body = to_jsonb($1::text)", body).Scan(&seq); err != nil {
		b.t.Fatal(err)
	}
	return seq
}

// missed gives the bodies that a client with this cursor has missed, two rows a page, while others with these cursors
// read the same pages.
func (b *bundle) missed(h *db.History, cursor string, others ...string) []string {
	b.t.Helper()
	seqs := []int64{b.seqOf(cursor)}
	for _, o := range others {
		seqs = append(seqs, b.seqOf(o))
	}
	places, oldest, err := h.Places(b.t.Context(), append(seqs, 4711))
	if err != nil || len(places) != len(seqs) || oldest != 1 {
		b.t.Fatalf("%d places, oldest row %d, %v", len(places), oldest, err)
	}
	var all []db.Place
	behind := places[seqs[0]].Behind
	for _, p := range places {
		all = append(all, p)
		behind = min(behind, p.Behind)
	}
	var bodies []string
	for {
		s, err := h.After(b.t.Context(), all, behind, 2)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, r := range s.Rows {
			if places[seqs[0]].Missed(r.Seq, r.XID) {
				if r.Seq <= places[seqs[0]].Behind {
					b.t.Errorf("row %d was missed, and is not behind %d", r.Seq, places[seqs[0]].Behind)
				}
				bodies = append(bodies, strings.Trim(r.Body, `"`))
			}
			behind = r.Seq
		}
		if len(s.Rows) < 2 {
			return bodies
		}
	}
}

// What a client has missed is what the snapshot of its cursor does not see, and of the cursor's own transaction what
// comes after it, though PostgreSQL counts that one among those that have ended.
func TestWhatAClientHasMissed(t *testing.T) {
	b, h := archive(t)
	b.record(b.pool, "first")
	long, early, old := b.begin(), b.begin(), b.begin()
	b.record(long, "long 1", "long 2")
	b.record(early, "early")
	if _, err := old.Exec(t.Context(), "SELECT pg_current_xact_id()"); err != nil {
		t.Fatal(err)
	}
	b.record(b.pool, "second")
	b.record(old, "old 1", "old 2") // an old transaction with a new snapshot
	b.record(old, "old 3")
	b.commit(old)
	b.record(b.pool, "third")
	b.commit(early)
	b.record(b.pool, "fourth")
	b.record(long, "long 3")
	b.commit(long)

	for cursor, want := range map[string][]string{
		"long 3": {},
		"first":  {"long 1", "long 2", "early", "second", "old 1", "old 2", "old 3", "third", "fourth", "long 3"},
		"second": {"long 1", "long 2", "early", "old 1", "old 2", "old 3", "third", "fourth", "long 3"},
		"old 1":  {"long 1", "long 2", "early", "old 2", "old 3", "third", "fourth", "long 3"},
		"old 2":  {"long 1", "long 2", "early", "old 3", "third", "fourth", "long 3"},
		"third":  {"long 1", "long 2", "early", "fourth", "long 3"},
		"fourth": {"long 1", "long 2", "long 3"},
		"long 2": {"early", "second", "old 1", "old 2", "old 3", "third", "fourth", "long 3"},
	} {
		for _, others := range [][]string{nil, {"first"}, {"long 3"}, {"old 2", "third"}} {
			got := b.missed(h, cursor, slices.DeleteFunc(slices.Clone(others), func(o string) bool { return o == cursor })...)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("who has heard %q, beside %q, missed %q, want %q", cursor, others, got, want)
			}
		}
	}
}

// A large transaction that was open when all these clients left is looked at once, not once for each.
func TestPlacesBesideALargeOpenTransaction(t *testing.T) {
	b, h := archive(t)
	b.record(b.pool, "before")
	large := b.begin()
	b.record(large, slices.Repeat([]string{"large"}, 20_000)...)
	b.record(b.pool, slices.Repeat([]string{"cursor"}, 1000)...)
	b.commit(large)
	if _, err := b.pool.Exec(t.Context(), "ANALYZE terasocket.events"); err != nil {
		t.Fatal(err)
	}
	cursors := make([]int64, 1000)
	for i := range cursors {
		cursors[i] = 20_002 + int64(i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	places, _, err := h.Places(ctx, cursors)
	if err != nil || len(places) != len(cursors) {
		t.Fatalf("%d places, %v", len(places), err)
	}
	for cursor, p := range places {
		if p.Behind != 1 {
			t.Fatalf("cursor %d is behind %d, want 1", cursor, p.Behind)
		}
	}
}

// A transaction that is running may be as new as the snapshot is, which then does not list it, and have taken its seq
// before rows that the snapshot sees.
func TestAPlaceIsBehindWhoWasRunningUnlisted(t *testing.T) {
	b, h := archive(t)
	b.record(b.pool, "before")
	older, newer := b.begin(), b.begin()
	for _, tx := range []pgx.Tx{older, newer} {
		if _, err := tx.Exec(t.Context(), "SELECT pg_current_xact_id()"); err != nil {
			t.Fatal(err)
		}
	}
	b.record(newer, "running")
	b.record(older, "seen")
	b.commit(older)
	b.record(b.pool, "cursor")
	b.commit(newer)
	if got := b.missed(h, "cursor"); fmt.Sprint(got) != "[running]" {
		t.Errorf("missed %q", got)
	}
}

// Places start close to the cursor, so that a short absence does not read a long log.
func TestAPlaceIsCloseToItsCursor(t *testing.T) {
	b, h := archive(t)
	b.record(b.pool, slices.Repeat([]string{"x"}, 5000)...)
	b.record(b.pool, "visible")
	b.record(b.pool, "cursor")
	seq := b.seqOf("cursor")
	places, _, err := h.Places(t.Context(), []int64{seq})
	if err != nil || places[seq].Behind != seq-1 {
		t.Errorf("behind %d, %v; want %d", places[seq].Behind, err, seq-1)
	}
}

// What is committed after a place was looked for comes live, also where its seq is one of the past: a client that left in
// the middle of a replay, having heard a row that sees it, would never hear it.
func TestWhatIsNewIsNotOfThePast(t *testing.T) {
	b, h := archive(t)
	b.record(b.pool, "cursor")
	open := b.begin()
	b.record(open, "committed meanwhile")
	b.record(b.pool, "missed")
	cursor := b.seqOf("cursor")
	places, _, err := h.Places(t.Context(), []int64{cursor})
	if err != nil {
		t.Fatal(err)
	}
	b.commit(open)
	b.record(b.pool, "new")
	p := places[cursor]
	s, err := h.After(t.Context(), []db.Place{p}, p.Behind, 10)
	if err != nil || len(s.Rows) != 4 { // the cursor's own as well
		t.Fatalf("%d rows, %v", len(s.Rows), err)
	}
	for _, r := range s.Rows[1:] {
		isMissed := r.Body == `"missed"`
		if p.Missed(r.Seq, r.XID) != isMissed || p.IsNew(r.XID) == isMissed {
			t.Errorf("%s: missed %t, new %t", r.Body, p.Missed(r.Seq, r.XID), p.IsNew(r.XID))
		}
	}
	if p.Last < b.seqOf("missed") {
		t.Errorf("nothing beyond %d, and %d was missed", p.Last, b.seqOf("missed"))
	}
}

// A transaction was running when the client left, and rows of it were trimmed: its cursor is held, and what it has missed is not.
func TestACursorIsNotHeldWhereWhatItMissedIsTrimmed(t *testing.T) {
	b, h := archive(t)
	open, harmless := b.begin(), b.begin()
	b.record(b.pool, "first")
	b.record(open, "trimmed")
	b.record(b.pool, "oldest")
	if _, err := harmless.Exec(t.Context(), "SELECT pg_current_xact_id()"); err != nil {
		t.Fatal(err)
	}
	b.record(harmless, "of a later transaction")
	b.record(b.pool, "cursor")
	cursor := b.seqOf("cursor")
	isHeld := func() bool {
		t.Helper()
		places, _, err := h.Places(t.Context(), []int64{cursor})
		if err != nil {
			t.Fatal(err)
		}
		return len(places) == 1
	}
	b.trim("first", false)
	if !isHeld() {
		t.Error("not held while the transaction runs: it will come live")
	}
	b.commit(harmless)
	b.commit(open)
	if !isHeld() {
		t.Error("not held, and nothing of the transaction is trimmed")
	}
	b.trim("trimmed", false)
	if isHeld() {
		t.Error("held, though a row that the client has missed is trimmed")
	}
}
