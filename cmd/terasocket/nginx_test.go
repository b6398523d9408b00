package main

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/embedded"
	"terasocket/db/opentera"
	pb "terasocket/proto/opentera"
)

// stockWSS is location /wss of OpenTera's nginx (shared/clients.md): no Host, no X-Forwarded-For, 30 s. %s is the line with the
// destination.
const stockWSS = `location /wss {
	%s
	proxy_read_timeout 30s;
	%s
	proxy_http_version 1.1;
	proxy_set_header Upgrade $http_upgrade;
	proxy_set_header Connection "upgrade";
}
`

// frontend is an nginx like OpenTera's, with TLS.
type frontend struct {
	t    *testing.T
	port int
	dir  string
}

// snippet returns an nginx file of deploy/opentera, with another address of the gateway.
func snippet(t *testing.T, file, written, address string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy/opentera", file))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), written) {
		t.Fatalf("%s does not name %s", file, written)
	}
	return strings.ReplaceAll(string(text), written, address)
}

// devicesFirst is the location that deploy/opentera/README.md has for one kind of clients, with another resolver in it if there is one.
func devicesFirst(t *testing.T, resolver string) string {
	t.Helper()
	const written = "resolver 127.0.0.11;"
	_, text, found := strings.Cut(snippet(t, "README.md", written, cmp.Or(resolver, written)), "location /wss/device {")
	location, _, isWhole := strings.Cut(text, "\n}\n```")
	if !found || !isWhole {
		t.Fatal("README.md has no location /wss/device")
	}
	return "location /wss/device {" + location + "\n}\n"
}

