package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	pb "terasocket/proto/opentera"
)

// One gateway with TLS, and what a client, an operator and a proxy see of it.
func TestOverTLS(t *testing.T) {
	t.Parallel()
	gateway := serve(t, dbtest.New(t, migrated()))
	gateway.part("login", passwordLogin)
	gateway.part("handshake", handshake)
	gateway.part("tail", tail)
	gateway.part("healthcheck", healthcheck)
	gateway.part("doctor of a healthy installation", healthy)
	gateway.part("doctor finds a proxy that drops Upgrade", upgradeIsDropped)
	gateway.part("the certificate is read again", certificateIsReadAgain)
	gateway.part("from psql to a frame", fromPsqlToAFrame)
}

// The last part: the gateway ends.
func fromPsqlToAFrame(t *testing.T, gateway *served) {
	admin := gateway.login(opentera.DemoSuperadmin, "")
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	patricia := gateway.login(opentera.DemoOtherProjectAdmin, "&encoding=json")
	nora := gateway.login(opentera.DemoNoRole, "&encoding=json&since=0")

	// participant 1 is in project 1: not patricia's, not nora's; 61 is in project 4: not paul's
	const rename = `UPDATE t_participants SET participant_name = 'É "1"' WHERE id_participant = 1`
	if path, err := exec.LookPath("psql"); err != nil {
		gateway.exec(rename)
	} else if out, err := exec.CommandContext(t.Context(), path, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", rename, gateway.dbURL).CombinedOutput(); err != nil {
		t.Fatalf("psql: %v: %s", err, out)
	}
	gateway.exec(`UPDATE t_participants SET participant_name = 'sixty-one' WHERE id_participant = 61`)
	// everybody sees herself: the sentinel of those who must not receive the above
	gateway.exec(`UPDATE t_users SET user_firstname = 'Sentinel' WHERE user_username IN ('patricia.project', 'paul.project', 'nora.norole')`)

	first := admin.mustHear(pb.DatabaseEvent_DB_UPDATE, "participant", `É \"1\"`)
	second := admin.mustHear(pb.DatabaseEvent_DB_UPDATE, "participant", "sixty-one")
	if first.Seq == 0 || second.Seq <= first.Seq || first.Topic != "module.TeraServer.DatabaseModule.events.participant" {
		t.Errorf("headers: %+v, %+v", first, second)
	}
	paul.mustHear(pb.DatabaseEvent_DB_UPDATE, "participant", `É \"1\"`)
	paul.mustHear(pb.DatabaseEvent_DB_UPDATE, "user", "Sentinel")

	type jsonFrame struct {
		Message struct {
			Type   string `json:"@type"`
			Header map[string]any
			Events []map[string]any
		}
	}
	jsonEvent := func(s *socket) jsonFrame {
		t.Helper()
		kind, data := s.frame()
		var f jsonFrame
		if err := json.Unmarshal(data, &f); err != nil || kind != websocket.TextMessage {
			t.Fatalf("frame of kind %d: %v: %s", kind, err, data)
		}
		if f.Message.Type != "type.googleapis.com/opentera.protobuf.TeraEvent" || len(f.Message.Events) != 1 ||
			f.Message.Events[0]["@type"] != "type.googleapis.com/opentera.protobuf.DatabaseEvent" {
			t.Fatalf("frame: %s", data)
		}
		return f
	}
	f := jsonEvent(patricia)
	if e := f.Message.Events[0]; e["objectType"] != "participant" || e["type"] != "DB_UPDATE" || !strings.Contains(fmt.Sprint(e["objectValue"]), "sixty-one") {
		t.Errorf("patricia received %v", e)
	}
	if _, hasSeq := f.Message.Header["seq"]; hasSeq || len(f.Message.Header) != 3 {
		t.Errorf("header of a json frame without seq: %v", f.Message.Header)
	}
	if f := jsonEvent(nora); f.Message.Events[0]["objectType"] != "user" || f.Message.Header["seq"] == nil {
		t.Errorf("nora received %v %v, want only her own event, with seq", f.Message.Header, f.Message.Events[0])
	}

	// out of sight: a move
	gateway.exec(`UPDATE t_participants SET id_project = 4, id_participant_group = NULL WHERE id_participant = 2`)
	paul.mustHear(pb.DatabaseEvent_DB_DELETE, "participant", `"id_participant": 2`)
	if e := jsonEvent(patricia).Message.Events[0]; e["objectType"] == "participant" {
		if e["type"] != "DB_CREATE" {
			t.Errorf("patricia received %v for the participant that moved to her project", e)
		}
	} else if e := jsonEvent(patricia).Message.Events[0]; e["objectType"] != "participant" || e["type"] != "DB_CREATE" { // her own event came first
		t.Errorf("patricia received %v for the participant that moved to her project", e)
	}

	// one-way: the gateway answers, and the socket stays
	if err := paul.conn.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if kind, data := paul.frame(); kind != websocket.TextMessage || string(data) != "Not allowed to send message" {
		t.Errorf("answer to a client's message: %d %q", kind, data)
	}

	// a disabled user is disconnected
	gateway.exec(`UPDATE t_users SET user_enabled = false WHERE user_username = 'paul.project'`)
	if closed := paul.closed(); closed.Code != 4000 || closed.Text != "CMD_CLIENT_DISCONNECT" {
		t.Errorf("closed with %v", closed)
	}

	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if code, body := gateway.Ask(t.Context(), path); code != 200 {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}

	// SIGTERM: 1012, and exit code 0
	gateway.signal(syscall.SIGTERM)
	if closed := admin.closed(); closed.Code != websocket.CloseServiceRestart {
		t.Errorf("closed with %v", closed)
	}
	gateway.mustExit()
	for _, secret := range []string{opentera.DemoPassword, "?id=", "sixty-one", "Sentinel"} {
		if strings.Contains(gateway.Log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if got := command(t.Context(), map[string]string{"DATABASE_URL": gateway.dbURL}, "audit", "--as", "user:"+opentera.DemoProjectAdminUUID); got.code != 0 ||
		got.stdout != "nothing was ever recorded: no gateway has run with --audit-deliveries\n" {
		t.Errorf("%+v", got)
	}
}

func handshake(t *testing.T, gateway *served) {
	status := func(path string, isUpgrade bool) int {
		t.Helper()
		response, _ := gateway.request(gatewaytest.Insecure, http.MethodGet, path, "", func(r *http.Request) {
			if isUpgrade {
				r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
					"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
			}
		})
		return response.StatusCode
	}
	token := func(kind, uuid string) string {
		t.Helper()
		got := command(t.Context(), map[string]string{"DATABASE_URL": gateway.dbURL}, "token", "--public-url", gateway.URL, kind, uuid)
		if got.code != 0 {
			t.Fatal(got.stderr)
		}
		_, token, _ := strings.Cut(strings.TrimSpace(got.stdout), "?id=")
		return token
	}
	good := token("user", opentera.DemoProjectAdminUUID)
	for _, test := range []struct {
		path      string
		isUpgrade bool
		want      int
	}{
		{"/wss/user", true, 403},
		{"/wss/user?id=", true, 403},
		{"/wss/user?id=" + strings.Repeat("x", 43), true, 403},
		{"/wss/user?id=%00%ff'--", true, 403},
		{"/wss/user?id=" + good, false, 426},
		{"/wss/participant?id=" + good, true, 403},
		{"/wss/device?id=" + good, true, 403},
		{"/wss/user?encoding=xml&id=" + good, true, 400},
		{"/wss/user?since=-1&id=" + good, true, 400},
		{"/wss/user?id=" + strings.Repeat("x", 1<<20), true, 431},
		{"/wss", true, 404},
		{"/wss/robot?id=" + good, true, 404},
	} {
		if got := status(test.path, test.isUpgrade); got != test.want {
			t.Errorf("%.60s: %d, want %d", test.path, got, test.want)
		}
	}
	dial(t, gateway.URL+"/wss/user?id="+good) // none of the above has used it up
	if got := status("/wss/user?id="+good, true); got != 403 {
		t.Errorf("the same token again: %d, want 403", got)
	}
	late := token("participant", opentera.DemoParticipantUUID)
	gateway.exec(`UPDATE terasocket.connect_tokens SET expires_at = now() - interval '1 second'`)
	if got := status("/wss/participant?id="+late, true); got != 403 {
		t.Errorf("a late token: %d, want 403", got)
	}
	gone := token("device", opentera.DemoDeviceUUID)
	const enable = "UPDATE t_devices SET device_enabled = $1 WHERE device_uuid = $2"
	gateway.exec(enable, false, opentera.DemoDeviceUUID)
	if got := status("/wss/device?id="+gone, true); got != 403 {
		t.Errorf("the token of a device disabled since: %d, want 403", got)
	}
	gateway.exec(enable, true, opentera.DemoDeviceUUID)

	race := token("user", opentera.DemoSuperadminUUID)
	var wg sync.WaitGroup
	var mu sync.Mutex
	opened := 0
	racers := dbtest.Many(100, 30)
	for range racers {
		wg.Go(func() {
			conn, response, err := gatewaytest.Dial(t.Context(), gateway.URL+"/wss/user?id="+race)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				opened++
				_ = conn.Close()
			} else if response == nil || response.StatusCode != 403 && response.StatusCode != 429 {
				t.Errorf("a loser of the race got %v %v", err, response)
			}
		})
	}
	wg.Wait()
	if opened != 1 {
		t.Errorf("%d of %d handshakes with one token succeeded, want 1", opened, racers)
	}
}

func passwordLogin(t *testing.T, gateway *served) {
	for _, test := range []struct {
		username, password, query string
		status                    int
		key, value                string
	}{
		{opentera.DemoSuperadmin, "wrong", "", 401, "", ""},
		{opentera.DemoDisabled, opentera.DemoPassword, "?with_websocket=true", 401, "", ""},
		{opentera.DemoOTP, opentera.DemoPassword, "?with_websocket=true", 200, "reason", "2fa"},
		{opentera.DemoForcedChange, opentera.DemoPassword, "?with_websocket=true", 200, "reason", "password_change"},
		{opentera.DemoSuperadmin, opentera.DemoPassword, "?with_websocket=perhaps", 400, "", ""},
		{opentera.DemoSuperadmin, opentera.DemoPassword, "", 200, "websocket_url", ""},
		{opentera.DemoSuperadmin, opentera.DemoPassword, "?with_websockets=True", 200, "user_uuid", opentera.DemoSuperadminUUID},
	} {
		status, answer, text := gateway.visit(gatewaytest.Insecure, "/api/user/login"+test.query, func(r *http.Request) { r.SetBasicAuth(test.username, test.password) })
		if got, _ := answer[test.key].(string); status != test.status || got != test.value {
			t.Errorf("%s %s: %d %s, want %d and %s = %q", test.username, test.query, status, text, test.status, test.key, test.value)
		}
		if answer["reason"] != nil && answer["websocket_url"] != nil {
			t.Errorf("%s: a URL before the second step", test.username)
		}
	}
}

// serial is that of the certificate that the gateway shows.
func (s *served) serial() string {
	s.t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.URL, "wss://"), gatewaytest.Insecure)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// The certificate is read again when it changes, and at SIGHUP; a bad one never takes the place of the good one.
