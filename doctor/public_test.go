package doctor

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/proto/event"
	"terasocket/ws"
)

// silence is an empty log that lets everybody connect.
type silence struct {
	once  sync.Once
	begun chan struct{} // closed when it is read
}

func (*silence) Begin(context.Context) (event.Beginning, error) {
	return event.Beginning{Epoch: 1, Seq: 1}, nil
}

func (s *silence) Next(ctx context.Context) ([]event.Event, error) {
	s.once.Do(func() { close(s.begun) })
	<-ctx.Done()
	return nil, ctx.Err()
}

func (*silence) Standing(_ context.Context, p access.Principal) (access.Standing, error) {
	return access.Standing{Epoch: 1, Seq: 1, Tags: []string{p.Tag()}}, nil
}

// front is the websocket side of a gateway, with quick pings, on a database.
func front(t *testing.T, i *installation, change func(*ws.Handler)) *httptest.Server {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	metrics := ws.NewMetrics(prometheus.NewRegistry())
	log := &silence{begun: make(chan struct{})}
	h := ws.Handler{Tokens: &access.Tokens{Pool: dbtest.Pool(t, i.DatabaseURL)}, Hub: ws.NewHub(log, quiet, metrics), Log: quiet, Metrics: metrics,
		Limits: ws.Limits{PingEvery: 20 * time.Millisecond, ControlFrames: 100_000}}
	if change != nil {
		change(&h)
	}
	running, stop := context.WithCancel(background())
	dispatched := make(chan error, 1)
	go func() {
		dispatched <- (&ws.Dispatcher{Source: log, Hub: h.Hub, Log: quiet, Metrics: metrics}).Run(running)
	}()
	<-log.begun
	router := chi.NewRouter()
	h.Routes(router)
	server := httptest.NewServer(router)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(background(), 5*time.Second)
		defer cancel()
		if err := h.Hub.Drain(ctx, 0); err != nil {
			t.Errorf("sockets are left: %v", err)
		}
		server.Close()
		stop()
		if err := <-dispatched; err != nil {
			t.Errorf("dispatch: %v", err)
		}
	})
	return server
}

func wsURL(server *httptest.Server) string { return strings.Replace(server.URL, "http://", "ws://", 1) }

// proxy runs a proxy before a server; change is what its wrong configuration does to a request.
func proxy(t *testing.T, target string, change func(*http.Request)) *httptest.Server {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	reverse := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			if change != nil {
				change(r.Out)
			}
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(reverse)
	t.Cleanup(server.Close)
	return server
}

func TestPublicURL(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	gateway := front(t, i, nil)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secure.StartTLS()
	withTLS := strings.TrimPrefix(secure.URL, "https://")
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "TeraWebSocketServerUserProtocol Websocket authentication failed (key, uuid).", http.StatusForbidden)
	}))
	t.Cleanup(other.Close)
	for _, test := range []struct {
		name, url string
		want      Status
		words     []string
	}{
		{"direct", wsURL(gateway), OK, []string{"/wss/user, /wss/participant and /wss/device"}},
		{"a good proxy", wsURL(proxy(t, gateway.URL, nil)), OK, nil},
		{"a path of its own", wsURL(gateway) + "/tera", Fail, []string{"404", "proxy_pass"}},
		{"Upgrade is dropped", wsURL(proxy(t, gateway.URL, func(r *http.Request) { r.Header.Del("Upgrade") })), Fail,
			[]string{"/wss/user: ", "426", "proxy takes the Upgrade away", "proxy_set_header Upgrade"}},
		{"Connection is dropped", wsURL(proxy(t, gateway.URL, func(r *http.Request) { r.Header.Del("Connection") })), Fail, []string{"proxy_set_header"}},
		{"devices go elsewhere", wsURL(proxy(t, gateway.URL, func(r *http.Request) {
			if r.URL.Path == "/wss/device" {
				r.URL.Host = strings.TrimPrefix(other.URL, "http://")
			}
		})), Fail, []string{"/wss/device: answers 403", "OpenTera's own server"}},
		{"plain HTTP to TLS", wsURL(proxy(t, "http://"+withTLS, nil)), Fail, []string{"plain HTTP", "proxy_pass https"}},
		{"no gateway behind the proxy", wsURL(proxy(t, gone.URL, nil)), Fail, []string{"502", "does not reach the gateway", "container", "resolver"}},
		{"nobody there", wsURL(gone), Fail, []string{"not reached", "connection refused"}},
		{"no such name", "wss://tera.invalid:1", Fail, []string{"not reached"}},
		{"https", "https://tera.example", Fail, []string{"wss://host:port"}},
		{"with a password", "wss://u:hush@tera.example", Fail, []string{"wss://host:port"}},
		{"rubbish", "wss://%zz", Fail, []string{"wss://host:port"}},
		{"draining", wsURL(front(t, i, func(h *ws.Handler) { h.Ready = func() bool { return false } })), Fail, []string{"503", "/readyz"}},
		{"too many", wsURL(front(t, i, func(h *ws.Handler) { h.Failures = ws.FailureLimit{PerMinute: 1, Burst: 1} })), Warn, []string{"429", "--trusted-proxies"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := ask(t, newDoctor(Config{PublicURL: test.url}), "public-url")
			f.must(t, test.want, test.words...)
			if strings.Contains(f.String(), "hush") {
				t.Errorf("%s\nshows the password", f)
			}
		})
	}
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err == nil {
			_ = conn.Close()
		}
	}))
	t.Cleanup(open.Close)
	ask(t, newDoctor(Config{PublicURL: wsURL(open)}), "public-url").must(t, Fail, "opens for a made-up token")
	judgeRefusal(http.StatusOK, "<html>").must(t, Fail, "no gateway")
}

