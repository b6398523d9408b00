package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/api"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/proto/event"
	pb "terasocket/proto/opentera"
)

// binaryDir is removed by TestMain.
var binaryDir string

// binary builds the program once per test process, with the race detector.
var binary = sync.OnceValues(func() (path string, err error) {
	if binaryDir, err = os.MkdirTemp("", "terasocket-test-"); err != nil {
		return "", err
	}
	path = filepath.Join(binaryDir, "terasocket")
	if out, err := exec.Command("go", "build", "-race", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

// served is a gateway in a process of its own.
type served struct {
	t       *testing.T
	process *exec.Cmd
	url     string // wss://127.0.0.1:port
	dbURL   string
	admin   string // http://127.0.0.1:port
	exited  chan error
	log     *strings.Builder // read it after exited
	cert    string
	key     string
}

// readyLine is what serve prints when it is ready.
var readyLine = regexp.MustCompile(`^terasocket \S+ ready: (\S+), health and metrics on (\S+)$`)

func serve(t *testing.T, databaseURL string, args ...string) *served {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &served{t: t, dbURL: databaseURL, exited: make(chan error, 1), log: &strings.Builder{}, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	if err := selfSigned(s.cert, s.key); err != nil {
		t.Fatal(err)
	}
	s.process = exec.Command(path, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--tls-cert", s.cert, "--tls-key", s.key, "--drain-time", "200ms"}, args...)...)
	s.process.Env = append(os.Environ(), "DATABASE_URL="+databaseURL)
	s.process.Stderr = s.log
	stdout, err := s.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.process.Process.Kill()
		<-s.exited
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", s.log)
		}
		if strings.Contains(s.log.String(), "DATA RACE") {
			t.Errorf("data race in the gateway:\n%s", s.log)
		}
	})
	tooLate := time.AfterFunc(time.Minute, func() { _ = s.process.Process.Kill() })
	defer tooLate.Stop()
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		s.exited <- s.process.Wait()
		t.Fatalf("the gateway did not get ready:\n%s", s.log)
	}
	match := readyLine.FindStringSubmatch(lines.Text())
	go func() {
		for lines.Scan() {
		}
		s.exited <- s.process.Wait()
		close(s.exited)
	}()
	if match == nil {
		t.Fatalf("unexpected ready line %q", lines.Text())
	}
	s.url, s.admin = match[1], match[2]
	return s
}

var insecure = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}

// socket is a client of the gateway.
type socket struct {
	t    *testing.T
	conn clientConn
}

func dial(t *testing.T, url string) *socket {
	t.Helper()
	conn, response, err := (&websocket.Dialer{TLSClientConfig: insecure, HandshakeTimeout: 10 * time.Second}).DialContext(t.Context(), url, nil)
	if err != nil {
		status := ""
		if response != nil {
			status = response.Status
		}
		t.Fatalf("dial: %v %s", err, status)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &socket{t, conn}
}

// readFrame reads the next frame. The limit is for one that never comes, on a busy machine too.
func (s *socket) readFrame() (kind int, data []byte, err error) {
	_ = s.conn.SetReadDeadline(time.Now().Add(time.Minute))
	return s.conn.ReadMessage()
}

// closed reads until the socket is closed.
func (s *socket) closed() *websocket.CloseError {
	s.t.Helper()
	for {
		_, _, err := s.readFrame()
		if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
			return closed
		} else if err != nil {
			s.t.Fatalf("read: %v", err)
		}
	}
}

