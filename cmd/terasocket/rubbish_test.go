package main

import (
	"testing"

	"terasocket/db/opentera"
	pb "terasocket/proto/opentera"
)

// writeLog inserts rows (type, op, object_type, body, present) into the log bypassing announce(), as anybody with the rights
// may.
func writeLog(t *testing.T, url, rows string) {
	t.Helper()
	psql(t, url, `BEGIN; LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE;
		WITH rows AS (INSERT INTO terasocket.events (seq, announcement, at, topic, type, op, object_type, object_id, body, present)
			SELECT a.last_seq + row_number() OVER (), a.announcement + 1, now(), 't', r.type, r.op, r.object_type, 1, r.body::jsonb, r.present::jsonb
			FROM   terasocket.announcer a, (VALUES `+rows+`) r (type, op, object_type, body, present) RETURNING seq)
		INSERT INTO terasocket.announcements
			SELECT a.announcement + 1, (SELECT max(seq) FROM rows), a.snapshot, a.is_settled FROM terasocket.announcer a;
		NOTIFY terasocket_log; COMMIT`)
}

// Invalid rows, written by somebody with rights on the log, are refused and counted; the rows beside them, even of the same
// statement, are delivered.
func rubbish(t *testing.T, gateway *served) {
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	writeLog(t, gateway.dbURL, `
		('opentera.protobuf.DatabaseEvent', 'U', 'robot', '{}', '[["u:7"]]'),
		('opentera.protobuf.DatabaseEvent', NULL, 'site', '{}', '[["u:7"]]'),
		('opentera.protobuf.DatabaseEvent', 'U', 'site', '[]', '[["u:7"]]'),
		('opentera.protobuf.Nothing', NULL, NULL, '{}', '[["u:7"]]'),
		('opentera.protobuf.UserEvent', NULL, NULL, '{"type": "NO_SUCH"}', '[["u:7"]]'),
		('opentera.protobuf.DatabaseEvent', 'U', 'site', '{"n": 1}', '{"not": "keys"}'),
		('opentera.protobuf.DatabaseEvent', 'U', 'site', '{"n": 2}', '[[null, 7, {}, "u:", "u:x", "z:7", "u:99999999999999"], "u:7"]'),
		('opentera.protobuf.DatabaseEvent', 'U', 'site', '{"n": 3}', '[]'),
		('opentera.protobuf.DatabaseEvent', 'C', 'site', '{"n": "good"}', '[["u:7"]]')`)
	paul.mustHear(pb.DatabaseEvent_DB_CREATE, "site", `"good"`)
	gateway.exec("UPDATE t_participants SET participant_name = 'neighbour' WHERE id_participant = 1")
	paul.mustHear(pb.DatabaseEvent_DB_UPDATE, "participant", "neighbour")
	if n := gateway.gauge("terasocket_events_refused_total"); n != 5 {
		t.Errorf("%v rows were refused, want 5", n)
	}
}

func projectWithoutASite(t *testing.T, gateway *served) {
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	claire := gateway.login(opentera.DemoSiteAdmin, "")
	louis := gateway.login(opentera.DemoOtherSiteAdmin, "")
	gateway.exec(`ALTER TABLE t_projects ALTER COLUMN id_site DROP NOT NULL; UPDATE t_projects SET id_site = NULL WHERE id_project = 1`)
	paul.mustHear(pb.DatabaseEvent_DB_UPDATE, "project", `"id_site": null`)
	claire.mustHear(pb.DatabaseEvent_DB_DELETE, "project", `"id_project": 1`) // visible to her through the site
	gateway.exec(`UPDATE t_participants SET participant_name = 'of nowhere' WHERE id_participant = 1`)
	paul.mustHear(pb.DatabaseEvent_DB_UPDATE, "participant", "of nowhere")
	gateway.exec(`UPDATE t_users SET user_lastname = 'Sentinel' WHERE user_username IN ('claire.site', 'louis.site')`)
	claire.mustHear(pb.DatabaseEvent_DB_UPDATE, "user", "Sentinel")
	louis.mustHear(pb.DatabaseEvent_DB_UPDATE, "user", "Sentinel")
}
