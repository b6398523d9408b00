package main

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"terasocket/access"
	"terasocket/db"
	"terasocket/db/dbtest"
	"terasocket/ws"
)

// A replay is by present rights: memberships that the event was recorded with are asked for again. Session 60 has user 13
// (no role anywhere), participants 61 (project 4) and 1 (project 1), and device 1 as members; device 1 is a device of participant 61 too.
func TestReplayAsksForMembershipsAgain(t *testing.T) {
	t.Parallel()
	const (
		session = `UPDATE t_sessions_users SET deleted_at = now() WHERE id_session = 60; DELETE FROM t_sessions_participants WHERE id_session = 60;
			DELETE FROM t_sessions_devices WHERE id_session = 60; DELETE FROM t_devices_participants WHERE id_device = 1;
			UPDATE t_sessions SET deleted_at = NULL, id_creator_user = 1, id_creator_device = NULL WHERE id_session = 60;
			INSERT INTO t_sessions_users VALUES (9001, 60, 13, 1, NULL);
			INSERT INTO t_sessions_participants VALUES (9001, 60, 61, 1, NULL), (9002, 60, 1, 1, NULL);
			INSERT INTO t_sessions_devices VALUES (9001, 60, 1, 1, NULL);
			INSERT INTO t_devices_participants VALUES (9001, 1, 61, 1, NULL);
			INSERT INTO t_assets (id_asset, id_session, asset_name, asset_uuid, asset_service_uuid, asset_type, version_id)
				SELECT 9001, 60, 'a', 'a5500000-0000-4000-8000-000000000000', (SELECT s.service_uuid FROM t_services s JOIN t_services_projects l USING (id_service) WHERE l.id_project = 1 AND l.deleted_at IS NULL AND s.deleted_at IS NULL ORDER BY 1 LIMIT 1), 'x', 1`
		publish   = `SELECT terasocket.publish('module.TeraServer.UserManagerModule.events', jsonb_build_object('@type', 'type.googleapis.com/opentera.protobuf.%s') || (%s))`
		ofSession = `SELECT jsonb_build_object('sessionUuid', session_uuid) FROM t_sessions WHERE id_session = 60`
		u13Left   = `UPDATE t_sessions_users SET deleted_at = now() WHERE id_session_user = 9001`
		t61Left   = `DELETE FROM t_sessions_participants WHERE id_session_participant = 9001`
		d1Left    = `UPDATE t_sessions_devices SET deleted_at = now() WHERE id_session_device = 9001`
		unlinked  = `UPDATE t_devices_participants SET deleted_at = now() WHERE id_device_participant = 9001`
		gone      = `UPDATE t_sessions SET deleted_at = now() WHERE id_session = 60`
	)
	message := func(name, body string) string { return fmt.Sprintf(publish, name, body) }
	about := func(kind, id string) string {
		return fmt.Sprintf("SELECT jsonb_build_object('%[1]sUuid', %[1]s_uuid, 'type', 2) FROM t_%[1]ss WHERE id_%[1]s = %[2]s", kind, id)
	}
	member := func(kind access.Kind, id int32) access.Principal { return access.Principal{Kind: kind, ID: id} }
	u13, u8, u7, u3 := member(access.User, 13), member(access.User, 8), member(access.User, 7), member(access.User, 3)
	t61, t1, d1 := member(access.Participant, 61), member(access.Participant, 1), member(access.Device, 1)
	for name, tc := range map[string]struct {
		event, since string
		not, still   []access.Principal
	}{
		"Leave, nothing since":            {message("LeaveSessionEvent", ofSession), "SELECT 1", []access.Principal{u7, u8}, []access.Principal{u13, t61, t1, d1}},
		"Leave, user left":                {message("LeaveSessionEvent", ofSession), u13Left, []access.Principal{u13}, []access.Principal{t61, t1, d1}},
		"Leave, participant left":         {message("LeaveSessionEvent", ofSession), t61Left, []access.Principal{t61}, []access.Principal{u13, t1, d1}},
		"JoinReply, device left":          {message("JoinSessionReplyEvent", ofSession), d1Left, []access.Principal{d1}, []access.Principal{u13, t61}},
		"Stop, user left":                 {message("StopSessionEvent", ofSession), u13Left, []access.Principal{u13}, []access.Principal{u8, t61, d1}},
		"Stop, participant left":          {message("StopSessionEvent", ofSession), t61Left, []access.Principal{t61, u8}, []access.Principal{u13, u7, d1}},
		"Stop, all left":                  {message("StopSessionEvent", ofSession), u13Left + ";" + d1Left + "; DELETE FROM t_sessions_participants WHERE id_session = 60", []access.Principal{u13, t61, t1, d1, u8, u7}, nil},
		"Stop, then deleted":              {message("StopSessionEvent", ofSession), gone, []access.Principal{member(access.User, 10)}, []access.Principal{u13, t61, t1, d1, u8}},
		"Leave, who came since":           {message("LeaveSessionEvent", ofSession), "INSERT INTO t_sessions_users VALUES (9009, 60, 10, 1, NULL)", []access.Principal{member(access.User, 10)}, []access.Principal{u13}},
		"ParticipantEvent, unlinked":      {message("ParticipantEvent", about("participant", "61")), unlinked, []access.Principal{d1, u7}, []access.Principal{t61, u8}},
		"ParticipantEvent, moved":         {message("ParticipantEvent", about("participant", "61")), "UPDATE t_participants SET id_project = 1, id_participant_group = NULL WHERE id_participant = 61", []access.Principal{u8, u7}, []access.Principal{t61, d1}},
		"DeviceEvent, unlinked":           {message("DeviceEvent", about("device", "1")), unlinked, []access.Principal{t61}, []access.Principal{d1, u3}},
		"UserEvent, out of the group":     {message("UserEvent", about("user", "9")), "UPDATE t_users_users_groups SET deleted_at = now() WHERE id_user = 9", []access.Principal{u7, member(access.User, 10)}, []access.Principal{member(access.User, 9)}},
		"Join: the message decides":       {message("JoinSessionEvent", `SELECT jsonb_build_object('sessionUuid', session_uuid, 'sessionUsers', (SELECT jsonb_agg(user_uuid) FROM t_users WHERE id_user = 13), 'sessionParticipants', (SELECT jsonb_agg(participant_uuid) FROM t_participants WHERE id_participant = 61)) FROM t_sessions WHERE id_session = 60`), u13Left + ";" + t61Left, []access.Principal{t1, d1, u8}, []access.Principal{u13, t61}},
		"Archive: its owner":              {message("ArchiveEvent", `SELECT jsonb_build_object('archiveUuid', user_uuid, 'ownerUuid', user_uuid) FROM t_users WHERE id_user = 13`), u13Left, []access.Principal{u7}, []access.Principal{u13}},
		"session changed, user left":      {"UPDATE t_sessions SET session_name = 'x' WHERE id_session = 60", u13Left, []access.Principal{u13, t61, d1}, []access.Principal{u8, u7}},
		"session changed, others left":    {"UPDATE t_sessions SET session_name = 'x' WHERE id_session = 60", t61Left, []access.Principal{u8}, []access.Principal{u13, u7}},
		"asset changed, user left":        {"UPDATE t_assets SET asset_name = 'x' WHERE id_asset = 9001", t61Left, []access.Principal{u8, u13, d1}, []access.Principal{u7}},
		"session deleted":                 {gone, "SELECT 1", []access.Principal{t61, d1, member(access.User, 10)}, []access.Principal{u13, u8, u7}},
		"participant changed, moved":      {"UPDATE t_participants SET participant_name = 'x' WHERE id_participant = 61", "UPDATE t_participants SET id_project = 1, id_participant_group = NULL WHERE id_participant = 61", []access.Principal{u8, u7, t61}, nil},
		"site changed, nothing since":     {"UPDATE t_sites SET site_name = 'x' WHERE id_site = 1", "SELECT 1", []access.Principal{u8, u13}, []access.Principal{u3, u7}},
		"keys of no clause stay nobody's": {`INSERT INTO terasocket.events (topic, type, op, object_type, object_id, body, audience) VALUES ('t', 'opentera.protobuf.DatabaseEvent', 'U', 'site', 1, '{}', '[]')`, "SELECT 1", []access.Principal{u3, u7, u8}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := dbtest.New(t, migrated())
			psql(t, url, session)
			pool := dbtest.Pool(t, url)
			h := &history{newDecoder(slog.New(slog.NewTextHandler(t.Output(), nil)), prometheus.NewRegistry()), &db.History{Pool: pool}}
			var cursor, seq uint64
			one := func(sql string, into *uint64) {
				t.Helper()
				if err := pool.QueryRow(t.Context(), sql).Scan(into); err != nil {
					t.Fatal(err)
				}
			}
			one("SELECT max(seq) FROM terasocket.events", &cursor)
			psql(t, url, tc.event)
			one("SELECT max(seq) FROM terasocket.events", &seq)
			psql(t, url, tc.since)

			places, _, err := h.Places(t.Context(), []uint64{cursor})
			if err != nil || places[0] == nil {
				t.Fatalf("no place: %v", err)
			}
			page, err := h.After(t.Context(), []ws.Place{places[0]}, places[0].Behind())
			if err != nil {
				t.Fatal(err)
			}
			var heard []access.Principal
			for _, e := range page.Events {
				if e.Seq != seq {
					continue
				}
				answer, err := (&access.Rules{Pool: pool}).Audiences(t.Context(), []string{e.To})
				if err != nil {
					t.Fatal(err)
				}
				heard = append(heard, answer[0]...)
			}
			for _, p := range tc.not {
				if slices.Contains(heard, p) {
					t.Errorf("%s hears it again", p)
				}
			}
			for _, p := range tc.still {
				if !slices.Contains(heard, p) {
					t.Errorf("%s does not hear it", p)
				}
			}
		})
	}
}
