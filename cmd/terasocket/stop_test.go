package main

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// SIGTERM, with a client that answers nothing and one that does not read its replay: no new sockets, 1012 for the others, and
// exit code 0 in time.
func TestStoppingWithClientsThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, url)
	gateway := serve(t, url)
	before := dbtest.One[int64](t, pool, "SELECT last_seq FROM terasocket.announcer")
	psql(t, url, `INSERT INTO t_participants (id_participant, participant_uuid, participant_name, id_project, participant_enabled,
			participant_token_enabled, participant_login_enabled, version_id)
		SELECT 100000 + i, gen_random_uuid()::text, i || repeat('x', 900), 1, true, false, false, 1 FROM generate_series(1, 3000) i`)
	dbtest.Eventually(t, "all is announced", func() bool { return dbtest.One[int64](t, pool, "SELECT count(*) FROM terasocket.changes") == 0 })
	listens := gateway.login(opentera.DemoProjectAdmin, "")
	gateway.login(opentera.DemoProjectAdmin, "")                               // answers nothing, since nobody reads
	gateway.login(opentera.DemoProjectAdmin, fmt.Sprintf("&since=%d", before)) // nor does this one, with 3 MB on their way to it
	token, _, err := mint(t.Context(), databaseFlags{url}, access.User, opentera.DemoProjectAdminUUID)
	if err != nil {
		t.Fatal(err)
	}
	gateway.signal(syscall.SIGTERM)
	if closed := listens.closed(); closed.Code != websocket.CloseServiceRestart {
		t.Errorf("closed with %v, want 1012", closed)
	}
	_, answer, err := gatewaytest.Dial(t.Context(), fmt.Sprintf("%s/wss/user?id=%s", gateway.URL, token))
	if answer == nil || answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a new client while stopping: %v, %v; want 503", answer, err)
	}
	gateway.mustStop()
}