func certificateIsReadAgain(t *testing.T, gateway *served) {
	first := gateway.serial()
	says := func(text string) {
		t.Helper()
		dbtest.Eventually(t, text, func() bool { gateway.serial(); return gateway.Log.Count(text) > 0 })
	}
	if err := os.WriteFile(gateway.cert, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	says("certificate not read again")
	gateway.signal(syscall.SIGHUP)
	says("SIGHUP: not read again")
	if gateway.serial() != first {
		t.Error("a certificate that cannot be read has taken the place of the good one")
	}
	if err := selfSigned(gateway.cert, gateway.key); err != nil {
		t.Fatal(err)
	}
	dbtest.Eventually(t, "the new certificate is in use", func() bool { return gateway.serial() != first })
	gateway.signal(syscall.SIGHUP)
	says("SIGHUP: certificate and --client-ca read again")
	if conn, err := tls.Dial("tcp", strings.TrimPrefix(gateway.URL, "wss://"), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 was taken")
	}
}

func tail(t *testing.T, gateway *served) {
	url := gateway.dbURL
	for name, args := range map[string][]string{
		"through the database": {"--as", "user:" + opentera.DemoProjectAdminUUID, "--database-url", url},
		"by login":             {"--username", opentera.DemoProjectAdmin, "--password", opentera.DemoPassword},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out, stdout := io.Pipe()
			var stderr strings.Builder
			code := make(chan int, 1)
			go func() {
				code <- run(ctx, append([]string{"tail", "--json", "--ca", gateway.cert, gateway.URL}, args...), func(string) string { return "" }, stdout, &stderr)
				_ = stdout.Close()
			}()
			lines := make(chan string)
			go func() {
				defer close(lines)
				for scanner := bufio.NewScanner(out); scanner.Scan(); {
					lines <- scanner.Text()
				}
			}()
			// change things until tail has printed one: it cannot say when it is connected
			line := ""
			for i := 0; line == ""; i++ {
				gateway.exec("UPDATE t_participants SET participant_name = $1 WHERE id_participant IN (1, 61)", fmt.Sprint("tail ", i))
				select {
				case text, isOpen := <-lines:
					if !isOpen {
						t.Fatalf("tail ended: %d %s", <-code, &stderr)
					}
					if !isPresence([]byte(text)) {
						line = text
					}
				case <-time.After(100 * time.Millisecond):
				}
			}
			cancel()
			var e struct {
				Seq   uint64
				Event map[string]any
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil || e.Seq == 0 || e.Event["objectType"] != "participant" {
				t.Errorf("%s: %v", line, err)
			}
			for text := range lines {
				line += text
			}
			if code := <-code; code != 0 || strings.Contains(line, `\"id_participant\": 61`) {
				t.Errorf("exit code %d, %s: %s", code, line, &stderr)
			}
		})
	}
	for name, args := range map[string][]string{
		"wrong username or":  {"tail", "--insecure", "--username", "admin", "--password", "wrong", gateway.URL},
		"trust it with --ca": {"tail", "--username", "admin", "--password", "wrong", gateway.URL},
		"holds no certif":    {"tail", "--ca", "/dev/null", "--as", "user:x"},
	} {
		if got := command(t.Context(), nil, args...); got.code != 1 || !strings.Contains(got.stderr, name) {
			t.Errorf("%q: %+v", name, got)
		}
	}
}
