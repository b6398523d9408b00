package main

import (
	"testing"

	"github.com/gorilla/websocket"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/proto/event"
	"terasocket/proto/terasocket"
)

// After a restart of PostgreSQL sockets are closed with 1011. A client with a cursor from before resumes; a cursor between the
// two epochs was never given out.
func epochEnds(t *testing.T, gateway *served) {
	pool := dbtest.Pool(t, gateway.dbURL)
	paul, errors := gateway.login(opentera.DemoProjectAdmin, ""), gateway.Log.Count("level=ERROR")
	renameAlone(t, pool, 1, "before")
	cursor := paul.mustHearNames("before").Seq

	gateway.exec(`UPDATE terasocket.epochs SET started_at = started_at - interval '1 day'`) // the effect of a restart
	renameAlone(t, pool, 1, "after")
	if closed := paul.closed(); closed.Code != websocket.CloseInternalServerErr {
		t.Errorf("closed with %v, want 1011", closed)
	}
	dbtest.Eventually(t, "the log says why", func() bool { return gateway.Log.Count("level=WARN msg=\"PostgreSQL was started again") == 1 })
	if gateway.Log.Count("level=ERROR") > errors {
		t.Errorf("its log: %s", &gateway.Log)
	}
	dbtest.Eventually(t, "the gateway is ready again", func() bool { code, _ := gateway.Ask(t.Context(), "/readyz"); return code == 200 })
	gateway.resume(cursor).mustHearNames("after")

	begin := uint64(dbtest.One[int64](t, pool, "SELECT max(begin) FROM terasocket.epochs"))
	_, data := gateway.resume(begin - 1).frame()
	e, err := event.ParseFrame(data)
	if err != nil {
		t.Fatal(err)
	}
	if _, isIncomplete := e.Message.(*terasocket.ReplayIncomplete); !isIncomplete {
		t.Errorf("resuming from %d, before %d: the first event is %s", begin-1, begin, describe(e))
	}
}