// login connects as a user, by HTTP Basic over TLS. Who is online already gets no websocket URL there, as in OpenTera: then
// one is minted in the database.
func (s *served) login(username, query string) *socket {
	s.t.Helper()
	url, err := login(s.t.Context(), s.https(), username, opentera.DemoPassword, insecure)
	if err != nil && strings.Contains(err.Error(), "User already logged in.") {
		var token string
		err = dbtest.Conn(s.t, s.dbURL).QueryRow(s.t.Context(),
			"SELECT terasocket.create_connect_token('user', user_uuid) FROM t_users WHERE user_username = $1", username).Scan(&token)
		url = api.WebsocketURL(s.url, access.User, token)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return dial(s.t, url+query)
}

// https is the address of the REST endpoints.
func (s *served) https() string { return strings.Replace(s.url, "ws", "http", 1) }

// frame reads the next frame that is neither about presence (who comes and goes is heard all the time) nor a Cursor.
func (s *socket) frame() (kind int, data []byte) {
	s.t.Helper()
	for {
		kind, data, err := s.readFrame()
		if err != nil {
			s.t.Fatalf("read: %v", err)
		}
		if !isPresence(data) && !bytes.Contains(data, []byte("terasocket.v1.Cursor")) {
			return kind, data
		}
	}
}

// isPresence says whether a frame, of either encoding, holds a UserEvent, ParticipantEvent or DeviceEvent.
func isPresence(data []byte) bool {
	for _, name := range []string{"UserEvent", "ParticipantEvent", "DeviceEvent"} {
		if bytes.Contains(data, []byte("type.googleapis.com/opentera.protobuf."+name)) {
			return true
		}
	}
	return false
}

// event reads a protobuf frame with a DatabaseEvent.
func (s *socket) event() (event.Received, *pb.DatabaseEvent) {
	s.t.Helper()
	kind, data := s.frame()
	if kind != websocket.BinaryMessage {
		s.t.Fatalf("a frame of kind %d, want binary", kind)
	}
	e, err := event.ParseFrame(data)
	if err != nil {
		s.t.Fatal(err)
	}
	d, ok := e.Message.(*pb.DatabaseEvent)
	if !ok {
		s.t.Fatalf("a %T", e.Message)
	}
	return e, d
}

// mustHear reads the next event and compares type, object type and a part of its value.
func (s *socket) mustHear(kind pb.DatabaseEvent_EventType, objectType, part string) event.Received {
	s.t.Helper()
	e, d := s.event()
	if d.GetType() != kind || d.GetObjectType() != objectType || !strings.Contains(d.GetObjectValue(), part) {
		s.t.Errorf("heard %s %s %s, want %s %s with %s", d.GetType(), d.GetObjectType(), d.GetObjectValue(), kind, objectType, part)
	}
	return e
}

// psql changes the database as an operator or OpenTera would, in a session of its own.
func psql(t *testing.T, url, statement string) {
	t.Helper()
	if path, err := exec.LookPath("psql"); err == nil {
		if out, err := exec.CommandContext(t.Context(), path, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement, url).CombinedOutput(); err != nil {
			t.Fatalf("psql: %v: %s", err, out)
		}
		return
	}
	if _, err := dbtest.Conn(t, url).Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func TestFromPsqlToAFrameOnATLSSocket(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	gateway := serve(t, url)
	admin := gateway.login(opentera.DemoSuperadmin, "")
	paul := gateway.login(opentera.DemoProjectAdmin, "")
	patricia := gateway.login(opentera.DemoOtherProjectAdmin, "&encoding=json")
	nora := gateway.login(opentera.DemoNoRole, "&encoding=json&since=0")

	// participant 1 is in project 1: not patricia's, not nora's; 61 is in project 4: not paul's
	psql(t, url, `UPDATE t_participants SET participant_name = 'É "1"' WHERE id_participant = 1`)
	psql(t, url, `UPDATE t_participants SET participant_name = 'sixty-one' WHERE id_participant = 61`)
	// everybody sees herself: the sentinel of those who must not hear the above
	psql(t, url, `UPDATE t_users SET user_firstname = 'Sentinel' WHERE user_username IN ('patricia.project', 'paul.project', 'nora.norole')`)

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
		t.Errorf("patricia heard %v", e)
	}
	if _, hasSeq := f.Message.Header["seq"]; hasSeq || len(f.Message.Header) != 3 {
		t.Errorf("header of a json frame that did not ask for seq: %v", f.Message.Header)
	}
	if f := jsonEvent(nora); f.Message.Events[0]["objectType"] != "user" || f.Message.Header["seq"] == nil {
		t.Errorf("nora heard %v %v, want herself only, with seq", f.Message.Header, f.Message.Events[0])
	}

	// out of sight: a move
	psql(t, url, `UPDATE t_participants SET id_project = 4, id_participant_group = NULL WHERE id_participant = 2`)
	paul.mustHear(pb.DatabaseEvent_DB_DELETE, "participant", `"id_participant": 2`)
	if e := jsonEvent(patricia).Message.Events[0]; e["objectType"] == "participant" {
		if e["type"] != "DB_CREATE" {
			t.Errorf("patricia heard %v of the participant that came to her", e)
		}
	} else if e := jsonEvent(patricia).Message.Events[0]; e["objectType"] != "participant" || e["type"] != "DB_CREATE" { // herself came first
		t.Errorf("patricia heard %v of the participant that came to her", e)
	}

	// one-way: an answer, and the socket stays
	if err := paul.conn.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if kind, data := paul.frame(); kind != websocket.TextMessage || string(data) != "Not allowed to send message" {
		t.Errorf("answer to a client's message: %d %q", kind, data)
	}

	// a disabled user is cut off
	psql(t, url, `UPDATE t_users SET user_enabled = false WHERE user_username = 'paul.project'`)
	if closed := paul.closed(); closed.Code != 4000 || closed.Text != "CMD_CLIENT_DISCONNECT" {
		t.Errorf("closed with %v", closed)
	}

	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200} {
		response, err := http.Get(gateway.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %s", path, response.Status)
		}
	}

	// SIGTERM: come back, and exit code 0
	if err := gateway.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if closed := admin.closed(); closed.Code != websocket.CloseServiceRestart {
		t.Errorf("closed with %v", closed)
	}
	if err := <-gateway.exited; err != nil {
		t.Errorf("exit: %v", err)
	}
	for _, secret := range []string{opentera.DemoPassword, "?id=", "sixty-one", "Sentinel"} {
		if strings.Contains(gateway.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

func TestHandshakeOverTLS(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	gateway := serve(t, url)
	base := gateway.https()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: insecure}}
	t.Cleanup(client.CloseIdleConnections)
	status := func(path string, upgrade bool) int {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if upgrade {
			request.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
				"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	token := func(kind, uuid string) string {
		t.Helper()
		got := command(t.Context(), map[string]string{"DATABASE_URL": url}, "token", "--public-url", gateway.url, kind, uuid)
		if got.code != 0 {
			t.Fatal(got.stderr)
		}
		_, token, _ := strings.Cut(strings.TrimSpace(got.stdout), "?id=")
		return token
	}
	good := token("user", opentera.DemoProjectAdminUUID)
	for _, test := range []struct {
		path    string
		upgrade bool
		want    int
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
		if got := status(test.path, test.upgrade); got != test.want {
			t.Errorf("%.60s: %d, want %d", test.path, got, test.want)
		}
	}
	dial(t, gateway.url+"/wss/user?id="+good) // nothing of the above has consumed it
	if got := status("/wss/user?id="+good, true); got != 403 {
		t.Errorf("the same token again: %d, want 403", got)
	}
	late := token("participant", opentera.DemoParticipantUUID)
	psql(t, url, `UPDATE terasocket.connect_tokens SET expires_at = now() - interval '1 second'`)
	if got := status("/wss/participant?id="+late, true); got != 403 {
		t.Errorf("a late token: %d, want 403", got)
	}
	gone := token("device", opentera.DemoDeviceUUID)
	psql(t, url, `UPDATE t_devices SET device_enabled = false WHERE device_uuid = '`+opentera.DemoDeviceUUID+`'`)
	if got := status("/wss/device?id="+gone, true); got != 403 {
		t.Errorf("the token of a device disabled since: %d, want 403", got)
	}

	race := token("user", opentera.DemoSuperadminUUID)
	var wg sync.WaitGroup
	var mu sync.Mutex
	opened := 0
	for range 100 {
		wg.Go(func() {
			conn, response, err := (&websocket.Dialer{TLSClientConfig: insecure}).DialContext(t.Context(), gateway.url+"/wss/user?id="+race, nil)
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
		t.Errorf("%d of 100 handshakes with one token succeeded, want 1", opened)
	}
}

func TestLoginOverTLS(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	gateway := serve(t, url)
	base := gateway.https()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: insecure}}
	t.Cleanup(client.CloseIdleConnections)
	for _, test := range []struct {
		username, password, query string
		status                    int
		key, value                string
	}{
		{"nobody", opentera.DemoPassword, "", 401, "", ""},
		{opentera.DemoSuperadmin, "wrong", "", 401, "", ""},
		{opentera.DemoDisabled, opentera.DemoPassword, "?with_websocket=true", 401, "", ""},
		{opentera.DemoDeleted, opentera.DemoPassword, "?with_websocket=true", 401, "", ""},
		{opentera.DemoOTP, opentera.DemoPassword, "?with_websocket=true", 200, "reason", "2fa"},
		{opentera.DemoForcedChange, opentera.DemoPassword, "?with_websocket=true", 200, "reason", "password_change"},
		{opentera.DemoSuperadmin, opentera.DemoPassword, "?with_websocket=perhaps", 400, "", ""},
		{opentera.DemoSuperadmin, opentera.DemoPassword, "", 200, "websocket_url", ""},
		{opentera.DemoSuperadmin, opentera.DemoPassword, "?with_websockets=True", 200, "user_uuid", opentera.DemoSuperadminUUID},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/api/user/login"+test.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(test.username, test.password)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var answer map[string]string
		if response.StatusCode == 200 {
			err = json.NewDecoder(response.Body).Decode(&answer)
		}
		_ = response.Body.Close()
		if response.StatusCode != test.status || err != nil || answer[test.key] != test.value {
			t.Errorf("%s %s: %s %v %v, want %d and %s = %q", test.username, test.query, response.Status, answer, err, test.status, test.key, test.value)
		}
		if answer["reason"] != "" && answer["websocket_url"] != "" {
			t.Errorf("%s: a URL before the second step", test.username)
		}
	}
}

// serial is that of the certificate that the gateway shows.
func (s *served) serial() string {
	s.t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "wss://"), insecure)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestTheCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	gateway := serve(t, dbtest.New(t, migrated()))
	first := gateway.serial()
	if err := os.WriteFile(gateway.cert, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(certificateCheck + 50*time.Millisecond)
	if gateway.serial() != first {
		t.Error("a certificate that cannot be read has taken the place of the good one")
	}
	if err := selfSigned(gateway.cert, gateway.key); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new certificate is in use", func() bool { return gateway.serial() != first })
	if conn, err := tls.Dial("tcp", strings.TrimPrefix(gateway.url, "wss://"), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 was taken")
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	gateway := serve(t, url)
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
				code <- run(ctx, append([]string{"tail", "--json", "--ca", gateway.cert, gateway.url}, args...), func(string) string { return "" }, stdout, &stderr)
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
				psql(t, url, fmt.Sprintf("UPDATE t_participants SET participant_name = 'tail %d' WHERE id_participant IN (1, 61)", i))
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
		"say who to be":      {"tail"},
		"exclude each other": {"tail", "--as", "user:x", "--username", "y"},
		"is not KIND:UUID":   {"tail", "--as", "x"},
		"unknown kind":       {"tail", "--as", "robot:x"},
		"wrong username or":  {"tail", "--insecure", "--username", "admin", "--password", "wrong", gateway.url},
		"trust it with --ca": {"tail", "--username", "admin", "--password", "wrong", gateway.url},
		"holds no certif":    {"tail", "--ca", "/dev/null", "--as", "user:x"},
	} {
		if got := command(t.Context(), nil, args...); got.code != 1 || !strings.Contains(got.stderr, name) {
			t.Errorf("%q: %+v", name, got)
		}
	}
}
