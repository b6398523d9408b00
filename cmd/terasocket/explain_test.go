package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// clock, announcement and seq match what differs between runs.
var (
	clock        = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z+0-9-]+`)
	announcement = regexp.MustCompile(`announcement \d+`)
	seqOfEvent   = regexp.MustCompile(`(?m)^event \d+ +`)
)

// explainable returns a database with some events, and their seqs by name.
func explainable(t *testing.T) (url string, conn *pgx.Conn, seqs map[string]int64) {
	t.Helper()
	url = dbtest.New(t, migrated())
	conn = dbtest.Conn(t, url)
	seqs = map[string]int64{}
	for _, event := range [][2]string{
		{"participant", "UPDATE t_participants SET participant_name = 'Secret Name' WHERE id_participant = 1"},
		{"moved", "UPDATE t_participants SET id_project = 4, id_participant_group = NULL WHERE id_participant = 1"},
		{"settings", "UPDATE t_server_settings SET server_settings_value = server_settings_value || 'Secret' WHERE id_server_settings = 1"},
		{"asset", `INSERT INTO t_assets SELECT (jsonb_populate_record(a, '{"id_asset": 9999, "asset_uuid": "a9999", "asset_name": "Secret"}')).* FROM t_assets a WHERE id_asset = 1`},
		{"service", "UPDATE t_services SET service_name = 'Secret' WHERE id_service = 5"},
		{"archive", `SELECT terasocket.publish('websocket.user.` + opentera.DemoProjectUserUUID + `.events', '{"@type": "type.googleapis.com/opentera.protobuf.ArchiveEvent",
			"archiveUuid": "11111111-1111-1111-1111-111111111111", "archiveUrl": "https://Secret", "ownerUuid": "` + opentera.DemoProjectUserUUID + `"}')`},
		{"kick", `SELECT terasocket.publish('module.TeraServer.TwistedModule.events.` + opentera.DemoDeviceUUID + `',
			'{"@type": "type.googleapis.com/opentera.protobuf.ServerCommand", "type": "CMD_CLIENT_DISCONNECT"}')`},
		{"login", "SELECT terasocket.record_messages(ARRAY[terasocket.message_body('log.info', 'opentera.protobuf.LoginEvent', '{}')])"},
	} {
		if _, err := conn.Exec(t.Context(), event[1]); err != nil {
			t.Fatalf("%s: %v", event[0], err)
		}
		dbtest.Announce(t, conn, 2000)
		seqs[event[0]] = lastSeq(t, conn)
	}
	return url, conn, seqs
}

// lastSeq returns the newest row of the log that is for clients or, a kick, for gateways.
func lastSeq(t *testing.T, conn *pgx.Conn) int64 {
	t.Helper()
	return dbtest.One[int64](t, conn, "SELECT max(seq) FROM terasocket.events WHERE type NOT IN ('terasocket.Rights', 'terasocket.Alias', 'terasocket.Settled')")
}

const (
	notConnected = `
note            this is by the roles of now; they are asked for when an event is delivered, so it may have been otherwise then
                the client is not connected now
`
	onMessage = `
note            linked devices and members of a session are those of the moment when the event was published
                this is by the roles of now; they are asked for when an event is delivered, so it may have been otherwise then
                the client is not connected now
`
)

