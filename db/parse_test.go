package db_test

import (
	"fmt"
	"testing"

	"terasocket/db"
	"terasocket/db/dbtest"
)

func TestSnapshotSeesWhatPostgreSQLSees(t *testing.T) {
	t.Parallel()
	conn := dbtest.Conn(t, dbtest.New(t, dbtest.Empty()))
	for _, text := range []string{"10:10:", "10:20:", "10:20:10,14,15,19", "1:18446744073709551614:7"} {
		snap, err := db.ParseSnapshot(text)
		if err != nil {
			t.Fatal(err)
		}
		if snap.String() != text {
			t.Errorf("%s prints as %s", text, snap)
		}
		for xid := range uint64(25) {
			var want bool
			if err := conn.QueryRow(t.Context(), "SELECT pg_visible_in_snapshot($1::text::xid8, $2::text::pg_snapshot)",
				fmt.Sprint(xid), text).Scan(&want); err != nil {
				t.Fatal(err)
			}
			if xid > 0 && snap.Sees(xid) != want {
				t.Errorf("%s sees %d: %t, PostgreSQL says %t", text, xid, snap.Sees(xid), want)
			}
		}
	}
}

func TestParseSnapshotRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "1", "1:2", "a:2:", "1:b:", "1:2:c", "2:1:", "1:9:5,3", "-1:2:", "1:2:3:4"} {
		if _, err := db.ParseSnapshot(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func FuzzParseSnapshot(f *testing.F) {
	f.Add("10:20:10,14,15,19")
	f.Add("1:1:")
	f.Fuzz(func(t *testing.T, text string) {
		snap, err := db.ParseSnapshot(text)
		if err != nil {
			return
		}
		again, err := db.ParseSnapshot(snap.String())
		if err != nil || again.String() != snap.String() {
			t.Errorf("%q was read as %s, which is read as %s, %v", text, snap, again, err)
		}
	})
}

func FuzzParseHint(f *testing.F) {
	f.Add(`{"xid": "771", "from": 101, "to": 102, "changes": [{"seq": 101, "type": "participant", "op": "U", "id": 12}]}`)
	f.Add(`{"xid": "771", "from": 101, "to": 20101}`)
	f.Add(`{"xid": 771}`)
	f.Fuzz(func(t *testing.T, payload string) {
		hint, err := db.ParseHint(payload)
		if err == nil && (hint.First < 1 || hint.Last < hint.First || hint.XID > 1<<63-1) {
			t.Errorf("%q was read as %+v", payload, hint)
		}
	})
}
