package db_test

import (
	"fmt"
	"strings"
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

func FuzzParseChange(f *testing.F) {
	f.Add(`{"xid": "771", "what": "participant", "op": "U", "ids": [12]}`)
	f.Add(`{"xid": 771}`)
	f.Fuzz(func(t *testing.T, payload string) {
		xid, err := db.ParseChange(payload)
		if err == nil && xid > 1<<63-1 {
			t.Errorf("%q was read as %d", payload, xid)
		}
		if err != nil && len(payload) > 12 && strings.Contains(err.Error(), payload) {
			t.Errorf("the error quotes the payload: %v", err)
		}
	})
}

func FuzzParseAnnouncement(f *testing.F) {
	f.Add(`{"seq": 101, "snapshot": "771:775:773"}`)
	f.Add(`{"seq": -1}`)
	f.Fuzz(func(t *testing.T, payload string) {
		if seq, err := db.ParseAnnouncement(payload); err == nil && (seq < 1 || seq > 1<<63-1) {
			t.Errorf("%q was read as %d", payload, seq)
		}
	})
}