func TestExplain(t *testing.T) {
	t.Parallel()
	url, conn, seqs := explainable(t)
	t.Run("json", func(t *testing.T) { explainJSON(t, url, seqs) })
	for _, test := range []struct {
		event, as, want string
	}{
		{"participant", "user:" + opentera.DemoOtherProjectUserUUID, `
event SEQ       DB_UPDATE participant 1, recorded TIME, announcement N
client          user Ulysse Fortin, enabled
may see it      no
  needed        a role on project 1 "Télé-AVC", or admin of site 1 "Centre de réadaptation de l'Estrie"
  has           role "user" of OpenTeraServer on project 5 "Douleur chronique", through group 9 "Thérapeutes Douleur chronique"
  so            put the user into a group with a role on project 1 "Télé-AVC"` + notConnected},
		{"participant", "user:" + opentera.DemoNoRoleUUID, `
event SEQ       DB_UPDATE participant 1, recorded TIME, announcement N
client          user Nora Bélanger, enabled
may see it      no
  needed        a role on project 1 "Télé-AVC", or admin of site 1 "Centre de réadaptation de l'Estrie"
  has           no role
  so            put the user into a group with a role on project 1 "Télé-AVC"` + notConnected},
		{"participant", "user:" + opentera.DemoDisabledUUID, `
event SEQ       DB_UPDATE participant 1, recorded TIME, announcement N
client          user Didier Caron, disabled
may see it      no
  needed        a role on project 1 "Télé-AVC", or admin of site 1 "Centre de réadaptation de l'Estrie"
  has           role "user" of OpenTeraServer on project 1 "Télé-AVC", through group 6 "Thérapeutes Télé-AVC"
                role "user" of VideoRehabService on no site and no project, through group 6 "Thérapeutes Télé-AVC"
  so            enable the user first
note            the user is disabled: it may not connect, and receives nothing
`},
		{"participant", "user:" + opentera.DemoDeletedUUID, `
event SEQ       DB_UPDATE participant 1, recorded TIME, announcement N
client          user Gaston Rivard, deleted
may see it      no
  needed        a role on project 1 "Télé-AVC", or admin of site 1 "Centre de réadaptation de l'Estrie"
  has           no role
note            the user is deleted: it may not connect, and receives nothing
`},
		{"participant", "participant:" + opentera.DemoOtherParticipantUUID, `
event SEQ       DB_UPDATE participant 1, recorded TIME, announcement N
client          participant René Charbonneau, enabled
may see it      no
  needed        a role on project 1 "Télé-AVC", or admin of site 1 "Centre de réadaptation de l'Estrie"
  has           it is participant 61; only users have roles
note            participants and devices get no database events
                this is by the roles of now; they are asked for when an event is delivered, so it may have been otherwise then
                the client is not connected now
`},
		{"moved", "user:" + opentera.DemoProjectAdminUUID, `
event SEQ       DB_UPDATE participant 1, recorded TIME, announcement N
client          user Paul Lavoie, enabled
may see it      no, but it saw the object before: it receives a DB_DELETE instead
  needed        a role on project 4 "Parkinson en mouvement", or admin of site 2 "Hôpital des Laurentides"
  has           role "admin" of OpenTeraServer on project 1 "Télé-AVC", through group 5 "Responsables Télé-AVC"
saw it before   yes
  needed        a role on project 1 "Télé-AVC", or admin of site 1 "Centre de réadaptation de l'Estrie"
  has           role "admin" of OpenTeraServer on project 1 "Télé-AVC", through group 5 "Responsables Télé-AVC"` + notConnected},
		{"settings", "user:" + opentera.DemoProjectAdminUUID, `
event SEQ       DB_UPDATE server_settings 1, recorded TIME, announcement N
client          user Paul Lavoie, enabled
may see it      no
  needed        superadmin
  has           role "admin" of OpenTeraServer on project 1 "Télé-AVC", through group 5 "Responsables Télé-AVC"
  so            only superadmins receive it` + notConnected},
		{"archive", "user:" + opentera.DemoSuperadminUUID, `
event SEQ       ArchiveEvent, recorded TIME, announcement N
client          user Sylvie Tremblay, enabled
may see it      no
  needed        to be user 9
  has           superadmin
  so            no role helps: it is for these alone
  and needed    to be user 9
  has           superadmin
  so            no role helps: it is for these alone` + onMessage},
		{"kick", "device:" + opentera.DemoDeviceUUID, `
event SEQ       Kick, recorded TIME, announcement N
client          device Kit TeraPlus 01, enabled
may see it      no
  needed        what nobody has
note            Kick is for the gateways: no client hears it
`},
		{"login", "user:" + opentera.DemoSuperadminUUID, `
event SEQ       LoginEvent, recorded TIME, announcement N
client          user Sylvie Tremblay, enabled
may see it      no
  needed        what nobody has
note            no client hears a LoginEvent
`},
		{"participant", "user:" + opentera.DemoProjectAdminUUID, `
event SEQ       DB_UPDATE participant 1, recorded TIME, announcement N
client          user Paul Lavoie, enabled
may see it      yes
  needed        a role on project 1 "Télé-AVC", or admin of site 1 "Centre de réadaptation de l'Estrie"
  has           role "admin" of OpenTeraServer on project 1 "Télé-AVC", through group 5 "Responsables Télé-AVC"` + notConnected},
		{"settings", "user:" + opentera.DemoSuperadminUUID, `
event SEQ       DB_UPDATE server_settings 1, recorded TIME, announcement N
client          user Sylvie Tremblay, enabled
may see it      yes
  needed        superadmin
  has           superadmin` + notConnected},
		{"asset", "user:" + opentera.DemoSiteAdminUUID, `
event SEQ       DB_CREATE asset 9999, recorded TIME, announcement N
client          user Claire Bouchard, enabled
may see it      yes
  needed        a role on project 1 "Télé-AVC", or admin of site 1 "Centre de réadaptation de l'Estrie"
                or to be user 25
  has           role "admin" of OpenTeraServer on site 1 "Centre de réadaptation de l'Estrie", through group 1 "Administration Estrie"
  and needed    a role on project 1 "Télé-AVC", or admin of site 1 "Centre de réadaptation de l'Estrie"
                or a role on project 2 "Équilibre 65+", or admin of site 1 "Centre de réadaptation de l'Estrie"
                or a role on project 4 "Parkinson en mouvement", or admin of site 2 "Hôpital des Laurentides"
                or a role on project 7 "Aphasie et langage", or admin of site 3 "Clinique universitaire de Québec"
                or a role on project 8 "COPD Remote Care", or admin of site 3 "Clinique universitaire de Québec"
                or superadmin
  has           role "admin" of OpenTeraServer on site 1 "Centre de réadaptation de l'Estrie", through group 1 "Administration Estrie"` + notConnected},
		{"service", "user:" + opentera.DemoServiceManagerUUID, `
event SEQ       DB_UPDATE service 5, recorded TIME, announcement N
client          user María Hernández, enabled
may see it      yes
  needed        a role on project 1 "Télé-AVC", or admin of site 1 "Centre de réadaptation de l'Estrie"
                or a role on project 2 "Équilibre 65+", or admin of site 1 "Centre de réadaptation de l'Estrie"
                or a role on project 4 "Parkinson en mouvement", or admin of site 2 "Hôpital des Laurentides"
                or a role on project 7 "Aphasie et langage", or admin of site 3 "Clinique universitaire de Québec"
                or a role on project 8 "COPD Remote Care", or admin of site 3 "Clinique universitaire de Québec"
                or superadmin
  has           role "manager" of VideoRehabService on project 2 "Équilibre 65+", through group 11 "Gestion VideoRehab"` + notConnected},
		{"archive", "user:" + opentera.DemoProjectUserUUID, `
event SEQ       ArchiveEvent, recorded TIME, announcement N
client          user Ursula Côté, enabled
may see it      yes
  needed        to be user 9
  has           it is user 9
  and needed    to be user 9
  has           it is user 9` + onMessage},
	} {
		t.Run(test.event+" "+test.as, func(t *testing.T) {
			got := command(t.Context(), map[string]string{"DATABASE_URL": url}, "explain", "--event", fmt.Sprint(seqs[test.event]), "--as", test.as)
			text := "\n" + seqOfEvent.ReplaceAllString(announcement.ReplaceAllString(clock.ReplaceAllString(got.stdout, "TIME"), "announcement N"), "event SEQ       ")
			if got.code != 0 || got.stderr != "" || text != test.want {
				t.Errorf("exit code %d, %q:%s\nwant:%s", got.code, got.stderr, text, test.want)
			}
			if strings.Contains(text, "Secret") {
				t.Error("it shows what is in the event")
			}
		})
	}
	t.Run("since when the client is connected", func(t *testing.T) { explainSince(t, url, conn, seqs) })
	t.Run("refusals", func(t *testing.T) { explainRefuses(t, url, conn, seqs) })
}
