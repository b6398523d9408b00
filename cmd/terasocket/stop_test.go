package main

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// SIGTERM, with a client that answers nothing and one that does not read its replay: not ready, no new sockets, 1012 for the others, and
// exit code 0 in time.
func TestStoppingWithClientsThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	gateway := serve(t, dbtest.New(t, migrated()), "--drain-time", "5s")
	before := dbtest.One[int64](t, gateway.conn(), "SELECT last_seq FROM terasocket.announcer")
	gateway.exec(`INSERT INTO t_participants (id_participant, participant_uuid, participant_name, id_project, participant_enabled,
			participant_token_enabled, participant_login_enabled, version_id)
		SELECT 100000 + i, gen_random_uuid()::text, i || repeat('x', 9000), 1, true, false, false, 1 FROM generate_series(1, 300) i`)
	dbtest.Eventually(t, "all is announced", func() bool {
		return dbtest.One[int64](t, gateway.conn(), "SELECT count(*) FROM terasocket.changes") == 0
	})
	listens := gateway.login(opentera.DemoProjectAdmin, "")
	gateway.login(opentera.DemoProjectAdmin, "")                               // answers nothing, since nobody reads
	gateway.login(opentera.DemoProjectAdmin, fmt.Sprintf("&since=%d", before)) // nor does this one, with 3 MB on their way to it
	address := gateway.address("user", opentera.DemoProjectAdminUUID)
	gateway.waitReady(http.StatusOK, "ready")
	gateway.signal(syscall.SIGTERM)
	gateway.waitReady(http.StatusServiceUnavailable, "draining")
	gateway.mustTurnAway(address)
	if closed := listens.closed(); closed.Code != websocket.CloseServiceRestart {
		t.Errorf("closed with %v, want 1012", closed)
	}
	gateway.mustExit()
}