func TestPing(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.As = "user:" + opentera.DemoProjectAdminUUID
	quick, slow := front(t, i, nil), front(t, i, func(h *ws.Handler) { h.Limits.PingEvery = time.Minute })
	held := func(url string, hold time.Duration) Finding {
		t.Helper()
		d := newDoctor(i.Config)
		d.PublicURL, d.hold = url, hold
		f := ask(t, d, "ping")
		if strings.Contains(f.String(), "id=") {
			t.Errorf("%s\nshows a token", f)
		}
		return f
	}
	address := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	held(wsURL(quick), 300*time.Millisecond).must(t, OK, "as user:"+opentera.DemoProjectAdminUUID, "pings")
	held("ws://"+newRelay(t, address(quick), time.Second).address, 2*time.Second).must(t, OK)
	held("ws://"+newRelay(t, address(slow), time.Second).address, 10*time.Second).must(t, Fail, "the socket ended after", "with 0 pings", "proxy_read_timeout")
	held(wsURL(slow), 100*time.Millisecond).must(t, Warn, "no ping came")
	held("ws://127.0.0.1:1", time.Second).must(t, Fail, "not reached")
	full := front(t, i, func(h *ws.Handler) { h.Ready = func() bool { return false } })
	held(wsURL(full), time.Second).must(t, Fail, "answered 503")

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	d := newDoctor(i.Config)
	d.PublicURL = wsURL(quick)
	began := time.Now()
	if _, err := d.examine(ctx, []check{{name: "ping", limit: time.Minute, ask: d.survives}}); !errors.Is(err, context.Canceled) || time.Since(began) > 10*time.Second {
		t.Errorf("interrupted: %v after %s", err, time.Since(began))
	}
	d.serving.close()

	i.As = "user:" + opentera.DemoDisabledUUID
	held(wsURL(quick), time.Second).must(t, Fail, "may connect")
	i.As = ""
	held(wsURL(quick), time.Second).must(t, Skip, "--as KIND:UUID")
	i.As, i.Quick = "user:"+opentera.DemoProjectAdminUUID, true
	held(wsURL(quick), time.Second).must(t, Skip)
	i.As = "user:nobody"
	held(wsURL(quick), time.Second).must(t, Fail, "there is no user nobody that may connect")
}

func TestCause(t *testing.T) {
	t.Parallel()
	err := error(&url.Error{Op: "Get", URL: "wss://h/wss/user?id=hush", Err: io.ErrUnexpectedEOF})
	if got := cause(errors.Join(err)); strings.Contains(got, "hush") {
		t.Errorf("%s", got)
	}
}