// startNginx starts an nginx with these locations and this terasocket.conf. It ends with the test.
func startNginx(t *testing.T, serverName, locations, terasocketConf string) *frontend {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx"
		if _, err := os.Stat(program); err != nil {
			t.Fatal("no nginx to test with: make nginx")
		}
	}
	f := &frontend{t: t, dir: must(os.MkdirTemp("/tmp", "terasocket-nginx-")), port: must(embedded.FreePort())} // nginx's user cannot enter t.TempDir
	t.Cleanup(func() { _ = os.RemoveAll(f.dir) })
	if err := selfSigned(f.path("cert.pem"), f.path("key.pem")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"opentera.conf":   locations,
		"terasocket.conf": terasocketConf,
		"nginx.conf": fmt.Sprintf(`daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen 127.0.0.1:%[2]d ssl;
		server_name %[3]s;
		ssl_certificate %[1]s/cert.pem;
		ssl_certificate_key %[1]s/key.pem;
		ssl_verify_client optional_no_ca;
		include opentera.conf;
	}
}
`, f.dir, f.port, serverName),
	} {
		if err := os.WriteFile(f.path(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"": 0o777, "key.pem": 0o644} { // a test key
		if err := os.Chmod(f.path(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	kill, _, err := embedded.Program(program, "-p", f.dir, "-c", f.path("nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kill)
	dbtest.Eventually(t, "nginx answers", func() bool {
		conn, err := net.Dial("tcp", f.host())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return f
}

func (f *frontend) path(name string) string { return filepath.Join(f.dir, name) }
func (f *frontend) host() string            { return fmt.Sprintf("127.0.0.1:%d", f.port) }

// dialFrom opens a socket as a client at another loopback address, with any headers.
func (f *frontend) dialFrom(address, url string, lies http.Header) (*websocket.Conn, *http.Response, error) {
	dialer := websocket.Dialer{TLSClientConfig: gatewaytest.Insecure, HandshakeTimeout: 10 * time.Second,
		NetDialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext}
	return dialer.DialContext(f.t.Context(), url, lies)
}

// names answers every A query with 127.0.0.1, as Docker's DNS answers for a service.
func names(t *testing.T) (address string) {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = socket.Close(); <-done })
	go func() {
		defer close(done)
		packet := make([]byte, 512)
		for {
			n, from, err := socket.ReadFrom(packet)
			if err != nil {
				return
			}
			answer := append([]byte{}, packet[:n]...)
			answer[2], answer[3] = 0x81, 0x80         // an answer, no error
			if packet[n-3] == 1 && packet[12] == 10 { // a query for A, with a name that begins with ten letters: terasocket
				answer[7] = 1
				answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1) // the queried name, 60 s
			}
			_, _ = socket.WriteTo(answer, from)
		}
	}()
	return socket.LocalAddr().String()
}

// layouts are the two installations: additions to the stock location, and our snippet.
func layouts(t *testing.T, gateway string) map[string]struct{ resolver, conf string } {
	t.Helper()
	_, port, err := net.SplitHostPort(gateway)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]struct{ resolver, conf string }{
		"bare":    {"", snippet(t, "terasocket.conf", "127.0.0.1:4050", gateway)},
		"compose": {"resolver " + names(t) + " ipv6=off;", snippet(t, "compose/terasocket.conf", "terasocket:4050", "terasocket:"+port)},
	}
}

// One line in OpenTera's stock location leads /wss here: sockets open through a real nginx, the client's own address is known,
// and no client can forge it.
func TestBehindOpenTerasNginx(t *testing.T) {
	t.Parallel()
	gateway := servePlain(t, gatewaytest.Config{Database: dbtest.New(t, migrated()), Args: []string{"--trusted-proxies", "127.0.0.1"}})
	for name, layout := range layouts(t, strings.TrimPrefix(gateway.URL, "ws://")) {
		t.Run(name, func(t *testing.T) {
			f := startNginx(t, "tera.example", fmt.Sprintf(stockWSS, layout.resolver, "include terasocket.conf;")+
				fmt.Sprintf("location /api { %s include terasocket.conf; }", layout.resolver), layout.conf)
			conn, response, err := f.dialFrom("127.0.0.2", strings.Replace(gateway.address("user", opentera.DemoProjectAdminUUID), gateway.URL, "wss://"+f.host(), 1),
				http.Header{"X-Forwarded-For": {"203.0.113.9"}, "X-Client-Name": {name}})
			if err != nil {
				t.Fatalf("%v: %+v", err, response)
			}
			defer func() { _ = conn.Close() }()
			gateway.exec("UPDATE t_sites SET site_name = $1 WHERE id_site = 1", "heard by "+name)
			(&socket{t: t, conn: conn}).mustHear(pb.DatabaseEvent_DB_UPDATE, "site", "heard by "+name)
			dbtest.Eventually(t, "the client's own address is recorded", func() bool {
				return dbtest.One[int](t, gateway.conn(), "SELECT count(*) FROM terasocket.connections WHERE client_name = $1 AND address = '127.0.0.2'", name) == 1
			})

			// the URL of a login through nginx has the public name, not one that a client claims
			public := &served{Gateway: &gatewaytest.Gateway{URL: "wss://" + f.host()}, t: t}
			status, login, _ := public.visit(gatewaytest.Insecure, "/api/user/login?with_websocket=true", func(r *http.Request) {
				r.SetBasicAuth(opentera.DemoProjectUser, opentera.DemoPassword)
				r.Header.Set("X-ExternalServer", "evil.example")
				r.Header["X_ExternalServer"] = []string{"evil.example"}
			})
			if url, _ := login["websocket_url"].(string); !strings.HasPrefix(url, fmt.Sprintf("wss://tera.example:%d/wss/user?id=", f.port)) {
				t.Errorf("login answers %d, %.60s", status, url)
			}
		})
	}
}

// What nginx passes on for each path: devices here and users still at OpenTera, by the same line; the stock line leads back.
func TestDevicesFirst(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	ours := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r }))
	t.Cleanup(ours.Close)
	theirs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "OpenTera "+r.URL.Path, http.StatusForbidden)
	}))
	t.Cleanup(theirs.Close)
	stock := "proxy_pass " + theirs.URL + "/wss;"
	for name, layout := range layouts(t, strings.TrimPrefix(ours.URL, "http://")) {
		t.Run(name, func(t *testing.T) {
			f := startNginx(t, "tera.example", fmt.Sprintf(stockWSS, layout.resolver, stock)+devicesFirst(t, layout.resolver), layout.conf)
			_, _, _ = f.dialFrom("127.0.0.3", "wss://"+f.host()+"/wss/device?id=x", http.Header{"X-SSL-CLIENT-DN": {"CN=Device"}, "X-SSL-VERIFIED": {"SUCCESS"}, "X-ExternalPort": {"1"}})
			r := <-seen
			for header, want := range map[string]string{
				"X-Forwarded-For": "127.0.0.3", "X-ExternalServer": "tera.example", "X-ExternalPort": fmt.Sprint(f.port), "Upgrade": "websocket",
				"X-SSL-VERIFIED": "NONE", "X-SSL-CLIENT-DN": "",
			} {
				if got := strings.Join(r.Header.Values(header), ", "); got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
			if r.Host != "127.0.0.1" || r.URL.String() != "/wss/device?id=x" {
				t.Errorf("%s %s", r.Host, r.URL)
			}
			_, response, err := f.dialFrom("127.0.0.3", "wss://"+f.host()+"/wss/user?id=x", nil)
			if err == nil || response == nil || response.StatusCode != http.StatusForbidden {
				t.Errorf("a user: %+v, %v", response, err)
			}
		})
	}
}
