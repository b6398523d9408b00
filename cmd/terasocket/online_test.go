package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	pb "terasocket/proto/opentera"
)

// Online users, device statuses and disconnects, through the REST calls of users, devices and services.
func TestPresenceByREST(t *testing.T) {
	t.Parallel()
	gateway := serve(t, dbtest.New(t, migrated()))
	gateway.part("online, status and disconnect", presenceByREST)
	gateway.part("forced disconnects", forcedDisconnects)
}

func presenceByREST(t *testing.T, gateway *served) {
	status := func(id int, want string) {
		t.Helper()
		token := dbtest.One[string](t, gateway.conn(), "SELECT device_token FROM t_devices WHERE id_device = $1", id)
		if got := gateway.call(http.MethodPost, "/api/device/status", `{"status": {"battery": 50}, "timestamp": 1732345678.123456}`, bearer(token)); got != want {
			t.Errorf("status of device %d: %s, want %s", id, got, want)
		}
	}
	get := func(path string, authorize func(*http.Request), want string) {
		t.Helper()
		if got := gateway.call(http.MethodGet, path, "", authorize); got != want {
			t.Errorf("%s: %s\nwant %s", path, got, want)
		}
	}
	ids := func(path, username, key, want string) {
		t.Helper()
		var objects []map[string]any
		answer := gateway.call(http.MethodGet, path, "", basic(username))
		if err := json.Unmarshal([]byte(strings.TrimPrefix(answer, "200 ")), &objects); err != nil {
			t.Fatalf("%s: %v: %s", path, err, answer)
		}
		got := []string{}
		for _, o := range objects {
			got = append(got, fmt.Sprint(o[key]))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s of %s: %q, want %s", path, username, got, want)
		}
	}

	status(opentera.DemoDeviceID, `403 "Status update forbidden on offline device."`)
	status(opentera.DemoDisabledDeviceID, `401 "Disabled device"`)
	admin := gateway.listen("user", opentera.DemoSuperadminUUID, "&encoding=json")
	ursula := gateway.listen("user", opentera.DemoProjectUserUUID, "")
	nora := gateway.listen("user", opentera.DemoNoRoleUUID, "")
	lucie := gateway.listen("participant", opentera.DemoParticipantUUID, "&encoding=json")
	rene := gateway.listen("participant", opentera.DemoOtherParticipantUUID, "")
	tablet := gateway.listen("device", opentera.DemoDeviceUUID, "")
	for range 6 { // the last of them shows that all are registered
		admin.mustHearPresence()
	}

	ids("/api/user/users/online", opentera.DemoProjectUser, "id_user", "9")
	ids("/api/user/users/online", opentera.DemoSuperadmin, "id_user", "13 1 9") // Nora, Sylvie, Ursula
	ids("/api/user/participants/online", opentera.DemoProjectUser, "id_participant", "1")
	ids("/api/user/participants/online?with_sites=true", opentera.DemoOtherSiteAdmin, "id_site", "2")
	ids("/api/user/devices/online", opentera.DemoSiteUser, "id_device", "1")
	get("/api/user/devices/online", basic(opentera.DemoOtherSiteAdmin), "200 []")
	get("/api/user/users/online", basic(opentera.DemoForcedChange), `401 {"message":"Unauthorized - User must login first to change password"}`)

	status(opentera.DemoDeviceID, `200 {"uuid":"`+opentera.DemoDeviceUUID+`","status":"{\"battery\":50}","timestamp":1732345678.123456}`)
	if heard := ursula.next(); !strings.Contains(heard, "DEVICE_STATUS_CHANGED") || !strings.Contains(heard, "1732345678.123456") {
		t.Errorf("received %s", heard)
	}
	get("/api/user/devices/online", basic(opentera.DemoProjectUser), `200 [{"device_enabled":true,"device_name":"Kit TeraPlus 01","device_uuid":"`+opentera.DemoDeviceUUID+
		`","id_device":1,"id_device_subtype":1,"id_device_type":1,"device_online":true,"device_busy":false,`+
		`"device_status":{"online":true,"busy":false,"status":{"status":"{\"battery\":50}","timestamp":1732345678.123456}}}]`)

	// users disconnect those that they administer, services those of their projects
	get("/api/user/disconnect?id_participant=61", basic(opentera.DemoProjectAdmin), `403 "Forbidden"`)
	get("/api/user/disconnect?id_participant=1", basic(opentera.DemoProjectUser), `403 "Forbidden"`)
	get("/api/user/disconnect?id_user=9", basic(opentera.DemoProjectUser), `400 "Use Logout instead to disconnect current user"`)
	get("/api/user/disconnect", basic(opentera.DemoProjectAdmin), `400 "Invalid request"`)
	get("/api/user/disconnect?participant_uuid="+opentera.DemoParticipantUUID, basic(opentera.DemoProjectAdmin), `200 "Success"`)
	get("/api/user/disconnect?id_user=9", basic(opentera.DemoProjectAdmin), `200 "Success"`)
	service, _ := serviceToken(t, gateway.conn())
	get("/api/service/disconnect?id_user=13", bearer(service), `403 "Forbidden"`)
	get("/api/service/disconnect?id_device=1", bearer(service), `200 "Success"`)
	get("/api/service/disconnect?id_device=1", bearer("x"), `401 "Unauthorized"`)
	for _, e := range []*ear{lucie, ursula, tablet} {
		got := e.next()
		for strings.Contains(got, "DEVICE_STATUS_CHANGED") { // the tablet receives its own
			got = e.next()
		}
		if got != kicked {
			t.Errorf("%s: %s", e.name, got)
		}
	}
	for _, e := range []*ear{nora, rene} { // they stay
		gateway.exec(archiveOf(e.uuid, "stays"))
		if got := e.next(); !strings.Contains(got, "stays") {
			t.Errorf("%s: %s", e.name, got)
		}
	}
}

// mustHearPresence waits for a connect or disconnect.
func (e *ear) mustHearPresence() {
	e.t.Helper()
	for {
		kind, data, err := e.readFrame()
		if err != nil {
			e.t.Fatal(err)
		}
		_, message := e.parse(kind, data)
		switch message.(type) {
		case *pb.UserEvent, *pb.ParticipantEvent, *pb.DeviceEvent:
			return
		}
	}
}
